"""Scaled dot-product attention among many narrow tokens."""

import math

import torch
from torch.nn import functional as F

_CHUNK_CELLS = 2**19
"""Attention weights that a thread holds at one time on the CPU, few enough to stay in its cache."""

_MAX_KERNEL_SAMPLES = 65_535
"""Samples that a fused kernel takes at one time; older ones of CUDA refuse more (issue 146704 of torch, 2025)."""

_LARGEST_EXPONENT = 86.0
"""Scores up to which, and down to minus which, powers of 2 are summed as they are in float32."""


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
        # powers of 2, which take torch a quarter of the time of exponentials
        queries = queries * (math.log2(math.e) / math.sqrt(query.shape[1]))
        with torch.autocast("cpu", enabled=False):
            attended = _ChunkedAttention.apply(queries, keys, values)
        return attended.to(query.dtype)
    # the fused kernels want four axes: one head
    parts = zip(*(x.mT.unsqueeze(1).split(_MAX_KERNEL_SAMPLES) for x in (query, key, value)), strict=True)
    attended = [F.scaled_dot_product_attention(*part).squeeze(1).mT for part in parts]
    return torch.cat(attended) if len(attended) > 1 else attended[0]


class _ChunkedAttention(torch.autograd.Function):
    """Attention a few samples at a time, by powers of 2; the gradient computes weights anew (Dao et al., 2022).

    With a further row below the features, of ones on one side, the products that come anyway also sum the weights, and
    take off the scores what softmax takes off: a pass over all weights takes longer than one more feature.
    """

    @staticmethod
    def forward(ctx, query, key, value):
        n_samples, n_features, n_queries = query.shape
        sums = query.new_empty(n_samples, n_features + 1, n_queries)
        shift = query.new_zeros(n_samples, 1, n_queries)
        # |q'k| <= |q| |k|
        small = bool(math.prod(x.square().sum(dim=1).max() for x in (query, key)) < _LARGEST_EXPONENT**2)
        values = _with_row(value, value.new_ones(1, 1, 1))
        for part, (room,) in _chunks(query, key, 1):
            weights = torch.bmm(query[part].mT, key[part], out=room)
            if not small:
                highest = weights.amax(dim=-1, keepdim=True)
                weights.sub_(highest)
                shift[part] = highest.mT
            torch.bmm(values[part], weights.exp2_().mT, out=sums[part])
        attended, total = sums[:, :-1] / sums[:, -1:], sums[:, -1:]
        ctx.save_for_backward(query, key, values, attended, shift + total.log2())
        return attended

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        query, key, values, attended, log_total = ctx.saved_tensors
        gradient = gradient.contiguous()
        of_query, of_key, of_value = (torch.empty_like(x) for x in (query, key, key))
        queries, keys = _with_row(query, -log_total), _with_row(key, key.new_ones(1, 1, 1))
        # what softmax takes off each row of gradients: its mean by the weights
        mean = (gradient * attended).sum(dim=1, keepdim=True)
        gradients = _with_row(gradient, -mean).mul_(math.log(2))  # the derivative of 2^s is log(2) 2^s
        for part, (room, further) in _chunks(query, key, 2):
            weights = torch.bmm(queries[part].mT, keys[part], out=room).exp2_()
            torch.bmm(gradient[part], weights, out=of_value[part])
            of_scores = torch.bmm(gradients[part].mT, values[part], out=further).mul_(weights)
            torch.bmm(key[part], of_scores.mT, out=of_query[part])
            torch.bmm(query[part], of_scores, out=of_key[part])
        return of_query, of_key, of_value


def _with_row(x, row):
    """Tensors of shape (n, e, m) with a further row, (n or 1, 1, m or 1), below: (n, e + 1, m)."""
    return torch.cat([x, row.expand(len(x), 1, x.shape[2])], dim=1)


def _chunks(query, key, n_matrices):
    """Slices of the first axis, and room for so many matrices of their weights, which is used again and again.

    New memory of this size comes from the system every time, and takes longer than the products.
    """
    n_samples, n_queries, n_keys = len(query), query.shape[2], key.shape[2]
    size = max(1, torch.get_num_threads() * _CHUNK_CELLS // max(1, n_queries * n_keys))
    room = query.new_empty(n_matrices, min(size, n_samples), n_queries, n_keys)
    for start in range(0, n_samples, size):
        part = slice(start, min(start + size, n_samples))
        yield part, room[:, : part.stop - start]
