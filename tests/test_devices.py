"""Device code, run on a stand-in accelerator that computes real numbers and refuses to mix with CPU tensors."""

import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
import standin_device
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skdual import DualBranchClassifier
from skdual.devices import isolated_random_state, resolve_device, resolve_dtype

VARIANTS = {
    "default": {},
    "bank, class-aware, early stopping": {
        "memory_bank_size": 20,
        "sampling": "class_aware",
        "early_stopping": True,
        "validation_fraction": 0.2,
    },
    "one member": {"n_members": 1, "fusion": "attention", "attention_heads": 2},
    "no mixing": {"mixup_alpha": 0},
    "no block dropout": {"block_dropout": 0},
    "self-supervised": {"contrastive": "self_supervised", "memory_bank_size": 20, "gradient_clip": None},
    "attention, linear, batch": {
        "fusion": "attention",
        "head": "linear",
        "normalization": "batch",
        "standardize": False,
    },
}


@pytest.mark.parametrize("to_matrix", [np.asarray, sp.csr_matrix], ids=["dense", "csr"])
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_device_gives_the_numbers_of_the_cpu(two_blocks, quick, variant, to_matrix):
    X, y = to_matrix(two_blocks[0]), two_blocks[1]
    there, here = (DualBranchClassifier(device=d, **(quick | variant)).fit(X, y) for d in ("standin", "cpu"))
    assert there.device_.type == "standin"
    assert {parameter.device.type for parameter in there.network_.parameters()} == {"standin"}
    assert there.network_.view_weights.device.type == "standin"
    assert_allclose(there.view_weights_, here.view_weights_, rtol=1e-3, atol=1e-3)
    assert there.probability_temperature_ == pytest.approx(here.probability_temperature_, rel=1e-3)
    assert (there.probability_temperature_ == 1) == (there.network_.n_members == 1)
    for method in ("predict_proba", "transform", "decision_function"):
        assert_allclose(getattr(there, method)(X), getattr(here, method)(X), rtol=1e-3, atol=1e-4)
    assert_allclose(
        [epoch["train_loss"] for epoch in there.history_],
        [epoch["train_loss"] for epoch in here.history_],
        rtol=1e-4,
    )


def test_warm_start_goes_on_on_the_device(two_blocks, quick):
    X, y = two_blocks
    there, here = (
        DualBranchClassifier(device=d, warm_start=True, memory_bank_size=10, **quick).fit(X, y).fit(X, y)
        for d in ("standin", "cpu")
    )
    assert there.n_epochs_ == 8
    assert_allclose(there.predict_proba(X), here.predict_proba(X), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("n_members", "once"), [(1, 1), (2, 3)])
def test_a_step_waits_for_nothing(two_blocks, quick, n_members, once):
    """Host synchronisations and read-backs do not grow with the number of steps."""
    X, y = two_blocks
    counts = []
    for batch_size in (10, 50):
        params = quick | {"batch_size": batch_size, "n_members": n_members}
        model = DualBranchClassifier(device="standin", memory_bank_size=16, **params)
        with standin_device.traffic() as seen:
            model.fit(X, y)
        counts.append((seen["sync"], seen["to_host"]))
    assert counts[0] == counts[1]
    # an epoch's losses are read at its end; view weights, scores of held-out rows and class weights once after the last
    assert counts[0][1] <= quick["max_epochs"] + once


def test_a_model_of_an_absent_device_loads_and_predicts_the_same(two_blocks, quick, tmp_path):
    X, y = two_blocks
    for device in ("standin", torch.device("standin", 0)):
        model = DualBranchClassifier(device=str(device), **quick).fit(X, y)
        joblib.dump(model, tmp_path / "model.joblib")
        np.save(tmp_path / "X.npy", X)
        code = (
            "import joblib, numpy as np, warnings\n"
            "with warnings.catch_warnings(record=True) as seen:\n"
            "    warnings.simplefilter('always')\n"
            "    model = joblib.load('model.joblib')\n"
            "assert any('standin' in str(w.message) and 'CPU' in str(w.message) for w in seen), seen\n"
            "assert model.device_.type == 'cpu'\n"
            "np.save('proba.npy', model.predict_proba(np.load('X.npy')))\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
        assert_allclose(np.load(tmp_path / "proba.npy"), model.predict_proba(X), rtol=1e-5, atol=1e-6)


def test_a_model_is_saved_off_the_device_and_comes_back_to_it(two_blocks, quick):
    X, y = two_blocks
    model = DualBranchClassifier(device="standin", **quick).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    assert next(again.network_.parameters()).device.type == "standin"
    assert_array_equal(again.predict_proba(X), model.predict_proba(X))


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


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "no such device", "meta", "standin:7"])
def test_a_device_that_is_not_there_is_an_error_that_names_it(device):
    with pytest.raises(ValueError, match=device):
        resolve_device(device)


@pytest.mark.parametrize("device", ["cpu", "standin", "standin:0", torch.device("cpu")])
def test_any_device_of_torch_is_honoured(device):
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
def test_precision(precision, data, device, expected):
    assert resolve_dtype(precision, np.dtype(data), torch.device(device)) == expected


def test_float64_on_mps_is_refused():
    with pytest.raises(ValueError, match="precision='float64'"):
        resolve_dtype("float64", np.dtype(np.float32), torch.device("mps"))


@pytest.mark.parametrize("device", ["cpu", "standin"])
def test_isolated_random_state_is_seeded_inside_and_leaves_no_trace(device):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    drawn = []
    for _ in range(2):
        with isolated_random_state(torch.device(device), 11):
            drawn.append(torch.rand(4))
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(torch.rand(3), expected)
