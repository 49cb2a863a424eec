"""A data set of rows of X, fetched by number; the matrix itself is never copied on the host or made dense."""

import mmap
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
import torch

from ..devices import send
from .matrices import HostMatrix
from .slices import as_slice, consecutive_slices

CHUNK_VALUES = 2**22
"""Values of rows that are dense at one time outside training: 16 MiB of float32; more take no less time."""

_RUN_BYTES = 2**20


@dataclass(frozen=True, eq=False)
class Batch:
    """One batch on the device, which unpacks to (inputs, targets) as skorch's callbacks expect.

    Attributes
    ----------
    blocks : tuple of two tensors of shape (batch, p_a) and (batch, p_b)
    target : tensor of int64 of shape (batch,), or None
        Class codes.
    index : ndarray of int64 of shape (batch,)
        Numbers of the rows within the data set, on the host.
    device_index : tensor of int64 of shape (batch,)
        The same on the device.
    drawn : dict of tuple of tensors
        What was drawn for the batch, by name (see :class:`~skdual.inputs.batches.BatchLoader`).
    """

    blocks: tuple
    target: torch.Tensor | None
    index: np.ndarray
    device_index: torch.Tensor
    drawn: dict = field(default_factory=dict)

    def __iter__(self):
        return iter((self.blocks, self.target))


class Rows(torch.utils.data.Dataset):
    """A data set of two-block rows; a torch one, for skorch hands on as they are only such.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, p), float32 or float64
        May be read-only or memory-mapped.
    columns : ColumnBlocks
    device : torch.device
    dtype : torch.dtype
        Of the tensors that are handed out.
    y : ndarray of int64 of shape (n,), optional
        Class codes.
    subset : ndarray of int64, optional
        Numbers of the rows of X that belong to the data set; all by default.
    matrix : HostMatrix, ResidentDense or ResidentCSR, optional
        What gives the rows of X; by default they come from the host.
    """

    def __init__(self, X, columns, device, dtype, y=None, subset=None, matrix=None):
        self.X = X
        self.columns = columns
        self.device = device
        self.dtype = dtype
        self.subset = subset
        self.y = y if y is None or subset is None else y[subset]
        self._matrix = HostMatrix(X, device, dtype) if matrix is None else matrix
        self._target = None if self.y is None else send(torch.from_numpy(self.y), device)
        self._subset = None if subset is None else send(torch.from_numpy(subset), device)
        self._places = [_place(index, device) for index in columns.indices]

    def __len__(self):
        return self.X.shape[0] if self.subset is None else len(self.subset)

    @property
    def run_length(self):
        """How many rows that lie side by side are worth reading together: 1, or 1 MiB of a file that is mapped."""
        stored = self.X.data if sp.issparse(self.X) else self.X
        if not _is_memory_mapped(stored):
            return 1
        return max(1, _RUN_BYTES * self.X.shape[0] // max(1, stored.nbytes))

    def fetch(self, index, device_index=None, drawn=None):
        """A :class:`Batch` of the rows of these numbers (ndarray of int64), which may be on the device already."""
        if device_index is None:
            device_index = send(torch.from_numpy(index), self.device)
        if self._subset is None:
            x = self._matrix.take(index, device_index)
        else:
            x = self._matrix.take(self.subset[index], self._subset[device_index])
        blocks = tuple(x[:, p] if isinstance(p, slice) else x.index_select(1, p) for p in self._places)
        target = None if self._target is None else self._target[device_index]
        return Batch(blocks, target, index, device_index, drawn or {})

    @property
    def chunk_size(self):
        """How many rows are few enough to be dense at one time."""
        return n_rows_within(CHUNK_VALUES, self.X.shape[1])

    def chunks(self, index=None):
        """The given rows (ndarray of int64; all by default) in turn, as arrays few enough to be dense at one time."""
        n_rows = len(self) if index is None else len(index)
        for part in consecutive_slices(n_rows, self.chunk_size):
            yield np.arange(part.start, part.stop) if index is None else index[part]


def _place(columns, device):
    """Columns as a slice, where they lie side by side, or else as a tensor on the device."""
    place = as_slice(columns)
    return place if isinstance(place, slice) else send(torch.from_numpy(place), device)


def _is_memory_mapped(array):
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return isinstance(array, mmap.mmap)


def n_rows_within(n_values, n_columns):
    """How many rows to go through together, 16 to 1024."""
    return int(np.clip(n_values // max(n_columns, 1), 16, 1024))
