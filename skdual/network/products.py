"""Products of rows with weights."""

import torch
from torch.nn import functional as F

_MIN_ROWS, _MIN_PRODUCTS = 128, 2**26
"""Rows, and products of two numbers, from which on a matrix product takes longer than it takes oneDNN to lay it out."""


def product_dtype(x):
    """The dtype in which products of ``x`` are computed here: autocast's where it is enabled, or else its own."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def linear(x, weight, bias=None):
    """``F.linear``, for rows of shape (batch, in_features).

    Large ones in float32 on the CPU oneDNN computes, where no gradient leads back. Left to itself torch asks MKL, which
    takes twice as long on an AMD EPYC with AVX512.
    """
    by_onednn = (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and len(x) >= _MIN_ROWS
        and len(x) * weight.numel() >= _MIN_PRODUCTS
        and torch.backends.mkldnn.is_available()
        and not torch.compiler.is_compiling()
        and not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad))
    )
    return F.linear(x.to_mkldnn(), weight, bias).to_dense() if by_onednn else F.linear(x, weight, bias)


def products_of_pairs(x, y):
    """``x @ y.mT`` of tensors (..., m, k) and (..., n, k); by :func:`linear` where they are one pair of matrices."""
    if x.shape[:-2].numel() > 1:
        return x @ y.mT
    return linear(x.flatten(0, -2), y.flatten(0, -2)).unflatten(0, x.shape[:-1])


def member_products(rows, weight, bias):
    """Rows times the weights of some members, (n_members, batch, out_features).

    Parameters
    ----------
    rows : tensor of shape (batch, in_features) or (n_members, batch, in_features)
        The same for all members, or for each its own.
    weight : tensor of shape (n_members, out_features, in_features)
    bias : tensor of shape (n_members, out_features), or None
    """
    if rows.ndim == 3 and len(rows) > 1:
        # in this order the gradient of the weight comes as the weight lies in memory: to turn it takes time
        rows = rows.transpose(1, 2)
        y = torch.bmm(weight, rows) if bias is None else torch.baddbmm(bias.unsqueeze(-1), weight, rows)
        return y.transpose(1, 2).contiguous()
    # one wide product is faster than one for each member
    y = linear(rows.flatten(0, -2), weight.flatten(0, 1), None if bias is None else bias.flatten())
    return y.unflatten(1, weight.shape[:2]).transpose(0, 1)


class StepMemory:
    """What every training step writes over: the gradient of a weight, and the weight in the dtype of its products.

    Large blocks the C library gives back when they are freed (mallopt(3), M_MMAP_THRESHOLD). Touching new ones for the
    first time takes longer than what is computed in them.

    Parameters
    ----------
    weight : tensor
    dtype : torch.dtype

    Attributes
    ----------
    in_use : bool
        Whether a product waits for its gradient: another one in the same graph has to find other memory.
    """

    def __init__(self, weight, dtype):
        self.dtype, self.in_use = dtype, False
        self.gradient = torch.empty_like(weight)
        self.rounded = None if dtype == weight.dtype else torch.empty_like(weight, dtype=dtype)

    def fits(self, weight, dtype):
        """Whether it was made for a weight and a dtype such as these."""
        return (self.gradient.shape, self.gradient.dtype, self.dtype) == (weight.shape, weight.dtype, dtype)


class StepProduct(torch.autograd.Function):
    """Rows times the weights of all members, (n_members, batch, out_features), in the memory of earlier steps.

    Nothing leads back to the rows. The gradients of all members are written where they belong; autograd would copy them
    there. In bfloat16 the memory holds the rounded weight until the product is there, and then its gradient, which is
    wanted in the weight's own dtype.
    """

    @staticmethod
    def forward(ctx, weight, bias, memory, inputs):
        """``inputs`` are pairs of rows, in the dtype of ``memory``, and the slice of the members that take them."""
        rounded = weight if memory.rounded is None else memory.rounded.copy_(weight)
        ctx.weight, ctx.memory, ctx.inputs = weight, memory, inputs
        memory.in_use = True
        products = []
        for x, members in inputs:
            of_members = None if bias is None else bias[members].to(memory.dtype)
            products.append(member_products(x, rounded[members], of_members))
        return torch.cat(products) if len(products) > 1 else products[0]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_output):
        memory, weight = ctx.memory, ctx.weight
        # a gradient that is still there, and will be added to, may lie in this memory
        grad_weight = memory.gradient if weight.grad is None else torch.empty_like(weight)
        rounded = grad_weight if memory.rounded is None else memory.rounded
        for x, members in ctx.inputs:
            if x.ndim == 3:
                torch.bmm(grad_output[members].transpose(1, 2), x, out=rounded[members])
            else:
                units = grad_output[members].transpose(0, 1).flatten(1)
                torch.mm(units.T, x, out=rounded[members].flatten(0, 1))
        if memory.rounded is not None:
            grad_weight.copy_(rounded)
        memory.in_use = False
        grad_bias = grad_output.sum(dim=1, dtype=weight.dtype) if ctx.needs_input_grad[1] else None
        # autograd takes over a tensor that nobody else holds, and copies others: hence a view
        return grad_weight.view_as(grad_weight), grad_bias, None, None
