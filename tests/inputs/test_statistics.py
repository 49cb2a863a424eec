import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm
from sklearn.preprocessing import StandardScaler
from stored_rows import COLUMNS, P, chosen, data_set, every_value_twice, of_rows, stored_as

from skdual.inputs import statistics as module
from skdual.inputs.statistics import column_statistics, zero_shares


def statistics_of(rows):
    return column_statistics(rows, "standard", np.arange(P))


def test_duplicates_stay_unsummed_in_the_matrix(X, tmp_path):
    doubled = every_value_twice(X, tmp_path)
    data_set(doubled).fetch(np.array([3, 0, 3]))
    statistics_of(data_set(doubled))
    zero_shares(data_set(doubled))
    assert doubled.nnz == 2 * X.size


def test_statistics_make_no_more_than_a_chunk_dense(X, monkeypatch):
    shapes, toarray = [], sp.csr_matrix.toarray
    monkeypatch.setattr(sp.csr_matrix, "toarray", lambda part: shapes.append(part.shape) or toarray(part))
    monkeypatch.setattr(module, "_PART_VALUES", 20 * P)
    monkeypatch.setattr(module, "_SAMPLE", 20)
    statistics_of(data_set(sp.csr_matrix(X)))
    assert shapes == [(20, P)] * 4  # all rows in three parts, and a sample of them


@stored_as
@of_rows
@pytest.mark.parametrize("values", [1, 2**24], ids=["many chunks", "one chunk"])
def test_statistics_are_those_of_standard_scaler(X, stored, subset, values, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PART_VALUES", values)
    mean, scale = statistics_of(data_set(stored(X, tmp_path), subset=subset))
    oracle = StandardScaler().fit(chosen(X, subset).astype(np.float64))
    assert mean.dtype == scale.dtype == np.float64
    assert_allclose(mean, oracle.mean_, rtol=1e-10)
    assert_allclose(scale, oracle.scale_, rtol=1e-10)


@stored_as
@of_rows
@pytest.mark.parametrize("values", [1, 2**24], ids=["many chunks", "one chunk"])
def test_the_shares_of_zeros_are_counted_in_the_dense_rows(X, stored, subset, values, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PART_VALUES", values)
    dense, matrix = chosen(X, subset), stored(X, tmp_path)
    expected = [np.mean([row[column] == 0 for row in dense.tolist() for column in index]) for index in COLUMNS.indices]
    assert zero_shares(data_set(matrix, subset=subset)) == pytest.approx(expected, rel=1e-12)
    assert 0.3 < min(expected) < max(expected) < 0.8


@pytest.mark.parametrize("values", [1, 2**24], ids=["many chunks", "one chunk"])
def test_constant_columns_have_scale_one(X, values, monkeypatch):
    monkeypatch.setattr(module, "_PART_VALUES", values)
    _, scale = statistics_of(data_set(X))
    assert_array_equal(scale == 1, np.ptp(X, axis=0) == 0)


@stored_as
@of_rows
def test_statistics_do_not_depend_on_how_the_rows_are_stored(X, stored, subset, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PART_VALUES", 1)
    expected = statistics_of(data_set(X, subset=subset))
    assert_array_equal(statistics_of(data_set(stored(X, tmp_path), subset=subset)), expected)


def by_quartiles(column):
    lower, median, upper = np.percentile(column, [25, 50, 75])
    return median, (upper - lower) / (2 * norm.ppf(0.75))


@stored_as
@of_rows
def test_a_column_of_few_values_far_astray_is_scaled_by_its_quartiles(X, stored, subset, tmp_path):
    X = X.copy()
    X[:, [2, 5]] = np.random.default_rng(0).normal(size=(len(X), 2))
    X[::10, 2] = -999
    rows = chosen(X, subset)
    expected = StandardScaler().fit(rows)
    center, scale = expected.mean_, expected.scale_
    center[2], scale[2] = by_quartiles(rows[:, 2])
    got = statistics_of(data_set(stored(X, tmp_path), subset=subset))
    assert_allclose(got, (center, scale), rtol=1e-10)


@pytest.mark.parametrize("deviations", [99, 101])
def test_a_column_is_scaled_by_its_quartiles_from_a_hundred_of_them_on(deviations):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5000, P))
    is_far = rng.random(5000) < 0.05
    _, spread = by_quartiles(np.where(is_far, -1e9, X[:, 3]))
    # a value that is far enough for the deviation to be what is asked for
    low, high = 1.0, 1e6
    for _ in range(100):
        middle = (low + high) / 2
        far_enough = np.where(is_far, -middle, X[:, 3]).std() > deviations * spread
        low, high = (low, middle) if far_enough else (middle, high)
    X[is_far, 3] = -low
    center, scale = statistics_of(data_set(X))
    expected = by_quartiles(X[:, 3]) if deviations > 100 else (X[:, 3].mean(), X[:, 3].std())
    assert_allclose((center[3], scale[3]), expected, rtol=1e-6)
    others = np.arange(P) != 3
    assert_allclose(scale[others], X[:, others].std(axis=0), rtol=1e-10)


def test_a_column_of_mostly_one_value_keeps_its_deviation():
    X = np.random.default_rng(0).normal(size=(200, P))
    X[:, 4] = 0
    X[::50, 4] = 1e6
    assert_allclose(statistics_of(data_set(X))[1], X.std(axis=0), rtol=1e-10)
