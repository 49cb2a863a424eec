"""Image and text features of items in eight categories: what both bring together, and whether probabilities hold.

The data are simulated to look like what a pretrained image encoder (512 columns) and a text encoder (384) give: rows of
unit length, most of their variance in few directions, several topics in a category. Two categories look alike and two
others read alike; one image and one text in five are about something else, and of the labels 5 per cent are noise.

Two members and 20 epochs keep the three fits short; logistic regression has its penalty chosen by cross-validation.

Run: pip install ".[examples]" && python examples/image_text.py [--output image_text.png]
Own data: python examples/image_text.py --data FILE.npz
(arrays a of shape (n, p_a), b of shape (n, p_b) and y of n labels).
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from scipy.special import softmax
from sklearn.calibration import CalibrationDisplay
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize

from skdual import DualBranchClassifier, join_blocks

CATEGORIES = ["bags", "books", "garden", "kitchen", "lamps", "shoes", "tools", "toys"]
TOPICS = 3  # in every category
LOOK_ALIKE, READ_ALIKE = (0, 5), (6, 2)  # places in CATEGORIES
OFF_TOPIC, WRONG_LABELS = 0.2, 0.05


def simulate(n_items=2000, random_state=0):
    """Image embeddings (n, 512), text embeddings (n, 384) and labels."""
    rng = np.random.default_rng(random_state)
    category = rng.integers(len(CATEGORIES), size=n_items)
    topic = category * TOPICS + rng.integers(TOPICS, size=n_items)

    def embed(width, alike):
        scale = np.arange(1, width + 1) ** -0.5
        centers = 0.6 * rng.normal(size=(len(CATEGORIES), TOPICS, width)) * scale
        centers[alike[1]] = centers[alike[0]]
        centers = centers.reshape(-1, width)
        about = np.where(rng.random(n_items) < OFF_TOPIC, rng.integers(len(centers), size=n_items), topic)
        common = 2 * rng.normal(size=width) * scale  # embeddings share a direction
        rows = common + centers[about] + rng.normal(size=(n_items, width)) * scale
        rotation = np.linalg.qr(rng.normal(size=(width, width)))[0]
        return normalize(rows @ rotation).astype(np.float32)

    image, text = embed(512, LOOK_ALIKE), embed(384, READ_ALIKE)
    wrong = rng.random(n_items) < WRONG_LABELS
    category[wrong] = rng.integers(len(CATEGORIES), size=wrong.sum())
    return image, text, np.array(CATEGORIES)[category]


def at_temperature_one(model, X):
    """Probabilities as they were without the temperature."""
    return softmax(model.predict_log_proba(X) * model.probability_temperature_, axis=1)


def draw(probabilities, y, classes, output):
    """How often the predicted label is right, by its probability."""
    figure, ax = plt.subplots(figsize=(6.5, 6), layout="constrained")
    for name, p in probabilities.items():
        right = classes[p.argmax(axis=1)] == y
        CalibrationDisplay.from_predictions(right, p.max(axis=1), n_bins=8, strategy="quantile", name=name, ax=ax)
    ax.set(xlabel="probability of the predicted label, mean of a bin", ylabel="share of right labels in it")
    figure.savefig(output, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="an .npz file with a, b and y; simulated items by default")
    parser.add_argument("--output", type=Path, default="image_text.png", help="the picture (image_text.png)")
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
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    print(f"{len(X_train)} items to train on, {len(X_test)} to test on; {a.shape[1]} + {b.shape[1]} columns")

    settings = {"n_members": 2, "max_epochs": 20, "random_state": 0}
    logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    penalties = {"logisticregression__C": np.logspace(-4, 0, 5)}
    models = {
        "image alone": (DualBranchClassifier(**settings), slice(0, a.shape[1])),
        "text alone": (DualBranchClassifier(**settings), slice(a.shape[1], None)),
        "both": (DualBranchClassifier(blocks, **settings), slice(None)),
        "logistic regression of both": (GridSearchCV(logistic, penalties, scoring="neg_log_loss", cv=3), slice(None)),
    }
    losses, probabilities = {}, {}
    for name, (model, columns) in models.items():
        p = probabilities[name] = model.fit(X_train[:, columns], y_train).predict_proba(X_test[:, columns])
        losses[name] = log_loss(y_test, p)
        accuracy = accuracy_score(y_test, model.predict(X_test[:, columns]))
        print(f"{name:28s} accuracy {accuracy:.3f}   log loss {losses[name]:.3f}", flush=True)

    both, _ = models["both"]
    probabilities["both, at temperature 1"] = at_temperature_one(both, X_test)
    plain = log_loss(y_test, probabilities["both, at temperature 1"])
    print(
        f"\nprobability_temperature_ {both.probability_temperature_:.2f}: the log loss of both is {losses['both']:.3f} "
        f"with it and {plain:.3f} without"
    )
    better = min(losses["image alone"], losses["text alone"])
    print(f"both blocks take {better - losses['both']:.3f} off the log loss of the better single one")
    shown = ("both", "both, at temperature 1", "logistic regression of both")
    draw({name: probabilities[name] for name in shown}, y_test, both.classes_, arguments.output)
    print(f"saved {arguments.output}")


if __name__ == "__main__":
    main()
