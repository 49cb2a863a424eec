import datetime
import enum
import re
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import sklearn
import torch
from numpy.testing import assert_array_equal
from sklearn.exceptions import DataConversionWarning

from skdual import DualBranchClassifier
from skdual.inputs.labels import check_labels
from skdual.inputs.validation import check_training_input

X = np.random.default_rng(0).normal(size=(4, 2))
DATES = pd.Series(pd.date_range("2020-01-01", periods=4))


def fit_labels(labels):
    return check_training_input(DualBranchClassifier(1), X, labels, None, None)


def validate_labels(labels):
    return check_training_input(DualBranchClassifier(1), X, ["a", "b", "a", "b"], X, labels)


each_argument = pytest.mark.parametrize(
    ("name", "call"), [("y", fit_labels), ("y_val", validate_labels)], ids=["y", "y_val"]
)


class Tissue(str, enum.Enum):
    LIVER = "liver"
    LUNG = "lung"


MISSING = {
    "list of str and None": (["a", None, "b", None], 2, "None"),
    "list of str and NaN": (["a", np.nan, "b", "a"], 1, "nan"),  # numpy would make a class "nan" of it
    "list of str and NA": (["a", pd.NA, "b", "a"], 1, "<NA>"),
    "list of int and None": ([0, None, 1, 0], 1, "None"),
    "floats": (np.array([0.0, np.nan, 1.0, np.nan]), 2, "nan"),
    "column": (np.array([["a"], [None], ["b"], ["a"]], dtype=object), 1, "None"),
    "pandas str": (pd.Series(["a", None, "b", "a"]), 1, "None"),
    "pandas string": (pd.Series(["a", None, "b", "a"], dtype="string"), 1, "<NA>"),
    "pandas Int64": (pd.Series([1, None, 2, 1], dtype="Int64"), 1, "(nan|<NA>)"),
    "pandas boolean": (pd.Series([True, None, False, True], dtype="boolean"), 1, "<NA>"),
    "pandas category": (pd.Series(["a", None, "b", "a"], dtype="category"), 1, "nan"),
    "dates": (DATES.where(DATES.index != 1), 1, "NaT"),
    "pandas Int64 array": (pd.array([1, None, 2, 1], dtype="Int64"), 1, "(nan|<NA>)"),
    "polars str": (pl.Series(["a", None, "b", "a"]), 1, "None"),
    "polars int": (pl.Series([1, None, 2, 1]), 1, "nan"),
}
OTHERS = {
    "str and int": (["a", 1, "a", 1], "must hold labels of one kind, got 2 kinds: int, str"),
    "str and int objects": (np.array(["a", 1, "a", 1], dtype=object), "one kind, got 2 kinds: int, str"),
    "str and bytes": (["a", b"b", "a", b"b"], "must hold labels of one kind, got 2 kinds: bytes, str"),
    "bytes": ([b"a", b"b", b"a", b"b"], "must hold strings or numbers, got bytes, such as b'a'; decode"),
    "bytes array": (
        np.array([b"a", b"b", b"a", b"b"]),
        "must hold strings or numbers, got bytes, such as b'a'; decode",
    ),
    "complex": ([1j, 2j, 1j, 2j], "must hold strings, numbers or numpy dates, got complex, such as 1j"),
    "complex array": (np.array([1j, 2j, 1j, 2j]), "must hold strings, numbers or numpy dates, got complex128"),
    "lists": (
        np.array([[1], [1, 2], [2], [3]], dtype=object),
        r"strings, numbers or numpy dates, got list, such as \[1\]",
    ),
    "tuples": ([(1, 2), (1,), (2,), (1,)], r"must hold strings, numbers or numpy dates, got tuple, such as \(1, 2\)"),
    "list of dates": ([datetime.date(2020, 1, 1)] * 4, "must hold strings, numbers or numpy dates, got date, such as"),
    "infinite": ([0.0, 1.0, np.inf, 0.0], r"has 1 infinite or missing label\(s\), inf in row 2 first"),
    "infinite array": (np.array([0.0, -np.inf, np.nan, 0.0]), r"has 2 infinite or missing .*, -inf in row 1 first"),
    "two columns": (np.ones((4, 2)), r"a 1d array with one label per row, got shape \(4, 2\); .* argmax\(axis=1\)"),
    "scalar": (3, r"must be a 1d array with one label per row, got shape \(\)"),
    "masked": (np.ma.masked_array([0, 1, 0, 1], mask=[0, 0, 1, 0]), r"has 1 masked label\(s\)"),
    "sparse": (sp.csr_matrix(np.ones((4, 1))), r"must be a 1d array .*, got a sparse matrix of shape \(4, 1\)"),
}
if hasattr(np.dtypes, "StringDType"):  # from NumPy 2 on
    OTHERS["numpy's strings of any length"] = (
        np.array(["a", "bb", "a", "bb"], np.dtypes.StringDType()),
        r"has labels of StringDType\(\), which scikit-learn does not take; give y\w*.astype\(str\)",
    )


@each_argument
@pytest.mark.parametrize(("labels", "n_missing", "shown"), MISSING.values(), ids=MISSING.keys())
def test_missing_labels_are_counted_and_placed(name, call, labels, n_missing, shown):
    with pytest.raises(ValueError, match=rf"^{name} has {n_missing} missing label\(s\), {shown} in row 1 first"):
        call(labels)


@each_argument
@pytest.mark.parametrize(("labels", "message"), OTHERS.values(), ids=OTHERS.keys())
def test_what_is_no_label_is_refused_by_what_came(name, call, labels, message):
    if name not in message:
        message = rf"\b{name} .*{message}"
    with pytest.raises(ValueError, match=message):
        call(labels)


@pytest.mark.parametrize("dispatch", [False, True])
def test_tensors_of_labels_are_read_as_arrays(dispatch):
    with sklearn.config_context(array_api_dispatch=dispatch):
        labels = check_labels(torch.tensor([2, 0, 2]), "y", 3, "X")
    assert type(labels) is np.ndarray
    assert_array_equal(labels, [2, 0, 2])


@each_argument
def test_lengths_that_differ_are_told(name, call):
    rows = name.replace("y", "X")
    message = rf"^{rows} and {name} must have the same number of rows; {rows} has 4, {name} has 3\."
    with pytest.raises(ValueError, match=message):
        call(["a", "b", "a"])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["b", "a"], ["b", "a"]),
        (["nan", ""], ["nan", ""]),
        (np.array([np.str_("b"), "a"], dtype=object), ["b", "a"]),
        (list(Tissue), ["liver", "lung"]),
        (np.array(list(Tissue), dtype=object), ["liver", "lung"]),
        ([2, np.int8(1)], [2, 1]),
        ([True, np.False_], [True, False]),
        (pd.Series([3, 1], index=[7, 7], dtype="Int64"), [3, 1]),
        (pd.Series(["b", "a"], dtype="category"), ["b", "a"]),
        (pl.Series(["b", "a"]), ["b", "a"]),
        (DATES[:2].to_numpy(), DATES[:2].to_numpy()),
    ],
    ids=str,
)
def test_labels_of_one_kind_stay_as_they_are(labels, expected):
    assert_array_equal(check_labels(labels, "y", 2, "X"), expected)


@pytest.mark.parametrize(
    ("dtype", "expected"), [("Int64", "i8"), ("UInt8", "u1"), ("boolean", "?"), ("int32[pyarrow]", "i4")]
)
def test_nullable_labels_of_pandas_keep_their_type(dtype, expected):
    labels = check_labels(pd.Series([1, 0, 1], dtype=dtype), "y", 3, "X")
    assert labels.dtype == np.dtype(expected)
    assert_array_equal(labels, [1, 0, 1])


def test_nullable_labels_in_a_frame_of_one_column_keep_their_type():
    frame = pd.DataFrame({"label": pd.array([2**53 + 1, 0, 1], dtype="Int64")})
    with pytest.warns(DataConversionWarning, match="column-vector"):
        labels = check_labels(frame, "y", 3, "X")
    assert labels.dtype == np.int64
    assert labels.tolist() == [2**53 + 1, 0, 1]


def test_nullable_integers_that_no_float_tells_apart_stay_apart():
    labels = pd.Series([2**53, 2**53 + 1], dtype="Int64")
    assert check_labels(labels, "y", 2, "X").tolist() == [2**53, 2**53 + 1]


@pytest.mark.parametrize(("unit", "other"), [("ns", "D"), ("D", "ns"), ("s", "s")])
def test_dates_are_the_same_in_any_unit(unit, other):
    dates = np.array(["2020-01-02", "2020-01-01", "2020-01-02", "2020-01-03"], dtype="M8[D]")
    fitted = check_training_input(
        DualBranchClassifier(1), X, dates.astype(f"M8[{unit}]"), X, dates.astype(f"M8[{other}]")
    )
    assert fitted.validation[1].tolist() == [1, 0, 1, 2]
    for unknown, first in ((dates + 1, "2020-01-04"), (dates.astype("M8[ns]").astype(np.int64), "1577923200000000000")):
        with pytest.raises(ValueError, match=rf"y_val has \d label\(s\) that do not occur in y, {first}"):
            check_training_input(DualBranchClassifier(1), X, dates.astype(f"M8[{unit}]"), X, unknown)


@pytest.mark.parametrize("kind", [int, bool, float])
def test_numbers_as_objects_are_refused_with_a_remedy(kind):
    labels = np.array([kind(0), kind(1)] * 2, dtype=object)
    message = f"Unknown label type: y holds {kind.__name__} as objects; give y.astype({kind.__name__})."
    with pytest.raises(ValueError, match=re.escape(message)):
        fit_labels(labels)
    fit_labels(labels.astype(kind))


@pytest.mark.parametrize(
    ("labels", "names"),
    [([Fraction(1, 3), Fraction(2, 3)], "Fraction"), ([1, 1.5], "int and float"), ([1, 2**64], "int")],
)
def test_other_objects_are_refused_with_a_remedy_that_keeps_them_apart(labels, names):
    labels = np.array(labels * 2, dtype=object)
    message = f"Unknown label type: y holds {names} as objects; give y.astype(str)."
    with pytest.raises(ValueError, match=re.escape(message)):
        fit_labels(labels)
    assert len(fit_labels(labels.astype(str)).classes) == 2
