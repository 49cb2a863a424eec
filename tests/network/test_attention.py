import math

import numpy as np
import pytest
import torch
from largest_tensor import LargestTensor
from torch.nn import functional as F

from skdual.network import attention
from skdual.network.attention import attend_both_ways


def make_inputs(n=7, e=4, n_a=5, n_b=9, dtype=torch.float64):
    """Queries of A and B, values of A and B."""
    return [torch.randn(n, e, d, dtype=dtype, requires_grad=True) for d in (n_a, n_b, n_a, n_b)]


def by_softmax(query_a, query_b, value_a, value_b):
    scores = query_a.mT @ query_b / math.sqrt(query_a.shape[1])
    return value_b @ scores.softmax(dim=-1).mT, value_a @ scores.softmax(dim=-2)


def assert_agree(inputs, rtol=0.0, atol=1e-12, reference=by_softmax, of=None):
    """Results and gradients; ``of`` makes the tensors to attend from ``inputs``, which are these by default."""
    made = [list(inputs), list(inputs)] if of is None else [of(*inputs), of(*inputs)]
    ours, theirs = attend_both_ways(*made[0]), reference(*made[1])
    towards = [torch.randn_like(x) for x in ours]
    gradients = [torch.autograd.grad(y, inputs, towards) for y in (ours, theirs)]
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=atol)
    torch.testing.assert_close(*gradients, rtol=rtol, atol=10 * atol)


def chunks_of(monkeypatch, rows, n_a=5, n_b=9, dtype=torch.float64):
    """Few enough weights at a time that ``rows`` samples make a chunk."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(attention, "_CHUNK_BYTES", rows * n_a * n_b * dtype.itemsize)


@pytest.mark.parametrize("rows", [0, 1, 3, 7, 100])
@pytest.mark.parametrize("e", [1, 4, 16])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_attention_equals_softmax_over_either_side_whatever_the_chunks(monkeypatch, rows, e, dtype, tolerance):
    chunks_of(monkeypatch, rows, dtype=dtype)
    assert_agree(make_inputs(e=e, dtype=dtype), atol=tolerance)


def test_attention_agrees_with_that_of_torch():
    def twice(query_a, query_b, value_a, value_b):
        query_a, query_b, value_a, value_b = (x.mT for x in (query_a, query_b, value_a, value_b))
        attend = F.scaled_dot_product_attention
        return attend(query_a, query_b, value_b).mT, attend(query_b, query_a, value_a).mT

    assert_agree(make_inputs(), reference=twice)


def test_gradient_of_attention_agrees_with_finite_differences(monkeypatch):
    chunks_of(monkeypatch, 2)
    assert torch.autograd.gradcheck(attend_both_ways, make_inputs(n=3))


def test_attention_takes_any_strides():
    inputs = [x.detach().transpose(0, 2).contiguous().transpose(0, 2).requires_grad_() for x in make_inputs()]
    assert not any(x.is_contiguous() for x in inputs)
    assert_agree(inputs)


def test_attention_of_large_scores_stays_finite():
    query_a, query_b, value_a, value_b = make_inputs(dtype=torch.float32)
    attended_a, attended_b = attend_both_ways(1e4 * query_a, query_b, value_a, value_b)
    scores = query_a.mT @ query_b
    for attended, values, nearest in (
        (attended_a, value_b, scores.argmax(dim=2)),
        (attended_b, value_a, scores.argmax(dim=1)),
    ):
        expected = torch.stack([of_sample[:, at] for of_sample, at in zip(values, nearest, strict=True)])
        np.testing.assert_allclose(attended.detach(), expected.detach(), atol=1e-5)


@pytest.mark.parametrize("scale", [5.0, 30.0, 300.0])
def test_gradients_of_attention_of_large_scores(monkeypatch, scale):
    chunks_of(monkeypatch, 2)
    assert_agree(make_inputs(), rtol=1e-9, atol=1e-11 * scale, of=lambda q, *others: [scale * q, *others])


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("exponent", [30.0, 63.9, 64.1, 200.0])
def test_attention_of_scores_that_are_all_alike_and_far_from_zero(sign, exponent):
    """Of small gradients, as those of a mean over a batch are, nothing is lost in float32."""
    size = math.sqrt(exponent / (math.log2(math.e) * 2))  # of 4 features: s = 4 size^2 / sqrt(4)
    query_a, query_b = torch.full((1, 4, 5), size), torch.full((1, 4, 9), sign * size)
    value_a, value_b = torch.randn(1, 4, 5), torch.randn(1, 4, 9)
    inputs = [x.requires_grad_() for x in (query_a, query_b, value_a, value_b)]
    in_double = [x.detach().double().requires_grad_() for x in inputs]
    ours, expected = attend_both_ways(*inputs), by_softmax(*in_double)
    towards = [1e-10 * torch.randn_like(x) for x in ours]
    torch.testing.assert_close(ours, tuple(x.float() for x in expected), rtol=0, atol=1e-6)
    own = torch.autograd.grad(ours, inputs, towards)
    gradients = torch.autograd.grad(expected, in_double, [x.double() for x in towards])
    torch.testing.assert_close(own, tuple(x.float() for x in gradients), rtol=1e-3, atol=1e-15)


def test_weights_of_few_samples_are_held_at_a_time(monkeypatch):
    chunks_of(monkeypatch, 3, 60, 70)
    inputs = make_inputs(n=32, n_a=60, n_b=70)
    with LargestTensor() as largest:
        sum(x.sum() for x in attend_both_ways(*inputs)).backward()
    assert largest.numel == 2 * 3 * 60 * 70  # room for two matrices of weights of three samples
    monkeypatch.undo()
    with LargestTensor() as largest:
        sum(x.sum() for x in attend_both_ways(*inputs)).backward()
    assert largest.numel == 2 * 32 * 60 * 70  # of all of them it would be seen


def test_compiled_attention_agrees(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert_agree(make_inputs())


@pytest.mark.parametrize("most", [1, 3, 6, 7, 8])
def test_kernels_get_no_more_samples_than_they_take(monkeypatch, most):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    monkeypatch.setattr(attention, "_MAX_KERNEL_SAMPLES", most)
    taken, kernel = [], F.scaled_dot_product_attention

    def note(query, key, value):
        taken.append(len(query))
        return kernel(query, key, value)

    monkeypatch.setattr(F, "scaled_dot_product_attention", note)
    assert_agree(make_inputs(n=7))
    assert sum(taken) == 2 * 7  # there and back
    assert max(taken) == min(7, most)


@pytest.mark.parametrize("scale", [1, 300])
def test_attention_in_bfloat16_loses_what_it_rounds(scale):
    """300 is beyond what powers of 2 are taken of."""
    inputs = [(scale * x).detach().requires_grad_() for x in make_inputs(n=50, dtype=torch.bfloat16)]
    in_double = [x.detach().double().requires_grad_() for x in inputs]
    ours, theirs = attend_both_ways(*inputs), by_softmax(*in_double)
    towards = [torch.randn_like(x) for x in ours]
    gradients = torch.autograd.grad(ours, inputs, towards)
    expected = torch.autograd.grad(theirs, in_double, [x.double() for x in towards])
    for own, their in zip((*ours, *gradients), (*theirs, *expected), strict=True):
        assert own.dtype == torch.bfloat16
        assert (own.double() - their).norm() < 2**-5 * their.norm()
