"""The default estimator beside its peers where columns outnumber rows by far, on simulated sets.

Run: python examples/benchmarks/wide.py [--draws 3]

The sets are drawn, so that anyone can run this: "factors", where classes shift a few of thirty factors that every
column mixes; "modules", the tumours of ../tumour_subtypes.py without the subtype that needs both blocks; "both blocks",
the same tumours with it; "markers", independent columns of which 40 tell the classes. Each draw is split 70/30; the
table is printed, means over the draws with the standard error of the paired difference in accuracy.
"""

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np
from accuracy import peers
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

sys.path.append(str(Path(__file__).parents[1]))
from tumour_subtypes import simulate

from skdual import DualBranchClassifier

MODELS = ("skdual", "logistic", "svm", "mlp", "extra trees")


def factors(random_state, n_rows=250, columns=(6000, 2000), n_classes=4, n_factors=30, n_shifted=6):
    rng = np.random.default_rng(random_state)
    y = rng.integers(n_classes, size=n_rows)
    blocks = []
    for n_columns in columns:
        factor = rng.normal(size=(n_rows, n_factors))
        factor[:, :n_shifted] += rng.normal(size=(n_classes, n_shifted))[y]
        loading = rng.normal(size=(n_factors, n_columns)) * rng.uniform(0.2, 1.2, n_columns) / np.sqrt(n_factors)
        blocks.append(factor @ loading + rng.normal(size=(n_rows, n_columns)))
    return *blocks, y


def modules(random_state):
    mrna, methylation, subtype = simulate(480, random_state=random_state)
    kept = subtype != "escaped"
    return mrna[kept], methylation[kept], subtype[kept]


def both_blocks(random_state):
    return simulate(random_state=random_state)


def markers(random_state, n_rows=300, columns=(4000, 1000), n_markers=(30, 10), n_classes=3):
    rng = np.random.default_rng(random_state)
    y = rng.integers(n_classes, size=n_rows)
    blocks = []
    for n_columns, n_shifted in zip(columns, n_markers, strict=True):
        block = rng.normal(size=(n_rows, n_columns))
        block[:, :n_shifted] += 0.7 * rng.normal(size=(n_classes, n_shifted))[y]
        blocks.append(block)
    return *blocks, y


SETS = {"factors": factors, "modules": modules, "both blocks": both_blocks, "markers": markers}


def scores(name, draw):
    """Accuracy and log loss of every model on one draw, (n_models, 2)."""
    a, b, y = SETS[name](draw)
    X = np.hstack([a, b]).astype(np.float32)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=draw)
    models = peers(sparse=False) | {"skdual": DualBranchClassifier(a.shape[1], random_state=0)}
    rows = []
    for model in MODELS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of convergence: peers run as they are usually run
            fitted = clone(models[model]).fit(X_train, y_train)
        rows.append((fitted.score(X_test, y_test), log_loss(y_test, fitted.predict_proba(X_test))))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=3, help="draws of every set (3)")
    n_draws = parser.parse_args().draws
    for name in SETS:
        table = np.array([scores(name, draw) for draw in range(n_draws)])
        print(f"\n### {name}\n\n| model | accuracy | skdual - model | log loss |\n|---|---|---|---|")
        for model, (accuracy, loss) in zip(MODELS, table.transpose(1, 2, 0), strict=True):
            ahead = 100 * (table[:, 0, 0] - accuracy)
            paired = f"{ahead.mean():+.1f} ± {ahead.std(ddof=1) / np.sqrt(n_draws):.1f}" if model != "skdual" else ""
            print(f"| {model} | {accuracy.mean():.3f} | {paired} | {loss.mean():.3f} |", flush=True)


if __name__ == "__main__":
    main()
