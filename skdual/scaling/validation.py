"""What logarithms can't be taken of."""

import numpy as np
import scipy.sparse as sp

from ..inputs.frames import column_label
from ..inputs.slices import slices_of
from .scalings import SCALINGS


def check_non_negative(X, columns, scalings, name="X", feature_names=None):
    """Refuse negative values in a block that is scaled by its logarithm.

    Parameters
    ----------
    X : ndarray or CSR matrix
    columns : ColumnBlocks
    scalings : pair of str
        Names in :data:`~skdual.scaling.scalings.SCALINGS`, of block A and of block B.
    name : str, default="X"
        Argument that X is.
    feature_names : ndarray of str, optional

    Raises
    ------
    ValueError
        Naming the first such column.
    """
    if not any(SCALINGS[scaling].logarithm for scaling in scalings):
        return
    n_negative = np.zeros(X.shape[1], dtype=np.int64)
    for start, part in slices_of(X.data if sp.issparse(X) else X):
        place = np.nonzero(part < 0)
        at = X.indices[start + place[0]] if sp.issparse(X) else place[1]
        n_negative += np.bincount(at, minlength=len(n_negative))
    for block, index, scaling in zip(columns.names, columns.indices, scalings, strict=True):
        if SCALINGS[scaling].logarithm and n_negative[index].any():
            first = index[n_negative[index] > 0][0]
            raise ValueError(
                f"{name} has {n_negative[index].sum()} negative value(s) in block {block!r}, in "
                f"{column_label(first, feature_names)} first, which standardize={scaling!r} can't take the logarithm "
                f"of; scale that block another way."
            )
