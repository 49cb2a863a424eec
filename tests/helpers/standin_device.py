"""A stand-in accelerator in pure Python, for testing device code where there is no GPU.

``import standin_device`` registers the device type ``"standin"``. Its tensors hold CPU tensors, so a model moved there
computes real numbers, with autograd and optimizers; but, as on a GPU, an operation that mixes them with CPU tensors
raises (0-dim CPU tensors and CPU index tensors are let through, as CUDA does). ``traffic`` counts what would cost time
on a real device: host synchronisations and copies each way, by operation.

Needs torch >= 2.10 (seen working on 2.13, CPU build). Experimental API underneath: keep it to tests. What it has not:
CSR tensors, pinned memory, generators of its own; it shares the CPU's random state.
FakeTensorMode with device="cuda" is no way round: on CPU-only builds of torch it aborts the process as soon as a tensor
needs a gradient.

>>> import torch, standin_device
>>> layer = torch.nn.Linear(4, 2).to("standin")
>>> layer(torch.ones(3, 4, device="standin")).sum().backward()
>>> layer(torch.ones(3, 4))                                        # RuntimeError: ... is on cpu
>>> with standin_device.traffic() as seen: float(layer.weight.sum())
>>> seen["sync"], seen["to_host"], seen["to_device"]  # also seen["bytes_to_host"], seen["sync:aten::nonzero"]
"""

import contextlib
from collections import Counter

import torch
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "standin"


class _Backend:
    """What torch asks of ``torch.<device type>``: autocast, RNG forking, memory figures."""

    @staticmethod
    def is_available():
        return True

    @staticmethod
    def is_initialized():
        return True

    @staticmethod
    def _is_in_bad_fork():
        return False

    @staticmethod
    def device_count():
        return 1

    @staticmethod
    def current_device():
        return 0

    @staticmethod
    def synchronize(device=None):
        _count("sync", "synchronize")

    @staticmethod
    def mem_get_info(device=None):
        return 8 * 2**30, 16 * 2**30

    @staticmethod
    def get_amp_supported_dtype():
        return [torch.bfloat16, torch.float16]

    @staticmethod
    def get_rng_state(device=None):
        return torch.get_rng_state()

    @staticmethod
    def set_rng_state(state, device=None):
        torch.set_rng_state(state)

    @staticmethod
    def manual_seed(seed):
        torch.default_generator.manual_seed(seed)

    manual_seed_all = manual_seed


_setup_privateuseone_for_python_backend(rename=NAME, backend_module=_Backend())
DEVICE = torch.device(NAME, 0)

_CPU_INDEX_ALLOWED = {"aten::index", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index"}
# operations whose result size depends on data: a GPU has to stop and tell the host
_SYNCS = {
    "aten::_local_scalar_dense",
    "aten::nonzero",
    "aten::masked_select",
    "aten::_unique2",
    "aten::unique_dim",
    "aten::unique_consecutive",
    "aten::repeat_interleave",
    "aten::is_nonzero",
    "aten::equal",
}
_MASKED = {"aten::index", "aten::index_put_", "aten::_index_put_impl_"}  # with a boolean index the size depends on data
_counters: list[Counter] = []


class StandinTensor(torch.Tensor):
    @staticmethod
    def __new__(cls, inner):
        outer = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
            requires_grad=False,
        )
        outer.inner = inner
        return outer

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, *args, **(kwargs or {}))

    def __repr__(self):
        return f"StandinTensor({self.inner})"

    def __reduce_ex__(self, protocol):
        raise RuntimeError("a tensor on the stand-in device was pickled: move state to the CPU before saving")


@contextlib.contextmanager
def traffic():
    """Count synchronisations and copies in the block: sync, to_host, to_device, bytes_*, and by operation."""
    counter = Counter()
    _counters.append(counter)
    try:
        yield counter
    finally:
        _counters.remove(counter)


def _count(kind, op, nbytes=0):
    for counter in _counters:
        counter[kind] += 1
        counter[f"{kind}:{op}"] += 1
        if nbytes:
            counter[f"bytes_{kind}"] += nbytes


def _run(func, *args, **kwargs):
    op = func._schema.name
    leaves = tree_leaves((args, kwargs))
    held = [leaf for leaf in leaves if isinstance(leaf, StandinTensor)]
    plain = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and not isinstance(leaf, StandinTensor)]
    copies = op in ("aten::copy_", "aten::_to_copy")
    if held and not copies and op not in _CPU_INDEX_ALLOWED:
        for tensor in plain:
            if tensor.dim() > 0:
                raise RuntimeError(
                    f"{op}: a tensor of shape {tuple(tensor.shape)} is on {tensor.device}, the others are on {DEVICE}"
                )

    def strip(leaf):
        return leaf.inner if isinstance(leaf, StandinTensor) else leaf

    inner_args, inner_kwargs = tree_map(strip, args), tree_map(strip, kwargs)
    target = inner_kwargs.get("device")
    if target is not None:
        target = torch.device(target)
        inner_kwargs["device"] = torch.device("cpu")
    lands_here = bool(held) if target is None else target.type == NAME
    masked = op in _MASKED and any(t.dtype in (torch.bool, torch.uint8) for t in held[1:])
    if held and (masked or (op in _SYNCS and func._overloadname not in ("self_int",))):
        _count("sync", op)
    if op == "aten::_to_copy" and held and not lands_here:
        _count("to_host", op, held[0].inner.nbytes)
    elif op == "aten::_to_copy" and not held and lands_here:
        _count("to_device", op, plain[0].nbytes)
    elif op == "aten::copy_" and isinstance(args[0], StandinTensor) != isinstance(args[1], StandinTensor):
        _count("to_device" if isinstance(args[0], StandinTensor) else "to_host", op, strip(args[1]).nbytes)
    result = func(*inner_args, **inner_kwargs)
    if op == "aten::copy_":
        return args[0]
    outer_of = {id(strip(leaf)): leaf for leaf in held}  # in-place operations hand back the tensor they changed

    def dress(leaf):
        if not isinstance(leaf, torch.Tensor):
            return leaf
        return outer_of.get(id(leaf)) if id(leaf) in outer_of else StandinTensor(leaf) if lands_here else leaf

    return tree_map(dress, result)


_library = torch.library.Library("_", "IMPL")
_library.fallback(_run, "PrivateUse1")
# composite factories that resize what they return would leave the outer tensor at size 0: build them whole
_factories = torch.library.Library("aten", "IMPL")
for _op in ("arange", "arange.start", "arange.start_step", "eye", "eye.m"):
    _name, _, _overload = _op.partition(".")
    _func = getattr(getattr(torch.ops.aten, _name), _overload or "default")
    _factories.impl(_op, lambda *args, _func=_func, **kwargs: _run(_func, *args, **kwargs), "PrivateUse1")
_library.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")  # autocast regions run, at full precision


def _by_way_of_the_cpu(build):
    """torch.tensor and torch.as_tensor switch Python dispatch off while they build; build on the CPU, then move."""

    def wrapper(data, *args, device=None, **kwargs):
        if device is None or torch.device(device).type != NAME:
            return build(data, *args, device=device, **kwargs)
        if isinstance(data, StandinTensor):
            return data.to(**kwargs) if kwargs else data
        return build(data, *args, **kwargs).to(DEVICE)

    return wrapper


torch.tensor, torch.as_tensor = _by_way_of_the_cpu(torch.tensor), _by_way_of_the_cpu(torch.as_tensor)
