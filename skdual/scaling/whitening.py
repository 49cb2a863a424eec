"""Partial whitening of columns that go together, as a product with a symmetric matrix."""

import numpy as np
import torch


def whitening_factor(variances, components, shrinkage):
    """F, such that the rows z F'F have a covariance nearer to the identity than that of the centred rows z.

    F'F is proportional to (C + shrinkage v I)^(-1/2) in the span of the components and 0 elsewhere, where C is the
    covariance and v the mean of its variances: zero-phase whitening with a shrunk covariance (Bell & Sejnowski, 1997;
    Kessy, Lewin & Strimmer, 2018). The sum of the variances stays as it is.

    Parameters
    ----------
    variances : ndarray of shape (r,)
        Of the rows along each component, all positive.
    components : ndarray of shape (r, n_columns)
        Orthonormal: the principal axes of the rows.
    shrinkage : float

    Returns
    -------
    factor : ndarray of shape (r, n_columns)
    """
    gains = 1 / np.sqrt(variances + shrinkage * variances.mean())
    gains *= np.sqrt(variances.sum() / np.sum(variances * gains**2))
    return np.sqrt(gains)[:, None] * components


def whiten(z, factor):
    """Rows times F'F, (n, n_columns) -> the same shape."""
    with torch.autocast(z.device.type, enabled=False):  # bfloat16 would lose the directions of little variance
        return (z @ factor.T) @ factor
