"""What a fitted estimator is saved as: one versioned dict of plain values and numpy arrays."""

import warnings

import numpy as np
import sklearn
import torch

from .devices import isolated_random_state, resolve_device, resolve_dtype
from .training.fitting import build_net

FORMAT = 1

_REBUILT = ("network_", "net_", "device_")


def pack(state, version):
    """Replace the modules in an estimator's ``__dict__`` by a dict of plain values under ``_saved``."""
    if "network_" not in state:
        return state
    packed = {name: value for name, value in state.items() if name not in _REBUILT}
    packed["_saved"] = {
        "format": FORMAT,
        "versions": {"skdual": version, "torch": str(torch.__version__), "scikit-learn": sklearn.__version__},
        "weights": {name: tensor.cpu().numpy() for name, tensor in state["network_"].state_dict().items()},
    }
    return packed


def unpack(state):
    """Rebuild network and net, on the device that the ``device`` parameter means here.

    Raises
    ------
    ValueError
        If the state was written by a newer skdual.
    """
    if "_saved" not in state:
        return state
    state = dict(state)
    saved = state.pop("_saved")
    if saved["format"] > FORMAT:
        raise ValueError(
            f"the saved model has format {saved['format']} (skdual {saved['versions']['skdual']}), this skdual reads "
            f"up to {FORMAT}; upgrade skdual to load it."
        )
    device = _device_to_load_on(state["device"])
    floats = {array.dtype for array in saved["weights"].values() if array.dtype.kind == "f"}
    dtype = resolve_dtype("auto", np.result_type(*floats), device)
    with isolated_random_state(torch.device("cpu"), 0):
        # from the settings of the fit, for parameters may have been set anew since; callbacks are for training
        params = {"callbacks": None, "verbose": 0, "compile": False}
        net = build_net(state["_settings"], params, device, dtype, seed=0)
    net.module_.load_state_dict({name: torch.from_numpy(array) for name, array in saved["weights"].items()})
    net.module_.eval()
    return {**state, "net_": net, "network_": net.module_, "device_": device}


def _device_to_load_on(device):
    try:
        return resolve_device(device)
    except ValueError:
        warnings.warn(
            f"The model was fitted with device={device!r}, which is not available here; it is loaded on the CPU.",
            UserWarning,
            stacklevel=4,
        )
        return torch.device("cpu")
