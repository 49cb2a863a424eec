"""The ways to scale a block's columns: the statistics that each takes of the training rows, and how it uses them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import norm
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, StandardScaler

LONG_TAIL = 3.0
"""Ninth decile of the values of a column that are not 0, in units of their median, from which on it has a long tail.

So have counts, concentrations and intensities: an exponential distribution has 3.3, the positive half of a normal 2.4.
Of a column with negative values the distances from its median are looked at, and their root mean square has to be as
large as well. So it is for increments, residuals, and intensities less a background: Student's t of one degree of
freedom has 6.3 and no bound, Laplace's distribution 3.3 and 2.0.
"""

LAST_DECILE = 1.5
"""98th percentile of the distances from the median, in units of their ninth decile, from which on two tails are long.

It is less where values gather far away and not in between, such as those of a marker that is on in some rows.
"""

_MIN_TAIL_VALUES, _MIN_TAILS_VALUES = 10, 50
"""Least number of values other than 0 that tell of one tail, and of distances other than 0 that tell of two."""


class Scaling(NamedTuple):
    """One way: z = (x - center) / scale, of log(1 + x) with ``logarithm``, then smoothly clipped with ``clipped``.

    ``statistics`` gives center and scale of the columns of dense chunks of float64: chunks of rows, or with
    ``whole_columns`` chunks of columns. Without it columns stay as they are. With ``by_column`` logarithms stand for x
    in columns of :func:`long_tails`, other values for :mod:`~skdual.scaling.sentinels`, and some of the columns that
    have neither are scaled by their :func:`~skdual.scaling.outliers.spread`.
    """

    statistics: Callable | None
    whole_columns: bool = False
    logarithm: bool = False
    clipped: bool = False
    by_column: bool = False


def _moments(chunks):
    scaler = _fitted(StandardScaler(), chunks)
    return scaler.mean_, scaler.scale_


def _range(chunks):
    scaler = _fitted(MinMaxScaler(), chunks)
    return scaler.data_min_, scaler.data_range_


def _largest(chunks):
    scaler = _fitted(MaxAbsScaler(), chunks)
    return np.zeros_like(scaler.max_abs_), scaler.max_abs_


def _fitted(scaler, chunks):
    for chunk in chunks:
        scaler.partial_fit(chunk)
    return scaler


def quartiles(chunks):
    """Medians, and the distances of the outer quartiles in units of those of a normal column of unit variance."""
    of_chunks = [np.percentile(chunk, [25, 50, 75], axis=0, overwrite_input=True) for chunk in chunks]
    lower, median, upper = np.concatenate(of_chunks, axis=1)
    return median, (upper - lower) / (norm.ppf(0.75) - norm.ppf(0.25))


def long_tails(ordered, dtype):
    """Where the logarithms of columns of long tails are 0, and the units of these.

    A column without negative values has one tail, from 0 on; another has two, from its median on. The unit is the first
    decile of the distances from there that are not 0, of which there are 10, or 50 for two tails, at least. It is not
    too small for the dtype, nor for the largest distance to be divided by it.

    Parameters
    ----------
    ordered : ndarray of float64 of shape (n, n_columns)
        Sorted columns; NaN at the end of some does not count.
    dtype : torch.dtype

    Returns
    -------
    log_zero, unit : ndarray of float64 of shape (n_columns,)
        Both 0 in other columns.
    """
    n_values, has_two = np.count_nonzero(~np.isnan(ordered), axis=0), ordered[0] < 0

    def at(values, place):
        return np.take_along_axis(values, place.astype(np.int64)[None], axis=0)[0]

    log_zero = np.where(has_two, (at(ordered, (n_values - 1) // 2) + at(ordered, n_values // 2)) / 2, 0)
    distances = ordered.copy()
    distances[:, has_two] = np.sort(np.abs(ordered[:, has_two] - log_zero[has_two]), axis=0)
    n_zeros = np.count_nonzero(distances == 0, axis=0)

    def quantile(share):
        place = np.minimum(n_zeros + share * (n_values - 1 - n_zeros), n_values - 1)
        low, high = at(distances, np.floor(place)), at(distances, np.ceil(place))
        return low + (place % 1) * (high - low)

    tenth, median, ninth_tenth, last, largest = map(quantile, (0.1, 0.5, 0.9, 0.98, 1))
    distances[np.isnan(distances)] = 0
    root_mean_square = np.sqrt(np.einsum("ij,ij->j", distances, distances) / (n_values - n_zeros))
    tell = n_values - n_zeros >= np.where(has_two, _MIN_TAILS_VALUES, _MIN_TAIL_VALUES)
    are_long = tell & (ninth_tenth > LONG_TAIL * median)
    are_long &= ~has_two | (root_mean_square > LONG_TAIL * median) & (last > LAST_DECILE * ninth_tenth)
    limits = torch.finfo(dtype)
    least = np.maximum(limits.tiny, 2 * largest / limits.max)  # half of max, for the ratio is rounded
    return np.where(are_long, log_zero, 0), np.where(are_long, np.maximum(tenth, least), 0)


SCALINGS = {
    "standard": Scaling(_moments, clipped=True, by_column=True),
    "robust": Scaling(quartiles, whole_columns=True, clipped=True),
    "log1p": Scaling(_moments, logarithm=True, clipped=True),
    "minmax": Scaling(_range),
    "maxabs": Scaling(_largest),
    "none": Scaling(None),
}
"""By the names that ``standardize`` takes."""


def scaling_pair(standardize):
    """The names of the ways of block A and block B.

    Parameters
    ----------
    standardize : bool, str or pair
        True is "standard", False "none"; a pair has one of them or a name for each block.

    Returns
    -------
    pair : tuple of two str

    Raises
    ------
    ValueError
        If ``standardize`` is none of these.
    """
    pair = list(standardize) if isinstance(standardize, (list, tuple)) else [standardize, standardize]
    names = [("standard" if name else "none") if isinstance(name, (bool, np.bool_)) else name for name in pair]
    if len(names) != 2 or not all(isinstance(name, str) and name in SCALINGS for name in names):
        raise ValueError(
            f"standardize must be True, False, one of {', '.join(map(repr, SCALINGS))}, or a pair or a dict by block "
            f"name of two such; got {standardize!r}."
        )
    return tuple(names)
