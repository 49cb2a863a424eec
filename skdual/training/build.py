"""The net of a fit, or of a file, from its settings."""

import torch

from ..losses import CompositeLoss
from ..network import DualBranchNetwork
from .loop.cuda_graph import can_capture
from .loop.net import DualBranchNet

_FUSED_ADAMW = ("cpu", "cuda")
_NOT_WITH_FUSED = {"optimizer", "optimizer__foreach"}


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
