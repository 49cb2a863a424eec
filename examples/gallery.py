"""Every picture of skdual.plotting as small PNGs in a folder: those of the README.

HTAD for all but the features that count most, which are genes and fatty acids of nutrimouse.

Run: pip install ".[plotting,inspection]" && python examples/gallery.py --output examples/pictures
"""

import argparse
from pathlib import Path

import matplotlib
from PIL import Image
from sklearn.model_selection import train_test_split

from skdual import DualBranchClassifier
from skdual.datasets import load_htad, load_nutrimouse
from skdual.plotting import AttributionDisplay, EmbeddingDisplay, ProjectionErrorDisplay, TrainingCurveDisplay

WIDTH, HEIGHT, DPI = 720, 520, 90  # pixels


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("gallery"), help="folder for the PNGs (gallery)")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    matplotlib.use("Agg")  # draws into files, with no window

    htad = load_htad()
    X_train, X_test, y_train, y_test = train_test_split(
        htad.data, htad.target, test_size=0.2, stratify=htad.target, random_state=0
    )
    model = DualBranchClassifier(blocks=htad.blocks, n_members=2, early_stopping=True, random_state=0)
    model.fit(X_train, y_train)

    mice = load_nutrimouse(as_frame=True)
    mice_model = DualBranchClassifier(blocks=mice.blocks, n_members=2, random_state=0).fit(mice.data, mice.target)

    rows = {"X_held_out": X_test, "y_held_out": y_test, "random_state": 0}
    curves = TrainingCurveDisplay.from_estimator(model)
    pictures = {
        "training_curve": curves,
        "embedding_pca": EmbeddingDisplay.from_estimator(model, X_train, y_train, **rows),
        "embedding_tsne": EmbeddingDisplay.from_estimator(model, X_train, y_train, **rows, method="tsne"),
        "projection_error": ProjectionErrorDisplay.from_estimator(model, X_test, y_test),
        "attribution": AttributionDisplay.from_estimator(mice_model, mice.data),
    }
    print(f"verdict: {curves.verdict}")
    for name, display in pictures.items():
        path = output / f"{name}.png"
        display.figure_.set_size_inches(WIDTH / DPI, HEIGHT / DPI)
        display.figure_.savefig(path, dpi=DPI)
        Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)  # a palette keeps files small
        print(f"saved {path}")


if __name__ == "__main__":
    main()
