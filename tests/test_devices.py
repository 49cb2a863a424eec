"""Device code, run on a stand-in accelerator that computes real numbers and refuses to mix with CPU tensors."""

import pickle
import subprocess
import sys
from contextlib import contextmanager

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
import standin_device
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skdual import DualBranchClassifier
from skdual.devices import free_memory, isolated_random_state, resolve_device, resolve_dtype, send, send_together
from skdual.inputs.matrices import HostMatrix, ResidentCSR, ResidentDense
from skdual.network import DualBranchNetwork

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


def test_a_device_gives_the_numbers_of_the_cpu_where_columns_outnumber_rows(quick):
    X = np.random.default_rng(0).normal(size=(30, 90)).astype(np.float32)
    y = np.arange(30) % 3
    X[:, ::7] += y[:, None]
    params = quick | {"blocks": 50, "warm_start": True}
    there, here = (DualBranchClassifier(device=d, **params).fit(X, y).fit(X[::-1], y[::-1]) for d in ("standin", "cpu"))
    assert {parameter.device.type for parameter in there.network_.parameters()} == {"standin"}
    assert_allclose(there.predict_proba(X), here.predict_proba(X), rtol=1e-3, atol=1e-4)


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


# rows that stay on the device

MATRICES = {"dense": np.asarray, "csr": lambda X: sp.csr_matrix(np.where(np.abs(X) < 1.5, 0, X))}
of_each_matrix = pytest.mark.parametrize("to_matrix", MATRICES.values(), ids=MATRICES.keys())
DRAWN = {
    "shuffled": {"mixup_alpha": 0},
    "mixed": {"mixup_alpha": 0.4},
    "bank": {"mixup_alpha": 0, "memory_bank_size": 16},
    "bank, mixed": {"mixup_alpha": 0.4, "memory_bank_size": 16},
    "class-aware, bank": {
        "mixup_alpha": 0.4,
        "memory_bank_size": 16,
        "sampling": "class_aware",
        "classes_per_batch": 2,
    },
    "early stopping": {"mixup_alpha": 0.4, "early_stopping": True, "validation_fraction": 0.2},
    "one member": {"mixup_alpha": 0.4, "n_members": 1},
}
N_SENT = {  # row numbers; partners and weights; slots and last places
    "shuffled": 1,
    "mixed": 3,
    "bank": 3,
    "bank, mixed": 5,
}


def fit_seen(two_blocks, quick, to_matrix, **params):
    """A model fitted on the stand-in, and the traffic of its fit."""
    model = DualBranchClassifier(device="standin", **(quick | {"hidden_layer_sizes": ((8,), (8,))} | params))
    with standin_device.traffic() as seen:
        model.fit(to_matrix(two_blocks[0]), two_blocks[1])
    return model, seen


@of_each_matrix
@pytest.mark.parametrize("params", DRAWN.values(), ids=DRAWN.keys())
def test_copies_and_waits_do_not_grow_with_the_number_of_batches(two_blocks, quick, to_matrix, params):
    """Of up to 64 batches an epoch, which are decided together."""
    params = params | {"max_epochs": 2}
    few, many = (fit_seen(two_blocks, quick, to_matrix, batch_size=size, **params)[1] for size in (50, 12))
    for kind in ("sync", "to_host", "to_device"):
        assert few[kind] == many[kind]
    assert few["to_device"] > 0


@of_each_matrix
@pytest.mark.parametrize("variant", N_SENT)
def test_what_is_decided_for_several_batches_is_sent_together(two_blocks, quick, to_matrix, variant, monkeypatch):
    monkeypatch.setattr("skdual.inputs.batches._SENT_AHEAD", 4)
    params = DRAWN[variant] | {"max_epochs": 2}
    few, many = (fit_seen(two_blocks, quick, to_matrix, batch_size=size, **params)[1] for size in (50, 30))
    # for 5 batches twice an epoch what goes once for 3
    assert many["to_device"] - few["to_device"] == 2 * N_SENT[variant]
    assert (many["sync"], many["to_host"]) == (few["sync"], few["to_host"])


@of_each_matrix
@pytest.mark.parametrize("there", [True, False], ids=["there", "on the host"])
def test_rows_that_stay_on_the_device_travel_once(two_blocks, quick, to_matrix, there, monkeypatch):
    if not there:
        monkeypatch.setattr("skdual.inputs.matrices.RESIDENT_SHARE", 0)
    n_bytes = {}
    for n_epochs in (2, 5):
        params = {"mixup_alpha": 0, "max_epochs": n_epochs}
        n_bytes[n_epochs] = fit_seen(two_blocks, quick, to_matrix, **params)[1]["bytes_to_device"]
    numbers = 150 * 8
    X = to_matrix(two_blocks[0])
    cells = X.nnz * (4 + 8) if sp.issparse(X) else X.nbytes  # of CSR each value with its place
    assert n_bytes[5] - n_bytes[2] == 3 * (numbers + (0 if there else cells))


@of_each_matrix
@pytest.mark.parametrize("params", DRAWN.values(), ids=DRAWN.keys())
def test_rows_on_the_device_or_the_host_make_the_same_model(two_blocks, quick, to_matrix, params, monkeypatch):
    X = to_matrix(two_blocks[0])
    taken = []
    for kind in (HostMatrix, ResidentDense, ResidentCSR):
        original = kind.take

        def note(matrix, rows, numbers, original=original):
            taken.append(type(matrix))
            return original(matrix, rows, numbers)

        monkeypatch.setattr(kind, "take", note)
    there, _ = fit_seen(two_blocks, quick, to_matrix, **params)
    assert set(taken) == {ResidentCSR if sp.issparse(X) else ResidentDense}
    taken.clear()
    monkeypatch.setattr("skdual.inputs.matrices.RESIDENT_SHARE", 0)
    host, _ = fit_seen(two_blocks, quick, to_matrix, **params)
    assert set(taken) == {HostMatrix}
    assert_array_equal(there.predict_proba(X), host.predict_proba(X))
    for ours, theirs in zip(there.history_, host.history_, strict=True):
        assert {**ours, "duration": 0} == {**theirs, "duration": 0}


def test_validation_rows_of_their_own_stay_on_the_host(two_blocks, quick):
    """What is free was measured before; they are few."""
    X, y = two_blocks
    models = []
    for device in ("standin", "cpu"):
        models.append(DualBranchClassifier(device=device, **quick).fit(X, y, X_val=X[:40], y_val=y[:40]))
    there, here = ([epoch["valid_loss"] for epoch in model.history_] for model in models)
    assert_allclose(there, here, rtol=1e-4)


@of_each_matrix
def test_a_device_without_memory_for_a_chunk_predicts_the_same(two_blocks, quick, to_matrix, monkeypatch):
    X = to_matrix(two_blocks[0])
    model, _ = fit_seen(two_blocks, quick, to_matrix)
    expected = model.predict_proba(X), model.transform(X)
    n_rows = []
    for method in ("scores", "embed"):
        original = getattr(DualBranchNetwork, method)

        def limited(network, x_a, x_b, original=original):
            n_rows.append(len(x_a))
            if len(x_a) > 40:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return original(network, x_a, x_b)

        monkeypatch.setattr(DualBranchNetwork, method, limited)
    assert_allclose(model.predict_proba(X), expected[0], rtol=1e-5, atol=1e-6)
    assert_allclose(model.transform(X), expected[1], rtol=1e-5, atol=1e-6)
    assert n_rows == 2 * [150, 75, 37, 37, 37, 37, 2]


# how tensors travel


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


@pytest.mark.parametrize("device", ["cpu", "mps", "standin"])
def test_where_nothing_is_pinned_a_copy_is_waited_for(device, monkeypatch):
    """MPS would read a tensor that is gone by then (pytorch issue 189690)."""
    journey = Journey(monkeypatch)
    assert send(torch.ones(3, dtype=torch.float64), torch.device(device), torch.float32).dtype == torch.float32
    assert journey.steps == [(device, False)]


@pytest.mark.parametrize("device", ["cpu", "standin"])
def test_batches_are_sent_together_and_come_apart_again(device):
    rng = np.random.default_rng(0)
    batches = [(rng.integers(9, size=n), rng.random(n // 2).astype(np.float32), np.zeros(0, int)) for n in (4, 1, 7)]
    with standin_device.traffic() as seen:
        sent = send_together(batches, torch.device(device))
    assert seen["to_device"] == (3 if device == "standin" else 0)
    assert seen["sync"] == seen["to_host"] == 0
    for tensors, arrays in zip(sent, batches, strict=True):
        for tensor, array in zip(tensors, arrays, strict=True):
            assert tensor.device.type == device
            assert_array_equal(tensor.cpu().numpy(), array)
            assert tensor.cpu().numpy().dtype == array.dtype


def test_free_memory_is_what_the_device_says(monkeypatch):
    assert free_memory(torch.device("cpu")) is None
    monkeypatch.setattr(torch.standin, "mem_get_info", lambda device=None: (123, 456))
    assert free_memory(standin_device.DEVICE) == 123
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 1000)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 300)
    assert free_memory(torch.device("mps")) == 700
    asked = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: asked.append(device) or (5, 6))
    assert free_memory(torch.device("cuda", 1)) == 5
    assert asked == [torch.device("cuda", 1)]


def test_a_device_that_does_not_know_its_memory_says_none(monkeypatch):
    monkeypatch.setattr("skdual.devices._backend", lambda device_type: object())
    assert free_memory(standin_device.DEVICE) is None


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


@contextmanager
def float64_by_default():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    "mode",
    [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", dtype=torch.bfloat16), float64_by_default],
    ids=["no_grad", "inference_mode", "autocast", "default dtype"],
)
def test_what_the_caller_has_set_for_torch_changes_nothing(two_blocks, quick, mode):
    X, y = two_blocks
    expected = DualBranchClassifier(**quick).fit(X, y)
    with mode():
        got = DualBranchClassifier(**quick).fit(X, y, X_val=X[:9], y_val=y[:9])
        default_dtype = torch.get_default_dtype()
        assert_array_equal(got.predict_proba(X), expected.predict_proba(X))
        loaded = pickle.loads(pickle.dumps(got))
        assert_array_equal(loaded.transform(X), expected.transform(X))
        assert torch.get_default_dtype() == default_dtype
    assert {p.dtype for p in loaded.network_.parameters()} == {torch.float32}
    assert all(p.requires_grad for p in got.network_.parameters())
    got.set_params(warm_start=True).fit(X, y)  # no tensor of inference mode is left in it
