"""Partial whitening of columns that go together, as a product with a symmetric matrix."""

import numpy as np
import torch
from torch import nn


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


_FACTORS = ("factor_a", "factor_b", "factor_together")


class Whitening(nn.Module):
    """Scaled blocks, each whitened by itself and then both together, where there are factors for that.

    Parameters
    ----------
    n_columns : pair of int
        Of block A and of block B.
    ranks : tuple of three int
        Rows of the factors (see :func:`whitening_factor`) of block A, of block B and of both together; 0 for none.

    Attributes
    ----------
    factor_a, factor_b, factor_together : tensor of shape (rank, n_columns), or None
        The last is of the columns of A, then those of B.
    """

    factor_a: torch.Tensor | None
    factor_b: torch.Tensor | None
    factor_together: torch.Tensor | None

    def __init__(self, n_columns, ranks):
        super().__init__()
        self._n_columns = tuple(n_columns)
        widths = (*n_columns, sum(n_columns))
        for name, rank, width in zip(_FACTORS, ranks, widths, strict=True):
            self.register_buffer(name, torch.zeros(rank, width) if rank else None)

    @property
    def ranks(self):
        """Rows of the factors, as the constructor takes them."""
        factors = [getattr(self, name) for name in _FACTORS]
        return tuple(0 if factor is None else len(factor) for factor in factors)

    def set_factors(self, factor_a, factor_b, factor_together):
        """Copy arrays of the shapes of the factors in; None where there is no factor."""
        for name, values in zip(_FACTORS, (factor_a, factor_b, factor_together), strict=True):
            if values is not None:
                getattr(self, name).copy_(torch.from_numpy(values))

    @property
    def changes(self):
        """Whether block A does not stay as it is, and whether block B does not."""
        of_a, of_b, together = (rank > 0 for rank in self.ranks)
        return of_a or together, of_b or together

    def forward(self, x_a, x_b):
        if self.factor_a is not None:
            x_a = whiten(x_a, self.factor_a)
        if self.factor_b is not None:
            x_b = whiten(x_b, self.factor_b)
        if self.factor_together is not None:
            x_a, x_b = whiten(torch.cat([x_a, x_b], dim=1), self.factor_together).split(self._n_columns, dim=1)
        return x_a, x_b
