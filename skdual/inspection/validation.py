"""Checks of what users hand to the functions of inspection."""

from numbers import Integral

from sklearn.utils.validation import _num_samples, check_is_fitted

from ..estimator import DualBranchClassifier
from ..inputs.labels import check_classes, check_labels


def check_classifier(estimator):
    """Refuse what is not a fitted :class:`~skdual.DualBranchClassifier`."""
    if not isinstance(estimator, DualBranchClassifier):
        raise TypeError(
            f"estimator must be a DualBranchClassifier, got {type(estimator).__name__}; of a pipeline take the last "
            f"step, pipeline[-1], with the rows that it sees, pipeline[:-1].transform(X)."
        )
    check_is_fitted(estimator)


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
    """
    y = check_labels(y, "y", _num_samples(X), "X")
    if not len(y):
        raise ValueError("X and y must have at least one row, got none.")
    check_classes(y, "y")
    return y


def check_positive_int(value, name):
    """Refuse what is not an int of at least 1."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be an int of at least 1, got {value!r}.")
