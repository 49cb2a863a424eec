from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdual import DualBranchClassifier
from skdual.inspection import attributions
from skdual.plotting import AttributionDisplay


def frame(values, blocks):
    columns = [(block, name) for block, names in blocks.items() for name in names]
    return pd.DataFrame(values, columns=pd.MultiIndex.from_tuples(columns, names=["block", "feature"]))


HAND_MADE = frame(
    [[1.0, -3.0, 0.0, 0.5, -0.5], [-1.0, 1.0, 0.0, 0.5, 4.5]],
    {"rna": ["CD3E", "MS4A1", "GNLY"], "protein": ["CD3", "CD19"]},
)


def test_features_are_ranked_by_mean_absolute_attribution_within_their_block():
    display = AttributionDisplay(HAND_MADE)
    assert display.importances["rna"].to_dict() == {"MS4A1": 2.0, "CD3E": 1.0, "GNLY": 0.0}
    assert list(display.importances["rna"].index) == ["MS4A1", "CD3E", "GNLY"]
    assert list(display.importances["protein"].items()) == [("CD19", 2.5), ("CD3", 0.5)]


def test_the_top_features_are_drawn_from_above_on_one_scale():
    display = AttributionDisplay(HAND_MADE).plot(n_features=2)
    assert list(display.axes_) == ["rna", "protein"]
    widths = {block: [bar.get_width() for bar in bars] for block, bars in display.bars_.items()}
    assert widths == {"rna": [2.0, 1.0], "protein": [2.5, 0.5]}
    names = {block: [text.get_text() for text in ax.get_yticklabels()] for block, ax in display.axes_.items()}
    assert names == {"rna": ["MS4A1", "CD3E"], "protein": ["CD19", "CD3"]}
    rna, protein = display.axes_.values()
    assert rna.get_title() == "rna: top 2 of 3 features"
    assert rna.yaxis_inverted()
    assert rna.get_xlim() == protein.get_xlim()
    assert rna.get_ylim() == protein.get_ylim()
    assert rna.get_xlim()[1] > 2.5


def test_every_block_of_a_frame_made_by_hand_is_drawn():
    display = AttributionDisplay(frame([[1.0, 2.0, 3.0]], {"a": ["x"], "b": ["x"], "c": ["x"]})).plot()
    assert [bars[0].get_width() for bars in display.bars_.values()] == [1.0, 2.0, 3.0]


def test_features_of_the_same_name_stay_apart():
    attributions = frame([[1.0, 2.0, 3.0, 4.0]], {"a": ["x0", "x0"], "b": ["x0", "x1"]})
    display = AttributionDisplay(attributions).plot()
    assert [bar.get_width() for bar in display.bars_["a"]] == [2.0, 1.0]
    assert [bar.get_width() for bar in display.bars_["b"]] == [4.0, 3.0]


def test_long_names_are_cut_and_nothing_overlaps():
    names = [f"{'very ' * 12}long name {i}" for i in range(12)]
    display = AttributionDisplay(frame(np.ones((2, 24)), {"one": names, "two": names})).plot(n_features=12)
    display.figure_.canvas.draw()
    one, two = (ax.get_tightbbox() for ax in display.axes_.values())
    assert one.x0 >= 0
    assert one.x1 <= two.x0
    for ax in display.axes_.values():
        boxes = [text.get_window_extent() for text in ax.get_yticklabels()]
        assert all(len(text.get_text()) == 30 for text in ax.get_yticklabels())
        assert all(upper.y0 >= lower.y1 for upper, lower in pairwise(boxes))


def test_names_between_dollar_signs_are_no_formulas():
    display = AttributionDisplay(frame(np.ones((2, 2)), {"$_one_$": ["paid_$_in_$"], "two": ["b"]})).plot()
    display.figure_.canvas.draw()
    (name,) = display.axes_["$_one_$"].get_yticklabels()
    assert name.get_text().replace(r"\$", "$") == "paid_$_in_$"


def test_attributions_of_nothing_can_be_drawn():
    display = AttributionDisplay(frame(np.zeros((2, 2)), {"a": ["x0"], "b": ["x1"]})).plot()
    assert display.axes_["a"].get_xlim() == (0, 1)


@pytest.mark.parametrize("layout", [None, "constrained", "tight"])
def test_attribution_display_draws_within_given_axes(layout):
    figure, (ax, other) = plt.subplots(1, 2, figsize=(14, 4), layout=layout)
    display = AttributionDisplay(HAND_MADE).plot(ax=ax)
    figure.canvas.draw()
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert all(panel.get_position().x1 < other.get_position().x0 for panel in display.axes_.values())


def test_from_estimator_draws_what_inspection_computes(fitted, two_blocks):
    X, _ = two_blocks
    names = [f"gene {i}" for i in range(12)]
    arguments = {"method": "gradient_x_input", "target": "left", "baseline": X[0], "feature_names": names}
    display = AttributionDisplay.from_estimator(fitted, X[:20], n_features=3, **arguments)
    expected = attributions(fitted, X[:20], **arguments)
    pd.testing.assert_frame_equal(display.attributions, expected)
    for block, bars in display.bars_.items():
        sizes = np.abs(expected[block].to_numpy()).mean(axis=0)
        np.testing.assert_allclose([bar.get_width() for bar in bars], np.sort(sizes)[::-1][:3], rtol=1e-6)
        first = display.axes_[block].get_yticklabels()[0].get_text()
        assert first == expected[block].columns[sizes.argmax()]


def test_a_pipeline_explains_the_columns_that_reach_the_classifier(two_blocks, quick):
    X, y = two_blocks
    pipeline = make_pipeline(StandardScaler(), DualBranchClassifier(**quick)).fit(X, y)
    display = AttributionDisplay.from_estimator(pipeline, X[:10], method="gradient_x_input")
    expected = attributions(pipeline[-1], pipeline[0].transform(X[:10]), method="gradient_x_input")
    pd.testing.assert_frame_equal(display.attributions, expected)


@pytest.mark.parametrize("n_features", [0, 2.0, True])
def test_n_features_is_checked(fitted, two_blocks, n_features):
    with pytest.raises(ValueError, match="n_features must be an int of at least 1"):
        AttributionDisplay.from_estimator(fitted, two_blocks[0], n_features=n_features)
    with pytest.raises(ValueError, match="n_features must be an int of at least 1"):
        AttributionDisplay(HAND_MADE).plot(n_features=n_features)


def test_attribution_display_refuses_wrong_arguments(fitted):
    with pytest.raises(TypeError, match="attributions must be a pandas DataFrame, got ndarray"):
        AttributionDisplay(HAND_MADE.to_numpy())
    expected = r"attributions must be finite numbers of shape \(n, 5\) with n at least 1, got "
    with pytest.raises(ValueError, match="attributions must have at least one column"):
        AttributionDisplay(HAND_MADE.iloc[:, :0])
    for wrong, got in (
        (HAND_MADE[:0], r"the shape \(0, 5\)"),
        (HAND_MADE.replace(4.5, np.nan), "nan in row 1"),
        (HAND_MADE.astype(str) + " units", ""),
    ):
        with pytest.raises(ValueError, match=expected + got):
            AttributionDisplay(wrong)
    with pytest.raises(ValueError, match=r"column levels 'block' and 'feature', got \[None\]"):
        AttributionDisplay(pd.DataFrame({"x0": [1.0]}))
