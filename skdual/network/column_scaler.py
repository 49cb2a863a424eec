"""Scaling of the columns as the first layer, so that rows are centred only once a batch is dense."""

import torch
from torch import nn

from ..scalings import SCALINGS

LIMIT = 3.0
"""Standard deviations that no value goes beyond where values are clipped."""

_HUGE = 1e9  # whose square is finite; beyond it all is the limit


class ColumnScaler(nn.Module):
    """z = (x - center) / scale with statistics of the training rows, then smoothly clipped: z / sqrt(1 + (z / 3)^2).

    Smooth clipping (Holzmueller et al., 2024, RealMLP) leaves values near the mean as they are. Without it the columns
    that are 0 in nearly all rows, as in counts of words or genes, reach tens of deviations where they are
    not, and drown the rest. It moves the mean of such columns off 0, which ``clipped_mean`` can take out again.
    Scalings to a range are not clipped, and "none" leaves the columns as they are.

    Parameters
    ----------
    n_columns : int
    scaling : str
        A name in :data:`~skdual.scalings.SCALINGS`; says whether log(1 + x) is scaled instead of x, and whether z is
        clipped.

    Attributes
    ----------
    center, scale : tensor of shape (n_columns,)
        0 and 1 until :meth:`set_statistics`.
    clipped_mean : tensor of shape (n_columns,)
        What is subtracted from clipped columns; 0 until :meth:`set_clipped_mean`.
    """

    center: torch.Tensor
    scale: torch.Tensor
    clipped_mean: torch.Tensor

    def __init__(self, n_columns, scaling):
        super().__init__()
        self._scales = SCALINGS[scaling].statistics is not None
        self._logarithm, self.clipped = SCALINGS[scaling].logarithm, SCALINGS[scaling].clipped
        self.register_buffer("center", torch.zeros(n_columns))
        self.register_buffer("scale", torch.ones(n_columns))
        self.register_buffer("clipped_mean", torch.zeros(n_columns))

    def set_statistics(self, center, scale):
        """Copy center and scale, arrays of shape (n_columns,), into the layer; a scale that its dtype has not is 1."""
        self.center.copy_(torch.from_numpy(center).to(self.center.dtype))
        scale = torch.from_numpy(scale).to(self.scale.dtype)
        self.scale.copy_(torch.where(scale == 0, 1, scale))

    def set_clipped_mean(self, clipped_mean):
        """Copy the mean of clipped columns, an array of shape (n_columns,), into the layer."""
        self.clipped_mean.copy_(torch.from_numpy(clipped_mean).to(self.clipped_mean.dtype))

    @property
    def origin(self):
        """The value of every column that is scaled to 0 before it is clipped, (n_columns,)."""
        return torch.expm1(self.center) if self._logarithm else self.center

    def forward(self, x):
        if not self._scales:
            return x
        # in place where the gradient needs no earlier value: memory takes time on the CPU
        z = ((torch.log1p(x) if self._logarithm else x) - self.center).div_(self.scale)
        if not self.clipped:
            return z
        z = z.clamp_(-_HUGE, _HUGE)
        one = torch.ones((), dtype=z.dtype, device=z.device)
        factor = torch.addcmul(one, z, z, value=1 / LIMIT**2).rsqrt_()
        clipped = z * factor if z.requires_grad else factor.mul_(z)
        return clipped.sub_(self.clipped_mean)
