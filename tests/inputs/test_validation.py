import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.preprocessing import LabelEncoder

from skdual import DualBranchClassifier
from skdual.inputs import slices
from skdual.inputs.validation import check_matrix, check_range, check_training_input
from skdual.scaling.validation import check_non_negative

N, P = 2100, 5
NAMES = ["u", "v", "w", "x", "y"]
RNG = np.random.default_rng(0)
X = np.where(RNG.random((N, P)) < 0.6, 0, RNG.normal(size=(N, P)))
X[100:300] = 0
Y = RNG.integers(0, 3, N)

CONTAINERS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "csr": sp.csr_matrix,
    "csc": sp.csc_array,
    "pandas": lambda X: pd.DataFrame(X, columns=NAMES),
    "polars": lambda X: pl.DataFrame(X, schema=NAMES),
    "torch": torch.tensor,
}
contained = pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS.keys())


def check(X, y=Y, X_val=None, y_val=None, estimator=None):
    return check_training_input(estimator or DualBranchClassifier(2), X, y, X_val, y_val)


def fitted_on(X):
    """An estimator that remembers the columns of X and nothing else."""
    estimator = DualBranchClassifier(2)
    estimator.n_features_in_ = X.shape[1]
    if hasattr(X, "columns"):
        estimator.feature_names_in_ = np.array(X.columns, dtype=object)
    return estimator


def as_dense(X):
    return X.toarray() if sp.issparse(X) else X


@contained
@pytest.mark.parametrize("together", [list, tuple, lambda parts: dict(zip("ab", parts, strict=True))])
def test_two_matrices_are_to_be_joined(container, together):
    parts = together([container(X), container(X)])
    with pytest.raises(
        TypeError, match=r"^X must be one matrix, got a \w+ of two, of shapes \(2100, 5\) and .*join_blocks"
    ):
        check(parts)


@pytest.mark.parametrize("dtype", [object, str])
@pytest.mark.parametrize("value", ["high", "1,5", ""])
def test_the_first_value_of_an_array_that_is_no_number_is_placed(dtype, value):
    bad = np.arange(20).reshape(5, 4).astype(dtype)
    bad[3, 1:] = value
    with pytest.raises(ValueError, match=r"^X: could not convert string to float: .*, in row 3, column 1\.$"):
        check_matrix(fitted_on(bad), bad)


BAD_VALUES = {
    "first value": [(0, 0, np.nan)],
    "last value": [(N - 1, P - 1, -np.inf)],
    "last row of a chunk": [(1023, 4, np.inf)],
    "first row of a chunk": [(1024, 0, np.nan)],
    "after empty rows": [(300, 2, np.nan), (301, 1, np.nan)],
    "several chunks": [(1500, 3, np.nan), (1500, 4, np.inf), (1600, 0, -np.inf), (2050, 1, np.nan), (2050, 2, np.inf)],
    "a column": [(row, 1, np.nan) for row in range(N)],
}


@contained
@pytest.mark.parametrize("values", BAD_VALUES.values(), ids=BAD_VALUES.keys())
@pytest.mark.parametrize("chunk", [1, 1024])
def test_values_that_are_not_finite_are_counted_and_placed(container, values, chunk, monkeypatch):
    monkeypatch.setattr(slices, "_SLICE_VALUES", chunk * P)
    bad = X.copy()
    for row, column, value in values:
        bad[row, column] = value
    bad = container(bad)
    row, column, _ = values[0]
    place = repr(NAMES[column]) if hasattr(bad, "columns") else column
    counts = f"{sum(np.isnan(v) for *_, v in values)} NaN and {sum(np.isinf(v) for *_, v in values)} infinite"
    is_infinite = any(np.isinf(v) for *_, v in values)
    remedy = "Put NaN in the place of infinite values, and impute NaN" if is_infinite else "Impute NaN"
    with pytest.raises(ValueError, match=rf"^X contains {counts} .* first in row {row}, column {place};.* {remedy}"):
        check(bad)


@contained
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("X", lambda good, bad: check_matrix(fitted_on(good), bad)),
        ("X_val", lambda good, bad: check(good, X_val=bad, y_val=Y)),
    ],
    ids=["predict", "validation"],
)
def test_values_that_are_not_finite_are_refused_everywhere(container, name, call):
    bad = X.copy()
    bad[7, 3] = np.nan
    with pytest.raises(ValueError, match=rf"^{name} contains 1 NaN and 0 infinite .* row 7, column ('x'|3);"):
        call(container(X), container(bad))


@contained
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, bool], ids=lambda dtype: dtype.__name__)
def test_values_stay_as_they_are_and_only_integers_become_floats(container, dtype):
    given = (10 * X).astype(dtype)
    checked = check(container(given)).X
    assert checked.dtype == (dtype if np.issubdtype(dtype, np.floating) else np.float64)
    assert not sp.issparse(checked) or checked.format == "csr"
    assert_array_equal(as_dense(checked), given)


@pytest.mark.parametrize(
    ("given", "expected"), [("f2", np.float32), (">f4", np.float32), (">f8", np.float64), (np.longdouble, np.float64)]
)
def test_other_floats_become_the_shortest_that_holds_them(given, expected):
    checked = check_matrix(fitted_on(X), X.astype(given))
    assert checked.dtype == expected
    assert checked.dtype.isnative
    assert_array_equal(checked, X.astype(given).astype(expected))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
def test_a_memory_mapped_matrix_is_not_copied(order, dtype, tmp_path):
    np.save(tmp_path / "X.npy", X.astype(dtype, order=order))
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert np.shares_memory(check(mapped).X, mapped)


@pytest.mark.parametrize(
    "labels",
    [["b", "a", "c"], [5, -1, 0], [True, False], np.array(["yes", "no", "?"], dtype=object), [2.0, 1.0]],
    ids=str,
)
def test_codes_are_those_of_label_encoder(labels):
    y = np.asarray(labels)[np.arange(N) % len(labels)]
    y_val = y[1:3]  # without one of the classes where there are three
    encoder = LabelEncoder().fit(y)
    data = check(X, y, X[1:3], y_val)
    assert_array_equal(data.classes, encoder.classes_)
    assert_array_equal(data.y, encoder.transform(y))
    assert_array_equal(data.validation[1], encoder.transform(y_val))
    assert data.y.dtype == data.validation[1].dtype == np.int64


@contained
def test_validation_rows_come_back_as_x_does(container):
    data = check(container(X), X_val=container(X[:9]), y_val=Y[:9])
    assert_array_equal(as_dense(data.validation[0]), X[:9])


def test_without_validation_rows_there_are_none():
    assert check(X).validation is None


@pytest.mark.parametrize(
    ("X_val", "y_val", "message"),
    [
        (X, None, "X_val was given without y_val"),
        (None, Y, "y_val was given without X_val"),
        (X[:5], Y[:4], "X_val and y_val must have the same number of rows; X_val has 5, y_val has 4"),
        (X[:, :3], Y, "3 features, but DualBranchClassifier is expecting 5"),
        (X[:3], [0, 7, 9], r"y_val has 2 label\(s\) that do not occur in y, 7 first"),
        (X[:3], [7, 0, 7], r"y_val has 1 label\(s\) that do not occur in y, 7 first"),
        (X[:3], ["0", "1", "2"], r"y_val has 3 label\(s\) that do not occur in y, '0' first"),
        (X[:2], [0.5, 1.0], r"y_val has 1 label\(s\) that do not occur in y, 0.5 first"),
    ],
)
def test_validation_rows_that_do_not_fit_are_refused(X_val, y_val, message):
    with pytest.raises(ValueError, match=message):
        check(X, X_val=X_val, y_val=y_val)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(N, dtype=int), rf"y has 1 class \(0\) in {N} rows"),
        (np.full(N, "only"), rf"y has 1 class \('only'\) in {N} rows"),
        (RNG.normal(size=N), "^y must hold class labels. Unknown label type: continuous"),
        (Y[:-1], f"X and y must have the same number of rows; X has {N}, y has {N - 1}"),
        (np.stack([Y, Y], axis=1), "1d array"),
        (None, "requires y to be passed"),
    ],
)
def test_a_y_that_names_no_two_classes_is_refused(y, message):
    with pytest.raises(ValueError, match=message):
        check(X, y)


FRAME = CONTAINERS["pandas"](X)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (FRAME[NAMES[::-1]], "must be in the same order"),
        (FRAME.drop(columns="w"), "missing"),
        (FRAME.rename(columns={"w": "new"}), "unseen at fit time"),
    ],
    ids=["re-ordered", "missing", "renamed"],
)
@pytest.mark.parametrize(
    "call",
    [
        lambda changed: check_matrix(fitted_on(FRAME), changed),
        lambda changed: check(FRAME, X_val=changed, y_val=Y),
    ],
    ids=["predict", "validation"],
)
def test_changed_columns_give_scikit_learn_s_errors(call, changed, message):
    with pytest.raises(ValueError, match=message):
        call(changed)


@pytest.mark.parametrize("estimator", [DualBranchClassifier(2), fitted_on(FRAME.iloc[:, 1:])], ids=["new", "fitted"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": FRAME.replace(0, np.nan)}, "X contains"),
        ({"X": FRAME.iloc[:, :2]}, "blocks=2"),
        ({"y": np.zeros(N)}, "y has 1 class"),
        ({"y": Y[1:]}, "X and y must have"),
        ({"X_val": FRAME}, "without y_val"),
        ({"X_val": FRAME.replace(0, np.inf), "y_val": Y}, "X_val contains"),
        ({"X_val": FRAME, "y_val": Y + 1}, "y_val has"),
    ],
    ids=["values", "blocks", "one class", "length of y", "no y_val", "validation values", "unknown label"],
)
def test_a_refused_check_leaves_the_estimator_as_it_was(estimator, changes, message):
    before = dict(vars(estimator))
    with pytest.raises(ValueError, match=message):
        check(**{"X": FRAME, "y": Y, **changes}, estimator=estimator)
    assert list(vars(estimator).items()) == list(before.items())


def test_a_passed_check_leaves_the_estimator_as_it_was():
    estimator = DualBranchClassifier(2)
    before = dict(vars(estimator))
    assert_array_equal(check(FRAME, estimator=estimator).feature_names, NAMES)
    assert vars(estimator) == before


@pytest.mark.parametrize("container", [sp.csr_matrix, sp.csr_array])
@pytest.mark.parametrize("chunk", [1, 1000])
def test_values_that_csr_holds_twice_are_summed_in_a_copy(container, chunk, monkeypatch):
    monkeypatch.setattr(slices, "_SLICE_VALUES", chunk)
    dense = np.abs(X[:300])
    twice = with_duplicates(dense, container)
    stored = [part.copy() for part in (twice.data, twice.indices, twice.indptr)]
    assert (twice.data < 0).any()  # though no sum is, so that check_non_negative may not see the parts
    data = check(twice, Y[:300], X_val=twice, y_val=Y[:300])
    for checked in (data.X, data.validation[0], check_matrix(fitted_on(twice), twice)):
        assert checked.has_canonical_format
        assert_allclose(checked.toarray(), dense, atol=1e-12)
        check_non_negative(checked, data.columns, ("log1p", "log1p"))
    for part, before in zip((twice.data, twice.indices, twice.indptr), stored, strict=True):
        assert_array_equal(part, before)


def with_duplicates(dense, container):
    """A CSR matrix that holds the first value of every third row twice, as -1 and as 1 more than it is."""
    parts = [], [], [0]
    for number, row in enumerate(dense):
        columns = np.flatnonzero(row)
        values = row[columns]
        if number % 3 == 0:
            columns, values = np.append(columns, [0, 0]), np.append(values, [-1.0, 1.0])
        parts[0].extend(values)
        parts[1].extend(columns)
        parts[2].append(len(parts[1]))
    return container(parts, shape=dense.shape)


def test_unsorted_columns_without_duplicates_are_not_copied():
    unsorted = sp.csr_matrix((np.arange(1.0, 5), np.array([3, 0, 4, 1]), np.array([0, 2, 4])), shape=(2, P))
    assert np.shares_memory(check(unsorted, [0, 1]).X.data, unsorted.data)


@pytest.mark.parametrize("column", [-1, P, P + 3])
def test_values_outside_of_the_columns_of_csr_are_placed(column):
    parts = np.ones(4), np.array([3, 0, 4, column]), np.array([0, 2, 3, 4])
    outside = sp.csr_matrix(parts, shape=(3, P))  # which scipy does not look into
    message = rf"^X has {P} columns, but a value in row 2 is in column {column}; its indices or its shape are wrong"
    with pytest.raises(ValueError, match=message):
        check(outside, [0, 1, 0])
    with pytest.raises(ValueError, match=message):
        check_matrix(fitted_on(X), outside)
    with pytest.raises(ValueError, match=message.replace("X", "X_val")):
        check(X, Y, X_val=outside, y_val=Y[:3])


@contained
def test_values_beyond_float32_are_placed(container):
    big = X.copy()
    big[[700, 1900], [3, 0]] = -1e39, 1e39
    checked = check(container(big))
    where = "'x'" if checked.feature_names is not None else "3"
    with pytest.raises(
        ValueError, match=rf"^X contains values beyond 3.4e\+38, the first in row 700, column {where}, "
    ):
        check_range(checked.X, torch.float32, feature_names=checked.feature_names)
    check_range(checked.X, torch.float64, feature_names=checked.feature_names)


def test_a_refusal_of_validation_rows_names_them():
    with pytest.raises(ValueError, match=r"^X_val: X has 2 features"):
        check_training_input(DualBranchClassifier(1), X, Y, X[:, :2], Y)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (np.array([[1, 2j]] * 4, dtype=object), TypeError, "^X: .* not 'complex'"),
        (np.ones(4), ValueError, "^X: Expected 2D array, got 1D array"),
        (pd.Series(np.ones(4)), ValueError, "^X: Expected a 2-dimensional container but got .*Series"),
        (pl.Series(np.ones(4)), ValueError, "^X: Expected 2D array, got 1D array"),
        (np.ma.masked_array(np.ones((4, 2)), mask=np.eye(4, 2)), ValueError, "^X has 2 masked values; impute them"),
        (np.ones((4, 2), dtype="M8[s]"), ValueError, r"^X must hold numbers, got datetime64\[s\]"),
        (np.ones((4, 2), dtype="m8[D]"), ValueError, r"^X must hold numbers, got timedelta64\[D\]"),
        (np.ones((4, 2), dtype=complex), ValueError, "^Complex data not supported: X is of complex128"),
        (
            sp.csr_array(np.ones((4, 2)) * 1j),
            ValueError,
            "^Complex data not supported: X is of complex128",
        ),
    ],
    ids=["complex objects", "1d", "pandas 1d", "polars 1d", "masked", "dates", "durations", "complex", "complex csr"],
)
def test_arrays_that_are_no_matrix_of_numbers_are_refused_by_name(wrong, error, message):
    with pytest.raises(error, match=message):
        check(wrong, [0, 1, 0, 1])
    with pytest.raises(error, match=message):
        check_matrix(fitted_on(X[:4, :2]), wrong)
