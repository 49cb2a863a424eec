"""Captured updates, with a capture that keeps the function instead of its launches."""

import gc
import weakref

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from skorch.callbacks import Callback

from skdual import DualBranchClassifier
from skdual.training.loop.cuda_graph import CapturedUpdate

VARIANTS = {
    "default": {},
    "one member": {"n_members": 1, "fusion": "attention", "attention_heads": 2},
    "not mixed": {"mixup_alpha": 0},
    "class-aware": {"sampling": "class_aware", "early_stopping": True, "validation_fraction": 0.2},
    "batch normalisation": {"normalization": "batch", "head": "linear", "gradient_clip": None},
}


@pytest.fixture(name="captures")
def captures_of_the_cpu(monkeypatch):
    """A list with how often each capture was replayed."""
    seen = []

    def capture(work, device):
        number = len(seen)
        seen.append(0)

        def replay():
            seen[number] += 1
            return work()

        return replay

    monkeypatch.setattr("skdual.training.loop.cuda_graph.capture", capture)
    monkeypatch.setattr("skdual.training.build.can_capture", lambda device: True)
    return seen


def fitted(two_blocks, quick, **params):
    return DualBranchClassifier(**(quick | {"device": "cpu"} | params)).fit(*two_blocks)


@pytest.mark.parametrize("params", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_fit_of_captured_updates_is_the_same(two_blocks, quick, params, captures, monkeypatch):
    captured = fitted(two_blocks, quick, **params)
    n_epochs, n_batches = quick["max_epochs"], len(two_blocks[1]) // quick["batch_size"]
    if "sampling" not in params:
        assert captures == [n_epochs * n_batches - 3]  # less the first ones; the last batch of an epoch is smaller
    monkeypatch.setattr("skdual.training.build.can_capture", lambda device: False)
    plain = fitted(two_blocks, quick, **params)
    assert len(captures) == 1
    assert_allclose(captured.predict_proba(two_blocks[0]), plain.predict_proba(two_blocks[0]), rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(captured.history_, plain.history_, strict=True):
        assert {**ours, "duration": 0} == pytest.approx({**theirs, "duration": 0}, rel=1e-5)


@pytest.mark.parametrize(
    "params",
    [
        {"callbacks": [Callback()]},
        {"memory_bank_size": 16},
        {"net_params": {"optimizer": torch.optim.SGD}},
        {"net_params": {"optimizer__fused": False}},
    ],
    ids=["callbacks", "a bank", "another optimizer", "not fused"],
)
def test_updates_that_may_differ_are_not_captured(two_blocks, quick, params, captures):
    fitted(two_blocks, quick, **params)
    assert captures == []


def test_nothing_of_a_capture_is_kept_after_the_fit(two_blocks, quick, captures, monkeypatch):
    made, initialize = [], CapturedUpdate.__init__
    monkeypatch.setattr(
        CapturedUpdate, "__init__", lambda self, *args: made.append(weakref.ref(self)) or initialize(self, *args)
    )
    model = fitted(two_blocks, quick)
    gc.collect()
    assert [reference() for reference in made] == [None]
    assert [type(group["lr"]) for group in model.net_.optimizer_.param_groups] == [float, float]
    assert not any(group["capturable"] for group in model.net_.optimizer_.param_groups)
    assert np.isfinite(model.predict_proba(two_blocks[0])).all()


def test_where_a_capture_fails_training_goes_on_without(two_blocks, quick, captures, monkeypatch):
    def refuse(work, device):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr("skdual.training.loop.cuda_graph.capture", refuse)
    with pytest.warns(UserWarning, match="every kernel launched by itself: operation not permitted") as seen:
        model = fitted(two_blocks, quick)
    assert [warning.filename for warning in seen] == [__file__]
    monkeypatch.setattr("skdual.training.build.can_capture", lambda device: False)
    assert_array_equal(model.predict_proba(two_blocks[0]), fitted(two_blocks, quick).predict_proba(two_blocks[0]))
