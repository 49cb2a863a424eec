"""Can a fitted estimator tell rows of a class that it has never seen? Its score_samples beside the usual scores.

Run: python examples/benchmarks/novelty.py --data FOLDER [--sets a,b] [--output FOLDER]

FOLDER holds sets as for accuracy.py. Each class in turn is left out of the training rows of one stratified 80/20 split;
the default estimator is fitted on the rest. AUROC is that of telling the test rows of the known classes from all
rows of the class left out; all scores are of the same fit, and none of them sees a row of the class. Every fit
is one line of novelty.jsonl in --output; what is there already is not run again. The table is printed and written to
novelty.md there.

Maximum softmax probability: Hendrycks & Gimpel, ICLR 2017. Energy, the log-sum-exp of the class scores: Liu et al.,
NeurIPS 2020. Mahalanobis distance to the nearest class mean, with one covariance, shrunk as by Ledoit and Wolf: Lee et
al., NeurIPS 2018. Distance to the 5th nearest training row: Sun et al., ICML 2022. The last two are taken in the
embedding that transform gives, of unit length for the neighbours.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from accuracy import read, splits_of
from scipy.special import logsumexp
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from skdual import DualBranchClassifier
from skdual.fitted_methods import checked_rows
from skdual.inference import run_in_chunks

SETS = ("breast_tcga", "citeseq_gse100866", "handwritten_fou_zer", "htad", "msrcv1", "three_sources")


def familiarities(model, X_train, y_train, X):
    """Scores of every row, the higher the more familiar, by name."""
    embedding, trained = model.transform(X), model.transform(X_train)
    scores = run_in_chunks(
        model.network_, "scores", checked_rows(model, X)
    )  # decision_function has one column of two classes
    neighbours = NearestNeighbors(n_neighbors=5).fit(normalize(trained))
    return {
        "score_samples": model.score_samples(X),
        "maximum softmax probability": model.predict_proba(X).max(axis=1),
        "energy": logsumexp(scores, axis=1),
        "Mahalanobis distance": -mahalanobis(trained, y_train, embedding),
        "distance to neighbours": -neighbours.kneighbors(normalize(embedding))[0][:, -1],
    }


def mahalanobis(trained, y_train, embedding):
    """Squared distance to the nearest class mean, by the covariance that the classes share."""
    means = {label: trained[y_train == label].mean(axis=0) for label in np.unique(y_train)}
    within = LedoitWolf(assume_centered=True).fit(trained - np.array([means[label] for label in y_train]))
    return np.min([within.mahalanobis(embedding - mean) for mean in means.values()], axis=0)


def leave_out(X, n_a, y, label):
    """AUROC of every score for one class left out."""
    _, train, test = next(splits_of(y, None, 1, 0.2))
    known = train[y[train] != label]
    rows = np.concatenate([test[y[test] != label], np.flatnonzero(y == label)])
    model = DualBranchClassifier(n_a, random_state=0).fit(X[known], y[known])
    scores = familiarities(model, X[known], y[known], X[rows])
    return {name: roc_auc_score(y[rows] != label, values) for name, values in scores.items()}


def table(results):
    """Markdown: the mean over the classes left out of each set, and the mean over sets."""
    sets = sorted({row["set"] for row in results})
    names = list(results[0]["auroc"])
    means = {
        name: [np.mean([row["auroc"][name] for row in results if row["set"] == one]) for one in sets] for name in names
    }
    lines = [f"| AUROC | {' | '.join(sets)} | mean |", "|---" * (len(sets) + 2) + "|"]
    for name in sorted(names, key=lambda name: -np.mean(means[name])):
        lines.append(f"| {name} | {' | '.join(f'{value:.3f}' for value in [*means[name], np.mean(means[name])])} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of npz files")
    parser.add_argument("--output", type=Path, default=Path("novelty_results"))
    parser.add_argument("--sets", default=",".join(SETS), help="names, separated by commas")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    log = arguments.output / "novelty.jsonl"
    results = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    done = {(row["set"], row["class"]) for row in results}
    for name in arguments.sets.split(","):
        X, n_a, y, _ = read(arguments.data / f"{name}.npz")
        for label in np.unique(y):
            if (name, int(label)) in done:
                continue
            row = {"set": name, "class": int(label), "auroc": leave_out(X, n_a, y, label)}
            with log.open("a") as file:
                file.write(json.dumps(row) + "\n")
            results.append(row)
    text = table(results)
    (arguments.output / "novelty.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
