import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdual import DualBranchClassifier
from skdual.plotting import ProjectionErrorDisplay


def test_it_holds_each_rows_error_to_its_class_and_the_nearest_other(fitted, two_blocks):
    X, y = two_blocks
    display = ProjectionErrorDisplay.from_estimator(fitted, X, y)
    classes = fitted.classes_.tolist()
    for row, label, own, other in zip(
        fitted.projection_error(X), y, display.own_errors, display.other_errors, strict=True
    ):
        errors = dict(zip(classes, row, strict=True))
        assert own == errors.pop(label)
        assert other == min(errors.values())


def test_rows_below_the_diagonal_are_those_that_predict_gets_wrong(fitted, two_blocks):
    X, y = two_blocks
    y = np.roll(y, 30)  # so that many are
    display = ProjectionErrorDisplay.from_estimator(fitted, X, y)
    wrong = fitted.predict(X) != y
    assert 0 < wrong.sum() < len(y)
    np.testing.assert_array_equal(display.misclassified, wrong)
    right_drawn, wrong_drawn = (np.asarray(scatter.get_offsets()) for scatter in display.scatter_)
    points = np.column_stack([display.own_errors, display.other_errors])
    np.testing.assert_allclose(right_drawn, points[~wrong])
    np.testing.assert_allclose(wrong_drawn, points[wrong])
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == [f"correct ({(~wrong).sum()})", f"misclassified ({wrong.sum()})", "equally near"]


def test_the_picture_is_square_around_the_diagonal(fitted, two_blocks):
    display = ProjectionErrorDisplay.from_estimator(fitted, *two_blocks)
    xs, ys = display.line_.get_data()
    np.testing.assert_array_equal(xs, ys)
    assert display.ax_.get_xlim() == display.ax_.get_ylim()
    assert display.ax_.get_xlim()[1] > max(display.own_errors.max(), display.other_errors.max())


def test_two_classes_and_a_pipeline(two_blocks, quick):
    X, y = two_blocks
    y = (y == "left").astype(int)
    pipeline = make_pipeline(StandardScaler(), DualBranchClassifier(**quick)).fit(X, y)
    display = ProjectionErrorDisplay.from_estimator(pipeline, X, y)
    errors = pipeline[-1].projection_error(pipeline[0].transform(X))
    np.testing.assert_array_equal(display.own_errors, errors[np.arange(len(y)), y])
    np.testing.assert_array_equal(display.other_errors, errors[np.arange(len(y)), 1 - y])


def test_it_draws_on_given_axes():
    figure, (ax, other) = plt.subplots(1, 2)
    display = ProjectionErrorDisplay([0.1, 0.5], [0.4, 0.2]).plot(ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert not other.collections
    assert display.misclassified.tolist() == [False, True]


def test_what_it_refuses(fitted, two_blocks, quick):
    X, y = two_blocks
    linear = DualBranchClassifier(**{**quick, "head": "linear", "max_epochs": 1}).fit(X, y)
    with pytest.raises(ValueError, match="head='subspace', got one with head='linear'"):
        ProjectionErrorDisplay.from_estimator(linear, X, y)
    with pytest.raises(ValueError, match="'top'"):
        ProjectionErrorDisplay.from_estimator(fitted, X, np.where(y == "left", "top", y))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ProjectionErrorDisplay.from_estimator(fitted, X, y[1:])
    with pytest.raises(NotFittedError):
        ProjectionErrorDisplay.from_estimator(clone(fitted), X, y)
    with pytest.raises(TypeError, match="got StandardScaler"):
        ProjectionErrorDisplay.from_estimator(StandardScaler(), X, y)
