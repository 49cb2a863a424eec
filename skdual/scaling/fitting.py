"""The scalers of a network fitted to the training rows."""

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler

from ..inputs.chunks import dense_chunks
from ..inputs.frames import column_label
from ..inputs.rows import Rows
from .column_scaler import ColumnScaler
from .row_norm import row_norms
from .statistics import column_statistics


def fit_scalers(network, rows, feature_names, hats=None):
    """Scale the blocks by the rows; both at one reading where they are scaled the same way.

    Parameters
    ----------
    network : DualBranchNetwork
    rows : Rows
        To train on.
    feature_names : ndarray of str, optional
    hats : pair of HatFunctions, optional
        Where the scalers append such.

    Returns
    -------
    scalers : list of two ColumnScaler
        Of either block, on the host and in the dtype of X.

    Raises
    ------
    ValueError
        If a column is too large to be scaled.
    """
    of_rows = torch.from_numpy(np.empty(0, rows.X.dtype)).dtype
    dtype = network.scaler_a.center.dtype
    largest = torch.finfo(dtype).max
    with torch.device("cpu"):  # the default device may be any of the caller's
        on_host = [
            ColumnScaler(p, scaler.scaling, scaler.row_norm is not None, scaler.n_hats).to(of_rows)
            for p, scaler in zip(rows.columns.n_columns, network.scalers, strict=True)
        ]
    pairs = zip(network.scalers, on_host, strict=True)
    blocks = list(zip(network.scalings, pairs, rows.columns.indices, strict=True))
    for scaling in dict.fromkeys(network.scalings):
        if scaling == "none":
            continue
        scaled_so = [(scalers, index) for name, scalers, index in blocks if name == scaling]
        columns = np.unique(np.concatenate([index for _, index in scaled_so]))
        statistics = column_statistics(rows, scaling, columns, dtype)
        too_large = columns[~(np.abs(statistics) <= largest).all(axis=0)]  # as NaN is
        if len(too_large):
            raise ValueError(
                f"X has {len(too_large)} column(s) whose values are too large to be scaled by {scaling!r}, "
                f"{column_label(too_large[0], feature_names)} first; scale them down."
            )
        for scalers, index in scaled_so:
            at = np.searchsorted(columns, index)
            for scaler in scalers:
                scaler.set_statistics(statistics.of(at))
    for (_, scalers, index), of_block in zip(blocks, hats or (None, None), strict=True):
        _fit_row_norm(scalers, rows, index)
        _fit_splines(scalers, rows, index, of_block)
    return on_host


def _fit_row_norm(scalers, rows, index):
    """Standardise the norm of a row, where scalers have it, by those of the training rows."""
    _, on_host = scalers
    if on_host.row_norm is None:
        return
    chunks = map(torch.from_numpy, dense_chunks(rows, index, rows.X.dtype))
    norms = torch.cat([row_norms(on_host.scale_columns(chunk)) for chunk in chunks]).double()
    for scaler in scalers:
        scaler.row_norm.set_statistics(norms.mean().item(), norms.std(correction=0).item())


def _fit_splines(scalers, rows, index, hats):
    """Set the hat functions, where scalers have such, and standardise them by the training rows."""
    _, on_host = scalers
    if on_host.splines is None:
        return
    for scaler in scalers:
        scaler.splines.set_hats(hats)
    moments = StandardScaler()
    for chunk in map(torch.from_numpy, dense_chunks(rows, index, rows.X.dtype)):
        moments.partial_fit(on_host.splines.hats(on_host.scale_columns_and_norm(chunk)).double().numpy())
    for scaler in scalers:
        scaler.splines.set_statistics(moments.mean_, np.sqrt(moments.var_))


def scaled_rows(scaler, rows, index, numbers):
    """Some rows, by their numbers, of a block, scaled on the host: float64 of shape (n, n_columns).

    Parameters
    ----------
    scaler : ColumnScaler
    rows : Rows
    index : ndarray of int64 of shape (n_columns,)
        Positions of the columns in X.
    numbers : ndarray of int64 of shape (n,)
    """
    subset = numbers if rows.subset is None else rows.subset[numbers]
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
