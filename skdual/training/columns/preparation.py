"""How the columns of both blocks are scaled, what is appended to them, and how they are whitened."""

from typing import NamedTuple

from ...scaling.column_scaler import ColumnScaler
from ...scaling.fitting import append_row_norm, append_splines, fit_scalers
from ...scaling.whitening import Whitening
from .row_norms import informative_row_norms
from .splines import informative_splines
from .whitening import fit_whitening


class PreparedColumns(NamedTuple):
    """The first layers of a network, fitted to its training rows on the host, in the dtype of X.

    Attributes
    ----------
    scalers : list of two ColumnScaler
    whitening : Whitening
    """

    scalers: list[ColumnScaler]
    whitening: Whitening

    @property
    def settings(self):
        """The arguments of the network that are to agree with them."""
        return {
            "row_norms": tuple(scaler.row_norm is not None for scaler in self.scalers),
            "n_hats": tuple(0 if scaler.splines is None else scaler.splines.n_hats for scaler in self.scalers),
            "whitening_ranks": self.whitening.ranks,
        }


def prepare_columns(rows, original, scalings, dtype, has_plain_members, feature_names):
    """Fit the scalers to the training rows, append what helps to tell the classes, and look which blocks to whiten.

    Parameters
    ----------
    rows : Rows
        To train on.
    original : ndarray of int64 of shape (n,)
        The first row that each is a copy of (see :func:`~skdual.inputs.duplicates.first_occurrences`).
    scalings : pair of str
        Names in :data:`~skdual.scaling.scalings.SCALINGS`.
    dtype : torch.dtype
        Of the network, which bounds the scales.
    has_plain_members : bool
        Who take blocks whitened; without them none is.
    feature_names : ndarray of str, or None

    Returns
    -------
    columns : PreparedColumns

    Raises
    ------
    ValueError
        If a column is too large to be scaled.
    """
    scalers = fit_scalers(rows, scalings, dtype, feature_names)
    indices = rows.columns.indices
    tells = informative_row_norms(rows, scalers)
    for scaler, index, block_tells in zip(scalers, indices, tells, strict=True):
        if block_tells:
            append_row_norm(scaler, rows, index)
    hats = informative_splines(rows, original, scalers)
    for scaler, index, of_block in zip(scalers, indices, hats, strict=True):
        if len(of_block.column):
            append_splines(scaler, rows, index, of_block)
    return PreparedColumns(scalers, fit_whitening(rows, original, scalers, has_plain_members))
