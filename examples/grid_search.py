"""A pipeline with a preprocessing for each block, tuned by GridSearchCV, on HTAD.

Run: pip install ".[examples]" && python examples/grid_search.py [--output grid_search.png]
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.metrics import classification_report
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from skdual import DualBranchClassifier, from_prefix
from skdual.datasets import load_htad


def draw(names, folds, output):
    """The score of every fold, and their mean and standard deviation, the best candidate on top."""
    figure, ax = plt.subplots(figsize=(9, 4.5), layout="constrained")
    rows = range(len(names))
    mean, spread = folds.mean(axis=1), folds.std(axis=1)
    ax.errorbar(mean, rows, xerr=spread, fmt="D", color="tab:blue", capsize=4, label="mean, std")
    ax.plot(folds, rows, ".", color="black", zorder=3)
    ax.plot([], ".", color="black", label="one fold")
    ax.set_yticks(rows, labels=names)
    ax.invert_yaxis()
    ax.set(xlabel="macro F1 by cross-validation")
    ax.grid(axis="x", alpha=0.3)
    ax.legend()
    figure.savefig(output, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default="grid_search.png", help="the picture (grid_search.png)")
    output = parser.parse_args().output
    output.parent.mkdir(parents=True, exist_ok=True)
    matplotlib.use("Agg")  # draws into files, with no window

    htad = load_htad(as_frame=True)
    X_train, X_test, y_train, y_test = train_test_split(
        htad.data, htad.target, test_size=0.2, stratify=htad.target, random_state=0
    )
    audio, accelerometer = (list(htad.data.columns[columns]) for columns in htad.blocks.values())
    columns = ColumnTransformer(
        [
            ("audio", StandardScaler(), audio),
            ("accelerometer", QuantileTransformer(output_distribution="normal", n_quantiles=200), accelerometer),
        ]
    )
    blocks = from_prefix("audio__", "accelerometer__")
    pipeline = Pipeline(
        [
            ("columns", columns.set_output(transform="pandas")),
            # one network a candidate; the best is fitted with all of them
            ("classify", DualBranchClassifier(blocks, n_members=1, max_epochs=15, random_state=0)),
        ]
    )
    search = GridSearchCV(
        pipeline,
        {
            "classify__contrastive_weight": [0.0, 0.5],
            "classify__subspace_dim": [2, 4],
            "classify__learning_rate": [1e-3, 3e-3],
        },
        cv=StratifiedKFold(3, shuffle=True, random_state=0),
        scoring="f1_macro",
        n_jobs=2,
        refit=False,
    )
    search.fit(X_train, y_train)
    results = search.cv_results_
    order = results["rank_test_score"].argsort(kind="stable")
    folds = np.column_stack([results[f"split{fold}_test_score"] for fold in range(search.n_splits_)])[order]
    names = []
    for index, scores in zip(order, folds, strict=True):
        params = results["params"][index]
        names.append(", ".join(f"{name.removeprefix('classify__')} {value:g}" for name, value in params.items()))
        print(f"macro F1 {scores.mean():.3f} +- {scores.std():.3f}  {names[-1]}")

    best = clone(pipeline).set_params(**search.best_params_, classify__n_members="auto", classify__max_epochs="auto")
    best.fit(X_train, y_train)
    print(f"\nthe best, fitted with all members and epochs, on {len(y_test)} rows held out:")
    print(classification_report(y_test, best.predict(X_test), digits=3))
    draw(names, folds, output)
    print(f"saved {output}")


if __name__ == "__main__":
    main()
