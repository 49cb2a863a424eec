"""The net of a fit, or of a file, from its settings."""

from inspect import signature

import torch
from skorch.callbacks import Callback, LRScheduler

from ..losses import CompositeLoss
from ..network import DualBranchNetwork
from .loop.cuda_graph import can_capture
from .loop.net import DualBranchNet

_NOT_USED = ("iterator_train", "iterator_valid", "dataset", "train_split")
# what the estimator's own parameters settle: names with all that skorch lets follow them, such as module__dropout
_SETTLED_PREFIXES = {"criterion", "classes", "device", "batch_size", "callbacks", *signature(DualBranchNet).parameters}
_SETTLED_NAMES = {"max_epochs", "lr", "optimizer__lr", "optimizer__weight_decay", "verbose", "compile", "warm_start"}
_FUSED_ADAMW = ("cpu", "cuda")
_NOT_WITH_FUSED = {"optimizer", "optimizer__foreach"}


def check_callbacks(callbacks, has_validation):
    """Refuse what is no skorch callback, or one that can't do here what it is for.

    Parameters
    ----------
    callbacks : list or None
        Callbacks, or pairs (name, callback).
    has_validation : bool
        Whether there are validation rows to watch.

    Raises
    ------
    ValueError
        If one is something else, sets the learning rate, or watches validation rows that there are not.
    """
    for callback in callbacks or ():
        is_pair = isinstance(callback, tuple) and len(callback) == 2 and isinstance(callback[0], str)
        named = callback[1] if is_pair else callback
        if not isinstance(named, Callback) and not (isinstance(named, type) and issubclass(named, Callback)):
            raise ValueError(f"callbacks must be skorch callbacks or pairs (name, callback), got {callback!r}.")
        if isinstance(named, LRScheduler) or (isinstance(named, type) and issubclass(named, LRScheduler)):
            raise ValueError(
                "callbacks: LRScheduler would be overridden, because learning_rate, warmup and max_epochs settle the "
                "learning rate of every step."
            )
        monitor = getattr(named, "monitor", None)
        if isinstance(monitor, str) and monitor.startswith("valid_") and not has_validation:
            raise ValueError(
                f"callbacks: {type(named).__name__} watches {monitor!r}, but there are no validation rows; give X_val "
                f"and y_val to fit, or set early_stopping=True or monitor='train_loss'."
            )


def check_net_params(net_params):
    """Refuse names of what has no effect here, or of what the estimator's own parameters settle.

    Parameters
    ----------
    net_params : dict or None

    Raises
    ------
    ValueError
        If there is one.
    """
    for name in net_params or ():
        prefix = str(name).split("__")[0]
        if prefix in _NOT_USED:
            raise ValueError(f"net_params: {name!r} has no effect, because skdual feeds the rows itself.")
        if name in _SETTLED_NAMES or prefix in _SETTLED_PREFIXES:
            raise ValueError(f"net_params: {name!r} follows from the estimator's own parameters; set these.")


def build_net(settings, device, dtype, seed, *, callbacks=None, net_params=None, verbose=0, compile=False):
    """An initialised :class:`~skdual.training.loop.net.DualBranchNet` with fresh weights.

    Parameters
    ----------
    settings : dict of dict
        From :func:`~skdual.parameters.resolve_settings`.
    device : torch.device
    dtype : torch.dtype
    seed : int
    callbacks : list of skorch callbacks, optional
        Used as they are.
    net_params : dict, optional
        Further arguments of the net.
    verbose : int, default=0
    compile : bool, default=False

    Raises
    ------
    ValueError
        If the net refuses ``net_params``.
    """
    net_params = net_params or {}
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
        # every update does the same, unless a bank grows, or code of the user's looks into it
        "capture_updates": can_capture(device)
        and not (settings["net"]["memory_bank_size"] or callbacks or compile or net_params),
        **settings["net"],
        **{f"module__{name}": value for name, value in settings["module"].items()},
        **{f"criterion__{name}": value for name, value in settings["criterion"].items()},
    }
    if device.type in _FUSED_ADAMW and _NOT_WITH_FUSED.isdisjoint(net_params):
        arguments["optimizer__fused"] = True
    arguments.update(net_params)
    try:
        return DualBranchNet(DualBranchNetwork, **arguments).initialize()
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        if not net_params:
            raise
        raise ValueError(f"net_params={net_params!r} was refused by the skorch net: {error}") from error
