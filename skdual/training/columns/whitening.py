"""Which blocks the plain members take whitened: those whose classes are told by directions of little variance."""

import math
from typing import NamedTuple

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors

from ...scaling.fitting import scaled_rows
from ...scaling.whitening import Whitening, whitening_factor
from .ridge import left_out_errors, principal_axes

PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0)
"""Of the ridge regressions that tell how much whitening a block needs, as shares of the mean variance of its axes."""

MIN_GAIN = 0.1
"""Least drop of the squared error from the largest penalty to the best, as a share of the variance of the classes."""

MIN_GAIN_IN_STANDARD_ERRORS = 4.0
"""The same in standard errors of the mean over the rows."""

SHRINKAGE_PER_PENALTY, SHRINKAGE_PER_PENALTY_TOGETHER = 10.0, 1.0
"""Shrinkage of the covariance as a multiple of the penalty, of a block and of both together; by trial."""

_MIN_ROWS = 10  # fewer can't be sure
_MAX_ROWS = 4096  # that decide: the neighbours of all take time that grows with their square
_MAX_VALUES = 2**23  # 64 MiB of float64, and some arrays of that size
_MAX_NEIGHBORS = 20


def fit_whitening(rows, original, scalers, has_plain_members):
    """How the plain members whiten the blocks that need it, each by itself or both together.

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
    rows : Rows
        To train on.
    original : ndarray of int64 of shape (n,)
        The first row that each is a copy of: a row that is left out must not be known from a copy.
    scalers : pair of ColumnScaler
        That scale the columns of either block on the host, in the dtype of X. Those of blocks that are whitened are
        changed in place, so that they centre what they clip.
    has_plain_members : bool
        Without them nothing is whitened.

    Returns
    -------
    whitening : Whitening
        On the host, in the dtype of X.
    """
    blocks, together = [None, None], None
    if has_plain_members:
        row_indices = np.random.default_rng(0).permutation(np.unique(original))
        blocks = [
            _by_itself(scaler, rows, index, row_indices) if scaler.clipped and scaler.n_outputs == len(index) else None
            for scaler, index in zip(scalers, rows.columns.indices, strict=True)
        ]
        together = _together(scalers, rows, row_indices, blocks)
    factors = [*(None if block is None else block.factor for block in blocks), together]
    with torch.device("cpu"):  # the default device may be any of the caller's
        whitening = Whitening(
            [scaler.n_outputs for scaler in scalers], [0 if factor is None else len(factor) for factor in factors]
        ).to(scalers[0].center.dtype)
    whitening.set_factors(*factors)
    for scaler, block in zip(scalers, blocks, strict=True):
        if block is not None and (block.factor is not None or together is not None):
            scaler.set_clipped_mean(block.mean)
    return whitening


class _Block(NamedTuple):
    """Mean of the scaled columns of a block, and the factor to whiten it by, or None."""

    mean: np.ndarray
    factor: np.ndarray | None


def _by_itself(scaler, rows, index, row_indices):
    """The :class:`_Block` of some columns, or None where there are too few rows to tell."""
    row_indices = _deciding(row_indices, len(index))
    if not len(row_indices):
        return None
    z = scaled_rows(scaler, rows, index, row_indices)
    mean = z.mean(axis=0)
    z -= mean
    found = whitening_of(z, rows.y[row_indices])
    if found is None:
        return _Block(mean, None)
    penalty, axes = found
    return _Block(mean, whitening_factor(axes.variances, axes.components, SHRINKAGE_PER_PENALTY * penalty))


def _together(scalers, rows, row_indices, blocks):
    """The factor to whiten both blocks by, whitened by themselves already where they have one; None if they are not."""
    row_indices = _deciding(row_indices, sum(rows.columns.n_columns))
    if not len(row_indices) or None in blocks:
        return None
    z, scales = [], []
    for scaler, index, block in zip(scalers, rows.columns.indices, blocks, strict=True):
        centred = scaled_rows(scaler, rows, index, row_indices)
        centred -= centred.mean(axis=0)
        z.append(centred if block.factor is None else centred @ block.factor.T @ block.factor)
        n_axes = min(len(row_indices) - 1, len(index))
        scales.append(math.sqrt(np.square(z[-1]).sum() / (len(row_indices) * n_axes)) if n_axes else 0)
    if not all(scales):
        return None
    # of one mean variance of their axes, for a large penalty leaves little of a narrow block beside a wide one
    alike = np.hstack([of_block / scale for of_block, scale in zip(z, scales, strict=True)])
    found = whitening_of(alike, rows.y[row_indices])
    if found is None:
        return None
    axes = principal_axes(np.hstack(z))
    return whitening_factor(axes.variances, axes.components, SHRINKAGE_PER_PENALTY_TOGETHER * found[0])


def _deciding(row_indices, n_columns):
    """Numbers of the rows that tell how so many columns are whitened: all, or some that are enough, or none."""
    n_rows = min(len(row_indices), _MAX_ROWS, _MAX_VALUES // n_columns)
    is_enough = n_rows == len(row_indices) or n_rows >= 2 * n_columns
    return np.sort(row_indices[:n_rows]) if is_enough else row_indices[:0]


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
    if len(z) < _MIN_ROWS or np.ptp(codes) == 0 or not np.isfinite(z).all():
        return None
    axes = principal_axes(z)
    if not len(axes.variances):
        return None
    left_out = nearest_rows(z, len(np.unique(codes)))
    variances, left_vectors = axes.variances, axes.left_vectors
    errors = np.stack([left_out_errors(variances, left_vectors, penalty, codes, left_out) for penalty in PENALTIES])
    more = errors - errors[np.argmin(errors.mean(axis=1))]
    mean, standard_error = more.mean(axis=1), more.std(axis=1, ddof=1) / math.sqrt(len(z))
    if mean[-1] < max(MIN_GAIN, MIN_GAIN_IN_STANDARD_ERRORS * standard_error[-1]):
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
    row_indices = np.arange(len(z))[:, None]
    n_neighbors = min(_MAX_NEIGHBORS, len(z) // (10 * n_classes))
    if not n_neighbors:
        return row_indices
    nearest = NearestNeighbors(n_neighbors=n_neighbors, algorithm="brute").fit(z).kneighbors(return_distance=False)
    return np.hstack([row_indices, nearest])
