"""Blocks with more columns than rows: their first weights are trained in the span of the rows, and widened afterwards.

A gradient of weights that multiply columns is a sum of training rows, so gradient descent never leaves the span of the
rows: n weights say all that p > n of them can learn. In coordinates of the span a step costs n / p of what it would,
and Adam, which moves every coordinate alike, moves the outputs by n steps and not by p of them, most of which would
follow noise. The coordinates are turned at random, so that none of them stands for one row, to be learnt by itself.
"""

from contextlib import contextmanager

import numpy as np
import torch
from scipy.fft import dct, idct
from scipy.linalg import LinAlgError, cholesky, qr, solve_triangular
from torch import nn

from ..devices import send
from ..inputs.columns import ColumnBlocks
from ..inputs.matrices import matrix_for_training
from ..inputs.rows import Rows
from .calibration import held_out_folds
from .inference import run_in_chunks

MAX_CELLS = 2**26
"""Cells of training and validation rows, 256 MiB of float32, beyond which no dense copy of them is made."""

_WIDTH = 1024  # columns whose inner products are added to the sum at one time


class RowSpan:
    """Coordinates of vectors in the span of some rows, in an orthonormal basis that is turned at random.

    The basis is that of a Cholesky factor of the rows' inner products (Gram-Schmidt, in one step), turned by random
    signs and a cosine transform (Ailon & Chazelle, 2009).

    Parameters
    ----------
    rows : ndarray of shape (n, p), float32 or float64
    random_generator : numpy.random.Generator

    Attributes
    ----------
    coordinates : ndarray of shape (n, n)
        Of the rows themselves.
    """

    def __init__(self, rows, random_generator):
        with np.errstate(over="ignore"):
            length = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, np.newaxis]
        self._rows = rows / np.where(length == 0, 1, length)
        self._factor = self._factorize().astype(rows.dtype, copy=False)
        self._signs = random_generator.choice(np.array([-1, 1], dtype=rows.dtype), len(rows))
        with np.errstate(over="ignore", invalid="ignore"):  # the first epoch says that its loss is not finite
            self.coordinates = self._turn(length * self._factor)

    def _factorize(self):
        """Cholesky factor of the rows' inner products."""
        # rows may be dependent, as they are where columns are centred; 1e-5 in float32
        ridge = float(np.finfo(self._rows.dtype).eps) ** 0.7
        try:
            return cholesky(self._products(self._rows.dtype, ridge), lower=True, overwrite_a=True, check_finite=False)
        except LinAlgError:  # rounding took more from the products than the ridge gave
            return cholesky(self._products(np.float64, ridge), lower=True, overwrite_a=True, check_finite=False)

    def _products(self, dtype, ridge):
        """The rows' inner products, summed in float64 over runs of columns, each of which is computed in ``dtype``."""
        products = np.zeros((len(self._rows),) * 2)
        np.fill_diagonal(products, ridge)
        for at in range(0, self._rows.shape[1], _WIDTH):
            part = self._rows[:, at : at + _WIDTH].astype(dtype, copy=False)
            products += part @ part.T
        return products

    def _turn(self, coordinates):
        return dct(coordinates * self._signs, norm="ortho")

    def _turn_back(self, coordinates):
        return idct(coordinates, norm="ortho") * self._signs

    def project(self, vectors):
        """Coordinates of the part of vectors that lies in the span, (m, p) -> (m, n)."""
        return self._turn(solve_triangular(self._factor, self._rows @ vectors.T, lower=True, check_finite=False).T)

    def expand(self, coordinates, without=()):
        """The vectors of given coordinates, (m, n) -> (m, p), less what is orthogonal to all rows but some.

        Parameters
        ----------
        coordinates : ndarray of shape (m, n)
        without : ndarray of int64, optional
            Numbers of the rows that do not count.
        """
        coordinates = self._turn_back(coordinates)
        if len(without):
            # column j of the factor's inverse is orthogonal to every row of the factor but the j-th
            unit = np.zeros((len(self._factor), len(without)), dtype=self._factor.dtype)
            unit[without, np.arange(len(without))] = 1
            alone, _ = qr(solve_triangular(self._factor, unit, lower=True, check_finite=False), mode="economic")
            coordinates = coordinates - coordinates @ alone @ alone.T
        return solve_triangular(self._factor, coordinates.T, lower=True, trans="T", check_finite=False).T @ self._rows


@contextmanager
def in_row_span(net, training, validation, seed, fitted_before):
    """Within the block, a network whose first weights are coordinates in the span of the training rows.

    That holds for blocks of more columns than training rows; where there is none, and beyond ``MAX_CELLS``, nothing
    changes. At the end every member gets weights for all columns. They answer to no direction that it had no row in:
    there they are 0, or after a warm start what they were before it.

    Parameters
    ----------
    net : DualBranchNet
        With its columns' statistics set. Within the block its module takes rows that are scaled already.
    training, validation : Rows
        ``validation`` may be None.
    seed : int
    fitted_before : bool
        Whether the network's weights come from an earlier fit.

    Yields
    ------
    training, validation : Rows
        What to train on and to watch within the block.
    """
    n_rows, widths = len(training), training.columns.widths
    n_cells = (n_rows + (0 if validation is None else len(validation))) * sum(widths)
    if max(widths) <= n_rows or n_cells > MAX_CELLS:
        yield training, validation
        return
    network, random_generator = net.module_, np.random.default_rng(seed)
    blocks = run_in_chunks(network, "scale", training)
    branches, scalers = (network.branch_a, network.branch_b), (network.scaler_a, network.scaler_b)
    for scaler, rows in zip(scalers, blocks, strict=True):
        if rows.shape[1] > n_rows and getattr(scaler, "limited", False) and not fitted_before:
            # what all rows have in common would be the largest of the coordinates
            mean = rows.mean(axis=0, dtype=np.float64).astype(rows.dtype)
            scaler.centre(mean)
            rows -= mean
    narrowed = [
        _NarrowedBranch(branch, rows, random_generator, fitted_before) if rows.shape[1] > n_rows else None
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
    yield _joined(training, trained), validation
    network.scaler_a, network.scaler_b = scalers
    folds = held_out_folds(training.y, network.n_held_out_folds)
    held_out = [np.flatnonzero(folds == fold) for fold in network.member_folds]
    for branch in filter(None, narrowed):
        branch.widen(held_out)
    net.initialize_optimizer()


class _NarrowedBranch:
    """A branch whose first weights, of the hidden layers and of the shortcut, are coordinates in a span of rows."""

    def __init__(self, branch, rows, random_generator, fitted_before):
        self._span = RowSpan(rows, random_generator)
        self._scale = np.sqrt(len(rows) / rows.shape[1]).astype(rows.dtype)  # such that mean squares stay as they are
        self._layers = branch.column_layers
        starts = [_weights(layer) for layer in self._layers]
        for layer, members in zip(self._layers, starts, strict=True):
            if fitted_before:
                members = [self._span.project(weights) for weights in members]
            else:
                # new weights are distributed alike in all directions: any n of their numbers are as good as projections
                members = members[:, :, : len(rows)]
            _replace(layer, members / self._scale)
        self._fitted_before = starts if fitted_before else None
        self.coordinates = self._span.coordinates * self._scale

    def locate(self, rows):
        """Coordinates of other rows."""
        return self._span.project(rows) * self._scale

    def widen(self, held_out):
        """Give the layers weights for all columns; ``held_out`` has the rows that each member has not trained on."""
        for at, layer in enumerate(self._layers):
            learnt = [weights * self._scale for weights in _weights(layer)]
            if self._fitted_before:
                starts = self._fitted_before[at]
                learnt = [end - self._span.project(start) for end, start in zip(learnt, starts, strict=True)]
            widened = [self._span.expand(weights, without) for weights, without in zip(learnt, held_out, strict=True)]
            if self._fitted_before:
                widened = [start + change for start, change in zip(starts, widened, strict=True)]
            _replace(layer, widened)


def _weights(layer):
    """The weights of every member, an array of shape (n_members, out_features, in_features)."""
    return layer.weight.detach().cpu().numpy()


def _replace(layer, weights):
    """Give a layer other weights, of another width."""
    layer.weight = nn.Parameter(send(torch.from_numpy(np.asarray(weights)), layer.weight.device, layer.weight.dtype))


def _joined(rows, blocks):
    """Rows of the same numbers and labels with other blocks."""
    X = np.hstack(blocks)
    split = blocks[0].shape[1]
    columns = ColumnBlocks(rows.columns.names, (np.arange(split), np.arange(split, X.shape[1])))
    dtype = torch.from_numpy(X[:0]).dtype
    return Rows(X, columns, rows.device, dtype, rows.y, matrix=matrix_for_training(X, rows.device, dtype))
