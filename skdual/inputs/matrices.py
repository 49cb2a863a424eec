"""Rows of a matrix as dense tensors on the device: from the host a batch at a time, or all there from the start."""

import numpy as np
import scipy.sparse as sp
import torch

from ..devices import free_memory, send
from .slices import consecutive_slices

RESIDENT_SHARE = 0.5
"""Share of an accelerator's free memory that the rows of a fit may take."""

_COPIED_VALUES = 2**24


def matrix_for_training(X, device, dtype):
    """Where the rows of many epochs come from: the device, if they fit there (``RESIDENT_SHARE``), or else the host."""
    free = free_memory(device)
    if free is None or _resident_bytes(X, dtype) > RESIDENT_SHARE * free:
        return HostMatrix(X, device, dtype)
    return (ResidentCSR if sp.issparse(X) else ResidentDense)(X, device, dtype)


def _resident_bytes(X, dtype):
    if sp.issparse(X):
        return X.nnz * (dtype.itemsize + X.indices.itemsize) + 8 * len(X.indptr)
    return X.shape[0] * X.shape[1] * dtype.itemsize


class HostMatrix:
    """A matrix in memory or in a file, whose rows travel to the device when they are asked for.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, p)
    device : torch.device
    dtype : torch.dtype
        Of the tensors that are handed out.
    """

    def __init__(self, X, device, dtype):
        self.X = X
        self.device = device
        self.dtype = dtype

    def take(self, index, device_index):
        """The rows of these numbers, a dense tensor of shape (len(index), p).

        Parameters
        ----------
        index : ndarray of int64
        device_index : tensor of int64
            The same on the device.
        """
        if not sp.issparse(self.X):
            return send(torch.from_numpy(np.ascontiguousarray(self._rows(index))), self.device, self.dtype)
        part = self.X[index]
        # three 1-D arrays travel, and the rows are made dense where they land
        n, p = part.shape
        row = np.repeat(np.arange(n, dtype=np.int64), np.diff(part.indptr))
        position = send(torch.from_numpy(row * p + part.indices), self.device)
        return _dense((n, p), position, send(torch.from_numpy(part.data), self.device, self.dtype), part)

    def _rows(self, index):
        """Rows of a dense matrix: where they lie side by side, as when predicting, not copied."""
        span = slice(index.min(initial=len(self.X)), index.max(initial=-1) + 1)
        # torch makes no tensor of what is read-only or runs backwards
        usable = self.X.flags.writeable and min(self.X.strides) >= 0
        in_order = usable and np.array_equal(index, np.arange(span.start, span.stop))
        return self.X[span] if in_order else self.X[index]


class ResidentDense:
    """A dense matrix on the device; takes the same arguments as :class:`HostMatrix`."""

    def __init__(self, X, device, dtype):
        self._x = _send_in_parts(X, device, dtype)

    def take(self, index, device_index):
        return self._x[device_index]


class ResidentCSR:
    """A CSR matrix on the device, as its three 1-D arrays; takes the same arguments as :class:`HostMatrix`."""

    def __init__(self, X, device, dtype):
        self._data = _send_in_parts(X.data, device, dtype)
        self._columns = _send_in_parts(X.indices, device)
        self._starts = _send_in_parts(X.indptr, device, torch.int64)
        self._X = X  # on the host, to know without asking the device how many values a batch has

    def take(self, index, device_index):
        n_values = int((self._X.indptr[index + 1] - self._X.indptr[index]).sum())
        ends = (self._starts[device_index + 1] - self._starts[device_index]).cumsum(0)
        at = torch.arange(n_values, device=device_index.device)
        row = torch.searchsorted(ends, at, right=True)
        at = at + (self._starts[device_index + 1] - ends)[row]
        p = self._X.shape[1]
        return _dense((len(index), p), row * p + self._columns[at], self._data[at], self._X)


def _send_in_parts(array, device, dtype=None):
    """An array on the device; part by part, because casting, pinning and files that are mapped need copies."""
    dtype = dtype or torch.from_numpy(array[:0].copy()).dtype
    sent = torch.empty(array.shape, dtype=dtype, device=device)
    step = max(1, _COPIED_VALUES // max(1, array[:1].size))
    for part in consecutive_slices(len(array), step):
        sent[part] = send(torch.from_numpy(array[part].copy()), device, dtype)
    return sent


def _dense(shape, position, values, X):
    """A dense tensor with ``values`` in its flat ``position``, of which CSR matrix X may hold some twice."""
    x = torch.zeros(shape[0] * shape[1], dtype=values.dtype, device=values.device)
    return x.index_put_((position,), values, accumulate=not X.has_canonical_format).view(shape)
