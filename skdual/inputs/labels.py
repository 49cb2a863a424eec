"""Checks of labels: one for every row, none missing, all of one kind."""

import datetime
import math
import numbers

import numpy as np
import scipy.sparse as sp
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

_TIMES = {"M": (np.datetime64, datetime.date), "m": (np.timedelta64, datetime.timedelta)}
_KINDS = {"str": (str,), "bytes": (bytes,), "number": (numbers.Real, np.bool_), "date": (np.datetime64,)}


def check_labels(y, name, n_rows, rows_name):
    """Labels as an array, one for every row.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
    name : str
        Argument that y is.
    n_rows : int
    rows_name : str
        Argument that holds the rows.

    Returns
    -------
    labels : ndarray of shape (n_rows,)

    Raises
    ------
    ValueError
        If there are not as many labels as rows, or labels that are missing, of several kinds or of none that can be
        a class; it names the argument and what came.
    """
    if y is None:
        raise ValueError(f"a classifier requires {name} to be passed, but the target {name} is None.")
    if isinstance(y, np.ma.MaskedArray) and np.ma.is_masked(y):
        raise ValueError(f"{name} has {np.ma.count_masked(y)} masked label(s); every row needs a label.")
    if sp.issparse(y):
        raise ValueError(f"{name} must be a 1d array with one label per row, got a sparse matrix of shape {y.shape}.")
    # as objects, for numpy makes strings of a list of strings and anything else
    values = np.asarray(y) if hasattr(y, "__array__") else np.asarray(y, dtype=object)
    if values.dtype.kind == "T":  # scikit-learn's metrics fail on them too
        raise ValueError(
            f"{name} has labels of {values.dtype}, which scikit-learn does not take; give {name}.astype(str)."
        )
    if values.ndim != 1 and not (values.ndim == 2 and values.shape[1] == 1):
        one_hot = "; if it has a column for each class, give its argmax(axis=1)" if values.ndim == 2 else ""
        raise ValueError(f"{name} must be a 1d array with one label per row, got shape {values.shape}{one_hot}.")
    _check_kinds(values.ravel(), name)
    column = y.iloc[:, 0] if hasattr(y, "iloc") and values.ndim == 2 else y
    if hasattr(getattr(column, "dtype", None), "numpy_dtype") and column.dtype.kind in "biuf":
        # nullable types of pandas, which become floats otherwise
        y = column.to_numpy(dtype=column.dtype.numpy_dtype).reshape(values.shape)
    if not hasattr(y, "__array__"):
        y = [plain_str(label) for label in y]
    labels = np.asarray(column_or_1d(y, warn=True))  # a tensor where arrays of other libraries are dispatched
    if len(labels) != n_rows:
        raise ValueError(
            f"{rows_name} and {name} must have the same number of rows; {rows_name} has {n_rows}, {name} has "
            f"{len(labels)}."
        )
    return labels


def plain_str(label):
    """A label of a subclass of str as a str, any other as it is.

    Python and numpy would call the member "a" of an enumeration E of strings "E.a", and numpy cut that short.
    """
    return str.__str__(label) if isinstance(label, str) else label


def check_classes(labels, name):
    """Refuse an array of labels that are no classes, such as the targets of a regression."""
    try:
        check_classification_targets(labels)
    except ValueError as error:
        if labels.dtype == object:  # of which scikit-learn takes strings only
            kinds = list(dict.fromkeys(map(type, labels)))
            names = " and ".join(kind.__name__ for kind in kinds)
            # another dtype would lose some of two kinds, such as 1 and 1.5, and int64 those above 64 bits
            fits = kinds in ([bool], [float]) or (kinds == [int] and -(2**63) <= min(labels) <= max(labels) < 2**63)
            remedy = names if fits else "str"
            raise ValueError(
                f"Unknown label type: {name} holds {names} as objects; give {name}.astype({remedy})."
            ) from error
        raise ValueError(f"{name} must hold class labels. {error}") from error


def encode_labels(labels, classes, name, complaint):
    """Class codes of an array of labels, ndarray of int64.

    Raises
    ------
    ValueError
        If there are labels that are no class, ``name`` has some that ``complaint``; or booleans beside numbers.
    """
    labels = _as_list(labels)
    if classes.dtype.kind in "iuf" and any(isinstance(label, bool) for label in labels):  # True is 1 to Python
        raise ValueError(f"{name} must hold numbers, as the classes are; got booleans.")
    codes = label_to_code(labels, classes)
    unknown = [label for label in dict.fromkeys(labels) if label not in codes]
    if unknown:
        raise ValueError(f"{name} has {len(unknown)} label(s) that {complaint}, {_shown(unknown[0])} first.")
    return np.array([codes[label] for label in labels], dtype=np.int64)


def encode_fitted_labels(labels, classes, name, n_rows):
    """Class codes of the labels of the rows of X, ndarray of int64, for a classifier that was fitted with ``classes``.

    Raises
    ------
    ValueError
        If there are not as many labels as rows, or labels that are none of ``classes_``.
    """
    return encode_labels(check_labels(labels, name, n_rows, "X"), classes, name, "are not in classes_")


def label_to_code(labels, classes):
    """Class code of each label, of an array or a list, that is a class, as a dict.

    Labels are looked up as Python objects: numpy would turn labels of two types into strings and find 10 in "10". Dates
    and durations are the same in any unit.
    """
    known, keys = classes.tolist(), {label: label for label in _as_list(labels)}
    if classes.dtype.kind in _TIMES:
        kinds = _TIMES[classes.dtype.kind]
        times = [time for time in keys if isinstance(time, kinds) and getattr(time, "tzinfo", None) is None]
        together = np.array([*classes, *(_of_numpy(time, kinds[0]) for time in times)]).tolist()
        known, keys = together[: len(classes)], dict(zip(times, together[len(classes) :], strict=True))
    codes = {label: code for code, label in enumerate(known)}
    return {label: codes[key] for label, key in keys.items() if key in codes}


def _as_list(labels):
    """Labels as Python objects, but times as those of numpy, which keep their unit."""
    return list(labels) if isinstance(labels, list) or labels.dtype.kind in _TIMES else labels.tolist()


def _of_numpy(time, kind):
    """A date or duration as one of numpy."""
    exact = getattr(time, f"to_{kind.__name__}", None)  # of pandas, whose nanoseconds numpy does not see
    return kind(time) if exact is None else exact()


def _shown(label):
    return str(label) if isinstance(label, np.generic) else repr(label)


def _check_kinds(values, name):
    """Refuse labels that are missing or infinite, or can't be classes together."""
    if values.dtype == object:
        missing = np.fromiter(map(_is_missing, values), dtype=bool, count=len(values))
        types = set(map(type, values))
    else:
        missing = ~np.isfinite(values) if values.dtype.kind in "fmM" else np.zeros(1, dtype=bool)  # NaT is not
        types = {values.dtype.type}
    if missing.any():
        row = int(missing.argmax())
        kind = "infinite or missing" if _is_infinite(values[row]) else "missing"
        raise ValueError(
            f"{name} has {missing.sum()} {kind} label(s), {values[row]} in row {row} first; every row needs a label."
        )
    kinds = {next((kind for kind, bases in _KINDS.items() if issubclass(t, bases)), t) for t in types}
    names = sorted(t.__name__ for t in types)
    if len(kinds) > 1:
        raise ValueError(f"{name} must hold labels of one kind, got {len(names)} kinds: {', '.join(names)}.")
    if "bytes" in kinds:
        example = bytes(values[0])
        raise ValueError(f"{name} must hold strings or numbers, got bytes, such as {example!r}; decode them to str.")
    if not kinds <= set(_KINDS):
        raise ValueError(f"{name} must hold strings, numbers or numpy dates, got {names[0]}, such as {values[0]!r}.")


def _is_infinite(label):
    return isinstance(label, numbers.Real) and label in (math.inf, -math.inf)


def _is_missing(label):
    try:
        # only NaN and its kin differ from themselves
        return label is None or bool(label != label) or _is_infinite(label)
    except TypeError:
        return True  # pandas.NA, which does not answer
    except ValueError:
        return False  # an array, which is not a label at all
