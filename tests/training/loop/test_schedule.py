import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from skdual.training.loop.schedule import WarmRestarts, WarmupCosine


@pytest.mark.parametrize(("n_steps", "warmup"), [(100, 0.1), (37, 0.25), (10, 0.0), (1, 0.5)])
def test_learning_rate_equals_torchs_linear_then_cosine_schedules(n_steps, warmup):
    n_warmup = math.floor(warmup * n_steps)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    cosine = CosineAnnealingLR(optimizer, n_steps - n_warmup)
    expected = []
    if n_warmup > 1:
        rise = LinearLR(optimizer, 1 / n_warmup, 1.0, n_warmup - 1)
        cosine = CosineAnnealingLR(optimizer, n_steps - n_warmup)
        schedule = SequentialLR(optimizer, [rise, cosine], [n_warmup])
    else:
        schedule = cosine
    for _ in range(n_steps):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert_allclose([WarmupCosine(n_steps, warmup)(step) for step in range(n_steps)], expected, atol=1e-12)


def test_learning_rate_ends_at_zero_and_stays_there():
    schedule = WarmupCosine(20, 0.1)
    assert schedule(20) == pytest.approx(0, abs=1e-15)
    assert schedule(25) == pytest.approx(0, abs=1e-15)
    assert np.argmax([schedule(step) for step in range(20)]) in (1, 2)


def test_restarts_are_schedules_one_after_the_other():
    restarts = WarmRestarts([12, 40], 0.25)
    factors = [restarts(step) for step in range(60)]
    assert_allclose(factors[:12], [WarmupCosine(12, 0.25)(step) for step in range(12)])
    assert_allclose(factors[12:], [WarmupCosine(40, 0.25)(step) for step in range(48)])
    assert [step for step, factor in enumerate(factors[:52]) if factor == 1] == [2, 3, 21, 22]
