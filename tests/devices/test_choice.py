"""Which device is taken, and in which precision it computes."""

import math

import numpy as np
import pytest
import torch

from skdual.devices import free_memory, min_bfloat16_weights, resolve_device, resolve_dtype


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ({"cuda", "mps", "xpu"}, "cuda"),
        ({"mps", "xpu"}, "mps"),
        ({"xpu"}, "xpu"),
        (set(), "cpu"),
    ],
)
def test_auto_takes_cuda_then_mps_then_xpu_then_the_cpu(monkeypatch, present, expected):
    for name in ("cuda", "mps", "xpu"):
        monkeypatch.setattr(getattr(torch, name), "is_available", lambda name=name: name in present)
    assert resolve_device("auto").type == expected


def test_a_device_of_a_number_that_there_is_not_is_an_error_that_names_it(accelerator):
    with pytest.raises(ValueError, match=rf"{accelerator}:77.*torch sees [0-9]+ '{accelerator}' device"):
        resolve_device(f"{accelerator}:77")


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "no such device", "meta"])
def test_a_device_that_is_not_there_is_an_error_that_names_it(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=device):
        resolve_device(device)


def test_any_device_of_torch_is_honoured(accelerator):
    for device in ("cpu", torch.device("cpu"), accelerator, f"{accelerator}:0"):
        assert resolve_device(device) == torch.device(device)


@pytest.mark.parametrize(
    ("precision", "data", "device", "expected"),
    [
        ("auto", np.float64, "cpu", torch.float64),
        ("auto", np.float32, "cpu", torch.float32),
        ("auto", np.float64, "cuda", torch.float32),
        ("float32", np.float64, "cpu", torch.float32),
        ("float64", np.float32, "cpu", torch.float64),
        ("bfloat16", np.float64, "cpu", torch.float32),
    ],
)
def test_precision_by_data_and_device(precision, data, device, expected):
    assert resolve_dtype(precision, np.dtype(data), torch.device(device)) == expected


def test_float64_on_mps_is_refused():
    with pytest.raises(ValueError, match="precision='float64'"):
        resolve_dtype("float64", np.dtype(np.float32), torch.device("mps"))


@pytest.mark.parametrize(
    ("amx", "avx512_bf16", "expected"),
    [(False, False, math.inf), (True, False, 2**20), (False, True, 2**20), (None, None, math.inf)],
)
def test_bfloat16_pays_on_cpus_that_say_they_have_units_for_it(monkeypatch, amx, avx512_bf16, expected):
    for name, has in (("_is_amx_tile_supported", amx), ("_is_avx512_bf16_supported", avx512_bf16)):
        if has is None:
            monkeypatch.delattr(torch.cpu, name, raising=False)
        else:
            monkeypatch.setattr(torch.cpu, name, lambda has=has: has, raising=False)
    assert min_bfloat16_weights(torch.device("cpu")) == expected
    assert min_bfloat16_weights(torch.device("mps")) == math.inf


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), math.inf), ((8, 0), 2**23), ((9, 0), 2**23)])
def test_bfloat16_pays_on_cuda_from_a_capability_on(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert min_bfloat16_weights(torch.device("cuda")) == expected


def test_free_memory_is_what_the_device_says(monkeypatch):
    assert free_memory(torch.device("cpu")) is None
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 1000)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 300)
    assert free_memory(torch.device("mps")) == 700
    asked = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: asked.append(device) or (5, 6))
    assert free_memory(torch.device("cuda", 1)) == 5
    assert asked == [torch.device("cuda", 1)]


def test_a_device_that_does_not_know_its_memory_says_none(monkeypatch):
    monkeypatch.setattr("skdual.devices._backend", lambda device_type: object())
    assert free_memory(torch.device("xpu")) is None
