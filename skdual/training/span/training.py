"""Blocks with more columns than rows: their first weights are trained in the span of the rows, and widened afterwards.

A gradient of weights that multiply columns is a sum of training rows, so gradient descent never leaves the span of the
rows: n weights say all that p > n of them can learn. In coordinates of the span a step costs n / p of what it would,
and Adam, which moves every coordinate alike, moves the outputs by n steps and not by p of them, most of which would
follow noise. The coordinates are turned at random, so that none of them stands for one row, to be learnt by itself.
In a fit of few steps n numbers do not come far, and the way there and back takes longer than it saves: such a fit stays
in the columns (``choice``).

What :meth:`SpanTraining.enter` exchanges in the network, and :meth:`SpanTraining.leave` puts back: both scalers and the
whitening, for rows come scaled and whitened; the first weights and the inputs of wide branches (``branch``); the
optimizer, which has to know the parameters that there are.
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
from ...scaling.whitening import Whitening
from .branch import SideBySide, SpanBranch
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
        self._scalers, self._whitening = net.module_.scalers, net.module_.whitening
        self._branches: dict[int, SpanBranch] = {}

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
        # an earlier fit may have learnt of directions that training rows have not, and validation rows have
        spans_validation = fitted_before and self.validation is not None
        n_rows = len(self.training)
        n_spanned = n_rows + (len(self.validation) if spans_validation else 0)
        if not is_worth_spanning(self._net, self.training, self.validation, n_spanned):
            return
        network, random_generator = self._net.module_, np.random.default_rng(seed)
        device = span_device(self._net, self.training, self.validation, n_spanned)
        held_out = [np.append(np.flatnonzero(~of_member), np.arange(n_rows, n_spanned)) for of_member in mask]
        wide = [number for number, p in enumerate(self.training.columns.n_columns) if p > n_spanned]
        scaled = list(run_in_chunks(network, "scale", self.training))
        if not fitted_before:
            for number in wide:
                center_clipped(self._scalers[number], scaled[number])
        # of training and of validation rows
        data_sets = [(scaled, self._whitened(self.training))]
        if self.validation is not None:
            data_sets.append((list(run_in_chunks(network, "scale", self.validation)), self._whitened(self.validation)))
        for number in wide:
            pairs = [_on_device(blocks[number], whitened[number], device) for blocks, whitened in data_sets]
            rows, of_plain = map(_joined, *pairs) if spans_validation else pairs[0]
            branch = SpanBranch(network.branches[number], rows, of_plain, random_generator, fitted_before, held_out)
            coordinates = [branch.coordinates[:n_rows]]
            if self.validation is not None:
                watched = branch.coordinates[n_rows:] if spans_validation else branch.coordinates_of(*pairs[1])
                coordinates.append(watched)
            for (blocks, whitened), of_set in zip(data_sets, coordinates, strict=True):
                blocks[number], whitened[number] = of_set, None
            self._branches[number] = branch
        self.training = _with_blocks(self.training, *data_sets[0])
        if self.validation is not None:
            self.validation = _with_blocks(self.validation, *data_sets[1])
        network.scaler_a, network.scaler_b = nn.Identity(), nn.Identity()
        network.whitening = Whitening((0, 0), (0, 0, 0))
        for branch, of_plain in zip(network.branches, data_sets[0][1], strict=True):
            if of_plain is not None:
                branch.inputs = SideBySide(branch.inputs)
        self._net.initialize_optimizer()

    def _whitened(self, rows):
        """Both blocks as the plain members take them; None for those that are not whitened."""
        changes = self._whitening.changes
        if not any(changes):
            return [None, None]
        blocks = run_in_chunks(self._net.module_, "scale_and_whiten", rows)
        return [block if changed else None for block, changed in zip(blocks, changes, strict=True)]

    def drop_held_out(self):
        """Let no weights of a member answer to a direction that only rows have that it holds out.

        There they are 0, or after a warm start what they were before it, where validation rows count as held out by all
        members. What it trains on they score as before; to others, its random weights there would be noise.
        """
        for branch in self._branches.values():
            branch.drop_held_out()

    def leave(self):
        """Give every member weights for all columns, less what :meth:`drop_held_out` drops."""
        if not self._branches:
            return
        network = self._net.module_
        network.scaler_a, network.scaler_b = self._scalers
        network.whitening = self._whitening
        self.drop_held_out()
        for branch in self._branches.values():
            branch.widen()
        for branch in network.branches:
            if isinstance(branch.inputs, SideBySide):
                branch.inputs = branch.inputs.inner
        self._net.initialize_optimizer()


def _on_device(rows, whitened, device):
    """Arrays as tensors; the second may be None."""
    return [None if x is None else send(torch.from_numpy(x), device) for x in (rows, whitened)]


def _joined(rows, others):
    """One below the other; None where there are none."""
    return None if rows is None else torch.cat([rows, others])


def _with_blocks(rows, blocks, whitened):
    """Rows of the same numbers and labels with other blocks, those beside whitened ones where these are not None."""
    blocks = [block if w is None else np.hstack([w, block]) for block, w in zip(blocks, whitened, strict=True)]
    X = np.hstack(blocks)
    split = blocks[0].shape[1]
    columns = ColumnBlocks(rows.columns.names, (np.arange(split), np.arange(split, X.shape[1])))
    dtype = torch.from_numpy(X[:0]).dtype
    return Rows(X, columns, rows.device, dtype, rows.y, matrix=matrix_for_training(X, rows.device, dtype))
