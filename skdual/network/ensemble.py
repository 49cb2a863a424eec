"""How the scores of all members become one: groups of members, the blocks they score by, and the weights of these."""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from .members import member_halves

BOTH, ONLY_A, ONLY_B = 0, 1, 2  # the source of a score: the blocks that a row is scored by


class ScoreGroup(NamedTuple):
    """Members whose scores by one source are averaged: ``BOTH`` blocks, ``ONLY_A`` or ``ONLY_B``."""

    members: slice
    source: int


def group_means(values, groups, sources):
    """Means over the members of each group, (n_groups, batch, n_classes).

    Parameters
    ----------
    values : tensor of shape (n_members, n_sources * batch, n_classes)
        Of every member, by one source after the other.
    groups : list of ScoreGroup
    sources : list of int
    """
    by_source = values.unflatten(1, (len(sources), -1))
    return torch.stack([by_source[members, sources.index(source)].mean(dim=0) for members, source in groups])


class Ensemble(nn.Module):
    """The groups of a network's members and their weights.

    The groups are the plain members by both blocks, and the regularised ones by both, by block A and by block B. Scores
    are the sum over groups of the mean scores of a group, times ``weights``, plus the offset of each class.

    Parameters
    ----------
    n_members : int
    n_classes : int
    by_single_blocks : bool
        Whether the regularised members score rows by either block alone too.

    Attributes
    ----------
    groups : list of ScoreGroup
    sources : list of int
        What rows are scored by.
    weights : tensor of shape (n_groups,)
    class_offsets : tensor of shape (n_classes,)
    """

    weights: torch.Tensor
    class_offsets: torch.Tensor

    def __init__(self, n_members, n_classes, by_single_blocks):
        super().__init__()
        plain, regularized = member_halves(n_members)
        self.groups = [ScoreGroup(half, BOTH) for half in (plain, regularized) if half.start < half.stop]
        self.groups += [ScoreGroup(regularized, source) for source in (ONLY_A, ONLY_B) if by_single_blocks]
        self.sources = [BOTH, ONLY_A, ONLY_B] if by_single_blocks else [BOTH]
        self.register_buffer("weights", torch.zeros(len(self.groups)))
        self.register_buffer("class_offsets", torch.zeros(n_classes))
        self.reset()

    def reset(self):
        """Give the scores by both blocks of all members equal weights, those by single blocks none; and no offsets."""
        sizes = np.array([members.stop - members.start for members, _ in self.groups])
        by_both = np.array([source == BOTH for _, source in self.groups])
        self.set(sizes / sizes[by_both].sum() * by_both, np.zeros(len(self.class_offsets)))

    def set(self, weights, class_offsets):
        """Copy the weights of the groups and the offsets of the classes, two arrays, into the network."""
        self.weights.copy_(torch.from_numpy(weights).to(self.weights.dtype))
        self.class_offsets.copy_(torch.from_numpy(class_offsets).to(self.weights.dtype))

    def as_fitted(self):
        """Block weights, temperature and class offsets: float, and ndarrays of float64; one copy from the device.

        Block weights say how much scores by both blocks, by A alone and by B alone count. They sum to 1; there is one
        where rows are scored by both blocks only. Their weighted mean is divided by the temperature.
        """
        numbers = torch.cat([self.weights, self.class_offsets]).cpu().numpy().astype(np.float64)
        weights, class_offsets = np.split(numbers, [len(self.groups)])
        by_source = np.bincount([source for _, source in self.groups], weights=weights)
        return by_source / by_source.sum(), float(1 / weights.sum()), class_offsets

    def counted(self):
        """The groups that count for anything, what these score by, and their weights."""
        # all of them where gradients have to lead back to both blocks
        counts = (self.weights != 0) | torch.is_grad_enabled()
        groups = [group for group, counted in zip(self.groups, counts.cpu().tolist(), strict=True) if counted]
        return groups, sorted({source for _, source in groups}), self.weights[counts]
