"""Blocks with more columns than rows: their first weights are trained in the span of the rows, and widened afterwards.

A gradient of weights that multiply columns is a sum of training rows, so gradient descent never leaves the span of the
rows: n weights say all that p > n of them can learn. In coordinates of the span a step costs n / p of what it would,
and Adam, which moves every coordinate alike, moves the outputs by n steps and not by p of them, most of which would
follow noise. The coordinates are turned at random, so that none of them stands for one row, to be learnt by itself.
In a fit of few steps n numbers do not come far, and the way there and back takes longer than it saves: such a fit stays
in the columns (``choice``).

What :meth:`SpanTraining.enter` exchanges in the network, and :meth:`SpanTraining.leave` puts back: both scalers, for
rows come scaled; the first weights and the columns of wide branches (``branch``); the optimizer, which has to know
the parameters that there are.
"""

import numpy as np
import torch
from torch import nn

from ...devices import send
from ...inference import run_in_chunks
from ...inputs.columns import ColumnBlocks
from ...inputs.matrices import matrix_for_training
from ...inputs.rows import Rows
from ...scaling.fitting import center_clipped
from .branch import SpanBranch
from .choice import is_worth_spanning, span_device


class SpanTraining:
    """Makes the first weights of a network coordinates in the span of the training rows, from enter to leave.

    That holds for blocks of more columns than training rows; where it is not worth it, nothing changes.

    Parameters
    ----------
    net : DualBranchNet
        With its columns' statistics set.
    training, validation : Rows
        ``validation`` may be None.

    Attributes
    ----------
    training, validation : Rows
        What to train on and to watch.
    """

    def __init__(self, net, training, validation):
        self.training, self.validation = training, validation
        self._net = net
        self._scalers = net.module_.scalers
        self._branches: list[SpanBranch] = []

    def enter(self, mask, seed, fitted_before):
        """Go to the coordinates, if it is worth it.

        Parameters
        ----------
        mask : ndarray of bool of shape (n_members, n)
            Which training rows each member trains on.
        seed : int
            Of the turn of the coordinates.
        fitted_before : bool
            Whether the network's weights come from an earlier fit.
        """
        if not is_worth_spanning(self._net, self.training, self.validation):
            return
        network, random_generator = self._net.module_, np.random.default_rng(seed)
        device = span_device(self._net, self.training, self.validation)
        blocks = list(run_in_chunks(network, "scale", self.training))
        wide = [number for number, rows in enumerate(blocks) if rows.shape[1] > len(rows)]
        held_out = [np.flatnonzero(~of_member) for of_member in mask]
        for number in wide:
            if not fitted_before:
                center_clipped(self._scalers[number], blocks[number])
            rows = send(torch.from_numpy(blocks[number]), device)
            branch = network.branches[number]
            self._branches.append(SpanBranch(branch, rows, random_generator, fitted_before, held_out))
            blocks[number] = self._branches[-1].coordinates
        self.training = _with_blocks(self.training, blocks)
        if self.validation is not None:
            blocks = list(run_in_chunks(network, "scale", self.validation))
            for number, branch in zip(wide, self._branches, strict=True):
                blocks[number] = branch.coordinates_of(blocks[number])
            self.validation = _with_blocks(self.validation, blocks)
        network.scaler_a, network.scaler_b = nn.Identity(), nn.Identity()
        self._net.initialize_optimizer()

    def drop_held_out(self):
        """Let no weights of a member answer to a direction that only rows have that it holds out.

        There they are 0, or after a warm start what they were before it. What it trains on they score as before; to
        others, its random weights there would be noise.
        """
        for branch in self._branches:
            branch.drop_held_out()

    def leave(self):
        """Give every member weights for all columns, less what :meth:`drop_held_out` drops."""
        if not self._branches:
            return
        network = self._net.module_
        network.scaler_a, network.scaler_b = self._scalers
        self.drop_held_out()
        for branch in self._branches:
            branch.widen()
        self._net.initialize_optimizer()


def _with_blocks(rows, blocks):
    """Rows of the same numbers and labels with other blocks."""
    X = np.hstack(blocks)
    split = blocks[0].shape[1]
    columns = ColumnBlocks(rows.columns.names, (np.arange(split), np.arange(split, X.shape[1])))
    dtype = torch.from_numpy(X[:0]).dtype
    return Rows(X, columns, rows.device, dtype, rows.y, matrix=matrix_for_training(X, rows.device, dtype))
