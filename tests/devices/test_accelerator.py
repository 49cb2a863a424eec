"""Fits, predictions and files on an accelerator: the stand-in, or with --device a real one."""

import pickle
import subprocess
import sys
import warnings
from contextlib import contextmanager

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skdual import DualBranchClassifier
from skdual.devices import isolated_random_state
from skdual.network import DualBranchNetwork
from skdual.training.span.row_span import RowSpan

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


@pytest.fixture(name="settings")
def comparable(quick, accelerator):
    """Those of a quick fit that draws the same random numbers everywhere: real devices have their own."""
    return quick | ({} if accelerator == "standin" else {"dropout": 0, "block_dropout": 0})


def test_the_norm_of_a_row_is_the_same_column_there(two_blocks, accelerator, settings):
    X, y = two_blocks[0].copy(), np.arange(150) % 2
    X[:, :7] = np.random.default_rng(0).normal(size=(150, 7)) * np.where(y, 3, 1)[:, None]
    there, here = (DualBranchClassifier(device=device, **settings).fit(X, y) for device in (accelerator, "cpu"))
    assert there.network_.scaler_a.row_norm.mean.device.type == accelerator
    assert there.settings_["row_norms"][0]
    assert_allclose(there.predict_proba(X), here.predict_proba(X), rtol=1e-3, atol=1e-3)


def test_splines_are_the_same_columns_there(two_blocks, accelerator, settings):
    X = two_blocks[0].copy()
    X[:, 0] = np.random.default_rng(0).integers(0, 6, 150)
    y = np.isin(X[:, 0], [1, 2, 5])
    there, here = (DualBranchClassifier(device=device, **settings).fit(X, y) for device in (accelerator, "cpu"))
    assert {buffer.device.type for buffer in there.network_.scaler_a.splines.buffers()} == {accelerator}
    assert there.settings_["splines"] == (True, False)
    assert_allclose(there.predict_proba(X), here.predict_proba(X), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("together", [False, True], ids=["a block", "together"])
@pytest.mark.parametrize("n_columns", [8, 200], ids=["in the columns", "in the span of the rows"])
def test_blocks_are_whitened_the_same_way_there(n_columns, together, accelerator, settings, monkeypatch):
    monkeypatch.setattr("skdual.training.span.choice.MIN_STEPS_TIMES_ROOT_ROWS", 0)  # the fits are short
    random_generator, y = np.random.default_rng(0), np.arange(150) % 2
    X = random_generator.normal(size=(150, n_columns + 5))
    signal = np.where(y, 0.3, -0.3)[:, None] * np.where(np.arange(n_columns) % 2, 1, -1) / np.sqrt(n_columns / 8)
    if together:
        same = np.resize(X[:, n_columns:].T, (n_columns, 150)).T
        X[:, :n_columns] = same + 0.1 * X[:, :n_columns] + np.where(y, 0.1, -0.1)[:, None]
    else:
        X[:, :n_columns] = 5 * X[:, :1] + 0.3 * X[:, :n_columns] + signal
    X = X.astype(np.float32)
    settings = settings | {"blocks": n_columns}
    kinds, merge_relevance = [], DualBranchNetwork.merge_relevance

    def note(network):
        kinds.append({name: factor.device.type for name, factor in network.whitening.named_buffers()})
        merge_relevance(network)

    monkeypatch.setattr(DualBranchNetwork, "merge_relevance", note)
    there, here = (DualBranchClassifier(device=device, **settings).fit(X, y) for device in (accelerator, "cpu"))
    assert kinds == [{"factor_together" if together else "factor_a": device} for device in (accelerator, "cpu")]
    assert_allclose(there.predict_proba(X), here.predict_proba(X), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("to_matrix", [np.asarray, sp.csr_matrix], ids=["dense", "csr"])
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_device_gives_the_numbers_of_the_cpu(two_blocks, variant, to_matrix, accelerator, settings):
    X, y = to_matrix(two_blocks[0]), two_blocks[1]
    params = settings | variant | {"max_epochs": 2}
    there, here = (DualBranchClassifier(device=device, **params).fit(X, y) for device in (accelerator, "cpu"))
    assert there.device_.type == accelerator
    assert {parameter.device.type for parameter in there.network_.parameters()} == {accelerator}
    assert there.network_.ensemble.weights.device.type == accelerator
    assert_allclose(there.block_weights_, here.block_weights_, rtol=1e-3, atol=1e-3)
    assert_allclose(there.class_offsets_, here.class_offsets_, rtol=1e-3, atol=1e-3)
    assert there.probability_temperature_ == pytest.approx(here.probability_temperature_, rel=1e-3)
    assert (there.probability_temperature_ == 1) == (there.network_.n_members == 1)
    for method in ("predict_proba", "transform", "decision_function"):
        assert_allclose(getattr(there, method)(X), getattr(here, method)(X), rtol=1e-3, atol=1e-4)
    assert_allclose(
        [epoch["train_loss"] for epoch in there.history_],
        [epoch["train_loss"] for epoch in here.history_],
        rtol=1e-4,
    )


def test_a_device_gives_the_numbers_of_the_cpu_where_columns_have_long_tails(two_blocks, accelerator, settings):
    X, y = np.array(two_blocks[0]), two_blocks[1]
    X[:, ::2] = np.exp(X[:, ::2])
    there, here = (DualBranchClassifier(device=device, **settings).fit(X, y) for device in (accelerator, "cpu"))
    assert there.network_.scaler_a.unit.device.type == accelerator
    assert np.flatnonzero(here.network_.scaler_a.unit).size
    again = pickle.loads(pickle.dumps(there))
    for method in ("predict_proba", "transform", "decision_function"):
        assert_allclose(getattr(there, method)(X), getattr(here, method)(X), rtol=1e-3, atol=1e-4)
        assert_array_equal(getattr(again, method)(X), getattr(there, method)(X))


def test_a_device_gives_the_numbers_of_the_cpu_where_columns_outnumber_rows(accelerator, settings, monkeypatch):
    monkeypatch.setattr("skdual.training.span.choice.MIN_STEPS_TIMES_ROOT_ROWS", 0)  # the fits are short
    X = np.random.default_rng(0).normal(size=(30, 90)).astype(np.float32)
    y = np.arange(30) % 3
    X[:, ::7] += y[:, None]
    params = settings | {"blocks": 50, "warm_start": True}
    there, here = (
        DualBranchClassifier(device=device, **params).fit(X, y).fit(X[::-1], y[::-1]) for device in (accelerator, "cpu")
    )
    assert {parameter.device.type for parameter in there.network_.parameters()} == {accelerator}
    assert_allclose(there.predict_proba(X), here.predict_proba(X), rtol=1e-3, atol=1e-4)


def test_the_span_of_the_rows_is_computed_where_there_is_room(accelerator, settings, monkeypatch):
    X, y = np.random.default_rng(0).normal(size=(30, 90)).astype(np.float32), np.arange(30) % 3
    where, original = [], RowSpan.__init__

    def note(span, rows, *arguments, **options):
        where.append(rows.device.type)
        original(span, rows, *arguments, **options)

    monkeypatch.setattr(RowSpan, "__init__", note)
    monkeypatch.setattr("skdual.training.span.choice.MIN_STEPS_TIMES_ROOT_ROWS", 0)  # the fits are short
    model = DualBranchClassifier(device=accelerator, **settings | {"blocks": 45})
    there = model.fit(X, y).predict_proba(X)
    monkeypatch.setattr("skdual.training.span.choice.free_memory", lambda device: 1000)
    here = model.fit(X, y).predict_proba(X)
    assert where == [accelerator] * 4 + ["cpu"] * 4  # of each block one span a member
    assert_allclose(there, here, rtol=1e-3, atol=1e-4)


def test_warm_start_goes_on_on_the_device(two_blocks, accelerator, settings):
    X, y = two_blocks
    there, here = (
        DualBranchClassifier(device=device, warm_start=True, memory_bank_size=10, **settings).fit(X, y).fit(X, y)
        for device in (accelerator, "cpu")
    )
    assert there.n_epochs_ == 8
    assert_allclose(there.predict_proba(X), here.predict_proba(X), rtol=1e-3, atol=1e-4)


def test_a_fit_on_a_device_is_the_same_each_time(two_blocks, quick, accelerator):
    X, y = two_blocks
    torch.manual_seed(5)
    first, again = (DualBranchClassifier(device=accelerator, **quick).fit(X, y).predict_proba(X) for _ in range(2))
    assert_array_equal(first, again)


@contextmanager
def seen_waiting(device):
    """How often a device is waited for, in a list."""
    waits = []
    if device == "standin":
        import standin_device

        with standin_device.traffic() as seen:
            yield waits
        waits.append(seen["sync"])
    else:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                yield waits
            finally:
                torch.cuda.set_sync_debug_mode("default")
        waits.append(sum("synchronizing CUDA operation" in str(warning.message) for warning in caught))


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
def test_waiting_does_not_grow_with_the_number_of_steps(two_blocks, quick, variant, accelerator):
    X, y = two_blocks
    counts = []
    for batch_size in (75, 30):
        params = quick | variant | {"batch_size": batch_size, "max_epochs": 2}
        model = DualBranchClassifier(device=accelerator, **params)
        if accelerator != "standin":
            model.fit(X, y)  # the first fit of a process loads libraries
        with seen_waiting(accelerator) as waits:
            model.fit(X, y)
        counts += waits
    assert counts[0] == counts[1]


def test_validation_rows_of_their_own_stay_on_the_host(two_blocks, accelerator, settings):
    """What is free was measured before; they are few."""
    X, y = two_blocks
    models = []
    for device in (accelerator, "cpu"):
        models.append(DualBranchClassifier(device=device, **settings).fit(X, y, X_val=X[:40], y_val=y[:40]))
    there, here = ([epoch["valid_loss"] for epoch in model.history_] for model in models)
    assert_allclose(there, here, rtol=1e-4)


@pytest.mark.parametrize("to_matrix", [np.asarray, sp.csr_matrix], ids=["dense", "csr"])
def test_a_device_without_memory_for_a_chunk_predicts_the_same(two_blocks, quick, to_matrix, accelerator, monkeypatch):
    X = to_matrix(two_blocks[0])
    model = DualBranchClassifier(device=accelerator, **quick).fit(X, two_blocks[1])
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


def test_a_model_of_an_absent_device_loads_and_predicts_the_same(two_blocks, quick, accelerator, tmp_path):
    X, y = two_blocks
    devices = [accelerator, str(torch.device(accelerator, 0))]
    models = [DualBranchClassifier(device=device, **quick).fit(X, y) for device in devices]
    for name, model in zip("ab", models, strict=True):
        joblib.dump(model, tmp_path / f"{name}.joblib")
    np.save(tmp_path / "X.npy", X)
    code = (
        "import joblib, numpy as np, torch, warnings\n"
        f"getattr(torch, {accelerator!r}, torch).is_available = lambda: False\n"
        "for name in 'ab':\n"
        "    with warnings.catch_warnings(record=True) as seen:\n"
        "        warnings.simplefilter('always')\n"
        "        model = joblib.load(name + '.joblib')\n"
        f"    assert any({accelerator!r} in str(w.message) and 'CPU' in str(w.message) for w in seen), seen\n"
        "    assert model.device_.type == 'cpu'\n"
        "    np.save(name + '.npy', model.predict_proba(np.load('X.npy')))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    for name, model in zip("ab", models, strict=True):
        assert_allclose(np.load(tmp_path / f"{name}.npy"), model.predict_proba(X), rtol=1e-5, atol=1e-6)


def test_a_model_is_saved_off_the_device_and_comes_back_to_it(two_blocks, quick, accelerator):
    X, y = two_blocks
    model = DualBranchClassifier(device=accelerator, **quick).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    assert next(again.network_.parameters()).device.type == accelerator
    assert_array_equal(again.predict_proba(X), model.predict_proba(X))


def test_a_float64_model_of_a_device_stays_one(two_blocks, quick, accelerator):
    X, y = two_blocks
    model = DualBranchClassifier(device=accelerator, precision="float64", **quick).fit(X, y)
    again = pickle.loads(pickle.dumps(model)).predict_proba(X)
    assert again.dtype == np.float64
    assert_array_equal(again, model.predict_proba(X))


def test_a_device_gets_random_numbers_of_the_fit_and_keeps_its_own(accelerator):
    backend = getattr(torch, accelerator)
    backend.manual_seed(5)
    expected = torch.rand(3, device=accelerator)
    backend.manual_seed(5)
    drawn = []
    for _ in range(2):
        with isolated_random_state(torch.device(accelerator), 11):
            drawn.append(torch.rand(4, device=accelerator))
    assert torch.equal(*drawn)
    assert torch.equal(torch.rand(3, device=accelerator), expected)
