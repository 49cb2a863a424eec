import pytest
import torch
from torch.nn import functional as F

from skdual.matmul import linear, member_products, products_of_pairs


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


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_gradients_of_member_products_are_those_of_torch_member_by_member(dtype, tolerance, bias):
    rows, weight = torch.randn(3, 6, 4, dtype=dtype), torch.randn(3, 5, 4, dtype=dtype)
    inputs = [rows, weight] + ([torch.randn(3, 5, dtype=dtype)] if bias else [])
    for tensor in inputs:
        tensor.requires_grad_()
    y = member_products(rows, weight, inputs[2] if bias else None)
    direction = torch.randn(5, 6, 3, dtype=dtype).permute(2, 1, 0)
    found = torch.autograd.grad((y * direction).sum(), inputs)
    for member in range(3):
        own = [tensor[member].detach().requires_grad_() for tensor in inputs]
        expected = F.linear(*own)
        torch.testing.assert_close(y[member], expected, rtol=tolerance, atol=tolerance)
        of_own = torch.autograd.grad((expected * direction[member]).sum(), own)
        for ours, theirs in zip(found, of_own, strict=True):
            torch.testing.assert_close(ours[member], theirs, rtol=tolerance, atol=tolerance)
    # turned ones would be copied, by the layer below and by the optimizer
    assert all(gradient.is_contiguous() for gradient in found)


def test_member_products_under_autocast():
    rows, weight, bias = torch.randn(3, 6, 4), torch.randn(3, 5, 4), torch.randn(3, 5)
    for tensor in (rows, weight, bias):
        tensor.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = member_products(rows, weight, bias)
    assert y.dtype == torch.bfloat16
    rounded = [tensor.bfloat16().double() for tensor in (rows, weight, bias)]
    expected = torch.einsum("mbi,moi->mbo", *rounded[:2]) + rounded[2][:, None]
    torch.testing.assert_close(y.double(), expected, rtol=2**-7, atol=2**-7)
    found = torch.autograd.grad(y.float().sum(), (rows, weight, bias))
    assert {gradient.dtype for gradient in found} == {torch.float32}
    of_rows = rounded[1].sum(dim=1, keepdim=True).expand(3, 6, 4)
    torch.testing.assert_close(found[0].double(), of_rows, rtol=2**-7, atol=2**-6)
