"""Attributions of planted features, in the forms that X comes in, and what they leave alone."""

import enum
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state

from skdual import DualBranchClassifier
from skdual.inspection import attributions, class_attributions

METHODS = ["gradient_x_input", "smooth_grad", "integrated_gradients"]


@pytest.mark.parametrize("method", METHODS)
def test_planted_features_come_first(model, planted, method):
    X, y = planted[0][300:], planted[1][300:]
    by_row = attributions(model, X, target=y, method=method, random_state=0)
    assert set(by_row.abs().mean().nlargest(2).index) == {("rna", "rna2"), ("protein", "protein3")}
    assert by_row[y == "one"].mean().idxmax() == ("rna", "rna2")
    assert by_row[y == "two"].mean().idxmax() == ("protein", "protein3")
    by_class = class_attributions(model, X, y, method=method, random_state=0)
    assert by_class["one"].idxmax() == ("rna", "rna2")
    assert by_class["two"].idxmax() == ("protein", "protein3")


def test_the_frame_has_the_rows_of_x_and_the_columns_by_block(model, planted, blocks):
    found = attributions(model, planted[0][:5])
    assert list(found.index) == [f"row{row}" for row in range(5)]
    assert found.columns.names == ["block", "feature"]
    assert list(found.columns) == [(block, name) for block, names in blocks.items() for name in names]
    assert (found.dtypes == np.float32).all()


def test_columns_without_names_are_numbered_or_named_by_the_caller(unnamed, planted):
    X = planted[0][:3].to_numpy()
    numbers = np.concatenate(unnamed.block_indices_)
    assert list(attributions(unnamed, X).columns.get_level_values("feature")) == [f"x{i}" for i in numbers]
    for rows in (X, sp.csr_matrix(X)):
        named = attributions(unnamed, rows, feature_names=planted[0].columns)
        assert list(named.columns.get_level_values("feature")) == list(planted[0].columns[numbers])
    by_class = class_attributions(unnamed, X, feature_names=planted[0].columns)
    assert by_class.index.equals(named.columns)


@pytest.mark.parametrize("method", METHODS)
def test_attributions_of_array_csr_and_polars_are_those_of_the_frame(model, unnamed, planted, method):
    frame = planted[0][300:320]
    expected = attributions(model, frame, method=method, random_state=0).to_numpy()
    assert_array_equal(attributions(model, pl.from_pandas(frame), method=method, random_state=0), expected)
    of_classes = class_attributions(model, frame, method=method, random_state=0).to_numpy()
    for X in (frame.to_numpy(), sp.csr_matrix(frame), sp.csc_matrix(frame)):
        assert_array_equal(attributions(unnamed, X, method=method, random_state=0), expected)
        assert_array_equal(class_attributions(unnamed, X, method=method, random_state=0), of_classes)


@pytest.mark.parametrize("method", METHODS)
def test_class_attributions_are_means_over_the_rows_of_a_class(model, planted, method):
    X, y = planted[0][:60], planted[1][:60]
    by_row = attributions(model, X, target=y, method=method, random_state=0).abs().astype(np.float64)
    by_class = class_attributions(model, X, y, method=method, random_state=0)
    assert list(by_class.columns) == ["one", "two", "zero"]
    assert by_class.index.equals(by_row.columns)
    for label in by_class:
        assert_allclose(by_class[label], by_row[y == label].mean(), rtol=1e-6)


def test_a_class_without_rows_has_no_mean(model, planted):
    X, y = planted
    found = class_attributions(model, X[y == "one"], y[y == "one"])
    assert found[["two", "zero"]].isna().all(axis=None)
    assert found["one"].notna().all()


def test_targets_are_the_predicted_class_one_label_or_one_a_row(model, planted):
    X = planted[0][:30]
    predicted = model.predict(X)
    assert_array_equal(attributions(model, X), attributions(model, X, target=predicted))
    assert_array_equal(class_attributions(model, X), class_attributions(model, X, predicted))
    by_label = {label: attributions(model, X, target=label) for label in model.classes_}
    mixed = attributions(model, X, target=list(predicted))
    for row, label in enumerate(predicted):
        assert_allclose(mixed.iloc[row], by_label[label].iloc[row], rtol=1e-4, atol=1e-5)


def test_attributions_of_labels_that_are_numbers(planted, blocks, settings):
    X, y = planted
    codes = np.unique(y, return_inverse=True)[1] * 10
    model = DualBranchClassifier(blocks, **settings).fit(X[:300], codes[:300])
    found = attributions(model, X[300:], target=10)
    assert found[codes[300:] == 10].mean().idxmax() == ("protein", "protein3")
    assert list(class_attributions(model, X[300:], codes[300:]).columns) == [0, 10, 20]


@pytest.mark.parametrize("method", METHODS)
def test_the_model_and_the_random_states_are_left_alone(model, planted, method):
    X = planted[0][:10]
    before = {name: tensor.clone() for name, tensor in model.network_.state_dict().items()}
    on_torch, on_numpy = torch.get_rng_state(), check_random_state(None).get_state()[1].copy()
    attributions(model, X, method=method, random_state=0)
    assert_array_equal(torch.get_rng_state(), on_torch)
    assert_array_equal(check_random_state(None).get_state()[1], on_numpy)
    assert not model.network_.training
    for name, tensor in model.network_.state_dict().items():
        assert torch.equal(tensor, before[name])
    for parameter in model.network_.parameters():
        assert parameter.grad is None
        assert parameter.requires_grad


@pytest.mark.parametrize("method", METHODS)
def test_only_what_is_drawn_takes_from_a_random_state(model, planted, method):
    generator, untouched = np.random.RandomState(0), np.random.RandomState(0)
    on_numpy = check_random_state(None).get_state()
    attributions(model, planted[0][:2], method=method, random_state=generator)
    assert (generator.randint(2**31) == untouched.randint(2**31)) == (method != "smooth_grad")
    attributions(model, planted[0][:2], method=method)
    same = check_random_state(None).get_state()[2] == on_numpy[2]
    assert same == (method != "smooth_grad")


def test_attributions_are_made_without_dropout_and_batch_statistics(planted, blocks, settings):
    X, y = planted
    model = DualBranchClassifier(blocks, normalization="batch", dropout=0.5, **settings).fit(X, y)
    expected = attributions(model, X[:4], target="one")
    model.network_.train()
    assert_array_equal(attributions(model, X[:4], target="one"), expected)


def test_noise_of_smooth_grad_is_drawn_from_random_state(model, planted):
    first, again, other = (
        attributions(model, planted[0][:10], method="smooth_grad", random_state=seed) for seed in (0, 0, 1)
    )
    assert_array_equal(first, again)
    assert not np.allclose(first, other, rtol=1e-4)


@pytest.mark.parametrize("explain", [attributions, class_attributions])
def test_wrong_arguments_of_attributions_are_named(model, planted, explain):
    X, y = planted
    with pytest.raises(NotFittedError):
        explain(DualBranchClassifier(), X)
    with pytest.raises(ValueError, match=r"method must be one of .*'smooth_grad'.*; got 'shap'"):
        explain(model, X, method="shap")
    with pytest.raises(ValueError, match=r"baseline must hold one number per column, shape \(16,\); got shape \(3,\)"):
        explain(model, X, baseline=np.zeros(3))
    with pytest.raises(ValueError, match=f"baseline must be finite; got nan for column '{X.columns[5]}'"):
        explain(model, X, baseline=np.where(np.arange(16) == 5, np.nan, 0))
    with pytest.raises(ValueError, match="feature_names must be one str a column; got 2 for 16 columns"):
        explain(model, X, feature_names=["g", "h"])
    with pytest.raises(ValueError, match=r"Feature names seen at fit time, yet now missing"):
        explain(model, X.iloc[:, 1:])
    name = "target" if explain is attributions else "y"
    with pytest.raises(ValueError, match=rf"X and {name} must have the same number of rows; X has 400, {name} has 2"):
        explain(model, X, **{name: y[:2]})
    with pytest.raises(ValueError, match=rf"{name} has 1 label\(s\) that are not in classes_, 'three' first"):
        explain(model, X, **{name: np.where(y == "two", "three", y)})
    for labels in (np.stack([y, y], axis=1), [["one"], ["two", "zero"]] * 200, {"one": 1}, [None] * 400):
        with pytest.raises(ValueError, match=rf"^{name} (must|has)"):
            explain(model, X, **{name: labels})
    for method in (["smooth_grad"], {}, None, np.array(["smooth_grad", "integrated_gradients"])):
        with pytest.raises(ValueError, match="method must be one of"):
            explain(model, X, method=method)


@pytest.mark.parametrize("explain", [attributions, class_attributions])
@pytest.mark.parametrize("method", METHODS)
def test_rows_too_large_to_compute_with_are_refused_as_predict_does(two_blocks, quick, explain, method):
    X, y = two_blocks
    limitless = DualBranchClassifier(**quick, standardize=False).fit(X, y)
    large = X[:20].copy()
    large[[7, 9]] = np.copysign(3e38, large[[7, 9]])
    for call in (limitless.predict, lambda rows: explain(limitless, rows, method=method)):
        with pytest.raises(ValueError, match=r"X has 2 row\(s\), row 7 first, whose values are so large"):
            call(large)
    if method == "integrated_gradients":
        with pytest.raises(ValueError, match="baseline has values so large that"):
            explain(limitless, X[:3], method=method, baseline=large[7])
        with torch.autocast("cpu", dtype=torch.float16):  # which would not reach as far
            explain(limitless, X[:3], method=method, baseline=np.full(X.shape[1], 1e5))


def test_one_label_for_all_rows_is_a_target_and_no_y(model, planted):
    X = planted[0][:3]
    arguments = {"method": "gradient_x_input"}
    expected = attributions(model, X, target=["one"] * 3, **arguments)
    member = enum.Enum("Label", {"ONE": "one"}, type=str).ONE
    for target in ("one", np.str_("one"), np.array("one"), member):
        assert_array_equal(attributions(model, X, target=target, **arguments), expected)
    with pytest.raises(ValueError, match=r"target has 1 label.* not in classes_, 'three' first"):
        attributions(model, X, target="three")
    with pytest.raises(ValueError, match="y must be a 1d array with one label per row"):
        class_attributions(model, X, "one")


def test_the_default_device_of_the_caller_does_not_matter():
    code = f"""
import numpy as np, torch
from skdual import DualBranchClassifier
from skdual.inspection import attributions
X, y = np.random.default_rng(0).normal(size=(60, 6)), np.arange(60) % 3
model = DualBranchClassifier(3, max_epochs=1, n_members=2, device="cpu", random_state=0).fit(X, y)
found = []
for device in ("cpu", "meta"):
    torch.set_default_device(device)
    found.append([attributions(model, X[:5], method=method, random_state=0) for method in {METHODS}])
np.testing.assert_array_equal(*found)
"""
    # in a process of its own: where the stand-in is known, torch.tensor asks for no default device
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_mask_is_no_target_of_numbers(planted, blocks, settings):
    X, y = planted[0][:60], planted[1][:60]
    model = DualBranchClassifier(blocks, **(settings | {"max_epochs": 1})).fit(X, (y == "one") + 0)
    for target in (y == "one", True):
        with pytest.raises(ValueError, match="target must hold numbers, as the classes are; got booleans"):
            attributions(model, X, target=target)
    model.fit(X, y == "one")
    assert_array_equal(attributions(model, X, target=True), attributions(model, X, target=np.full(60, True)))


def test_a_single_row_is_explained_as_among_others(model, planted):
    X = planted[0][:4]
    whole = attributions(model, X, target="one", method="gradient_x_input")
    alone = attributions(model, X[:1], target="one", method="gradient_x_input")
    assert_allclose(alone, whole[:1], rtol=1e-5, atol=1e-6)


def test_names_of_the_baseline_must_be_those_of_the_columns(model, unnamed, planted):
    X = planted[0][:5]
    median = planted[0].median()
    arguments = {"method": "gradient_x_input", "target": "one"}
    expected = attributions(model, X, baseline=median, **arguments)
    for same in (median.to_numpy(), median.tolist(), median.reset_index(drop=True)):
        assert_array_equal(attributions(model, X, baseline=same, **arguments), expected)
    first, last = X.columns[[0, -1]]
    with pytest.raises(ValueError, match=f"baseline must have the columns of the fit.*; got '{last}' where '{first}'"):
        attributions(model, X, baseline=median[::-1], **arguments)
    assert_array_equal(attributions(unnamed, X.to_numpy(), baseline=median, **arguments), expected)


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        ("zero", "one number per column, shape .16,.; got 'zero'"),
        (["0"] * 16, "one number per column, shape .16,.; got .'0', '0'"),
        (dict.fromkeys("ab", 0.0), "one number per column, shape .16,.; got {'a': 0.0"),
        ([[1.0], *range(15)], "one number per column"),
        (np.zeros(16, dtype=complex), "one number per column"),
        (sp.csr_matrix(np.zeros((1, 16))), "one number per column"),
        (0.0, r"one number per column, shape .16,.; got shape \(\)"),
        (np.zeros((1, 16)), r"one number per column, shape .16,.; got shape \(1, 16\)"),
        (np.ma.masked_array(np.zeros(16), mask=np.eye(16)[3]), "has 1 masked values; impute them"),
        (np.full(16, 1e39), "contains values beyond 3.4e.38.*too large for float32"),
    ],
)
def test_a_wrong_baseline_is_named(model, planted, baseline, message):
    with pytest.raises(ValueError, match=f"^baseline .*{message}"):
        attributions(model, planted[0][:2], baseline=baseline)


def test_a_negative_baseline_of_logarithms_is_named_by_column(planted, blocks, settings):
    X, y = planted[0][:60].abs(), planted[1][:60]
    model = DualBranchClassifier(blocks, **(settings | {"standardize": "log1p", "max_epochs": 1})).fit(X, y)
    baseline = np.where(X.columns == "rna2", -0.5, 0)
    with pytest.raises(ValueError, match=r"baseline has 1 negative value\(s\) in block 'rna', in column 'rna2' first"):
        attributions(model, X, baseline=baseline)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("abcdefghijklmnop", "one str a column, 16 of them; got 'abcdefg"),
        (dict.fromkeys("abcdefghijklmnop"), "one str a column, 16 of them"),
        (3, "one str a column, 16 of them; got 3"),
        (np.array("a"), "one str a column, 16 of them; got array"),
        (range(16), "one str a column; got 0 among them"),
        ([["a", "b"]] * 16, "one str a column; got .'a', 'b'. among them"),
        ([*"abcdefghijklmno", None], "one str a column; got None among them"),
    ],
)
def test_wrong_feature_names_are_named(unnamed, planted, names, message):
    with pytest.raises(ValueError, match=f"feature_names must be {message}"):
        attributions(unnamed, planted[0].to_numpy()[:2], feature_names=names)


def test_names_that_a_step_before_gives_to_unnamed_columns_may_be_in_any_order(unnamed, planted):
    """As a ColumnTransformer that reorders the columns of an array."""
    names = [f"x{column}" for column in range(16)][::-1]
    rows = planted[0].to_numpy()[:2]
    found = attributions(unnamed, rows, feature_names=names, method="gradient_x_input")
    expected = attributions(unnamed, rows, method="gradient_x_input")
    np.testing.assert_array_equal(found, expected)
    order = np.concatenate(unnamed.block_indices_)
    assert found.columns.get_level_values("feature").tolist() == [names[column] for column in order]


def test_feature_names_in_another_order_would_name_other_columns(model, planted):
    X = planted[0][:2]
    with pytest.raises(ValueError, match="feature_names must be in the order of the columns; got those of the fit"):
        attributions(model, X, feature_names=X.columns[::-1])
    others = [f"gene {i}" for i in range(16)]
    found = attributions(model, X, feature_names=others, method="gradient_x_input")
    renamed = X.set_axis(others, axis=1)
    for (_, name), column in zip(found.columns, np.concatenate(model.block_indices_), strict=True):
        assert name == renamed.columns[column]


@pytest.mark.parametrize("explain", [attributions, class_attributions])
def test_columns_in_another_order_are_refused(model, planted, explain):
    X = planted[0][:5]
    with pytest.raises(ValueError, match="Feature names must be in the same order as they were in fit"):
        explain(model, X[X.columns[::-1]])


@pytest.mark.parametrize("library", ["captum", "pandas"])
def test_a_missing_library_is_named_with_the_extra(model, planted, monkeypatch, library):
    X = planted[0][:3]
    for module in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf'needs {library}; install it with pip install "skdual\[inspection\]"'):
        attributions(model, X)
