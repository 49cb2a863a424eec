"""Linear splines of some columns as further columns."""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from .clipping import clip_smoothly


class HatFunctions(NamedTuple):
    """Piecewise linear functions of one column each, arrays of shape (n_hats,): the B-splines of degree 1.

    A function is 1 at its ``center``, and falls to 0 with the slopes ``rise`` below it and ``fall`` above it; a slope
    of 0 leaves it at 1. ``column`` is the number of the column.
    """

    column: np.ndarray
    center: np.ndarray
    rise: np.ndarray
    fall: np.ndarray


def hats_at(column, centers):
    """One function for each center, which falls to 0 where the next ones are; beyond the last ones they stay at 1.

    Parameters
    ----------
    column : int
    centers : ndarray of shape (n_hats,)
        Ascending.
    """
    slopes = np.concatenate([[0.0], 1 / np.diff(centers), [0.0]])
    return HatFunctions(np.full(len(centers), column, dtype=np.int64), centers, slopes[:-1], slopes[1:])


class LinearSplines(nn.Module):
    """Appends hat functions of scaled columns as further columns: (n, p) -> (n, p + n_hats).

    What tells the classes by its level and not by how large it is, such as the code of a category, or a measure of
    which too little is as bad as too much, a branch learns of many rows only. Like other columns they are standardised
    by the training rows and clipped.

    Attributes
    ----------
    column, center, rise, fall : tensor of shape (n_hats,)
        See :class:`HatFunctions`.
    mean, std : tensor of shape (n_hats,)
        Of the training rows; 0 and 1 until :meth:`set_statistics`.
    """

    column: torch.Tensor
    center: torch.Tensor
    rise: torch.Tensor
    fall: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, n_hats):
        super().__init__()
        self.register_buffer("column", torch.zeros(n_hats, dtype=torch.int64))
        for name in ("center", "rise", "fall", "mean"):
            self.register_buffer(name, torch.zeros(n_hats))
        self.register_buffer("std", torch.ones(n_hats))

    @property
    def n_hats(self):
        return len(self.column)

    def set_hats(self, hats):
        """Copy :class:`HatFunctions` in."""
        for name, values in hats._asdict().items():
            getattr(self, name).copy_(torch.from_numpy(values))

    def set_statistics(self, mean, std):
        """Copy two arrays of shape (n_hats,) in; an std of 0 is 1."""
        self.mean.copy_(torch.from_numpy(mean))
        self.std.copy_(torch.from_numpy(np.where(std > 0, std, 1.0)))

    def hats(self, z):
        """The functions as they are, (n, n_hats)."""
        above = z.index_select(1, self.column) - self.center
        return torch.relu(1 - torch.relu(-above * self.rise) - torch.relu(above * self.fall))

    def forward(self, z):
        return torch.cat([z, clip_smoothly((self.hats(z) - self.mean) / self.std)], dim=1)
