"""Checks of what users hand to the functions of inspection."""

from numbers import Integral

from sklearn.utils.validation import _num_samples

from ..inputs.labels import check_classes, check_labels


def check_method(method, methods):
    """Refuse what is not the name of one of the methods."""
    if not isinstance(method, str) or method not in methods:
        raise ValueError(f"method must be one of {', '.join(map(repr, methods))}; got {method!r}.")


def check_targets(X, y):
    """y as an array of as many class labels as X has rows.

    Raises
    ------
    ValueError
        If it is something else.
    TypeError
        If X has no rows to count.
    """
    try:
        n_rows = _num_samples(X)
    except TypeError as error:
        raise TypeError(f"X must be an array-like, a sparse matrix or a frame, got {type(X).__name__}.") from error
    y = check_labels(y, "y", n_rows, "X")
    if not len(y):
        raise ValueError("X and y must have at least one row, got none.")
    check_classes(y, "y")
    return y


def check_positive_int(value, name):
    """Refuse what is not an int of at least 1."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be an int of at least 1, got {value!r}.")
