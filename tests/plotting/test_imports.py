"""matplotlib is asked for when something is drawn, and not before."""

import subprocess
import sys

import pytest

import skdual.plotting
from skdual.plotting import AttributionDisplay, EmbeddingDisplay, ProjectionErrorDisplay, TrainingCurveDisplay


def test_importing_loads_no_library_that_draws_or_explains():
    code = (
        "import sys, skdual, skdual.plotting as p\n"
        "p.learning_verdict([]); p.ProjectionErrorDisplay([0.1], [0.2]); p.EmbeddingDisplay([[0, 0]], [1])\n"
        "print([name for name in ('matplotlib', 'captum') if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.strip() == "[]"


def test_without_matplotlib_the_error_names_the_extra(fitted, two_blocks, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    X, y = two_blocks
    for draw, caller in (
        (lambda: TrainingCurveDisplay.from_estimator(fitted), "TrainingCurveDisplay.from_estimator"),
        (lambda: EmbeddingDisplay.from_estimator(fitted, X, y), "EmbeddingDisplay.from_estimator"),
        (lambda: ProjectionErrorDisplay([0.1], [0.2]).plot(), "ProjectionErrorDisplay.plot"),
        (lambda: AttributionDisplay.from_estimator(fitted, X), "AttributionDisplay.from_estimator"),
    ):
        with pytest.raises(
            ImportError, match=rf'{caller} needs matplotlib; install it with pip install "skdual\[plotting\]"'
        ):
            draw()


@pytest.mark.parametrize("library", ["captum", "pandas"])
def test_attributions_need_the_extra_of_inspection_too(fitted, two_blocks, monkeypatch, library):
    for module in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, library, None)
    command = rf'AttributionDisplay.from_estimator needs {library}; install it with pip install "skdual\[inspection\]"'
    with pytest.raises(ImportError, match=command):
        AttributionDisplay.from_estimator(fitted, two_blocks[0])


def test_the_public_names():
    displays = {"AttributionDisplay", "EmbeddingDisplay", "ProjectionErrorDisplay", "TrainingCurveDisplay"}
    assert set(skdual.plotting.__all__) == displays | {"LearningVerdict", "learning_verdict"}
    assert all(hasattr(skdual.plotting, name) for name in skdual.plotting.__all__)
