"""What columns are scaled by, of the training rows."""

from typing import NamedTuple

import numpy as np
import torch

from ..inputs.chunks import chunks_of_columns, dense_chunks
from .logarithms import inverse_logarithms, logarithms
from .outliers import MAX_STRAY, MIN_STRAY, spread, tell_more_by_spread
from .scalings import SCALINGS, long_tails
from .sentinels import Sentinels, Told, distances, find_sentinels, replace_sentinels, what_is_told

_SAMPLE = (512, 4096)  # least and most rows that tell of which kind a column is,
_SAMPLE_VALUES = 2**24  # and as many values as they should have
_SLACK = 4  # by how much a sample's spread may be too large, for that of all rows decides


class ColumnStatistics(NamedTuple):
    """What columns are scaled by, arrays of float64 of shape (n_columns,).

    ``center`` and ``scale``, such as mean and standard deviation, are those of the logarithms in columns that have a
    ``unit``, those of long tails; ``log_zero`` is the value whose logarithm is 0. Other columns have 0 for both.
    ``stand_in`` stands for the value ``sentinel``; both are the same where there is no such value.
    """

    center: np.ndarray
    scale: np.ndarray
    log_zero: np.ndarray
    unit: np.ndarray
    sentinel: np.ndarray
    stand_in: np.ndarray

    def of(self, columns):
        """Those of some columns, by their numbers."""
        return ColumnStatistics(*(values[columns] for values in self))


def column_statistics(rows, scaling, columns, dtype):
    """What columns are scaled by.

    Both kinds of matrix go through the same dense chunks, so that a CSR matrix and its dense twin give the
    same numbers to the last bit. Columns whose scale would be 0, as where they do not vary, get a scale of 1.
    Columns of long tails, of sentinels, or of few values far astray, may be scaled in ways of their own (see
    :class:`~skdual.scaling.scalings.Scaling`); many rows are judged by a sample of them.

    Parameters
    ----------
    rows : Rows
        With their classes.
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
    kinds = _Kinds(*np.zeros((6, len(columns))))
    with np.errstate(all="ignore"):  # the caller looks at what is not finite
        if way.by_column:
            sample = _Sample.of(rows, len(columns))
            kinds = _kinds(rows.X, columns, sample, dtype)
            center, scale = way.statistics(_compressed(chunk, kinds) for chunk in chunks)
            _scale_by_spread(center, scale, rows, columns, kinds, sample)
        else:
            center, scale = way.statistics(map(np.log1p, chunks) if way.logarithm else chunks)
    return ColumnStatistics(center, np.where(scale == 0, 1, scale), *kinds[:4])


class _Sample(NamedTuple):
    """Rows at random that tell the kinds of columns: their numbers in X, and their classes."""

    numbers: np.ndarray
    y: np.ndarray

    @classmethod
    def of(cls, rows, n_columns):
        size = np.clip(_SAMPLE_VALUES // n_columns, *_SAMPLE)
        at = np.sort(np.random.default_rng(0).permutation(len(rows))[:size])
        return cls(at if rows.subset is None else rows.subset[at], rows.y[at])


class _Kinds(NamedTuple):
    """What a sample says of columns, as in :class:`ColumnStatistics`; and their medians and spreads.

    Those that have a unit or a stand-in have a spread of 0.
    """

    log_zero: np.ndarray
    unit: np.ndarray
    sentinel: np.ndarray
    stand_in: np.ndarray
    median: np.ndarray
    spread: np.ndarray


def _kinds(X, columns, sample, dtype):
    kinds, found, start = _Kinds(*np.zeros((6, len(columns)))), [], 0
    for chunk in chunks_of_columns(X, columns, sample.numbers):
        some = slice(start, start + chunk.shape[1])
        chunk.sort(axis=0)
        sentinels = find_sentinels(chunk)
        chunk[:, sentinels.columns] = _without(sentinels, chunk[:, sentinels.columns])
        kinds.log_zero[some], kinds.unit[some] = long_tails(chunk, dtype)
        kinds.median[some], kinds.spread[some] = spread([chunk])  # which mixes up the sorted values
        found.append(sentinels._replace(columns=start + sentinels.columns))
        start = some.stop
    kinds.spread[kinds.unit != 0] = 0
    _set_stand_ins(kinds, Sentinels(*map(np.concatenate, zip(*found, strict=True))), X, columns, sample)
    return kinds


def _without(sentinels, ordered):
    """Sorted columns in which sentinels are NaN, and at the end."""
    return np.sort(np.where(ordered == sentinels.value, np.nan, ordered), axis=0)


def _set_stand_ins(kinds, sentinels, X, columns, sample):
    """Let columns with sentinels have these and their stand-ins, by the classes of the sample."""
    at, told, start = sentinels.columns, [], 0
    if not len(at):
        return
    for chunk in chunks_of_columns(X, columns[at], sample.numbers):
        some = slice(start, start + chunk.shape[1])
        are_sentinels = chunk == sentinels.value[some]
        x = _with_logarithms(chunk, kinds.log_zero[at[some]], kinds.unit[at[some]])
        told.append(what_is_told(x, are_sentinels, sample.y))
        start = some.stop
    of_all = Told(*(np.concatenate(of_chunks, axis=-1) for of_chunks in zip(*told, strict=True)))
    stand_in = of_all.center + sentinels.side * distances(of_all) * of_all.deviation
    at_log = np.flatnonzero(kinds.unit[at])
    stand_in = _changed(stand_in[None], at_log, inverse_logarithms, kinds.log_zero[at], kinds.unit[at])[0]
    stays = (stand_in - sentinels.value) * sentinels.side >= 0  # none is moved away from the others
    kinds.sentinel[at], kinds.stand_in[at] = sentinels.value, np.where(stays, sentinels.value, stand_in)
    kinds.spread[at] = 0


def _scale_by_spread(center, scale, rows, columns, kinds, sample):
    """Put the spread of columns of few values far astray in the place of their scales, and their medians of centers."""
    at = np.flatnonzero((kinds.spread > 0) & np.isfinite(scale) & (scale / MIN_STRAY > kinds.spread))
    if not len(at):
        return
    ways = (center[at], scale[at]), (kinds.median[at], kinds.spread[at])
    glitches = tell_more_by_spread(chunks_of_columns(rows.X, columns[at], sample.numbers), *ways, sample.y)
    may_be_astray = glitches | (scale[at] / MAX_STRAY > kinds.spread[at] / _SLACK)
    at, glitches = at[may_be_astray], glitches[may_be_astray]
    if len(at):
        median, deviation = spread(chunks_of_columns(rows.X, columns[at], rows.subset))
        astray = (deviation > 0) & (glitches | (scale[at] / MAX_STRAY > deviation))
        center[at[astray]], scale[at[astray]] = median[astray], deviation[astray]


def _compressed(chunk, kinds):
    """A chunk, changed in place, with stand-ins and logarithms."""
    with_stand_in = np.flatnonzero(kinds.sentinel != kinds.stand_in)
    chunk = _changed(chunk, with_stand_in, replace_sentinels, kinds.sentinel, kinds.stand_in)
    return _with_logarithms(chunk, kinds.log_zero, kinds.unit)


def _with_logarithms(chunk, log_zero, unit):
    """A chunk, changed in place, whose columns that have a unit hold logarithms."""
    return _changed(chunk, np.flatnonzero(unit), logarithms, log_zero, unit)


def _changed(chunk, at, function, *of_columns):
    """A chunk with what a function of tensors makes of some columns, and of what belongs to these, in their place."""
    if len(at):
        chunk[:, at] = function(*map(torch.from_numpy, (chunk[:, at], *(values[at] for values in of_columns)))).numpy()
    return chunk
