import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.linalg import sqrtm

from skdual.scaling.whitening import Whitening, whiten, whitening_factor


def axes_of(n, p, seed=0):
    """Centred rows of columns that go together, and the variances and directions of their principal axes."""
    random_generator = np.random.default_rng(seed)
    z = random_generator.normal(size=(n, p)) @ random_generator.normal(size=(p, p))
    z -= z.mean(axis=0)
    _, lengths, directions = np.linalg.svd(z, full_matrices=False)
    r = min(n - 1, p)
    return z, lengths[:r] ** 2 / n, directions[:r]


@pytest.mark.parametrize("shrinkage", [0.01, 1.0, 10.0])
def test_whitening_is_the_inverse_root_of_the_shrunk_covariance(shrinkage):
    z, variances, directions = axes_of(50, 6)
    factor = whitening_factor(variances, directions, shrinkage)
    covariance = np.cov(z, rowvar=False, bias=True)
    expected = np.linalg.inv(sqrtm(covariance + shrinkage * np.trace(covariance) / 6 * np.eye(6)).real)
    got = factor.T @ factor
    assert_allclose(got, expected * (got[0, 0] / expected[0, 0]), rtol=1e-9, atol=1e-12)
    assert_allclose(np.square(z @ got).sum(), np.square(z).sum())


def test_whitened_columns_are_uncorrelated_and_alike_without_shrinkage():
    z, variances, directions = axes_of(50, 6)
    factor = whitening_factor(variances, directions, 0.0)
    covariance = np.cov(z @ factor.T @ factor, rowvar=False)
    assert_allclose(covariance, covariance[0, 0] * np.eye(6), atol=1e-9)


def test_more_columns_than_rows_are_whitened_in_the_span_of_these():
    z, variances, directions = axes_of(8, 30)
    factor = whitening_factor(variances, directions, 0.0)
    products = (z @ factor.T) @ factor @ z.T  # of whitened rows and rows
    assert factor.shape == (7, 30)
    whitened = z @ factor.T @ factor
    assert_allclose(np.linalg.svd(whitened)[1][:7], np.linalg.svd(whitened)[1][0])
    assert np.linalg.matrix_rank(products) == 7
    outside = np.random.default_rng(1).normal(size=30)
    outside -= directions.T @ (directions @ outside)
    assert_allclose(outside @ factor.T @ factor, np.zeros(30), atol=1e-9)


@pytest.mark.parametrize("n", [5, 400])
def test_whitening_multiplies_rows_as_precisely_as_they_are(n):
    z, variances, directions = axes_of(n, 12)
    factor = whitening_factor(variances, directions, 0.001)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = whiten(torch.from_numpy(z).float(), torch.from_numpy(factor).float())
    assert got.dtype == torch.float32
    assert_allclose(got, z @ factor.T @ factor, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("ranks", "changes"),
    [
        ((0, 0, 0), (False, False)),
        ((2, 0, 0), (True, False)),
        ((0, 3, 0), (False, True)),
        ((0, 0, 4), (True, True)),
        ((2, 3, 4), (True, True)),
    ],
)
def test_blocks_are_whitened_by_themselves_and_then_together(ranks, changes):
    whitening, (x_a, x_b) = Whitening((3, 5), ranks).double(), torch.randn(6, 8).double().split([3, 5], dim=1)
    factors = [
        torch.randn(rank, width).double().numpy() if rank else None
        for rank, width in zip(ranks, (3, 5, 8), strict=True)
    ]
    whitening.set_factors(*factors)
    assert (whitening.ranks, whitening.changes) == (ranks, changes)
    a, b, together = (np.eye(n) if f is None else f.T @ f for f, n in zip(factors, (3, 5, 8), strict=True))
    expected = np.hstack([x_a.numpy() @ a, x_b.numpy() @ b]) @ together
    got = whitening(x_a, x_b)
    assert_allclose(torch.cat(got, dim=1), expected, rtol=1e-9, atol=1e-9)
    assert [given is taken for given, taken in zip((x_a, x_b), got, strict=True)] == [not c for c in changes]
    loaded = Whitening((3, 5), ranks).double()
    loaded.load_state_dict(whitening.state_dict())
    assert all(map(torch.equal, loaded(x_a, x_b), got))
