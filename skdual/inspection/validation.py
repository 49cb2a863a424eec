"""Checks of what users hand to the functions of inspection, and what it means for the network."""

import reprlib

import numpy as np
import torch
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _num_samples, check_is_fitted

from ..devices import own_modes, send
from ..estimator import DualBranchClassifier
from ..extras import import_extra
from ..inputs.columns import ColumnBlocks
from ..inputs.frames import column_label
from ..inputs.labels import check_labels, label_codes
from ..inputs.validation import check_range, check_signs
from ..scalings import SCALINGS


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


def class_codes(estimator, labels, n_rows, name):
    """Class codes of the rows, ndarray of int64.

    Parameters
    ----------
    estimator : DualBranchClassifier
    labels : array-like of shape (n_rows,)
    n_rows : int
    name : str
        Argument that the labels are.

    Raises
    ------
    ValueError
        If there are not as many labels as rows, or labels that are none of ``classes_``.
    """
    labels = check_labels(labels, name, n_rows, "X")
    return label_codes(labels, estimator.classes_, name, "are not in classes_")


def column_centers(network):
    """Where the scaling of every column of both blocks has its zero, tensors of shape (1, p); 0 without a scaling."""
    centers = []
    for scaling, scaler in zip(network.scalings, (network.scaler_a, network.scaler_b), strict=True):
        center = torch.expm1(scaler.center) if SCALINGS[scaling].logarithm else scaler.center
        centers.append(center[None])
    return tuple(centers)


def column_scales(network):
    """What every column of both blocks (its logarithm with "log1p") is divided by, tensors of shape (1, p)."""
    return network.scaler_a.scale[None], network.scaler_b.scale[None]


def baseline_blocks(estimator, baseline):
    """The baseline, None or an array of shape (n_features,), as one row of both blocks.

    Raises
    ------
    ValueError
        If the array is not one finite number a column, has the names of other columns, is too large for what the model
        computes in, or negative where the logarithm is taken.
    """
    centers = column_centers(estimator.network_)
    if baseline is None:
        return centers
    names = getattr(estimator, "feature_names_in_", None)
    _check_names_of_baseline(baseline, names)
    baseline = _numbers(baseline, estimator.n_features_in_)
    if not np.isfinite(baseline).all():
        first = np.flatnonzero(~np.isfinite(baseline))[0]
        raise ValueError(f"baseline must be finite; got {baseline[first]} for {column_label(first, names)}.")
    check_range(baseline[None], centers[0].dtype, "baseline", names)
    columns = ColumnBlocks(estimator.block_names_, estimator.block_indices_)
    check_signs(baseline[None], columns, estimator.network_.scalings, "baseline", names)
    blocks = tuple(
        send(torch.from_numpy(baseline[index]), center.device, center.dtype)[None]
        for index, center in zip(estimator.block_indices_, centers, strict=True)
    )
    with own_modes(), torch.no_grad():
        if not estimator.network_.scores(*blocks).isfinite().all():
            raise ValueError("baseline has values so large that what the network makes of them is not finite.")
    return blocks


def _check_names_of_baseline(baseline, names):
    """Refuse a Series with the names of other columns, or of these in another order, for it is taken by position."""
    pandas = import_extra("pandas", extra="inspection", caller="skdual.inspection")
    if names is None or not isinstance(baseline, pandas.Series) or len(baseline) != len(names):
        return
    index = baseline.index.tolist()
    wrong = [(came, name) for came, name in zip(index, names, strict=True) if came != name]
    if wrong and all(isinstance(label, str) for label in index):
        raise ValueError(
            f"baseline must have the columns of the fit in their order (feature_names_in_); got {wrong[0][0]!r} where "
            f"{str(wrong[0][1])!r} belongs."
        )


def _numbers(baseline, n_features):
    """The baseline as ndarray of float64 of shape (n_features,)."""
    try:
        row = np.asarray(baseline)
        if row.dtype.kind not in "biufO":  # texts and complex numbers would be turned into others
            raise TypeError(f"values of {row.dtype}")
        row = row.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"baseline must hold one number a column, shape ({n_features},); got {reprlib.repr(baseline)}."
        ) from error
    if row.shape != (n_features,):
        raise ValueError(f"baseline must hold one number a column, shape ({n_features},); got shape {row.shape}.")
    return row


def column_names(estimator, feature_names):
    """A pandas MultiIndex ("block", "feature") over the columns of block A, then those of block B.

    Raises
    ------
    ValueError
        If ``feature_names`` are not one str a column of X, or the names of the fit in another order.
    """
    pandas = import_extra("pandas", extra="inspection", caller="skdual.inspection")
    n_features = estimator.n_features_in_
    of_fit = getattr(estimator, "feature_names_in_", [f"x{column}" for column in range(n_features)])
    names = of_fit if feature_names is None else feature_names
    if not hasattr(names, "__len__") or isinstance(names, (str, set, dict)):
        raise ValueError(f"feature_names must be one str a column, {n_features} of them; got {reprlib.repr(names)}.")
    names = list(names)
    if len(names) != n_features:
        raise ValueError(f"feature_names must be one str a column; got {len(names)} for {n_features} columns.")
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        raise ValueError(f"feature_names must be one str a column; got {reprlib.repr(wrong[0])} among them.")
    if names != list(of_fit) and sorted(names) == sorted(of_fit):
        raise ValueError(
            "feature_names must be in the order of the columns; got those of the fit (feature_names_in_) in another."
        )
    blocks = zip(estimator.block_names_, estimator.block_indices_, strict=True)
    pairs = [(block, names[column]) for block, index in blocks for column in index]
    return pandas.MultiIndex.from_tuples(pairs, names=["block", "feature"])


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
    try:
        check_classification_targets(y)
    except ValueError as error:
        raise ValueError(f"y must hold class labels. {error}") from error
    return y
