"""Attention between two sides of many narrow tokens, there and back by the same scores."""

import math

import torch
from torch.nn import functional as F

_CHUNK_CELLS = 2**19
"""Attention weights that a thread holds at one time on the CPU, few enough to stay in its cache."""

_MAX_KERNEL_SAMPLES = 65_535
"""Samples that a fused kernel takes at one time; older ones of CUDA refuse more (issue 146704 of torch, 2025)."""

_MAX_EXPONENT = 64.0
"""Scores up to which, and down to minus which, powers of 2, their sums and what is divided by them fit float32."""


def attend_both_ways(query_a, query_b, value_a, value_b):
    """Tokens of A attend to tokens of B, and these to those, with the features of a token along the last axis but one.

    Softmax of s = q_a' q_b / sqrt(e) over the tokens of B, times their values, and of the same scores over the tokens
    of A, times theirs (Li et al., 2022, GLIP). Accelerators run torch's fused kernel twice, and so do compiled graphs,
    which would unroll a loop. On the CPU it is slow for tokens of 4 to 16 features, whose products have hardly any
    columns; with features first the same products are wide ones, and one matrix of weights serves both ways, unless
    scores are too large for that. There bfloat16 is computed in float32: the products are too small to gain by it.

    Parameters
    ----------
    query_a, value_a : tensors of shape (n, e, n_a)
    query_b, value_b : tensors of shape (n, e, n_b)

    Returns
    -------
    attended_a : tensor of shape (n, e, n_a)
        Values of B.
    attended_b : tensor of shape (n, e, n_b)
        Values of A.
    """
    inputs = query_a, query_b, value_a, value_b
    if query_a.device.type != "cpu" or torch.compiler.is_compiling():
        return _fused(query_a, query_b, value_b), _fused(query_b, query_a, value_a)
    dtype = torch.promote_types(query_a.dtype, torch.float32)
    query_a, query_b, value_a, value_b = (x.to(dtype).contiguous() for x in inputs)
    # powers of 2, which take torch a quarter of the time of exponentials
    scaled_a = query_a * (math.log2(math.e) / math.sqrt(query_a.shape[1]))
    # |q'k| <= |q| |k|
    largest = math.prod(float(x.detach().square().sum(dim=1).max()) for x in (scaled_a, query_b))
    with torch.autocast("cpu", enabled=False):
        if largest < _MAX_EXPONENT**2:
            attended = _ChunkedAttention.apply(scaled_a, query_b, value_a, value_b)
        else:
            attended = _fused(query_a, query_b, value_b), _fused(query_b, query_a, value_a)
    return tuple(x.to(inputs[0].dtype) for x in attended)


def _fused(query, key, value):
    """softmax(q'k / sqrt(e)) v (Vaswani et al., 2017) by torch's kernels, which want four axes: one head."""
    parts = zip(*(x.mT.unsqueeze(1).split(_MAX_KERNEL_SAMPLES) for x in (query, key, value)), strict=True)
    attended = [F.scaled_dot_product_attention(*part).squeeze(1).mT for part in parts]
    return torch.cat(attended) if len(attended) > 1 else attended[0]


class _ChunkedAttention(torch.autograd.Function):
    """Attention a few samples at a time, by powers of 2; the gradient computes weights anew (Dao et al., 2022).

    With a further row of ones below the values, the products that come anyway also sum the weights, and with one below
    the gradients they take off what softmax takes off: a pass over all weights takes longer than one more feature.
    """

    @staticmethod
    def forward(ctx, query_a, query_b, value_a, value_b):
        values_a, values_b = (_with_row(x, x.new_ones(1, 1, 1)) for x in (value_a, value_b))
        sums_a, sums_b = torch.empty_like(values_a), torch.empty_like(values_b)
        for part, (room,) in _chunks(query_a, query_b, 1):
            weights = torch.bmm(query_a[part].mT, query_b[part], out=room).exp2_()
            torch.bmm(values_b[part], weights.mT, out=sums_a[part])
            torch.bmm(values_a[part], weights, out=sums_b[part])
        attended_a, attended_b = (sums[:, :-1] / sums[:, -1:] for sums in (sums_a, sums_b))
        ctx.save_for_backward(query_a, query_b, values_a, values_b, attended_a, attended_b, sums_a, sums_b)
        return attended_a, attended_b

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient_a, gradient_b):
        query_a, query_b, values_a, values_b, attended_a, attended_b, sums_a, sums_b = ctx.saved_tensors
        of_query_a, of_query_b, of_value_a, of_value_b = map(torch.empty_like, (query_a, query_b, query_a, query_b))
        gradient_a, gradient_b = gradient_a / sums_a[:, -1:], gradient_b / sums_b[:, -1:]
        # what softmax takes off each row of gradients: its mean by the weights
        of_sums_a = _with_row(gradient_a, -(gradient_a * attended_a).sum(dim=1, keepdim=True))
        of_sums_b = _with_row(gradient_b, -(gradient_b * attended_b).sum(dim=1, keepdim=True))
        # both ways in one product; the derivative of 2^s is log(2) 2^s
        left = torch.cat([of_sums_a, values_a], dim=1).mul_(math.log(2))
        right = torch.cat([values_b, of_sums_b], dim=1)
        for part, (room, further) in _chunks(query_a, query_b, 2):
            weights = torch.bmm(query_a[part].mT, query_b[part], out=room).exp2_()
            torch.bmm(gradient_b[part], weights.mT, out=of_value_a[part])
            torch.bmm(gradient_a[part], weights, out=of_value_b[part])
            of_scores = torch.bmm(left[part].mT, right[part], out=further).mul_(weights)
            torch.bmm(query_b[part], of_scores.mT, out=of_query_a[part])
            torch.bmm(query_a[part], of_scores, out=of_query_b[part])
        return of_query_a, of_query_b, of_value_a, of_value_b


def _with_row(x, row):
    """Tensors of shape (n, e, m) with a further row, (n or 1, 1, m or 1), below: (n, e + 1, m)."""
    return torch.cat([x, row.expand(len(x), 1, x.shape[2])], dim=1)


def _chunks(query_a, query_b, n_matrices):
    """Slices of the first axis, and room for so many matrices of their weights, which is used again and again.

    New memory of this size comes from the system every time, and takes longer than the products.
    """
    n_samples, n_a, n_b = len(query_a), query_a.shape[2], query_b.shape[2]
    size = max(1, torch.get_num_threads() * _CHUNK_CELLS // max(1, n_a * n_b))
    room = query_a.new_empty(n_matrices, min(size, n_samples), n_a, n_b)
    for start in range(0, n_samples, size):
        part = slice(start, min(start + size, n_samples))
        yield part, room[:, : part.stop - start]
