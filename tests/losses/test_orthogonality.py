import numpy as np
import pytest
import torch

from skdual.losses import orthogonality


def orthogonality_loss(bases):
    return orthogonality.orthogonality_loss(bases @ bases.mT)


@pytest.mark.parametrize("shape", [(1, 1, 4), (3, 2, 5), (7, 4, 4)])
def test_orthogonality_penalty_equals_loops(shape):
    bases = torch.randn(shape).double()
    n_classes, subspace_dim, _ = shape
    per_class = []
    for basis in bases.numpy():
        squares = [(sum(basis[i] * basis[j]) - (i == j)) ** 2 for i in range(subspace_dim) for j in range(subspace_dim)]
        per_class.append(sum(squares) / subspace_dim**2)
    np.testing.assert_allclose(orthogonality_loss(bases), sum(per_class) / n_classes, rtol=1e-12)


def test_orthogonality_penalty_is_zero_for_orthonormal_bases_only():
    orthonormal = torch.linalg.qr(torch.randn(6, 10, 4).double())[0].transpose(1, 2)
    assert orthogonality_loss(orthonormal).item() == pytest.approx(0, abs=1e-28)
    # gram matrix 4 I: each of the D diagonal values of D x D is off by 3
    assert orthogonality_loss(2 * orthonormal).item() == pytest.approx(9 / 4)
    parallel = orthonormal[:, [0, 0, 0, 0]]  # gram matrix of ones: 12 of 16 values are off by 1
    assert orthogonality_loss(parallel).item() == pytest.approx(12 / 16)


def test_orthogonality_penalty_is_the_mean_over_members():
    bases = torch.randn(3, 4, 2, 5).double()
    expected = sum(orthogonality_loss(of_member).item() for of_member in bases) / 3
    assert orthogonality_loss(bases).item() == pytest.approx(expected, rel=1e-12)


def test_gradient_of_the_orthogonality_penalty():
    bases = torch.randn(3, 2, 5).double().requires_grad_()
    assert torch.autograd.gradcheck(orthogonality_loss, bases)
