"""Rows that members hold out, and how much of each view's scores makes the best probabilities of them."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from .inference import in_chunks

N_FOLDS = 6
"""Each member leaves one of so many folds out of its training, or of more where more are to be left out."""

SINGLE_BLOCK_COST = 0.05
"""What single blocks have to gain to be heard, in log loss summed over rows, where their scores vary by 1."""

_MAX_WEIGHT = 20.0
_MIN_TOTAL = 0.02


def held_out_folds(codes, n_held_out):
    """Fold of every row, stratified; the first ``n_held_out`` folds are each left out by some members.

    There are ``max(N_FOLDS, n_held_out)`` folds, and none where none is left out. The same codes give the same folds,
    so that a warm start on the same rows goes on with them. The only row of a class is in no fold (-1): every member
    sees every class.

    Parameters
    ----------
    codes : ndarray of int64 of shape (n,)
        Class codes.
    n_held_out : int

    Returns
    -------
    folds : ndarray of int64 of shape (n,)
    """
    if not n_held_out:
        return np.full(len(codes), -1)
    # neighbours of one class lie in different folds, whatever order the rows came in
    order = np.random.default_rng(0).permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    folds = np.empty(len(codes), dtype=np.int64)
    folds[order] = np.arange(len(codes)) % max(N_FOLDS, n_held_out)
    folds[np.bincount(codes)[codes] == 1] = -1
    return folds


def held_out_scores(network, rows, folds):
    """Scores of each row in every view by the member of the view that did not train on it.

    Parameters
    ----------
    network : DualBranchNetwork
    rows : Rows
    folds : ndarray of int64 of shape (n,)
        From :func:`held_out_folds`.

    Returns
    -------
    scores : ndarray of shape (n_views, n_held_out, n_classes)
    held_out : ndarray of int64 of shape (n_held_out,)
        Numbers of the rows that every view has such a member for.
    """
    network.eval()
    n_folds = min(members.stop - members.start for members, _ in network.views)
    held_out = np.flatnonzero((folds >= 0) & (folds < n_folds))
    parts = []
    for chunk, (scores,) in in_chunks(network.member_scores, rows, held_out):
        at = np.arange(len(chunk))
        parts.append(np.stack([scores[members.start + folds[chunk], which, at] for members, which in network.views]))
    return np.concatenate(parts, axis=1), held_out


def fit_view_weights(scores, codes, weight, by_single_block=None):
    """Weights w >= 0 of the views that make softmax(sum_v w_v scores_v) the best probabilities of the rows.

    With one view its weight is the inverse of a temperature (Guo et al., 2017). The least weighted log loss,
    counting one further row whose label could be any: without it, n rows that are all scored right would ask for
    certainty, and not for about n in n + 1. Few rows can make a single block look better than both by chance, so its
    weight has a cost: ``SINGLE_BLOCK_COST`` times the mean standard deviation over classes of the weighted scores, over
    all rows together. The problem is convex.

    Parameters
    ----------
    scores : ndarray of shape (n_views, n, n_classes)
    codes : ndarray of int64 of shape (n,)
    weight : ndarray of shape (n_classes,)
        Of the classes, as in training.
    by_single_block : ndarray of bool of shape (n_views,), optional
        Which views have a cost; none by default.

    Returns
    -------
    view_weights : ndarray of shape (n_views,)
        None above 20; together at least 0.02, on the first view where the rows would have less.
    """
    scale = float(np.abs(scores).max()) or 1.0
    scores = scores.astype(np.float64) / scale  # else the search would stop at once where scores are tiny
    n_views, n_rows, n_classes = scores.shape
    cost = np.zeros(n_views)
    if by_single_block is not None:
        cost = SINGLE_BLOCK_COST / n_rows * scores.std(axis=2).mean(axis=1) * by_single_block
    target = np.full((n_rows, n_classes), 1 / (n_rows * n_classes))
    target[np.arange(n_rows), codes] += weight[codes]

    def loss_and_gradient(view_weights):
        log_proba = log_softmax(np.tensordot(view_weights, scores, axes=1), axis=1)
        residual = np.exp(log_proba) * target.sum(axis=1, keepdims=True) - target
        loss = -np.vdot(target, log_proba) / n_rows + cost @ view_weights
        return loss, np.tensordot(scores, residual, axes=2) / n_rows + cost

    both = np.eye(n_views)[0]
    bounds = [(0, _MAX_WEIGHT * scale)] * n_views
    found = minimize(loss_and_gradient, scale * both, jac=True, bounds=bounds, options={"ftol": 1e-12})
    view_weights = found.x / scale
    return view_weights if view_weights.sum() >= _MIN_TOTAL else _MIN_TOTAL * both
