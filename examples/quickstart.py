"""Seven home tasks from sound and movement: each block alone, both together, saved and loaded again.

Run: python examples/quickstart.py
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import joblib
import numpy as np
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import train_test_split

from skdual import DualBranchClassifier
from skdual.datasets import load_htad

PREDICT = """
import sys, joblib, numpy as np
model, rows, answer = sys.argv[1:]
np.save(answer, joblib.load(model).predict_proba(np.load(rows)))
"""


def report(name, y_true, y_pred):
    accuracy, macro_f1 = accuracy_score(y_true, y_pred), f1_score(y_true, y_pred, average="macro")
    print(f"{name:22s} accuracy {accuracy:.3f}   macro F1 {macro_f1:.3f}")


def main():
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    htad = load_htad()
    X_train, X_test, y_train, y_test = train_test_split(
        htad.data, htad.target, test_size=0.2, stratify=htad.target, random_state=0
    )
    print(f"HTAD: {len(X_train)} rows to train on, {len(X_test)} to test on, {len(htad.target_names)} tasks")

    for name, columns in htad.blocks.items():  # blocks=None: both branches read the one block
        alone = DualBranchClassifier(random_state=0).fit(X_train[:, columns], y_train)
        report(f"{name} alone", y_test, alone.predict(X_test[:, columns]))

    model = DualBranchClassifier(blocks=htad.blocks, random_state=0).fit(X_train, y_train)
    report("both blocks", y_test, model.predict(X_test))

    with tempfile.TemporaryDirectory() as folder:
        saved, rows, answer = (Path(folder) / name for name in ("model.joblib", "rows.npy", "answer.npy"))
        joblib.dump(model, saved)
        np.save(rows, X_test)
        subprocess.run([sys.executable, "-c", PREDICT, saved, rows, answer], check=True)
        same = np.array_equal(np.load(answer), model.predict_proba(X_test))
        print(f"saved ({saved.stat().st_size / 1e6:.1f} MB), loaded in a new process: same probabilities: {same}")
    if not same:
        sys.exit(1)


if __name__ == "__main__":
    main()
