"""Rare classes: what class weights and class-aware batches do.

All but eight training rows of two tasks of HTAD are taken away, or with --data nutrimouse all but three training mice
of one genotype; the test rows stay as they are. Log loss is given twice: with the test rows as they are, where all
classes are about as common, and weighted to the shares of the training rows, where some are rare. What helps the one
may cost the other: class weights also tell the model to expect rare classes more often.

Two members, 12 epochs and three splits keep it short on HTAD; the defaults take several times as long.

Run: pip install ".[examples]" && python examples/imbalanced.py [--data nutrimouse] [--output imbalanced.png]
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, recall_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdual import DualBranchClassifier
from skdual.datasets import load_htad, load_nutrimouse

LOADERS = {"htad": load_htad, "nutrimouse": load_nutrimouse}
RARE = {"htad": ("sweep", "wash_hands"), "nutrimouse": ("ppar",)}
N_RARE_ROWS = {"htad": 8, "nutrimouse": 3}
SHORT = {"htad": {"n_members": 2, "max_epochs": 12}, "nutrimouse": {}}
N_SPLITS = 3


def make_models(blocks, short):
    """The models to compare, by name; ``short`` has what keeps the fits of ours short."""
    logistic = LogisticRegression(class_weight="balanced", max_iter=2000)

    def dual_branch(**params):
        return DualBranchClassifier(blocks, random_state=0, **short, **params)

    return {
        "default": dual_branch(),
        "class_weight='balanced'": dual_branch(class_weight="balanced"),
        "sampling='class_aware'": dual_branch(sampling="class_aware"),
        "balanced and class-aware": dual_branch(class_weight="balanced", sampling="class_aware"),
        "balanced logistic regression": make_pipeline(StandardScaler(), logistic),
    }


def split(bunch, rare, n_rare_rows, random_state):
    """Training rows with rare classes, and test rows as they are."""
    X_train, X_test, y_train, y_test = train_test_split(
        bunch.data, bunch.target, stratify=bunch.target, random_state=random_state
    )
    keep = np.ones(len(y_train), dtype=bool)
    for label in rare:
        keep[np.flatnonzero(y_train == label)[n_rare_rows:]] = False
    return X_train[keep], X_test, y_train[keep], y_test


def evaluate(model, X_train, X_test, y_train, y_test):
    """Recall of every class and both log losses of one fit."""
    model.fit(X_train, y_train)
    probabilities = model.predict_proba(X_test)
    classes, n_test = np.unique(y_test, return_counts=True)
    n_train = np.array([(y_train == label).sum() for label in classes])
    weight = (n_train / n_test)[np.searchsorted(classes, y_test)]
    return {
        "recall": recall_score(y_test, model.predict(X_test), average=None, labels=classes),
        "log_loss": log_loss(y_test, probabilities),
        "rare_log_loss": log_loss(y_test, probabilities, sample_weight=weight),
    }


def draw(recalls, ticks, output):
    """Bars of the recall of every class by model."""
    plt.style.use("tableau-colorblind10")
    figure, ax = plt.subplots(figsize=(11, 4.5), layout="constrained")
    width = 0.8 / len(recalls)
    for i, (name, recall) in enumerate(recalls.items()):
        ax.bar(np.arange(len(ticks)) + (i - (len(recalls) - 1) / 2) * width, recall, width, label=name)
    ax.set_xticks(range(len(ticks)), ticks)
    ax.set(ylabel=f"recall, mean of {N_SPLITS} splits", ylim=(0, 1))
    figure.legend(loc="outside upper center", ncols=3)
    figure.savefig(output, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=list(LOADERS), default="htad", help="the data set (htad)")
    parser.add_argument("--output", type=Path, default="imbalanced.png", help="the picture (imbalanced.png)")
    arguments = parser.parse_args()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    matplotlib.use("Agg")  # draws into files, with no window

    bunch, rare, n_rare_rows = LOADERS[arguments.data](), RARE[arguments.data], N_RARE_ROWS[arguments.data]
    splits = [split(bunch, rare, n_rare_rows, random_state) for random_state in range(N_SPLITS)]
    is_rare = np.isin(bunch.target_names, rare)
    recalls = {}
    print(f"means of {N_SPLITS} splits".ljust(30), "balanced accuracy   recall of rare   log loss   with rare shares")
    for name, model in make_models(bunch.blocks, SHORT[arguments.data]).items():
        found = [evaluate(model, *rows) for rows in splits]
        recall = recalls[name] = np.mean([one["recall"] for one in found], axis=0)
        losses = [np.mean([one[key] for one in found]) for key in ("log_loss", "rare_log_loss")]
        print(
            f"{name:30s} {recall.mean():17.3f} {recall[is_rare].mean():16.3f} {losses[0]:10.3f} {losses[1]:18.3f}",
            flush=True,
        )

    best = max(recalls, key=lambda name: recalls[name].mean())
    print(f"\nhighest balanced accuracy: {best}")
    ticks = [f"{name}\n({n_rare_rows} training rows)" if name in rare else name for name in bunch.target_names]
    draw(recalls, ticks, arguments.output)
    print(f"saved {arguments.output}")


if __name__ == "__main__":
    main()
