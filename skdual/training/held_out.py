"""Which rows are held out of training: by each member, or by all for validation."""

import math

import numpy as np
from sklearn.model_selection import train_test_split

N_FOLDS = 6
"""A member leaves one of so many folds out of its training, or of more where more are to be left out."""

MAX_FOLD_ROWS = 2000
"""Rows of a fold at most: a handful of weights needs no more, and members learn from the others."""

LONE_MEMBER_ROWS = 2000
"""Rows up to which a single member learns from all of them: what it holds out, no other member learns from."""

N_LONE_FOLDS = 10
"""Of so many folds a single member leaves one out where there are more rows."""


def held_out_folds(codes, n_held_out, original=None, least_folds=N_FOLDS):
    """Fold of every row, stratified; the first ``n_held_out`` folds are each left out by some members.

    There are ``max(least_folds, n_held_out)`` folds, or as many as have ``MAX_FOLD_ROWS`` at most. The same rows give
    the same folds, so that a warm start on them goes on with them. Copies of a row are in one fold, for a member that
    has learnt one knows the others. Fold -1, which no member leaves out, are rows with copies that are more than a
    sixth of all rows, and the only row of a class, for every member sees every class.

    Parameters
    ----------
    codes : ndarray of int64 of shape (n,)
        Class codes.
    n_held_out : int
    original : ndarray of int64 of shape (n,), optional
        The first row that each is a copy of (see :func:`~skdual.inputs.duplicates.first_occurrences`); none by default.
    least_folds : int, default=N_FOLDS
        That the rows are dealt out to.

    Returns
    -------
    folds : ndarray of int64 of shape (n,)
    """
    n = len(codes)
    original, may_be_held_out = _originals(codes, original)
    n_folds = max(least_folds, n_held_out, math.ceil(n / MAX_FOLD_ROWS))
    # neighbours of one class lie in different folds, whatever order the rows came in
    order = np.random.default_rng(0).permutation(n)
    order = order[np.argsort(codes[order], kind="stable")]
    order = order[may_be_held_out[order]]
    folds = np.full(n, -1)
    folds[order] = np.arange(len(order)) % n_folds
    return folds[original]


def training_mask(n_members, codes, original=None, early_stopping=False):
    """Which rows each member trains on, ndarray of bool of shape (n_members, n).

    Each half of the members leaves out the same folds; of an odd number the last one trains on all rows, for no plain
    member would score what it leaves out. A single member leaves one out of more than ``LONE_MEMBER_ROWS``
    rows, unless there is early stopping, whose validation rows do as well.

    Parameters
    ----------
    n_members : int
    codes : ndarray of int64 of shape (n,)
        Class codes of the rows to train on.
    original : ndarray of int64 of shape (n,), optional
        The first row that each is a copy of; by default none is one.
    early_stopping : bool, default=False
    """
    if n_members == 1:
        if early_stopping or len(codes) <= LONE_MEMBER_ROWS:
            return np.ones((1, len(codes)), dtype=bool)
        return held_out_folds(codes, 1, original, N_LONE_FOLDS)[None] != 0
    n_pairs = n_members // 2
    fold_of_member = np.tile(np.arange(n_pairs), 2)
    if n_members % 2:
        fold_of_member = np.append(fold_of_member, -2)  # which no row is in
    return held_out_folds(codes, n_pairs, original) != fold_of_member[:, None]


def split_rows(codes, validation_fraction, seed, original=None):
    """Row numbers to train on and to validate on, stratified; copies stay together.

    In training stay the rows that :func:`held_out_folds` leaves out.

    Parameters
    ----------
    codes : ndarray of int64 of shape (n,)
        Class codes.
    validation_fraction : float
    seed : int
    original : ndarray of int64 of shape (n,), optional
        The first row that each is a copy of; by default none is one.

    Returns
    -------
    training, validation : ndarray of int64

    Raises
    ------
    ValueError
        If the fraction leaves too few rows on either side for one of each class.
    """
    original, may_be_held_out = _originals(codes, original)
    dealt = np.flatnonzero(may_be_held_out)
    try:
        _, valid = train_test_split(dealt, test_size=validation_fraction, stratify=codes[dealt], random_state=seed)
        validates = np.isin(original, valid)
        if len(np.unique(codes[~validates])) < codes.max() + 1:
            raise ValueError("a class would have no row to train on")
    except ValueError as error:
        raise ValueError(
            f"early_stopping=True sets validation_fraction={validation_fraction} of {len(codes)} rows aside, with rows "
            f"of every class on both sides, which can't be done here ({error}); change validation_fraction or give "
            f"X_val and y_val to fit."
        ) from error
    return np.flatnonzero(~validates), np.flatnonzero(validates)


def _originals(codes, original):
    """What every row is a copy of, and whether it is an original that may be held out, or set aside."""
    rows = np.arange(len(codes))
    original = rows if original is None else original
    n_copies = np.bincount(original)[original]
    may_be = (original == rows) & (n_copies <= max(1, len(codes) / N_FOLDS))
    return original, may_be & (np.bincount(codes[may_be], minlength=codes.max() + 1)[codes] > 1)
