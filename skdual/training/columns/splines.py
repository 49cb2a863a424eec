"""Which columns have linear splines beside them: those that tell the classes by their level, not by their size."""

import math

import numpy as np
import torch
from scipy.stats import chi2
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.preprocessing import KernelCenterer

from ...anova import analysis_of_variance, indicator
from ...scaling.fitting import scaled_rows
from ...scaling.splines import HatFunctions, LinearSplines, hats_at
from .relevance import column_relevance
from .ridge import left_out_errors, spectrum

PENALTIES = (1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0)
"""Of the kernel ridge regressions that tell whether splines help, as shares of the mean variance of the axes."""

MIN_GAIN, MIN_GAIN_OF_ERROR = 0.06, 0.5
"""Least drop of the squared error of these, as a share of the variance of the classes, or of the error if less."""

MIN_GAIN_OF_SMALL_ERROR = 0.005
"""The same of an error so small that half of it is less: next to nothing is halved by chance."""

MIN_GAIN_IN_STANDARD_ERRORS = 2.0
"""The same in standard errors of the mean over the rows, which it has to be too."""

SIGNIFICANCE = 0.001
"""How seldom levels of a column that tell no more than its size would seem to."""

MIN_RATIO = 0.5
"""Of what levels of a column tell beyond its size to what its size tells."""

MAX_LEVELS = 20
"""Values of a column that are levels by themselves; of more, the levels are around ``_N_QUANTILES`` of them."""

_N_QUANTILES, _FIRST_QUANTILE = 8, 0.03
_DECIMALS = 4  # of scaled values: levels that are closer are one
_MIN_ROWS, _MIN_SHARE = 10, 0.02  # of a level; those of fewer count as one, and have no hat function
_MAX_ROWS = 1024  # whose levels are looked at
_MAX_ROWS_OF_KERNEL = 640  # of a regression, which takes time that grows with their cube
_MAX_VALUES = 2**23  # of them in a block, or of their hat functions: 64 MiB of float64


def informative_splines(rows, original, scalers):
    """Hat functions of the columns that tell the classes by their level, for each block.

    Whether they help is not for one column to tell: what is not monotone in one may be linear in two. So they are taken
    where kernel ridge regression of the classes (Saunders et al., 1998) with a Gaussian kernel, on the columns times
    their relevance, has a much smaller error on rows left out with them than without: it is at ease with whatever is
    smooth in the columns together, as the network is. What helps must not be that a block counts for more with them,
    such as one beside noise.

    Training rows that members hold out count as well: which columns are levels is all that these learn of the labels.

    Parameters
    ----------
    rows : Rows
        To train on.
    original : ndarray of int64 of shape (n,)
        The first row that each is a copy of: a row that is left out must not be known from a copy.
    scalers : pair of ColumnScaler
        That scale the columns of either block on the host, and append no splines yet.

    Returns
    -------
    hats : tuple of two HatFunctions
        Of no column at all in blocks whose scaling does not centre and clip the columns, or of more columns than rows.
    """
    shuffled = np.random.default_rng(0).permutation(np.unique(original))[:_MAX_ROWS]
    row_indices, of_kernel = np.sort(shuffled), np.sort(shuffled[:_MAX_ROWS_OF_KERNEL])
    codes = np.unique(rows.y[row_indices], return_inverse=True)[1]
    most = min(len(rows), _MAX_VALUES // len(row_indices))
    blocks = [
        scaled_rows(scaler, rows, index, row_indices)
        if scaler.clipped and len(index) <= most
        else np.empty((len(row_indices), 0))
        for scaler, index in zip(scalers, rows.columns.indices, strict=True)
    ]
    hats = tuple(level_hats(z, codes) for z in blocks)
    n_hats = sum(len(of_block.column) for of_block in hats)
    if not 0 < n_hats <= _MAX_VALUES // len(row_indices):
        return _no_hats(), _no_hats()
    some = np.searchsorted(row_indices, of_kernel)
    codes = np.unique(codes[some], return_inverse=True)[1]  # a rare class may not be among them
    is_worth_it = codes.max() > 0 and _help([z[some] for z in blocks], hats, codes)
    return hats if is_worth_it else (_no_hats(), _no_hats())


def _no_hats():
    return HatFunctions(np.empty(0, dtype=np.int64), *np.empty((3, 0)))


def level_hats(z, codes):
    """Hat functions at the levels of the columns, (n, n_columns), whose levels tell what their size does not.

    Of a column and its levels' numbers the larger eta squared is what its size tells, and Pearson's chi squared over n,
    of the table of levels and classes, what its levels tell in all. The rest must be significant, and half as large as
    the former, both less what they are by chance.

    Parameters
    ----------
    z : ndarray of shape (n, n_columns)
    codes : ndarray of int64 of shape (n,)
        All of 0 to the largest occur.

    Returns
    -------
    hats : HatFunctions
    """
    n_rows, n_classes = len(z), int(codes.max()) + 1
    least = max(_MIN_ROWS, math.ceil(_MIN_SHARE * n_rows))
    if n_classes < 2 or n_rows < 3 * least or not np.isfinite(z).all():
        return _no_hats()
    centers = [_centers(values) for values in z.T]
    levels = np.empty(z.shape, dtype=np.int64)
    for column, at in enumerate(centers):
        levels[:, column] = np.searchsorted((at[1:] + at[:-1]) / 2, z[:, column])
    of_size = n_rows * np.maximum(_statistics(z, codes)[0], _statistics(levels, codes)[0])
    found = [_no_hats()]
    for column, at in enumerate(centers):
        table = np.zeros((len(at), n_classes))
        np.add.at(table, (levels[:, column], codes), 1)
        is_common = table.sum(axis=1) >= least
        of_levels, by_levels = _pearson(np.vstack([table[is_common], table[~is_common].sum(axis=0)]))
        by_size = n_classes - 1
        more, by_chance = of_levels - of_size[column], by_levels - by_size
        is_enough = more - by_chance > MIN_RATIO * (of_size[column] - by_size)
        if is_enough and by_chance > 0 and chi2.sf(more, by_chance) < SIGNIFICANCE:
            found.append(HatFunctions(*(of_hats[is_common] for of_hats in hats_at(column, at))))
    return HatFunctions(*map(np.concatenate, zip(*found, strict=True)))


def _pearson(table):
    """Pearson's chi squared of a table, (n_levels, n_classes), and its degrees of freedom."""
    table = table[table.any(axis=1)]
    of_rows, of_columns = table.sum(axis=1), table.sum(axis=0)
    explained = np.sum(np.square(table) / of_rows[:, None] / of_columns)
    return of_rows.sum() * (explained - 1), (table.shape[0] - 1) * (table.shape[1] - 1)


def _centers(values):
    """The levels of a column, in ascending order."""
    distinct = np.unique(values.round(_DECIMALS))
    if len(distinct) <= MAX_LEVELS:
        return distinct
    shares = np.linspace(_FIRST_QUANTILE, 1 - _FIRST_QUANTILE, _N_QUANTILES)
    return np.unique(np.quantile(values, shares).round(_DECIMALS))


def _statistics(z, codes):
    """Eta squared and the variance of columns."""
    n_classes = int(codes.max()) + 1
    centred, one = z - z.mean(axis=0), np.ones(len(codes))
    by_class = indicator(codes, n_classes, one)
    return analysis_of_variance(by_class @ centred, np.square(centred).sum(axis=0), by_class @ one)


def _help(blocks, hats, codes):
    """Whether the classes are told much better with the hat functions of the columns of both blocks.

    That is better than without them both where each block varies as before and where it varies as much as with them.
    """
    alone, beside = _times_relevance(blocks, codes), _times_relevance(list(map(_with_hats, blocks, hats)), codes)
    as_much = [z * math.sqrt(_variance(others) / (_variance(z) or 1)) for z, others in zip(alone, beside, strict=True)]
    without = min(_errors(alone, codes), _errors(as_much, codes), key=np.mean)
    gain = without - _errors(beside, codes)
    least = np.clip(MIN_GAIN_OF_ERROR * without.mean(), MIN_GAIN_OF_SMALL_ERROR, MIN_GAIN)
    return gain.mean() >= max(least, MIN_GAIN_IN_STANDARD_ERRORS * gain.std(ddof=1) / math.sqrt(len(gain)))


def _with_hats(z, hats):
    if not len(hats.column):
        return z
    with torch.device("cpu"):  # the default device may be any of the caller's
        layer = LinearSplines(len(hats.column)).double()
    layer.set_hats(hats)
    values = layer.hats(torch.from_numpy(z)).numpy()
    layer.set_statistics(values.mean(axis=0), values.std(axis=0))
    return layer(torch.from_numpy(z)).numpy()


def _times_relevance(blocks, codes):
    """Both blocks, their columns times their relevance among those of both."""
    z = np.hstack(blocks)
    z *= column_relevance(len(z), int(codes.max()) + 1, *_statistics(z, codes))
    return np.split(z, [blocks[0].shape[1]], axis=1)


def _variance(z):
    """Of all columns together."""
    return float(z.var(axis=0).sum())


def _errors(blocks, codes):
    """The least errors on rows left out, of all penalties."""
    squares = euclidean_distances(np.hstack(blocks), squared=True)
    kernel = KernelCenterer().fit_transform(np.exp(-squares / squares.mean()))
    variances, vectors = spectrum(kernel)
    alone = np.arange(len(kernel))[:, None]
    errors = [left_out_errors(variances, vectors, penalty, codes, alone) for penalty in PENALTIES]
    return min(errors, key=np.mean)
