"""Formulas written with numpy and loops, for tests to compare the package with."""

import math

import numpy as np


def gelu(x):
    return np.vectorize(lambda value: value * 0.5 * (1 + math.erf(value / math.sqrt(2))))(x)


def layer_norm(x, weight, bias, eps=1e-5):
    """Over the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * weight + bias


def softmax(x):
    """Of a vector."""
    exp = np.exp(x - x.max())
    return exp / exp.sum()


def subspace_error(z, bases):
    """|z - z U' U|^2 of every row z and every class's basis U, with the projection written out."""
    return np.array([[((row - (row @ basis.T) @ basis) ** 2).sum() for basis in bases] for row in z])


def extended(z, member, n_members):
    """Unit-length rows as the subspaces of a member see them: with a constant 0 in the first half, 1 in the second."""
    constant = float(member >= n_members // 2)
    rows = np.hstack([z / np.linalg.norm(z, axis=1, keepdims=True), np.full((len(z), 1), constant)])
    return rows / np.sqrt(1 + constant**2)


def contrastive_losses(projections, ids, temperature, bank=None):
    """Loss of every anchor, a float64 sum over its positives and candidates one by one."""
    candidates, candidate_ids = [*projections], [*ids]
    if bank is not None:
        candidates, candidate_ids = [*candidates, *bank[0]], [*candidate_ids, *bank[1]]
    losses = []
    for i, anchor in enumerate(projections):
        others = [a for a in range(len(candidates)) if a != i]
        logit = {a: sum(u * v for u, v in zip(anchor, candidates[a], strict=True)) / temperature for a in others}
        highest = max(logit.values())
        log_sum = highest + math.log(sum(math.exp(value - highest) for value in logit.values()))
        positives = [p for p in others if candidate_ids[p] == ids[i]]
        losses.append(sum(log_sum - logit[p] for p in positives) / len(positives) if positives else 0.0)
    return np.array(losses)
