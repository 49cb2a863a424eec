"""Ridge regression of the classes, judged by rows that are left out."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import Ridge

from skdual.training.columns import ridge
from skdual.training.columns.ridge import left_out_errors, principal_axes


def errors_of(axes, penalty, codes, left_out):
    return left_out_errors(axes.variances, axes.left_vectors, penalty, codes, left_out)


@pytest.mark.parametrize("penalty", [0.003, 0.3])
@pytest.mark.parametrize(("n", "p"), [(30, 8), (12, 40)])
@pytest.mark.parametrize("n_left_out", [1, 3])
def test_left_out_errors_are_those_of_a_regression_on_the_other_rows(n, p, penalty, n_left_out, monkeypatch):
    monkeypatch.setattr(ridge, "_PART_VALUES", 100)  # a few rows at a time
    random_generator = np.random.default_rng(1)
    codes = np.arange(n) % 3
    z = random_generator.normal(size=(n, p)) @ random_generator.normal(size=(p, p)) + np.eye(3, p)[codes] * 3
    z -= z.mean(axis=0)
    axes = principal_axes(z)
    target = np.eye(3)[codes]
    target -= target.mean(axis=0)
    model = Ridge(alpha=penalty * np.square(z).sum() / len(axes.variances))
    left_out = np.stack([np.append(i, random_generator.permutation(np.delete(np.arange(n), i))) for i in range(n)])
    left_out = left_out[:, :n_left_out]
    others = [np.delete(np.arange(n), numbers) for numbers in left_out]
    predicted = np.stack([model.fit(z[rest], target[rest]).predict(z[[i]])[0] for i, rest in enumerate(others)])
    factor = max(0, np.linalg.lstsq(predicted.reshape(-1, 1), target.ravel(), rcond=None)[0][0])
    expected = np.sum((target - factor * predicted) ** 2, axis=1) / np.sum(target**2) * n
    assert_allclose(errors_of(axes, penalty, codes, left_out), expected, rtol=1e-8)


def test_left_out_predictions_that_are_worse_than_none_count_as_none():
    z = np.random.default_rng(0).normal(size=(9, 4))
    z -= z.mean(axis=0)
    codes = np.zeros(9, dtype=int)
    codes[0] = 1
    assert errors_of(principal_axes(z), 1e6, codes, np.arange(9)[:, None]).mean() == pytest.approx(1)


def test_a_column_and_its_copy_are_one():
    random_generator, codes = np.random.default_rng(0), np.arange(120) % 3
    z = random_generator.normal(size=(120, 30)) + np.eye(3, 30)[codes]
    z -= z.mean(axis=0)
    axes, twice = principal_axes(z), principal_axes(np.hstack([z, z]))
    assert twice.components.shape == (30, 60)
    assert_allclose(twice.variances, 2 * axes.variances)
    alone = np.arange(120)[:, None]
    assert_allclose(errors_of(twice, 0.01, codes, alone), errors_of(axes, 0.01, codes, alone), rtol=1e-6)
