"""Building the net from settled parameters, and one whole fit of it."""

import numpy as np
import torch
from sklearn.model_selection import train_test_split

from ..devices import isolated_random_state
from ..inputs.rows import Rows, column_statistics
from ..losses import CompositeLoss
from ..network import DualBranchNetwork
from .net import DualBranchNet

_NOT_USED = ("iterator_train", "iterator_valid", "dataset", "train_split")
_FUSED_ADAMW = ("cpu", "cuda")


def build_net(settings, device, dtype, seed, callbacks, verbose, compile, net_params):
    """An initialised :class:`~skdual.training.net.DualBranchNet` with fresh weights.

    Parameters
    ----------
    settings : dict of dict
        From :func:`~skdual.parameters.settle`.
    device : torch.device
    dtype : torch.dtype
    seed : int
    callbacks : list or None
        skorch callbacks, used as they are.
    verbose : int
    compile : bool
    net_params : dict or None
        Merged last.

    Raises
    ------
    ValueError
        If the net refuses ``net_params``, or they name a part of skorch that is not used here.
    """
    net_params = dict(net_params or {})
    useless = [name for name in net_params if str(name).split("__")[0] in _NOT_USED]
    if useless:
        raise ValueError(f"net_params: {useless[0]!r} has no effect, because skdual feeds the rows itself.")
    arguments = {
        "criterion": CompositeLoss,
        "optimizer": torch.optim.AdamW,
        "train_split": None,
        "classes": list(range(settings["module"]["n_classes"])),
        "device": device,
        "dtype": dtype,
        "seed": seed,
        "callbacks": list(callbacks) if callbacks else None,
        "verbose": verbose,
        "compile": compile,
        **settings["net"],
        **{f"module__{name}": value for name, value in settings["module"].items()},
        **{f"criterion__{name}": value for name, value in settings["criterion"].items()},
    }
    if "optimizer" not in net_params and device.type in _FUSED_ADAMW:
        arguments["optimizer__fused"] = True
    arguments.update(net_params)
    try:
        return DualBranchNet(DualBranchNetwork, **arguments).initialize()
    except (TypeError, ValueError, AttributeError) as error:
        if not net_params:
            raise
        raise ValueError(f"net_params={net_params!r} was refused by the skorch net: {error}") from error


def split_rows(codes, validation_fraction, seed):
    """Row numbers to train on and to validate on, stratified; classes of one row stay in training.

    Raises
    ------
    ValueError
        If the fraction leaves too few rows on either side for one of each class.
    """
    rows = np.arange(len(codes))
    single = np.bincount(codes)[codes] < 2
    try:
        train, valid = train_test_split(
            rows[~single], test_size=validation_fraction, stratify=codes[~single], random_state=seed
        )
        train = np.sort(np.concatenate([train, rows[single]]))
        if len(np.unique(codes[train])) < codes.max() + 1:
            raise ValueError("a class would have no row to train on")
    except ValueError as error:
        raise ValueError(
            f"early_stopping=True sets validation_fraction={validation_fraction} of {len(codes)} rows aside, with rows "
            f"of every class on both sides, which can't be done here ({error}); change validation_fraction or give "
            f"X_val and y_val to fit."
        ) from error
    return train, np.sort(valid)


def train(build, data, train_rows, valid_rows, device, dtype, seed, initial_weights):
    """One fit.

    Parameters
    ----------
    build : callable
        Gives an initialised net.
    data : TrainingInput
    train_rows, valid_rows : ndarray of int64 or None
        Rows of ``data.X``; None trains on all, or validates on ``data.validation`` if there is any.
    device : torch.device
    dtype : torch.dtype
    seed : int
    initial_weights : dict of tensors or None
        State to go on from; None starts anew, with the column statistics of the training rows.

    Returns
    -------
    net : DualBranchNet
    """
    training = Rows(data.X, data.columns, device, dtype, data.y, train_rows)
    validation = None
    if data.validation is not None:
        validation = Rows(data.validation[0], data.columns, device, dtype, data.validation[1])
    elif valid_rows is not None:
        validation = Rows(data.X, data.columns, device, dtype, data.y, valid_rows)
    with isolated_random_state(device, seed):
        net = build()
        if initial_weights is not None:
            net.module_.load_state_dict(initial_weights)
        else:
            _set_statistics(net.module_, training)
        return net.partial_fit(training, validation=validation)


def _set_statistics(network, rows):
    scalers = [network.scaler_a, network.scaler_b]
    if not hasattr(scalers[0], "set_statistics"):
        return
    mean, scale = column_statistics(rows)
    for scaler, index in zip(scalers, rows.columns.indices, strict=True):
        scaler.set_statistics(mean[index], scale[index])
