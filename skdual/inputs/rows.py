"""Rows of X, fetched by number as dense tensors on the device; the matrix itself is never copied or made dense."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.preprocessing import StandardScaler

_CHUNK_CELLS = 2**24  # cells of X that are dense at one time outside training: 64 MiB of float32


@dataclass(frozen=True, eq=False)
class Batch:
    """One batch on the device, which unpacks to (inputs, targets) as skorch's callbacks expect.

    Attributes
    ----------
    blocks : tuple of two tensors of shape (batch, p_a) and (batch, p_b)
    target : tensor of int64 of shape (batch,), or None
        Class codes.
    rows : ndarray of int64 of shape (batch,)
        Numbers of the rows within the data set, on the host.
    """

    blocks: tuple
    target: torch.Tensor | None
    rows: np.ndarray

    def __iter__(self):
        return iter((self.blocks, self.target))


class Rows(torch.utils.data.Dataset):
    """A data set of two-block rows.

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
    """

    def __init__(self, X, columns, device, dtype, y=None, subset=None):
        self.X = X
        self.columns = columns
        self.device = device
        self.dtype = dtype
        self.subset = subset
        self.y = y if y is None or subset is None else y[subset]

    def __len__(self):
        return self.X.shape[0] if self.subset is None else len(self.subset)

    def __getitem__(self, row):
        batch = self.fetch(np.atleast_1d(row))
        return tuple(block[0] for block in batch.blocks), 0 if batch.target is None else batch.target[0]

    def fetch(self, rows):
        """The given rows (ndarray of int64) as a :class:`Batch` on the device."""
        at = rows if self.subset is None else self.subset[rows]
        x = self._sparse(at) if sp.issparse(self.X) else self._dense(at)
        target = None if self.y is None else self._send(torch.from_numpy(self.y[rows]))
        return Batch(self.columns.split(x), target, rows)

    def chunks(self, rows=None):
        """The given rows (ndarray of int64; all by default) in turn, as arrays few enough to be dense at one time."""
        size = int(np.clip(_CHUNK_CELLS // max(self.X.shape[1], 1), 16, 1024))
        n_rows = len(self) if rows is None else len(rows)
        for start in range(0, n_rows, size):
            stop = min(start + size, n_rows)
            yield np.arange(start, stop) if rows is None else rows[start:stop]

    def _dense(self, at):
        return self._send(torch.from_numpy(np.ascontiguousarray(self.X[at])), self.dtype)

    def _sparse(self, at):
        """Send three 1-D arrays and make the rows dense where they land."""
        part = self.X[at]
        n, p = part.shape
        row = np.repeat(np.arange(n, dtype=np.int64), np.diff(part.indptr))
        x = torch.zeros(n * p, dtype=self.dtype, device=self.device)
        cell = self._send(torch.from_numpy(row * p + part.indices))
        # accumulating, because a CSR matrix may hold a cell twice
        x.index_put_((cell,), self._send(torch.from_numpy(part.data), self.dtype), accumulate=True)
        return x.view(n, p)

    def _send(self, tensor, dtype=None):
        # cast first: fewer bytes travel, and MPS has no float64
        return tensor.to(dtype or tensor.dtype).to(self.device, non_blocking=True)


def zero_share(rows):
    """Share of the cells of a data set that are 0."""
    n_zeros = 0
    for chunk in rows.chunks():
        part = rows.X[chunk if rows.subset is None else rows.subset[chunk]]
        n_zeros += part.shape[0] * part.shape[1] - (
            part.count_nonzero() if sp.issparse(part) else np.count_nonzero(part)
        )
    return n_zeros / (len(rows) * rows.X.shape[1])


def column_statistics(rows):
    """Mean and standard deviation of every column over the rows of a data set.

    Both kinds of matrix go through the same dense chunks, so that a CSR matrix and its dense twin give the
    same numbers to the last bit. Columns that do not vary get a deviation of 1.

    Returns
    -------
    mean, scale : ndarray of float64 of shape (p,)
    """
    scaler = StandardScaler()
    for chunk in rows.chunks():
        at = chunk if rows.subset is None else rows.subset[chunk]
        part = rows.X[at]
        with np.errstate(over="ignore", invalid="ignore"):  # the caller looks at what is not finite
            scaler.partial_fit((part.toarray() if sp.issparse(part) else part).astype(np.float64))
    return scaler.mean_, scaler.scale_
