"""The norm of a row as one more column."""

import math

import torch
from torch import nn

from .clipping import clip_smoothly


def row_norms(z):
    """Root mean squares of rows, (n, p) -> (n, 1)."""
    return torch.linalg.vector_norm(z, dim=1, keepdim=True) / math.sqrt(z.shape[1])


class RowNorm(nn.Module):
    """Appends the norm of a scaled row, as its root mean square, as one more column: (n, p) -> (n, p + 1).

    Branches hardly see it by themselves, for layer normalisation takes it out: a row that is twice as far from the mean
    in every column looks the same. Like other columns it is standardised by the training rows and clipped.

    Attributes
    ----------
    mean, std : tensor of shape ()
        Of the norms of the training rows; 0 and 1 until :meth:`set_statistics`.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))

    def set_statistics(self, mean, std):
        """Copy two floats into the layer; an std of 0 is 1."""
        self.mean.fill_(mean)
        self.std.fill_(std or 1.0)

    def forward(self, z):
        return torch.cat([z, clip_smoothly((row_norms(z) - self.mean) / self.std)], dim=1)
