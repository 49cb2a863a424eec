"""The whole network: two scaled and encoded blocks, fused, scored."""

from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from ..scalings import scaling_pair
from .branches import BranchEncoder
from .fusion import AttentionFusion, ConcatFusion
from .heads import LinearHead, ProjectionHead, SubspaceHead
from .scaling import ColumnScaler


class NetworkOutput(NamedTuple):
    """What the members' losses need.

    ``scores`` have the shape (n_members, batch, n_classes); ``projections`` are those of both branches, of unit length,
    (n_members, batch, projection_dim) each, or None.
    """

    scores: torch.Tensor
    projections: tuple | None


def _first(module, *inputs):
    """Apply the first member of a module whose every parameter and buffer has the members as its first axis."""
    first = {name: tensor[:1] for name, tensor in module.state_dict(keep_vars=True).items()}
    return functional_call(module, first, inputs)


class DualBranchNetwork(nn.Module):
    """Two branch encoders, their fusion and the classifier; the arguments are settled, none is "auto".

    The network has ``n_members`` independent members of one form, computed side by side (Lakshminarayanan et al.,
    2017, deep ensembles; Laurent et al., 2023, packed). Each scores a row by both blocks, and where single
    blocks were trained for (``block_dropout``), by block A alone and by block B alone: the views. Scores are the
    mean over members of the sum over views times ``view_weights``. Embeddings, whose axes differ from member to member,
    are those of the first.

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
        Share of the rows that lose one of their blocks, each as often as the other, while training (modality dropout,
        Neverova et al., 2016).
    standardize : pair of str, or bool
        How each block is scaled: names in :data:`~skdual.scalings.SCALINGS`, or "standard" (True) or "none" (False).
    bfloat16 : bool
        Branches, fusion and projection heads compute their products in bfloat16 while training.
    """

    view_weights: torch.Tensor

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
        self._block_dropout = block_dropout
        self._bfloat16 = bfloat16
        view_weights = [1.0, 0.0, 0.0] if block_dropout else [1.0]
        self.register_buffer("view_weights", torch.tensor(view_weights))
        self.scalings = scaling_pair(standardize)
        self.scaler_a, self.scaler_b = (
            nn.Identity() if scaling == "none" else ColumnScaler(p, scaling)
            for p, scaling in zip(in_features, self.scalings, strict=True)
        )
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
        if mixing is not None:
            x_a, x_b = mixing(x_a), mixing(x_b)
        return self.branch_a(x_a), self.branch_b(x_b)

    def _embed_views(self, x_a, x_b):
        """Every member's embedding in every view, (n_members, n_views * batch, d_a + d_b)."""
        h_a, h_b = self.encode_members(x_a, x_b)
        if len(self.view_weights) == 1:
            return self.fusion(h_a, h_b)
        none_a, none_b = torch.zeros_like(h_a), torch.zeros_like(h_b)
        return self.fusion(torch.cat([h_a, h_a, none_a], dim=1), torch.cat([h_b, none_b, h_b], dim=1))

    def member_scores(self, x_a, x_b):
        """Every member's class scores in every view, (n_members, n_views, batch, n_classes)."""
        scores = self.head(self._embed_views(x_a, x_b))
        return scores.unflatten(1, (len(self.view_weights), -1))

    def encode(self, x_a, x_b):
        """The first member's branch outputs h_a (batch, d_a) and h_b (batch, d_b)."""
        h_a, h_b = self._encode_first(x_a, x_b)
        return h_a[0], h_b[0]

    def _encode_first(self, x_a, x_b):
        x_a, x_b = self.scale(x_a, x_b)
        return _first(self.branch_a, x_a), _first(self.branch_b, x_b)

    def embed(self, x_a, x_b):
        """The first member's fused embedding z, (batch, d_a + d_b)."""
        return _first(self.fusion, *self._encode_first(x_a, x_b))[0]

    def view_scores(self, x_a, x_b):
        """The members' mean scores in every view, (batch, n_views, n_classes)."""
        return self.member_scores(x_a, x_b).mean(dim=0).transpose(0, 1)

    def set_view_weights(self, view_weights):
        """Copy the weights of the views, an array of shape (n_views,), into the network."""
        self.view_weights.copy_(torch.from_numpy(view_weights).to(self.view_weights.dtype))

    def scores(self, x_a, x_b):
        """Class scores, (batch, n_classes); their softmax is the probability."""
        return self._scores(self._embed_views(x_a, x_b))

    def _scores(self, z):
        by_view = self.head(z).mean(dim=0).unflatten(0, (len(self.view_weights), -1))
        return torch.einsum("v,vbc->bc", self.view_weights, by_view)

    def scores_and_familiarity(self, x_a, x_b):
        """Both at the cost of one, (batch, n_classes) and (batch,)."""
        z = self._embed_views(x_a, x_b)
        return self._scores(z), self._familiarity(z)

    def projection_error(self, x_a, x_b):
        """Squared distance to each class's subspace, (batch, n_classes); with ``head="subspace"`` only.

        The mean over members and views, weighted as in the scores, so that it ranks classes as they do.
        """
        assert isinstance(self.head, SubspaceHead)
        error = self.head.projection_error(self._embed_views(x_a, x_b)).unflatten(0, (len(self.view_weights), -1))
        return torch.einsum("v,vbc->bc", self.view_weights / self.view_weights.sum(), error)

    def familiarity(self, x_a, x_b):
        """Minus the distance to the nearest class's subspace, (batch,); with ``head="subspace"`` only.

        The mean over members and views, where half of a view's weight is that in the scores and half is the same for
        all: what is new may show in a block that the known classes do not need.
        """
        return self._familiarity(self._embed_views(x_a, x_b))

    def _familiarity(self, z):
        assert isinstance(self.head, SubspaceHead)
        error = self.head.projection_error(z).unflatten(0, (len(self.view_weights), -1))
        share = self.view_weights / self.view_weights.sum()
        return -torch.einsum("v,vbc->bc", (share + share.mean()) / 2, error).amin(dim=-1)

    def forward(self, x_a, x_b, mixing=None):
        """What a training or validation step needs: scores, and the projections where there are heads for them.

        ``mixing`` is a function that mixes the scaled rows of a block.
        """
        autocast = self.training and self._bfloat16
        with torch.autocast(x_a.device.type, dtype=torch.bfloat16) if autocast else nullcontext():
            h_a, h_b = self.encode_members(x_a, x_b, mixing)
            z = self.fusion(*self._drop_blocks(h_a, h_b))
            projected = [head(h) for head, h in zip(self.projections, (h_a, h_b), strict=False)]
        # scores and similarities are differences of close numbers: never below float32
        projections = tuple(F.normalize(p.to(x_a.dtype), dim=-1) for p in projected) or None
        return NetworkOutput(self.head(z.to(x_a.dtype)), projections)

    def _drop_blocks(self, h_a, h_b):
        """Set one block's features of some rows to 0, while training."""
        if not (self.training and self._block_dropout):
            return h_a, h_b
        draw = torch.rand_like(h_a[..., :1], dtype=torch.float32)
        return h_a * (draw >= self._block_dropout / 2), h_b * (draw < 1 - self._block_dropout / 2)
