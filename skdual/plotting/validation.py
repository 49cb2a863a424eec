"""Numbers to draw, checked."""

import reprlib

import numpy as np


def check_finite_numbers(values, name, n_columns=None):
    """An array of finite numbers with at least one row.

    Parameters
    ----------
    values : array-like of shape (n,) or (n, n_columns)
    name : str
        What the values are called in messages.
    n_columns : int, optional
        None for one number per row.

    Returns
    -------
    checked : ndarray of float64, shaped as ``values``

    Raises
    ------
    ValueError
        If they are something else.
    """
    row_shape = () if n_columns is None else (n_columns,)
    shape = f"(n{',' if n_columns is None else f', {n_columns}'})"
    expected = f"{name} must be finite numbers of shape {shape} with n at least 1"
    try:
        checked = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{expected}, got {reprlib.repr(values)}.") from error
    if not checked.ndim or not len(checked) or checked.shape[1:] != row_shape:
        raise ValueError(f"{expected}, got the shape {checked.shape}.")
    if not np.isfinite(checked).all():
        where = tuple(np.argwhere(~np.isfinite(checked))[0])
        raise ValueError(f"{expected}, got {checked[where]} in row {where[0]}.")
    return checked
