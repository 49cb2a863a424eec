"""Attention between two sides of many narrow tokens, there and back by the same scores."""

import math

import torch
from torch.nn import functional as F

_CHUNK_BYTES = 2**21
"""Of attention weights that a thread holds at one time on the CPU, few enough to stay in its cache."""

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
    scores are too large for that.

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
    if query_a.device.type != "cpu" or torch.compiler.is_compiling():
        return _fused(query_a, query_b, value_b), _fused(query_b, query_a, value_a)
    # |q'k| <= |q| |k|
    largest = math.prod(float(x.detach().square().sum(dim=1).max()) for x in (query_a, query_b))
    if largest * _exponent_scale(query_a) ** 2 < _MAX_EXPONENT**2:
        return _ChunkedAttention.apply(query_a, query_b, value_a, value_b)
    return _fused(query_a, query_b, value_b), _fused(query_b, query_a, value_a)


def _exponent_scale(query):
    """What q'k is multiplied by as an exponent of 2: powers of 2 take torch a quarter of the time of exponentials."""
    return math.log2(math.e) / math.sqrt(query.shape[1])


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
        n_samples, n_features, n_a = query_a.shape
        made = [query_a.new_empty(n_samples, n_rows, m) for n_rows in (n_features, 1) for m in (n_a, query_b.shape[2])]
        tensors = query_a, query_b, value_a, value_b, *made
        for part, (room,) in _chunks(1, *tensors):
            query_a, query_b, value_a, value_b, attended_a, attended_b, total_a, total_b = part
            weights = _powers(query_a, query_b, room)
            sums_a = torch.bmm(torch.cat([value_b, _ones(value_b)], dim=1), weights.mT)
            sums_b = torch.bmm(torch.cat([value_a, _ones(value_a)], dim=1), weights)
            for sums, attended, total in ((sums_a, attended_a, total_a), (sums_b, attended_b, total_b)):
                total.copy_(sums[:, -1:])
                torch.div(sums[:, :-1], total, out=attended)
        ctx.save_for_backward(*tensors)
        return made[0], made[1]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_a, grad_b):
        made = [x.new_empty(x.shape) for x in ctx.saved_tensors[:4]]
        for part, (room, further) in _chunks(2, *ctx.saved_tensors, grad_a, grad_b, *made):
            query_a, query_b, value_a, value_b, attended_a, attended_b, total_a, total_b = part[:8]
            grad_a, grad_b, grad_query_a, grad_query_b, grad_value_a, grad_value_b = part[8:]
            grad_a, grad_b = grad_a / total_a, grad_b / total_b
            # what softmax takes off each row of gradients: its mean by the weights
            taken_a, taken_b = (
                (grad * attended).sum(dim=1, keepdim=True).neg_()
                for grad, attended in ((grad_a, attended_a), (grad_b, attended_b))
            )
            weights = _powers(query_a, query_b, room)
            torch.bmm(grad_b, weights.mT, out=grad_value_a)
            torch.bmm(grad_a, weights, out=grad_value_b)
            # both ways in one product
            left = torch.cat([grad_a, taken_a, value_a, _ones(value_a)], dim=1)
            right = torch.cat([value_b, _ones(value_b), grad_b, taken_b], dim=1)
            grad_scores = torch.bmm(left.mT, right, out=further).mul_(weights)
            torch.bmm(query_b, grad_scores.mT, out=grad_query_a)
            torch.bmm(query_a, grad_scores, out=grad_query_b)
        scale = 1 / math.sqrt(made[0].shape[1])
        return made[0].mul_(scale), made[1].mul_(scale), made[2], made[3]


def _powers(query_a, query_b, out):
    """e^s of every pair of tokens, (n, n_a, n_b)."""
    return torch.baddbmm(out, query_a.mT, query_b, beta=0, alpha=_exponent_scale(query_a), out=out).exp2_()


def _ones(x):
    """One row for each of the tensors of shape (n, e, m): (n, 1, m)."""
    return x.new_ones(1, 1, 1).expand(len(x), 1, x.shape[2])


def _chunks(n_matrices, *tensors):
    """A few samples at a time of queries of A, of B and other tensors; and room for so many matrices of their weights.

    The room is used again and again: new memory of this size comes from the system every time, and takes longer than
    the products.
    """
    n_samples, n_a, n_b = len(tensors[0]), tensors[0].shape[2], tensors[1].shape[2]
    size = max(1, torch.get_num_threads() * _CHUNK_BYTES // max(1, n_a * n_b * tensors[0].itemsize))
    rooms = tensors[0].new_empty(n_matrices, min(size, n_samples), n_a, n_b)
    for part in zip(*(x.split(size) for x in tensors), strict=True):
        yield part, rooms[:, : len(part[0])]
