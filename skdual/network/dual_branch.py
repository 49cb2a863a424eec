"""The whole network: two scaled and encoded blocks, fused, scored."""

import copy
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import nn

from ..scaling.column_scaler import ColumnScaler
from ..scaling.whitening import Whitening
from .branches import BranchEncoder
from .ensemble import BOTH, ONLY_A, ONLY_B, Ensemble, group_means
from .fusion import AttentionFusion, ConcatFusion
from .heads import LinearHead, ProjectionHead, SubspaceHead, unit_length
from .members import n_plain_members


class NetworkOutput(NamedTuple):
    """What the members' losses need.

    ``scores`` have the shape (n_members, batch, n_classes); ``projections`` are those of both branches, of unit length,
    (n_members, batch, projection_dim) each, or None; ``gram`` are the inner products of the basis vectors of every
    class, (n_members, n_classes, subspace_dim, subspace_dim), or None without subspaces.
    """

    scores: torch.Tensor
    projections: tuple | None
    gram: torch.Tensor | None


def _member(module, number):
    """One member, on the same memory, of a module whose every parameter and buffer has members as first axis.

    The module itself is left alone, for other threads may be using it. A deep copy takes longer than some chunks.
    """
    alone = copy.copy(module)
    for kind in ("_parameters", "_buffers"):
        tensors = getattr(module, kind)
        setattr(
            alone,
            kind,
            {name: tensor if tensor is None else tensor[number : number + 1] for name, tensor in tensors.items()},
        )
    alone._modules = {name: _member(child, number) for name, child in module._modules.items()}
    return alone


class DualBranchNetwork(nn.Module):
    """Two branch encoders, their fusion and the classifier; the arguments are settled, none is "auto".

    The network has ``n_members`` independent members of one form, computed side by side (Lakshminarayanan et al.,
    2017, deep ensembles; Laurent et al., 2023, packed). The second half of them is regularised: in training it loses
    features (``dropout``) and blocks (``block_dropout``, by which it also learns to score a row by either block alone),
    and sees mixed rows, and columns by their relevance. What serves a block that is noise, or few noisy rows, can spoil
    what both blocks tell together and what is not linear, so the first half is trained plainly. Their scores
    become one by the groups and weights of ``ensemble``; embeddings, whose axes differ from member to member, are those
    of the first.

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
    standardize : pair of str
        How each block is scaled: names in :data:`~skdual.scaling.scalings.SCALINGS`.
    row_norms : pair of bool
        Whether each branch reads the norm of a row besides (see :class:`~skdual.scaling.row_norm.RowNorm`).
    n_hats : pair of int
        Hat functions of columns that each branch reads besides (see :class:`~skdual.scaling.splines.LinearSplines`).
    whitening_ranks : tuple of three int
        Of what the plain members whiten the scaled blocks by (see :class:`~skdual.scaling.whitening.Whitening`).
    bfloat16 : bool
        Branches, fusion and projection heads compute their products in bfloat16 while training.
    """

    block_dropout_rates: torch.Tensor
    fusion: AttentionFusion | ConcatFusion
    head: SubspaceHead | LinearHead

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
        row_norms,
        n_hats,
        whitening_ranks,
        bfloat16,
    ):
        super().__init__()
        self.n_members, self.n_classes = n_members, n_classes
        self.ensemble = Ensemble(n_members, n_classes, by_single_blocks=block_dropout > 0)
        d_a, d_b = (int(widths[-1]) for widths in hidden_layer_sizes)
        self.embedding_dim, self.projection_dim = d_a + d_b, projection_dim
        self._bfloat16 = bfloat16
        n_plain = n_plain_members(n_members)
        n_regularized = n_members - n_plain
        self._drops_blocks = block_dropout > 0
        block_rate = min(1.0, block_dropout * n_members / n_regularized)
        rates = torch.tensor([0.0] * n_plain + [block_rate] * n_regularized)
        self.register_buffer("block_dropout_rates", rates[:, None, None], persistent=False)
        self.scalings = tuple(standardize)
        self.scaler_a, self.scaler_b = map(ColumnScaler, in_features, self.scalings, row_norms, n_hats)
        self.whitening = Whitening([scaler.n_outputs for scaler in self.scalers], whitening_ranks)
        self.branch_a, self.branch_b = (
            BranchEncoder(n_members, scaler.n_outputs, widths, rate, activation, normalization, initialization)
            for scaler, widths, rate in zip(self.scalers, hidden_layer_sizes, dropout, strict=True)
        )
        if fusion == "attention":
            self.fusion = AttentionFusion(n_members, d_a, d_b, token_dim, attention_heads)
        else:
            self.fusion = ConcatFusion(n_members, d_a, d_b)
        if head == "subspace":
            self.head = SubspaceHead(n_members, d_a + d_b, n_classes, subspace_dim)
        else:
            self.head = LinearHead(n_members, d_a + d_b, n_classes)
        self.projections = nn.ModuleList(
            ProjectionHead(n_members, d, projection_dim) for d in (d_a, d_b) if projection_dim
        )

    @property
    def scalers(self):
        """Those of block A and of block B."""
        return self.scaler_a, self.scaler_b

    @property
    def branches(self):
        """Branch A and branch B."""
        return self.branch_a, self.branch_b

    def load_columns(self, scalers, whitening):
        """Copy what was fitted to the columns into layers of the same form.

        Parameters
        ----------
        scalers : pair of ColumnScaler
        whitening : Whitening
        """
        for layer, fitted in zip((*self.scalers, self.whitening), (*scalers, whitening), strict=True):
            layer.load_state_dict(fitted.state_dict())

    def scale(self, x_a, x_b):
        """Both blocks as the branches of the regularised members take them."""
        return self.scaler_a(x_a), self.scaler_b(x_b)

    def scale_and_whiten(self, x_a, x_b):
        """Both blocks as the branches of the plain members take them; of a single member, as all do."""
        return self.whitening(*self.scale(x_a, x_b))

    def encode_members(self, x_a, x_b, mixing=None):
        """Every member's branch outputs, (n_members, batch, d_a) and (n_members, batch, d_b)."""
        scaled = self.scale(x_a, x_b)
        of_plain = self.whitening(*scaled)
        of_regularized = scaled if mixing is None else map(mixing, scaled)
        h_a, h_b = (branch(*x) for branch, *x in zip(self.branches, of_plain, of_regularized, strict=True))
        return h_a, h_b

    def encode(self, x_a, x_b):
        """Branch outputs h_a (batch, d_a) and h_b (batch, d_b) of the first member whose branches read a block each.

        That is the first one, or the first regularised one where the plain members take the blocks whitened together.
        """
        _, h_a, h_b = self._encode_apart(x_a, x_b)
        return h_a[0], h_b[0]

    def stages(self, x_a, x_b):
        """The same, and what the same member makes of both, (batch, d_a + d_b)."""
        member, h_a, h_b = self._encode_apart(x_a, x_b)
        return h_a[0], h_b[0], _member(self.fusion, member)(h_a, h_b)[0]

    def _encode_apart(self, x_a, x_b):
        """The number of the first member whose branches read a block each, and their outputs."""
        if self.whitening.factor_together is None:
            return 0, *self._encode_by(0, *self.scale_and_whiten(x_a, x_b))
        member = n_plain_members(self.n_members)
        return member, *self._encode_by(member, *self.scale(x_a, x_b))

    def _encode_by(self, member, x_a, x_b):
        """One member's branch outputs of scaled blocks, (1, batch, d_a) and (1, batch, d_b)."""
        return _member(self.branch_a, member)(x_a), _member(self.branch_b, member)(x_b)

    def embed(self, x_a, x_b):
        """The first member's fused embedding z, (batch, d_a + d_b)."""
        return _member(self.fusion, 0)(*self._encode_by(0, *self.scale_and_whiten(x_a, x_b)))[0]

    def merge_relevance(self):
        """Multiply the first weights by the relevance of the columns, for columns as they are."""
        for branch in self.branches:
            branch.merge_relevance()

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

    # answers of all members together

    def member_scores(self, x_a, x_b):
        """Every member's class scores by each source, (n_members, n_sources, batch, n_classes)."""
        scores = self.head(self._embed_by(self.ensemble.sources, x_a, x_b))
        return scores.unflatten(1, (len(self.ensemble.sources), -1))

    def group_scores(self, x_a, x_b):
        """The mean scores of every group, (batch, n_groups, n_classes)."""
        return self._means(self.head(self._embed_by(self.ensemble.sources, x_a, x_b))).transpose(0, 1)

    def scores(self, x_a, x_b):
        """Class scores, (batch, n_classes); their softmax is the probability."""
        groups, sources, weights = self.ensemble.counted()
        means = group_means(self.head(self._embed_by(sources, x_a, x_b)), groups, sources)
        return _weighted_sum(weights, means) + self.ensemble.class_offsets

    def scores_and_familiarity(self, x_a, x_b):
        """Both at the cost of one, (batch, n_classes) and (batch,)."""
        z = self._embed_by(self.ensemble.sources, x_a, x_b)
        scores = _weighted_sum(self.ensemble.weights, self._means(self.head(z))) + self.ensemble.class_offsets
        return scores, self._familiarity(z)

    def projection_error(self, x_a, x_b):
        """Squared distance to each class's subspace, (batch, n_classes); with ``head="subspace"`` only.

        The mean over members and groups, weighted by scale and group weight, so that it ranks classes as the scores do
        before their offsets are added.
        """
        errors, scales = self._group_errors(self._embed_by(self.ensemble.sources, x_a, x_b))
        weights = self.ensemble.weights * scales
        return _weighted_sum(weights / weights.sum(), errors)

    def familiarity(self, x_a, x_b):
        """Minus the distance to the nearest class's subspace, (batch,); with ``head="subspace"`` only.

        The mean over members and groups, where half of a group's weight is that in the scores and half is the same for
        all: what is new may show in a block that the known classes do not need.
        """
        return self._familiarity(self._embed_by(self.ensemble.sources, x_a, x_b))

    def _familiarity(self, z):
        errors, _ = self._group_errors(z)
        shares = self.ensemble.weights / self.ensemble.weights.sum()
        return -_weighted_sum((shares + shares.mean()) / 2, errors).amin(dim=-1)

    def _embed_by(self, sources, x_a, x_b):
        """Every member's embeddings by each source, (n_members, n_sources * batch, d_a + d_b)."""
        h_a, h_b = self.encode_members(x_a, x_b)
        if sources == [BOTH]:
            return self.fusion(h_a, h_b)
        none_a, none_b = torch.zeros_like(h_a), torch.zeros_like(h_b)
        by_source = {BOTH: (h_a, h_b), ONLY_A: (h_a, none_b), ONLY_B: (none_a, h_b)}
        pairs = [by_source[source] for source in sources]
        return self.fusion(*(torch.cat(block, dim=1) for block in zip(*pairs, strict=True)))

    def _means(self, values):
        """Of what the head made of :meth:`_embed_by` all sources, the means of every group."""
        return group_means(values, self.ensemble.groups, self.ensemble.sources)

    def _group_errors(self, z):
        """Mean projection errors of every group, weighted by scale, (n_groups, batch, n_classes), and mean scales."""
        assert isinstance(self.head, SubspaceHead)
        scale = self.head.log_scale.exp()
        scales = torch.stack([scale[members].mean() for members, _ in self.ensemble.groups])
        means = self._means(scale[:, None, None] * self.head.projection_error(z))
        return means / scales[:, None, None], scales


def _weighted_sum(weights, means):
    """Of the means of every group, (n_groups, batch, n_classes) -> (batch, n_classes)."""
    return torch.einsum("g,gbc->bc", weights, means)
