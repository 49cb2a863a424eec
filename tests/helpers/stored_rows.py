"""Rows of X in all the ways in which it may be stored, dense or sparse, in memory or in a file."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from skdual.inputs.columns import ColumnBlocks
from skdual.inputs.rows import Rows

N, P = 60, 7
COLUMNS = ColumnBlocks(("a", "b"), (np.array([1, 4]), np.array([6, 0, 2, 3, 5])))  # scattered: no column in its place
SUBSET = np.random.default_rng(1).permutation(N)[:40]


def read_only(X, folder):
    X = X.copy()
    X.flags.writeable = False
    return X


def memory_mapped(X, folder):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


def int64_indices(X, folder):
    X = sp.csr_matrix(X)
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


def every_value_stored(X, folder):
    return sp.csr_matrix((X.ravel(), np.tile(np.arange(P), N), np.arange(0, N * P + 1, P)), shape=X.shape)


def every_value_twice(X, folder):
    halves = np.concatenate([X, X], axis=1).ravel() / 2
    return sp.csr_matrix((halves, np.tile(np.arange(P), 2 * N), np.arange(0, 2 * N * P + 1, 2 * P)), shape=X.shape)


STORED = {
    "C": lambda X, folder: X,
    "F": lambda X, folder: np.asfortranarray(X),
    "strided": lambda X, folder: np.repeat(X, 2, axis=1)[:, ::2],
    "read-only": read_only,
    "memory-mapped": memory_mapped,
    "csr": lambda X, folder: sp.csr_matrix(X),
    "csr array": lambda X, folder: sp.csr_array(X),
    "csr of int64 indices": int64_indices,
    "csr with zeros": every_value_stored,
    "csr with duplicates": every_value_twice,
}
stored_as = pytest.mark.parametrize("stored", STORED.values(), ids=STORED.keys())
of_rows = pytest.mark.parametrize("subset", [None, SUBSET], ids=["all rows", "a subset"])


def data_set(X, dtype=torch.float64, **options):
    return Rows(X, COLUMNS, torch.device("cpu"), dtype, **options)


def chosen(X, subset):
    return X if subset is None else X[subset]


@pytest.fixture(name="X", params=[np.float64, np.float32], ids=lambda dtype: dtype.__name__)
def matrix(request):
    """Half zeros, with rows and a column of nothing else, far from 0 where it is not, and three constant columns."""
    rng = np.random.default_rng(0)
    X = np.where(rng.random((N, P)) < 0.5, 0, rng.normal(1000, 5, (N, P)))
    X[rng.random((N, P)) < 0.2] *= -1
    X[[0, 17, 18, N - 1]] = 0
    X[:, [2, 3, 5]] = 0, 0.1, 1e8 / 3
    return X.astype(request.param)
