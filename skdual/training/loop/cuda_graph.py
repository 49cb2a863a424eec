"""Updates of the weights that are captured once and then replayed, where a device can."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from itertools import chain

import torch

from ...warn import warn

_RUN_FIRST = 3  # in these, libraries allocate what they may not within a capture


def can_capture(device):
    """Whether updates can be captured on a device."""
    return device.type == "cuda"


@lru_cache
def _capture_stream(device):
    return torch.cuda.Stream(device)


def capture(work, device):
    """Turn what a function launches on a CUDA device into one graph.

    Parameters
    ----------
    work : callable
        Takes nothing and gives tensors; its launches are noted, and not carried out.
    device : torch.device
        With its number.

    Returns
    -------
    replay : callable
        Launches all of them and gives the same tensors, each time with other numbers.

    Raises
    ------
    RuntimeError
        If something in the function can't be captured.
    """
    graph = torch.cuda.CUDAGraph()
    with (
        torch.cuda.device(device),
        torch.cuda.stream(torch.cuda.current_stream(device)),  # comes back also after a capture that failed
        # other threads may go on as they like
        torch.cuda.graph(graph, stream=_capture_stream(device), capture_error_mode="thread_local"),
    ):
        result = work()

    def replay():
        graph.replay()
        return result

    return replay


class CapturedUpdate:
    """An update of the weights that is launched as one CUDA graph in place of some hundred kernels.

    A small network computes its kernels faster than they can be launched one by one. The first batches, those of
    another size, and all where the capture fails, are run as they come.

    Parameters
    ----------
    update : callable
        Takes a Batch and gives a dict of tensors and of dicts of tensors; waits for nothing.
    optimizer : torch.optim.Optimizer
        Whose step is part of the update.
    """

    def __init__(self, update, optimizer):
        self._update = update
        self._optimizer = optimizer
        self._shapes: list[torch.Size] = []
        self._replay: Callable[[], dict] | None = None
        self._failed = False
        self._n_run = 0

    def __call__(self, batch):
        tensors = _tensors(batch)
        shapes = [tensor.shape for tensor in tensors]
        self._shapes = self._shapes or shapes
        if shapes != self._shapes or self._n_run < _RUN_FIRST or self._failed:
            self._n_run += shapes == self._shapes
            return self._update(batch)
        try:
            replay = self._replay = self._replay or self._capture(batch, tensors)
        except RuntimeError as error:
            warn(f"training goes on with every kernel launched by itself: {error}")
            self._failed = True
            return self._update(batch)
        for ours, theirs in zip(self._inputs, tensors, strict=True):
            ours.copy_(theirs)
        for rate, group in zip(self._rates, self._optimizer.param_groups, strict=True):
            rate.fill_(group["lr"])
        return _cloned(replay())

    def _capture(self, batch, tensors):
        """Capture the update of a batch in tensors of our own, which later batches and rates are copied into."""
        self._inputs = [tensor.clone() for tensor in tensors]
        ours = _with_tensors(batch, self._inputs)
        groups = self._optimizer.param_groups
        settings = [{"lr": group["lr"], "capturable": group["capturable"]} for group in groups]
        device = ours.device_index.device
        self._rates = [torch.full((), group["lr"], device=device) for group in groups]
        try:
            for group, rate in zip(groups, self._rates, strict=True):
                group.update(lr=rate, capturable=True)
            return capture(lambda: self._update(ours), device)
        finally:
            for group, before in zip(groups, settings, strict=True):
                group.update(before)


def _tensors(batch):
    return [*batch.blocks, batch.target, batch.device_index, *chain.from_iterable(batch.drawn.values())]


def _with_tensors(batch, tensors):
    """The batch with other tensors, in the order of :func:`_tensors`."""
    block_a, block_b, target, index, *rest = tensors
    others = iter(rest)
    drawn = {name: tuple(next(others) for _ in of_source) for name, of_source in batch.drawn.items()}
    return replace(batch, blocks=(block_a, block_b), target=target, device_index=index, drawn=drawn)


def _cloned(values):
    """Copies that the next replay does not overwrite."""
    return {name: _cloned(value) if isinstance(value, dict) else value.clone() for name, value in values.items()}
