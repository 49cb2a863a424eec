"""Device and dtype, copies to the device, and torch's random state and modes kept apart from the caller's."""

import math
import os
import threading
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache

import numpy as np
import torch

_AUTO_ORDER = ("cuda", "mps", "xpu")
_PINNING = ("cuda", "xpu")  # devices that copy page-locked memory while the host goes on
_one_at_a_time = threading.RLock()  # torch's random state belongs to all threads of the process


def _new_lock():
    global _one_at_a_time
    _one_at_a_time = threading.RLock()


if hasattr(os, "register_at_fork"):  # a child has no thread that would give back a lock taken at the fork
    os.register_at_fork(after_in_child=_new_lock)


def _backend(device_type):
    """The module ``torch.<device_type>``, or None where this torch has no such device."""
    module = getattr(torch, device_type, None)
    return module if hasattr(module, "is_available") else None


def is_available(device_type):
    """Whether this process can compute on a type of device such as ``"cuda"``."""
    if device_type == "cpu":
        return True
    backend = _backend(device_type)
    return backend is not None and bool(backend.is_available())


def resolve_device(device):
    """Turn the ``device`` parameter into a torch.device that can be used here.

    Parameters
    ----------
    device : str or torch.device
        ``"auto"`` takes the first of CUDA, MPS, XPU and the CPU that is available.

    Raises
    ------
    ValueError
        If torch does not know the device, or does not see one on this machine.
    """
    if isinstance(device, str) and device == "auto":
        return torch.device(next((name for name in _AUTO_ORDER if is_available(name)), "cpu"))
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device={device!r} is not a device that this torch knows; expected 'auto' or a torch "
            f"device string such as 'cpu', 'cuda' or 'cuda:1'."
        ) from error
    if resolved.type == "meta" or not is_available(resolved.type):
        raise ValueError(
            f"device={device!r} was asked for, but torch sees no usable {resolved.type!r} device here; "
            f"device='auto' takes what there is."
        )
    count = getattr(_backend(resolved.type), "device_count", lambda: 1)()
    if resolved.index is not None and resolved.type != "cpu" and resolved.index >= count:
        raise ValueError(f"device={device!r} was asked for, but torch sees {count} {resolved.type!r} device(s).")
    return resolved


def resolve_dtype(precision, data_dtype, device):
    """The floating point type of weights and predictions.

    ``"auto"`` follows the data on the CPU (float64 stays float64) and is float32 on every other device;
    ``"bfloat16"`` keeps float32 weights and rounds products of training only.

    Raises
    ------
    ValueError
        If ``precision="float64"`` is asked of a device that has none.
    """
    if precision == "float64" and device.type == "mps":
        raise ValueError("precision='float64' is not available on MPS devices; use 'auto' or 'float32'.")
    if precision == "float64" or (precision == "auto" and data_dtype == np.float64 and device.type == "cpu"):
        return torch.float64
    return torch.float32


def free_memory(device):
    """Bytes free on an accelerator; None on the CPU, and where the device can't say."""
    if device.type == "cpu":
        return None
    backend = _backend(device.type)
    if device.type == "mps":
        return backend.recommended_max_memory() - backend.driver_allocated_memory()
    return backend.mem_get_info(device)[0] if hasattr(backend, "mem_get_info") else None


def send(tensor, device, dtype=None):
    """A CPU tensor on a device, pinned first and without waiting for it where the device can."""
    tensor = tensor.to(dtype or tensor.dtype)  # cast first: fewer bytes travel, and MPS has no float64
    if device.type not in _PINNING:
        return tensor.to(device)  # MPS would read memory that is given back by then, if it did not wait
    # where the system grants no page-locked memory, the copy just takes longer
    with suppress(RuntimeError):
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def send_together(batches, device):
    """The arrays of several batches as tensors on a device, each place in a batch in one copy.

    Parameters
    ----------
    batches : list of sequences of ndarray
        Of the same length, and the same dtypes place by place.
    device : torch.device

    Returns
    -------
    sent : list of tuple of tensors
    """
    places = []
    for arrays in zip(*batches, strict=True):
        whole = send(torch.from_numpy(np.concatenate(arrays)), device)
        places.append(whole.split([len(array) for array in arrays]))
    return list(zip(*places, strict=True))


def min_bfloat16_weights(device):
    """How many weights branches must have for rounding products to bfloat16 to pay; infinite without fast units.

    CPUs with AMX or AVX512-BF16 have such units, and CUDA devices of capability 8.0 and above, where the products take
    a smaller share of a step.
    """
    if device.type == "cuda":
        return 2**23 if torch.cuda.get_device_capability(device)[0] >= 8 else math.inf
    # torch has no public question for it
    asked = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return 2**20 if device.type == "cpu" and any(has and has() for has in asked) else math.inf


@lru_cache
def can_factorize(device):
    """Whether a device has float64, and Cholesky factors of it."""
    try:
        torch.linalg.cholesky(torch.eye(2, dtype=torch.float64, device=device))
    except (RuntimeError, TypeError):  # NotImplementedError, which some devices raise, is a RuntimeError
        return False
    return True


def _random_state(device):
    """Getter and setter of a device's own random state; None where it has none."""
    backend = _backend(device.type)
    if device.type == "cpu" or backend is None or not hasattr(backend, "get_rng_state"):
        return None
    if device.type == "mps":  # one device, and functions that take no device
        return backend.get_rng_state, backend.set_rng_state
    return lambda: backend.get_rng_state(device), lambda state: backend.set_rng_state(state, device)


@contextmanager
def isolated_random_state(device, seed):
    """Seed torch for the block, and put its random state back afterwards, on the CPU and on ``device``.

    Random numbers are drawn as float32 where not said otherwise, whatever the caller's default dtype. Threads go
    through such blocks one after the other.
    """
    with _one_at_a_time:
        host_state, default_dtype = torch.random.get_rng_state(), torch.get_default_dtype()
        on_device = _random_state(device)
        device_state = on_device[0]() if on_device else None
        try:
            torch.set_default_dtype(torch.float32)
            torch.default_generator.manual_seed(seed)
            if on_device:
                if hasattr(_backend(device.type), "device"):
                    with _backend(device.type).device(device):
                        _backend(device.type).manual_seed(seed)
                else:
                    _backend(device.type).manual_seed(seed)
            yield
        finally:
            torch.set_default_dtype(default_dtype)
            torch.random.set_rng_state(host_state)
            if on_device:
                on_device[1](device_state)


@contextmanager
def own_modes():
    """Leave the caller's inference mode, ``no_grad`` and autocast out of the block."""
    with ExitStack() as modes:
        modes.enter_context(torch.inference_mode(False))
        modes.enter_context(torch.enable_grad())
        for device_type in filter(torch.is_autocast_enabled, ("cpu", *_AUTO_ORDER)):
            modes.enter_context(torch.autocast(device_type, enabled=False))
        yield
