"""Ridge regression of the classes, judged by rows that are left out."""

from typing import NamedTuple

import numpy as np

from ...inputs.slices import consecutive_slices

_PART_VALUES = 2**17  # of rows that are left out at one time, 1 MiB: they stay in a processor's cache
_ROUNDING = 1e-10  # share of the largest variance below which one is rounding


class PrincipalAxes(NamedTuple):
    """The singular value decomposition of centred rows, as of a principal component analysis.

    Attributes
    ----------
    variances : ndarray of shape (r,)
        Of the rows along each axis; none is 0.
    components : ndarray of shape (r, n_columns)
        Orthonormal: the axes.
    left_vectors : ndarray of shape (n, r)
        Left singular vectors.
    """

    variances: np.ndarray
    components: np.ndarray
    left_vectors: np.ndarray


def spectrum(products):
    """Eigenvalues that are more than rounding, in ascending order, and eigenvectors of a matrix of inner products."""
    values, vectors = np.linalg.eigh(products)
    varies = values > _ROUNDING * values[-1]
    return values[varies], vectors[:, varies]


def principal_axes(z):
    """The :class:`PrincipalAxes` of centred rows, (n, n_columns), by the smaller of both matrices of products."""
    n, p = z.shape
    squares, vectors = spectrum(z.T @ z if p <= n else z @ z.T)
    lengths = np.sqrt(squares)
    if p <= n:
        return PrincipalAxes(squares / n, vectors.T, z @ vectors / lengths)
    return PrincipalAxes(squares / n, vectors.T @ z / lengths[:, None], vectors)


def left_out_errors(variances, left_vectors, penalty, codes, left_out):
    """Squared errors of ridge regression of the classes, each row predicted without those that are left out with it.

    That takes one regression for all rows (PRESS, Allen, 1974). The predictions are rescaled by one factor (least
    squares), so that shrinkage alone is no error.

    Parameters
    ----------
    variances : ndarray of shape (r,)
        Of the rows along their principal axes.
    left_vectors : ndarray of shape (n, r)
        Left singular vectors of the rows.
    penalty : float
        As a share of the mean variance along the axes.
    codes : ndarray of int64 of shape (n,)
        Of two classes or more.
    left_out : ndarray of int64 of shape (n, n_left_out)
        Numbers of the rows, each row's own first.

    Returns
    -------
    errors : ndarray of shape (n,)
        Whose mean is 1 where nothing is explained.
    """
    n, r = left_vectors.shape
    target = (codes[:, None] == np.unique(codes)).astype(np.float64)
    target -= target.mean(axis=0)
    kept = variances / (variances + penalty * variances.mean())
    residuals = target - (left_vectors * kept) @ (left_vectors.T @ target)
    predicted = np.empty_like(target)
    for some in consecutive_slices(n, max(1, _PART_VALUES // (left_out.shape[1] * max(r, target.shape[1])))):
        vectors = left_vectors[left_out[some]]
        leverage = 1 / n + (vectors * kept) @ vectors.transpose(0, 2, 1)
        others = np.linalg.solve(np.eye(left_out.shape[1]) - leverage, residuals[left_out[some]])
        predicted[some] = target[some] - others[:, 0]
    total = np.sum(predicted**2)
    factor = max(0.0, np.sum(predicted * target) / total) if total else 0.0
    return np.sum((target - factor * predicted) ** 2, axis=1) * (n / np.sum(target**2))
