"""Mixing rows of a batch with each other (mixup)."""

from typing import NamedTuple

import numpy as np
import torch

from ...network.members import member_halves, n_plain_members

MIXED_SHARE = 0.5
"""Share of the rows that are mixed; the others stay as they are, so that every member sees real rows too."""


class Mixing(NamedTuple):
    """How the rows of a batch are mixed.

    Row i becomes ``weight[i] * row i + (1 - weight[i]) * row partner[i]``, and so does its target. ``weight`` has the
    shape (batch, 1) and is at least 0.5, so that a row stays mostly itself.
    """

    partner: torch.Tensor
    weight: torch.Tensor

    def __call__(self, values):
        """The rows of ``values``, of shape (batch, n), mixed."""
        return values.index_select(0, self.partner).lerp_(values, self.weight)  # new memory takes time on the CPU

    def targets(self, shares, n_members):
        """Targets of shape (batch, n_classes) as each member sees the rows, (n_members, batch, n_classes)."""
        n_plain = n_plain_members(n_members)
        mixed = self(shares).expand(n_members - n_plain, *shares.shape)
        return torch.cat([shares.expand(n_plain, *shares.shape), mixed])

    def mask(self, training_mask):
        """Which mixed rows each member trains on, (n_members, batch): nothing of a row that it holds out reaches it."""
        plain, regularized = member_halves(len(training_mask))
        return torch.cat([training_mask[plain], (training_mask & training_mask[:, self.partner])[regularized]])


class Mixup:
    """Draws how to mix a batch (Zhang et al., 2018): weights max(l, 1 - l) with l from Beta(alpha, alpha).

    Drawn on the host, so that all devices mix alike.

    Parameters
    ----------
    alpha : float
    random_generator : numpy.random.Generator
    """

    def __init__(self, alpha, random_generator):
        self.alpha = alpha
        self.random_generator = random_generator

    def draw(self, rows):
        """Partners (int64) and weights (float32) of the rows of a batch, each an ndarray of shape (batch,)."""
        n_rows = len(rows)
        mixed = self.random_generator.random(n_rows) < MIXED_SHARE
        share = self.random_generator.beta(self.alpha, self.alpha, n_rows)
        weight = np.where(mixed, np.maximum(share, 1 - share), 1.0)
        partner = np.where(mixed, self.random_generator.permutation(n_rows), np.arange(n_rows))
        return partner, weight.astype(np.float32)
