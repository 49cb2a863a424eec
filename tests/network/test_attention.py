import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from skdual.network import attention
from skdual.network.attention import attend


def make_inputs(n=7, e=4, n_queries=5, n_keys=9, dtype=torch.float64):
    return [torch.randn(n, e, d, dtype=dtype, requires_grad=True) for d in (n_queries, n_keys, n_keys)]


def fused(query, key, value):
    """torch's own attention, whose tokens are rows."""
    return F.scaled_dot_product_attention(*(x.mT.unsqueeze(1) for x in (query, key, value))).squeeze(1).mT


def chunks_of(monkeypatch, rows, n_queries=5, n_keys=9):
    """Few enough weights at a time that ``rows`` samples make a chunk."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(attention, "_CHUNK_CELLS", rows * n_queries * n_keys)


@pytest.mark.parametrize("rows", [0, 1, 3, 7, 100])
@pytest.mark.parametrize("e", [1, 4, 16])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_agrees_with_torch_whatever_the_chunks(monkeypatch, rows, e, dtype, tolerance):
    chunks_of(monkeypatch, rows)
    inputs = make_inputs(e=e, dtype=dtype)
    ours, theirs = attend(*inputs), fused(*inputs)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)
    towards = torch.randn_like(ours)
    for own, their in zip(*(torch.autograd.grad(y, inputs, towards) for y in (ours, theirs)), strict=True):
        torch.testing.assert_close(own, their, rtol=0, atol=10 * tolerance)


def test_gradient_agrees_with_finite_differences(monkeypatch):
    chunks_of(monkeypatch, 2)
    assert torch.autograd.gradcheck(attend, make_inputs(n=3))


def test_takes_any_strides():
    inputs = make_inputs()
    strided = [x.detach().transpose(0, 2).contiguous().transpose(0, 2).requires_grad_() for x in inputs]
    assert not any(x.is_contiguous() for x in strided)
    towards = torch.randn(5, 4, 7, dtype=torch.float64).transpose(0, 2)
    for own, their in zip(
        torch.autograd.grad(attend(*strided), strided, towards),
        torch.autograd.grad(fused(*inputs), inputs, towards),
        strict=True,
    ):
        torch.testing.assert_close(own, their, rtol=0, atol=1e-12)


def test_large_scores_stay_finite():
    query, key, value = make_inputs(dtype=torch.float32)
    attended = attend(1e4 * query, key, value)
    nearest = (query.mT @ key).argmax(dim=-1)
    expected = torch.stack([value[i][:, nearest[i]] for i in range(len(value))])
    np.testing.assert_allclose(attended.detach(), expected.detach(), atol=1e-5)


@pytest.mark.parametrize("scale", [5.0, 30.0, 300.0])
def test_gradients_of_large_scores_agree_with_torch(monkeypatch, scale):
    chunks_of(monkeypatch, 2)
    inputs = make_inputs()
    towards = torch.randn_like(inputs[0])
    ours, theirs = (f(scale * inputs[0], *inputs[1:]) for f in (attend, fused))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    for own, their in zip(*(torch.autograd.grad(y, inputs, towards) for y in (ours, theirs)), strict=True):
        torch.testing.assert_close(own, their, rtol=1e-9, atol=1e-11 * scale)


@pytest.mark.parametrize("sign", [-1, 1])
def test_scores_that_are_all_alike_and_far_from_zero_stay_finite(sign):
    query, key = torch.full((1, 4, 5), 30.0), torch.full((1, 4, 9), 30.0 * sign)
    value = torch.randn(1, 4, 9)
    torch.testing.assert_close(attend(query, key, value), value.mean(dim=-1, keepdim=True).expand(1, 4, 5))


class _LargestTensor(TorchDispatchMode):
    """The cells of the largest tensor that any operator gives."""

    cells = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        result = operator(*args, **(kwargs or {}))
        self.cells = max([self.cells, *(leaf.numel() for leaf in tree_leaves(result) if torch.is_tensor(leaf))])
        return result


def test_weights_of_few_samples_are_held_at_a_time(monkeypatch):
    chunks_of(monkeypatch, 3, 40, 50)
    inputs = make_inputs(n=32, n_queries=40, n_keys=50)
    with _LargestTensor() as largest:
        attend(*inputs).sum().backward()
    assert largest.cells == 2 * 3 * 40 * 50  # room for two matrices of weights of three samples
    monkeypatch.undo()
    with _LargestTensor() as largest:
        attend(*inputs).sum().backward()
    assert largest.cells == 2 * 32 * 40 * 50  # of all of them it would be seen


def agrees_with_softmax(query, key, value):
    weights = torch.softmax(query.mT @ key / math.sqrt(query.shape[1]), dim=-1)
    torch.testing.assert_close(attend(query, key, value), value @ weights.mT, rtol=0, atol=1e-12)


def test_a_compiled_graph_agrees(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    agrees_with_softmax(*make_inputs())


@pytest.mark.parametrize("most", [1, 3, 6, 7, 8])
def test_kernels_get_no_more_samples_than_they_take(monkeypatch, most):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    monkeypatch.setattr(attention, "_MAX_KERNEL_SAMPLES", most)
    taken, kernel = [], F.scaled_dot_product_attention

    def note(query, key, value):
        taken.append(len(query))
        return kernel(query, key, value)

    monkeypatch.setattr(F, "scaled_dot_product_attention", note)
    agrees_with_softmax(*make_inputs(n=7))
    assert sum(taken) == 7
    assert max(taken) == min(7, most)


@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_is_computed_in_float32(autocast):
    inputs = make_inputs(dtype=torch.bfloat16)
    as_float32 = [x.detach().float().requires_grad_() for x in inputs]
    with torch.autocast("cpu", enabled=autocast):
        ours = attend(*inputs)
    theirs = fused(*as_float32)
    assert ours.dtype == torch.bfloat16
    torch.testing.assert_close(ours.float(), theirs, rtol=2**-8, atol=1e-6)
    towards = torch.randn_like(ours)
    expected = torch.autograd.grad(theirs, as_float32, towards.float())
    for own, their in zip(torch.autograd.grad(ours, inputs, towards), expected, strict=True):
        assert own.dtype == torch.bfloat16
        torch.testing.assert_close(own.float(), their, rtol=2**-8, atol=1e-5)
