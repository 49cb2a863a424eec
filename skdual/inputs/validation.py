"""Checks of what users hand to fit and predict; nothing is written on the estimator."""

from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, column_or_1d, validate_data

from ..scalings import SCALINGS
from .columns import ColumnBlocks, resolve_blocks

_CHUNK_CELLS = 2**20


@dataclass(frozen=True, eq=False)
class TrainingInput:
    """Everything of a fit call, checked.

    Attributes
    ----------
    X : ndarray or CSR matrix, float32 or float64
    y : ndarray of int64
        Class codes.
    classes : ndarray
        Sorted labels.
    columns : ColumnBlocks
    feature_names : ndarray of str or None
    validation : pair (X_val, codes) or None
    """

    X: object
    y: np.ndarray
    classes: np.ndarray
    columns: ColumnBlocks
    feature_names: np.ndarray | None
    validation: tuple | None


def check_training_input(estimator, X, y, X_val, y_val):
    """Check the arguments of fit against each other and the estimator's ``blocks``.

    Returns
    -------
    TrainingInput

    Raises
    ------
    ValueError, TypeError
        Naming the argument or the column, what was expected and what came.
    """
    # validate_data writes n_features_in_ and feature_names_in_ before it refuses: let it write on a stand-in
    stand_in = type(estimator)(**estimator.get_params(deep=False))
    with _naming_columns(X, "X"):
        checked, y = validate_data(stand_in, X, y, **_matrix_rules(X))
    feature_names = getattr(stand_in, "feature_names_in_", None)
    _check_finite(checked, "X", feature_names)
    try:
        check_classification_targets(y)
        classes, codes = np.unique(y, return_inverse=True)
    except TypeError as error:
        kinds = sorted({type(label).__name__ for label in y.tolist()})
        raise ValueError(f"y must hold labels of one kind, got {len(kinds)} kinds: {', '.join(kinds)}.") from error
    if len(classes) < 2:
        raise ValueError(f"y has 1 class ({classes.tolist()[0]!r}) in {len(y)} rows; a classifier needs at least 2.")
    columns = resolve_blocks(estimator.blocks, X, checked.shape[1], feature_names)
    validation = _check_validation_rows(stand_in, X_val, y_val, classes)
    return TrainingInput(checked, codes.astype(np.int64), classes, columns, feature_names, validation)


def check_matrix(estimator, X, name="X"):
    """Check a matrix against what the estimator was fitted on; returns float32 or float64, dense or CSR."""
    with _naming_columns(X, name):
        checked = validate_data(estimator, X, reset=False, **_matrix_rules(X))
    _check_finite(checked, name, getattr(estimator, "feature_names_in_", None))
    return checked


def check_range(X, dtype, name="X"):
    """Refuse cells that are finite in X (as checked before) but not in the torch dtype that is computed in.

    Raises
    ------
    ValueError
    """
    largest = torch.finfo(dtype).max
    if float(np.finfo(X.dtype).max) <= largest:
        return
    for _, part in _parts(X.data if sp.issparse(X) else X):
        if np.abs(part).max(initial=0) > largest:
            raise ValueError(
                f"{name} contains cells beyond {largest:.1e}, too large for {str(dtype).removeprefix('torch.')}, in "
                f"which the model computes; scale the columns, or set precision='float64'."
            )


def check_signs(X, columns, scalings, name="X", feature_names=None):
    """Refuse negative cells in a block that is scaled by its logarithm.

    Parameters
    ----------
    X : ndarray or CSR matrix
    columns : ColumnBlocks
    scalings : pair of str
        Names in :data:`~skdual.scalings.SCALINGS`, of block A and of block B.
    name : str, default="X"
        Argument that X is.
    feature_names : ndarray of str, optional

    Raises
    ------
    ValueError
        Naming the first such column.
    """
    for block, index, scaling in zip(columns.names, columns.indices, scalings, strict=True):
        if not SCALINGS[scaling].logarithm:
            continue
        negative = np.zeros(X.shape[1], dtype=np.int64)
        for start, part in _parts(X.data if sp.issparse(X) else X):
            cells = np.nonzero(part < 0)
            at = X.indices[start + cells[0]] if sp.issparse(X) else cells[1]
            negative += np.bincount(at, minlength=len(negative))
        if negative[index].any():
            first = index[negative[index] > 0][0]
            where = f"column {first}" if feature_names is None else f"column {str(feature_names[first])!r}"
            raise ValueError(
                f"{name} has {negative[index].sum()} negative cell(s) in block {block!r}, in {where} first, which "
                f"standardize={scaling!r} can't take the logarithm of; scale that block another way."
            )


def _parts(values):
    """Consecutive slices of an array with their starts, small enough for a temporary copy."""
    size = max(1, _CHUNK_CELLS // max(1, values[:1].size))
    return ((start, values[start : start + size]) for start in range(0, len(values), size))


@contextmanager
def _naming_columns(X, name):
    """Say which columns of a frame are not numbers, and which argument a refusal is about if it is not X."""
    try:
        yield
    except (TypeError, ValueError) as error:
        wrong = [column for column in getattr(X, "columns", ()) if not _is_numeric(X[column])]
        if wrong:
            raise ValueError(
                f"{name} has {len(wrong)} column(s) that are not numbers, {wrong[0]!r} first; encode or drop them."
            ) from error
        if name != "X":
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{name}: {error}") from error
        raise


def _is_numeric(column):
    try:
        np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    return True


def _matrix_rules(X):
    dtypes = [np.float64, np.float32]  # the first is for what is neither
    if {str(dtype) for dtype in getattr(X, "dtypes", ())} == {"Float32"}:
        dtypes.reverse()  # scikit-learn does not see that columns of polars are float32 already
    return {"accept_sparse": "csr", "dtype": dtypes, "ensure_all_finite": False}


def _check_validation_rows(estimator, X_val, y_val, classes):
    if (X_val is None) != (y_val is None):
        given, missing = ("X_val", "y_val") if y_val is None else ("y_val", "X_val")
        raise ValueError(f"{given} was given without {missing}; validation rows need both.")
    if X_val is None:
        return None
    X_val = check_matrix(estimator, X_val, "X_val")
    y_val = column_or_1d(y_val, warn=True)
    check_consistent_length(X_val, y_val)
    return X_val, label_codes(y_val.tolist(), classes, "y_val", "y has not")


def label_codes(labels, classes, name, complaint):
    """Class codes of a list of labels, ndarray of int64.

    Raises
    ------
    ValueError
        If there are labels that are no class: ``name`` has some that ``complaint``.
    """
    # looked up as Python objects: numpy would turn labels of two types into strings and find 10 in "10"
    codes = {label: code for code, label in enumerate(classes.tolist())}
    unknown = [label for label in dict.fromkeys(labels) if label not in codes]
    if unknown:
        raise ValueError(f"{name} has {len(unknown)} label(s) that {complaint}, {unknown[0]!r} first.")
    return np.array([codes[label] for label in labels], dtype=np.int64)


def _check_finite(X, name, feature_names):
    """Refuse NaN and infinite cells with their number and the place of the first."""
    values = X.data if sp.issparse(X) else X
    n_nan = n_infinite = 0
    first = None
    for start, part in _parts(values):
        if np.isfinite(part).all():
            continue
        n_nan += int(np.isnan(part).sum())
        n_infinite += int(np.isinf(part).sum())
        if first is None:
            first = np.argwhere(~np.isfinite(part))[0]
            first[0] += start
    if first is None:
        return
    if sp.issparse(X):
        row = int(np.searchsorted(X.indptr, first[0], side="right") - 1)
        column = int(X.indices[first[0]])
    else:
        row, column = int(first[0]), int(first[1])
    where = f"column {column}" if feature_names is None else f"column {str(feature_names[column])!r}"
    raise ValueError(
        f"{name} contains {n_nan} NaN and {n_infinite} infinite (inf) cells, the first in row {row}, {where}; every "
        f"cell must be finite. Impute them first, for instance with sklearn.impute.SimpleImputer."
    )
