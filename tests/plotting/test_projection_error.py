import copy

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdual import DualBranchClassifier
from skdual.plotting import ProjectionErrorDisplay


def test_projection_error_display_holds_each_rows_error_to_its_class_and_the_nearest_other(fitted, two_blocks):
    X, y = two_blocks
    display = ProjectionErrorDisplay.from_estimator(fitted, X, y)
    classes = fitted.classes_.tolist()
    for row, label, own, other in zip(
        fitted.projection_error(X), y, display.own_errors, display.other_errors, strict=True
    ):
        errors = dict(zip(classes, row, strict=True))
        assert own == errors.pop(label)
        assert other == min(errors.values())


@pytest.mark.parametrize("with_offsets", [False, True])
def test_rows_that_predict_gets_wrong_are_drawn_as_such(fitted, two_blocks, with_offsets):
    X, y = two_blocks
    y = np.roll(y, 30)  # so that many are
    fitted = copy.deepcopy(fitted)
    fitted.network_.ensemble.class_offsets.copy_(torch.tensor([1.0, -1.0, 0.0]) if with_offsets else torch.zeros(3))
    display = ProjectionErrorDisplay.from_estimator(fitted, X, y)
    wrong = fitted.predict(X) != y
    assert np.array_equal(display.other_errors < display.own_errors, wrong) == (not with_offsets)
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


def test_the_head_is_that_of_the_fit(fitted, two_blocks, quick):
    X, y = two_blocks
    expected = ProjectionErrorDisplay.from_estimator(fitted, X, y)
    changed = copy.copy(fitted).set_params(head="linear")
    np.testing.assert_array_equal(ProjectionErrorDisplay.from_estimator(changed, X, y).own_errors, expected.own_errors)
    linear = DualBranchClassifier(**{**quick, "head": "linear", "max_epochs": 1}).fit(X, y).set_params(head="subspace")
    with pytest.raises(
        ValueError, match="needs a classifier that was fitted with head='subspace', got one fitted with"
    ):
        ProjectionErrorDisplay.from_estimator(linear, X, y)


def test_labels_are_looked_up_as_everywhere(two_blocks, quick):
    X, y = two_blocks
    codes = np.unique(y, return_inverse=True)[1] * 10
    model = DualBranchClassifier(**{**quick, "max_epochs": 1}).fit(X, codes)
    expected = ProjectionErrorDisplay.from_estimator(model, X, codes).own_errors
    for same in (codes.tolist(), codes.astype(float), codes.astype(object)):
        np.testing.assert_array_equal(ProjectionErrorDisplay.from_estimator(model, X, same).own_errors, expected)
    for wrong in (codes.astype(str), codes == 10, None, 10, np.stack([codes, codes], axis=1), [None] * 150):
        with pytest.raises(ValueError, match=r"\by (must|has|to be passed)"):
            ProjectionErrorDisplay.from_estimator(model, X, wrong)


def test_one_row_and_errors_of_nothing_can_be_drawn(fitted, two_blocks, recwarn):
    X, y = two_blocks
    assert ProjectionErrorDisplay.from_estimator(fitted, X[:1], y[:1]).own_errors.shape == (1,)
    assert ProjectionErrorDisplay([0.0], [0.0]).plot().ax_.get_xlim()[1] == 1
    assert not recwarn.list


def test_projection_error_display_draws_on_given_axes():
    figure, (ax, other) = plt.subplots(1, 2)
    display = ProjectionErrorDisplay([0.1, 0.5], [0.4, 0.2]).plot(ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert not other.collections
    assert display.misclassified.tolist() == [False, True]


@pytest.mark.parametrize("scales", [("log", "log"), ("log", "linear"), ("linear", "log")])
def test_both_axes_cover_one_range_where_one_is_logarithmic(scales, recwarn):
    for own, other, least in (([0.1, 0.5], [0.4, 0.2], 0.1), ([0.0, 0.5], [0.4, 0.2], 0.2), ([0.0], [0.0], 1.0)):
        _, ax = plt.subplots()
        ax.set(xscale=scales[0], yscale=scales[1])
        ProjectionErrorDisplay(own, other).plot(ax=ax)
        assert ax.get_xlim() == ax.get_ylim()
        assert 0 < ax.get_xlim()[0] <= least
    assert not [w for w in recwarn if "limit" in str(w.message) or "lim on" in str(w.message)]


def test_projection_error_display_refuses_wrong_arguments(fitted, two_blocks, quick):
    X, y = two_blocks
    linear = DualBranchClassifier(**{**quick, "head": "linear", "max_epochs": 1}).fit(X, y)
    with pytest.raises(ValueError, match="fitted with head='subspace', got one fitted without"):
        ProjectionErrorDisplay.from_estimator(linear, X, y)
    with pytest.raises(ValueError, match=r"y has 1 label\(s\) that are not in classes_, 'top' first"):
        ProjectionErrorDisplay.from_estimator(fitted, X, np.where(y == "left", "top", y))
    with pytest.raises(ValueError, match="X and y must have the same number of rows; X has 150, y has 149"):
        ProjectionErrorDisplay.from_estimator(fitted, X, y[1:])
    expected = r"own_errors must be finite numbers of shape \(n,\) with n at least 1, got "
    for errors, got in (
        ([], r"the shape \(0,\)"),
        ([[0.1, 0.2]], r"the shape \(1, 2\)"),
        (0.1, r"the shape \(\)"),
        (None, r"the shape \(\)"),
        ([0.1, np.nan], "nan in row 1"),
    ):
        with pytest.raises(ValueError, match=expected + got):
            ProjectionErrorDisplay(errors, [0.1])
    with pytest.raises(ValueError, match=r"other_errors must be finite numbers .* got \['a'\]"):
        ProjectionErrorDisplay([0.1], ["a"])
    for misclassified in ([0], [True, False], [[True]], True):
        with pytest.raises(ValueError, match=r"misclassified must have one bool for each of 1 rows; got"):
            ProjectionErrorDisplay([0.1], [0.2], misclassified)
    with pytest.raises(ValueError, match="own_errors and other_errors must have one number for each row; got 1 and 2"):
        ProjectionErrorDisplay([0.1], [0.1, 0.2])
    with pytest.raises(NotFittedError):
        ProjectionErrorDisplay.from_estimator(clone(fitted), X, y)
    with pytest.raises(TypeError, match="got StandardScaler"):
        ProjectionErrorDisplay.from_estimator(StandardScaler(), X, y)
