"""How the scores of all members become one: groups of members, the blocks they score by, and the weights of these."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from .heads import LinearHead, SubspaceHead
from .members import member_halves

BOTH, ONLY_A, ONLY_B = 0, 1, 2  # the source of a score: the blocks that a row is scored by


class ScoreGroup(NamedTuple):
    """Members whose scores by one source are averaged: ``BOTH`` blocks, ``ONLY_A`` or ``ONLY_B``."""

    members: slice
    source: int


class EnsembleScores(nn.Module):
    """The part of a network that makes one answer of what its members say.

    The groups are the plain members by both blocks, and the regularised ones by both, by block A and by block B. Scores
    are the sum over groups of the mean scores of a group, times ``group_weights``.

    Parameters
    ----------
    n_members : int
    n_classes : int
    by_single_blocks : bool
        Whether the regularised members score rows by either block alone too.

    Attributes
    ----------
    score_groups : list of ScoreGroup
    group_weights : tensor of shape (n_groups,)
    """

    group_weights: torch.Tensor
    encode_members: Callable
    fusion: nn.Module
    head: SubspaceHead | LinearHead

    def __init__(self, n_members, n_classes, by_single_blocks):
        super().__init__()
        self.n_members = n_members
        self.n_classes = n_classes
        plain, regularized = member_halves(n_members)
        self.score_groups = [ScoreGroup(half, BOTH) for half in (plain, regularized) if half.start < half.stop]
        self.score_groups += [ScoreGroup(regularized, source) for source in (ONLY_A, ONLY_B) if by_single_blocks]
        self._sources = [BOTH, ONLY_A, ONLY_B] if by_single_blocks else [BOTH]
        self.register_buffer("group_weights", torch.zeros(len(self.score_groups)))
        self.reset_group_weights()

    def reset_group_weights(self):
        """Give the scores by both blocks of all members equal weights, and those by single blocks none."""
        sizes = [group.members.stop - group.members.start for group in self.score_groups]
        by_both = [group.source == BOTH for group in self.score_groups]
        self.set_group_weights(np.array(sizes) / self.n_members * by_both)

    def set_group_weights(self, group_weights):
        """Copy the weights of the groups, an array of shape (n_groups,), into the network."""
        self.group_weights.copy_(torch.from_numpy(group_weights).to(self.group_weights.dtype))

    def block_weights_and_temperature(self):
        """How much scores by both blocks, by A alone and by B alone count, and what their weighted mean is divided by.

        The weights, ndarray of float64, sum to 1; there is one where rows are scored by both blocks only.
        """
        group_weights = self.group_weights.cpu().numpy().astype(np.float64)
        by_source = np.bincount([source for _, source in self.score_groups], weights=group_weights)
        return by_source / by_source.sum(), float(1 / group_weights.sum())

    def member_scores(self, x_a, x_b):
        """Every member's class scores by both blocks, A and B, (n_members, 3, batch, n_classes); or by both only."""
        return self.head(self._embed_by(self._sources, x_a, x_b)).unflatten(1, (len(self._sources), -1))

    def group_scores(self, x_a, x_b):
        """The mean scores of every group, (batch, n_groups, n_classes)."""
        values = self.head(self._embed_by(self._sources, x_a, x_b))
        return self._group_means(values, self.score_groups, self._sources).transpose(0, 1)

    def scores(self, x_a, x_b):
        """Class scores, (batch, n_classes); their softmax is the probability."""
        # what counts for nothing is not computed, unless gradients have to lead back to both blocks
        counts = (self.group_weights != 0) | torch.is_grad_enabled()
        groups = [group for group, heard in zip(self.score_groups, counts.cpu().tolist(), strict=True) if heard]
        sources = sorted({group.source for group in groups})
        means = self._group_means(self.head(self._embed_by(sources, x_a, x_b)), groups, sources)
        return torch.einsum("g,gbc->bc", self.group_weights[counts], means)

    def scores_and_familiarity(self, x_a, x_b):
        """Both at the cost of one, (batch, n_classes) and (batch,)."""
        z = self._embed_by(self._sources, x_a, x_b)
        means = self._group_means(self.head(z), self.score_groups, self._sources)
        return torch.einsum("g,gbc->bc", self.group_weights, means), self._familiarity(z)

    def projection_error(self, x_a, x_b):
        """Squared distance to each class's subspace, (batch, n_classes); with ``head="subspace"`` only.

        The mean over members and groups, weighted by scale and group weight, so that it ranks classes as the scores do.
        """
        errors, scales = self._group_errors(self._embed_by(self._sources, x_a, x_b))
        weights = self.group_weights * scales
        return torch.einsum("g,gbc->bc", weights / weights.sum(), errors)

    def familiarity(self, x_a, x_b):
        """Minus the distance to the nearest class's subspace, (batch,); with ``head="subspace"`` only.

        The mean over members and groups, where half of a group's weight is that in the scores and half is the same for
        all: what is new may show in a block that the known classes do not need.
        """
        return self._familiarity(self._embed_by(self._sources, x_a, x_b))

    def _familiarity(self, z):
        errors, _ = self._group_errors(z)
        shares = self.group_weights / self.group_weights.sum()
        return -torch.einsum("g,gbc->bc", (shares + shares.mean()) / 2, errors).amin(dim=-1)

    def _embed_by(self, sources, x_a, x_b):
        """Every member's embeddings by each source, (n_members, n_sources * batch, d_a + d_b)."""
        h_a, h_b = self.encode_members(x_a, x_b)
        if sources == [BOTH]:
            return self.fusion(h_a, h_b)
        none_a, none_b = torch.zeros_like(h_a), torch.zeros_like(h_b)
        by_source = {BOTH: (h_a, h_b), ONLY_A: (h_a, none_b), ONLY_B: (none_a, h_b)}
        pairs = [by_source[source] for source in sources]
        return self.fusion(*(torch.cat(block, dim=1) for block in zip(*pairs, strict=True)))

    @staticmethod
    def _group_means(values, groups, sources):
        """Means over the members of each group, (n_groups, batch, n_classes), of what the head made of _embed_by."""
        of_members = values.unflatten(1, (len(sources), -1))
        return torch.stack([of_members[members, sources.index(source)].mean(dim=0) for members, source in groups])

    def _group_errors(self, z):
        """Mean projection errors of every group, weighted by scale, (n_groups, batch, n_classes), and mean scales."""
        assert isinstance(self.head, SubspaceHead)
        scale = self.head.log_scale.exp()
        scales = torch.stack([scale[members].mean() for members, _ in self.score_groups])
        errors = scale[:, None, None] * self.head.projection_error(z)
        means = self._group_means(errors, self.score_groups, self._sources)
        return means / scales[:, None, None], scales
