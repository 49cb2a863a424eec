"""Accuracy and calibration of the default estimator beside its peers, on real two-block sets.

Run: python examples/benchmarks/accuracy.py --data FOLDER [--sets a,b] [--models c,d] [--splits 20] [--ablate | --noise]

FOLDER holds npz files with the arrays a and b (or the CSR parts a_data, a_indices, a_indptr, a_shape, ...), y, and
train and test where there is a published split. Every (set, model, split) is one line of results.jsonl in --output;
what is there already is not run again. The tables are printed and written to results.md there. --ablate compares the
default with its own variants (ablation.jsonl and .md), --noise the default on one block with the default on that block
beside pure noise in place of the other (noise.jsonl and .md).

Splits are stratified 80/20, random_state 0, 1, ...: 20 for sets under 300 rows and 5 for the rest, and, beside peers,
the published one first. Test rows choose nothing: no model here is tuned. Log loss and calibration use predict_proba;
a support vector machine is scored by its own labels, and by Platt scaling for its probabilities. LightGBM and
RealMLP-TD are among the peers where they are installed (pip install lightgbm pytabkit).
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss, roc_auc_score
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC

from skdual import DualBranchClassifier
from skdual.defaults import WIDE_DROPOUT, WIDE_SIZES

N_BINS = 15

# every variant has two members, and so has the default that it is compared with: four times faster than eight
ABLATION_MEMBERS = 2
ABLATIONS = {
    "default": {},
    "fusion=attention": {"fusion": "attention"},
    "head=linear": {"head": "linear"},
    "contrastive=None": {"contrastive": None},
    "contrastive=self_supervised": {"contrastive": "self_supervised"},
    "contrastive_weight=0.5": {"contrastive_weight": 0.5},
    "contrastive_weight=2": {"contrastive_weight": 2.0},
    "memory_bank_size=1024": {"memory_bank_size": 1024},
    "sampling=class_aware": {"sampling": "class_aware"},
    "block_dropout=0": {"block_dropout": 0.0},
    "mixup_alpha=0": {"mixup_alpha": 0.0},
    "mixup_alpha=0.4": {"mixup_alpha": 0.4},
    "normalization=batch": {"normalization": "batch"},
    "dropout=0.5": {"dropout": 0.5},
    "dropout=0": {"dropout": 0.0},
    "standardize=False": {"standardize": False},
    "subspace_dim=2": {"subspace_dim": 2},
    "subspace_dim=8": {"subspace_dim": 8},
    "learning_rate=1e-3": {"learning_rate": 1e-3},
    "learning_rate=2e-3": {"learning_rate": 2e-3},
    "learning_rate=8e-3": {"learning_rate": 8e-3},
    "widths of wide blocks": {"hidden_layer_sizes": WIDE_SIZES, "dropout": WIDE_DROPOUT},
    "label_smoothing=0.1": {"label_smoothing": 0.1},
    "n_members=1": {"n_members": 1},
    "n_members=8": {"n_members": 8},
}


class LabelsAndPlatt(ClassifierMixin, BaseEstimator):
    """A classifier without probabilities: its own labels, and Platt-scaled probabilities beside them."""

    def __init__(self, estimator):
        self.estimator = estimator

    def fit(self, X, y):
        self.labels_ = clone(self.estimator).fit(X, y)
        folds = int(min(5, np.unique(y, return_counts=True)[1].min()))
        self.classes_ = self.labels_.classes_
        self.platt_ = None
        if folds > 1:
            self.platt_ = CalibratedClassifierCV(self.estimator, cv=folds, ensemble=False).fit(X, y)
        return self

    def predict(self, X):
        return self.labels_.predict(X)

    def predict_proba(self, X):
        if self.platt_ is None:  # a class of one row leaves nothing to calibrate on
            return np.eye(len(self.classes_))[np.searchsorted(self.classes_, self.predict(X))]
        return self.platt_.predict_proba(X)


def peers(sparse):
    """Usual forms of the usual models, by name; each scales its own input."""

    def scaled(model):
        return make_pipeline(MaxAbsScaler() if sparse else StandardScaler(), model)

    models = {
        "logistic": scaled(LogisticRegression(C=10 if sparse else 0.1, max_iter=2000)),
        "svm": scaled(LabelsAndPlatt(LinearSVC() if sparse else SVC(C=10))),
        "random forest": RandomForestClassifier(500, random_state=0, n_jobs=-1),
        "extra trees": ExtraTreesClassifier(500, random_state=0, n_jobs=-1),
        "mlp": scaled(MLPClassifier(max_iter=500, random_state=0)),
    }
    try:
        from lightgbm import LGBMClassifier

        models["lightgbm"] = LGBMClassifier(n_estimators=200, learning_rate=0.05, random_state=0, verbose=-1)
    except ImportError:
        pass
    try:
        from pytabkit import RealMLP_TD_Classifier

        if not sparse:
            models["realmlp"] = RealMLP_TD_Classifier(random_state=0, device="cpu")
    except ImportError:
        pass
    return models


def read(path):
    """X (block A, then block B), width of block A, class codes and the published split or None."""

    def block(name):
        if name in archive:
            return archive[name]
        parts = tuple(archive[f"{name}_{part}"] for part in ("data", "indices", "indptr"))
        return sp.csr_matrix(parts, shape=tuple(archive[f"{name}_shape"]))

    with np.load(path) as archive:
        a, b, y = block("a"), block("b"), archive["y"]
        split = (archive["train"], archive["test"]) if "train" in archive else None
    if path.stem.startswith("citeseq"):  # raw counts: log-normalised expression, centred log protein
        a = np.log1p(1e4 * a / a.sum(axis=1, keepdims=True).clip(min=1))
        b = np.log1p(b) - np.log1p(b).mean(axis=1, keepdims=True)
    if sp.issparse(a) or sp.issparse(b):
        X = sp.hstack([sp.csr_matrix(a), sp.csr_matrix(b)]).tocsr()
    else:
        X = np.hstack([a, b])
    return X, a.shape[1], y, split


def splits_of(y, published, n_splits, test_size):
    """(name, train rows, test rows): the published split where there is one, then stratified random ones."""
    if published is not None:
        yield "published", *published
    n_splits = n_splits or (20 if len(y) < 300 else 5)
    for seed in range(n_splits):
        train, test = next(StratifiedShuffleSplit(1, test_size=test_size, random_state=seed).split(np.zeros(len(y)), y))
        yield str(seed), train, test


def candidates(X, n_a, kind):
    """(name, model, data) of everything that is run on a set."""
    blocks = {"A": X[:, :n_a], "B": X[:, n_a:]}
    if kind == "ablation":
        for name, params in ABLATIONS.items():
            yield name, DualBranchClassifier(n_a, random_state=0, **{"n_members": ABLATION_MEMBERS, **params}), X
        return
    yield "skdual", DualBranchClassifier(n_a, random_state=0), X
    for name, block in blocks.items():
        yield f"skdual [{name}]", DualBranchClassifier(random_state=0), block
    if kind == "noise":
        noise = {name: np.random.default_rng(0).standard_normal(block.shape) for name, block in blocks.items()}
        noise = {name: values.astype(np.float32) for name, values in noise.items()}
        stack = (lambda pair: sp.hstack(pair).tocsr()) if sp.issparse(X) else np.hstack
        yield "skdual [A | noise]", DualBranchClassifier(n_a, random_state=0), stack([blocks["A"], noise["B"]])
        yield "skdual [noise | B]", DualBranchClassifier(n_a, random_state=0), stack([noise["A"], blocks["B"]])
        return
    for name, model in peers(sp.issparse(X)).items():
        yield name, model, X
        for side, block in blocks.items():
            yield f"{name} [{side}]", model, block


def evaluate(model, X, y, train, test):
    """Scores of one fit, with the bins that a pooled calibration error needs."""
    start = time.perf_counter()
    model = clone(model).fit(X[train], y[train])
    seconds = time.perf_counter() - start
    proba = np.clip(np.asarray(model.predict_proba(X[test]), dtype=np.float64), 1e-15, None)
    proba /= proba.sum(axis=1, keepdims=True)
    predicted = np.asarray(model.predict(X[test])).ravel()
    confidence, correct = proba.max(axis=1), model.classes_[proba.argmax(axis=1)] == y[test]
    bins = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    pooled = [np.bincount(bins, weights, N_BINS).tolist() for weights in (None, confidence, correct)]
    return {
        "accuracy": accuracy_score(y[test], predicted),
        "macro_f1": f1_score(y[test], predicted, average="macro"),
        "balanced_accuracy": balanced_accuracy_score(y[test], predicted),
        "auc": roc_auc_score(y[test], proba[:, 1]) if proba.shape[1] == 2 else None,
        "log_loss": log_loss(y[test], proba, labels=model.classes_),
        "seconds": seconds,
        "bins": pooled,
    }


def calibration_error(rows):
    """Expected calibration error over 15 equal bins, predictions pooled over splits (Guo et al., 2017)."""
    counts, confidence, correct = np.sum([row["bins"] for row in rows], axis=0)
    return np.abs(confidence - correct).sum() / counts.sum()


def tables(results, reference):
    """Markdown: a table per set, each model paired with ``reference``, then mean ranks and differences over sets."""
    repeats = [row for row in results if row["split"] != "published"]
    sets = sorted({row["set"] for row in results})
    lines, scores, losses, differences = [], {}, {}, {}
    for name in sets:
        lines += [
            f"\n### {name}\n",
            f"| model | accuracy | macro F1 | {reference} - model, macro F1 | log loss | ECE | AUC | s / fit |",
        ]
        lines += ["|---|---|---|---|---|---|---|---|"]
        by_model = {}
        for row in repeats:
            if row["set"] == name:
                by_model.setdefault(row["model"], {})[row["split"]] = row
        means = {model: np.mean([row["macro_f1"] for row in rows.values()]) for model, rows in by_model.items()}
        for model in sorted(means, key=means.get, reverse=True):
            rows = by_model[model]
            shared = sorted(rows.keys() & by_model.get(reference, {}).keys())
            paired = ""
            if model != reference and shared:
                difference = [by_model[reference][split]["macro_f1"] - rows[split]["macro_f1"] for split in shared]
                paired = _percent(difference)
                differences.setdefault(model, []).append(np.mean(difference))
            accuracy, loss, seconds = (
                np.mean([row[key] for row in rows.values()]) for key in ("accuracy", "log_loss", "seconds")
            )
            aucs = [row["auc"] for row in rows.values() if row.get("auc") is not None]
            auc = f"{np.mean(aucs):.3f}" if aucs else ""
            lines.append(
                f"| {model} | {accuracy:.4f} | {means[model]:.4f} | {paired} | {loss:.3f} | "
                f"{calibration_error(list(rows.values())):.3f} | {auc} | {seconds:.1f} |"
            )
            scores.setdefault(model, {})[name] = means[model]
            losses.setdefault(model, {})[name] = loss
        for row in results:
            if row["set"] == name and row["split"] == "published" and not row["model"].endswith("]"):
                lines.append(f"\npublished split, {row['model']}: accuracy {row['accuracy']:.4f}")
    complete = {
        model: by_set for model, by_set in scores.items() if len(by_set) == len(sets) and not model.endswith("]")
    }
    lines += [f"\n### Over {len(sets)} sets\n"]
    lines += [f"| model | mean rank, macro F1 | {reference} - model | sets where {reference} has no worse log loss |"]
    lines += ["|---|---|---|---|"]
    ranks = {
        model: np.mean([1 + sum(other[name] > by_set[name] for other in complete.values()) for name in sets])
        for model, by_set in complete.items()
    }
    for model, rank in sorted(ranks.items(), key=lambda item: item[1]):
        wins = sum(losses[reference][name] <= losses[model][name] for name in sets) if reference in complete else ""
        paired = _percent(differences[model]) if model in differences else ""
        lines.append(f"| {model} | {rank:.2f} | {paired} | {'' if model == reference else wins} |")
    return "\n".join(lines) + "\n"


def _percent(differences):
    """Mean of paired differences in points, and its standard error."""
    error = np.std(differences, ddof=1) / np.sqrt(len(differences)) if len(differences) > 1 else float("nan")
    return f"{100 * np.mean(differences):+.2f} ± {100 * error:.2f}"


def _known(parser, option, value, names):
    """The names in the value of an option, all by default; an error where one is unknown."""
    if not value:
        return names
    unknown = sorted(set(value.split(",")) - set(names))
    if unknown:
        parser.error(f"{option}: {unknown[0]!r} is none of: {', '.join(names)}")
    return value.split(",")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of npz files")
    parser.add_argument("--output", type=Path, default=Path("accuracy_results"))
    parser.add_argument("--sets", help="names, separated by commas; all by default")
    parser.add_argument("--models", help="names, separated by commas; all by default")
    parser.add_argument("--splits", type=int, help="random splits of every set, instead of 20 or 5")
    parser.add_argument("--test-size", type=float, default=0.2, help="share of the test rows")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--ablate", action="store_true", help="variants of the estimator instead of peers")
    mode.add_argument("--noise", action="store_true", help="one block replaced by noise instead of peers")
    arguments = parser.parse_args()
    kind = "ablation" if arguments.ablate else "noise" if arguments.noise else "results"
    paths = sorted(arguments.data.glob("*.npz"))
    sets = _known(parser, "--sets", arguments.sets, [path.stem for path in paths])
    models = _known(parser, "--models", arguments.models, [name for name, _, _ in candidates(np.ones((2, 2)), 1, kind)])
    arguments.output.mkdir(parents=True, exist_ok=True)
    log = arguments.output / f"{kind}.jsonl"
    results = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    done = {(row["set"], row["model"], row["split"]) for row in results}
    for path in paths:
        if path.stem not in sets:
            continue
        X, n_a, y, published = read(path)
        published = None if kind != "results" else published
        for name, model, data in candidates(X, n_a, kind):
            if name not in models:
                continue
            for split, train, test in splits_of(y, published, arguments.splits, arguments.test_size):
                if (path.stem, name, split) in done:
                    continue
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of convergence: peers run as they are usually run
                    scores = evaluate(model, data, y, train, test)
                row = {"set": path.stem, "model": name, "split": split, **scores}
                with log.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                results.append(row)
                print(
                    f"{path.stem:20s} {name:28s} {split:>9s}  accuracy {row['accuracy']:.4f}  macro F1 "
                    f"{row['macro_f1']:.4f}  log loss {row['log_loss']:.3f}  {row['seconds']:.1f} s",
                    flush=True,
                )
    text = tables(results, "default" if arguments.ablate else "skdual")
    log.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
