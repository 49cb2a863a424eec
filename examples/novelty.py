"""Rows of a class that the model has never seen: how familiar is each row, and which are rejected?

Each class in turn is left out of the fit: a task of HTAD, or with --data nutrimouse a diet of 40 mice. A quarter of the
training rows serve as validation rows, which set the threshold: a row less familiar than 95 per cent of them is
labelled "other". AUROC is that of telling the test rows of the known classes from all rows of the new one; the largest
probability is the usual score for that. A threshold that six mice set is a rough one.

Two members and 20 epochs keep the seven fits of HTAD short; the defaults take several times as long.

Run: pip install ".[examples]" && python examples/novelty.py [--data nutrimouse] [--output novelty.png]
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from skdual import DualBranchClassifier
from skdual.datasets import load_htad, load_nutrimouse

QUANTILE = 0.05
SHORT = {"htad": {"n_members": 2, "max_epochs": 20}, "nutrimouse": {}}


def load(name):
    """Rows, blocks and labels of a data set."""
    bunch = load_htad() if name == "htad" else load_nutrimouse()
    return bunch.data, bunch.blocks, bunch.target if name == "htad" else bunch.diet


def leave_out(X, y, model, new):
    """Fit without one class.

    Returns
    -------
    model : DualBranchClassifier
    X_known : ndarray
        Test rows of the other classes.
    X_new : ndarray
        All rows of the class.
    """
    known, X_new = y != new, X[y == new]
    X_train, X_known, y_train, _ = train_test_split(X[known], y[known], stratify=y[known], random_state=0)
    X_train, X_val, y_train, y_val = train_test_split(X_train, y_train, stratify=y_train, random_state=0)
    return model.fit(X_train, y_train, X_val=X_val, y_val=y_val), X_known, X_new


def draw(ax, name_of_new, familiarity, threshold):
    """Histograms of known and new rows, and the threshold; each area is 1."""
    values = np.concatenate(list(familiarity.values()))
    bins = np.linspace(values.min(), values.max(), 30)
    for (name, of_rows), color in zip(familiarity.items(), ("tab:blue", "tab:orange"), strict=True):
        ax.hist(of_rows, bins, density=True, alpha=0.6, color=color, label=f"{name} rows")
    ax.axvline(threshold, color="black", linestyle="--", label="threshold (rejected: left of it)")
    ax.set(title=f"new: {name_of_new}", yticks=[])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=list(SHORT), default="htad", help="the data set (htad)")
    parser.add_argument("--output", type=Path, default="novelty.png", help="the picture (novelty.png)")
    arguments = parser.parse_args()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    matplotlib.use("Agg")  # draws into files, with no window

    X, blocks, y = load(arguments.data)
    rejecting = {"rejection_quantile": QUANTILE, "rejection_label": "other", "random_state": 0}
    classes = np.unique(y)
    n_columns = len(classes) // 2 + 1  # room for the legend
    figure, axes = plt.subplots(2, n_columns, figsize=(3 * n_columns, 5.5), sharex=True, layout="constrained")
    aurocs = []
    print(f"{'':18s} AUROC by familiarity   by largest probability   rejected: known rows   new rows")
    for new, ax in zip(classes, axes.flat, strict=False):
        model = DualBranchClassifier(blocks, **SHORT[arguments.data], **rejecting)
        model, X_known, X_new = leave_out(X, y, model, new)
        rows = np.vstack([X_known, X_new])
        is_known = np.arange(len(rows)) < len(X_known)
        familiarity, rejected = model.score_samples(rows), model.predict(rows) == "other"
        auroc = [roc_auc_score(is_known, score) for score in (familiarity, model.predict_proba(rows).max(axis=1))]
        aurocs.append(auroc)
        shares = rejected[is_known].mean(), rejected[~is_known].mean()
        print(f"{new:18s} {auroc[0]:20.3f} {auroc[1]:24.3f} {shares[0]:22.1%} {shares[1]:10.1%}", flush=True)
        draw(ax, new, {"known": familiarity[is_known], "new": familiarity[~is_known]}, model.rejection_threshold_)

    aurocs = np.array(aurocs)
    print(f"{'mean':18s} {aurocs[:, 0].mean():20.3f} {aurocs[:, 1].mean():24.3f}")
    ahead = int((aurocs[:, 0] > aurocs[:, 1]).sum())
    print(f"\nfamiliarity tells new rows better than the largest probability for {ahead} of {len(aurocs)} classes")

    axes.flat[-1].set_axis_off()
    axes[0, -1].tick_params(labelbottom=True)  # no panel below has them
    axes.flat[-1].legend(*axes.flat[0].get_legend_handles_labels(), loc="center")
    figure.supxlabel("familiarity (score_samples)")
    figure.savefig(arguments.output, dpi=150)
    print(f"saved {arguments.output}")


if __name__ == "__main__":
    main()
