"""What columns are scaled by, of the training rows."""

import numpy as np
import torch

from ..inputs.chunks import chunks_of_columns, dense_chunks
from .logarithms import logarithms
from .scalings import MAX_STRAY, SCALINGS, spread, units_of_long_tails

_SAMPLE = (512, 4096)  # least and most rows that tell of which kind a column is,
_SAMPLE_VALUES = 2**24  # and as many values as they should have


def column_statistics(rows, scaling, columns, dtype):
    """What columns are scaled by: their centers and scales, such as means and standard deviations, and their units.

    Both kinds of matrix go through the same dense chunks, so that a CSR matrix and its dense twin give the
    same numbers to the last bit. Columns whose scale would be 0, as where they do not vary, get a scale of 1.
    Columns of a long tail, or of few values far astray, may be scaled in ways of their own (see
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
    center, scale : ndarray of float64 of shape (n_columns,)
    unit : ndarray of float64 of shape (n_columns,)
        Of columns of a long tail, in which log(1 + x / unit) stands for x; 0 for the others.
    """
    way = SCALINGS[scaling]
    chunks = chunks_of_columns(rows.X, columns, rows.subset) if way.whole_columns else dense_chunks(rows, columns)
    assert way.statistics is not None
    with np.errstate(all="ignore"):  # the caller looks at what is not finite
        if way.by_column:
            center, scale, unit = _by_column(way.statistics, chunks, rows, columns, dtype)
        else:
            center, scale = way.statistics(map(np.log1p, chunks) if way.logarithm else chunks)
            unit = np.zeros(len(columns))
    return center, np.where(scale == 0, 1, scale), unit


def _by_column(statistics, chunks, rows, columns, dtype):
    """Centers, scales and units of columns each of which is scaled as its kind needs it."""
    unit, spread_of_sample = _kinds(rows, columns, dtype)
    lowest = np.zeros(len(columns))
    center, scale = statistics(_with_logarithms(chunk, unit, lowest) for chunk in chunks)
    negative = np.flatnonzero((unit > 0) & (lowest < 0))  # outside the sample
    if len(negative):
        unit[negative] = 0
        center[negative], scale[negative] = statistics(dense_chunks(rows, columns[negative]))
    may_be_stray = (unit == 0) & (spread_of_sample > 0) & np.isfinite(scale)
    stray = np.flatnonzero(may_be_stray & (scale / MAX_STRAY > spread_of_sample / 4))
    if len(stray):
        median, deviation = spread(chunks_of_columns(rows.X, columns[stray], rows.subset))
        astray = (deviation > 0) & (scale[stray] / MAX_STRAY > deviation)
        center[stray[astray]], scale[stray[astray]] = median[astray], deviation[astray]
    return center, scale, unit


def _kinds(rows, columns, dtype):
    """What tells the kind of a column, by a sample of rows that lie evenly in the data set: its unit and its spread.

    Returns
    -------
    unit, spread : ndarray of float64 of shape (n_columns,)
    """
    size = np.clip(_SAMPLE_VALUES // len(columns), *_SAMPLE)
    sample = np.unique(np.linspace(0, len(rows) - 1, size).astype(np.int64))
    sample = sample if rows.subset is None else rows.subset[sample]
    units, spreads = [], []
    for chunk in chunks_of_columns(rows.X, columns, sample):
        chunk.sort(axis=0)
        units.append(units_of_long_tails(chunk, dtype))
        spreads.append(spread([chunk])[1])
    return np.concatenate(units), np.concatenate(spreads)


def _with_logarithms(chunk, unit, lowest):
    """A chunk whose columns that have a unit hold logarithms; changed in place, as ``lowest`` of these columns is."""
    with_unit = np.flatnonzero(unit)
    if len(with_unit):
        lowest[with_unit] = np.minimum(lowest[with_unit], chunk[:, with_unit].min(axis=0))
        values, units = torch.from_numpy(chunk[:, with_unit]), torch.from_numpy(unit[with_unit])
        chunk[:, with_unit] = logarithms(values, units).numpy()
    return chunk
