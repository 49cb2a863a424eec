"""Checks of what users hand to the functions of inspection, and what it means for the network."""

import numpy as np
import torch
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from ..devices import send
from ..estimator import DualBranchClassifier
from ..inputs.validation import check_signs, label_codes
from ..scalings import SCALINGS
from .extras import import_extra


def check_classifier(estimator):
    """Refuse what is not a fitted :class:`~skdual.DualBranchClassifier`."""
    if not isinstance(estimator, DualBranchClassifier):
        raise TypeError(
            f"estimator must be a DualBranchClassifier, got {type(estimator).__name__}; of a pipeline take the last "
            f"step, pipeline[-1], with the rows that it sees, pipeline[:-1].transform(X)."
        )
    check_is_fitted(estimator)


def class_codes(estimator, labels, n_rows, name):
    """Class codes of the rows, ndarray of int64, from one label for all or from one label a row.

    Raises
    ------
    ValueError
        If there are not as many labels as rows, or labels that are none of ``classes_``.
    """
    labels = [np.asarray(labels).tolist()] * n_rows if np.ndim(labels) == 0 else column_or_1d(labels).tolist()
    if len(labels) != n_rows:
        raise ValueError(f"{name} must be one label or one a row; got {len(labels)} labels for {n_rows} rows.")
    return label_codes(labels, estimator.classes_, name, "are not in classes_")


def column_centres(network):
    """What the scaling of every column of both blocks turns into 0, tensors of shape (1, p); 0 without a scaling."""
    centres = []
    for scaling, scaler, branch in _scalings(network):
        centre = torch.zeros_like(branch.shortcut.weight[0, 0]) if scaling == "none" else scaler.mean
        centres.append((torch.expm1(centre) if SCALINGS[scaling].logarithm else centre).detach()[None])
    return tuple(centres)


def column_scales(network):
    """What every column of both blocks (its logarithm with "log1p") is divided by, tensors of shape (1, p)."""
    return tuple(
        (torch.ones_like(branch.shortcut.weight[0, 0]) if scaling == "none" else scaler.scale).detach()[None]
        for scaling, scaler, branch in _scalings(network)
    )


def _scalings(network):
    return zip(
        network.scalings, (network.scaler_a, network.scaler_b), (network.branch_a, network.branch_b), strict=True
    )


def baseline_blocks(estimator, baseline):
    """The baseline, None or an array of shape (n_features,), as one row of both blocks.

    Raises
    ------
    ValueError
        If the array is not one finite number a column, or negative where the logarithm is taken.
    """
    centres = column_centres(estimator.network_)
    if baseline is None:
        return centres
    baseline = np.asarray(baseline, dtype=np.float64)
    if baseline.shape != (estimator.n_features_in_,):
        raise ValueError(
            f"baseline must hold one number a column, shape ({estimator.n_features_in_},); got shape {baseline.shape}."
        )
    if not np.isfinite(baseline).all():
        raise ValueError(f"baseline must be finite; column {np.flatnonzero(~np.isfinite(baseline))[0]} is not.")
    check_signs(baseline[None], estimator._columns(), estimator.network_.scalings, "baseline")
    return tuple(
        send(torch.from_numpy(baseline[index]), centre.device, centre.dtype)[None]
        for index, centre in zip(estimator.block_indices_, centres, strict=True)
    )


def column_names(estimator, feature_names):
    """A pandas MultiIndex ("block", "feature") over the columns of block A, then those of block B.

    Raises
    ------
    ValueError
        If ``feature_names`` are not one name a column of X.
    """
    pandas = import_extra("pandas")
    n_features = estimator.n_features_in_
    if feature_names is None:
        feature_names = getattr(estimator, "feature_names_in_", [f"x{column}" for column in range(n_features)])
    feature_names = column_or_1d(np.asarray(feature_names, dtype=object))
    if len(feature_names) != n_features:
        raise ValueError(f"feature_names must be one a column; got {len(feature_names)} for {n_features} columns.")
    blocks = zip(estimator.block_names_, estimator.block_indices_, strict=True)
    pairs = [(block, name) for block, index in blocks for name in feature_names[index]]
    return pandas.MultiIndex.from_tuples(pairs, names=["block", "feature"])


def check_labels(X, y):
    """y as an array of as many labels as X has rows."""
    check_consistent_length(X, y)
    return column_or_1d(y)
