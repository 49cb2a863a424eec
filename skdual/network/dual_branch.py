"""The whole network: two scaled and encoded blocks, fused, scored."""

import copy
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ..scalings import scaling_pair
from .branches import BranchEncoder
from .column_scaler import ColumnScaler
from .fusion import AttentionFusion, ConcatFusion
from .heads import LinearHead, ProjectionHead, SubspaceHead, unit_length
from .members import n_plain

BOTH, ONLY_A, ONLY_B = 0, 1, 2  # the blocks that a row is scored by


class View(NamedTuple):
    """Mean scores of the given members, by both blocks or by one: ``BOTH``, ``ONLY_A`` or ``ONLY_B``."""

    members: slice
    source: int


class NetworkOutput(NamedTuple):
    """What the members' losses need.

    ``scores`` have the shape (n_members, batch, n_classes); ``projections`` are those of both branches, of unit length,
    (n_members, batch, projection_dim) each, or None; ``gram`` are the inner products of the basis vectors of every
    class, (n_members, n_classes, subspace_dim, subspace_dim), or None without subspaces.
    """

    scores: torch.Tensor
    projections: tuple | None
    gram: torch.Tensor | None


def _first(module):
    """The first member, on the same memory, of a module whose every parameter and buffer has members as first axis.

    The module itself is left alone, for other threads may be using it. A deep copy takes longer than some chunks.
    """
    alone = copy.copy(module)
    for kind in ("_parameters", "_buffers"):
        tensors = getattr(module, kind)
        setattr(alone, kind, {name: tensor if tensor is None else tensor[:1] for name, tensor in tensors.items()})
    alone._modules = {name: _first(child) for name, child in module._modules.items()}
    return alone


class DualBranchNetwork(nn.Module):
    """Two branch encoders, their fusion and the classifier; the arguments are settled, none is "auto".

    The network has ``n_members`` independent members of one form, computed side by side (Lakshminarayanan et al.,
    2017, deep ensembles; Laurent et al., 2023, packed). The second half of them is regularised: in training it loses
    features (``dropout``) and blocks (``block_dropout``, by which it also learns to score a row by either block alone),
    and sees mixed rows, and columns by their relevance. What serves a block that is noise, or few noisy rows, can spoil
    what both blocks tell together and what is not linear, so the first half is trained plainly. Hence the views: the
    mean scores of the first half by both blocks, and of the second half by both, by block A and by block B. Scores are
    the sum over views times ``view_weights``. Embeddings, whose axes differ from member to member, are those of the
    first.

    Parameters
    ----------
    n_members : int
    in_features : pair of int
        Columns of block A and of block B.
    n_classes : int
    hidden_layer_sizes : pair of sequences of int
    dropout : pair of float
    activation, normalization, initialization : str
        See :class:`~skdual.network.branches.BranchEncoder`.
    fusion : {"attention", "concat"}
    token_dim, attention_heads : int
    head : {"subspace", "linear"}
    subspace_dim : int
    projection_dim : int
        0 builds no projection heads.
    block_dropout : float
        Share of the rows of all members together that lose one of their blocks, each as often as the other, while
        training (modality dropout, Neverova et al., 2016). With 0 all members score by both blocks only.
    standardize : pair of str, or bool
        How each block is scaled: names in :data:`~skdual.scalings.SCALINGS`, or "standard" (True) or "none" (False).
    bfloat16 : bool
        Branches, fusion and projection heads compute their products in bfloat16 while training.

    Attributes
    ----------
    views : list of View
    view_weights : tensor of shape (n_views,)
    member_folds : ndarray of int64 of shape (n_members,)
        Which part of the rows a member is to leave out of its training; each half of the members has the same parts.
    """

    view_weights: torch.Tensor
    block_dropout_rates: torch.Tensor

    def __init__(
        self,
        n_members,
        in_features,
        n_classes,
        hidden_layer_sizes,
        dropout,
        activation,
        normalization,
        initialization,
        fusion,
        token_dim,
        attention_heads,
        head,
        subspace_dim,
        projection_dim,
        block_dropout,
        standardize,
        bfloat16,
    ):
        super().__init__()
        d_a, d_b = (int(widths[-1]) for widths in hidden_layer_sizes)
        self.embedding_dim = d_a + d_b
        self.n_members = n_members
        self.n_classes = n_classes
        self._bfloat16 = bfloat16
        n_first = n_plain(n_members)
        plain, regularized = slice(0, n_first), slice(n_first, n_members)
        self.views = [View(members, BOTH) for members in (plain, regularized) if members.start < members.stop]
        self.views += [View(regularized, source) for source in (ONLY_A, ONLY_B) if block_dropout]
        self.member_folds = np.r_[np.arange(n_first), np.arange(n_members - n_first)]
        self.register_buffer("view_weights", torch.zeros(len(self.views)))
        self.reset_view_weights()
        rate = min(1.0, block_dropout * n_members / (n_members - n_first))
        rates = torch.tensor([0.0] * n_first + [rate] * (n_members - n_first))
        self.register_buffer("block_dropout_rates", rates[:, None, None], persistent=False)
        self._drops_blocks = bool(block_dropout)
        self._sources = sorted({view.source for view in self.views})
        self.scalings = scaling_pair(standardize)
        self.scaler_a, self.scaler_b = map(ColumnScaler, in_features, self.scalings)
        self.branch_a, self.branch_b = (
            BranchEncoder(n_members, p, widths, rate, activation, normalization, initialization)
            for p, widths, rate in zip(in_features, hidden_layer_sizes, dropout, strict=True)
        )
        if fusion == "attention":
            self.fusion: nn.Module = AttentionFusion(n_members, d_a, d_b, token_dim, attention_heads)
        else:
            self.fusion = ConcatFusion(n_members, d_a, d_b)
        if head == "subspace":
            self.head: SubspaceHead | LinearHead = SubspaceHead(n_members, d_a + d_b, n_classes, subspace_dim)
        else:
            self.head = LinearHead(n_members, d_a + d_b, n_classes)
        self.projections = nn.ModuleList(
            ProjectionHead(n_members, d, projection_dim) for d in (d_a, d_b) if projection_dim
        )

    def scale(self, x_a, x_b):
        """Both blocks as the branches take them."""
        return self.scaler_a(x_a), self.scaler_b(x_b)

    def encode_members(self, x_a, x_b, mixing=None):
        """Every member's branch outputs, (n_members, batch, d_a) and (n_members, batch, d_b)."""
        x_a, x_b = self.scale(x_a, x_b)
        mixed = (None, None) if mixing is None else (mixing(x_a), mixing(x_b))
        return self.branch_a(x_a, mixed[0]), self.branch_b(x_b, mixed[1])

    def _embed_views(self, x_a, x_b, sources=None):
        """Every member's embeddings by each source, those of all views by default.

        They have the shape (n_members, n_sources * batch, d_a + d_b).
        """
        h_a, h_b = self.encode_members(x_a, x_b)
        sources = self._sources if sources is None else sources
        if sources == [BOTH]:
            return self.fusion(h_a, h_b)
        none_a, none_b = torch.zeros_like(h_a), torch.zeros_like(h_b)
        by_source = {BOTH: (h_a, h_b), ONLY_A: (h_a, none_b), ONLY_B: (none_a, h_b)}
        pairs = [by_source[source] for source in sources]
        return self.fusion(*(torch.cat(block, dim=1) for block in zip(*pairs, strict=True)))

    def member_scores(self, x_a, x_b):
        """Every member's class scores by both blocks, A and B, (n_members, 3, batch, n_classes); or by both only."""
        return self.head(self._embed_views(x_a, x_b)).unflatten(1, (len(self._sources), -1))

    def _in_views(self, values, views=None, sources=None):
        """Means over the members of each view, (n_views, batch, n_classes), of what the head made of _embed_views."""
        views, sources = self.views if views is None else views, self._sources if sources is None else sources
        of_members = values.unflatten(1, (len(sources), -1))
        return torch.stack([of_members[members, sources.index(source)].mean(dim=0) for members, source in views])

    def encode(self, x_a, x_b):
        """The first member's branch outputs h_a (batch, d_a) and h_b (batch, d_b)."""
        h_a, h_b = self._encode_first(x_a, x_b)
        return h_a[0], h_b[0]

    def _encode_first(self, x_a, x_b):
        x_a, x_b = self.scale(x_a, x_b)
        return _first(self.branch_a)(x_a), _first(self.branch_b)(x_b)

    def embed(self, x_a, x_b):
        """The first member's fused embedding z, (batch, d_a + d_b)."""
        return _first(self.fusion)(*self._encode_first(x_a, x_b))[0]

    def fold_relevance(self):
        """Put the relevance of the columns into the weights, for columns as they are."""
        for branch in (self.branch_a, self.branch_b):
            branch.fold_relevance()

    def view_scores(self, x_a, x_b):
        """The mean scores in every view, (batch, n_views, n_classes)."""
        return self._in_views(self.head(self._embed_views(x_a, x_b))).transpose(0, 1)

    def reset_view_weights(self):
        """Count all members by both blocks, and no single block."""
        shares = [(members.stop - members.start) / self.n_members * (source == BOTH) for members, source in self.views]
        self.set_view_weights(np.array(shares))

    def set_view_weights(self, view_weights):
        """Copy the weights of the views, an array of shape (n_views,), into the network."""
        self.view_weights.copy_(torch.from_numpy(view_weights).to(self.view_weights.dtype))

    def scores(self, x_a, x_b):
        """Class scores, (batch, n_classes); their softmax is the probability."""
        # what counts for nothing is not computed, unless gradients have to lead back to both blocks
        counts = (self.view_weights != 0) | torch.is_grad_enabled()
        views = [view for view, heard in zip(self.views, counts.cpu().tolist(), strict=True) if heard]
        sources = sorted({view.source for view in views})
        in_views = self._in_views(self.head(self._embed_views(x_a, x_b, sources)), views, sources)
        return torch.einsum("v,vbc->bc", self.view_weights[counts], in_views)

    def scores_and_familiarity(self, x_a, x_b):
        """Both at the cost of one, (batch, n_classes) and (batch,)."""
        z = self._embed_views(x_a, x_b)
        scores = torch.einsum("v,vbc->bc", self.view_weights, self._in_views(self.head(z)))
        return scores, self._familiarity(z)

    def projection_error(self, x_a, x_b):
        """Squared distance to each class's subspace, (batch, n_classes); with ``head="subspace"`` only.

        The mean over members and views, weighted by scale and view weight, so that it ranks classes as the scores do.
        """
        error, scale = self._errors_in_views(self._embed_views(x_a, x_b))
        weight = self.view_weights * scale
        return torch.einsum("v,vbc->bc", weight / weight.sum(), error)

    def familiarity(self, x_a, x_b):
        """Minus the distance to the nearest class's subspace, (batch,); with ``head="subspace"`` only.

        The mean over members and views, where half of a view's weight is that in the scores and half is the same for
        all: what is new may show in a block that the known classes do not need.
        """
        return self._familiarity(self._embed_views(x_a, x_b))

    def _familiarity(self, z):
        error, _ = self._errors_in_views(z)
        share = self.view_weights / self.view_weights.sum()
        return -torch.einsum("v,vbc->bc", (share + share.mean()) / 2, error).amin(dim=-1)

    def _errors_in_views(self, z):
        """Mean projection errors in every view, members weighted by scale, (n_views, batch, n_classes); mean scales."""
        assert isinstance(self.head, SubspaceHead)
        scale = self.head.log_scale.exp()
        scales = torch.stack([scale[members].mean() for members, _ in self.views])
        return self._in_views(scale[:, None, None] * self.head.projection_error(z)) / scales[:, None, None], scales

    def forward(self, x_a, x_b, mixing=None):
        """What a training or validation step needs, a :class:`NetworkOutput`.

        ``mixing`` is a function that mixes the scaled rows of a block; the regularised members see them mixed.
        """
        autocast = self.training and self._bfloat16
        with torch.autocast(x_a.device.type, dtype=torch.bfloat16) if autocast else nullcontext():
            h_a, h_b = self.encode_members(x_a, x_b, mixing)
            z = self.fusion(*self._drop_blocks(h_a, h_b))
            projected = [head(h) for head, h in zip(self.projections, (h_a, h_b), strict=False)]
        # scores and similarities are differences of close numbers: never below float32
        projections = tuple(unit_length(p.to(x_a.dtype)) for p in projected) or None
        scores, gram = self.head.scores_and_gram(z.to(x_a.dtype))
        return NetworkOutput(scores, projections, gram)

    def _drop_blocks(self, h_a, h_b):
        """Set one block's features of some rows to 0, while training."""
        if not (self.training and self._drops_blocks):
            return h_a, h_b
        draw = torch.rand_like(h_a[..., :1], dtype=torch.float32)
        return h_a * (draw >= self.block_dropout_rates / 2), h_b * (draw < 1 - self.block_dropout_rates / 2)
