"""A matrix a part at a time: dense chunks of rows or of columns, whether these vary, and the share of zeros."""

import numpy as np
import scipy.sparse as sp

from .rows import n_rows_within
from .slices import as_slice, consecutive_slices

COLUMN_CHUNK_VALUES = 2**24
"""Values of columns that are dense at one time: 128 MiB of float64."""

_PART_VALUES = 2**20
"""Values of rows that statistics are computed of at one time, which stay in a processor's cache."""


def dense_chunks(rows, columns, dtype=np.float64):
    """All rows of some columns, some rows at a time, dense and of the dtype."""
    place = as_slice(columns)
    for part in _parts(rows):
        dense = part.toarray() if sp.issparse(part) else part
        yield dense[:, place].astype(dtype, order="C")


def any_varies(rows, columns):
    """Whether any of some columns has two values in the rows; no more of them are read than it takes to see that."""
    first = None
    for chunk in dense_chunks(rows, columns, rows.X.dtype):
        first = chunk[:1] if first is None else first
        if (chunk != first).any():
            return True
    return False


def chunks_of_columns(X, columns, subset=None):
    """All rows, or a subset of them, of some columns, some columns at a time, dense and in float64."""
    size = max(1, COLUMN_CHUNK_VALUES // (X.shape[0] if subset is None else len(subset)))
    for some in consecutive_slices(len(columns), size):
        part = _cut(X, columns[some], subset)
        yield (part.toarray() if sp.issparse(part) else part).astype(np.float64)


def _cut(X, columns, subset):
    """Some columns of all rows, or of a subset of them; of a dense X nothing else is copied."""
    if subset is None:
        return X[:, as_slice(columns)]
    if sp.issparse(X):  # along the axis first of which less is left
        rows_first = len(subset) * X.shape[1] < len(columns) * X.shape[0]
        return X[subset][:, columns] if rows_first else X[:, columns][subset]
    place = as_slice(columns)
    return X[subset, place] if isinstance(place, slice) else X[np.ix_(subset, place)]


def _parts(rows):
    """All rows of X that belong to a data set, a few at a time."""
    size = n_rows_within(_PART_VALUES, rows.X.shape[1])
    for some in consecutive_slices(len(rows), size):
        yield rows.X[some if rows.subset is None else rows.subset[some]]


def zero_shares(rows):
    """Share of the values of either block of a data set that are 0, a list of two float."""
    n_nonzero = [0, 0]
    for part in _parts(rows):
        for block, index in enumerate(rows.columns.indices):
            values = part[:, as_slice(index)]
            n_nonzero[block] += int(values.count_nonzero() if sp.issparse(values) else np.count_nonzero(values))
    pairs = zip(n_nonzero, rows.columns.n_columns, strict=True)
    return [1 - count / (len(rows) * n_columns) for count, n_columns in pairs]
