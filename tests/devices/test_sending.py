"""How tensors travel to a device."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from skdual.devices import send


class Journey:
    """Notes, in their order, the casts and copies of a tensor, which stays where it is."""

    def __init__(self, monkeypatch):
        self.steps = []

        def pin_memory(tensor, *args):
            self.steps.append(("pin", tensor.dtype))
            return tensor

        original = torch.Tensor.to

        def to(tensor, where, non_blocking=False):
            if isinstance(where, torch.dtype):
                return original(tensor, where)
            self.steps.append((str(where), non_blocking))
            return tensor

        monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
        monkeypatch.setattr(torch.Tensor, "to", to)


@pytest.mark.parametrize("device", ["cuda", "xpu"])
@pytest.mark.parametrize(("asked", "dtype"), [(None, torch.float64), (torch.float32, torch.float32)])
def test_tensors_are_cast_and_pinned_before_they_travel_without_waiting(device, asked, dtype, monkeypatch):
    journey = Journey(monkeypatch)
    tensor = torch.ones(3, dtype=torch.float64)
    assert send(tensor, torch.device(device), asked).dtype == dtype
    assert journey.steps == [("pin", dtype), (device, True)]


@pytest.mark.parametrize("device", ["cuda", "xpu"])
def test_without_page_locked_memory_a_copy_is_made_all_the_same(device, monkeypatch):
    journey = Journey(monkeypatch)

    def refuse(tensor):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch.Tensor, "pin_memory", refuse)
    assert_array_equal(send(torch.ones(3), torch.device(device)), np.ones(3))
    assert journey.steps == [(device, True)]


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_where_nothing_is_pinned_a_copy_is_waited_for(device, monkeypatch):
    """MPS would read a tensor that is gone by then (pytorch issue 189690)."""
    journey = Journey(monkeypatch)
    assert send(torch.ones(3, dtype=torch.float64), torch.device(device), torch.float32).dtype == torch.float32
    assert journey.steps == [(device, False)]
