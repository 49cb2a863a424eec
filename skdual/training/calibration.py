"""Rows that members hold out, and how much of each view's scores makes the best probabilities of them."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from .folds import trained_rows
from .inference import in_chunks

SINGLE_BLOCK_COST = 0.05
"""What single blocks have to gain to be heard, in log loss summed over rows, where their scores vary by 1."""

_MAX_WEIGHT = 20.0
_MIN_TOTAL = 0.02


def held_out_scores(network, rows, trained):
    """Scores of each row in every view by the member of the view that did not train on it.

    Parameters
    ----------
    network : DualBranchNetwork
    rows : Rows
    trained : ndarray of bool of shape (n_members, n)
        From :func:`~skdual.training.folds.trained_rows`.

    Returns
    -------
    scores : ndarray of shape (n_views, n_held_out, n_classes)
    held_out : ndarray of int64 of shape (n_held_out,)
        Numbers of the rows that every view has such a member for.
    """
    network.eval()
    untrained = [~trained[members] for members, _ in network.views]
    held_out = np.flatnonzero(np.all([of_view.any(axis=0) for of_view in untrained], axis=0))
    parts = [np.empty((len(network.views), 0, network.n_classes))]
    for chunk, (scores,) in in_chunks(network.member_scores, rows, held_out):
        by_view = []
        for (members, source), of_view in zip(network.views, untrained, strict=True):
            member = members.start + of_view[:, chunk].argmax(axis=0)
            by_view.append(scores[member, source, np.arange(len(chunk))])
        parts.append(np.stack(by_view))
    return np.concatenate(parts, axis=1), held_out


def held_out_loss(network, rows, weight):
    """Weighted log loss of the rows that members hold out, by the view weights that suit them best.

    Parameters
    ----------
    network : DualBranchNetwork
    rows : Rows
    weight : ndarray of shape (n_classes,)
        Of the classes, as in training.
    """
    scores, held_out = held_out_scores(network, rows, trained_rows(network, rows.y))
    codes = rows.y[held_out]
    log_proba = log_softmax(np.tensordot(fit_view_weights(scores, codes, weight), scores, axes=1), axis=1)
    return -float(np.mean(weight[codes] * log_proba[np.arange(len(codes)), codes]))


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
