"""Scalers fitted to the training rows."""

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler

from ..inputs.chunks import dense_chunks
from ..inputs.frames import column_label
from ..inputs.rows import Rows
from .column_scaler import ColumnScaler
from .row_norm import RowNorm, row_norms
from .splines import LinearSplines
from .statistics import column_statistics


def fit_scalers(rows, scalings, dtype, feature_names):
    """A scaler for each block, fitted to the training rows; both at one reading where they are scaled the same way.

    Parameters
    ----------
    rows : Rows
        To train on.
    scalings : pair of str
        Names in :data:`~skdual.scaling.scalings.SCALINGS`.
    dtype : torch.dtype
        That the columns will be scaled in by the network, which bounds the scales.
    feature_names : ndarray of str, or None

    Returns
    -------
    scalers : list of two ColumnScaler
        On the host and in the dtype of X.

    Raises
    ------
    ValueError
        If a column is too large to be scaled.
    """
    largest = torch.finfo(dtype).max
    scalers = [_on_host(ColumnScaler, rows, p, way) for p, way in zip(rows.columns.n_columns, scalings, strict=True)]
    for scaling in dict.fromkeys(scalings):
        if scaling == "none":
            continue
        scaled_so = [pair for pair in zip(scalers, rows.columns.indices, strict=True) if pair[0].scaling == scaling]
        columns = np.unique(np.concatenate([index for _, index in scaled_so]))
        statistics = column_statistics(rows, scaling, columns, dtype)
        too_large = columns[~(np.abs(statistics) <= largest).all(axis=0)]  # as NaN is
        if len(too_large):
            raise ValueError(
                f"X has {len(too_large)} column(s) whose values are too large to be scaled by {scaling!r}, "
                f"{column_label(too_large[0], feature_names)} first; scale them down."
            )
        for scaler, index in scaled_so:
            scaler.set_statistics(statistics.of(np.searchsorted(columns, index)))
    return scalers


def append_row_norm(scaler, rows, index):
    """Let a scaler append the norm of a row, standardised by the training rows.

    Parameters
    ----------
    scaler : ColumnScaler
        On the host, without what it may append; changed in place.
    rows : Rows
    index : ndarray of int64 of shape (n_columns,)
        Positions of the scaler's columns in X.
    """
    chunks = map(torch.from_numpy, dense_chunks(rows, index, rows.X.dtype))
    norms = torch.cat([row_norms(scaler(chunk)) for chunk in chunks]).double()
    scaler.row_norm = _on_host(RowNorm, rows)
    scaler.row_norm.set_statistics(norms.mean().item(), norms.std(correction=0).item())


def append_splines(scaler, rows, index, hats):
    """Let a scaler append hat functions of its columns, standardised by the training rows.

    Parameters
    ----------
    scaler : ColumnScaler
        On the host, without splines; changed in place.
    rows : Rows
    index : ndarray of int64 of shape (n_columns,)
        Positions of the scaler's columns in X.
    hats : HatFunctions
    """
    splines, moments = _on_host(LinearSplines, rows, len(hats.column)), StandardScaler()
    splines.set_hats(hats)
    for chunk in map(torch.from_numpy, dense_chunks(rows, index, rows.X.dtype)):
        moments.partial_fit(splines.hats(scaler(chunk)).double().numpy())
    splines.set_statistics(moments.mean_, np.sqrt(moments.var_))
    scaler.splines = splines


def _on_host(layer, rows, *arguments):
    """A new layer on the CPU, in the dtype of X."""
    with torch.device("cpu"):  # the default device may be any of the caller's
        return layer(*arguments).to(torch.from_numpy(np.empty(0, rows.X.dtype)).dtype)


def scaled_rows(scaler, rows, index, row_indices):
    """Some rows of a block, scaled on the host: float64 of shape (n, n_columns).

    Parameters
    ----------
    scaler : ColumnScaler
    rows : Rows
    index : ndarray of int64 of shape (n_columns,)
        Positions of the columns in X.
    row_indices : ndarray of int64 of shape (n,)
    """
    subset = row_indices if rows.subset is None else rows.subset[row_indices]
    some = Rows(rows.X, rows.columns, rows.device, rows.dtype, subset=subset)
    chunks = map(torch.from_numpy, dense_chunks(some, index, rows.X.dtype))
    return torch.cat([scaler(chunk) for chunk in chunks]).double().numpy()


def center_clipped(scaler, rows):
    """Let a scaler that clips values, and rows that it scaled, lose the mean that clipping leaves them.

    Where rows are few beside their columns it would be the largest of their coordinates, and tell nothing.

    Parameters
    ----------
    scaler : ColumnScaler
    rows : ndarray of shape (n, n_columns)
        Changed in place.
    """
    if scaler.clipped:
        mean = rows.mean(axis=0, dtype=np.float64).astype(rows.dtype)
        scaler.set_clipped_mean(scaler.clipped_mean.cpu().numpy() + mean)
        rows -= mean
