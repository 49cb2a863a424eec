"""Slices: of columns that lie side by side, and consecutive ones of what is gone through a part at a time."""

import numpy as np
from sklearn.utils import gen_batches

_SLICE_VALUES = 2**16
"""Values that are looked at once, which stay in a processor's cache."""


def as_slice(columns):
    """Columns (ndarray of int64) as a slice, which costs no copy, where they lie side by side; others as they are."""
    start, stop = int(columns[0]), int(columns[0]) + len(columns)
    return slice(start, stop) if np.array_equal(columns, np.arange(start, stop)) else columns


def consecutive_slices(n, size):
    """Slices of ``size`` at most that cover ``n``; none of 0, which ``gen_batches`` refuses."""
    return gen_batches(n, size) if n else iter(())


def slices_of(values):
    """Consecutive slices of an array with their starts, small enough for a temporary copy."""
    size = max(1, _SLICE_VALUES // max(1, values[:1].size))
    return ((part.start, values[part]) for part in consecutive_slices(len(values), size))


def slices_of_csr(X):
    """Consecutive rows of a CSR matrix, likewise, by what rows hold on the mean."""
    size = max(1, _SLICE_VALUES * X.shape[0] // max(1, X.nnz))
    return (X[part] for part in consecutive_slices(X.shape[0], size))
