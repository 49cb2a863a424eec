import pytest
import torch

from skdual.products import linear, products_of_pairs


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n_rows", [1, 127, 300])
def test_linear_is_exact_to_rounding(n_rows, bias):
    torch.manual_seed(0)
    # neither side lies row by row in memory
    x, weight, b = torch.randn(4_000, n_rows).T, torch.randn(4_000, 500).T, torch.randn(500) if bias else None
    y = linear(x, weight, b)
    expected = x.double() @ weight.double().T + (0 if b is None else b.double())
    assert (y.layout, y.dtype) == (torch.strided, torch.float32)
    torch.testing.assert_close(y.double(), expected, rtol=0, atol=1e-3)  # 64 is the deviation of the sums


def test_linear_leads_gradients_back():
    x, weight = torch.randn(200, 1_000), torch.randn(600, 1_000, requires_grad=True)
    linear(x, weight).sum().backward()
    torch.testing.assert_close(weight.grad, x.sum(dim=0).expand(600, -1))


@pytest.mark.parametrize("shape", [(), (1,), (3,)])
def test_products_of_pairs(shape):
    x, y = torch.randn(*shape, 600, 700).mT, torch.randn(*shape, 500, 600)
    expected = torch.einsum("...ik,...jk->...ij", x.double(), y.double())
    torch.testing.assert_close(products_of_pairs(x, y).double(), expected, rtol=0, atol=1e-3)
