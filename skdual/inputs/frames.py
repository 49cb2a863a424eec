"""Containers of X that are more than an array: tensors, and frames of pandas, polars and pyarrow."""

from collections import Counter

import numpy as np
import torch

from .labels import plain_str

_NUMPY_NAMES = {"halffloat": "float16", "float": "float32", "double": "float64"}  # for those of pyarrow


def column_names(X):
    """Names of the columns of a frame, in order; none of anything else."""
    for attribute in ("column_names", "columns"):  # of pyarrow, whose columns are the values, and of the others
        if hasattr(type(X), attribute):
            return list(getattr(X, attribute))
    return []


def column_dtypes(X):
    """Types of the columns of a frame of pandas or polars, in order; none of anything else."""
    return list(X.dtypes) if column_names(X) and hasattr(type(X), "dtypes") else []


def numpy_dtypes(X):
    """Those of numpy that hold the columns of a frame of pandas, nullable ones too; others as they are."""
    return [getattr(dtype, "numpy_dtype", dtype) for dtype in column_dtypes(X)]


def dtype_names(X):
    """numpy's names for the types of the values, in every column of a frame, or in any other matrix.

    Nullable, sparse and Arrow types go by what they hold.
    """
    own = getattr(X, "dtype", None)
    if isinstance(own, np.dtype):
        return [own.name]
    of_columns = numpy_dtypes(X) or getattr(getattr(X, "schema", None), "types", [])  # the latter of pyarrow
    names = [str(getattr(dtype, "subtype", dtype)).lower() for dtype in of_columns]
    return [_NUMPY_NAMES.get(name, name) for name in names]


def column_label(position, names=None):
    """How a message calls a column: by its name, where ``names`` has those of all columns, or else by its number."""
    return f"column {position}" if names is None else f"column {str(names[position])!r}"


def plain_container(X, name):
    """X with what scikit-learn takes for something else in its plain form: tensors and names of columns.

    Tensors of torch become arrays, wherever and of whatever dtype they are, and whether or not a gradient is asked for.
    Names of a frame of pandas that are of a subclass of str, such as numpy's, become str: others count as none.
    """
    if isinstance(X, torch.Tensor):
        if X.layout != torch.strided:
            raise TypeError(f"{name} must be dense where it is a tensor, got {X.layout}; give a matrix of scipy.")
        X = X.detach().cpu()
        return X.float().numpy() if X.dtype == torch.bfloat16 else X.numpy()
    names = column_names(X) if hasattr(X, "set_axis") else []
    are_str = all(isinstance(column, str) for column in names)
    if are_str and any(type(column) is not str for column in names):
        return X.set_axis(list(map(plain_str, names)), axis=1)
    return X


def check_not_lazy(X, name):
    """Refuse a frame whose values are not computed yet."""
    if type(X).__name__ == "LazyFrame":
        raise TypeError(f"{name} must hold its values, got a LazyFrame; give {name}.collect().")


def check_not_masked(X, name):
    """Refuse an array some of whose values are masked, which numpy would hand on as they are."""
    if isinstance(X, np.ma.MaskedArray) and np.ma.is_masked(X):
        raise ValueError(f"{name} has {np.ma.count_masked(X)} masked values; impute them first.")


def check_container(X, name):
    """Refuse a matrix or frame of columns that are not numbers or can't be told apart.

    Parameters
    ----------
    X : whatever the user gave
    name : str
        Argument that X is.

    Raises
    ------
    TypeError
        If X is a frame whose values are not computed yet, or two matrices.
    ValueError
        If X or a column of it holds dates, durations, complex numbers or, in a frame, anything else that is not a
        number; or if columns of a frame share a name.
    """
    check_not_lazy(X, name)
    check_not_masked(X, name)
    parts = list(X.values()) if isinstance(X, dict) else X
    if isinstance(parts, (list, tuple)) and len(parts) == 2 and all(len(_shape(part)) == 2 for part in parts):
        raise TypeError(
            f"{name} must be one matrix, got a {type(X).__name__} of two, of shapes {_shape(parts[0])} and "
            f"{_shape(parts[1])}; put them side by side: {name}, blocks = skdual.join_blocks(A, B)."
        )
    dtype = getattr(X, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind == "c":
        raise ValueError(
            f"Complex data not supported: {name} is of {dtype}; give the real and the imaginary parts as columns."
        )
    if isinstance(dtype, np.dtype) and dtype.kind in "mM":
        raise ValueError(f"{name} must hold numbers, got {dtype}; turn dates and durations into numbers first.")
    names = column_names(X)
    repeated = [column for column, times in Counter(names).items() if times > 1]
    if repeated:
        raise ValueError(
            f"{name} has {len(repeated)} column name(s) that occur more than once, {repeated[0]!r} first; every column "
            f"needs a name of its own."
        )
    fill_values = [getattr(dtype, "fill_value", None) for dtype in column_dtypes(X)]
    filled = [column for column, value in zip(names, fill_values, strict=False) if value]
    if filled and None not in fill_values:  # beside others scikit-learn makes them dense
        raise ValueError(
            f"{name} has {len(filled)} sparse column(s) that are not filled up with 0, {filled[0]!r} first "
            f"({X[filled[0]].dtype}); give {name}.sparse.to_dense()."
        )
    # the columns of pyarrow have no dtype that numpy knows, and are all looked at
    pairs = zip(names, column_dtypes(X) or [None] * len(names), strict=True)
    wrong = [column for column, dtype in pairs if not _is_number_type(dtype) and not _is_numeric(X[column])]
    if wrong:
        first = X[wrong[0]]
        raise ValueError(
            f"{name} has {len(wrong)} column(s) that are not numbers, {wrong[0]!r} first "
            f"({first.dtype if hasattr(first, 'dtype') else first.type}); encode or drop them."
        )


def _shape(X):
    return tuple(getattr(X, "shape", ()))


def _is_number_type(dtype):
    """Whether a type of pandas or polars says by itself that its values are real numbers."""
    if hasattr(dtype, "is_numeric"):  # polars
        return dtype.is_numeric()
    return getattr(dtype, "kind", None) in {"b", "i", "u", "f"}


def _is_numeric(column):
    values = np.asarray(column)
    # numpy would turn dates and complex numbers into floats too, and what has several numbers per row
    if values.dtype.kind in "mMcV" or values.ndim != 1:
        return False
    try:
        np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    return True
