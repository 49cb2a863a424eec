"""Which blocks the plain members take whitened: those whose classes are told by directions of little variance."""

import math
from typing import NamedTuple

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors

from ..devices import send
from ..network.members import n_plain_members
from ..scaling.fitting import scaled_rows
from ..scaling.whitening import whitening_factor
from .ridge import left_out_errors, principal_axes

PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0)
"""Of the ridge regressions that tell how much whitening a block needs, as shares of the mean variance of its axes."""

LEAST_GAIN = 0.1
"""Least drop of the squared error from the largest penalty to the best, as a share of the variance of the classes."""

LEAST_GAIN_IN_STANDARD_ERRORS = 4.0
"""The same in standard errors of the mean over the rows."""

SHRINKAGE_PER_PENALTY, SHRINKAGE_PER_PENALTY_TOGETHER = 10.0, 1.0
"""Shrinkage of the covariance as a multiple of the penalty, of a block and of both together; by trial."""

_LEAST_ROWS = 10  # fewer can't be sure
_MAX_ROWS = 4096  # that decide: the neighbours of all take time that grows with their square
_MAX_VALUES = 2**23  # 64 MiB of float64, and some arrays of that size
_MAX_NEIGHBORS = 20


def whiten_blocks(network, rows, original, scalers):
    """Let the plain members whiten the blocks that need it, each by itself or both together.

    Neighbouring wavelengths, overlapping windows and measures of one size share most of their variance, which need not
    be what tells the classes; so do two blocks that measure the same, as on the left and on the right or before and
    after. A linear model takes that out where its penalty is small; a network hears little of what is left. So a block
    is whitened where ridge regression of the classes on it, judged by rows left out, has a much smaller error with a
    small penalty than with a large one; and so are both together. The regularised members take them centred, but not
    whitened, so that held-out rows can tell which is better.

    Training rows that members hold out count as well: one penalty of seven, or none, is all that these learn of the
    labels.

    Parameters
    ----------
    network : DualBranchNetwork
        New. Blocks that are whitened are centred besides.
    rows : Rows
        To train on.
    original : ndarray of int64 of shape (n,)
        The first row that each is a copy of: a row that is left out must not be known from a copy.
    scalers : pair of ColumnScaler
        That scale the columns of either block on the host, in the dtype of X.
    """
    if not n_plain_members(network.n_members):
        return
    numbers = np.random.default_rng(0).permutation(np.unique(original))
    blocks = [
        _by_itself(scaler, rows, index, numbers) if scaler.clipped and scaler.n_outputs == len(index) else None
        for scaler, index in zip(scalers, rows.columns.indices, strict=True)
    ]
    together = _together(scalers, rows, numbers, blocks)
    for scaler, block in zip(network.scalers, blocks, strict=True):
        if block is not None and (block.factor is not None or together is not None):
            scaler.set_clipped_mean(block.mean)
    dtype = network.branch_a.shortcut.weight.dtype
    factors = [*(None if block is None else block.factor for block in blocks), together]
    network.whitening.set_factors(*(f if f is None else send(torch.from_numpy(f), rows.device, dtype) for f in factors))


class _Block(NamedTuple):
    """Mean of the scaled columns of a block, and the factor to whiten it by, or None."""

    mean: np.ndarray
    factor: np.ndarray | None


def _by_itself(scaler, rows, index, numbers):
    """The :class:`_Block` of some columns, or None where there are too few rows to tell."""
    numbers = _deciding(numbers, len(index))
    if not len(numbers):
        return None
    z = scaled_rows(scaler, rows, index, numbers)
    mean = z.mean(axis=0)
    z -= mean
    found = whitening_of(z, rows.y[numbers])
    if found is None:
        return _Block(mean, None)
    penalty, axes = found
    return _Block(mean, whitening_factor(axes.variances, axes.components, SHRINKAGE_PER_PENALTY * penalty))


def _together(scalers, rows, numbers, blocks):
    """The factor to whiten both blocks by, whitened by themselves already where they have one; None if they are not."""
    numbers = _deciding(numbers, sum(rows.columns.n_columns))
    if not len(numbers) or None in blocks:
        return None
    z, scales = [], []
    for scaler, index, block in zip(scalers, rows.columns.indices, blocks, strict=True):
        centred = scaled_rows(scaler, rows, index, numbers)
        centred -= centred.mean(axis=0)
        z.append(centred if block.factor is None else centred @ block.factor.T @ block.factor)
        n_axes = min(len(numbers) - 1, len(index))
        scales.append(math.sqrt(np.square(z[-1]).sum() / (len(numbers) * n_axes)) if n_axes else 0)
    if not all(scales):
        return None
    # of one mean variance of their axes, for a large penalty leaves little of a narrow block beside a wide one
    alike = np.hstack([of_block / scale for of_block, scale in zip(z, scales, strict=True)])
    found = whitening_of(alike, rows.y[numbers])
    if found is None:
        return None
    axes = principal_axes(np.hstack(z))
    return whitening_factor(axes.variances, axes.components, SHRINKAGE_PER_PENALTY_TOGETHER * found[0])


def _deciding(numbers, n_columns):
    """Numbers of the rows that tell how so many columns are whitened: all, or some that are enough, or none."""
    n_rows = min(len(numbers), _MAX_ROWS, _MAX_VALUES // n_columns)
    is_enough = n_rows == len(numbers) or n_rows >= 2 * n_columns
    return np.sort(numbers[:n_rows]) if is_enough else numbers[:0]


def whitening_of(z, codes):
    """The penalty that suits the columns best, and their principal axes; None if they are not to be whitened.

    Of the penalties that are as good as the best one, within a standard error, the largest counts (Breiman et al.,
    1984).

    Parameters
    ----------
    z : ndarray of shape (n, n_columns)
        Centred rows.
    codes : ndarray of int64 of shape (n,)
        Class codes.
    """
    if len(z) < _LEAST_ROWS or np.ptp(codes) == 0 or not np.isfinite(z).all():
        return None
    axes = principal_axes(z)
    if not len(axes.variances):
        return None
    left_out = nearest_rows(z, len(np.unique(codes)))
    variances, left_vectors = axes.variances, axes.left_vectors
    errors = np.stack([left_out_errors(variances, left_vectors, penalty, codes, left_out) for penalty in PENALTIES])
    more = errors - errors[np.argmin(errors.mean(axis=1))]
    mean, standard_error = more.mean(axis=1), more.std(axis=1, ddof=1) / math.sqrt(len(z))
    if mean[-1] < max(LEAST_GAIN, LEAST_GAIN_IN_STANDARD_ERRORS * standard_error[-1]):
        return None
    chosen = np.flatnonzero(mean <= standard_error)[-1]
    return PENALTIES[chosen], axes


def nearest_rows(z, n_classes):
    """Numbers of the rows that are left out with each row: itself and, of those nearest to it, a tenth of a class.

    They may be measurements of the same sample, from which a regression with a small penalty would know it.

    Parameters
    ----------
    z : ndarray of shape (n, n_columns)
    n_classes : int

    Returns
    -------
    left_out : ndarray of int64 of shape (n, 1 + n_neighbors)
        Itself first; with 20 neighbours at most.
    """
    numbers = np.arange(len(z))[:, None]
    n_neighbors = min(_MAX_NEIGHBORS, len(z) // (10 * n_classes))
    if not n_neighbors:
        return numbers
    nearest = NearestNeighbors(n_neighbors=n_neighbors, algorithm="brute").fit(z).kneighbors(return_distance=False)
    return np.hstack([numbers, nearest])
