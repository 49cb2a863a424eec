"""Values that many rows share and that lie far from the others of their column, such as a code for what is missing.

It may be so far that nothing is heard of what the others tell, or be all that counts, as where a marker is off. The
classes say which: it is replaced by a value the farther from the others the more it tells of the classes beside them.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from ..anova import analysis_of_variance, indicator, shrunk_epsilon_squared

_MIN_SHARE, _MIN_OTHERS, _MIN_ROWS = 0.02, 0.1, 10
"""Least share of the rows that have the sentinel, least share that have other values, and least number of either."""

_NEAR, _GAP = 0.05, 0.5
"""All other values but such a share lie on one side of the sentinel, farther away than so many standard deviations."""

_MANY = 20
"""A column of fewer distinct values may be all codes: there the others are nearer to each other than to a sentinel."""

_ROUNDING = 1e-5
"""Other values that differ by a smaller share of their mean are one value, as in a binary column, and rounding."""


class Sentinels(NamedTuple):
    """Sentinels of some columns, arrays of shape (n_found,) by the numbers of the columns.

    ``side`` is -1 where the ``value`` is among the lowest of the column and 1 where it is among the highest.
    """

    columns: np.ndarray
    side: np.ndarray
    value: np.ndarray


def find_sentinels(ordered):
    """The sentinels of sorted columns, (n, n_columns); the low ones where both ends have such.

    Returns
    -------
    sentinels : Sentinels
    """
    low, high = _at_low_end(ordered), _at_low_end(-ordered[::-1])
    high = high._replace(side=-high.side, value=-high.value)
    new = ~np.isin(high.columns, low.columns)
    return Sentinels(*(np.concatenate([a, b[new]]) for a, b in zip(low, high, strict=True)))


def _at_low_end(ordered):
    n_rows = len(ordered)
    least, least_others = (max(_MIN_ROWS, math.ceil(share * n_rows)) for share in (_MIN_SHARE, _MIN_OTHERS))
    if n_rows < least + least_others:
        return Sentinels(*np.empty((3, 0), dtype=np.int64))
    # the lowest value of so many rows, if no more rows than may lie below
    starts = ordered[: 1 + int(_NEAR * n_rows)]
    is_start = starts == ordered[least - 1 :][: len(starts)]
    columns = np.flatnonzero(is_start.any(axis=0) & (ordered[0] < ordered[-1]))
    values, value = ordered[:, columns], starts[is_start.argmax(axis=0)[columns], columns]
    n_below, n_others = np.count_nonzero(values < value, axis=0), np.count_nonzero(values != value, axis=0)
    may_be_near = (_NEAR * (n_others - 1)).astype(np.int64)
    near, nearest = (
        np.take_along_axis(values, np.minimum(n_rows - n_others + place, n_rows - 1)[None], axis=0)[0]
        for place in (may_be_near, n_below)
    )
    many = np.count_nonzero(values[1:] != values[:-1], axis=0) >= _MANY
    found = (n_others >= least_others) & (n_below <= may_be_near)
    found &= many | (n_below == 0) & (nearest - value > values[-1] - nearest)
    columns, value, near, n_others, values = (of[..., found] for of in (columns, value, near, n_others, values))
    is_other = values != value
    center = np.where(is_other, values, 0).sum(axis=0) / n_others
    deviation = np.sqrt(np.where(is_other, np.square(values - center), 0).sum(axis=0) / n_others)
    is_far = (deviation > _ROUNDING * np.abs(center)) & (near - value > _GAP * deviation)
    return Sentinels(columns[is_far], np.full(np.count_nonzero(is_far), -1), value[is_far])


class Told(NamedTuple):
    """What is told by whether a value is a sentinel, and by the other values; arrays of shape (n_found,).

    The share of sentinels; mean and standard deviation of the others; and of both eta squared, the number of rows and
    the number of classes, of shape (2, n_found).
    """

    share: np.ndarray
    center: np.ndarray
    deviation: np.ndarray
    eta_squared: np.ndarray
    n_rows: np.ndarray
    n_classes: np.ndarray


def what_is_told(x, is_sentinel, y):
    """Of columns x, (n, n_found), and sentinels of the same shape, of rows of the classes y; an instance of Told."""
    n_classes = int(y.max()) + 1
    by_class = indicator(y, n_classes, np.ones(len(y)))
    n_others = np.count_nonzero(~is_sentinel, axis=0)
    center = np.where(is_sentinel, 0, x).sum(axis=0) / n_others
    others = np.where(is_sentinel, 0, x - center)
    squares = np.square(others).sum(axis=0)
    counts = by_class @ np.ones(x.shape)
    with_sentinel = by_class @ is_sentinel.astype(np.float64)
    rows = np.array([counts, counts - with_sentinel])
    of_both = (with_sentinel, is_sentinel.sum(axis=0)), (by_class @ others, squares)
    eta_squared = [analysis_of_variance(*sums, weights)[0] for sums, weights in zip(of_both, rows, strict=True)]
    return Told(
        1 - n_others / len(x),
        center,
        np.sqrt(squares / n_others),
        np.array(eta_squared),
        rows.sum(axis=1),
        np.count_nonzero(rows, axis=1),
    )


def distances(told):
    """How far from the mean of the others to put the sentinels of all columns, in standard deviations of the others.

    With an effect e_s of whether a value is a sentinel (see :func:`~skdual.anova.shrunk_epsilon_squared`), e_o of the
    other values, and a share s of sentinels, it is sqrt(e_s / (e_o s)): the variances that the column has from either
    are as e_s to e_o.

    Returns
    -------
    distances : ndarray of shape (n_found,)
        Infinite where the others tell nothing.
    """
    known = ((told.n_rows > told.n_classes) & (told.n_classes > 1)).all(axis=0)
    effect = np.ones((2, len(known)))
    if known.any():
        effect[:, known] = [
            shrunk_epsilon_squared(*of_both)
            for of_both in zip(told.eta_squared[:, known], told.n_rows[:, known], told.n_classes[:, known], strict=True)
        ]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(np.where((effect == 0).all(axis=0), 1, effect[0] / effect[1]) / told.share)


def replace_sentinels(x, sentinel, stand_in):
    """x with the stand-in of its column where it is the sentinel, as float32 has both: rows may be of any dtype."""
    rounded = sentinel.float()
    # in float32 all that is too small is 0, and all that is too large one value
    in_float32 = rounded.isfinite() & (rounded != 0)
    return torch.where(torch.where(in_float32, x.float() == rounded, x == sentinel), stand_in, x)
