"""Columns with few values far astray, beside whose standard deviation all other values are all but alike.

Such outliers may be glitches, and the column is better scaled by how far apart its other values are. Or they are all
that counts, as where a marker is on in few rows. Unless they are very far, the classes say which.
"""

import numpy as np
import torch

from ..anova import analysis_of_variance, chance_variance, indicator, shrunk_epsilon_squared
from .clipping import clip_smoothly
from .scalings import quartiles

MAX_STRAY = 100.0
"""Standard deviation of a column, in units of its :func:`spread`, from which on it is scaled by that in any case.

So far are values in another unit, and codes for what is missing, such as -999, that too few rows have to be sentinels.
"""

MIN_STRAY = 1.5
"""Standard deviation, in units of the spread, from which on the classes say by which of both a column is scaled.

Student's t of three degrees of freedom has 1.53, Laplace's distribution 1.38.
"""

_MIN_RATIO, _STANDARD_ERRORS = 1.5, 2.0
"""Scaled by its spread it has to tell the classes so many times as well, and by so many standard errors of chance."""


def spread(chunks):
    """Medians, and a standard deviation of each column to which few values far astray are nothing.

    It is what :func:`quartiles` say. Where these are one value, as in a rare binary column, it is the root mean square
    of distances from the median if all values but that one were as far from it as half of them are.
    """
    medians, deviations = [], []
    for chunk in chunks:
        median, deviation = quartiles([chunk])
        same = np.flatnonzero(deviation == 0)
        distance = np.sort(np.abs(chunk[:, same] - median[same]), axis=0)
        n_rows, n_different = len(chunk), np.count_nonzero(distance, axis=0)
        middle = (n_rows - 1 - n_different // 2)[None]
        deviation[same] = np.take_along_axis(distance, middle, axis=0)[0] * np.sqrt(n_different / n_rows)
        medians.append(median)
        deviations.append(deviation)
    return np.concatenate(medians), np.concatenate(deviations)


def tell_more_by_spread(chunks, by_scale, by_spread, y):
    """Which columns tell clearly more of the classes if they are scaled, and clipped, by their spread.

    Parameters
    ----------
    chunks : iterable of ndarray of float64 of shape (n, some columns)
    by_scale, by_spread : pair of ndarray of shape (n_columns,)
        Center and scale of either way.
    y : ndarray of int64 of shape (n,)

    Returns
    -------
    tell_more : ndarray of bool of shape (n_columns,)
    """
    by_class = indicator(y, int(y.max()) + 1, np.ones(len(y)))
    class_sizes = by_class @ np.ones(len(y))
    n_rows, n_classes = len(y), np.count_nonzero(class_sizes)
    if not 1 < n_classes < n_rows:
        return np.zeros(len(by_scale[0]), dtype=bool)
    eta_squared: tuple[list, list] = ([], [])
    start = 0
    for chunk in chunks:
        some = slice(start, start + chunk.shape[1])
        for of_way, (center, scale) in zip(eta_squared, (by_scale, by_spread), strict=True):
            z = clip_smoothly(torch.from_numpy((chunk - center[some]) / scale[some])).numpy()
            of_way.append(analysis_of_variance(by_class @ z, np.square(z).sum(axis=0), class_sizes)[0])
        start = some.stop
    effect, effect_by_spread = (
        shrunk_epsilon_squared(np.concatenate(of_way), n_rows, n_classes) for of_way in eta_squared
    )
    by_chance = _STANDARD_ERRORS * np.sqrt(chance_variance(n_rows, n_classes))
    return (effect_by_spread > _MIN_RATIO * effect) & (effect_by_spread - effect > by_chance)
