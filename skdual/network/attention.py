"""Scaled dot-product attention among many narrow tokens."""

import math

import torch
from torch.nn import functional as F

_CHUNK_CELLS = 2**18
"""Attention weights that a thread holds at one time on the CPU, few enough to stay in its cache."""


def attend(query, key, value):
    """softmax(q k' / sqrt(e)) v (Vaswani et al., 2017), with the features of a token along the last axis but one.

    Accelerators run torch's fused kernel, and so do compiled graphs, which would unroll a loop. On the CPU it is slow
    for tokens of 4 to 16 features, whose products have hardly any columns; with features first the same products are
    wide ones. There bfloat16 is computed in float32: the products are too small to gain by it.

    Parameters
    ----------
    query : tensor of shape (n, e, n_queries)
    key, value : tensors of shape (n, e, n_keys)

    Returns
    -------
    attended : tensor of shape (n, e, n_queries)
    """
    if query.device.type == "cpu" and not torch.compiler.is_compiling():
        dtype = torch.promote_types(query.dtype, torch.float32)
        queries, keys, values = (x.to(dtype).contiguous() for x in (query, key, value))
        with torch.autocast("cpu", enabled=False):
            attended = _ChunkedAttention.apply(queries / math.sqrt(query.shape[1]), keys, values)
        return attended.to(query.dtype)
    # the fused kernels want four axes: one head
    rows = (x.mT.unsqueeze(1) for x in (query, key, value))
    return F.scaled_dot_product_attention(*rows).squeeze(1).mT


class _ChunkedAttention(torch.autograd.Function):
    """Attention a few samples at a time; the weights are computed again for the gradient (Dao et al., 2022)."""

    @staticmethod
    def forward(ctx, query, key, value):
        attended = torch.empty_like(query)
        for part in _chunks(query, key):
            weights = _weights(query[part], key[part])
            torch.bmm(value[part], weights.mT, out=attended[part])
        ctx.save_for_backward(query, key, value, attended)
        return attended

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        query, key, value, attended = ctx.saved_tensors
        gradient = gradient.contiguous()
        of_query, of_key, of_value = (torch.empty_like(x) for x in (query, key, value))
        # what softmax takes off each row of gradients: its mean by the weights
        mean = (gradient * attended).sum(dim=1).unsqueeze(-1)
        for part in _chunks(query, key):
            weights = _weights(query[part], key[part])
            torch.bmm(gradient[part], weights, out=of_value[part])
            of_scores = torch.bmm(gradient[part].mT, value[part]).sub_(mean[part]).mul_(weights)
            torch.bmm(key[part], of_scores.mT, out=of_query[part])
            torch.bmm(query[part], of_scores, out=of_key[part])
        return of_query, of_key, of_value


def _weights(query, key):
    """Attention weights, (n, n_queries, n_keys)."""
    scores = torch.bmm(query.mT, key)
    return torch.softmax(scores, dim=-1, out=scores)


def _chunks(query, key):
    """Slices of the first axis."""
    size = max(1, torch.get_num_threads() * _CHUNK_CELLS // max(1, query.shape[2] * key.shape[2]))
    return (slice(start, start + size) for start in range(0, len(query), size))
