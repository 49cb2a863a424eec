"""The whole network: two scaled and encoded blocks, fused, scored."""

from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from .branches import BranchEncoder
from .fusion import AttentionFusion, ConcatFusion
from .heads import LinearHead, ProjectionHead, SubspaceHead
from .scaling import ColumnScaler


class NetworkOutput(NamedTuple):
    """Scores, (batch, n_classes), and the unit-length projections of both branches, (batch, P) each, or None."""

    scores: torch.Tensor
    projections: tuple | None


class DualBranchNetwork(nn.Module):
    """Two branch encoders, their fusion and the classifier; the arguments are settled, none is "auto".

    Parameters
    ----------
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
    standardize : bool
    bfloat16 : bool
        Branches, fusion and projection heads compute their products in bfloat16 while training.
    """

    def __init__(
        self,
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
        standardize,
        bfloat16,
    ):
        super().__init__()
        d_a, d_b = (int(widths[-1]) for widths in hidden_layer_sizes)
        self.embedding_dim = d_a + d_b
        self._bfloat16 = bfloat16
        self.scaler_a, self.scaler_b = (ColumnScaler(p) if standardize else nn.Identity() for p in in_features)
        self.branch_a, self.branch_b = (
            BranchEncoder(p, widths, rate, activation, normalization, initialization)
            for p, widths, rate in zip(in_features, hidden_layer_sizes, dropout, strict=True)
        )
        if fusion == "attention":
            self.fusion: nn.Module = AttentionFusion(d_a, d_b, token_dim, attention_heads)
        else:
            self.fusion = ConcatFusion(d_a, d_b)
        if head == "subspace":
            self.head: SubspaceHead | LinearHead = SubspaceHead(d_a + d_b, n_classes, subspace_dim)
        else:
            self.head = LinearHead(d_a + d_b, n_classes)
        self.projections = nn.ModuleList(ProjectionHead(d, projection_dim) for d in (d_a, d_b) if projection_dim)

    def encode(self, x_a, x_b):
        """The branches' outputs h_a (batch, d_a) and h_b (batch, d_b)."""
        return self.branch_a(self.scaler_a(x_a)), self.branch_b(self.scaler_b(x_b))

    def embed(self, x_a, x_b):
        """The fused embedding z, (batch, d_a + d_b)."""
        return self.fusion(*self.encode(x_a, x_b))

    def scores(self, x_a, x_b):
        """Class scores, (batch, n_classes); their softmax is the probability."""
        return self.head(self.embed(x_a, x_b))

    def projection_error(self, x_a, x_b):
        """Squared distance to each class's subspace, (batch, n_classes); with ``head="subspace"`` only."""
        assert isinstance(self.head, SubspaceHead)
        return self.head.projection_error(self.embed(x_a, x_b))

    def forward(self, x_a, x_b):
        """What a training or validation step needs: scores, and the projections where there are heads for them."""
        autocast = self.training and self._bfloat16
        with torch.autocast(x_a.device.type, dtype=torch.bfloat16) if autocast else nullcontext():
            h_a, h_b = self.encode(x_a, x_b)
            z = self.fusion(h_a, h_b)
            projected = [head(h) for head, h in zip(self.projections, (h_a, h_b), strict=False)]
        # scores and similarities are differences of close numbers: never below float32
        projections = tuple(F.normalize(p.to(x_a.dtype), dim=1) for p in projected) or None
        return NetworkOutput(self.head(z.to(x_a.dtype)), projections)
