"""Analysis of variance: how much of the variance of columns lies between the classes."""

import math

import numpy as np
import scipy.sparse as sp
from scipy.special import ndtr

_ROUNDING = 1e-9  # share of its squares below which a variance is rounding


def indicator(cell, n_cells, row_weight):
    """Sparse matrix (n_cells, n) that sums weighted rows by cell."""
    n_rows = len(cell)
    return sp.csc_matrix((row_weight, cell, np.arange(n_rows + 1)), (n_cells, n_rows))


def analysis_of_variance(class_sums, squares, class_weights):
    """Eta squared, the sum of squares between classes as a share of the total one, and the variance of columns.

    Parameters
    ----------
    class_sums : ndarray of shape (n_classes, n_columns)
        Weighted sums of the rows of each class.
    squares : ndarray of shape (n_columns,)
        Weighted sums of the squares of all rows.
    class_weights : ndarray of shape (n_classes,) or (n_classes, n_columns)
        Weight of all rows of a class together.
    """
    class_weights = class_weights.reshape(len(class_sums), -1)
    total_weight = class_weights.sum(axis=0)
    of_mean = np.square(class_sums.sum(axis=0)) / total_weight
    ss_total = squares - of_mean
    ss_total[ss_total < _ROUNDING * squares] = 0
    ss_between = (np.square(class_sums) / np.where(class_weights > 0, class_weights, 1)).sum(axis=0) - of_mean
    return ss_between / np.where(ss_total > 0, ss_total, 1), ss_total / total_weight


def chance_variance(n_rows, n_classes):
    """Variance of the epsilon squared of normal columns that tell nothing."""
    by_chance = (n_classes - 1) / (n_rows - 1)
    # their eta squared has a beta distribution, whose mean is by_chance
    return 2 * by_chance / ((1 - by_chance) * (n_rows + 1))


def shrunk_epsilon_squared(eta_squared, n_rows, n_classes):
    """How well each column is thought to tell the classes.

    The effect size is epsilon squared (Kelley, 1935): the share of a column's variance that lies between classes, eta
    squared, less what this is by chance. Few rows show it through noise, so it is the posterior mean of max(0, epsilon
    squared), which is normal over the columns (empirical Bayes; Morris, 1983).

    Parameters
    ----------
    eta_squared : ndarray of shape (n_columns,)
    n_rows, n_classes : int or ndarray of int of shape (n_columns,)
        More rows than classes.

    Returns
    -------
    effect : ndarray of shape (n_columns,)
    """
    by_chance = (n_classes - 1) / (n_rows - 1)
    effect = (eta_squared - by_chance) / (1 - by_chance)
    noise_variance = chance_variance(n_rows, n_classes)
    prior_mean = max(0.0, effect.mean())
    prior_variance = max(0.0, np.mean(np.square(effect - prior_mean)) - np.mean(noise_variance))
    mean = prior_mean + prior_variance / (prior_variance + noise_variance) * (effect - prior_mean)
    if not prior_variance:
        return np.maximum(0, mean)
    std = np.sqrt(prior_variance * noise_variance / (prior_variance + noise_variance))
    z = mean / std
    return mean * ndtr(z) + std * np.exp(-np.square(z) / 2) / math.sqrt(2 * math.pi)
