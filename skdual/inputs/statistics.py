"""Statistics of the rows of X: what columns are scaled by, and how much of either block is zero."""

import numpy as np
import scipy.sparse as sp

from ..scalings import MAX_STRAY, SCALINGS, logarithms, quartiles, units_of_long_tails
from .rows import CHUNK_VALUES, as_slice, n_rows_within

_SAMPLE = (512, 4096)  # least and most rows that tell of which kind a column is,
_SAMPLE_VALUES = 2**24  # and as many values as they should have
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
    """What columns are scaled by: their centers and scales, such as means and standard deviations, and their units.

    Both kinds of matrix go through the same dense chunks, so that a CSR matrix and its dense twin give the
    same numbers to the last bit. Columns whose scale would be 0, as where they do not vary, get a scale of 1.
    Columns of a long tail, or of few values far astray, may be scaled in ways of their own (see
    :class:`~skdual.scalings.Scaling`); many rows are judged by a sample of them.

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
    unit : ndarray of float64 of shape (n_columns,)
        Of columns of a long tail, in which log(1 + x / unit) stands for x; 0 for the others.
    """
    way = SCALINGS[scaling]
    unit = np.zeros(len(columns))
    chunks = _chunks_of_columns(rows.X, columns, rows.subset) if way.whole_columns else dense_chunks(rows, columns)
    assert way.statistics is not None
    with np.errstate(over="ignore", invalid="ignore"):  # the caller looks at what is not finite
        if way.by_column:
            sample = _sample(rows, columns)
            unit = units_of_long_tails(_chunks_of_columns(sample, columns))
            chunks = (_with_logarithms(chunk, unit) for chunk in chunks)
        center, scale = way.statistics(map(np.log1p, chunks) if way.logarithm else chunks)
    if way.by_column:
        stray = np.flatnonzero((unit == 0) & _may_be_stray(sample, columns, scale))
        if len(stray):
            median, spread = quartiles(_chunks_of_columns(rows.X, columns[stray], rows.subset))
            astray = (spread > 0) & (scale[stray] > MAX_STRAY * spread)
            center[stray[astray]], scale[stray[astray]] = median[astray], spread[astray]
    return center, np.where(scale == 0, 1, scale), unit


def _sample(rows, columns):
    """Rows of X that lie evenly in a data set, all where it has no more."""
    size = np.clip(_SAMPLE_VALUES // len(columns), *_SAMPLE)
    sample = np.unique(np.linspace(0, len(rows) - 1, size).astype(np.int64))
    return rows.X[sample if rows.subset is None else rows.subset[sample]]


def _with_logarithms(chunk, unit):
    """A chunk whose columns that have a unit hold logarithms; changed in place."""
    with_unit = np.flatnonzero(unit)
    if len(with_unit):
        chunk[:, with_unit] = logarithms(chunk[:, with_unit], unit[with_unit])
    return chunk


def _may_be_stray(sample, columns, scale):
    """Which of the columns may have values far astray, by a sample of the rows."""
    _, spread = quartiles(_chunks_of_columns(sample, columns))
    return (spread > 0) & np.isfinite(scale) & (scale > MAX_STRAY / 4 * spread)


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
