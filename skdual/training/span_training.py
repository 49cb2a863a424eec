"""Blocks with more columns than rows: their first weights are trained in the span of the rows, and widened afterwards.

A gradient of weights that multiply columns is a sum of training rows, so gradient descent never leaves the span of the
rows: n weights say all that p > n of them can learn. In coordinates of the span a step costs n / p of what it would,
and Adam, which moves every coordinate alike, moves the outputs by n steps and not by p of them, most of which would
follow noise. The coordinates are turned at random, so that none of them stands for one row, to be learnt by itself.
In a fit of few steps n numbers do not come far, and the way there and back takes longer than it saves: such a fit stays
in the columns.
"""

import math

import numpy as np
import torch
from torch import nn

from ..devices import can_factorize, free_memory, send
from ..inference import run_in_chunks
from ..inputs.batches import n_batches
from ..inputs.columns import ColumnBlocks
from ..inputs.matrices import RESIDENT_SHARE, matrix_for_training
from ..inputs.rows import Rows
from ..network.members import in_product_dtype, member_halves
from .row_span import RowSpan

MAX_VALUES = 2**26
"""Most values of training and validation rows, or of their coordinates where these are more, that are copied densely:
256 MiB of float32."""

MIN_WAY = 1100
"""A fit of n rows is short below MIN_WAY / sqrt(n) steps: a random sum of n moves comes as far as their root."""

MAX_SHORT_STEPS = 100
"""A fit of as many steps is never short, however few its rows."""

_COPIES = 10  # of the rows' values, for which a device needs room to compute the span


class SpanTraining:
    """Makes the first weights of a network coordinates in the span of the training rows, until :meth:`leave`.

    That holds for blocks of more columns than training rows; where there is none, beyond ``MAX_VALUES``, and for a fit
    of few steps (fewer than ``MIN_WAY`` / sqrt(n) and ``MAX_SHORT_STEPS``), nothing changes.

    Parameters
    ----------
    net : DualBranchNet
        With its columns' statistics set. In the span its module takes rows that are scaled already.
    training, validation : Rows
        ``validation`` may be None.
    mask : ndarray of bool of shape (n_members, n)
        Which training rows each member trains on.
    seed : int
    fitted_before : bool
        Whether the network's weights come from an earlier fit.

    Attributes
    ----------
    training, validation : Rows
        What to train on and to watch.
    """

    def __init__(self, net, training, validation, mask, seed, fitted_before):
        self.training, self.validation = training, validation
        self._net = net
        self._scalers = net.module_.scaler_a, net.module_.scaler_b
        self._branches: list[_SpanBranch] = []
        if max(training.columns.n_columns) > len(training) and not _is_short(net, len(training)):
            n_values = _n_values(net.module_, training, validation)
            if n_values <= MAX_VALUES:
                device = _device_for(training, n_values, net.dtype)
                self._enter(device, mask, np.random.default_rng(seed), fitted_before)

    def _enter(self, device, mask, random_generator, fitted_before):
        network = self._net.module_
        blocks = list(run_in_chunks(network, "scale", self.training))
        wide = [number for number, rows in enumerate(blocks) if rows.shape[1] > len(rows)]
        held_out = [np.flatnonzero(~of_member) for of_member in mask]
        for number in wide:
            if not fitted_before:
                _center_clipped(self._scalers[number], blocks[number])
            rows = send(torch.from_numpy(blocks[number]), device)
            branch = (network.branch_a, network.branch_b)[number]
            self._branches.append(_SpanBranch(branch, rows, random_generator, fitted_before, held_out))
            blocks[number] = self._branches[-1].coordinates
        self.training = _joined(self.training, blocks)
        if self.validation is not None:
            blocks = list(run_in_chunks(network, "scale", self.validation))
            for number, branch in zip(wide, self._branches, strict=True):
                blocks[number] = branch.coordinates_of(blocks[number])
            self.validation = _joined(self.validation, blocks)
        network.scaler_a, network.scaler_b = nn.Identity(), nn.Identity()
        self._net.initialize_optimizer()  # for the parameters that there are now

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


def _is_short(net, n_rows):
    """Whether a fit has so few steps that it comes further in the columns."""
    n_steps = net.max_epochs * n_batches(n_rows, net.batch_size, net.sampling)
    return n_steps < min(MIN_WAY / math.sqrt(n_rows), MAX_SHORT_STEPS)


def _n_values(network, training, validation):
    """Values of all rows, or of their coordinates where these are more."""
    n_rows, n_columns = len(training), training.columns.n_columns
    n_coordinates = [
        n_rows * len(_relevance_of_spans(branch)) if p > n_rows else 0
        for p, branch in zip(n_columns, (network.branch_a, network.branch_b), strict=True)
    ]
    return (n_rows + (0 if validation is None else len(validation))) * sum(map(max, n_columns, n_coordinates))


def _device_for(rows, n_values, dtype):
    """Where the span is computed: with the network, if the device has what it takes, or else on the host."""
    free = free_memory(rows.device)
    fits = free is not None and _COPIES * n_values * dtype.itemsize <= RESIDENT_SHARE * free
    return rows.device if fits and can_factorize(rows.device) else torch.device("cpu")


def _center_clipped(scaler, rows):
    """Let a scaler that clips values, and rows that it scaled, lose the mean: it would be the largest coordinate."""
    if scaler.clipped:
        mean = rows.mean(axis=0, dtype=np.float64).astype(rows.dtype)
        scaler.set_clipped_mean(mean)
        rows -= mean


def _relevance_of_spans(branch):
    """What the columns are multiplied by in each span that a branch has members for; None in that of several."""
    relevance = branch.columns.relevance
    if relevance is None:
        return [None]
    plain, regularized = member_halves(len(relevance))
    return [None] * (plain.stop > 0) + list(relevance[regularized])


class _SpanCoordinates(nn.Module):
    """Rows as coordinates in several spans, in the place of :class:`~skdual.network.members.MemberColumns`.

    A row has ``n_coordinates`` for the plain members together, if there are any, and as many for each of the others.
    """

    def __init__(self, n_coordinates):
        super().__init__()
        self.n_coordinates = n_coordinates

    def forward(self, n_members, x, mixed=None):
        """As of :class:`~skdual.network.members.MemberColumns`."""
        mixed = x if mixed is None else mixed
        plain, regularized = member_halves(n_members)
        shared = self.n_coordinates * (plain.stop > 0)
        own = mixed[:, shared:].unflatten(1, (-1, self.n_coordinates)).transpose(0, 1)
        return in_product_dtype((x[:, :shared], plain), (own[: n_members - plain.stop], regularized))


class _SpanBranch:
    """A branch whose first weights, of the hidden layers and of the shortcut, are coordinates in spans of rows.

    Members that multiply the columns by a relevance of their own have a span of their own.

    Parameters
    ----------
    branch : BranchEncoder
    rows : tensor of shape (n, p)
    random_generator : numpy.random.Generator
    fitted_before : bool
    held_out : list of ndarray of int64
        Numbers of the rows that each member does not train on.

    Attributes
    ----------
    coordinates : ndarray of shape (n, n_spans * n)
        Of the rows themselves.
    """

    def __init__(self, branch, rows, random_generator, fitted_before, held_out):
        self._branch, self._columns = branch, branch.columns
        self._layers = branch.column_layers
        self._relevance = [r if r is None else r.to(rows.device) for r in _relevance_of_spans(branch)]
        self._spans = [RowSpan(rows, random_generator, relevance) for relevance in self._relevance]
        shared = len(held_out) + 1 - len(self._spans)  # so many members have the first span
        self._span_of_member = [self._spans[0]] * shared + self._spans[1:]
        pairs = zip(self._span_of_member, held_out, strict=True)
        self._held_out = [span.directions_of(numbers) for span, numbers in pairs]
        self._scale = math.sqrt(len(rows) / rows.shape[1])  # such that mean squares stay as they are
        self._device = rows.device
        self._initial_weights: torch.Tensor | None = self._weights() if fitted_before else None
        if self._initial_weights is not None:
            coordinates = torch.stack([self._spans[0].project(weights) for weights in self._initial_weights])
            self._before: torch.Tensor | float = coordinates / self._scale
        else:
            # new weights are distributed alike in all directions: any n of their numbers are as good as projections
            coordinates = self._weights(slice(len(rows)))
            self._before = 0.0
        self._replace(coordinates / self._scale)
        if self._columns.relevance is not None:
            branch.columns = _SpanCoordinates(len(rows))
        self.coordinates = self._on_host([span.coordinates for span in self._spans])

    def _weights(self, columns=slice(None)):
        """Those of both layers, (n_members, units of both, columns)."""
        return torch.cat([layer.weight.detach()[:, :, columns].to(self._device) for layer in self._layers], dim=1)

    def _by_layer(self, weights):
        """Pairs of a layer and its part of the weights of both."""
        sizes = [layer.weight.shape[1] for layer in self._layers]
        return zip(self._layers, weights.split(sizes, dim=1), strict=True)

    def _replace(self, weights):
        """Give the layers other weights, of another width."""
        for layer, of_layer in self._by_layer(weights):
            own = of_layer.clone(memory_format=torch.contiguous_format)
            layer.weight = nn.Parameter(own.to(layer.weight.device))

    def _on_host(self, coordinates):
        return torch.cat(coordinates, dim=1).mul_(self._scale).cpu().numpy()

    def coordinates_of(self, rows):
        """Those of other rows, an array of shape (m, p)."""
        rows = send(torch.from_numpy(rows), self._device)
        pairs = zip(self._spans, self._relevance, strict=True)
        return self._on_host([span.project(rows if r is None else rows * r) for span, r in pairs])

    def drop_held_out(self):
        """As :meth:`SpanTraining.drop_held_out`, in place."""
        if not any(map(len, self._held_out)):
            return
        pairs = zip(self._weights() - self._before, self._held_out, strict=True)
        dropped = torch.stack([learnt @ directions.T @ directions for learnt, directions in pairs])
        for layer, of_layer in self._by_layer(dropped):
            layer.weight.detach().sub_(of_layer.to(layer.weight.device))

    def widen(self):
        """Give the layers weights for all columns."""
        pairs = zip(self._span_of_member, (self._weights() - self._before) * self._scale, strict=True)
        widened = torch.stack([span.expand(learnt) for span, learnt in pairs])
        self._replace(widened if self._initial_weights is None else self._initial_weights + widened)
        self._branch.columns = self._columns


def _joined(rows, blocks):
    """Rows of the same numbers and labels with other blocks."""
    X = np.hstack(blocks)
    split = blocks[0].shape[1]
    columns = ColumnBlocks(rows.columns.names, (np.arange(split), np.arange(split, X.shape[1])))
    dtype = torch.from_numpy(X[:0]).dtype
    return Rows(X, columns, rows.device, dtype, rows.y, matrix=matrix_for_training(X, rows.device, dtype))
