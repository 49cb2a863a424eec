"""How much each column tells of the classes by itself, which the regularised members multiply the columns by.

Adam moves the weights of all columns alike: where few of many columns tell the classes, the others drown them. A column
that is multiplied by its relevance moves the outputs by as much. What columns tell only together is for the plain
members, which take all of them as they are, where there are such.
"""

import math

import numpy as np
import torch

from ...anova import analysis_of_variance, indicator, shrunk_epsilon_squared
from ...devices import send
from ...inputs.chunks import dense_chunks
from ...inputs.slices import consecutive_slices
from ...network.members import member_halves

FLOOR = 1.0
"""Effect that every column has at least, as a share of the mean: what tells nothing by itself may do so with others."""

_MAX_SUMS = 2**24  # sums over the rows of a class that are held at one time: 128 MiB


def set_relevance(network, rows, mask, scalers, class_weight):
    """Let every regularised member multiply the columns by their relevance in the rows that it trains on.

    Rows that it holds out have no part in it, so that to its scores they are new.

    Parameters
    ----------
    network : DualBranchNetwork
        New.
    rows : Rows
        To train on.
    mask : ndarray of bool of shape (n_members, n)
        Which of them each member trains on.
    scalers : pair of ColumnScaler
        That scale the columns of either block on the host, in the dtype of X, so that all devices train on the same
        numbers.
    class_weight : array-like of shape (n_classes,)
        How much rows of each class count, as in the loss.
    """
    _, regularized = member_halves(network.n_members)
    held_out = ~mask[regularized]
    # no two of these members hold out the same row
    fold = np.where(held_out.any(axis=0), held_out.argmax(axis=0), len(held_out))
    row_weight = np.asarray(class_weight, dtype=np.float64)[rows.y]
    for branch, scaler, index in zip(network.branches, scalers, rows.columns.indices, strict=True):
        relevance = np.ones((network.n_members, 1, scaler.n_outputs))
        with np.errstate(all="ignore"):  # of values too large to compute with, as training will say
            by_member = _leave_one_fold_out(scaler, rows, index, row_weight, fold, len(held_out))
            for member, statistics in enumerate(by_member, regularized.start):
                relevance[member] = column_relevance(*statistics)
        branch.inputs.relevance = send(torch.from_numpy(relevance), rows.device, branch.shortcut.weight.dtype)


def column_relevance(n_rows, n_classes, eta_squared, variance):
    """What to multiply columns by: the root of how well each is thought to tell the classes.

    See :func:`~skdual.anova.shrunk_epsilon_squared`. ``FLOOR`` times the mean is added: where no column tells anything
    all are alike.

    Parameters
    ----------
    n_rows, n_classes : int
    eta_squared : ndarray of shape (n_columns,)
    variance : ndarray of shape (n_columns,)

    Returns
    -------
    relevance : ndarray of shape (n_columns,)
        Such that the mean variance of the columns stays as it is.
    """
    varies = variance > 0
    if n_rows <= n_classes or not varies.any():
        return np.ones(len(variance))
    effect = np.zeros(len(variance))
    effect[varies] = shrunk_epsilon_squared(eta_squared[varies], n_rows, n_classes)
    effect += FLOOR * effect.mean()
    total = effect @ variance
    # 0 where no column tells anything, not finite where values are too large
    return np.sqrt(effect * (variance.sum() / total)) if 0 < total < np.inf else np.ones(len(variance))


def _leave_one_fold_out(scaler, rows, index, row_weight, fold, n_folds):
    """The arguments of :func:`column_relevance` by all rows but those of each fold in turn.

    Parameters
    ----------
    scaler : ColumnScaler
    rows : Rows
    index : ndarray of int64 of shape (n_columns,)
        Positions of the scaler's columns in X.
    row_weight : ndarray of shape (n,)
    fold : ndarray of int64 of shape (n,)
        Fold of every row; ``n_folds`` for those that are in none.
    n_folds : int
    """
    n_classes = int(rows.y.max()) + 1
    shape = n_folds + 1, n_classes
    fold_and_class = fold * n_classes + rows.y  # as one number
    counts, weights = (
        np.bincount(fold_and_class, weights=each, minlength=math.prod(shape)).reshape(shape)
        for each in (None, row_weight)
    )
    class_weights = weights.sum(axis=0) - weights[:n_folds]
    eta_squared, variance = np.empty((2, n_folds, scaler.n_outputs))
    at_once = max(1, _MAX_SUMS // math.prod(shape))
    for columns in consecutive_slices(scaler.n_outputs, at_once):
        sums, squares = _sums(scaler, rows, index, columns, row_weight, fold_and_class, shape)
        for i in range(n_folds):
            without = sums.sum(axis=0) - sums[i], squares.sum(axis=0) - squares[i], class_weights[i]
            eta_squared[i, columns], variance[i, columns] = analysis_of_variance(*without)
    n_rows = len(rows) - counts[:n_folds].sum(axis=1)
    return zip(n_rows, [n_classes] * n_folds, eta_squared, variance, strict=True)


def _sums(scaler, rows, index, columns, row_weight, fold_and_class, shape):
    """Sums of some scaled columns by group and class, (n_groups, n_classes, n_columns), and of their squares by group.

    The groups are the folds and the rows that are in none.

    The columns are shifted, such that the mean of the first rows is 0: then little is lost to rounding.
    """
    n_groups, n_classes = shape
    n_columns, start = columns.stop - columns.start, 0
    sums, squares = np.zeros((n_groups * n_classes, n_columns)), np.zeros((n_groups, n_columns))
    for chunk in dense_chunks(rows, index, rows.X.dtype):
        # sums in float64: rounding by rows that a member holds out would reach it
        x = scaler(torch.from_numpy(chunk)).numpy()[:, columns].astype(np.float64)
        if not start:
            shift = x.mean(axis=0)
        x = x - shift
        some = slice(start, start + len(x))
        sums += indicator(fold_and_class[some], n_groups * n_classes, row_weight[some]) @ x
        squares += indicator(fold_and_class[some] // n_classes, n_groups, row_weight[some]) @ np.square(x)
        start += len(x)
    return sums.reshape(n_groups, n_classes, -1), squares
