"""Scaling of the columns as the first layer, so that rows are centred only once a batch is dense."""

import torch
from torch import nn

from ..scalings import SCALINGS

LIMIT = 3.0
"""Standard deviations that no cell goes beyond where cells are limited."""

_HUGE = 1e9  # whose square is finite; beyond it all is the limit


class ColumnScaler(nn.Module):
    """z = (x - mean) / scale with statistics of the training rows, then limited smoothly: z / sqrt(1 + (z / 3)^2).

    The limit (Holzmueller et al., 2024, RealMLP) leaves cells near the mean as they are. Without it the columns
    that are 0 in nearly all rows, as in counts of words or genes, reach tens of deviations where they are
    not, and drown the rest. It moves the mean of such columns off 0: :meth:`centre` takes that out again. Scalings to a
    range have no limit.

    Parameters
    ----------
    n_columns : int
    scaling : str, default="standard"
        A name in :data:`~skdual.scalings.SCALINGS` other than "none"; says whether log(1 + x) is scaled
        instead of x, and whether z is limited.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    limited_mean: torch.Tensor

    def __init__(self, n_columns, scaling="standard"):
        super().__init__()
        self._logarithm, self.limited = SCALINGS[scaling].logarithm, SCALINGS[scaling].limited
        self.register_buffer("mean", torch.zeros(n_columns))
        self.register_buffer("scale", torch.ones(n_columns))
        self.register_buffer("limited_mean", torch.zeros(n_columns))

    def set_statistics(self, mean, scale):
        """Copy mean and scale, arrays of shape (n_columns,), into the layer; a scale that its dtype has not is 1."""
        self.mean.copy_(torch.from_numpy(mean).to(self.mean.dtype))
        scale = torch.from_numpy(scale).to(self.scale.dtype)
        self.scale.copy_(torch.where(scale == 0, 1, scale))

    def centre(self, limited_mean):
        """Subtract the mean of limited columns, an array of shape (n_columns,), from then on."""
        self.limited_mean.copy_(torch.from_numpy(limited_mean).to(self.limited_mean.dtype))

    def forward(self, x):
        z = ((torch.log1p(x) if self._logarithm else x) - self.mean) / self.scale
        if not self.limited:
            return z
        z = z.clamp(-_HUGE, _HUGE)
        one = torch.ones((), dtype=z.dtype, device=z.device)
        return z * torch.addcmul(one, z, z, value=1 / LIMIT**2).rsqrt() - self.limited_mean
