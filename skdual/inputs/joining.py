"""Two matrices of the same rows, put side by side."""

import reprlib

import numpy as np
import scipy.sparse as sp

from .frames import check_not_lazy, check_not_masked, plain_container


def join_blocks(A, B):
    """Put two matrices of the same rows side by side.

    Parameters
    ----------
    A, B : array-like, sparse matrix, pandas or polars DataFrame of shape (n_samples, n_columns)
        Both frames of one library, or any mix of arrays and sparse matrices.

    Returns
    -------
    X : ndarray, csr_matrix, csr_array or DataFrame of shape (n_samples, n_columns_a + n_columns_b)
        Frames give a frame, a sparse matrix on either side gives CSR (a ``csr_array`` where whatever is sparse is a
        sparse array, a ``csr_matrix`` otherwise), anything else an ndarray.
    blocks : int
        The width of A, to be given as ``blocks`` to :class:`~skdual.DualBranchClassifier`.

    Raises
    ------
    TypeError
        If a frame comes with something that is not a frame of the same library, or is of pyarrow or a LazyFrame; or if
        an array does not hold numbers.
    ValueError
        If the numbers of rows differ, the rows of two frames are labelled differently, the frames share column names,
        values of an array are masked, an array does not have two dimensions, or a block has no column.

    Examples
    --------
    >>> import numpy as np
    >>> from skdual import join_blocks
    >>> X, blocks = join_blocks(np.zeros((3, 4)), np.ones((3, 2)))
    >>> X.shape, blocks
    ((3, 6), 4)
    """
    A, B = plain_container(A, "A"), plain_container(B, "B")
    for name, block in (("A", A), ("B", B)):
        check_not_lazy(block, name)
        check_not_masked(block, name)
    libraries = [_library(block) for block in (A, B)]
    if libraries[0] != libraries[1]:
        came = [f"{type(block).__module__.split('.')[0]}.{type(block).__name__}" for block in (A, B)]
        raise TypeError(
            f"A and B must be frames of one library, or neither a frame; got {' and '.join(came)}. Make a frame of a "
            f"series by to_frame(), an array of a frame by to_numpy()."
        )
    if libraries[0] == "pyarrow":
        raise TypeError("A and B must be frames of pandas or polars, got pyarrow; give A.to_pandas(), B.to_pandas().")
    if libraries[0] is None:
        A, B = _matrix(A, "A"), _matrix(B, "B")
    for name, block in (("A", A), ("B", B)):
        if not block.shape[1]:
            raise ValueError(f"{name} must have at least one column, got none.")
    if A.shape[0] != B.shape[0]:
        raise ValueError(f"A and B must have the same rows; A has {A.shape[0]}, B has {B.shape[0]}.")
    if libraries[0] is not None:
        X = _join_frames(A, B, libraries[0])
    elif sp.issparse(A) or sp.issparse(B):
        kind = sp.csr_matrix if isinstance(A, sp.spmatrix) or isinstance(B, sp.spmatrix) else sp.csr_array
        X = sp.hstack([kind(A), kind(B)], format="csr")
    else:
        X = np.hstack([A, B])
    return X, A.shape[1]


def _matrix(block, name):
    """What is no frame as a matrix of numbers, an ndarray or sparse."""
    try:
        matrix = block if sp.issparse(block) else np.asarray(block)
    except ValueError as error:
        raise ValueError(f"{name} must be an array, a sparse matrix or a frame; got {reprlib.repr(block)}.") from error
    if matrix.ndim != 2:
        raise ValueError(f"{name} must have 2 dimensions (rows, columns), got {matrix.ndim}.")
    try:
        if matrix.dtype == object:
            matrix = matrix.astype(np.float64)
        if matrix.dtype.kind not in "biuf":
            raise TypeError(f"values of {matrix.dtype}")
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must hold numbers, got {error}.") from error
    return matrix.astype(np.float32) if matrix.dtype == np.float16 else matrix  # which scipy does not know


def _library(block):
    """The library that a frame is of, also where its class is a user's own; None for what is no frame."""
    if not hasattr(block, "columns"):
        return None
    modules = [cls.__module__.split(".")[0] for cls in type(block).__mro__]
    return next((module for module in modules if module in ("pandas", "polars", "pyarrow")), modules[0])


def _join_frames(A, B, library):
    shared = sorted({str(name) for name in A.columns} & {str(name) for name in B.columns})
    if shared:
        raise ValueError(
            f"A and B share {len(shared)} column name(s), {shared[0]!r} first; rename them, for instance with "
            f"a prefix for each block."
        )
    if library == "polars":
        return A.hstack(B)
    # as objects, for indexes of two types, such as str and string, may not be equal though all labels are
    if not A.index.equals(B.index) and not A.index.astype(object).equals(B.index.astype(object)):
        differ = next((pair for pair in zip(A.index, B.index, strict=True) if pair[0] != pair[1]), None)
        first = "" if differ is None else f", {differ[0]!r} and {differ[1]!r} first"
        raise ValueError(f"the rows of A and B are labelled differently (their indexes are not equal{first}).")
    import pandas as pd  # not a dependency: whoever hands over a frame has it

    # A.join(B), and two indexes that differ in their type, would multiply rows of the same label
    return pd.concat([A, B.set_axis(A.index)], axis=1)
