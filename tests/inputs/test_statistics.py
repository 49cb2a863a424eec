import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
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
    statistics_of(data_set(sp.csr_matrix(X)))
    assert shapes == [(20, P)] * 3


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
