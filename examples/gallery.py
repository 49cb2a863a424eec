"""Every picture of skdual.plotting, on HTAD, as PNGs in a folder.

Run: pip install ".[examples,plotting,inspection]" && python examples/gallery.py --output gallery
"""

import argparse
from pathlib import Path

import matplotlib
from sklearn.model_selection import train_test_split

from skdual import DualBranchClassifier
from skdual.datasets import load_htad
from skdual.plotting import AttributionDisplay, EmbeddingDisplay, ProjectionErrorDisplay, TrainingCurveDisplay


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("gallery"), help="folder for the PNGs (gallery)")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    matplotlib.use("Agg")  # draws into files, with no window

    htad = load_htad(as_frame=True)
    X_train, X_test, y_train, y_test = train_test_split(
        htad.data, htad.target, test_size=0.2, stratify=htad.target, random_state=0
    )
    model = DualBranchClassifier(blocks=htad.blocks, n_members=2, early_stopping=True, random_state=0)
    model.fit(X_train, y_train)

    rows = {"X_held_out": X_test, "y_held_out": y_test, "random_state": 0}
    curves = TrainingCurveDisplay.from_estimator(model)
    pictures = {
        "training_curve": curves,
        "embedding_pca": EmbeddingDisplay.from_estimator(model, X_train, y_train, **rows),
        "embedding_tsne": EmbeddingDisplay.from_estimator(model, X_train, y_train, **rows, method="tsne"),
        "projection_error": ProjectionErrorDisplay.from_estimator(model, X_test, y_test),
        "attribution": AttributionDisplay.from_estimator(model, X_test),
    }
    print(f"verdict: {curves.verdict}")
    for name, display in pictures.items():
        path = output / f"{name}.png"
        display.figure_.savefig(path, dpi=150)
        print(f"saved {path}")


if __name__ == "__main__":
    main()
