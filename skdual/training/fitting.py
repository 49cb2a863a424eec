"""One whole fit: validation rows, settings, statistics, training, and what is read from held-out rows."""

import copy
import math
from typing import NamedTuple

import numpy as np
import torch

from ..defaults import allows_row_norms
from ..devices import isolated_random_state, min_bfloat16_weights, resolve_dtype
from ..inference import run_in_chunks
from ..inputs.chunks import zero_shares
from ..inputs.duplicates import first_occurrences
from ..inputs.matrices import matrix_for_training
from ..inputs.rows import Rows
from ..inputs.validation import check_range
from ..network.members import n_plain_members
from ..parameters import resolve_settings
from ..scaling.validation import check_non_negative
from ..warn import warn
from .build import build_net
from .calibration import calibrate
from .columns.preparation import prepare_columns
from .columns.relevance import set_relevance
from .held_out import split_rows, training_mask
from .loop.interrupts import held_interrupts
from .loop.net import DualBranchNet
from .skorch_arguments import check_callbacks, check_net_params
from .span.training import SpanTraining
from .warm_start import KEPT_IF_AUTO, check_continuation

_SHIFT = 0.5  # scaled columns give the first layer's units a deviation of 1.4


class Fit(NamedTuple):
    """What a fit has made.

    Attributes
    ----------
    net : DualBranchNet
    settings : dict of dict
        What :func:`~skdual.parameters.resolve_settings` made of the parameters, and the fit of the rows; and ``split``:
        the ``fraction`` of the rows set aside for validation, or None, and the ``seed`` of that.
    rejection_threshold : float or None
        The familiarity that a share ``rejection_quantile`` of the validation rows does not reach.
    """

    net: DualBranchNet
    settings: dict
    rejection_threshold: float | None


def fit_network(params, data, device, seed, previous=None):
    """One whole fit.

    Parameters
    ----------
    params : dict
        All parameters of the estimator, each value within its constraints.
    data : TrainingInput
    device : torch.device
    seed : int
        Of weights, dropout, batches, bank, mixing, validation split, and coordinates of wide blocks.
    previous : PreviousFit, optional
        Where to go on from; without it the weights are new, and columns are scaled by the training rows.

    Returns
    -------
    fit : Fit
    """
    check_callbacks(params["callbacks"], has_validation=data.validation is not None or params["early_stopping"])
    check_net_params(params["net_params"])
    dtype = resolve_dtype(params["precision"], data.X.dtype, device)
    split = _validation_split(params, data, seed, previous)
    training, validation, original = _rows_of_fit(data, device, dtype, split)
    settings = _checked_settings(params, data, training, validation, split, previous)
    mask = training_mask(settings["module"]["n_members"], training.y, original, params["early_stopping"])
    module = settings["module"]
    with isolated_random_state(device, seed):
        if previous is None:
            has_plain_members = n_plain_members(module["n_members"]) > 0
            columns = prepare_columns(
                training, original, module["standardize"], dtype, has_plain_members, data.feature_names
            )
            module.update(columns.settings)
        net = _build_net(params, settings, device, dtype, seed)
        if previous is None:
            net.module_.load_columns(columns.scalers, columns.whitening)
            _shift_units(net.module_, training)
            set_relevance(net.module_, training, mask, columns.scalers, net.criterion__class_weight)
        else:
            net.module_.load_state_dict(previous.weights)
            net.module_.ensemble.reset()
        span = SpanTraining(net, training, validation)
        span.enter(mask, seed, fitted_before=previous is not None)
        with held_interrupts() as held:
            net.partial_fit(
                span.training,
                mask=mask,
                interrupts=held,
                validation=span.validation,
                before_scoring=span.drop_held_out,
            )
            span.leave()
            net.module_.merge_relevance()
            calibrate(net.module_, training, validation, mask, net.criterion__class_weight)
            rejection_threshold = _rejection_threshold(net.module_, validation, settings["rejection"]["quantile"])
            if held:
                held.clear()
                warn("Ctrl-C came after the last epoch; the fit was finished.")
    return Fit(net, settings, rejection_threshold)


def _validation_split(params, data, seed, previous):
    """Which fraction of X to set aside, if any, and the seed of that."""
    sets_aside = params["early_stopping"] and data.validation is None
    return {
        # a warm start that split the rows anew would validate on rows that it has learnt
        "seed": seed if previous is None else previous.settings["split"]["seed"],
        "fraction": float(params["validation_fraction"]) if sets_aside else None,
    }


def _checked_settings(params, data, training, validation, split, previous):
    """The settings of the fit, in agreement with the values of X and with the previous fit."""
    if previous is not None:
        kept = {name: previous.settings["module"][name] for name in KEPT_IF_AUTO if isinstance(params[name], str)}
        params = {**params, **kept}
    settings = resolve_settings(
        params,
        n_columns=data.columns.n_columns,
        codes=data.y,
        classes=data.classes,
        n_train=len(training),
        zero_shares=lambda: zero_shares(training),
        min_bfloat16_weights=min_bfloat16_weights(training.device) if training.dtype == torch.float32 else math.inf,
        block_names=data.columns.names,
        has_validation=validation is not None,
    )
    settings["split"] = split
    if previous is not None:  # columns stay scaled and whitened as they were, whatever the rows
        for name in ("row_norms", "n_hats", "whitening_ranks"):
            settings["module"][name] = previous.settings["module"][name]
    scalings = settings["module"]["standardize"]
    check_non_negative(data.X, data.columns, scalings, feature_names=data.feature_names)
    if data.validation is not None:
        check_non_negative(data.validation[0], data.columns, scalings, "X_val", data.feature_names)
    if previous is not None:
        check_continuation(previous, data, settings)
    return settings


def _rows_of_fit(data, device, dtype, split):
    """Rows to train on, rows to validate on or None, and the first training row that each of these is a copy of.

    Validation rows are those of the user, or a fraction of X.
    """
    check_range(data.X, dtype, feature_names=data.feature_names)
    matrix = matrix_for_training(data.X, device, dtype)
    everything = Rows(data.X, data.columns, device, dtype, data.y, matrix=matrix)
    original = first_occurrences(everything)
    if data.validation is not None:
        X_val, y_val = data.validation
        check_range(X_val, dtype, "X_val", data.feature_names)
        validation = Rows(X_val, data.columns, device, dtype, y_val, matrix=matrix_for_training(X_val, device, dtype))
        return everything, validation, original
    if split["fraction"] is None:
        return everything, None, original
    subsets = split_rows(data.y, split["fraction"], split["seed"], original)
    training, validation = (Rows(data.X, data.columns, device, dtype, data.y, subset, matrix) for subset in subsets)
    return training, validation, np.searchsorted(training.subset, original[training.subset])


def _build_net(params, settings, device, dtype, seed):
    """The net, with callbacks of its own; what these were given, such as a trial to report to, is the caller's."""
    callbacks = params["callbacks"]
    callbacks = callbacks and [tuple(map(copy.copy, c)) if isinstance(c, tuple) else copy.copy(c) for c in callbacks]
    of_net = {name: params[name] for name in ("net_params", "verbose", "compile")}
    return build_net(settings, device, dtype, seed, callbacks=callbacks, **of_net)


def _rejection_threshold(network, validation, quantile):
    if quantile is None:
        return None
    familiarity = run_in_chunks(network, "familiarity", validation)
    if not np.isfinite(familiarity).all():
        raise ValueError(
            f"rejection_quantile={quantile} learns its threshold from the validation rows, "
            f"{np.sum(~np.isfinite(familiarity))} of which have values too large to compute with; scale their columns."
        )
    return float(np.quantile(familiarity, quantile))


def _shift_units(network, rows):
    """Let the units of a branch tell the norm of rows from the start, where these are enough."""
    for branch, p in zip(network.branches, rows.columns.n_columns, strict=True):
        if allows_row_norms(len(rows), p):
            branch.shift_units(_SHIFT)
