"""Layers that hold the weights of all members of a network and apply them side by side.

Every parameter's first axis is the member, so that members share each product but no number.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from ..matmul import member_products, product_dtype
from .step_memory import StepMemory, StepProduct


def n_plain_members(n_members):
    """How many of the members are plain: the first half, none of a single one.

    The others are regularised: they lose features (dropout) and blocks, and see rows mixed with each other, and columns
    by their relevance.
    """
    return n_members // 2


def member_halves(n_members):
    """The plain members and the regularised ones, as two slices."""
    n_plain = n_plain_members(n_members)
    return slice(0, n_plain), slice(n_plain, n_members)


class MemberLinear(nn.Module):
    """One linear layer per member: (n_members, ..., in_features) -> (n_members, ..., out_features).

    Starts as torch.nn.Linear does.
    """

    def __init__(self, n_members, in_features, out_features, bias=True):
        super().__init__()
        bound = 1 / math.sqrt(in_features)
        self.weight = nn.Parameter(torch.empty(n_members, out_features, in_features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n_members, out_features).uniform_(-bound, bound)) if bias else None

    def forward(self, x):
        return member_products(x.flatten(1, -2), self.weight, self.bias).unflatten(1, x.shape[1:-1])


class MemberInputs(nn.Module):
    """The columns of a block as the members take them.

    The plain members take the rows alike; the regularised ones may take others in their place, such as mixed ones, and
    multiply the columns by their relevance, if there is one.

    Attributes
    ----------
    relevance : tensor of shape (n_members, 1, in_features), or None
        What the regularised members multiply the columns by; 1 for the others.
    """

    relevance: torch.Tensor | None

    def __init__(self):
        super().__init__()
        self.register_buffer("relevance", None, persistent=False)

    def forward(self, n_members, x, of_regularized=None):
        """Pairs of rows and of the members that take these, as :func:`in_product_dtype` gives them.

        Given ``of_regularized``, of the same shape, the regularised members take it in place of ``x``.
        """
        of_regularized = x if of_regularized is None else of_regularized
        plain, regularized = member_halves(n_members)
        if self.relevance is not None:
            of_regularized = of_regularized * self.relevance[regularized]
        elif of_regularized is x:
            plain, regularized = slice(0, n_members), slice(0, 0)
        return in_product_dtype((x, plain), (of_regularized, regularized))


def in_product_dtype(*inputs):
    """Pairs of rows, in the dtype of their products, and of the slice of the members that take them, if any.

    Rows have the shape (batch, in_features) or, for each member its own, (n_members, batch, in_features).
    """
    dtype = product_dtype(inputs[0][0])
    return [(rows.to(dtype), members) for rows, members in inputs if members.start < members.stop]


class ColumnLinear(MemberLinear):
    """One linear layer per member on what :class:`MemberInputs` gives, to (n_members, batch, out_features)."""

    def __init__(self, n_members, in_features, out_features, bias=True):
        super().__init__(n_members, in_features, out_features, bias)
        self._memory: StepMemory | None = None

    def __getstate__(self):
        return {**self.__dict__, "_memory": None}

    def train(self, mode=True):
        """Memory of training is kept for training only."""
        if not mode:
            self._memory = None
        return super().train(mode)

    def forward(self, inputs):
        memory = self._free_memory(inputs)
        if memory is not None:
            return StepProduct.apply(self.weight, self.bias, memory, inputs)
        if len(inputs) == 1:  # the gradient of a split would be copied
            return member_products(inputs[0][0], self.weight, self.bias)
        # split, for gradients of slices are filled up with 0
        sizes = [members.stop - members.start for _, members in inputs]
        biases = [None] * len(inputs) if self.bias is None else self.bias.split(sizes)
        parts = zip(inputs, self.weight.split(sizes), biases, strict=True)
        return torch.cat([member_products(rows, weight, bias) for (rows, _), weight, bias in parts])

    def _free_memory(self, inputs):
        """Memory for a training step that StepProduct can do, or None: accelerators keep their memory by themselves."""
        if (
            not self.training
            or self.weight.device.type != "cpu"
            or not self.weight.requires_grad
            or not torch.is_grad_enabled()
            or any(rows.requires_grad for rows, _ in inputs)
            or torch.compiler.is_compiling()
        ):
            return None
        dtype = inputs[0][0].dtype
        if self._memory is None or not self._memory.fits(self.weight, dtype):
            self._memory = StepMemory(self.weight, dtype)
        return None if self._memory.in_use else self._memory


class MemberDropout(nn.Module):
    """Dropout (Srivastava et al., 2014) in the regularised members: (n_members, ...) -> the same shape.

    As torch.nn.Dropout, but from uniform numbers, which are drawn in less time than it draws its own on the CPU.
    """

    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def forward(self, x):
        if not (self.training and self.rate):
            return x
        n_plain = n_plain_members(len(x))
        plain, regularized = x.split([n_plain, len(x) - n_plain])
        kept = torch.rand_like(regularized, dtype=torch.float32) >= self.rate
        regularized = regularized * (kept * (1 / (1 - self.rate))).to(x.dtype)
        return torch.cat([plain, regularized]) if n_plain else regularized


class MemberLayerNorm(nn.Module):
    """Layer normalisation of (n_members, ..., n_features), with a scale and a shift per member and feature."""

    def __init__(self, n_members, n_features):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_members, n_features))
        self.bias = nn.Parameter(torch.zeros(n_members, n_features))

    def forward(self, x):
        n_members, n_features = self.weight.shape
        if n_members == 1:
            return F.layer_norm(x, (n_features,), self.weight[0], self.bias[0])
        shape = (n_members, *(1 for _ in x.shape[1:-1]), n_features)
        return torch.addcmul(self.bias.view(shape), F.layer_norm(x, (n_features,)), self.weight.view(shape))


class MemberBatchNorm(nn.Module):
    """Batch normalisation of (n_members, batch, n_features); statistics, scale and shift per member and feature."""

    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, n_members, n_features):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_members, n_features))
        self.bias = nn.Parameter(torch.zeros(n_members, n_features))
        self.register_buffer("running_mean", torch.zeros(n_members, n_features))
        self.register_buffer("running_var", torch.ones(n_members, n_features))

    def forward(self, x):
        y = F.batch_norm(
            x.transpose(0, 1).flatten(1),
            self.running_mean.view(-1),  # views, which batch_norm updates in place
            self.running_var.view(-1),
            self.weight.flatten(),
            self.bias.flatten(),
            training=self.training,
        )
        return y.unflatten(1, self.weight.shape).transpose(0, 1)
