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
from ..inputs.columns import ColumnBlocks
from ..inputs.matrices import RESIDENT_SHARE, matrix_for_training
from ..inputs.rows import Rows
from ..network.members import member_halves
from ..network.products import linear
from .folds import trained_rows
from .inference import run_in_chunks

MAX_CELLS = 2**26
"""Cells of training and validation rows, or of their coordinates where these are more, of which no dense copy is made
beyond: 256 MiB of float32."""

MIN_WAY = 1100
"""Steps times the root of the rows, with which the way of a random sum of n moves grows, below which a fit is short."""

MAX_SHORT_STEPS = 100
"""Steps from which on no fit is short, however few its rows."""

_N_ROWS, _N_COLUMNS = 512, 2048  # of products that are computed at one time
_COPIES = 10  # of the rows' cells, for which a device needs room to compute the span


class RowSpan:
    """Coordinates of vectors in the span of some rows, in an orthonormal basis that is turned at random.

    The basis is that of a Cholesky factor of the rows' inner products (Gram-Schmidt, in one step), turned by random
    signs and a Hartley transform, the real form of Fourier's (after Ailon & Chazelle, 2009).

    Parameters
    ----------
    rows : tensor of shape (n, p), float32 or float64
    random_generator : numpy.random.Generator
    relevance : tensor of shape (1, p), optional
        What the columns of the rows are multiplied by first. No copy is made of the rows.

    Attributes
    ----------
    coordinates : tensor of shape (n, n)
        Of the rows themselves.
    """

    def __init__(self, rows, random_generator, relevance=None):
        self._rows, self._relevance = rows, relevance
        lengths = [torch.linalg.vector_norm(columns, dim=1, keepdim=True) for columns in self._columns()]
        length = torch.linalg.vector_norm(torch.stack(lengths), dim=0)
        self._length = torch.where(length == 0, 1, length)
        self._factor = self._factorize().to(rows.dtype)
        signs = random_generator.choice(np.array([-1.0, 1.0]), len(rows))
        self._signs = send(torch.from_numpy(signs), rows.device, rows.dtype)
        self.coordinates = self._turn(length * self._factor)

    def _columns(self):
        """The rows with their columns multiplied, some columns at a time."""
        for some in self._parts():
            yield self._multiplied(self._rows[:, some], some)

    def _parts(self):
        """Slices of the columns that are computed with at one time."""
        return (slice(start, start + _N_COLUMNS) for start in range(0, self._rows.shape[1], _N_COLUMNS))

    def _factorize(self):
        """Cholesky factor of the inner products of the rows at unit length."""
        # rows may be dependent, as they are where columns are centred; 1e-5 in float32
        ridge = torch.finfo(self._rows.dtype).eps ** 0.7
        factor, failed = torch.linalg.cholesky_ex(self._products(self._rows.dtype, ridge))
        if not failed:
            return factor
        # rounding took more from the products than the ridge gave
        return torch.linalg.cholesky(self._products(torch.float64, ridge))

    def _products(self, dtype, ridge):
        """The lower half of these inner products, computed in ``dtype``."""
        n_rows = len(self._rows)
        products = torch.zeros(n_rows, n_rows, dtype=dtype, device=self._rows.device)
        products.diagonal().fill_(ridge)
        for columns in self._columns():
            columns = (columns / self._length).to(dtype)
            for start in range(0, n_rows, _N_ROWS):
                some = slice(start, start + _N_ROWS)
                products[start:, some] += linear(columns[start:], columns[some])
        return products

    def _turn(self, coordinates):
        return _hartley(coordinates * self._signs)

    def _turn_back(self, coordinates):
        return _hartley(coordinates) * self._signs

    def project(self, vectors):
        """Coordinates of the part of vectors that lies in the span, (m, p) -> (m, n)."""
        products = linear(self._rows, self._multiplied(vectors)) / self._length
        return self._turn(torch.linalg.solve_triangular(self._factor, products, upper=False).T)

    def _multiplied(self, vectors, columns=slice(None)):
        return vectors if self._relevance is None else vectors * self._relevance[:, columns]

    def expand(self, coordinates, without=()):
        """The vectors of given coordinates, (m, n) -> (m, p), less what is orthogonal to all rows but some.

        Parameters
        ----------
        coordinates : tensor of shape (m, n)
        without : ndarray of int64, optional
            Numbers of the rows that do not count.
        """
        coordinates = self._turn_back(coordinates)
        if len(without):
            # column j of the factor's inverse is orthogonal to every row of the factor but the j-th
            unit = torch.zeros(len(self._factor), len(without), dtype=coordinates.dtype, device=coordinates.device)
            unit[without, np.arange(len(without))] = 1
            alone, _ = torch.linalg.qr(torch.linalg.solve_triangular(self._factor, unit, upper=False))
            coordinates = coordinates - coordinates @ alone @ alone.T
        weights = torch.linalg.solve_triangular(self._factor, coordinates, upper=False, left=False)
        weights = weights / self._length.T
        vectors = weights.new_empty(len(weights), self._rows.shape[1])
        for some in self._parts():
            vectors[:, some] = self._multiplied(linear(weights, self._rows[:, some].T), some)
        return vectors


def _hartley(x):
    """The orthonormal Hartley transform of every row, which is its own inverse."""
    transformed = torch.empty_like(x)
    for some, result in zip(x.split(_N_ROWS), transformed.split(_N_ROWS), strict=True):
        spectrum = torch.fft.fft(some, norm="ortho")
        torch.sub(spectrum.real, spectrum.imag, out=result)
    return transformed


def enter_row_span(net, training, validation, seed, fitted_before):
    """Make the first weights of a network coordinates in the span of the training rows.

    That holds for blocks of more columns than training rows; where there is none, beyond ``MAX_CELLS``, and for a fit
    of few steps (fewer than ``MIN_WAY`` / sqrt(n) and ``MAX_SHORT_STEPS``), nothing changes.

    Parameters
    ----------
    net : DualBranchNet
        With its columns' statistics set. In the span its module takes rows that are scaled already.
    training, validation : Rows
        ``validation`` may be None.
    seed : int
    fitted_before : bool
        Whether the network's weights come from an earlier fit.

    Returns
    -------
    training, validation : Rows
        What to train on and to watch in the span.
    leave : callable
        Gives every member weights for all columns. They answer to no direction that it had no row in: there they are 0,
        or after a warm start what they were before it.
    """
    network, n_rows, widths = net.module_, len(training), training.columns.widths
    branches, scalers = (network.branch_a, network.branch_b), (network.scaler_a, network.scaler_b)
    n_coordinates = [
        n_rows * len(_relevance_of_spans(branch)) if w > n_rows else 0
        for w, branch in zip(widths, branches, strict=True)
    ]
    n_cells = (n_rows + (0 if validation is None else len(validation))) * sum(map(max, widths, n_coordinates))
    is_short = net.max_epochs * n_rows / net.batch_size < min(MIN_WAY / math.sqrt(n_rows), MAX_SHORT_STEPS)
    if max(widths) <= n_rows or n_cells > MAX_CELLS or is_short:
        return training, validation, lambda: None
    random_generator = np.random.default_rng(seed)
    device = _device_for(training, n_cells, net.dtype)
    blocks = run_in_chunks(network, "scale", training)
    for scaler, rows in zip(scalers, blocks, strict=True):
        if rows.shape[1] > n_rows and scaler.limited and not fitted_before:
            # what all rows have in common would be the largest of the coordinates
            mean = rows.mean(axis=0, dtype=np.float64).astype(rows.dtype)
            scaler.set_limited_mean(mean)
            rows -= mean
    narrowed = [
        _NarrowedBranch(branch, send(torch.from_numpy(rows), device), random_generator, fitted_before)
        if rows.shape[1] > n_rows
        else None
        for branch, rows in zip(branches, blocks, strict=True)
    ]
    trained = [rows if branch is None else branch.coordinates for rows, branch in zip(blocks, narrowed, strict=True)]
    del blocks, rows
    if validation is not None:
        watched = run_in_chunks(network, "scale", validation)
        validation = _joined(
            validation,
            [rows if branch is None else branch.locate(rows) for rows, branch in zip(watched, narrowed, strict=True)],
        )
    network.scaler_a, network.scaler_b = nn.Identity(), nn.Identity()
    net.initialize_optimizer()  # for the parameters that there are now

    def leave():
        network.scaler_a, network.scaler_b = scalers
        held_out = [np.flatnonzero(~of_member) for of_member in trained_rows(network, training.y)]
        for branch in filter(None, narrowed):
            branch.widen(held_out)
        net.initialize_optimizer()

    return _joined(training, trained), validation, leave


def _device_for(rows, n_cells, dtype):
    """Where the span is computed: with the network, if the device has what it takes, or else on the host."""
    free = free_memory(rows.device)
    fits = free is not None and _COPIES * n_cells * dtype.itemsize <= RESIDENT_SHARE * free
    return rows.device if fits and can_factorize(rows.device) else torch.device("cpu")


def _relevance_of_spans(branch):
    """What the columns are multiplied by in each span that a branch has members for; None in that of several."""
    relevance = branch.columns.relevance
    if relevance is None:
        return [None]
    plain, regularized = member_halves(len(relevance))
    return [None] * (plain.stop > 0) + list(relevance[regularized])


class _NarrowedBranch:
    """A branch whose first weights, of the hidden layers and of the shortcut, are coordinates in spans of rows.

    Members that multiply the columns by a relevance of their own have a span of their own.
    """

    def __init__(self, branch, rows, random_generator, fitted_before):
        self._layers, self._columns = branch.column_layers, branch.columns
        self._relevance = [w if w is None else w.to(rows.device) for w in _relevance_of_spans(branch)]
        self._spans = [RowSpan(rows, random_generator, w) for w in self._relevance]
        self._scale = math.sqrt(len(rows) / rows.shape[1])  # such that mean squares stay as they are
        self._device = rows.device
        self._starts: torch.Tensor | None = self._weights() if fitted_before else None
        if self._starts is not None:
            members = torch.stack([self._spans[0].project(weights) for weights in self._starts])
        else:
            # new weights are distributed alike in all directions: any n of their numbers are as good as projections
            members = self._weights(slice(len(rows)))
        self._replace(members / self._scale)
        if self._columns.relevance is not None:
            self._columns.n_coordinates = len(rows)
        self.coordinates = self._on_host([span.coordinates for span in self._spans])

    def _weights(self, columns=slice(None)):
        """Those of both layers, (n_members, units of both, columns)."""
        return torch.cat([layer.weight.detach()[:, :, columns].to(self._device) for layer in self._layers], dim=1)

    def _replace(self, weights):
        """Give the layers other weights, of another width."""
        sizes = [layer.weight.shape[1] for layer in self._layers]
        for layer, of_layer in zip(self._layers, weights.split(sizes, dim=1), strict=True):
            own = of_layer.clone(memory_format=torch.contiguous_format)
            layer.weight = nn.Parameter(own.to(layer.weight.device))

    def _on_host(self, coordinates):
        return torch.cat(coordinates, dim=1).mul_(self._scale).cpu().numpy()

    def locate(self, rows):
        """Coordinates of other rows, an array."""
        rows = send(torch.from_numpy(rows), self._device)
        pairs = zip(self._spans, self._relevance, strict=True)
        return self._on_host([span.project(rows if w is None else rows * w) for span, w in pairs])

    def widen(self, held_out):
        """Give the layers weights for all columns; ``held_out`` has the rows that each member has not trained on."""
        shared = len(held_out) + 1 - len(self._spans)  # so many members have the first span
        spans = [self._spans[0]] * shared + self._spans[1:]
        learnt = self._weights() * self._scale
        if self._starts is not None:
            learnt -= torch.stack([self._spans[0].project(start) for start in self._starts])
        widened = torch.stack(
            [span.expand(weights, without) for span, weights, without in zip(spans, learnt, held_out, strict=True)]
        )
        self._replace(widened if self._starts is None else self._starts + widened)
        self._columns.n_coordinates = None


def _joined(rows, blocks):
    """Rows of the same numbers and labels with other blocks."""
    X = np.hstack(blocks)
    split = blocks[0].shape[1]
    columns = ColumnBlocks(rows.columns.names, (np.arange(split), np.arange(split, X.shape[1])))
    dtype = torch.from_numpy(X[:0]).dtype
    return Rows(X, columns, rows.device, dtype, rows.y, matrix=matrix_for_training(X, rows.device, dtype))
