"""What columns are scaled by, of the training rows."""

import numpy as np
import torch

from ..inputs.chunks import chunks_of_columns, dense_chunks
from .logarithms import logarithms
from .scalings import MAX_STRAY, SCALINGS, quartiles, units_of_long_tails

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
    unit = np.zeros(len(columns))
    chunks = chunks_of_columns(rows.X, columns, rows.subset) if way.whole_columns else dense_chunks(rows, columns)
    assert way.statistics is not None
    with np.errstate(all="ignore"):  # the caller looks at what is not finite
        if way.by_column:
            unit, spread = _kinds(rows, columns, dtype)
            chunks = (_with_logarithms(chunk, unit) for chunk in chunks)
        center, scale = way.statistics(map(np.log1p, chunks) if way.logarithm else chunks)
    if way.by_column:
        may_be_stray = (unit == 0) & (spread > 0) & np.isfinite(scale) & (scale / MAX_STRAY > spread / 4)
        stray = np.flatnonzero(may_be_stray)
        if len(stray):
            median, spread = quartiles(chunks_of_columns(rows.X, columns[stray], rows.subset))
            astray = (spread > 0) & (scale[stray] / MAX_STRAY > spread)
            center[stray[astray]], scale[stray[astray]] = median[astray], spread[astray]
    return center, np.where(scale == 0, 1, scale), unit


def _kinds(rows, columns, dtype):
    """What tells the kind of a column, by a sample of rows that lie evenly in the data set: its unit and quartiles.

    Returns
    -------
    unit, spread : ndarray of float64 of shape (n_columns,)
        The second of :func:`~skdual.scaling.scalings.quartiles`.
    """
    size = np.clip(_SAMPLE_VALUES // len(columns), *_SAMPLE)
    sample = np.unique(np.linspace(0, len(rows) - 1, size).astype(np.int64))
    sample = sample if rows.subset is None else rows.subset[sample]
    units, spreads = [], []
    for chunk in chunks_of_columns(rows.X, columns, sample):
        chunk.sort(axis=0)
        units.append(units_of_long_tails(chunk, dtype))
        spreads.append(quartiles([chunk])[1])
    return np.concatenate(units), np.concatenate(spreads)


def _with_logarithms(chunk, unit):
    """A chunk whose columns that have a unit hold logarithms; changed in place."""
    with_unit = np.flatnonzero(unit)
    if len(with_unit):
        values, units = torch.from_numpy(chunk[:, with_unit]), torch.from_numpy(unit[with_unit])
        chunk[:, with_unit] = logarithms(values, units).numpy()
    return chunk
