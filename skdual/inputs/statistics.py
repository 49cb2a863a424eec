"""Statistics of the rows of X: what columns are scaled by, and how much of either block is zero."""

import numpy as np
import scipy.sparse as sp

from ..scalings import MAX_STRAY, SCALINGS, quartiles
from .rows import CHUNK_VALUES, as_slice, n_rows_within

_SAMPLE = 512  # rows that tell which columns may have values far astray
_PART_VALUES = 2**20  # values that statistics are computed of at one time: they stay in a processor's cache


def zero_shares(rows):
    """Share of the values of either block of a data set that are 0, a list of two float."""
    n_nonzero = [0, 0]
    for part in _parts(rows):
        for block, index in enumerate(rows.columns.indices):
            values = part[:, _place(index)]
            n_nonzero[block] += int(values.count_nonzero() if sp.issparse(values) else np.count_nonzero(values))
    pairs = zip(n_nonzero, rows.columns.n_columns, strict=True)
    return [1 - count / (len(rows) * n_columns) for count, n_columns in pairs]


def column_statistics(rows, scaling, columns):
    """What columns are scaled by: their centers and scales, such as means and standard deviations.

    Both kinds of matrix go through the same dense chunks, so that a CSR matrix and its dense twin give the
    same numbers to the last bit. Columns whose scale would be 0, as where they do not vary, get a scale of 1.
    Columns of few values far astray may be scaled by their quartiles (see :class:`~skdual.scalings.Scaling`).

    Parameters
    ----------
    rows : Rows
    scaling : str
        A name in :data:`~skdual.scalings.SCALINGS` other than "none".
    columns : ndarray of int64
        Positions of the columns in X, in order.

    Returns
    -------
    center, scale : ndarray of float64 of shape (n_columns,)
    """
    way = SCALINGS[scaling]
    chunks = _chunks_of_columns(rows.X, columns, rows.subset) if way.whole_columns else dense_chunks(rows, columns)
    assert way.statistics is not None
    with np.errstate(over="ignore", invalid="ignore"):  # the caller looks at what is not finite
        center, scale = way.statistics(map(np.log1p, chunks) if way.logarithm else chunks)
    if way.stray_by_quartiles:
        stray = _stray_columns(rows, columns, scale)
        if len(stray):
            median, spread = quartiles(_chunks_of_columns(rows.X, columns[stray], rows.subset))
            astray = (spread > 0) & (scale[stray] > MAX_STRAY * spread)
            center[stray[astray]], scale[stray[astray]] = median[astray], spread[astray]
    return center, np.where(scale == 0, 1, scale)


def _stray_columns(rows, columns, scale):
    """Which of the columns may have values far astray, by a sample of the rows."""
    sample = np.unique(np.linspace(0, len(rows) - 1, _SAMPLE).astype(np.int64))
    X = rows.X[sample if rows.subset is None else rows.subset[sample]]
    _, spread = quartiles(_chunks_of_columns(X, columns))
    return np.flatnonzero((spread > 0) & np.isfinite(scale) & (scale > MAX_STRAY / 4 * spread))


def dense_chunks(rows, columns, dtype=np.float64):
    """All rows of some columns, some rows at a time, dense and of the dtype."""
    place = _place(columns)
    for part in _parts(rows):
        dense = part.toarray() if sp.issparse(part) else part
        yield dense[:, place].astype(dtype, order="C")


def _chunks_of_columns(X, columns, subset=None):
    """All rows, or a subset of them, of some columns, some columns at a time, dense and in float64."""
    size = max(1, CHUNK_VALUES // X.shape[0])
    for start in range(0, len(columns), size):
        part = X[:, columns[start : start + size]]
        part = part if subset is None else part[subset]
        yield (part.toarray() if sp.issparse(part) else part).astype(np.float64)


def _place(columns):
    """Columns as a slice, which costs no copy, where they lie side by side."""
    place = as_slice(columns)
    return columns if place is None else place


def _parts(rows):
    """All rows of X that belong to a data set, a few at a time."""
    size = n_rows_within(_PART_VALUES, rows.X.shape[1])
    for start in range(0, len(rows), size):
        some = slice(start, start + size)
        yield rows.X[some if rows.subset is None else rows.subset[some]]
