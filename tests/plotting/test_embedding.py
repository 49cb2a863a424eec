from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.manifold import trustworthiness
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skdual.plotting import EmbeddingDisplay
from skdual.plotting.colors import CLASS_COLORS


def labels_of(legend):
    return [text.get_text() for text in legend.get_texts()]


def same_up_to_sign(a, b):
    return all(np.allclose(x, y, atol=1e-4) or np.allclose(x, -y, atol=1e-4) for x, y in zip(a.T, b.T, strict=True))


def test_pca_is_fitted_on_x_alone_and_held_out_rows_are_projected(fitted, two_blocks):
    X, y = two_blocks
    display = EmbeddingDisplay.from_estimator(fitted, X[:100], y[:100], X_held_out=X[100:], y_held_out=y[100:])
    z = fitted.transform(X).astype(np.float64)
    mean = z[:100].mean(axis=0)
    _, spread, axes = np.linalg.svd(z[:100] - mean, full_matrices=False)
    expected = (z - mean) @ axes[:2].T
    points = np.concatenate([display.points, display.held_out_points])
    assert same_up_to_sign(points, expected)
    share = spread**2 / (spread**2).sum()
    assert display.axis_labels == tuple(f"component {i + 1} ({share[i]:.0%} of variance)" for i in range(2))
    np.testing.assert_array_equal(display.ax_.get_xlabel(), display.axis_labels[0])


def test_tsne_keeps_neighbours_and_places_held_out_rows_too(fitted, two_blocks):
    X, y = two_blocks
    rows = {"X_held_out": X[100:], "y_held_out": y[100:], "method": "tsne"}
    display = EmbeddingDisplay.from_estimator(fitted, X[:100], y[:100], **rows, random_state=0)
    points = np.concatenate([display.points, display.held_out_points])
    assert points.shape == (150, 2)
    assert trustworthiness(fitted.transform(X), points, n_neighbors=5) > 0.9
    again = EmbeddingDisplay.from_estimator(fitted, X[:100], y[:100], **rows, random_state=0)
    np.testing.assert_array_equal(again.points, display.points)


def test_tsne_of_few_rows(fitted, two_blocks):
    X, y = two_blocks
    assert EmbeddingDisplay.from_estimator(fitted, X[:5], y[:5], method="tsne").points.shape == (5, 2)


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_rows_that_do_not_differ_have_no_picture(fitted, two_blocks, method):
    X, y = two_blocks
    with pytest.raises(ValueError, match=f"method='{method}' needs rows that differ, got 5 rows of one embedding"):
        EmbeddingDisplay.from_estimator(fitted, np.tile(X[:1], (5, 1)), y[:5], method=method)


def test_colours_go_by_class_and_held_out_rows_are_marked():
    y, y_held_out = np.array(["b", "a", "b"]), np.array(["c", "b"])
    points, held_out = np.arange(6.0).reshape(3, 2), np.arange(4.0).reshape(2, 2)
    display = EmbeddingDisplay(points, y, held_out_points=held_out, y_held_out=y_held_out).plot()
    assert display.classes.tolist() == ["a", "b", "c"]
    display.figure_.canvas.draw()
    training, marked = display.scatter_
    np.testing.assert_array_equal(training.get_offsets(), points)
    np.testing.assert_array_equal(marked.get_offsets(), held_out)
    color = dict(zip("abc", CLASS_COLORS, strict=False))
    assert [to_hex(rgba) for rgba in training.get_facecolors()] == [color[label] for label in y]
    assert [to_hex(rgba) for rgba in marked.get_facecolors()] == [color[label] for label in y_held_out]
    assert len(marked.get_paths()[0].vertices) < len(training.get_paths()[0].vertices)  # triangles, not discs
    legend = display.ax_.get_legend()
    assert labels_of(legend) == ["a", "b", "c", "training", "held out"]
    assert [to_hex(handle.get_color()) for handle in legend.legend_handles[:3]] == list(color.values())


def test_labels_between_dollar_signs_are_no_formulas():
    for n_classes in (2, 12):
        labels = np.array([f"${letter}_$" for letter in "abcdefghijkl"[:n_classes]])
        display = EmbeddingDisplay(np.random.default_rng(0).normal(size=(n_classes, 2)), labels).plot()
        display.figure_.canvas.draw()
        if n_classes == 2:
            assert [text.replace(r"\$", "$") for text in labels_of(display.ax_.get_legend())] == labels.tolist()


def test_labels_may_be_dates_in_any_unit():
    days = np.array(["2020-01-01", "2020-01-02"], dtype="M8[D]")
    display = EmbeddingDisplay(np.eye(2), days, held_out_points=np.eye(2), y_held_out=days.astype("M8[s]")).plot()
    assert display.classes.tolist() == days.astype("M8[s]").tolist()


def test_without_held_out_rows_the_legend_has_classes_only():
    display = EmbeddingDisplay(np.zeros((2, 2)), [1, 0]).plot()
    assert len(display.scatter_) == 1
    assert labels_of(display.ax_.get_legend()) == ["0", "1"]


@pytest.mark.parametrize("n_classes", [11, 100])
def test_many_classes_have_a_scale_and_no_long_legend(n_classes):
    rng = np.random.default_rng(0)
    y = np.array([f"species {i:03d}" for i in range(n_classes)]).repeat(3)
    rows = {"held_out_points": rng.normal(size=(len(y), 2)), "y_held_out": y}
    display = EmbeddingDisplay(rng.normal(size=(len(y), 2)), y, **rows).plot()
    display.figure_.canvas.draw()
    assert labels_of(display.ax_.get_legend()) == ["training", "held out"]
    colors = {to_hex(rgba) for rgba in display.scatter_[1].get_facecolors()}
    assert len(colors) == n_classes
    scale = next(ax for ax in display.figure_.axes if ax is not display.ax_)
    ticks = [text.get_text() for text in scale.get_yticklabels()]
    assert len(ticks) == 11
    assert ticks[0] == "species 000"
    assert ticks[-1] == f"species {n_classes - 1:03d}"
    boxes = [text.get_window_extent() for text in scale.get_yticklabels()]
    assert all(lower.y1 <= upper.y0 for lower, upper in pairwise(boxes))


@pytest.mark.parametrize("n_classes", [256, 257, 400])
def test_hundreds_of_classes_still_differ_from_their_neighbours(n_classes):
    rng = np.random.default_rng(0)
    y = rng.permutation(n_classes)
    display = EmbeddingDisplay(rng.normal(size=(n_classes, 2)), y).plot()
    display.figure_.canvas.draw()
    colors = display.scatter_[0].get_facecolors()[np.argsort(y)]
    assert len(np.unique(colors, axis=0)) == n_classes
    steps = np.abs(np.diff(colors, axis=0)).sum(axis=1)
    assert steps.min() > 0.2 * steps.mean()
    brightness = colors[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(brightness) > 0).all()  # in the order of the classes


def test_points_may_be_lists_or_frames():
    y, points = ["a", "b", "a"], [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    for form in (points, pd.DataFrame(points), np.array(points)):
        display = EmbeddingDisplay(form, y, held_out_points=form, y_held_out=y).plot()
        for scatter in display.scatter_:
            np.testing.assert_array_equal(scatter.get_offsets(), points)


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_a_single_row_has_no_picture_but_may_be_held_out(fitted, two_blocks, method):
    X, y = two_blocks
    with pytest.raises(ValueError, match=f"method='{method}' needs at least 2 rows, got an X of 1"):
        EmbeddingDisplay.from_estimator(fitted, X[:1], y[:1], method=method)
    held_out = {"X_held_out": X[9:10], "y_held_out": y[9:10]}
    display = EmbeddingDisplay.from_estimator(fitted, X[:9], y[:9], method=method, **held_out)
    assert display.held_out_points.shape == (1, 2)


def test_the_legend_lies_beside_the_points(fitted, two_blocks):
    display = EmbeddingDisplay.from_estimator(fitted, *two_blocks)
    display.figure_.canvas.draw()
    legend = display.ax_.get_legend().get_window_extent()
    assert not legend.overlaps(display.ax_.get_window_extent())
    assert legend.x1 <= display.figure_.bbox.x1


def test_every_class_is_in_the_legend():
    display = EmbeddingDisplay(np.eye(3, 2), ["_a", "b$c", "d"]).plot()  # "_" would hide it, "$" be a formula
    names = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert names == ["_a", r"b\$c", "d"]


def test_embedding_display_draws_on_given_axes_through_a_pipeline_with_frames(fitted, two_blocks):
    X, y = two_blocks
    figure, (ax, other) = plt.subplots(1, 2)
    pipeline = make_pipeline(FunctionTransformer(lambda rows: rows / 2), fitted)
    display = EmbeddingDisplay.from_estimator(pipeline, 2 * X, y, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert not other.collections
    frames = clone(fitted).fit(X, y).set_output(transform="pandas")
    straight = EmbeddingDisplay.from_estimator(frames, X, y)
    assert isinstance(straight.points, np.ndarray)
    assert same_up_to_sign(display.points, EmbeddingDisplay.from_estimator(fitted, X, y).points)


def test_embedding_display_refuses_wrong_arguments(fitted, two_blocks):
    X, y = two_blocks
    with pytest.raises(ValueError, match=r"method must be one of 'pca', 'tsne'; got array\("):
        EmbeddingDisplay.from_estimator(fitted, X, y, method=np.array(["pca", "tsne"]))
    with pytest.raises(ValueError, match="method must be one of 'pca', 'tsne'; got 'umap'"):
        EmbeddingDisplay.from_estimator(fitted, X, y, method="umap")
    with pytest.raises(ValueError, match="X_held_out and y_held_out must be given together"):
        EmbeddingDisplay.from_estimator(fitted, X, y, X_held_out=X)
    with pytest.raises(TypeError, match="X_held_out: "):
        EmbeddingDisplay.from_estimator(fitted, X, y, X_held_out={}, y_held_out=y)
    for labels in (3, None, "ab", {"a", "b"}, ("a", "b", "c")):
        with pytest.raises(ValueError, match="axis_labels must be a pair"):
            EmbeddingDisplay(X[:, :2], y, axis_labels=labels)
    with pytest.raises(ValueError, match="held_out_points and y_held_out must be given together"):
        EmbeddingDisplay(X[:, :2], y, y_held_out=y)
    with pytest.raises(ValueError, match="X and y must have the same number of rows; X has 150, y has 149"):
        EmbeddingDisplay.from_estimator(fitted, X, y[1:])
    with pytest.raises(ValueError, match="X_held_out: X has 11 features"):
        EmbeddingDisplay.from_estimator(fitted, X, y, X_held_out=X[:9, :11], y_held_out=y[:9])
    with pytest.raises(ValueError, match="X_held_out has 9, y_held_out has 3"):
        EmbeddingDisplay.from_estimator(fitted, X, y, X_held_out=X[:9], y_held_out=y[:3])
    with pytest.raises(ValueError, match="points and y must have the same number of rows; points has 150, y has 149"):
        EmbeddingDisplay(X[:, :2], y[1:])
    with pytest.raises(ValueError, match=r"held_out_points has 9, y_held_out has 3"):
        EmbeddingDisplay(X[:, :2], y, held_out_points=X[:9, :2], y_held_out=y[:3])
    for points in (X[:, :3], X[:, 0], X[:0, :2]):
        expected = r"points must be finite numbers of shape \(n, 2\) with n at least 1, got the shape \("
        with pytest.raises(ValueError, match=expected):
            EmbeddingDisplay(points, y[: len(points)])
    with pytest.raises(ValueError, match=r"points must be finite numbers .* got \[\['a', 'b'\]\]"):
        EmbeddingDisplay([["a", "b"]], y[:1])
    with pytest.raises(ValueError, match=r"held_out_points must be finite numbers .* got inf in row 1"):
        EmbeddingDisplay(X[:, :2], y, held_out_points=[[0.0, 1.0], [2.0, np.inf]], y_held_out=y[:2])
    for labels in ("ab", ["x"], ["x", "y", "z"]):
        with pytest.raises(ValueError, match="axis_labels must be a pair, one label for each axis; got "):
            EmbeddingDisplay(X[:, :2], y, axis_labels=labels)
    for wrong in ("left", None, np.stack([y, y], axis=1), [None] * 150, ["left", 1] * 75):
        with pytest.raises(ValueError, match=r"\by (must|has|to be passed)"):
            EmbeddingDisplay.from_estimator(fitted, X, wrong)
    with pytest.raises(ValueError, match="y and y_held_out must hold labels of one kind, got 2 kinds: int, str"):
        EmbeddingDisplay(X[:, :2], y, held_out_points=X[:, :2], y_held_out=np.arange(150))
    with pytest.raises(ValueError, match="y and y_held_out must hold labels of one kind, got booleans and others"):
        EmbeddingDisplay(X[:, :2], y == "left", held_out_points=X[:, :2], y_held_out=np.arange(150))
    frame = pd.DataFrame(X).add_prefix("x")
    named = clone(fitted).fit(frame, y)
    with pytest.raises(ValueError, match="Feature names must be in the same order"):
        EmbeddingDisplay.from_estimator(named, frame[frame.columns[::-1]], y)
    with pytest.raises(NotFittedError):
        EmbeddingDisplay.from_estimator(clone(fitted), X, y)
