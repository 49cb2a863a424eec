import math

import numpy as np
import pytest
import torch

from skdual import DualBranchClassifier
from skdual.scaling.clipping import LIMIT
from skdual.scaling.row_length import RowLength


def test_appends_the_root_mean_square_of_the_columns_standardised_and_clipped():
    z = torch.randn(9, 5, dtype=torch.float64)
    layer = RowLength().double()
    layer.set_statistics(0.8, 0.2)
    out = layer(z)
    assert torch.equal(out[:, :5], z)
    for row, length in zip(z.tolist(), out[:, 5].tolist(), strict=True):
        expected = (math.sqrt(sum(value**2 for value in row) / 5) - 0.8) / 0.2
        assert length == pytest.approx(expected / math.sqrt(1 + (expected / LIMIT) ** 2), rel=1e-12)


def test_lengths_that_do_not_vary_are_harmless():
    layer = RowLength()
    layer.set_statistics(1.0, 0.0)
    assert layer(torch.ones(3, 4))[:, 4].tolist() == [0, 0, 0]


def test_the_gradient_is_finite_also_at_the_origin():
    z = torch.zeros(2, 4, requires_grad=True)
    RowLength()(z).sum().backward()
    assert torch.equal(z.grad, torch.ones(2, 4))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_is_standardised_by_the_training_rows(dtype):
    X = np.random.default_rng(0).normal(size=(60, 9)).astype(dtype)
    params = {"hidden_layer_sizes": ((8,), (8,)), "n_members": 1, "max_epochs": 1, "device": "cpu", "random_state": 0}
    network = DualBranchClassifier(5, **params).fit(X, np.arange(60) % 2).network_
    for block in network.scale(*torch.from_numpy(X).split([5, 4], dim=1)):
        z = block[:, :-1].double().square().mean(dim=1).sqrt()
        z = (z - z.mean()) / z.std(correction=0)
        torch.testing.assert_close(block[:, -1].double(), z / (1 + (z / LIMIT) ** 2).sqrt(), rtol=1e-4, atol=1e-5)


def test_tells_classes_that_surround_each_other():
    """Classes that differ in nothing but the distance of their rows from the mean, in 40 columns."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 900)
    X = rng.normal(size=(900, 40)) * np.where(y, 1.5, 1.0)[:, None]
    params = {"n_members": 2, "random_state": 0, "device": "cpu"}
    assert DualBranchClassifier(20, **params).fit(X[:600], y[:600]).score(X[600:], y[600:]) > 0.92
