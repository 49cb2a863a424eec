import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
import sklearn
import torch
from numpy.testing import assert_array_equal

from skdual import DualBranchClassifier, from_prefix, join_blocks
from skdual.inputs.validation import check_matrix, check_training_input

NUMBERS = [1.0, 2.0, 3.0, 4.0]
DATES = pd.date_range("2020-01-01", periods=4)
GOOD = pd.DataFrame({"p": NUMBERS, "q": NUMBERS})


def check_fit(X, blocks=1):
    return check_training_input(DualBranchClassifier(blocks), X, [0, 1, 0, 1], None, None)


def check_validation(X):
    return check_training_input(DualBranchClassifier(1), GOOD, [0, 1, 0, 1], X, [0, 1, 0, 1])


def check_predict(X):
    estimator = DualBranchClassifier(1)
    estimator.n_features_in_ = 2
    return check_matrix(estimator, X)


each_call = pytest.mark.parametrize(
    ("name", "call"),
    [("X", check_fit), ("X_val", check_validation), ("X", check_predict)],
    ids=["fit", "validation", "predict"],
)

NOT_NUMBERS = {
    "dates": DATES,
    "dates with a zone": DATES.tz_localize("UTC"),
    "durations": DATES - DATES[0],
    "periods": DATES.to_period("D"),
    "complex": [1j, 2.0, 3.0, 4.0],
    "complex objects": pd.Series([1j, 2.0, 3.0, 4.0], dtype=object),
    "strings": ["f", "m", "f", "m"],
    "categories": pd.Categorical(["f", "m", "f", "m"]),
}


@each_call
@pytest.mark.parametrize("column", NOT_NUMBERS.values(), ids=NOT_NUMBERS.keys())
@pytest.mark.parametrize("alone", [False, True], ids=["beside numbers", "alone"])
def test_columns_of_pandas_that_are_not_numbers_are_named(name, call, column, alone):
    frame = pd.DataFrame({"p": column if alone else NUMBERS, "q": column})
    n_wrong, first = (2, "p") if alone else (1, "q")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # numpy warns where it makes floats of complex numbers
        with pytest.raises(ValueError, match=rf"^{name} has {n_wrong} column\(s\) .* not numbers, '{first}' first"):
            call(frame)


@each_call
@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (list(DATES), "Datetime"),
        (list(DATES.date), "Date"),
        (list(DATES - DATES[0]), "Duration"),
        (["f", "m", "f", "m"], "String"),
        ([[1.0], [2.0], [3.0], [4.0]], "List"),
        (pl.Series([[1.0, 2.0]] * 4, dtype=pl.Array(pl.Float64, 2)), "Array"),
        (pl.Series([{"r": 1.0, "s": 2.0}] * 4), "Struct"),
    ],
    ids=["dates and times", "dates", "durations", "strings", "lists", "arrays", "structs"],
)
def test_columns_of_polars_that_are_not_numbers_are_named(name, call, column, kind):
    frame = pl.DataFrame({"p": NUMBERS, "q": column})
    with pytest.raises(ValueError, match=rf"^{name} has 1 column\(s\) that are not numbers, 'q' first \({kind}"):
        call(frame)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"p": [1, 0, 1, 0], "q": pd.array([1.5, 2, 3, 4], dtype="Float64")}),
        pd.DataFrame({"p": [True, False, True, False], "q": pd.Categorical([1.5, 2, 3, 4])}),
        pd.DataFrame({"p": [1, 0, 1, 0], "q": [1.5, 2, 3, 4]}).convert_dtypes(dtype_backend="pyarrow"),
        pd.DataFrame({"p": [1, 0, 1, 0], "q": pd.Series([1.5, 2, 3, 4], dtype=object)}),
        pd.DataFrame({("r", "p"): [1, 0, 1, 0], ("r", "q"): [1.5, 2, 3, 4]}),
        pl.DataFrame({"p": [True, False, True, False], "q": [1.5, 2, 3, 4]}),
        pa.table({"p": [1, 0, 1, 0], "q": [1.5, 2, 3, 4]}),
    ],
    ids=["Float64", "category", "arrow", "object", "names of two levels", "polars", "pyarrow"],
)
def test_columns_of_numbers_are_taken(frame):
    assert_array_equal(check_fit(frame).X, [[1, 1.5], [0, 2], [1, 3], [0, 4]])


FLOAT32 = pd.DataFrame({"p": NUMBERS, "q": NUMBERS}, dtype=np.float32)


@pytest.mark.parametrize(
    "frame",
    [
        FLOAT32.astype("Float32"),
        FLOAT32.astype("float32[pyarrow]"),
        FLOAT32.astype({"p": "Float32"}),
        FLOAT32.astype({"p": "float32[pyarrow]"}),
        pd.DataFrame.sparse.from_spmatrix(sp.csr_matrix(FLOAT32.to_numpy())),
        pl.from_pandas(FLOAT32),
        pa.Table.from_pandas(FLOAT32),
    ],
    ids=["nullable", "arrow", "one nullable", "one arrow", "sparse", "polars", "pyarrow"],
)
def test_float32_stays_float32_in_every_frame(frame):
    X = check_fit(frame).X
    assert X.dtype == np.float32
    assert_array_equal(X.toarray() if sp.issparse(X) else X, FLOAT32)


@pytest.mark.parametrize("dtype", ["Float64", "Int64", "float64[pyarrow]"])
def test_what_is_not_all_float32_becomes_float64(dtype):
    assert check_fit(FLOAT32.astype({"p": dtype, "q": "Float32"})).X.dtype == np.float64


@each_call
def test_a_lazy_frame_is_to_be_collected(name, call):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # polars warns of what is asked of it in vain
        with pytest.raises(TypeError, match=rf"^{name} must hold its values, got a LazyFrame; give {name}\.collect"):
            call(pl.from_pandas(GOOD).lazy())


@each_call
def test_columns_of_one_name_are_refused(name, call):
    frame = pd.DataFrame(np.ones((4, 5)), columns=["c", "a", "b", "a", "b"])
    with pytest.raises(ValueError, match=rf"^{name} has 2 column name\(s\) that occur more than once, 'a' first"):
        call(frame)


def test_numbers_that_name_two_columns_are_refused():
    with pytest.raises(ValueError, match=r"^X has 1 column name\(s\) that occur more than once, 7 first"):
        check_fit(pd.DataFrame(np.ones((4, 3)), columns=[7, 7, 8]))


def test_a_column_may_have_any_name():
    names = ["_mask", "mask", "dtypes", "shape"]
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(4, 4)), columns=names)
    assert check_fit(frame).feature_names.tolist() == names


def test_a_table_of_pyarrow_is_a_frame_like_any_other():
    table = pa.table({"a_1": NUMBERS, "b_1": [5.0, 6, 7, 8], "a_2": [0.0, 0, 1, 1]})
    data = check_fit(table, from_prefix("a_", "b_"))
    assert_array_equal(data.feature_names, ["a_1", "b_1", "a_2"])
    assert_array_equal(data.columns.indices[0], [0, 2])
    assert_array_equal(data.X, table.to_pandas())
    with pytest.raises(ValueError, match=r"^X has 1 column\(s\) that are not numbers, 'sex' first \(string\)"):
        check_fit(table.append_column("sex", [["f", "m", "f", "m"]]))


def test_names_of_numpys_strings_are_names():
    frame = pd.DataFrame({np.str_("p"): NUMBERS, np.str_("q"): NUMBERS[::-1]})
    checked = check_fit(frame, from_prefix("q", "p"))
    assert checked.feature_names.tolist() == ["p", "q"]
    assert [index.tolist() for index in checked.columns.indices] == [[1], [0]]
    assert {type(column) for column in frame.columns} == {np.str_}  # the user's own
    estimator = DualBranchClassifier(1)
    estimator.n_features_in_, estimator.feature_names_in_ = 2, np.array(["p", "q"], dtype=object)
    with pytest.raises(ValueError, match="feature names should match"):
        check_matrix(estimator, frame[[np.str_("q"), np.str_("p")]])


@each_call
def test_sparse_columns_that_are_not_filled_up_with_zeros_are_named(name, call):
    sparse = pd.arrays.SparseArray
    frame = pd.DataFrame({"p": sparse(NUMBERS, fill_value=0), "q": sparse(NUMBERS, fill_value=np.nan)})
    with pytest.raises(ValueError, match=rf"^{name} has 1 sparse column.* 'q' first .*give {name}.sparse.to_dense"):
        call(frame)
    call(frame.assign(p=NUMBERS))  # beside a dense column it is dense too


def test_sparse_booleans_are_numbers():
    dummies = pd.get_dummies(pd.Series(list("xyyx")), sparse=True)
    assert_array_equal(check_fit(dummies).X.toarray(), [[1, 0], [0, 1], [0, 1], [1, 0]])


@pytest.mark.parametrize("dispatch", [False, True])
@pytest.mark.parametrize(
    ("dtype", "result"),
    [(torch.float32, np.float32), (torch.bfloat16, np.float32), (torch.float64, np.float64), (torch.int8, np.float64)],
)
def test_tensors_are_read_as_arrays(dispatch, dtype, result):
    X = torch.tensor([[0.5, 1.0], [2.0, 3.0], [1.0, 0.0], [4.0, 2.0]]).to(dtype)
    X = X.requires_grad_() if dtype.is_floating_point else X
    with sklearn.config_context(array_api_dispatch=dispatch):
        checked = check_fit(X).X
    assert type(checked) is np.ndarray
    assert checked.dtype == result
    assert_array_equal(checked, X.detach().float().numpy())
    assert_array_equal(join_blocks(X, X)[0], np.hstack([checked, checked]))


@each_call
def test_sparse_tensors_are_refused(name, call):
    with pytest.raises(TypeError, match=f"^{name} must be dense where it is a tensor, got torch.sparse_coo"):
        call(torch.ones(4, 2).to_sparse())
