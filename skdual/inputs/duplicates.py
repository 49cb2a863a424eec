"""Which rows are copies of others, as oversampling and bootstrap samples make them."""

import numpy as np

from .chunks import dense_chunks

_N_PARTS = 4  # of the columns


def first_occurrences(rows):
    """The first row that each row is a copy of, or its own number.

    Rows may be alike by chance, as where columns are few and binary, or where most values are zero. Then others are
    alike in part: rows are taken for copies only where a quarter of the columns tells them from all others. They have
    the same class besides.

    Parameters
    ----------
    rows : Rows
        With class codes.

    Returns
    -------
    original : ndarray of int64 of shape (n,)
    """
    n = len(rows)
    columns = np.unique(np.concatenate(rows.columns.indices))
    n_parts = min(_N_PARTS, len(columns))
    hashes = np.empty((n_parts, n), dtype=np.int64)
    start = 0
    for chunk in dense_chunks(rows, columns, rows.X.dtype):
        chunk += 0.0  # -0.0 is 0.0
        for part, of_part in enumerate(hashes):
            of_part[start : start + len(chunk)] = _hash_rows(chunk[:, part::n_parts])
        start += len(chunk)
    if len(np.unique(hashes[0])) == n:
        return np.arange(n)
    n_alike = np.stack([_n_equal(of_part) for of_part in hashes])
    _, first, alike, counts = np.unique(hashes, axis=1, return_index=True, return_inverse=True, return_counts=True)
    alike = alike.ravel()  # numpy 2.0 gives it two axes
    of_one_class = np.ones(len(first), dtype=bool)
    np.logical_and.at(of_one_class, alike, rows.y == rows.y[first[alike]])
    told_apart = (n_alike == counts[alike]).any(axis=0)
    return np.where(told_apart & of_one_class[alike], first[alike], np.arange(n))


def _hash_rows(values):
    values = np.ascontiguousarray(values)
    rows = values.view(np.dtype((np.void, values.shape[1] * values.itemsize))).ravel()
    return [hash(row) for row in rows.tolist()]


def _n_equal(values):
    """How often each of the values is among them."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return counts[inverse]
