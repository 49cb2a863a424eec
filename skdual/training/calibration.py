"""Rows that members hold out, and the temperature of the probabilities that is read from them."""

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

N_FOLDS = 8
"""Each member leaves one of so many folds out of its training."""

_LOG_TEMPERATURES = (np.log(0.05), np.log(50.0))


def held_out_folds(codes, n_members):
    """Fold of every row, stratified; member m does not train on the rows of fold m.

    There are ``max(N_FOLDS, n_members)`` folds, and none with one member, which trains on all rows. The same codes
    give the same folds, so that a warm start on the same rows goes on with them. The only row of a class is in no
    fold (-1): every member sees every class.

    Parameters
    ----------
    codes : ndarray of int64 of shape (n,)
        Class codes.
    n_members : int

    Returns
    -------
    folds : ndarray of int64 of shape (n,)
    """
    if n_members == 1:
        return np.full(len(codes), -1)
    # neighbours of one class lie in different folds, whatever order the rows came in
    order = np.random.default_rng(0).permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    folds = np.empty(len(codes), dtype=np.int64)
    folds[order] = np.arange(len(codes)) % max(N_FOLDS, n_members)
    folds[np.bincount(codes)[codes] == 1] = -1
    return folds


def held_out_scores(network, rows, folds):
    """Scores of each row by the member that did not train on it.

    Parameters
    ----------
    network : DualBranchNetwork
    rows : Rows
    folds : ndarray of int64 of shape (n,)
        From :func:`held_out_folds`.

    Returns
    -------
    scores : ndarray of shape (n_held_out, n_classes)
        Before the temperature.
    held_out : ndarray of int64 of shape (n_held_out,)
        Numbers of those rows.
    """
    network.eval()
    held_out = np.flatnonzero((folds >= 0) & (folds < network.n_members))
    parts = []
    with torch.no_grad():
        for chunk in rows.chunks(held_out):
            scores = network.member_scores(*rows.fetch(chunk).blocks).cpu().numpy()
            parts.append(scores[folds[chunk], np.arange(len(chunk))])
    return np.concatenate(parts), held_out


def fit_temperature(scores, codes, weight):
    """Temperature T that makes softmax(scores / T) the best probabilities of the rows (Guo et al., 2017).

    The least weighted log loss, counting one further row whose label could be any: without it, n rows that are
    all scored right would ask for certainty, and not for about n in n + 1.

    Parameters
    ----------
    scores : ndarray of shape (n, n_classes)
    codes : ndarray of int64 of shape (n,)
    weight : ndarray of shape (n_classes,)
        Of the classes, as in training.

    Returns
    -------
    temperature : float
        Between 0.05 and 50.
    """
    scores = scores.astype(np.float64)
    row_weight = weight[codes]
    rows = np.arange(len(codes))

    def loss(log_temperature):
        log_proba = log_softmax(scores / np.exp(log_temperature), axis=1)
        return -(row_weight @ log_proba[rows, codes] + log_proba.mean())

    return float(np.exp(minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded").x))
