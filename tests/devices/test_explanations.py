"""Explanations of a model on an accelerator are those of one on the CPU."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skdual import DualBranchClassifier
from skdual.inspection import attributions, block_importance


@pytest.fixture(name="models")
def one_on_each_device(two_blocks, quick, accelerator):
    """Fitted without dropout, for which real devices draw numbers of their own."""
    params = quick | {"dropout": 0, "block_dropout": 0}
    return [DualBranchClassifier(device=device, **params).fit(*two_blocks) for device in (accelerator, "cpu")]


@pytest.mark.parametrize("method", ["gradient_x_input", "smooth_grad", "integrated_gradients"])
def test_rows_are_explained_as_on_the_cpu(models, two_blocks, method, accelerator):
    there, here = (attributions(model, two_blocks[0][:5], method=method, random_state=0) for model in models)
    other_noise = method == "smooth_grad" and accelerator != "standin"  # real devices draw numbers of their own
    tolerance = 0.3 if other_noise else 1e-3
    assert_allclose(there, here, rtol=tolerance, atol=tolerance * np.abs(here).max(axis=None))


@pytest.mark.parametrize("method", ["permutation", "ablation"])
def test_blocks_are_as_important_as_on_the_cpu(models, two_blocks, method):
    there, here = (
        block_importance(model, *two_blocks, method=method, scoring="neg_log_loss", random_state=0) for model in models
    )
    assert_allclose(there["mean"], here["mean"], rtol=0.01, atol=1e-4)
