"""Where the norm of a row is one more column: in blocks that it tells the classes of far better than any column."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.feature_selection import f_classif

from skdual import DualBranchClassifier
from skdual.scaling.clipping import LIMIT

PARAMS = {"hidden_layer_sizes": ((8,), (8,)), "n_members": 2, "max_epochs": 1, "random_state": 0, "device": "cpu"}


def surrounding(n=200, widths=(6, 5), factor=3.0, shift=0.0, seed=0):
    """Classes that differ in nothing but the norm of their rows in block A, and in the mean of a column of B."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    X = rng.normal(size=(n, sum(widths)))
    X[:, : widths[0]] *= np.where(y, factor, 1.0)[:, None]
    X[:, -1] += 2 * y
    X[:, 0] += shift * y
    return X, y


def row_norms_of(X, y, n_a=6, **params):
    return DualBranchClassifier(n_a, **(PARAMS | params)).fit(X, y).settings_["row_norms"]


@pytest.mark.parametrize("stored", [np.asarray, sp.csr_matrix], ids=["dense", "csr"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_block_has_it_where_it_tells_the_classes(stored, dtype):
    X, y = surrounding()
    assert row_norms_of(stored(X.astype(dtype)), y) == (True, False)
    assert row_norms_of(stored(X[:, ::-1].astype(dtype)), y, n_a=5) == (False, True)


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [("standard", True), ("robust", True), ("minmax", False), ("maxabs", False), ("none", False)],
)
def test_only_centred_columns_have_it(scaling, expected):
    X, y = surrounding()
    assert row_norms_of(X, y, standardize=scaling)[0] == expected


@pytest.mark.parametrize(("n", "expected"), [(23, False), (24, True)])
def test_only_with_two_rows_a_column(n, expected):
    X, y = surrounding(n, widths=(12, 2), factor=6.0)
    assert row_norms_of(X, y, n_a=12)[0] == expected


@pytest.mark.parametrize(("factor", "shift"), [(1.05, 0), (1.5, 0), (3, 0), (3, 4), (1.5, 1)])
def test_it_has_to_tell_twice_as_much_as_any_column(factor, shift):
    X, y = surrounding(factor=factor, shift=shift)
    block = X[:, :6]
    z = (block - block.mean(axis=0)) / block.std(axis=0)
    z /= np.sqrt(1 + (z / LIMIT) ** 2)
    f, _ = f_classif(np.column_stack([z, np.sqrt(np.mean(z**2, axis=1))]), y)
    shares = f / (f + len(y) - 2)
    assert row_norms_of(X, y)[0] == (shares[-1] > max(0.1, 2 * shares[:-1].max()))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_is_standardised_by_the_training_rows(dtype):
    X, y = surrounding()
    X = X.astype(dtype)
    network = DualBranchClassifier(6, **PARAMS).fit(X, y).network_
    block, other = network.scale(*torch.from_numpy(X).split([6, 5], dim=1))
    assert (block.shape[1], other.shape[1]) == (7, 5)
    z = block[:, :-1].double().square().mean(dim=1).sqrt()
    z = (z - z.mean()) / z.std(correction=0)
    torch.testing.assert_close(block[:, -1].double(), z / (1 + (z / LIMIT) ** 2).sqrt(), rtol=1e-4, atol=1e-5)


def test_a_warm_start_on_other_rows_keeps_it():
    X, y = surrounding()
    model = DualBranchClassifier(6, warm_start=True, **PARAMS).fit(X, y)
    other, labels = surrounding(factor=1.0, seed=1)
    assert model.fit(other, labels).settings_["row_norms"] == (True, False)
    assert model.n_epochs_ == 2


def test_classes_that_surround_each_other_are_told_apart():
    X, y = surrounding(900, widths=(20, 20), factor=1.4)
    X[:, 20:] = np.random.default_rng(1).normal(size=(900, 20)) * np.where(y, 1.4, 1.0)[:, None]
    params = {"hidden_layer_sizes": ((64, 32), (64, 32)), "n_members": 2, "random_state": 0, "device": "cpu"}
    model = DualBranchClassifier(20, **params).fit(X[:600], y[:600])
    best = np.mean(((X[600:] ** 2).mean(axis=1) > 1.42) == y[600:])  # the boundary of the two densities
    assert best > 0.9
    assert model.score(X[600:], y[600:]) > best - 0.03
