import math

import numpy as np
import pytest
import torch
from largest_tensor import LargestTensor
from naive import extended, gelu
from naive import subspace_error as naive_subspace_error
from torch import nn
from torch.nn import functional as F

from skdual.network import heads
from skdual.network.heads import LinearHead, ProjectionHead, SubspaceHead, gram_matrix, unit_length

SHAPES = [(2, 1, 8), (3, 4, 64), (10, 4, 16), (5, 6, 6), (1000, 4, 32), (20, 8, 512)]  # C, D, d


def subspace_error(z, bases):
    return heads.subspace_error(z, bases, gram_matrix(bases))


def make_bases(shape, noise, dtype):
    bases = SubspaceHead(2, shape[2], shape[0], shape[1]).bases[0, ..., :-1].detach().to(dtype)
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


def test_error_of_members_is_that_of_each():
    z, bases = torch.randn(2, 3, 6, 8).double(), torch.randn(2, 3, 5, 2, 8).double()
    error = subspace_error(z, bases)
    assert error.shape == (2, 3, 6, 5)
    for at in np.ndindex(2, 3):
        np.testing.assert_allclose(error[at], naive_subspace_error(z[at].numpy(), bases[at].numpy()), rtol=1e-10)


@pytest.mark.parametrize("noise", [0, 0.3])
def test_error_is_invariant_to_the_choice_of_basis(noise):
    z, bases = torch.randn(6, 20).double(), make_bases((5, 3, 20), noise, torch.float64)
    rotations = torch.linalg.qr(torch.randn(5, 3, 3).double())[0]
    torch.testing.assert_close(subspace_error(z, rotations @ bases), subspace_error(z, bases), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1, 8), (2, 3, 4, 5)])
def test_gram_and_its_gradient(shape):
    bases = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(gram_matrix(bases), torch.einsum("...id,...jd->...ij", bases, bases))
    assert torch.autograd.gradcheck(gram_matrix, bases)


@pytest.mark.parametrize("n_members", [1, 3])
def test_no_projection_matrix_is_ever_built(n_members):
    n_classes, subspace_dim, d = 7, 3, 64
    head, z = SubspaceHead(n_members, d, n_classes, subspace_dim), torch.randn(n_members, 5, d, requires_grad=True)
    with LargestTensor() as ours:
        (head(z) + head.projection_error(z)).square().sum().backward()
    with LargestTensor() as naive:
        bases = head.bases[..., :-1]
        (z[:, None] - z[:, None] @ (bases.mT @ bases)).square().sum().backward()
    assert naive.numel == n_members * n_classes * d * d  # what is looked for would be seen
    assert n_members * n_classes * subspace_dim * d <= ours.numel < n_members * d * d


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n_members", [1, 3])
def test_bases_start_orthonormal(shape, n_members):
    bases = SubspaceHead(n_members, shape[2], shape[0], shape[1]).bases.detach()
    assert bases.shape == (n_members, *shape[:2], shape[2] + 1)
    gram = bases @ bases.mT
    assert (gram - torch.eye(shape[1])).abs().max() <= 1e-5
    if shape[0] * shape[1] <= shape[2]:
        together = F.normalize(bases[..., :-1], dim=-1).flatten(1, 2)  # but for the constant, which classes share
        assert (together @ together.mT - torch.eye(together.shape[1])).abs().max() <= 1e-5
    vectors = bases.flatten(0, 2)
    assert len(torch.unique(vectors, dim=0)) == len(vectors)  # no class copies another, and no member


def make_head(log_scale):
    """Head of members with these logarithms of their scales and bases that are not orthonormal."""
    head = SubspaceHead(len(log_scale), 16, 5, 3).double()
    with torch.no_grad():
        head.log_scale.copy_(torch.tensor(log_scale, dtype=torch.float64))
        head.bases += 0.1 * torch.randn_like(head.bases)
    return head


@pytest.mark.parametrize("log_scale", [[1.7], [1.7, -0.3, 0.4]])
def test_scores_are_scaled_errors_of_unit_length_rows(log_scale):
    head, z = make_head(log_scale), 4 * torch.randn(len(log_scale), 6, 16).double()
    errors = [
        naive_subspace_error(extended(z[member].numpy(), member, len(log_scale)), bases)
        for member, bases in enumerate(head.bases.detach().numpy())
    ]
    scales = [math.exp(value) for value in log_scale]
    expected = [-scale * error for scale, error in zip(scales, errors, strict=True)]
    np.testing.assert_allclose(head(z).detach(), expected, rtol=1e-10)
    np.testing.assert_allclose(head.projection_error(z).detach(), errors, rtol=1e-10)
    torch.testing.assert_close(head(100 * z), head(z), rtol=1e-12, atol=0)


def test_plain_members_tell_a_row_from_its_opposite_no_more_than_squares_do():
    head, z = make_head([1.0, 1.0]), torch.randn(2, 6, 16).double()
    torch.testing.assert_close(head(-z)[0], head(z)[0], rtol=1e-12, atol=1e-12)
    assert (head(-z)[1] - head(z)[1]).abs().min() > 1e-6


def test_scores_of_a_regularised_member_start_as_far_apart_as_those_of_a_plain_one():
    head = SubspaceHead(2, 16, 4, 3).double()
    directions = F.normalize(head.bases[1, ..., :-1].detach(), dim=-1)
    with torch.no_grad():
        head.bases[0] = F.pad(directions, (0, 1))
    # rows without a part along the first vectors, which alone have one of the constant
    z = torch.randn(6, 8).double() @ directions[:, 1:].flatten(0, 1)
    plain, regularised = head(z.expand(2, -1, -1)).detach()
    for scores in (plain, regularised):
        scores -= scores.mean(dim=1, keepdim=True)
    assert plain.std() > 0.5
    torch.testing.assert_close(regularised, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_members", [1, 3])
def test_both_parameters_of_the_subspace_head_learn(n_members):
    head = SubspaceHead(n_members, 16, 5, 3)
    head(torch.randn(n_members, 6, 16))[-1, :, 0].sum().backward()
    assert head.bases.grad[-1, 0].abs().min() > 0
    assert not head.bases.grad[-1, 1:].any()  # only class 0 was asked for
    assert head.log_scale.grad[-1] != 0
    assert not head.bases.grad[:-1].any()  # and only the last member
    assert not head.log_scale.grad[:-1].any()


def test_projection_error_is_never_negative():
    head = SubspaceHead(2, 64, 50, 8)
    bases = head.bases[0, ..., :-1].detach()  # of the plain member, whose constant is 0
    inside = torch.einsum("bd,cdf->cbf", torch.randn(40, 8), bases).flatten(0, 1)
    assert subspace_error(inside / inside.norm(dim=-1, keepdim=True), bases).min() < 0  # rounding
    error = head.projection_error(inside.expand(2, -1, -1)).detach()[0]
    assert error.min() == 0
    own = error.reshape(50, 40, 50).diagonal(dim1=0, dim2=2)
    assert own.max() < 1e-6 < error.median()


@pytest.mark.parametrize("n_members", [1, 2])
def test_linear_head(n_members):
    head, z = LinearHead(n_members, 400, 300), torch.randn(n_members, 3, 400)
    assert not head.bias.any()
    assert head.weight.std(dim=(1, 2)).tolist() == pytest.approx([1 / 20] * n_members, rel=0.02)
    nn.init.normal_(head.bias)
    for scores, weights, biases, rows in zip(head(z), head.weight, head.bias, z.numpy(), strict=True):
        numbers = list(zip(weights.detach().numpy(), biases.detach().numpy(), strict=True))
        expected = [[sum(row * weight) + bias for weight, bias in numbers] for row in rows]
        np.testing.assert_allclose(scores.detach(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("n_members", [1, 3])
def test_projection_head_equals_naive_layers(n_members):
    head, h = ProjectionHead(n_members, 6, 9).double(), torch.randn(n_members, 4, 6).double()
    for m in range(n_members):
        hidden_weight, hidden_bias, weight, bias = (parameter[m].detach().numpy() for parameter in head.parameters())
        expected = [weight @ gelu(hidden_weight @ row + hidden_bias) + bias for row in h[m].numpy()]
        np.testing.assert_allclose(head(h)[m].detach(), expected, rtol=0, atol=1e-12)


def test_unit_length_equals_torch():
    x, weight = torch.randn(3, 5, 4).double().requires_grad_(), torch.randn(3, 5, 4).double()
    expected = F.normalize(x, dim=-1)
    torch.testing.assert_close(unit_length(x), expected, rtol=1e-14, atol=0)
    gradients = [torch.autograd.grad((y * weight).sum(), x)[0] for y in (unit_length(x), expected)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_unit_length_of_a_row_of_zeros_is_zero():
    assert unit_length(torch.tensor([[0.0, 0], [3, 4]])).tolist() == [[0, 0], [pytest.approx(0.6), pytest.approx(0.8)]]
