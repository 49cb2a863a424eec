"""What a fitted estimator is saved as: one versioned dict of plain values and numpy arrays."""

import numpy as np
import sklearn
import torch

from . import __version__
from .devices import isolated_random_state, own_modes, resolve_device
from .training.build import build_net
from .warn import warn

FORMAT = 1

_REBUILT = ("network_", "net_", "device_")
_READ_BY_TORCH = ("_saved", "_settings", "block_indices_")
_REQUIRED = ("_settings", "n_features_in_", "classes_", "block_names_", "block_indices_")
_SAME_MEANING = {"skdual": 2, "torch": 1, "scikit-learn": 1}  # so many leading numbers of two versions are to agree


class NewerFormatError(ValueError):
    """A model was saved by a skdual that knows more than this one."""


def pack(state):
    """Replace the modules in an estimator's ``__dict__`` by a dict of plain values under ``_saved``."""
    if "network_" not in state:
        return state
    packed = {name: value for name, value in state.items() if name not in _REBUILT}
    packed["_saved"] = {
        "format": FORMAT,
        "versions": _installed_versions(),
        "weights": {name: tensor.cpu().numpy() for name, tensor in state["network_"].state_dict().items()},
    }
    return packed


def unpack(state):
    """Rebuild network and net, on the device that the ``device`` parameter means here.

    Nothing that the state names is called, so that whoever trusts this package need not trust the file.

    Raises
    ------
    NewerFormatError
        If the state was written by a newer skdual.
    """
    if "_saved" not in state:
        return state
    state = {name: _writable(value) if name in _READ_BY_TORCH else value for name, value in state.items()}
    saved = state.pop("_saved")
    if saved["format"] > FORMAT:
        raise NewerFormatError(
            f"the saved model has format {saved['format']} (skdual {saved['versions']['skdual']}), this skdual reads "
            f"up to {FORMAT}; upgrade skdual to load it."
        )
    _check_complete(state)
    _warn_across_versions(saved["versions"], _installed_versions())
    device = _device_to_load_on(state["device"])
    floats = {array.dtype for array in saved["weights"].values() if array.dtype.kind == "f"}
    has_float64 = np.result_type(*floats) == np.float64 and device.type != "mps"
    dtype = torch.float64 if has_float64 else torch.float32
    with own_modes(), isolated_random_state(torch.device("cpu"), 0):
        # from the settings of the fit, for parameters may have been set anew since
        net = build_net(_plain(state["_settings"]), device, dtype, seed=0)
        net.module_.load_state_dict({name: torch.from_numpy(array) for name, array in saved["weights"].items()})
    net.module_.eval()
    return {**state, "net_": net, "network_": net.module_, "device_": device}


def _check_complete(state):
    """Refuse a state without the attributes of a fit, or whose columns and classes are not those of its network."""
    missing = [name for name in _REQUIRED if name not in state]
    if missing:
        raise ValueError(f"the saved model has no {missing[0]}.")
    module, columns = state["_settings"]["module"], np.concatenate(state["block_indices_"])
    if not ((columns >= 0) & (columns < state["n_features_in_"])).all():
        raise ValueError(f"the saved model has columns that are not among its {state['n_features_in_']}.")
    if (*map(len, state["block_indices_"]), len(state["classes_"])) != (*module["in_features"], module["n_classes"]):
        raise ValueError("the columns and classes of the saved model are not those of its network.")


def _writable(value):
    """The same with copies of the arrays that are mapped from a file for reading, which torch warns of."""
    if isinstance(value, dict):
        return {name: _writable(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_writable, value))
    if isinstance(value, np.ndarray) and not value.flags.writeable:
        return np.array(value)
    return value


def _installed_versions():
    return {"skdual": __version__, "torch": str(torch.__version__), "scikit-learn": sklearn.__version__}


def _warn_across_versions(saved, installed):
    others = [
        f"{name} {saved[name]} (here {installed[name]})"
        for name, n_numbers in _SAME_MEANING.items()
        if saved[name].split(".")[:n_numbers] != installed[name].split(".")[:n_numbers]
    ]
    if others:
        warn(
            f"The model was saved with {' and '.join(others)}; what it predicts may differ. Fit and save it anew, or "
            f"load it with the versions it was saved with."
        )


def _plain(settings):
    """The same without functions and classes, which only a forged file has here, so that none is called."""
    return {
        part: {name: value for name, value in values.items() if not callable(value)}
        for part, values in settings.items()
    }


def _device_to_load_on(device):
    try:
        return resolve_device(device)
    except (TypeError, ValueError):  # the parameter may have been set to anything since the fit
        warn(f"The model has device={device!r}, which is not available here; it is loaded on the CPU.")
        return torch.device("cpu")
