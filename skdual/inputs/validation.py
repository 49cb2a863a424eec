"""Checks of what users hand to fit and predict; nothing is written on the estimator."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.utils.validation import validate_data

from .columns import ColumnBlocks, resolve_blocks
from .frames import check_container, column_label, dtype_names, plain_container
from .labels import check_classes, check_labels, encode_labels
from .slices import slices_of, slices_of_csr


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
    X = plain_container(X, "X")
    checked = _checked_matrix(stand_in, X, "X", reset=True)
    feature_names = getattr(stand_in, "feature_names_in_", None)
    y = check_labels(y, "y", checked.shape[0], "X")
    check_classes(y, "y")
    classes, codes = np.unique(y, return_inverse=True)
    classes = classes.astype(classes.dtype.newbyteorder("="), copy=False)  # as it will be once it is loaded
    if len(classes) < 2:
        raise ValueError(f"y has 1 class ({classes.tolist()[0]!r}) in {len(y)} rows; a classifier needs at least 2.")
    columns = resolve_blocks(estimator.blocks, X, checked.shape[1], feature_names)
    validation = _check_validation_rows(stand_in, X_val, y_val, classes)
    return TrainingInput(checked, codes.astype(np.int64), classes, columns, feature_names, validation)


def check_matrix(estimator, X, name="X"):
    """Check a matrix against what the estimator was fitted on; returns float32 or float64, dense or CSR."""
    return _checked_matrix(estimator, plain_container(X, name), name, reset=False)


def check_range(X, dtype, name="X", feature_names=None):
    """Refuse values that are finite in X (as checked before) but not in the torch dtype that is computed in.

    Raises
    ------
    ValueError
        With the place of the first such value.
    """
    largest = torch.finfo(dtype).max
    if float(np.finfo(X.dtype).max) <= largest:
        return
    for start, part in slices_of(X.data if sp.issparse(X) else X):
        if np.abs(part).max(initial=0) > largest:
            first = _first_place(X, start, np.abs(part) > largest, feature_names)
            raise ValueError(
                f"{name} contains values beyond {largest:.1e}, the first in {first}, too large for "
                f"{str(dtype).removeprefix('torch.')}, in which the model computes; scale the columns, or set "
                f"precision='float64'."
            )


def _checked_matrix(estimator, X, name, reset):
    """X as float32 or float64, dense or CSR, every value finite and there once; refusals say which argument it is."""
    check_container(X, name)
    try:
        checked = validate_data(estimator, X, reset=reset, **_matrix_rules(X))
    except (TypeError, ValueError) as error:
        if name in str(error):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name}: {str(error).rstrip('.')}{_place_of_no_number(X)}.") from error
    if checked.dtype.kind != "f":  # scikit-learn leaves sparse booleans of pandas what they are
        checked = checked.astype(np.float64)
    if sp.issparse(checked):
        check_column_numbers(checked, name)
    if sp.issparse(checked) and _has_duplicates(checked):
        checked = checked.copy()  # which may be the user's own
        checked.sum_duplicates()
    check_finite(checked, name, getattr(estimator, "feature_names_in_", None))
    return checked


def _place_of_no_number(X):
    """Where the first value of an array lies that is no number, for a message; nothing where all are."""
    for place, value in np.ndenumerate(X) if isinstance(X, np.ndarray) and X.ndim == 2 else ():
        try:
            float(value)
        except (TypeError, ValueError):
            return f", in row {place[0]}, column {place[1]}"
    return ""


def check_column_numbers(X, name):
    """Refuse a CSR matrix with values outside of its columns, which scipy lets through where it is put together."""
    for start, part in slices_of(X.indices):
        wrong = (part < 0) | (part >= X.shape[1])
        if wrong.any():
            at = start + int(wrong.argmax())
            row = np.searchsorted(X.indptr, at, side="right") - 1
            raise ValueError(
                f"{name} has {X.shape[1]} columns, but a value in row {row} is in column {X.indices[at]}; its indices "
                f"or its shape are wrong."
            )


def _has_duplicates(X):
    """Whether a CSR matrix holds a value twice; one of unsorted columns is looked at some rows at a time."""
    if X.has_canonical_format:
        return False
    for part in slices_of_csr(X):
        n_stored = part.nnz
        part.sum_duplicates()
        if part.nnz < n_stored:
            return True
    return False


def _matrix_rules(X):
    dtypes = [np.float64, np.float32]  # the first is for what is neither
    names = dtype_names(X)
    if names and {"float16", "float32"}.issuperset(names):
        dtypes.reverse()  # float32 holds them, of whatever container or byte order
    return {"accept_sparse": "csr", "dtype": dtypes, "ensure_all_finite": False}


def _check_validation_rows(estimator, X_val, y_val, classes):
    if (X_val is None) != (y_val is None):
        given, missing = ("X_val", "y_val") if y_val is None else ("y_val", "X_val")
        raise ValueError(f"{given} was given without {missing}; validation rows need both.")
    if X_val is None:
        return None
    X_val = check_matrix(estimator, X_val, "X_val")
    y_val = check_labels(y_val, "y_val", X_val.shape[0], "X_val")
    return X_val, encode_labels(y_val, classes, "y_val", "do not occur in y")


def check_finite(X, name, feature_names):
    """Refuse NaN and infinite values with their number and the place of the first."""
    values = X.data if sp.issparse(X) else X
    n_nan = n_infinite = 0
    first = None
    for start, part in slices_of(values):
        if np.isfinite(part).all():
            continue
        n_nan += int(np.isnan(part).sum())
        n_infinite += int(np.isinf(part).sum())
        first = first or _first_place(X, start, ~np.isfinite(part), feature_names)
    if first is not None:
        infinite = "Put NaN in the place of infinite values, and impute" if n_infinite else "Impute"
        raise ValueError(
            f"{name} contains {n_nan} NaN and {n_infinite} infinite (inf) values, the first in {first}; every value "
            f"must be finite. {infinite} NaN, for instance with sklearn.impute.SimpleImputer."
        )


def _first_place(X, start, wrong, feature_names):
    """Row and column of the first true entry of ``wrong``, a mask over one of the slices of X (of its data if CSR)."""
    at = np.argwhere(wrong)[0]
    at[0] += start
    if sp.issparse(X):
        at = np.searchsorted(X.indptr, at[0], side="right") - 1, X.indices[at[0]]
    return f"row {at[0]}, {column_label(at[1], feature_names)}"
