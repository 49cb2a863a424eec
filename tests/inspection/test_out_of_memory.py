"""Attributions on a device without memory for as many rows as usual."""

import weakref

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from small_memory import OUT_OF_MEMORY, SmallMemory

from skdual.inspection import attributions, class_attributions, gradients
from skdual.network import DualBranchNetwork

every_method = pytest.mark.parametrize("method", gradients.METHODS)
out_of_memory = pytest.mark.parametrize("error", OUT_OF_MEMORY.values(), ids=OUT_OF_MEMORY.keys())


@pytest.fixture
def explain(unnamed, monkeypatch):
    """Attributions for class "one", of 16 rows at a time where there is memory.

    With hardly any noise, for that of smooth_grad is drawn part by part.
    """
    monkeypatch.setattr(gradients, "_POINTS", 16)
    monkeypatch.setattr(gradients, "N_SAMPLES", 8)
    monkeypatch.setattr(gradients, "NOISE", 1e-6)
    return lambda X, method: attributions(unnamed, X, target="one", method=method, random_state=0).to_numpy()


@out_of_memory
@every_method
def test_half_as_many_rows_are_explained_together(explain, planted, method, error, monkeypatch):
    X = planted[0][:21].to_numpy()
    expected = explain(X, method)
    small = SmallMemory(monkeypatch, "scores", 5, error)
    found = explain(X, method)
    assert [n for n in small.n_rows if n > 5] == [16, 8]
    assert max(n for n in small.n_rows if n <= 5) == 4
    assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize(("method", "tried"), [("smooth_grad", [8, 8, 4]), ("integrated_gradients", [16, 8, 4])])
def test_of_one_row_fewer_copies_or_steps_are_taken_together(explain, planted, method, tried, monkeypatch):
    X = planted[0][:1].to_numpy()
    expected = explain(X, method)
    small = SmallMemory(monkeypatch, "scores", 3, OUT_OF_MEMORY["torch's"])
    found = explain(X, method)
    assert [n for n in small.n_rows if n > 3] == tried
    assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@out_of_memory
@every_method
def test_one_row_that_is_too_much_is_an_error(explain, planted, method, error, monkeypatch):
    small = SmallMemory(monkeypatch, "scores", 0, error)
    with pytest.raises(type(error), match="out of memory"):
        explain(planted[0][:21].to_numpy(), method)
    assert small.n_rows[-1] == 1


@every_method
def test_what_is_no_lack_of_memory_is_raised_at_once(explain, planted, method, monkeypatch):
    small = SmallMemory(monkeypatch, "scores", 5, RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        explain(planted[0][:21].to_numpy(), method)
    assert [n for n in small.n_rows if n > 1] == [16]


@every_method
def test_nothing_of_a_failed_part_is_kept_while_the_next_is_tried(explain, planted, method, monkeypatch):
    """Else its tensors, and the graph of their gradients, would leave no memory for the smaller one."""
    kept, original = [], DualBranchNetwork.scores

    def limited(network, x_a, x_b):
        assert [tensor for tensor in kept if tensor() is not None] == []
        scores = original(network, x_a, x_b)
        if len(x_a) > 5:
            kept.extend(map(weakref.ref, (x_a, scores)))
            raise torch.OutOfMemoryError("out of memory")
        return scores

    monkeypatch.setattr(DualBranchNetwork, "scores", limited)
    explain(planted[0][:21].to_numpy(), method)
    assert len(kept) == 2 * 2


def test_rows_with_incomplete_attributions_are_counted_once(unnamed, planted, monkeypatch):
    X = planted[0][:300].to_numpy(np.float64)
    rows = np.concatenate([X[:58], X.mean(axis=0) + 1e6 * (X[:2] - X.mean(axis=0))]).astype(np.float32)
    SmallMemory(monkeypatch, "scores", 50, OUT_OF_MEMORY["torch's"])
    with pytest.warns(gradients.ConvergenceWarning, match=r"of 2 of 60 rows"):
        class_attributions(unnamed, rows, planted[1][:60])
