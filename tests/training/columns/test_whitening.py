"""Which blocks the plain members take whitened: those whose classes are told by directions of little variance."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose
from scipy.stats import ttest_1samp
from sklearn.linear_model import LogisticRegression
from skorch.callbacks import Callback

from skdual import DualBranchClassifier
from skdual.inputs.columns import ColumnBlocks
from skdual.inputs.duplicates import first_occurrences
from skdual.inputs.rows import Rows
from skdual.network import DualBranchNetwork
from skdual.training.columns import whitening
from skdual.training.columns.ridge import left_out_errors, principal_axes
from skdual.training.columns.whitening import PENALTIES, nearest_rows, whitening_of
from skdual.training.held_out import split_rows

PARAMS = {"hidden_layer_sizes": ((8,), (8,)), "n_members": 2, "max_epochs": 1, "random_state": 0, "device": "cpu"}
BLOCKS = ColumnBlocks(("a", "b"), (np.arange(20), np.arange(20, 30)))


def neighbours(n=120, widths=(20, 10), signal=0.3, seed=0):
    """Columns of block A go together but for little, and what they do not share tells the classes; B tells a little."""
    random_generator = np.random.default_rng(seed)
    y = random_generator.integers(0, 3, n)
    X = random_generator.normal(size=(n, sum(widths)))
    loadings, told = random_generator.normal(size=(3, widths[0])), random_generator.normal(size=(3, widths[0]))
    X[:, : widths[0]] = 3 * random_generator.normal(size=(n, 3)) @ loadings + 0.2 * X[:, : widths[0]] + signal * told[y]
    X[:, -3:] += np.eye(3)[y]
    return X, y


def pairs(n=120, widths=(20, 10), noise=0.3, signal=0.6, seed=0):
    """Blocks that measure the same, but for noise and what little tells the classes."""
    random_generator = np.random.default_rng(seed)
    y = random_generator.integers(0, 2, n)
    same = random_generator.normal(size=(n, 20)) @ random_generator.normal(size=(20, max(widths)))
    X = np.hstack([same[:, :width] for width in widths]) + noise * random_generator.normal(size=(n, sum(widths)))
    X[:, widths[0] :] += signal * noise * random_generator.normal(size=widths[1]) * (2 * y[:, None] - 1)
    return X, y


@pytest.fixture
def whitened(monkeypatch):
    """Whether block A, block B and both together were whitened, in each fit."""
    noted = []
    merge_relevance = DualBranchNetwork.merge_relevance

    def note(network):
        noted.append(tuple(rank > 0 for rank in network.whitening.ranks))
        merge_relevance(network)

    monkeypatch.setattr(DualBranchNetwork, "merge_relevance", note)
    return noted


def fit(X, y, n_a=20, **params):
    return DualBranchClassifier(n_a, **(PARAMS | params)).fit(X, y)


@pytest.mark.parametrize("stored", [np.asarray, sp.csr_matrix], ids=["dense", "csr"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_block_is_whitened_where_directions_of_little_variance_tell_the_classes(stored, dtype, whitened):
    X, y = neighbours()
    fit(stored(X.astype(dtype)), y)
    fit(stored(X[:, ::-1].astype(dtype)), y, n_a=10)
    fit(stored(X.astype(dtype)), y, n_members=1)  # which is regularised
    assert whitened == [(True, False, False), (False, True, False), (False, False, False)]


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [("standard", True), ("robust", True), ("minmax", False), ("maxabs", False), ("none", False)],
)
def test_only_centred_columns_are_whitened(scaling, expected, whitened):
    X, y = neighbours()
    fit(X, y, standardize=scaling)
    fit(*pairs(), standardize=scaling)
    assert whitened == [(expected, False, False), (False, False, expected)]


def test_columns_of_one_variance_are_not_whitened(whitened):
    X = np.random.default_rng(0).normal(size=(120, 30))
    y = (X[:, 0] + X[:, 25] > 0).astype(int)
    fit(X, y)
    assert whitened == [(False, False, False)]


@pytest.mark.parametrize("n_members", [2, 8])
def test_both_blocks_are_whitened_together_where_they_measure_the_same_but_for_what_tells_the_classes(
    n_members, whitened
):
    X, y = pairs()
    fit(X, y, n_members=n_members)
    fit(X, np.random.default_rng(0).permutation(y), n_members=n_members)
    assert whitened == [(False, False, True), (False, False, False)]


def test_blocks_are_not_whitened_together_for_what_one_of_them_tells(whitened):
    """Whitened itself, and narrow beside a block of many columns and few rows, whose axes have more variance."""
    fit(*neighbours(signal=1.0))
    random_generator = np.random.default_rng(0)
    X, y = random_generator.normal(size=(60, 2003)), np.arange(60) % 2
    X[:, -1] += 4 * y
    fit(X, y, n_a=2000)
    assert whitened == [(True, False, False), (False, False, False)]


def test_blocks_that_are_whitened_together_are_centred_and_lose_what_they_share():
    """The factor is that of the shrunk covariance of the scaled columns of both."""
    X, y = pairs(200, widths=(6, 4))
    network = fit(X, y, n_a=6).network_
    with torch.no_grad():
        z = torch.cat(network.scale(*torch.from_numpy(X).split([6, 4], dim=1)), dim=1).numpy()
    assert_allclose(z.mean(axis=0), np.zeros(10), atol=1e-9)
    assert network.scaler_a.clipped_mean.any()
    assert network.scaler_b.clipped_mean.any()
    covariance = z.T @ z / len(z)
    got = (network.whitening.factor_together.T @ network.whitening.factor_together).numpy()
    values, vectors = np.linalg.eigh(covariance)
    by_penalty = [vectors / np.sqrt(values + penalty * values.mean()) @ vectors.T for penalty in PENALTIES]
    by_penalty = [other * np.sqrt(np.sum(z**2) / np.sum((z @ other) ** 2)) for other in by_penalty]
    assert min(np.abs(got - other).max() for other in by_penalty) < 1e-6


@pytest.mark.filterwarnings("error")
def test_constant_blocks_are_not_whitened(whitened):
    X, y = neighbours()
    X[:, 20:] = 1.0
    fit(X, y)
    X[:] = 1.0
    fit(X, y)
    assert whitened == [(True, False, False), (False, False, False)]


@pytest.mark.parametrize("n", [16, 400])
def test_whitening_needs_a_gain_of_a_tenth_of_the_variance_of_the_classes_and_four_standard_errors(n):
    decided = set()
    for signal in (0.02, 0.05, 0.1, 0.3):
        for seed in range(8):
            X, y = neighbours(n, widths=(10, 3), signal=signal, seed=seed)
            z = (X - X.mean(axis=0))[:, :10]
            left_out = nearest_rows(z, len(np.unique(y)))
            variances, _, vectors = principal_axes(z)
            errors = np.stack([left_out_errors(variances, vectors, penalty, y, left_out) for penalty in PENALTIES])
            best = np.argmin(errors.mean(axis=1))
            gain = errors[-1] - errors[best]
            is_large, is_sure = gain.mean() >= 0.1, ttest_1samp(gain, 0).statistic >= 4
            is_as_good = [i == best or ttest_1samp(e - errors[best], 0).statistic <= 1 for i, e in enumerate(errors)]
            decided.add((is_large, is_sure))
            found = whitening_of(z, y)
            assert (found is not None) == (is_large and is_sure)
            if found is not None:
                assert found[0] == PENALTIES[np.flatnonzero(is_as_good)[-1]]
    assert decided >= {(True, True), (False, False), (True, False) if n == 16 else (False, True)}


def test_rows_are_not_known_from_their_copies(whitened, monkeypatch):
    """Noise, as drawn with replacement: from copies a regression knows the labels by heart."""
    monkeypatch.setattr(whitening, "_MAX_NEIGHBORS", 0)
    random_generator = np.random.default_rng(0)
    X = random_generator.normal(size=(60, 45)) @ random_generator.normal(size=(45, 45))
    X = np.column_stack([X, random_generator.normal(size=(60, 3))])
    y = np.arange(60) % 2
    copied = random_generator.integers(0, 60, 200)
    z = X[copied, :45] - X[copied, :45].mean(axis=0)
    assert whitening_of(z, y[copied]) is not None
    fit(X[copied], y[copied], n_a=45)
    assert whitened == [(False, False, False)]


def test_rows_are_not_known_from_measurements_of_the_same_sample(whitened, monkeypatch):
    """Three of each, whose classes are told by what the columns share."""
    random_generator, y = np.random.default_rng(0), np.arange(45) % 2
    shared = random_generator.normal(size=(45, 2)) + np.where(y, 1, -1)[:, None] * [1, 0]
    samples = 2 * shared @ random_generator.normal(size=(2, 60)) + random_generator.normal(size=(45, 60))
    X = np.repeat(np.hstack([samples, random_generator.normal(size=(45, 5))]), 3, axis=0)
    X, y = X + 0.1 * random_generator.normal(size=X.shape), np.repeat(y, 3)
    fit(X, y, n_a=60)
    monkeypatch.setattr(whitening, "_MAX_NEIGHBORS", 0)
    fit(X, y, n_a=60)
    assert whitened == [(False, False, False), (True, False, False)]


@pytest.mark.parametrize(("n", "n_classes", "n_neighbors"), [(29, 3, 0), (30, 3, 1), (95, 2, 4), (900, 3, 20)])
def test_the_nearest_rows_are_left_out_a_tenth_of_a_class(n, n_classes, n_neighbors):
    z = np.random.default_rng(0).normal(size=(n, 4))
    left_out = nearest_rows(z, n_classes)
    assert left_out.shape == (n, 1 + n_neighbors)
    for i, numbers in enumerate(left_out[:50]):
        distances = np.linalg.norm(z - z[i], axis=1)
        assert numbers[0] == i
        assert set(numbers) == set(np.argsort(distances)[: 1 + n_neighbors])


@pytest.fixture
def used(monkeypatch):
    """The shapes of the rows that decided, and the deviations of their labels, block by block."""
    noted = []

    def note(z, codes):
        noted.append((z.shape, codes.std()))
        return whitening_of(z, codes)

    monkeypatch.setattr(whitening, "whitening_of", note)
    return noted


@pytest.mark.parametrize(
    ("n_values", "expected"),
    [
        (9000, [(300, 20), (300, 10), (300, 30)]),
        (6000, [(300, 20), (300, 10), (200, 30)]),
        (5999, [(299, 20), (300, 10), (199, 30)]),
        (1800, [(90, 20), (180, 10), (60, 30)]),
        (1799, [(89, 20), (179, 10)]),
        (800, [(40, 20), (80, 10)]),
        (799, [(79, 10)]),
    ],
)
def test_of_many_values_some_rows_are_used_if_they_are_twice_the_columns(n_values, expected, used, monkeypatch):
    monkeypatch.setattr(whitening, "_MAX_VALUES", n_values)
    fit(*neighbours(300))
    assert [shape for shape, _ in used] == expected


def test_of_many_rows_some_decide(used, monkeypatch):
    monkeypatch.setattr(whitening, "_MAX_ROWS", 100)
    fit(*neighbours(300))
    assert [shape for shape, _ in used] == [(100, 20), (100, 10), (100, 30)]


def test_whitening_is_decided_on_all_of_few_rows_however_many_columns(used, whitened):
    X, y = neighbours(50, widths=(60, 10), signal=0.1)
    fit(X, y, n_a=60)
    assert used[0][0] == (50, 60)
    assert whitened == [(True, False, False)]


def test_whitening_is_decided_on_rows_drawn_at_random(used, monkeypatch):
    """Every second row, say, may have one class."""
    monkeypatch.setattr(whitening, "_MAX_VALUES", 3000)
    X, _ = neighbours(299)
    fit(X, np.arange(299) % 2)
    assert [shape for shape, _ in used] == [(150, 20), (299, 10), (100, 30)]
    assert used[0][1] == pytest.approx(0.5, abs=0.02)


def test_rows_of_one_class_are_not_whitened():
    X, _ = neighbours()
    assert whitening_of(X - X.mean(axis=0), np.ones(120, dtype=np.int64)) is None


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [0.0, 1e-200, np.nan, np.inf])
def test_rows_that_do_not_vary_or_are_not_finite_are_not_whitened(value):
    assert whitening_of(np.full((20, 3), value), np.arange(20) % 2) is None


def test_early_stopping_whitens_by_the_rows_that_are_trained_on():
    X, y = neighbours(200)
    order = np.argsort(y)  # such that numbers of training rows and of all rows are far apart
    X, y = np.concatenate([X[order], X[order][:7]]), np.concatenate([y[order], y[order][:7]])
    factors = []

    class Note(Callback):
        def on_train_begin(self, net, *arguments, **kwargs):
            factors.append(net.module_.whitening.factor_a.clone())

    model = fit(X, y, early_stopping=True, validation_fraction=0.3, callbacks=[Note()])
    original = first_occurrences(Rows(X, BLOCKS, torch.device("cpu"), torch.float64, y))
    training, _ = split_rows(y, 0.3, model._settings["split"]["seed"], original)
    fit(X[training], y[training], callbacks=[Note()])
    assert_allclose(factors[0], factors[1], rtol=1e-6, atol=1e-9)


CASES = {
    "in the columns": (20, 10, (True, False, False)),
    "in the span of the rows": (150, 10, (True, False, False)),
    "one block in the span": (150, 20, (True, True, False)),
    "together": (20, 20, (False, False, True)),
    "together in the span": (150, 150, (False, True, True)),
    "together, one block in the span": (150, 20, (False, False, True)),
}


def rows_of(case, n):
    """Rows whose blocks are whitened as the case says, and limits leave a mean."""
    n_a, n_b, expected = CASES[case]
    if expected[2]:
        return *pairs(n, widths=(n_a, n_b)), n_a
    if expected[1]:
        (X, y), (other, _) = (neighbours(n, widths=(p, 3), signal=0.2) for p in (n_a, n_b))
        X = np.hstack([X[:, :n_a], other[:, :n_b]])
    else:
        X, y = neighbours(n, widths=(n_a, n_b), signal=0.1 if n_a > n_b * 2 else 0.3)
    X[:, :n_a] += 4 * np.random.default_rng(0).exponential(size=(n, 1)) ** 2
    return X, y, n_a


@pytest.mark.parametrize("n_members", [2, 3])
@pytest.mark.parametrize("case", CASES)
def test_whitened_validation_rows_are_seen_as_they_will_be(case, n_members, whitened, monkeypatch):
    monkeypatch.setattr("skdual.training.span.choice.MIN_STEPS_TIMES_ROOT_ROWS", 0)  # the fit is short
    X, y, n_a = rows_of(case, 240)
    X, y = X[:140], y[:140]
    seen = []

    class Note(Callback):
        def on_epoch_end(self, net, dataset_valid, **kwargs):
            assert isinstance(net.module_.scaler_a, torch.nn.Identity) == ("span" in case)
            with torch.no_grad():
                seen.append(net.module_.member_scores(*dataset_valid.fetch(np.arange(20)).blocks).numpy())

    params = PARAMS | {"n_members": n_members, "max_epochs": 4, "callbacks": [Note()], "warm_start": True}
    model = DualBranchClassifier(n_a, **params)
    blocks = torch.from_numpy(X[120:]).split([n_a, X.shape[1] - n_a], dim=1)
    for _ in range(2):  # a warm start goes on with the whitening
        model.fit(X[:120], y[:120], X_val=X[120:], y_val=y[120:])
        assert whitened[-1] == CASES[case][2]
        assert model.network_.scaler_a.clipped_mean.abs().max() > 1e-3
        with torch.no_grad():
            scores = model.network_.member_scores(*blocks).numpy()
        assert_allclose(scores, seen[-1], rtol=1e-6, atol=1e-8)
    assert np.ptp(seen[-1]) > 1


def test_a_block_that_has_the_norm_of_a_row_is_left_alone(whitened):
    X, y = neighbours(300)
    y = (y == 0).astype(int)
    fit(X, y)
    X[:, :20] *= np.where(y, 4, 1)[:, None]
    model = fit(X, y)
    assert model.settings_["row_norms"] == (True, False)
    assert whitened == [(True, False, False), (False, False, False)]


@pytest.mark.parametrize("rows", [neighbours, pairs], ids=["a block", "together"])
def test_a_warm_start_goes_on_with_its_whitening_whatever_the_rows(rows):
    X, y = rows()
    model = fit(X, y, warm_start=True)
    kept = {name: value for name, value in model.network_.state_dict().items() if name.startswith(("whit", "scaler"))}
    kept = {name: value.clone() for name, value in kept.items()}
    assert any(name.startswith("whitening") for name in kept)
    weight = model.network_.branch_a.shortcut.weight.detach().clone()
    other = np.random.default_rng(0).normal(size=X.shape)
    model.set_params(learning_rate=1e-12).fit(other, y)
    for name, value in kept.items():
        assert torch.equal(model.network_.state_dict()[name], value)
    torch.testing.assert_close(model.network_.branch_a.shortcut.weight.detach(), weight)


@pytest.mark.parametrize(
    ("n_columns", "signal"), [(40, 0.2), (300, 0.1)], ids=["in the columns", "in the span of the rows"]
)
def test_whitening_lets_what_neighbours_do_not_share_be_heard(n_columns, signal, monkeypatch):
    """Beside a network of columns as they are, and logistic regression."""
    X, y = neighbours(600, widths=(n_columns, 10), signal=signal, seed=2)
    X[:, n_columns:] = np.random.default_rng(0).normal(size=(600, 10))
    params = {"hidden_layer_sizes": ((64, 32), (32, 16)), "max_epochs": "auto", "projection_dim": 16}
    accuracy = fit(X[:150], y[:150], n_columns, **params).score(X[150:], y[150:])
    linear = LogisticRegression(C=1, max_iter=5000).fit(X[:150], y[:150]).score(X[150:], y[150:])
    monkeypatch.setattr(whitening, "whitening_of", lambda z, codes: None)
    as_they_are = fit(X[:150], y[:150], n_columns, **params).score(X[150:], y[150:])
    assert accuracy > max(as_they_are + 0.1, linear - 0.05)


@pytest.mark.parametrize(
    ("n_columns", "noise", "signal", "gain"),
    [(20, 0.1, 0.8, 0.3), (200, 0.2, 0.5, 0.05)],
    ids=["in the columns", "in the span of the rows"],
)
def test_whitening_together_lets_a_small_difference_be_heard(n_columns, noise, signal, gain, monkeypatch):
    """Beside a network whose blocks are whitened one by one, and logistic regression."""
    X, y = pairs(1150, (n_columns, n_columns), noise, signal)
    params = {"hidden_layer_sizes": ((128, 64), (128, 64)), "max_epochs": 40, "projection_dim": 16}
    model = fit(X[:150], y[:150], n_columns, **params)
    assert model.settings_["whitened_together"]
    accuracy = model.score(X[150:], y[150:])
    linear = LogisticRegression(C=1, max_iter=5000).fit(X[:150], y[:150]).score(X[150:], y[150:])
    monkeypatch.setattr(whitening, "_together", lambda *arguments: None)
    one_by_one = fit(X[:150], y[:150], n_columns, **params).score(X[150:], y[150:])
    assert accuracy > max(one_by_one + gain, linear - 0.1)
