"""Both transformers beside the formulas of scanpy and muon, written out value by value."""

import math

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from skdual.preprocessing import CenteredLogRatio, LogNormalizer

TRANSFORMERS = [LogNormalizer(), LogNormalizer(target_sum=None), CenteredLogRatio(), CenteredLogRatio(axis=1)]
every_transformer = pytest.mark.parametrize("transformer", TRANSFORMERS, ids=repr)
rng = np.random.default_rng(0)
TRAIN, NEW = (np.where(rng.random((n, 6)) < 0.6, 0, rng.poisson(20, (n, 6))) for n in (41, 9))
TRAIN[[3, 17]] = NEW[2] = 0
TRAIN[:, 4] = 0


def scanpy_formula(counts, target_sum):
    """scanpy.pp.normalize_total, then scanpy.pp.log1p."""
    result = np.zeros(counts.shape)
    for i, row in enumerate(counts.tolist()):
        total = sum(row)
        for j, count in enumerate(row):
            result[i, j] = math.log(1 + count / ((total or 1) / target_sum))
    return result


def median_total(counts):
    totals = sorted(sum(row) for row in counts.tolist() if sum(row))
    return (totals[(len(totals) - 1) // 2] + totals[len(totals) // 2]) / 2


def muon_formula(counts, train, axis):
    """muon.prot.pp.clr with flavor="seurat"; with axis=0 the means are those of the rows to train on."""
    result = np.zeros(counts.shape)
    for i, j in np.ndindex(counts.shape):
        seen = train[:, j] if axis == 0 else counts[i]
        log_mean = sum(math.log(1 + count) for count in seen.tolist()) / len(seen)
        result[i, j] = math.log(1 + counts[i, j] / math.exp(log_mean))
    return result


def expected(transformer, counts):
    if isinstance(transformer, CenteredLogRatio):
        return muon_formula(counts, TRAIN, transformer.axis)
    return scanpy_formula(counts, transformer.target_sum or median_total(TRAIN))


def with_duplicates(X):
    """Every value of CSR in two halves."""
    n, p = X.shape
    values = np.concatenate([X, X], axis=1).ravel() / 2
    return sp.csr_matrix((values, np.tile(np.arange(p), 2 * n), np.arange(0, 2 * n * p + 1, 2 * p)), shape=X.shape)


@every_transformer
@pytest.mark.parametrize(
    "store", [np.asarray, sp.csr_matrix, sp.csr_array, sp.csc_matrix, with_duplicates], ids=lambda store: store.__name__
)
def test_transformers_equal_their_formulas_on_training_and_new_rows(transformer, store):
    fitted = clone(transformer).fit(store(TRAIN.astype(float)))
    for counts in (TRAIN, NEW):
        result = fitted.transform(store(counts.astype(float)))
        assert sp.issparse(result) == (store is not np.asarray)
        dense = result.toarray() if sp.issparse(result) else result
        assert_allclose(dense, expected(transformer, counts), rtol=1e-12)


@every_transformer
def test_sparse_stays_csr_without_further_values(transformer):
    result = clone(transformer).fit_transform(sp.csr_matrix(TRAIN))
    assert result.format == "csr"
    assert result.nnz == np.count_nonzero(TRAIN)


@every_transformer
@pytest.mark.parametrize("store", [np.array, sp.csr_matrix])
@pytest.mark.parametrize(
    ("dtype", "result"),
    [(np.float64, np.float64), (np.float32, np.float32), (np.int64, np.float32), (np.uint16, np.float32)],
)
def test_transformers_keep_the_dtype(transformer, store, dtype, result):
    transformed = clone(transformer).fit_transform(store(TRAIN.astype(dtype)))
    assert transformed.dtype == result
    dense = transformed.toarray() if sp.issparse(transformed) else transformed
    assert_allclose(dense, expected(transformer, TRAIN), rtol=1e-5)


@every_transformer
@pytest.mark.parametrize(
    ("dtype", "result"),
    [("Int64", np.float32), ("UInt8", np.float32), ("Float32", np.float32), ("Float64", np.float64)],
)
def test_dtype_of_nullable_frames(transformer, dtype, result):
    transformed = clone(transformer).fit_transform(pd.DataFrame(TRAIN).astype(dtype))
    assert transformed.dtype == result
    assert_allclose(transformed, expected(transformer, TRAIN), rtol=1e-5)


@every_transformer
@pytest.mark.parametrize("store", [np.array, sp.csr_matrix, with_duplicates])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_input_is_left_as_it_was(transformer, store, dtype):
    X = store(TRAIN.astype(dtype)).astype(dtype)
    before = X.copy()
    clone(transformer).fit_transform(X)
    for name in ("data", "indices", "indptr") if sp.issparse(X) else ():
        assert_array_equal(getattr(X, name), getattr(before, name))
    assert_array_equal(X.toarray() if sp.issparse(X) else X, before.toarray() if sp.issparse(X) else before)


def test_rows_add_up_to_the_target_before_the_logarithm():
    for target_sum in (1e4, 1.0, None):
        normalizer = LogNormalizer(target_sum).fit(TRAIN)
        totals = np.expm1(normalizer.transform(NEW.astype(float))).sum(axis=1)
        assert_allclose(totals, np.where(NEW.any(axis=1), normalizer.target_sum_, 0), rtol=1e-12)
        assert normalizer.target_sum_ == (target_sum or median_total(TRAIN))


def test_a_target_that_is_set_anew_counts_from_then_on():
    normalizer = LogNormalizer().fit(TRAIN).set_params(target_sum=10)
    assert_array_equal(normalizer.transform(NEW), LogNormalizer(10).fit_transform(NEW))


@pytest.mark.parametrize("store", [np.asarray, sp.csr_matrix], ids=lambda store: store.__name__)
def test_means_of_many_rows_of_float32_are_those_of_float64(store):
    counts = np.random.default_rng(0).poisson(40, (50_000, 2)).astype(np.float32)
    found = CenteredLogRatio().fit(store(counts)).geometric_mean_
    assert_allclose(found, np.exp(np.log1p(counts.astype(np.float64)).mean(axis=0)), rtol=1e-6)


def test_rows_too_large_to_be_summed_up_are_refused():
    counts = TRAIN.astype(float)
    counts[5] = 1e308
    with pytest.raises(ValueError, match="row 5 of X are too large to be summed up"):
        LogNormalizer().fit(counts)


@every_transformer
def test_what_is_not_finite_is_named_by_column(transformer):
    counts = pd.DataFrame(TRAIN.astype(float), columns=list("abcdef"))
    counts.loc[7, "c"] = np.nan
    with pytest.raises(ValueError, match=r"X contains 1 NaN .* row 7, column 'c'"):
        clone(transformer).fit(counts)


def test_depth_of_a_cell_does_not_matter():
    assert_allclose(LogNormalizer().fit_transform(TRAIN * 7.0), LogNormalizer().fit_transform(TRAIN * 1.0), rtol=1e-12)


@pytest.mark.parametrize("transformer", [LogNormalizer(), CenteredLogRatio(axis=1)], ids=repr)
def test_what_learns_nothing_needs_no_fit(transformer):
    assert not transformer.__sklearn_tags__().requires_fit
    assert_array_equal(clone(transformer).transform(NEW), clone(transformer).fit(TRAIN).transform(NEW))


@pytest.mark.parametrize("transformer", [LogNormalizer(None), CenteredLogRatio()], ids=repr)
def test_what_learns_something_needs_a_fit(transformer):
    with pytest.raises(NotFittedError):
        clone(transformer).transform(NEW)


@pytest.mark.parametrize("store", [np.array, sp.csr_matrix])
def test_counts_that_are_hardly_more_than_nothing_stay_finite(store):
    tiny = store((np.random.default_rng(0).poisson(2, (20, 5)) * 1e-42).astype(np.float32))
    result = LogNormalizer().fit_transform(tiny)
    assert np.isfinite(result.data if sp.issparse(result) else result).all()


def test_columns_that_no_fit_has_seen_have_no_means():
    transformer = CenteredLogRatio(axis=1).fit(TRAIN).set_params(axis=0)
    with pytest.raises(NotFittedError):
        transformer.transform(NEW)


@every_transformer
@pytest.mark.parametrize(
    ("dtype", "result"), [(">f8", np.float64), (">f4", np.float32), (np.longdouble, np.float64), ("f2", np.float32)]
)
def test_dtype_of_other_floats(transformer, dtype, result):
    transformed = clone(transformer).fit_transform(TRAIN.astype(dtype))
    assert transformed.dtype == result
    assert transformed.dtype.isnative
    assert_allclose(transformed, expected(transformer, TRAIN), rtol=1e-12 if result == np.float64 else 1e-5)


MIXED = {
    "numpy": lambda first, second: pd.DataFrame({"a": [1, 2, 3], "b": np.array([1, 2, 3], second), "c": [0, 1, 1]}),
    "nullable": lambda first, second: pd.DataFrame({"a": [1, 2, 3], "b": np.array([1, 2, 3], second)}).astype(
        {"a": first}
    ),
    "sparse": lambda first, second: pd.DataFrame({"a": [1, 2, 0], "b": np.array([1, 2, 0], second)}).apply(
        lambda column: pd.arrays.SparseArray(column, fill_value=column.dtype.type(0))
    ),
    "polars": lambda first, second: pl.DataFrame(
        {"a": [1, 2, 3], "b": [1, 2, 3]},
        schema={"a": getattr(pl, first), "b": {"f4": pl.Float32, "f8": pl.Float64}[second]},
    ),
}


@every_transformer
@pytest.mark.parametrize("container", MIXED.values(), ids=MIXED.keys())
@pytest.mark.parametrize(("second", "result"), [("f4", np.float32), ("f8", np.float64)])
def test_dtype_of_frames_of_integers_and_floats(transformer, container, second, result):
    assert clone(transformer).fit_transform(container("Int64", second)).dtype == result


@every_transformer
def test_containers_are_read_as_the_classifier_reads_them(transformer):
    names = np.array([f"rna__{i}" for i in range(6)])
    frame = pd.DataFrame(TRAIN).set_axis(list(names), axis=1)  # names of numpy's str
    assert clone(transformer).fit(frame).get_feature_names_out().tolist() == names.tolist()
    for tensor in (torch.tensor(TRAIN, dtype=torch.bfloat16), torch.tensor(TRAIN, dtype=torch.float32)):
        result = clone(transformer).fit_transform(tensor.requires_grad_())
        assert_allclose(result, expected(transformer, TRAIN), rtol=1e-5)
    outside = sp.csr_matrix((np.ones(2, "f4"), np.array([0, 9]), np.array([0, 1, 2])), shape=(2, 3))
    with pytest.raises(ValueError, match="X has 3 columns, but a value in row 1 is in column 9"):
        clone(transformer).fit_transform(outside)


@every_transformer
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_and_set_output(transformer, library):
    names = [f"g{i}" for i in range(6)]
    frame = {"pandas": pd.DataFrame, "polars": pl.DataFrame}[library](dict(zip(names, TRAIN.T, strict=True)))
    transformer = clone(transformer).set_output(transform=library)
    result = transformer.fit_transform(frame)
    assert isinstance(result, type(frame))
    assert list(result.columns) == names == list(transformer.get_feature_names_out())
    assert_allclose(np.asarray(result), expected(transformer, TRAIN), rtol=1e-5)


def test_inside_a_column_transformer():
    frame = pd.DataFrame(TRAIN, columns=list("abcdef"))
    columns = make_column_transformer((LogNormalizer(), list("abcd")), (CenteredLogRatio(), list("ef")))
    assert list(columns.fit(frame).get_feature_names_out()) == [
        *(f"lognormalizer__{name}" for name in "abcd"),
        *(f"centeredlogratio__{name}" for name in "ef"),
    ]
    assert_allclose(columns.transform(frame)[:, 4:], muon_formula(TRAIN[:, 4:], TRAIN[:, 4:], 0), rtol=1e-5)


@every_transformer
@pytest.mark.parametrize("store", [np.array, sp.csr_matrix, lambda X: pd.DataFrame(X, columns=list("abcdef"))])
def test_negative_values_are_refused_by_column_and_change_nothing(transformer, store):
    fitted = clone(transformer).fit(TRAIN)
    before = dict(vars(fitted))
    X = np.array(NEW, dtype=float)
    X[4, 3] = X[5, 5] = -1
    X = store(X)
    column = "'d'" if isinstance(X, pd.DataFrame) else "3"
    for refuse in (fitted.fit, fitted.transform) if not isinstance(X, pd.DataFrame) else (fitted.fit,):
        with pytest.raises(ValueError, match=f"{type(fitted).__name__}: 2 values of X, in column {column} first"):
            refuse(X)
    assert vars(fitted) == before


@every_transformer
def test_what_holds_no_counts_is_refused(transformer):
    dates = pd.DataFrame({"day": pd.to_datetime(["2020-01-01", "2020-01-02"]), "count": [1, 2]})
    masked = np.ma.masked_array(np.ones((2, 2)), mask=np.eye(2))
    lazy = pl.DataFrame({"a": [1, 2]}).lazy()
    for X, error, message in (
        (dates, ValueError, r"not numbers, 'day' first"),
        (masked, ValueError, "X has 2 masked values"),
        (lazy, TypeError, r"give X\.collect\(\)"),
    ):
        with pytest.raises(error, match=message):
            clone(transformer).fit(X)


def test_wrong_parameters_are_refused():
    for transformer, message in (
        (LogNormalizer(0), "'target_sum' parameter of LogNormalizer must be a float in the range"),
        (LogNormalizer(-1), "'target_sum' parameter"),
        (LogNormalizer("auto"), "'target_sum' parameter"),
        (CenteredLogRatio("rows"), "'axis' parameter of CenteredLogRatio"),
        (CenteredLogRatio(2), "'axis' parameter of CenteredLogRatio must be an? int among"),
    ):
        with pytest.raises(ValueError, match=message):
            transformer.fit(TRAIN)
        with pytest.raises(ValueError, match=message):  # though it would learn nothing from a fit
            transformer.transform(NEW)
    with pytest.raises(ValueError, match=r"target_sum=None .* every value of X is 0"):
        LogNormalizer(None).fit(np.zeros((3, 2)))


def test_a_fit_with_another_axis_forgets_the_columns():
    transformer = CenteredLogRatio().fit(TRAIN)
    assert not hasattr(transformer.set_params(axis=1).fit(TRAIN), "geometric_mean_")


@parametrize_with_checks(TRANSFORMERS)
def test_sklearn_checks(estimator, check):
    check(estimator)
