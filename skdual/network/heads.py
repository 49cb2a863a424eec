"""What reads the embedding: class subspaces or a linear layer; and the projection heads of training."""

import math

import torch
from sklearn.utils import gen_batches
from torch import nn
from torch.nn import functional as F

from .members import MemberLinear, n_plain_members


class _UnitLength(torch.autograd.Function):
    """x / |x| and its gradient (g - y <g, y>) / |x|, in fewer passes and less time than autograd's."""

    @staticmethod
    def forward(ctx, x):
        inverse = torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min_(1e-12).reciprocal_()
        y = x * inverse
        ctx.save_for_backward(y, inverse)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_output):
        y, inverse = ctx.saved_tensors
        along = (grad_output * y).sum(dim=-1, keepdim=True)
        return torch.addcmul(grad_output, y, along, value=-1).mul_(inverse)


def unit_length(x):
    """Vectors along the last axis over their lengths; those of length 0 stay 0."""
    return _UnitLength.apply(x)


class _Gram(torch.autograd.Function):
    """U U' and its gradient (G + G') U: of many small matrices one product takes less time than autograd's two."""

    @staticmethod
    def forward(ctx, bases):
        ctx.save_for_backward(bases)
        return bases @ bases.mT

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_output):
        (bases,) = ctx.saved_tensors
        return (grad_output + grad_output.mT) @ bases


def gram_matrix(bases):
    """Inner products of the basis vectors of every class, (..., D, d) -> (..., D, D)."""
    return _Gram.apply(bases)


def subspace_error(z, bases, gram):
    """Squared distance of every row to its projection z U' U, for every class, and where there are any, member.

    Written as |z|^2 - 2 |U z|^2 + (U z)' (U U') (U z), which never builds the (d, d) projection matrix and holds
    for bases that are not orthonormal. Not clamped: rounding can leave it below 0 by about 1e-7 |z|^2 in float32.

    Parameters
    ----------
    z : tensor of shape (..., batch, d)
    bases : tensor of shape (..., n_classes, subspace_dim, d)
    gram : tensor of shape (..., n_classes, subspace_dim, subspace_dim)
        Their :func:`gram_matrix`.

    Returns
    -------
    error : tensor of shape (..., batch, n_classes)
    """
    n_classes, subspace_dim, _ = bases.shape[-3:]
    coordinates = (z @ bases.flatten(-3, -2).mT).unflatten(-1, (n_classes, subspace_dim))
    by_class = coordinates.transpose(-3, -2)
    twice_minus_gram = 2 * torch.eye(subspace_dim, dtype=z.dtype, device=z.device) - gram
    explained = (by_class * (by_class @ twice_minus_gram)).sum(dim=-1).mT
    return z.square().sum(dim=-1, keepdim=True) - explained


class SubspaceHead(nn.Module):
    """Scores a row by minus its projection error onto one linear subspace per class.

    The embedding is scaled to unit length and a constant appended to it, 1 in the regularised members (both together
    are of unit length again) and 0 in the plain ones. To a subspace through the origin z and -z are the same; where the
    constant is 1, it need not pass through the origin of the embedding, and tells them apart as a linear layer does,
    which takes fewer rows to learn. Errors lie between 0 and 1 (for orthonormal bases); scores are the errors times a
    positive learnt scale, minus.

    Parameters
    ----------
    n_members : int
    n_features : int
        Width d of the embedding.
    n_classes : int
    subspace_dim : int
        Basis vectors D per class, at most d.

    Attributes
    ----------
    bases : tensor of shape (n_members, n_classes, subspace_dim, n_features + 1)
        The last coordinate is that of the constant.
    constants : tensor of shape (n_members, 1, 1)
    log_scale : tensor of shape (n_members,)
    """

    constants: torch.Tensor

    def __init__(self, n_members, n_features, n_classes, subspace_dim):
        super().__init__()
        n_plain = n_plain_members(n_members)
        of_members = [0.0] * n_plain + [1.0] * (n_members - n_plain)
        self.bases = nn.Parameter(
            torch.stack([_orthonormal_bases(n_features, n_classes, subspace_dim, constant) for constant in of_members])
        )
        constants = torch.tensor(of_members)
        self.register_buffer("constants", constants[:, None, None])
        # at scale 1 the scores start all but alike; much sharper ones are fitted before the embedding is shaped;
        # a constant makes all errors smaller
        self.log_scale = nn.Parameter(2.0 + torch.log1p(constants.square()))

    def _extended(self, z):
        """Rows of unit length with their constant, (n_members, batch, n_features + 1), of unit length again."""
        share = (1 + self.constants.square()).rsqrt()
        constants = (share * self.constants).expand(*z.shape[:-1], 1)
        return torch.cat([share * unit_length(z), constants], dim=-1)

    def projection_error(self, z):
        """Squared error of every member's unit-length rows, (n_members, batch, n_classes), never negative."""
        return subspace_error(self._extended(z), self.bases, gram_matrix(self.bases)).clamp_min(0)

    def forward(self, z):
        """Scores of every member, (n_members, batch, n_classes)."""
        return self.scores_and_gram(z)[0]

    def scores_and_gram(self, z):
        """The scores, and what they and the penalty of the bases need both, the :func:`gram_matrix`."""
        gram = gram_matrix(self.bases)
        scale = self.log_scale.exp()[:, None, None]
        return -scale * subspace_error(self._extended(z), self.bases, gram), gram


def _orthonormal_bases(n_features, n_classes, subspace_dim, constant):
    """Random orthonormal bases (n_classes, subspace_dim, n_features + 1).

    The first vector of every class has a share of the constant, as rows have; the others, and all where it is 0, none.
    As many classes as the space has room for get subspaces orthogonal to each other too: random subspaces
    of one space overlap, and classes that start alike are slow to part.
    """
    together = max(1, n_features // subspace_dim)
    bases = []
    for some in gen_batches(n_classes, together):
        q, _ = torch.linalg.qr(torch.randn(n_features, (some.stop - some.start) * subspace_dim))
        bases.append(q.T.reshape(-1, subspace_dim, n_features))
    extended = F.pad(torch.cat(bases), (0, 1))
    extended[:, 0, -1] = constant
    extended[:, 0] /= math.sqrt(1 + constant**2)
    return extended


class LinearHead(MemberLinear):
    """Scores by a linear layer: what the subspaces are compared with."""

    def __init__(self, n_members, n_features, n_classes):
        super().__init__(n_members, n_features, n_classes)
        nn.init.normal_(self.weight, std=1 / math.sqrt(n_features))
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def scores_and_gram(self, z):
        """The scores; there are no bases."""
        return self(z), None


class ProjectionHead(nn.Module):
    """MLP to the space of the contrastive loss, not yet of unit length; used in training only (Chen et al., 2020)."""

    def __init__(self, n_members, n_features, projection_dim):
        super().__init__()
        self.hidden = MemberLinear(n_members, n_features, n_features)
        self.output = MemberLinear(n_members, n_features, projection_dim)

    def forward(self, h):
        return self.output(F.gelu(self.hidden(h)))
