"""Matrix products, by whoever computes them fastest here."""

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
        dtype = product_dtype(rows)
        return _MemberProduct.apply(rows.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype))
    # one wide product is faster than one for each member
    y = linear(rows.flatten(0, -2), weight.flatten(0, 1), None if bias is None else bias.flatten())
    return y.unflatten(1, weight.shape[:2]).transpose(0, 1)


class _MemberProduct(torch.autograd.Function):
    """Rows (n_members, batch, in_features) times the weights of as many members, and the gradients.

    Autograd's own multiplies turned weights for the gradient of the rows, which in float64 takes up to twelve times as
    long on an AMD EPYC with AVX512, and gives the gradient of the weight turned, so that it is copied.
    """

    @staticmethod
    def forward(ctx, rows, weight, bias):
        ctx.save_for_backward(rows, weight)
        return torch.bmm(rows, weight.mT) if bias is None else torch.baddbmm(bias.unsqueeze(1), rows, weight.mT)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_output):
        rows, weight = ctx.saved_tensors
        of_rows, of_weight, of_bias = ctx.needs_input_grad
        return (
            torch.bmm(grad_output, weight) if of_rows else None,
            torch.bmm(grad_output.mT, rows) if of_weight else None,
            grad_output.sum(dim=1) if of_bias else None,
        )
