"""The net of a fit, or of a file, from its settings."""

from inspect import signature

import torch
from skorch.callbacks import Callback, LRScheduler

from ..losses import CompositeLoss
from ..network import DualBranchNetwork
from .cuda_graph import can_capture
from .net import DualBranchNet

_NOT_USED = ("iterator_train", "iterator_valid", "dataset", "train_split")
# with everything of theirs, such as module__dropout, and by their whole names
_OF_THE_ESTIMATOR = {"criterion", "classes", "device", "batch_size", "callbacks", *signature(DualBranchNet).parameters}
_EXACTLY = {"max_epochs", "lr", "optimizer__lr", "optimizer__weight_decay", "verbose", "compile"}
_FUSED_ADAMW = ("cpu", "cuda")
_NOT_WITH_FUSED = {"optimizer", "optimizer__foreach"}


def build_net(settings, params, device, dtype, seed):
    """An initialised :class:`~skdual.training.net.DualBranchNet` with fresh weights.

    Parameters
    ----------
    settings : dict of dict
        From :func:`~skdual.parameters.resolve_settings`.
    params : dict
        Of the estimator; ``callbacks`` (used as they are), ``verbose`` and ``compile`` are read.
    device : torch.device
    dtype : torch.dtype
    seed : int

    Raises
    ------
    ValueError
        If the net refuses ``net_params``, or they name a part of skorch that is not used here, or what the estimator's
        own parameters settle.
    """
    for callback in params["callbacks"] or ():
        is_pair = isinstance(callback, tuple) and len(callback) == 2 and isinstance(callback[0], str)
        named = callback[1] if is_pair else callback
        if not isinstance(named, Callback) and not (isinstance(named, type) and issubclass(named, Callback)):
            raise ValueError(f"callbacks must be skorch callbacks or pairs (name, callback), got {callback!r}.")
        if isinstance(named, LRScheduler) or (isinstance(named, type) and issubclass(named, LRScheduler)):
            raise ValueError(
                "callbacks: LRScheduler would be overridden, because learning_rate, warmup and max_epochs settle the "
                "learning rate of every step."
            )
    net_params = settings["net_params"]
    useless = [name for name in net_params if str(name).split("__")[0] in _NOT_USED]
    if useless:
        raise ValueError(f"net_params: {useless[0]!r} has no effect, because skdual feeds the rows itself.")
    settled = [n for n in net_params if n in _EXACTLY or str(n).split("__")[0] in _OF_THE_ESTIMATOR]
    if settled:
        raise ValueError(f"net_params: {settled[0]!r} follows from the estimator's own parameters; set these.")
    arguments = {
        "criterion": CompositeLoss,
        "optimizer": torch.optim.AdamW,
        "train_split": None,
        "classes": list(range(settings["module"]["n_classes"])),
        "device": device,
        "dtype": dtype,
        "seed": seed,
        "callbacks": list(params["callbacks"]) if params["callbacks"] else None,
        "verbose": params["verbose"],
        "compile": params["compile"],
        # every update does the same, unless a bank grows, or code of the user's looks into it
        "capture_updates": can_capture(device)
        and not (settings["net"]["memory_bank_size"] or params["callbacks"] or params["compile"] or net_params),
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
