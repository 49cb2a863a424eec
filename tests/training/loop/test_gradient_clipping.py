import math

import pytest
import torch

from skdual.training.loop.gradient_clipping import clip_gradients

SHAPES = [(3, 5, 4), (3, 5), (3,), (3, 2, 4, 3)]  # matrices, biases, scales and bases of three members


def parameters(factors, seed=0):
    """With random gradients, those of each member times its factor; the last parameter has none."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for shape in SHAPES:
        parameter = torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64))
        gradient = torch.randn(shape, generator=generator, dtype=torch.float64)
        parameter.grad = gradient * torch.tensor(factors, dtype=torch.float64).view(-1, *(1 for _ in shape[1:]))
        made.append(parameter)
    return [*made, torch.nn.Parameter(torch.zeros(3, 2))]


def one_member(shared, member):
    """The parameters and gradients of a member by itself."""
    alone = []
    for parameter in shared:
        if parameter.grad is not None:
            alone.append(torch.nn.Parameter(parameter.detach()[member].clone()))
            alone[-1].grad = parameter.grad[member].clone()
    return alone


@pytest.mark.parametrize("factors", [(1e-3, 1.0, 50.0), (1e-3, 1e-3, 1e-3), (9.0, 9.0, 9.0), (0.0, 1.0, 1e6)])
@pytest.mark.parametrize("max_norm", [0.05, 1.0, 30.0])
def test_each_member_is_clipped_as_torch_clips_it_alone(factors, max_norm):
    shared = parameters(factors)
    alone = [one_member(shared, member) for member in range(3)]
    clip_gradients(shared, max_norm)
    assert shared.pop().grad is None
    for member, expected in enumerate(alone):
        torch.nn.utils.clip_grad_norm_(expected, max_norm)
        for got, parameter in zip(shared, expected, strict=True):
            torch.testing.assert_close(got.grad[member], parameter.grad, rtol=1e-12, atol=0)


def test_short_gradients_stay_as_they_are_beside_a_long_one():
    shared = parameters((1e-3, 1e-3, 1e3))
    before = [parameter.grad.clone() for parameter in shared[:-1]]
    clip_gradients(shared, 1.0)
    for old, parameter in zip(before, shared[:-1], strict=True):
        assert torch.equal(old[:2], parameter.grad[:2])
    clipped = math.sqrt(sum(parameter.grad[2].square().sum().item() for parameter in shared[:-1]))
    assert clipped == pytest.approx(1, rel=1e-6)


def test_one_member_is_clipped_as_a_whole():
    shared = [torch.nn.Parameter(torch.zeros(1, 4)), torch.nn.Parameter(torch.zeros(1, 2, 2))]
    shared[0].grad, shared[1].grad = torch.full((1, 4), 3.0), torch.full((1, 2, 2), -4.0)  # of length 6 and 8
    clip_gradients(iter(shared), 5.0)
    torch.testing.assert_close(shared[0].grad, torch.full((1, 4), 1.5))
    torch.testing.assert_close(shared[1].grad, torch.full((1, 2, 2), -2.0))


def test_the_length_of_many_numbers_is_exact():
    wide = torch.nn.Parameter(torch.zeros(1, 1000, 8000))
    wide.grad = torch.randn(1, 1000, 8000, generator=torch.Generator().manual_seed(0))
    clip_gradients([wide], 2.0)
    assert wide.grad.double().norm().item() == pytest.approx(2, rel=1e-5)
