"""In which blocks the norm of a row tells the classes."""

import numpy as np
import torch

from ...anova import analysis_of_variance, indicator
from ...defaults import allows_row_norms
from ...inputs.chunks import dense_chunks
from ...scaling.row_norm import row_norms

MIN_SHARE = 0.1
"""Share of the variance of the norms that lies between the classes, from which on they may tell these."""

TIMES_ANY_COLUMN = 2.0
"""How much larger it has to be than that of any column: then the classes surround each other."""


def informative_row_norms(rows, scalers):
    """Whether the norm of a row tells the classes far better than any column of the block does, for each block.

    By all training rows, those too that members hold out: two answers of yes or no are all that these learn of them.

    Layer normalisation takes the norm out, so that where it does, branches need it as a column (see
    :class:`~skdual.scaling.row_norm.RowNorm`); elsewhere it would be one more column to learn by heart.

    Parameters
    ----------
    rows : Rows
        To train on.
    scalers : pair of ColumnScaler
        That scale the columns of either block on the host.

    Returns
    -------
    tells : tuple of two bool
        False for blocks whose scaling does not centre and clip the columns, or of fewer than two rows a column.
    """
    return tuple(
        bool(scaler.clipped and allows_row_norms(len(rows), len(index)) and _tells(rows, scaler, index))
        for scaler, index in zip(scalers, rows.columns.indices, strict=True)
    )


def _tells(rows, scaler, index):
    n_classes, start = int(rows.y.max()) + 1, 0
    sums, squares = np.zeros((n_classes, len(index) + 1)), np.zeros(len(index) + 1)
    for chunk in dense_chunks(rows, index, rows.X.dtype):
        z = scaler(torch.from_numpy(chunk)).double()
        x = torch.cat([z, row_norms(z) - 1], dim=1).numpy()  # around 1, so that little is lost to rounding
        codes = rows.y[start : start + len(x)]
        sums += indicator(codes, n_classes, np.ones(len(x))) @ x
        squares += np.square(x).sum(axis=0)
        start += len(x)
    shares, _ = analysis_of_variance(sums, squares, np.bincount(rows.y, minlength=n_classes).astype(np.float64))
    return shares[-1] > max(MIN_SHARE, TIMES_ANY_COLUMN * shares[:-1].max())
