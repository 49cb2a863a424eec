"""Which blocks the plain members take whitened: those whose classes are told by directions of little variance."""

import math
from typing import NamedTuple

import numpy as np
import torch

from ..devices import send
from ..inputs.chunks import dense_chunks
from ..inputs.rows import Rows
from ..network.members import n_plain_members
from ..scaling.whitening import whitening_factor

PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Of the ridge regressions that tell how much whitening a block needs, as shares of the mean variance of directions."""

LEAST_GAIN = 0.1
"""Share of the variance of the classes that a smaller penalty has to explain besides what the largest one does."""

LEAST_GAIN_IN_STANDARD_ERRORS = 4.0
"""Of this mean over the rows: few rows show such a gain by chance."""

TIMES_PENALTY = 10.0
"""How much more the covariance is shrunk than the best ridge regression does: some of it the network learns."""

_MAX_ROWS = 2000
_MAX_VALUES = 2**24  # 128 MiB of float64
_ROUNDING = 1e-10  # share of the largest variance below which one is rounding


class Axes(NamedTuple):
    """The principal axes of centred rows.

    Attributes
    ----------
    variances : ndarray of shape (r,)
        Of the rows along each.
    directions : ndarray of shape (r, n_columns)
        Orthonormal.
    scores : ndarray of shape (n, r)
        Coordinates of the rows, with columns of unit length.
    """

    variances: np.ndarray
    directions: np.ndarray
    scores: np.ndarray


def whiten_blocks(network, rows, original, scalers):
    """Let the plain members whiten the blocks that need it.

    Neighbouring wavelengths, overlapping windows and measures of one size share most of their variance, which need not
    be what tells the classes. A linear model takes that out where its penalty is small; a network hears little of what
    is left. So a block is whitened where ridge regression of the classes on it, judged by rows left out, has a much
    smaller error with a small penalty than with a large one. The regularised members take it as it is, so that held-out
    rows can tell which is better.

    By 2,000 of the training rows at most, those too that members hold out: one penalty of seven, or none, is all that
    these learn of the labels.

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
    numbers = np.unique(original)
    is_part = len(numbers) > _MAX_ROWS
    if is_part:
        numbers = numbers[np.linspace(0, len(numbers) - 1, _MAX_ROWS).astype(np.int64)]
    subset = numbers if rows.subset is None else rows.subset[numbers]
    some = Rows(rows.X, rows.columns, rows.device, rows.dtype, subset=subset)
    blocks = zip((network.branch_a, network.branch_b), (network.scaler_a, network.scaler_b), scalers, strict=True)
    for (branch, scaler, on_host), index in zip(blocks, rows.columns.indices, strict=True):
        if not on_host.clipped or on_host.row_length is not None or _is_too_large(len(numbers), len(index), is_part):
            continue
        chunks = map(torch.from_numpy, dense_chunks(some, index, rows.X.dtype))
        z = torch.cat([on_host(chunk) for chunk in chunks]).double().numpy()
        mean = z.mean(axis=0)
        found = whitening_of(z - mean, rows.y[numbers])
        if found is not None:
            shrinkage, axes = found
            factor = whitening_factor(axes.variances, axes.directions, shrinkage)
            scaler.set_clipped_mean(mean)
            branch.columns.whitening = send(torch.from_numpy(factor[None]), rows.device, branch.shortcut.weight.dtype)


def _is_too_large(n_rows, n_columns, is_part):
    return n_rows * n_columns > _MAX_VALUES or (is_part and n_rows < 2 * n_columns)


def whitening_of(z, codes):
    """The shrinkage of the covariance with which a block is to be whitened, and its axes; None if it is not to be."""
    if len(z) < 3 or not np.isfinite(z).all() or not z.any():
        return None
    axes = principal_axes(z)
    errors = [left_out_errors(axes, penalty, codes) for penalty in PENALTIES]
    best = int(np.argmin(np.mean(errors, axis=1)))
    gain = errors[-1] - errors[best]
    standard_error = gain.std(ddof=1) / math.sqrt(len(gain))
    if gain.mean() < max(LEAST_GAIN, LEAST_GAIN_IN_STANDARD_ERRORS * standard_error):
        return None
    return TIMES_PENALTY * PENALTIES[best], axes


def principal_axes(z):
    """The :class:`Axes` of centred rows of shape (n, n_columns), by the smaller of the two matrices of products."""
    n, p = z.shape
    squares, vectors = np.linalg.eigh(z.T @ z if p <= n else z @ z.T)
    varies = squares > _ROUNDING * squares[-1]
    squares, vectors = squares[varies], vectors[:, varies]
    lengths = np.sqrt(squares)
    if p <= n:
        return Axes(squares / n, vectors.T, z @ vectors / lengths)
    return Axes(squares / n, vectors.T @ z / lengths[:, None], vectors)


def left_out_errors(axes, penalty, codes):
    """Squared errors of ridge regression of the classes, each row predicted by all others.

    That takes one regression for all rows (PRESS, Allen, 1974). What a penalty takes off all predictions alike is
    given back, for only the direction of the coefficients is compared.

    Parameters
    ----------
    axes : Axes
    penalty : float
        As a share of the mean variance along the axes.
    codes : ndarray of int64 of shape (n,)

    Returns
    -------
    errors : ndarray of shape (n,)
        Whose mean is 1 where nothing is explained.
    """
    n = len(codes)
    target = (codes[:, None] == np.unique(codes)).astype(np.float64)
    target -= target.mean(axis=0)
    kept = axes.variances / (axes.variances + penalty * axes.variances.mean())
    fitted = (axes.scores * kept) @ (axes.scores.T @ target)
    leverage = 1 / n + np.square(axes.scores) @ kept
    predicted = target - (target - fitted) / (1 - leverage)[:, None]
    total = np.sum(predicted**2)
    factor = max(0.0, np.sum(predicted * target) / total) if total else 0.0
    return np.sum((target - factor * predicted) ** 2, axis=1) * (n / np.sum(target**2))
