import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification
from torch import nn

from skdual import DualBranchClassifier
from skdual.network import members
from skdual.network.members import ColumnLinear
from skdual.network.step_memory import StepMemory

COLUMNS, UNITS, ROWS = 30, 20, 16


def make_layer(n_members=3, bias=True, dtype=torch.float32):
    torch.manual_seed(1)
    return ColumnLinear(n_members, COLUMNS, UNITS, bias=bias).to(dtype)


def make_rows(dtype=torch.float32, seed=0):
    return torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def shared(n_members, dtype=torch.float32, seed=0):
    """One product of all members."""
    return [(make_rows(dtype, seed), slice(0, n_members))]


def of_either_half(n_members, dtype=torch.float32, seed=0):
    n_plain = n_members // 2
    inputs = (make_rows(dtype, seed), slice(0, n_plain)), (make_rows(dtype, seed + 1), slice(n_plain, n_members))
    return list(inputs if n_plain else inputs[1:])


def of_each_regularised_member(n_members, dtype=torch.float32, seed=0):
    *plain, (_, regularized) = of_either_half(n_members, dtype, seed)
    own = [make_rows(dtype, seed + member) for member in range(regularized.start, regularized.stop)]
    return [*plain, (torch.stack(own), regularized)]


def train_step(layer, bfloat16=False, inputs=shared):
    """Output and gradients of a loss in which every output has another weight."""
    dtype = torch.bfloat16 if bfloat16 else layer.weight.dtype
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        y = layer([(rows.to(dtype), members) for rows, members in inputs(len(layer.weight), layer.weight.dtype)])
    (y.to(layer.weight.dtype) * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
    return [y.detach(), *(parameter.grad.clone() for parameter in layer.parameters())]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n_members", [1, 2, 5])
@pytest.mark.parametrize("inputs", [shared, of_either_half, of_each_regularised_member])
@pytest.mark.parametrize(
    ("dtype", "bfloat16", "rtol"),
    [(torch.float64, False, 1e-12), (torch.float32, False, 1e-5), (torch.float32, True, 0.02)],
)
def test_step_memory_equals_autograd(dtype, bfloat16, rtol, n_members, inputs, bias):
    expected = train_step(make_layer(n_members, bias, dtype).eval(), bfloat16, inputs)
    layer = make_layer(n_members, bias, dtype)
    for _ in range(2):  # in new memory, and in that of the first step
        layer.zero_grad(set_to_none=True)
        for value, of_autograd in zip(train_step(layer, bfloat16, inputs), expected, strict=True):
            assert value.dtype == of_autograd.dtype
            torch.testing.assert_close(value, of_autograd, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("bfloat16", [True, False])
def test_gradients_of_all_steps_lie_in_one_place(bfloat16):
    layer, places = make_layer(), set()
    for _ in range(3):
        layer.zero_grad(set_to_none=True)
        train_step(layer, bfloat16)
        places.add(layer.weight.grad.data_ptr())
    assert len(places) == 1


@pytest.mark.parametrize("bfloat16", [True, False])
def test_gradients_that_are_not_cleared_add_up(bfloat16):
    layer = make_layer()
    _, of_weight, of_bias = train_step(layer, bfloat16)
    for times in (2, 3):
        train_step(layer, bfloat16)
        torch.testing.assert_close(layer.weight.grad, times * of_weight)
        torch.testing.assert_close(layer.bias.grad, times * of_bias)


@pytest.mark.parametrize("bfloat16", [True, False])
def test_two_products_in_one_graph(bfloat16):
    gradients = []
    for training in (False, True):
        layer = make_layer().train(training)
        for _ in range(2):
            layer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
                dtype = torch.bfloat16 if bfloat16 else torch.float32
                first, second = (layer([(make_rows(seed=seed).to(dtype), slice(0, 3))]) for seed in (0, 1))
            (first.square().sum() + second.sum()).backward()
        gradients.append(layer.weight.grad)
    torch.testing.assert_close(*gradients, rtol=1e-2, atol=1e-2)


def test_gradient_leads_back_to_rows_that_want_one():
    layer, x = make_layer(), make_rows().requires_grad_()
    layer([(x, slice(0, 3))]).sum().backward()
    torch.testing.assert_close(x.grad, layer.weight.sum(dim=(0, 1)).expand(ROWS, -1).detach())


def test_memory_goes_with_training():
    layer = make_layer()
    n_bytes = len(pickle.dumps(layer))
    train_step(layer)
    assert layer._memory is not None
    layer.zero_grad(set_to_none=True)
    assert len(pickle.dumps(layer)) == n_bytes
    assert layer.eval()._memory is None


def test_memory_is_made_anew_for_another_weight():
    layer = make_layer()
    for other in (make_layer(n_members=2), make_layer(dtype=torch.float64)):
        expected = train_step(other)
        train_step(layer)
        layer.weight, layer.bias = nn.Parameter(other.weight.detach()), nn.Parameter(other.bias.detach())
        for value, of_other in zip(train_step(layer), expected, strict=True):
            assert torch.equal(value, of_other)


def test_a_fit_is_that_of_autograd(monkeypatch):
    X, y = make_classification(120, 40, n_informative=10, random_state=0)
    made, probabilities = [], []
    monkeypatch.setattr(members, "StepMemory", lambda *args: made.append(StepMemory(*args)) or made[-1])
    for reuses in (True, False):
        if not reuses:
            made.clear()
            monkeypatch.setattr(ColumnLinear, "_free_memory", lambda layer, inputs: None)
        model = DualBranchClassifier(25, max_epochs=4, random_state=0).fit(X, y)
        branches = model.network_.branch_a, model.network_.branch_b
        assert all(layer._memory is None for branch in branches for layer in branch.column_layers)
        probabilities.append(model.predict_proba(X))
        assert bool(made) == reuses
    np.testing.assert_allclose(*probabilities, atol=1e-5)
