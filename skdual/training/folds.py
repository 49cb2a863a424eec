"""Which rows each member leaves out of its training."""

import math

import numpy as np

from ..network.members import member_halves

N_FOLDS = 6
"""Each member leaves one of so many folds out of its training, or of more where more are to be left out."""

MAX_FOLD_ROWS = 2000
"""Rows of a fold at most: a handful of weights needs no more, and members learn from the others."""

LONE_MEMBER_ROWS = 50_000
"""Rows up to which a single member learns from all of them; of more it can spare a fold."""


def held_out_folds(codes, n_held_out):
    """Fold of every row, stratified; the first ``n_held_out`` folds are each left out by some members.

    There are ``max(N_FOLDS, n_held_out)`` folds, or as many as have ``MAX_FOLD_ROWS`` at most, and none where none is
    left out. The same codes give the same folds, so that a warm start on the same rows goes on with them. The only row
    of a class is in no fold (-1): every member sees every class.

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
    folds[order] = np.arange(len(codes)) % max(N_FOLDS, n_held_out, math.ceil(len(codes) / MAX_FOLD_ROWS))
    folds[np.bincount(codes)[codes] == 1] = -1
    return folds


def training_mask(n_members, codes):
    """Which rows each member trains on, ndarray of bool of shape (n_members, n).

    Each half of the members leaves out the same folds.

    Parameters
    ----------
    n_members : int
    codes : ndarray of int64 of shape (n,)
        Class codes of the training rows.
    """
    fold_of_member = np.concatenate([np.arange(half.stop - half.start) for half in member_halves(n_members)])
    spares_rows = n_members > 1 or len(codes) > LONE_MEMBER_ROWS
    n_held_out = int(fold_of_member.max()) + 1 if spares_rows else 0
    return held_out_folds(codes, n_held_out) != fold_of_member[:, None]
