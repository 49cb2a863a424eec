"""Which rows each member leaves out of its training."""

import math

import numpy as np

from ..inputs.copies import original_rows
from ..network.members import member_halves

N_FOLDS = 6
"""Each member leaves one of so many folds out of its training, or of more where more are to be left out."""

MAX_FOLD_ROWS = 2000
"""Rows of a fold at most: a handful of weights needs no more, and members learn from the others."""

LONE_MEMBER_ROWS = 50_000
"""Rows up to which a single member learns from all of them; of more it can spare a fold."""


def held_out_folds(codes, n_held_out, original=None):
    """Fold of every row, stratified; the first ``n_held_out`` folds are each left out by some members.

    There are ``max(N_FOLDS, n_held_out)`` folds, or as many as have ``MAX_FOLD_ROWS`` at most. The same rows give the
    same folds, so that a warm start on them goes on with them. Copies of a row are in one fold, for a member that has
    learnt one knows the others. A class of one row, and its copies, is in none (-1): every member sees every class.

    Parameters
    ----------
    codes : ndarray of int64 of shape (n,)
        Class codes.
    n_held_out : int
    original : ndarray of int64 of shape (n,), optional
        The first row that each is a copy of, see :func:`~skdual.inputs.copies.original_rows`; by default none is one.

    Returns
    -------
    folds : ndarray of int64 of shape (n,)
    """
    n = len(codes)
    original = np.arange(n) if original is None else original
    n_folds = max(N_FOLDS, n_held_out, math.ceil(n / MAX_FOLD_ROWS))
    # neighbours of one class lie in different folds, whatever order the rows came in
    order = np.random.default_rng(0).permutation(n)
    order = order[np.argsort(codes[order], kind="stable")]
    order = order[original[order] == order]
    folds = np.empty(n, dtype=np.int64)
    folds[order] = np.arange(len(order)) % n_folds
    folds = folds[original]
    folds[np.bincount(codes[order])[codes] == 1] = -1
    return folds


def training_mask(n_members, rows):
    """Which rows each member trains on, ndarray of bool of shape (n_members, n).

    Each half of the members leaves out the same folds.

    Parameters
    ----------
    n_members : int
    rows : Rows
        To train on.
    """
    n = len(rows)
    if n_members == 1 and n <= LONE_MEMBER_ROWS:
        return np.ones((1, n), dtype=bool)
    fold_of_member = np.concatenate([np.arange(half.stop - half.start) for half in member_halves(n_members)])
    return held_out_folds(rows.y, int(fold_of_member.max()) + 1, original_rows(rows)) != fold_of_member[:, None]
