"""The reference row that attributions are measured from."""

import reprlib

import numpy as np
import torch

from ..devices import own_modes, send
from ..extras import import_extra
from ..fitted_methods import columns_of
from ..inputs.frames import check_not_masked, column_label
from ..inputs.validation import check_range
from ..scaling.validation import check_non_negative


def baseline_blocks(estimator, baseline):
    """The baseline, None or an array of shape (n_features,), as one row of both blocks.

    Raises
    ------
    ValueError
        If the array is not one finite number per column, is masked, has the names of other columns, is too large for
        what the model computes in, or negative where the logarithm is taken.
    """
    network = estimator.network_
    centers = tuple(scaler.origin[None] for scaler in network.scalers)
    if baseline is None:
        return centers
    names = getattr(estimator, "feature_names_in_", None)
    check_not_masked(baseline, "baseline")
    _check_names_of_baseline(baseline, names)
    baseline = _numbers(baseline, estimator.n_features_in_)
    if not np.isfinite(baseline).all():
        first = np.flatnonzero(~np.isfinite(baseline))[0]
        raise ValueError(f"baseline must be finite; got {baseline[first]} for {column_label(first, names)}.")
    check_range(baseline[None], centers[0].dtype, "baseline", names)
    check_non_negative(baseline[None], columns_of(estimator), network.scalings, "baseline", names)
    blocks = tuple(
        send(torch.from_numpy(baseline[index]), center.device, center.dtype)[None]
        for index, center in zip(estimator.block_indices_, centers, strict=True)
    )
    with own_modes(), torch.no_grad():
        if not network.scores(*blocks).isfinite().all():
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
            f"baseline must hold one number per column, shape ({n_features},); got {reprlib.repr(baseline)}."
        ) from error
    if row.shape != (n_features,):
        raise ValueError(f"baseline must hold one number per column, shape ({n_features},); got shape {row.shape}.")
    return row
