"""What columns are scaled by, of the training rows."""

from typing import NamedTuple

import numpy as np
import torch

from ..inputs.chunks import chunks_of_columns, dense_chunks
from .logarithms import logarithms
from .scalings import MAX_STRAY, SCALINGS, long_tails, spread

_SAMPLE = (512, 4096)  # least and most rows that tell of which kind a column is,
_SAMPLE_VALUES = 2**24  # and as many values as they should have


class ColumnStatistics(NamedTuple):
    """What columns are scaled by, arrays of float64 of shape (n_columns,).

    ``center`` and ``scale``, such as mean and standard deviation, are those of the logarithms in columns that have a
    ``unit``, those of long tails; ``log_zero`` is the value whose logarithm is 0. Other columns have 0 for both.
    """

    center: np.ndarray
    scale: np.ndarray
    log_zero: np.ndarray
    unit: np.ndarray

    def of(self, columns):
        """Those of some columns, by their numbers."""
        return ColumnStatistics(*(values[columns] for values in self))


def column_statistics(rows, scaling, columns, dtype):
    """What columns are scaled by.

    Both kinds of matrix go through the same dense chunks, so that a CSR matrix and its dense twin give the
    same numbers to the last bit. Columns whose scale would be 0, as where they do not vary, get a scale of 1.
    Columns of long tails, or of few values far astray, may be scaled in ways of their own (see
    :class:`~skdual.scaling.scalings.Scaling`); many rows are judged by a sample of them.

    Parameters
    ----------
    rows : Rows
    scaling : str
        A name in :data:`~skdual.scaling.scalings.SCALINGS` other than "none".
    columns : ndarray of int64
        Positions of the columns in X, in order.
    dtype : torch.dtype
        That they will be scaled in, which bounds the units.

    Returns
    -------
    statistics : ColumnStatistics
    """
    way = SCALINGS[scaling]
    chunks = chunks_of_columns(rows.X, columns, rows.subset) if way.whole_columns else dense_chunks(rows, columns)
    assert way.statistics is not None
    log_zero, unit = np.zeros((2, len(columns)))
    with np.errstate(all="ignore"):  # the caller looks at what is not finite
        if way.by_column:
            log_zero, unit, spread_of_sample = _kinds(rows, columns, dtype)
            center, scale = way.statistics(_with_logarithms(chunk, log_zero, unit) for chunk in chunks)
            _scale_by_spread(center, scale, rows, columns, np.where(unit == 0, spread_of_sample, 0))
        else:
            center, scale = way.statistics(map(np.log1p, chunks) if way.logarithm else chunks)
    return ColumnStatistics(center, np.where(scale == 0, 1, scale), log_zero, unit)


def _kinds(rows, columns, dtype):
    """What tells the kind of a column, by a sample of rows that lie evenly in the data set.

    Returns
    -------
    log_zero, unit, spread : ndarray of float64 of shape (n_columns,)
    """
    size = np.clip(_SAMPLE_VALUES // len(columns), *_SAMPLE)
    sample = np.unique(np.linspace(0, len(rows) - 1, size).astype(np.int64))
    sample = sample if rows.subset is None else rows.subset[sample]
    kinds = []
    for chunk in chunks_of_columns(rows.X, columns, sample):
        chunk.sort(axis=0)
        kinds.append((*long_tails(chunk, dtype), spread([chunk])[1]))
    log_zero, unit, deviation = np.concatenate(kinds, axis=1)
    return log_zero, unit, deviation


def _scale_by_spread(center, scale, rows, columns, spread_of_sample):
    """Put the spread of columns of few values far astray in the place of their scales, and their medians of centers."""
    may_be_stray = (spread_of_sample > 0) & np.isfinite(scale)
    stray = np.flatnonzero(may_be_stray & (scale / MAX_STRAY > spread_of_sample / 4))
    if len(stray):
        median, deviation = spread(chunks_of_columns(rows.X, columns[stray], rows.subset))
        astray = (deviation > 0) & (scale[stray] / MAX_STRAY > deviation)
        center[stray[astray]], scale[stray[astray]] = median[astray], deviation[astray]


def _with_logarithms(chunk, log_zero, unit):
    """A chunk, changed in place, whose columns that have a unit hold logarithms."""
    with_unit = np.flatnonzero(unit)
    if len(with_unit):
        of_columns = (chunk[:, with_unit], log_zero[with_unit], unit[with_unit])
        chunk[:, with_unit] = logarithms(*map(torch.from_numpy, of_columns)).numpy()
    return chunk
