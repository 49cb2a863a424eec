import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.preprocessing import SplineTransformer

from skdual.scaling.clipping import LIMIT
from skdual.scaling.splines import HatFunctions, LinearSplines, hats_at


def layer_of(hats):
    layer = LinearSplines(len(hats.column)).double()
    layer.set_hats(hats)
    return layer


@pytest.mark.parametrize("centers", [[-1.0, 2.0], [-2.0, -1.5, 0.3, 0.4, 2.5]])
def test_hat_functions_are_the_linear_b_splines_of_a_column(centers):
    z = np.random.default_rng(0).normal(scale=2, size=(50, 3))
    knots = np.array(centers)
    splines = SplineTransformer(degree=1, knots=knots[:, None], extrapolation="constant").fit(z[:, [1]])
    values = layer_of(hats_at(1, knots)).hats(torch.from_numpy(z)).numpy()
    assert_allclose(values, splines.transform(z[:, [1]]), atol=1e-12)
    assert_allclose(values.sum(axis=1), 1)


def test_at_codes_they_are_one_hot():
    codes = np.array([-1.2, -0.4, 0.9, 1.7])
    z = torch.from_numpy(np.random.default_rng(0).choice(codes, (20, 2)))
    values = layer_of(hats_at(0, codes)).hats(z).numpy()
    assert_allclose(values, z[:, :1].numpy() == codes, atol=1e-12)


def test_they_follow_the_columns_standardised_and_clipped():
    z = torch.randn(9, 2, dtype=torch.float64)
    hats = HatFunctions(
        *map(np.concatenate, zip(hats_at(0, np.array([-1.0, 1.0])), hats_at(1, np.zeros(1)), strict=True))
    )
    layer = layer_of(hats)
    layer.set_statistics(np.array([0.4, 0.6, 1.0]), np.array([0.1, 0.2, 0.0]))
    out = layer(z)
    assert torch.equal(out[:, :2], z)
    for row, values in zip(z.tolist(), out[:, 2:].tolist(), strict=True):
        above = min(1.0, max(0.0, (row[0] + 1) / 2))
        expected = [(1 - above - 0.4) / 0.1, (above - 0.6) / 0.2, 0.0]  # the last is 1 everywhere, and does not vary
        assert values == pytest.approx([e / np.sqrt(1 + (e / LIMIT) ** 2) for e in expected], rel=1e-12)
