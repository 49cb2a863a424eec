"""Columns of few values far astray: glitches are no reason to squeeze the others, and markers are what counts."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm
from sklearn.feature_selection import f_classif
from stored_rows import data_set

from skdual import DualBranchClassifier
from skdual.anova import shrunk_epsilon_squared
from skdual.inputs import chunks
from skdual.scaling.outliers import spread, tell_more_by_spread
from skdual.scaling.statistics import column_statistics

N, P = 400, 7  # columns of stored_rows
Y = np.arange(N) % 3


def told_by_size(seed, shift=0.8):
    """Normal columns, higher by so much in one class and lower in another."""
    higher = np.array([np.roll([shift, 0, -shift], column) for column in range(P)])
    return np.random.default_rng(seed).normal(size=(N, P)) + higher.T[Y]


def with_glitches(X, size, share=0.03, seed=9):
    glitch = np.random.default_rng(seed).random(X.shape) < share
    return np.where(glitch, size * X, X)


def markers(seed):
    """On in more rows of one class than of the others, and all but 0 in other rows."""
    rng = np.random.default_rng(seed)
    on = rng.random((N, P)) < np.where(np.arange(3)[:, None] == np.arange(P) % 3, 0.06, 0.01)[Y]
    return np.where(on, rng.normal(5, 1, (N, P)), rng.normal(0, 0.05, (N, P)))


def scales_of(X, y=Y):
    """Center, scale, and which columns are scaled by what quartiles say and not by mean and standard deviation."""
    center, scale, *_ = column_statistics(data_set(X, y=y), "standard", np.arange(P), torch.float64)
    lower, median, upper = np.quantile(np.asarray(X), [0.25, 0.5, 0.75], axis=0)
    by_quartiles = ~np.isclose(scale, X.std(axis=0), rtol=1e-10)
    deviation = (upper - lower) / (norm.ppf(0.75) - norm.ppf(0.25))
    assert_allclose(center, np.where(by_quartiles, median, X.mean(axis=0)), rtol=1e-10, atol=1e-12)
    assert_allclose(scale, np.where(by_quartiles, deviation, X.std(axis=0)), rtol=1e-10)
    return by_quartiles


@pytest.mark.parametrize("size", [60, 1e3, 1e6])
def test_columns_with_glitches_are_scaled_without_them(size):
    assert scales_of(with_glitches(told_by_size(0), size)).all()
    assert not scales_of(told_by_size(0)).any()


def test_columns_that_tell_nothing_without_their_far_values_stay_as_they_are():
    glitches = with_glitches(told_by_size(0, shift=0), 60)
    assert not scales_of(glitches).any()
    assert not scales_of(markers(0)).any()
    told = with_glitches(told_by_size(0), 60)
    told[:, ::2] = markers(0)[:, ::2]
    assert_array_equal(scales_of(told), np.arange(P) % 2 == 1)


def test_one_class_tells_nothing():
    X = with_glitches(told_by_size(0), 60)
    assert not scales_of(X, np.zeros(N, dtype=np.int64)).any()
    of_two = tell_more_by_spread([X[:2]], (X.mean(axis=0), X.std(axis=0)), spread([X.copy()]), np.arange(2))
    assert not of_two.any()  # as many classes as rows


def power_by_words(z, n_classes=3):
    """By scikit-learn's F, whose eta squared is the share of the sum of squares that lies between classes."""
    f, _ = f_classif(z, Y)
    between = f * (n_classes - 1)
    return shrunk_epsilon_squared(between / (between + N - n_classes), N, n_classes)


def test_power_has_to_be_larger_by_half_and_two_standard_errors():
    rng = np.random.default_rng(1)
    # some too weak to tell, some that tell almost as much by their deviation
    *weak, clear = (told_by_size(seed, shift) for seed, shift in enumerate((0.1, 0.2, 0.4, 0.8)))
    X = np.hstack([with_glitches(np.hstack(weak), 20), with_glitches(clear, 8)])
    ways = (X.mean(axis=0), X.std(axis=0)), spread([X.copy()])
    by_scale, by_spread = (
        power_by_words(z / np.sqrt(1 + (z / 3) ** 2)) for z in ((X - center) / scale for center, scale in ways)
    )
    # epsilon squared of normal columns that tell nothing, by simulation
    f, _ = f_classif(rng.normal(size=(N, 20_000)), Y)
    eta_squared = 2 * f / (2 * f + N - 3)
    error = np.std((eta_squared - 2 / (N - 1)) / (1 - 2 / (N - 1)))
    by_ratio, by_error = by_spread > 1.5 * by_scale, by_spread - by_scale > 2 * error
    for chosen in (by_ratio & by_error, by_ratio & ~by_error, by_error & ~by_ratio):
        assert chosen.any()  # each condition decides somewhere
    expected = by_ratio & by_error
    in_chunks = [X[:, :4], X[:, 4:]]
    assert_array_equal(tell_more_by_spread(in_chunks, *ways, Y), expected)


def test_a_sample_says_which_and_all_rows_by_what(monkeypatch):
    monkeypatch.setattr("skdual.scaling.statistics._SAMPLE", (250, 250))
    assert scales_of(with_glitches(told_by_size(0), 60)).all()


@pytest.mark.parametrize("store", [np.asarray, sp.csr_matrix], ids=["dense", "csr"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whole_and_in_chunks_dense_and_sparse(store, dtype, monkeypatch):
    X = with_glitches(told_by_size(0), 60).astype(dtype)
    X[:, ::2] = markers(0)[:, ::2]
    expected = column_statistics(data_set(X, y=Y), "standard", np.arange(P), torch.float64)
    monkeypatch.setattr(chunks, "COLUMN_CHUNK_VALUES", 2 * N)
    found = column_statistics(data_set(store(X), y=Y), "standard", np.arange(P), torch.float64)
    assert_allclose(found, expected, rtol=1e-12)


def test_glitches_hardly_cost_accuracy(monkeypatch):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 1200)
    clean = rng.normal(size=(1200, 30)) + np.where(np.arange(30) % 3 == 0, rng.normal(0, 0.6, (3, 30)), 0)[y]
    glitched = with_glitches(clean, 50, share=0.02)
    params = {"blocks": 15, "n_members": 2, "hidden_layer_sizes": ((32,), (32,)), "max_epochs": 20, "random_state": 0}

    def accuracy(X):
        return DualBranchClassifier(**params).fit(X[:300], y[:300]).score(X[300:], y[300:])

    found = accuracy(glitched)
    assert found > accuracy(clean) - 0.06
    monkeypatch.setattr("skdual.scaling.statistics.MIN_STRAY", np.inf)
    assert found > accuracy(glitched) + 0.03
