"""Copies and waits of a training step, counted on the stand-in."""

import numpy as np
import pytest
import scipy.sparse as sp
import standin_device
import torch
from numpy.testing import assert_array_equal

from skdual import DualBranchClassifier
from skdual.devices import send_together
from skdual.inputs.matrices import HostMatrix, ResidentCSR, ResidentDense

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


@pytest.mark.parametrize("of_values", [np.asarray, np.exp], ids=["as they are", "of long tails"])
@pytest.mark.parametrize(("n_members", "once"), [(1, 1), (2, 3)])
def test_a_step_waits_for_nothing(two_blocks, quick, n_members, once, of_values):
    """Host synchronisations and read-backs do not grow with the number of steps."""
    X, y = of_values(two_blocks[0]), two_blocks[1]
    counts = []
    for batch_size in (25, 75):
        params = quick | {"batch_size": batch_size, "n_members": n_members}
        model = DualBranchClassifier(device="standin", memory_bank_size=16, **params)
        with standin_device.traffic() as seen:
            model.fit(X, y)
        counts.append((seen["sync"], seen["to_host"]))
    assert counts[0] == counts[1]
    # an epoch's losses are read at its end, group weights and scores of held-out rows once after the last
    assert counts[0][1] <= quick["max_epochs"] + once


@of_each_matrix
@pytest.mark.parametrize("params", DRAWN.values(), ids=DRAWN.keys())
def test_copies_and_waits_do_not_grow_with_the_number_of_batches(two_blocks, quick, to_matrix, params):
    """Of up to 64 batches an epoch, which are decided together."""
    params = params | {"max_epochs": 2}
    few, many = (fit_seen(two_blocks, quick, to_matrix, batch_size=size, **params)[1] for size in (75, 30))
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
    for n_epochs in (1, 3):
        params = {"mixup_alpha": 0, "max_epochs": n_epochs}
        n_bytes[n_epochs] = fit_seen(two_blocks, quick, to_matrix, **params)[1]["bytes_to_device"]
    numbers = 150 * 8
    X = to_matrix(two_blocks[0])
    values = X.nnz * (4 + 8) if sp.issparse(X) else X.nbytes  # of CSR each value with its place
    assert n_bytes[3] - n_bytes[1] == 2 * (numbers + (0 if there else values))


@of_each_matrix
def test_validation_rows_travel_once(two_blocks, quick, to_matrix):
    X, y = to_matrix(two_blocks[0]), two_blocks[1]
    n_bytes = {}
    for n_epochs in (1, 3):
        params = quick | {"mixup_alpha": 0, "max_epochs": n_epochs, "early_stopping": True, "patience": 10}
        model = DualBranchClassifier(device="standin", **params)
        with standin_device.traffic() as seen:
            model.fit(X, y, X_val=X[:100], y_val=y[:100])
        n_bytes[n_epochs] = seen["bytes_to_device"]
    assert n_bytes[3] - n_bytes[1] == 2 * (150 + 100) * 8  # their numbers


@of_each_matrix
@pytest.mark.parametrize("params", DRAWN.values(), ids=DRAWN.keys())
def test_rows_on_the_device_or_the_host_make_the_same_model(two_blocks, quick, to_matrix, params, monkeypatch):
    X, params = to_matrix(two_blocks[0]), params | {"max_epochs": 2}
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
