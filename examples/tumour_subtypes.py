"""Tumour subtypes from 4,000 genes and 1,000 methylation sites, one of them visible only in both together.

The data are simulated: 400 tumours whose columns follow modules that rise and fall together, diluted by normal tissue,
with shifts between four hospitals. "immune" tumours differ in genes only, "hypermethylated" ones in sites only. A
pathway is on in half of all tumours; its sites are methylated where its genes are off, except in "escaped" tumours,
where they are where its genes are on: neither block alone, nor any sum of columns, tells these from the "reference".

Half of the members always see both blocks, the others learn to do with either (with block_dropout=0 they don't), which
costs what only both can tell: held-out rows say how much each half counts. Two members keep the fits short.

Run: pip install ".[examples]" && python examples/tumour_subtypes.py [--output tumour_subtypes.png]
Own data: python examples/tumour_subtypes.py --data FILE.npz
(arrays a of shape (n, p_a), b of shape (n, p_b) and y of n labels).
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdual import DualBranchClassifier, join_blocks
from skdual.plotting import EmbeddingDisplay

SHARES = {"reference": 0.3, "immune": 0.25, "hypermethylated": 0.25, "escaped": 0.2}


def simulate(n_tumours=400, n_genes=4000, n_sites=1000, random_state=0):
    """Log expression (n, n_genes), methylated shares (n, n_sites) and subtypes."""
    rng = np.random.default_rng(random_state)
    subtype = rng.choice(list(SHARES), size=n_tumours, p=list(SHARES.values()))
    purity = rng.beta(6, 3, size=(n_tumours, 1))  # share of a sample that is tumour
    hospital = rng.integers(4, size=n_tumours)
    on = rng.choice([-1, 1], size=n_tumours)  # the pathway

    genes, sites = rng.normal(size=(n_tumours, 40)), rng.normal(size=(n_tumours, 20))  # activity of modules
    genes[:, :8] += 1.2 * (subtype == "immune")[:, None]
    sites[:, :5] += 1.2 * (subtype == "hypermethylated")[:, None]
    genes[:, 8:16] += 2 * on[:, None]
    sites[:, 5:10] += 2 * np.where(subtype == "escaped", on, -on)[:, None]

    def columns(activity, n_columns):
        module = rng.integers(activity.shape[1], size=n_columns)
        loading = 0.9 * rng.lognormal(0, 0.5, size=n_columns) * rng.choice([-1, 1], size=n_columns, p=[0.2, 0.8])
        shift = 0.3 * rng.normal(size=(4, n_columns))
        noise = 0.7 * rng.standard_t(4, size=(n_tumours, n_columns))
        return purity * activity[:, module] * loading + shift[hospital] + noise

    mrna = np.maximum(rng.gamma(4, 1.5, size=n_genes) + columns(genes, n_genes), 0)
    methylation = expit(rng.normal(-0.5, 1.5, size=n_sites) + columns(sites, n_sites))
    return mrna.astype(np.float32), methylation.astype(np.float32), subtype


def make_models(blocks):
    """The models to compare, by name."""
    logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    penalties = {"logisticregression__C": np.logspace(-4, 0, 5)}
    return {
        "default": DualBranchClassifier(blocks, n_members=2, random_state=0),
        "block_dropout=0": DualBranchClassifier(blocks, n_members=2, block_dropout=0, random_state=0),
        "logistic regression": GridSearchCV(logistic, penalties, scoring="neg_log_loss", cv=3),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="an .npz file with a, b and y; simulated tumours by default")
    parser.add_argument("--output", type=Path, default="tumour_subtypes.png", help="the picture (tumour_subtypes.png)")
    arguments = parser.parse_args()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    matplotlib.use("Agg")  # draws into files, with no window

    if arguments.data:
        with np.load(arguments.data) as archive:
            missing = {"a", "b", "y"} - set(archive)
            if missing:
                parser.error(f"--data: {arguments.data} has no array {', '.join(sorted(missing))}")
            a, b, y = archive["a"], archive["b"], archive["y"].ravel()
    else:
        a, b, y = simulate()
    X, blocks = join_blocks(a, b)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
    print(f"{len(X_train)} tumours to train on, {len(X_test)} to test on; {a.shape[1]} + {b.shape[1]} columns")

    models, losses = make_models(blocks), {}
    subtypes = np.unique(y_train)
    print(f"{'F1':20s}", *(f"{subtype!s:>16s}" for subtype in subtypes), f"{'macro':>8s} {'log loss':>9s}")
    for name, model in models.items():
        predicted = model.fit(X_train, y_train).predict(X_test)
        losses[name] = log_loss(y_test, model.predict_proba(X_test))
        f1 = f1_score(y_test, predicted, average=None, labels=subtypes)
        print(f"{name:20s}", *(f"{one:16.3f}" for one in f1), f"{f1.mean():8.3f} {losses[name]:9.3f}", flush=True)

    print(f"\nlowest log loss: {min(losses, key=losses.get)}")
    shown = min(("default", "block_dropout=0"), key=losses.get)
    display = EmbeddingDisplay.from_estimator(
        models[shown], X_train, y_train, X_held_out=X_test, y_held_out=y_test, random_state=0
    )
    display.ax_.set_title(f"Embedding ({shown})")
    display.figure_.savefig(arguments.output, dpi=150)
    print(f"saved {arguments.output}")


if __name__ == "__main__":
    main()
