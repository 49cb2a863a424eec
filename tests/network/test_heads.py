import math

import numpy as np
import pytest
import torch
from naive import gelu
from naive import subspace_error as naive_subspace_error
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from skdual.network.heads import LinearHead, ProjectionHead, SubspaceHead, subspace_error

SHAPES = [(2, 1, 8), (3, 4, 64), (10, 4, 16), (5, 6, 6), (1000, 4, 32), (20, 8, 512)]  # C, D, d


def make_bases(shape, noise, dtype):
    bases = SubspaceHead(shape[2], shape[0], shape[1]).bases.detach().to(dtype)
    return bases + noise * torch.randn_like(bases)


@pytest.mark.parametrize("noise", [0, 0.05])  # 0.05 makes a basis of 512 columns 2.3 times as long
@pytest.mark.parametrize("shape", SHAPES)
def test_error_equals_the_naive_projection(shape, noise):
    z = 3 * torch.randn(6, shape[2]).double()
    for dtype in (torch.float32, torch.float64):
        bases = make_bases(shape, noise, dtype)
        expected = naive_subspace_error(z.to(dtype).double().numpy(), bases.double().numpy())
        error = subspace_error(z.to(dtype), bases).double().numpy()
        if dtype == torch.float32:
            norms = (z**2).sum(dim=1, keepdim=True).numpy()
            assert np.all(np.abs(error - expected) <= 1e-6 * norms)
        else:
            np.testing.assert_allclose(error, expected, rtol=1e-10, atol=1e-10 if shape[1] == shape[2] else 0)


def test_error_of_known_vectors():
    bases = torch.eye(4).reshape(2, 2, 4)  # the first two axes, the last two axes
    z = torch.tensor([[1.0, 2, 0, 0], [0, 0, 3, 0], [1, 1, 1, 2]])
    assert subspace_error(z, bases).tolist() == [[0, 5], [9, 0], [5, 2]]


@pytest.mark.parametrize("noise", [0, 0.3])
def test_error_is_invariant_to_the_choice_of_basis(noise):
    z, bases = torch.randn(6, 20).double(), make_bases((5, 3, 20), noise, torch.float64)
    rotations = torch.linalg.qr(torch.randn(5, 3, 3).double())[0]
    torch.testing.assert_close(subspace_error(z, rotations @ bases), subspace_error(z, bases), rtol=1e-12, atol=1e-12)


class _LargestTensor(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that any operator gives."""

    numel = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        result = operator(*args, **(kwargs or {}))
        self.numel = max([self.numel, *(leaf.numel() for leaf in tree_leaves(result) if torch.is_tensor(leaf))])
        return result


def test_no_projection_matrix_is_ever_built():
    n_classes, subspace_dim, d = 7, 3, 64
    head, z = SubspaceHead(d, n_classes, subspace_dim), torch.randn(5, d, requires_grad=True)
    with _LargestTensor() as ours:
        (head(z) + head.projection_error(z)).square().sum().backward()
    with _LargestTensor() as naive:
        (z - z @ (head.bases.transpose(1, 2) @ head.bases)).square().sum().backward()
    assert naive.numel == n_classes * d * d  # what is looked for would be seen
    assert n_classes * subspace_dim * d <= ours.numel < d * d


@pytest.mark.parametrize("shape", SHAPES)
def test_bases_start_orthonormal(shape):
    bases = SubspaceHead(shape[2], shape[0], shape[1]).bases.detach()
    assert bases.shape == shape
    gram = bases @ bases.transpose(1, 2)
    assert (gram - torch.eye(shape[1])).abs().max() <= 1e-5
    if shape[0] * shape[1] <= shape[2]:
        together = bases.flatten(0, 1)
        assert (together @ together.T - torch.eye(len(together))).abs().max() <= 1e-5
    assert len(torch.unique(bases.flatten(0, 1), dim=0)) == shape[0] * shape[1]  # no class copies another


def test_scores_are_scaled_errors_of_unit_length_rows():
    head, z = SubspaceHead(16, 5, 3).double(), 4 * torch.randn(6, 16).double()
    nn.init.constant_(head.log_scale, 1.7)
    with torch.no_grad():
        head.bases += 0.1 * torch.randn_like(head.bases)
    unit = z.numpy() / np.linalg.norm(z.numpy(), axis=1, keepdims=True)
    error = naive_subspace_error(unit, head.bases.detach().numpy())
    np.testing.assert_allclose(head(z).detach(), -math.exp(1.7) * error, rtol=1e-10)
    np.testing.assert_allclose(head.projection_error(z).detach(), error, rtol=1e-10)
    torch.testing.assert_close(head(100 * z), head(z), rtol=1e-12, atol=0)


def test_both_parameters_of_the_subspace_head_learn():
    head = SubspaceHead(16, 5, 3)
    head(torch.randn(6, 16))[:, 0].sum().backward()
    assert head.bases.grad[0].abs().min() > 0
    assert not head.bases.grad[1:].any()  # only class 0 was asked for
    assert head.log_scale.grad != 0


def test_projection_error_is_never_negative():
    head = SubspaceHead(64, 50, 8)
    inside = torch.einsum("bd,cdf->cbf", torch.randn(40, 8), head.bases).flatten(0, 1).detach()
    assert subspace_error(inside / inside.norm(dim=1, keepdim=True), head.bases).min() < 0  # rounding
    error = head.projection_error(inside).detach()
    assert error.min() == 0
    own = error.reshape(50, 40, 50).diagonal(dim1=0, dim2=2)
    assert own.max() < 1e-6 < error.median()


def test_linear_head():
    head, z = LinearHead(400, 300), torch.randn(3, 400)
    assert not head.bias.any()
    assert head.weight.std().item() == pytest.approx(1 / 20, rel=0.02)
    nn.init.normal_(head.bias)
    weights, biases = head.weight.detach().numpy(), head.bias.detach().numpy()
    expected = [[sum(row * weight) + bias for weight, bias in zip(weights, biases, strict=True)] for row in z.numpy()]
    np.testing.assert_allclose(head(z).detach(), expected, rtol=0, atol=1e-5)


def test_projection_head_equals_naive_layers():
    head, h = ProjectionHead(6, 9).double(), torch.randn(4, 6).double()
    hidden_weight, hidden_bias, weight, bias = (parameter.detach().numpy() for parameter in head.parameters())
    expected = [weight @ gelu(hidden_weight @ row + hidden_bias) + bias for row in h.numpy()]
    np.testing.assert_allclose(head(h).detach(), expected, rtol=0, atol=1e-12)
