"""Whether a fit is worth training in the span of the rows, and on which device the span is computed."""

import math

import torch

from ...devices import can_factorize, free_memory
from ...inputs.batches import n_batches
from ...inputs.matrices import RESIDENT_SHARE
from .branch import span_keys

MAX_VALUES = 2**26
"""Most values of training and validation rows, or of their coordinates where these are more, that are copied densely:
256 MiB of float32. With more than 2**24 weights of columns, as many times more as there are weights."""

MIN_STEPS_TIMES_ROOT_ROWS = 1100
"""A fit of n rows is short below so many steps over sqrt(n): a random sum of n moves comes as far as their root."""

MAX_SHORT_STEPS = 100
"""A fit of as many steps is never short, however few its rows."""

_MAX_WEIGHTS = 2**24  # which with their gradients and both moments take as much memory as MAX_VALUES
_MAX_SHORT_WEIGHTS = 3 * _MAX_WEIGHTS  # of more, training in the columns takes too much memory, however short
_COPIES = 10  # of the rows' values, for which a device needs room to compute the span


def is_worth_spanning(net, training, validation, n_spanned):
    """Whether a block has more columns than rows, the fit is not short, and there is room for its dense rows.

    Parameters
    ----------
    net : DualBranchNet
    training, validation : Rows
        ``validation`` may be None.
    n_spanned : int
        Rows whose span it would be: those to train on, and perhaps others.
    """
    n_rows, n_weights = len(training), _n_column_weights(net.module_)
    n_steps = net.max_epochs * n_batches(n_rows, net.batch_size, net.sampling)
    is_short = (
        n_steps < min(MIN_STEPS_TIMES_ROOT_ROWS / math.sqrt(n_rows), MAX_SHORT_STEPS)
        and n_weights <= _MAX_SHORT_WEIGHTS
    )
    is_wide = max(training.columns.n_columns) > n_spanned
    n_values = _n_values(net.module_, training, validation, n_spanned)
    return is_wide and not is_short and n_values <= MAX_VALUES * max(1, n_weights / _MAX_WEIGHTS)


def _n_column_weights(network):
    """Weights that multiply columns, for which training in the columns needs room."""
    return sum(layer.weight.numel() for branch in network.branches for layer in branch.column_layers)


def span_device(net, training, validation, n_spanned):
    """Where the span is computed: with the network, if the device has what it takes, or else on the host."""
    free, n_values = free_memory(training.device), _n_values(net.module_, training, validation, n_spanned)
    fits = free is not None and _COPIES * n_values * net.dtype.itemsize <= RESIDENT_SHARE * free
    return training.device if fits and can_factorize(training.device) else torch.device("cpu")


def _n_values(network, training, validation, n_spanned):
    """Values of all rows, or of their coordinates where these are more."""
    n_rows, n_columns = len(training) + (0 if validation is None else len(validation)), training.columns.n_columns
    n_coordinates = [
        n_spanned * len(set(span_keys(branch, network.n_members, whitened))) if p > n_spanned else p * (1 + whitened)
        for p, branch, whitened in zip(n_columns, network.branches, network.whitening.changes, strict=True)
    ]
    return n_rows * sum(map(max, n_columns, n_coordinates))
