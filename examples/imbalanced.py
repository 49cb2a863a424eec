"""Two classes with eight training rows each: what class weights and class-aware batches do, on HTAD.

All but eight training rows of two tasks are taken away; the test rows stay as they are. Log loss is given twice: with
the test rows as they are, where all tasks are about as common, and weighted to the shares of the training rows, where
two are rare. What helps the one may cost the other: class weights also tell the model to expect rare tasks more often.

Two members, 20 epochs and three splits keep it short; the defaults take several times as long.

Run: pip install ".[examples]" && python examples/imbalanced.py [--output imbalanced.png]
"""

import argparse

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, recall_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdual import DualBranchClassifier
from skdual.datasets import load_htad

RARE = ("sweep", "wash_hands")
N_RARE_ROWS = 8
N_SPLITS = 3


def make_models(blocks):
    """The models to compare, by name."""
    logistic = LogisticRegression(class_weight="balanced", max_iter=2000)

    def dual_branch(**params):
        return DualBranchClassifier(blocks, n_members=2, max_epochs=20, random_state=0, **params)

    return {
        "default": dual_branch(),
        "class_weight='balanced'": dual_branch(class_weight="balanced"),
        "sampling='class_aware'": dual_branch(sampling="class_aware"),
        "balanced and class-aware": dual_branch(class_weight="balanced", sampling="class_aware"),
        "balanced logistic regression": make_pipeline(StandardScaler(), logistic),
    }


def split(htad, random_state):
    """Training rows with two rare tasks, and test rows as they are."""
    X_train, X_test, y_train, y_test = train_test_split(
        htad.data, htad.target, stratify=htad.target, random_state=random_state
    )
    keep = np.ones(len(y_train), dtype=bool)
    for task in RARE:
        keep[np.flatnonzero(y_train == task)[N_RARE_ROWS:]] = False
    return X_train[keep], X_test, y_train[keep], y_test


def evaluate(model, X_train, X_test, y_train, y_test):
    """Recall of every task and both log losses of one fit."""
    model.fit(X_train, y_train)
    probabilities = model.predict_proba(X_test)
    tasks, n_test = np.unique(y_test, return_counts=True)
    n_train = np.array([(y_train == task).sum() for task in tasks])
    weight = (n_train / n_test)[np.searchsorted(tasks, y_test)]
    return {
        "recall": recall_score(y_test, model.predict(X_test), average=None, labels=tasks),
        "log_loss": log_loss(y_test, probabilities),
        "rare_log_loss": log_loss(y_test, probabilities, sample_weight=weight),
    }


def draw(recalls, tasks, output):
    """Bars of the recall of every task by model."""
    plt.style.use("tableau-colorblind10")
    figure, ax = plt.subplots(figsize=(11, 4.5), layout="constrained")
    width = 0.8 / len(recalls)
    for i, (name, recall) in enumerate(recalls.items()):
        ax.bar(np.arange(len(tasks)) + (i - (len(recalls) - 1) / 2) * width, recall, width, label=name)
    labels = [f"{task}\n({N_RARE_ROWS} training rows)" if task in RARE else task for task in tasks]
    ax.set_xticks(range(len(tasks)), labels)
    ax.set(ylabel=f"recall, mean of {N_SPLITS} splits", ylim=(0, 1))
    figure.legend(loc="outside upper center", ncols=3)
    figure.savefig(output, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="imbalanced.png", help="the picture (imbalanced.png)")
    output = parser.parse_args().output
    matplotlib.use("Agg")  # draws into files, with no window

    htad = load_htad()
    splits = [split(htad, random_state) for random_state in range(N_SPLITS)]
    is_rare = np.isin(htad.target_names, RARE)
    recalls = {}
    print(f"means of {N_SPLITS} splits".ljust(30), "balanced accuracy   recall of rare   log loss   with rare shares")
    for name, model in make_models(htad.blocks).items():
        found = [evaluate(model, *rows) for rows in splits]
        recall = recalls[name] = np.mean([one["recall"] for one in found], axis=0)
        losses = [np.mean([one[key] for one in found]) for key in ("log_loss", "rare_log_loss")]
        print(
            f"{name:30s} {recall.mean():17.3f} {recall[is_rare].mean():16.3f} {losses[0]:10.3f} {losses[1]:18.3f}",
            flush=True,
        )

    best = max(recalls, key=lambda name: recalls[name].mean())
    print(f"\nhighest balanced accuracy: {best}")
    draw(recalls, htad.target_names, output)
    print(f"saved {output}")


if __name__ == "__main__":
    main()
