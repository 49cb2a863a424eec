"""What the caller has set for torch is left as it is, and changes nothing."""

import os
import pickle
import signal
import threading
from contextlib import contextmanager

import pytest
import torch
from numpy.testing import assert_array_equal

from skdual import DualBranchClassifier
from skdual.devices import isolated_random_state


def test_isolated_random_state_is_seeded_inside_and_leaves_no_trace():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    drawn = []
    for _ in range(2):
        with isolated_random_state(torch.device("cpu"), 11):
            drawn.append(torch.rand(4))
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no process is forked on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_a_thread_that_it_does_not_have():
    entered, leave = threading.Event(), threading.Event()

    def stay():
        with isolated_random_state(torch.device("cpu"), 0):
            entered.set()
            leave.wait()

    thread = threading.Thread(target=stay)
    thread.start()
    entered.wait()
    child = os.fork()
    if not child:
        signal.alarm(20)  # which ends a process that waits
        with isolated_random_state(torch.device("cpu"), 0):
            os._exit(0)
    leave.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


@contextmanager
def float64_by_default():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    "mode",
    [
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        float64_by_default,
        lambda: torch.device("meta"),
    ],
    ids=["no_grad", "inference_mode", "autocast", "default dtype", "default device"],
)
def test_what_the_caller_has_set_for_torch_changes_nothing(two_blocks, quick, mode):
    X, y = two_blocks
    validation = {"X_val": X[:9], "y_val": y[:9]}
    expected = DualBranchClassifier(device="cpu", **quick).fit(X, y, **validation)
    with mode():
        got = DualBranchClassifier(device="cpu", **quick).fit(X, y, **validation)
        default_dtype = torch.get_default_dtype()
        assert_array_equal(got.predict_proba(X), expected.predict_proba(X))
        loaded = pickle.loads(pickle.dumps(got))
        assert_array_equal(loaded.transform(X), expected.transform(X))
        assert torch.get_default_dtype() == default_dtype
    assert {p.dtype for p in loaded.network_.parameters()} == {torch.float32}
    assert all(p.requires_grad for p in got.network_.parameters())
    got.set_params(warm_start=True).fit(X, y)  # no tensor of inference mode is left in it
