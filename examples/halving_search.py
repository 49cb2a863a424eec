"""Successive halving: many candidates train for a few epochs, the better ones for more, on HTAD or on 40 mice.

Candidates are compared by log loss, which still tells them apart where all of them predict nearly every label right.

Run: pip install ".[examples]" && python examples/halving_search.py [--data nutrimouse] [--output halving_search.png]
"""

import argparse
from pathlib import Path

import matplotlib
from matplotlib import pyplot as plt
from sklearn.experimental import enable_halving_search_cv as enable_halving_search_cv  # for HalvingGridSearchCV
from sklearn.metrics import f1_score
from sklearn.model_selection import HalvingGridSearchCV, StratifiedKFold, train_test_split

from skdual import DualBranchClassifier
from skdual.datasets import load_htad, load_nutrimouse

LOADERS = {"htad": load_htad, "nutrimouse": load_nutrimouse}


def draw(paths, epochs, output):
    """The loss of every candidate against the epochs it was given; those that reached the last round in colour."""
    figure, ax = plt.subplots(figsize=(8, 5), layout="constrained")
    for chosen, losses in sorted(paths.items(), key=lambda path: len(path[1])):
        reached_the_end = len(losses) == len(epochs)
        style = {"label": chosen, "linewidth": 2} if reached_the_end else {"color": "silver"}
        ax.plot(epochs[: len(losses)], losses, marker="o", zorder=3 if reached_the_end else 2, **style)
    ax.set(xscale="log", xlabel="epochs of each round", ylabel="log loss, mean of 3 folds")
    ax.set_ylim(bottom=0)
    ax.set_xticks(epochs, labels=epochs)
    ax.minorticks_off()
    ax.legend(title="reached the last round")
    figure.savefig(output, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=LOADERS, default="htad", help="the data set (htad)")
    parser.add_argument("--output", type=Path, default="halving_search.png", help="the picture (halving_search.png)")
    arguments = parser.parse_args()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    matplotlib.use("Agg")  # draws into files, with no window

    data = LOADERS[arguments.data]()
    X_train, X_test, y_train, y_test = train_test_split(
        data.data, data.target, test_size=0.2, stratify=data.target, random_state=0
    )
    search = HalvingGridSearchCV(
        DualBranchClassifier(data.blocks, n_members=1, random_state=0),  # one network a candidate
        {
            "learning_rate": [5e-4, 2e-3, 1e-2],
            "contrastive_weight": [0.0, 1.0],
            "subspace_dim": [2, 8],
        },
        resource="max_epochs",
        min_resources=2,
        max_resources=18,
        factor=3,
        cv=StratifiedKFold(3, shuffle=True, random_state=0),
        scoring="neg_log_loss",
        refit=False,
    )
    search.fit(X_train, y_train)
    results, paths = search.cv_results_, {}
    for params, score in zip(results["params"], results["mean_test_score"], strict=True):
        chosen = {name: value for name, value in params.items() if name != "max_epochs"}
        print(f"{params['max_epochs']:2d} epochs  log loss {-score:.3f}  {chosen}")
        paths.setdefault(", ".join(f"{name} {value}" for name, value in chosen.items()), []).append(-score)
    print(f"\ncandidates of each round: {search.n_candidates_}, epochs of each: {search.n_resources_}")

    model = DualBranchClassifier(data.blocks, **search.best_params_, random_state=0).fit(X_train, y_train)
    score = f1_score(y_test, model.predict(X_test), average="macro")
    print(f"the best, fitted with all members: macro F1 {score:.3f} on {len(y_test)} rows held out")
    draw(paths, search.n_resources_, arguments.output)
    print(f"saved {arguments.output}")


if __name__ == "__main__":
    main()
