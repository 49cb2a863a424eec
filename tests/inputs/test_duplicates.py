import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_array_equal
from stored_rows import N, P, data_set, of_rows, stored_as

from skdual.inputs import chunks
from skdual.inputs.columns import ColumnBlocks
from skdual.inputs.duplicates import first_occurrences
from skdual.inputs.rows import Rows

RNG = np.random.default_rng(0)


def originals(X, y, subset=None):
    half = X.shape[1] // 2
    columns = ColumnBlocks(("a", "b"), (np.arange(half), np.arange(half, X.shape[1])))
    return first_occurrences(Rows(X, columns, torch.device("cpu"), torch.float64, np.asarray(y), subset))


def first_alike(X):
    """The first row that has the same values, row by row."""
    return [next(i for i in range(len(X)) if np.array_equal(X[i], row)) for row in X]


@stored_as
@of_rows
@pytest.mark.parametrize("values", [1, 2**24], ids=["many chunks", "one chunk"])
def test_copies_are_found_however_rows_are_stored(stored, subset, values, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "_PART_VALUES", values)
    rng = np.random.default_rng(2)
    X = np.where(rng.random((N, P)) < 0.1, 0, rng.normal(size=(N, P)))[rng.integers(0, N, N)]
    got = first_occurrences(data_set(stored(X, tmp_path), y=np.zeros(N, dtype=np.int64), subset=subset))
    expected = first_alike(X if subset is None else X[subset])
    assert_array_equal(got, expected)
    assert len(set(expected)) < len(expected)


def test_zeros_are_alike_whatever_their_sign():
    X = RNG.normal(size=(20, 6))
    X[:, 2] = 0
    X[7], X[12] = X[3], X[3]
    X[7, 2] = -0.0
    expected = np.arange(20)
    expected[[7, 12]] = 3
    assert_array_equal(originals(X, np.zeros(20, dtype=int)), expected)
    assert_array_equal(originals(sp.csr_matrix(X), np.zeros(20, dtype=int)), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [1, 2.0**-100, 2.0**100])
def test_rows_that_differ_in_signs_or_powers_of_two_are_no_copies(dtype, value):
    signs = np.array(np.meshgrid(*[[-1, 1]] * 6)).reshape(6, -1).T
    X = np.hstack([signs * value, np.where(signs > 0, 2, 1) * value, np.full((64, 1), 3)]).astype(dtype)
    assert_array_equal(originals(X, np.zeros(64, dtype=int)), np.arange(64))


@pytest.mark.parametrize(
    "X",
    [
        RNG.integers(0, 2, size=(300, 6)),
        RNG.integers(0, 3, size=(300, 2)),
        np.where(RNG.random((300, 40)) < 0.97, 0, RNG.normal(size=(300, 40))),
    ],
    ids=["binary columns", "two columns", "mostly zeros"],
)
def test_rows_that_are_alike_by_chance_are_no_copies(X):
    X = X.astype(np.float64)
    assert len(np.unique(X, axis=0)) < 250
    assert_array_equal(originals(X, np.zeros(300, dtype=int)), np.arange(300))


def test_copies_of_rows_of_many_binary_columns_are_found():
    X = RNG.integers(0, 2, size=(300, 80)).astype(np.float64)[RNG.integers(0, 300, 300)]
    assert_array_equal(originals(X, np.zeros(300, dtype=int)), first_alike(X))


def test_copies_are_found_however_many_there_are():
    X = np.repeat(RNG.normal(size=(3, 20)), 100, axis=0)
    assert_array_equal(originals(X, np.zeros(300, dtype=int)), first_alike(X))


def test_rows_of_different_classes_are_no_copies():
    X = np.tile(RNG.normal(size=(20, 6)), (2, 1))
    y = np.zeros(40, dtype=int)
    y[25] = 1
    expected = np.tile(np.arange(20), 2)
    expected[25] = 25
    assert_array_equal(originals(X, y), expected)
