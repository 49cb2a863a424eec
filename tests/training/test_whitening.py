"""Which blocks the plain members take whitened: those whose classes are told by directions of little variance."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose
from scipy.stats import ttest_1samp
from sklearn.linear_model import LogisticRegression, Ridge

from skdual import DualBranchClassifier
from skdual.network import DualBranchNetwork
from skdual.training import fitting
from skdual.training.whitening import PENALTIES, left_out_errors, principal_axes, whitening_of

PARAMS = {"hidden_layer_sizes": ((8,), (8,)), "n_members": 2, "max_epochs": 1, "random_state": 0, "device": "cpu"}


def neighbours(n=120, widths=(20, 10), signal=0.3, seed=0):
    """Columns of block A go together but for little, and what they do not share tells the classes; B tells a little."""
    random_generator = np.random.default_rng(seed)
    y = random_generator.integers(0, 3, n)
    X = random_generator.normal(size=(n, sum(widths)))
    loadings, told = random_generator.normal(size=(3, widths[0])), random_generator.normal(size=(3, widths[0]))
    X[:, : widths[0]] = 3 * random_generator.normal(size=(n, 3)) @ loadings + 0.2 * X[:, : widths[0]] + signal * told[y]
    X[:, -3:] += np.eye(3)[y]
    return X, y


@pytest.fixture
def whitened(monkeypatch):
    """Which blocks were whitened, in each fit."""
    noted = []
    merge_columns = DualBranchNetwork.merge_columns

    def note(network):
        noted.append(tuple(branch.columns.whitening is not None for branch in (network.branch_a, network.branch_b)))
        merge_columns(network)

    monkeypatch.setattr(DualBranchNetwork, "merge_columns", note)
    return noted


def fit(X, y, n_a=20, **params):
    return DualBranchClassifier(n_a, **(PARAMS | params)).fit(X, y)


@pytest.mark.parametrize("penalty", [0.003, 0.3])
@pytest.mark.parametrize(("n", "p"), [(30, 8), (12, 40)])
def test_the_errors_are_those_of_a_regression_on_all_other_rows(n, p, penalty):
    random_generator = np.random.default_rng(1)
    codes = np.arange(n) % 3
    z = random_generator.normal(size=(n, p)) @ random_generator.normal(size=(p, p)) + np.eye(3, p)[codes] * 3
    z -= z.mean(axis=0)
    axes = principal_axes(z)
    target = np.eye(3)[codes]
    target -= target.mean(axis=0)
    ridge = Ridge(alpha=penalty * np.square(z).sum() / len(axes.variances))
    others = [np.delete(np.arange(n), i) for i in range(n)]
    predicted = np.stack([ridge.fit(z[rest], target[rest]).predict(z[[i]])[0] for i, rest in enumerate(others)])
    factor = max(0, np.linalg.lstsq(predicted.reshape(-1, 1), target.ravel(), rcond=None)[0][0])
    expected = np.sum((target - factor * predicted) ** 2, axis=1) / np.sum(target**2) * n
    assert_allclose(left_out_errors(axes, penalty, codes), expected, rtol=1e-8)


def test_predictions_that_are_worse_than_none_count_as_none():
    z = np.random.default_rng(0).normal(size=(9, 4))
    z -= z.mean(axis=0)
    codes = np.zeros(9, dtype=int)
    codes[0] = 1
    assert left_out_errors(principal_axes(z), 1e6, codes).mean() == pytest.approx(1)


@pytest.mark.parametrize("stored", [np.asarray, sp.csr_matrix], ids=["dense", "csr"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_block_is_whitened_where_directions_of_little_variance_tell_the_classes(stored, dtype, whitened):
    X, y = neighbours()
    fit(stored(X.astype(dtype)), y)
    fit(stored(X[:, ::-1].astype(dtype)), y, n_a=10)
    fit(stored(X.astype(dtype)), y, n_members=1)  # which is regularised
    assert whitened == [(True, False), (False, True), (False, False)]


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [("standard", True), ("robust", True), ("minmax", False), ("maxabs", False), ("none", False)],
)
def test_only_centred_columns_are_whitened(scaling, expected, whitened):
    X, y = neighbours()
    fit(X, y, standardize=scaling)
    assert whitened == [(expected, False)]


def test_columns_of_one_variance_are_left_alone(whitened):
    X = np.random.default_rng(0).normal(size=(120, 30))
    y = (X[:, 0] + X[:, 25] > 0).astype(int)
    fit(X, y)
    assert whitened == [(False, False)]


def test_constant_blocks_are_left_alone(whitened):
    X, y = neighbours()
    X[:, 20:] = 1.0
    fit(X, y)
    assert whitened == [(True, False)]


@pytest.mark.parametrize("n", [16, 400])
def test_needs_a_tenth_of_the_variance_of_the_classes_and_four_standard_errors(n):
    decided = set()
    for signal in (0.02, 0.05, 0.1, 0.3):
        for seed in range(8):
            X, y = neighbours(n, widths=(10, 3), signal=signal, seed=seed)
            z = (X - X.mean(axis=0))[:, :10]
            errors = np.stack([left_out_errors(principal_axes(z), penalty, y) for penalty in PENALTIES])
            best = np.argmin(errors.mean(axis=1))
            gain = errors[-1] - errors[best]
            is_large, is_sure = gain.mean() >= 0.1, ttest_1samp(gain, 0).statistic >= 4
            decided.add((is_large, is_sure))
            found = whitening_of(z, y)
            assert (found is not None) == (is_large and is_sure)
            if found is not None:
                assert found[0] == 10 * PENALTIES[best]
    assert decided >= {(True, True), (False, False), (True, False) if n == 16 else (False, True)}


def test_rows_are_not_known_from_their_copies(whitened):
    """Noise, as drawn with replacement: from copies a regression knows the labels by heart."""
    random_generator = np.random.default_rng(0)
    X = random_generator.normal(size=(60, 45)) @ random_generator.normal(size=(45, 45))
    X = np.column_stack([X, random_generator.normal(size=(60, 3))])
    y = np.arange(60) % 2
    copied = random_generator.integers(0, 60, 200)
    z = X[copied, :45] - X[copied, :45].mean(axis=0)
    assert whitening_of(z, y[copied]) is not None
    fit(X[copied], y[copied], n_a=45)
    assert whitened == [(False, False)]


@pytest.mark.parametrize(("n", "width", "expected"), [(50, 60, True), (59, 30, False), (60, 30, True)])
def test_a_part_of_the_rows_has_to_be_twice_as_many_as_the_columns(n, width, expected, whitened, monkeypatch):
    monkeypatch.setattr("skdual.training.whitening._MAX_ROWS", min(n, 59 if n == 59 else 60))
    X, y = neighbours(n if n == 50 else 150, widths=(width, 10))
    fit(X, y, n_a=width)
    assert whitened == [(expected, False)]


def test_blocks_too_large_to_decompose_are_left_alone(whitened, monkeypatch):
    X, y = neighbours()
    monkeypatch.setattr("skdual.training.whitening._MAX_VALUES", 120 * 20 - 1)
    fit(X, y)
    assert whitened == [(False, False)]


@pytest.mark.parametrize(
    ("n_columns", "signal"), [(20, 0.3), (150, 0.1)], ids=["in the columns", "in the span of the rows"]
)
@pytest.mark.parametrize("n_members", [2, 3])
def test_goes_into_the_weights_and_leaves_the_scores_as_they_are(n_columns, signal, n_members, monkeypatch):
    X, y = neighbours(widths=(n_columns, 10), signal=signal)
    blocks = torch.from_numpy(X).split([n_columns, 10], dim=1)
    scores, merge_columns = [], DualBranchNetwork.merge_columns

    def note(network):
        assert network.branch_a.columns.whitening is not None
        with torch.no_grad():
            scores.append(network.member_scores(*blocks).numpy())
            merge_columns(network)
            scores.append(network.member_scores(*blocks).numpy())

    monkeypatch.setattr(DualBranchNetwork, "merge_columns", note)
    model = fit(X, y, n_a=n_columns, n_members=n_members, max_epochs=30)
    assert_allclose(scores[1], scores[0], rtol=1e-7, atol=1e-9)
    assert model.network_.branch_a.columns.whitening is None
    assert np.ptp(scores[0]) > 1


def test_a_block_that_has_the_length_of_a_row_is_left_alone(whitened):
    X, y = neighbours(300)
    y = (y == 0).astype(int)
    fit(X, y)
    X[:, :20] *= np.where(y, 4, 1)[:, None]
    model = fit(X, y)
    assert model._settings["module"]["row_lengths"] == (True, False)
    assert whitened == [(True, False), (False, False)]


def test_a_warm_start_goes_on_with_the_weights_of_columns_as_they_are(whitened):
    X, y = neighbours()
    model = fit(X, y, warm_start=True)
    before = model.network_.branch_a.shortcut.weight.detach().clone()
    center = model.network_.scaler_a.clipped_mean.clone()
    assert center.any()
    model.set_params(learning_rate=1e-12).fit(X, y)
    assert whitened == [(True, False), (False, False)]
    torch.testing.assert_close(model.network_.branch_a.shortcut.weight.detach(), before)
    assert torch.equal(model.network_.scaler_a.clipped_mean, center)


@pytest.mark.parametrize(
    ("n_columns", "signal"), [(40, 0.2), (300, 0.1)], ids=["in the columns", "in the span of the rows"]
)
def test_what_neighbours_do_not_share_is_heard(n_columns, signal, monkeypatch):
    """Beside a network of columns as they are, and logistic regression."""
    X, y = neighbours(600, widths=(n_columns, 10), signal=signal, seed=2)
    X[:, n_columns:] = np.random.default_rng(0).normal(size=(600, 10))
    params = {"hidden_layer_sizes": ((64, 32), (32, 16)), "max_epochs": "auto", "projection_dim": 16}
    accuracy = fit(X[:150], y[:150], n_columns, **params).score(X[150:], y[150:])
    linear = LogisticRegression(C=1, max_iter=5000).fit(X[:150], y[:150]).score(X[150:], y[150:])
    monkeypatch.setattr(fitting, "whiten_blocks", lambda *arguments: None)
    as_they_are = fit(X[:150], y[:150], n_columns, **params).score(X[150:], y[150:])
    assert accuracy > max(as_they_are + 0.1, linear - 0.05)
