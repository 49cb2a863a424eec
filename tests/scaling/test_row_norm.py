import math

import pytest
import torch

from skdual.scaling.clipping import LIMIT
from skdual.scaling.row_norm import RowNorm


def test_row_norm_appends_the_root_mean_square_of_the_columns_standardised_and_clipped():
    z = torch.randn(9, 5, dtype=torch.float64)
    layer = RowNorm().double()
    layer.set_statistics(0.8, 0.2)
    out = layer(z)
    assert torch.equal(out[:, :5], z)
    for row, norm in zip(z.tolist(), out[:, 5].tolist(), strict=True):
        expected = (math.sqrt(sum(value**2 for value in row) / 5) - 0.8) / 0.2
        assert norm == pytest.approx(expected / math.sqrt(1 + (expected / LIMIT) ** 2), rel=1e-12)


def test_row_norms_that_do_not_vary_are_harmless():
    layer = RowNorm()
    layer.set_statistics(1.0, 0.0)
    assert layer(torch.ones(3, 4))[:, 4].tolist() == [0, 0, 0]


def test_gradient_of_the_row_norm_is_finite_also_at_the_origin():
    z = torch.zeros(2, 4, requires_grad=True)
    RowNorm()(z).sum().backward()
    assert torch.equal(z.grad, torch.ones(2, 4))
