"""Standardisation as the first layer, so that rows are centred only once a batch is dense."""

import torch
from torch import nn

LIMIT = 3.0
"""Standard deviations that no standardised cell goes beyond."""


class ColumnScaler(nn.Module):
    """z = (x - mean) / scale with statistics of the training rows, then limited smoothly: z / sqrt(1 + (z / 3)^2).

    The limit (Holzmueller et al., 2024, RealMLP) leaves cells near the mean as they are. Without it the columns
    that are 0 in nearly all rows, as in counts of words or genes, reach tens of deviations where they are
    not, and drown the rest.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, n_columns):
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_columns))
        self.register_buffer("scale", torch.ones(n_columns))

    def set_statistics(self, mean, scale):
        """Copy mean and scale, arrays of shape (n_columns,), into the layer."""
        self.mean.copy_(torch.from_numpy(mean).to(self.mean.dtype))
        self.scale.copy_(torch.from_numpy(scale).to(self.scale.dtype))

    def forward(self, x):
        z = (x - self.mean) / self.scale
        # a square root of squares would overflow where z is huge
        return z / torch.hypot(z / LIMIT, torch.ones((), dtype=z.dtype, device=z.device))
