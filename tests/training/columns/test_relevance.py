"""What regularised members multiply the columns by, beside scikit-learn's analysis of variance."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm
from sklearn.feature_selection import f_classif
from sklearn.linear_model import LogisticRegression

from skdual import DualBranchClassifier
from skdual.network.dual_branch import DualBranchNetwork
from skdual.training import fitting
from skdual.training.columns import relevance
from skdual.training.columns.relevance import FLOOR, column_relevance, set_relevance
from skdual.training.held_out import held_out_folds

WIDTHS = (30, 12)


@pytest.fixture
def told():
    """120 rows of 30 + 12 columns, the first four of either block of which tell three classes."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 120)
    X = 5 + rng.normal(size=(120, sum(WIDTHS)))
    for start in (0, WIDTHS[0]):
        X[:, start : start + 4] += rng.normal(size=(3, 4))[y]
    return X, y


@pytest.fixture
def networks(monkeypatch):
    """The networks of fits, as they are when the columns' relevance has been set."""
    seen = []

    def note(network, *arguments):
        set_relevance(network, *arguments)
        seen.append([branch.inputs.relevance for branch in (network.branch_a, network.branch_b)])

    monkeypatch.setattr(fitting, "set_relevance", note)
    return seen


def fit(X, y, **params):
    params = {"hidden_layer_sizes": ((16, 8), (8,)), "max_epochs": 1, "random_state": 0, "n_members": 4} | params
    return DualBranchClassifier(WIDTHS[0], **params).fit(X, y)


def relevance_of(networks, X, y, **params):
    networks.clear()
    fit(X, y, **params)
    return [of_block[:, 0].numpy() for of_block in networks[0]]


def by_f_test(x, y):
    """The same from F values: epsilon squared is R squared, adjusted for the number of classes and rows."""
    n_rows, n_classes = len(y), len(np.unique(y))
    f, _ = f_classif(x, y)
    unexplained = (n_rows - n_classes) / (n_rows - n_classes + (n_classes - 1) * f)
    power = 1 - unexplained * (n_rows - 1) / (n_rows - n_classes)
    # variance of epsilon squared where the share between classes is beta distributed, as without any difference
    a, b = (n_classes - 1) / 2, (n_rows - n_classes) / 2
    chance = a * b / ((a + b) ** 2 * (a + b + 1)) * ((n_rows - 1) / (n_rows - n_classes)) ** 2
    mean = max(0, power.mean())
    scatter = max(0, np.mean((power - mean) ** 2) - chance)
    # normal powers seen through normal noise: their expectation where they are positive
    doubt = np.sqrt(scatter * chance / (scatter + chance))
    expected = [norm(mean + scatter / (scatter + chance) * (of - mean), doubt) for of in power]
    power = np.array([of.expect(lb=0) for of in expected])
    power += FLOOR * power.mean()
    variance = x.var(axis=0)
    return np.sqrt(power * variance.mean() / np.mean(power * variance))


def scaled(X):
    z = (X - X.mean(axis=0)) / X.std(axis=0)
    return z / np.sqrt(1 + (z / 3) ** 2)


def test_relevance_is_the_root_of_the_columns_power_in_the_rows_that_a_member_trains_on(told, networks):
    X, y = told
    blocks = relevance_of(networks, X, y)
    trained = held_out_folds(y, 2) != np.array([0, 1])[:, None]
    for of_block, z in zip(blocks, np.split(scaled(X), [WIDTHS[0]], axis=1), strict=True):
        assert_array_equal(of_block[:2], 1)  # the plain members
        for member, rows in zip((2, 3), trained, strict=True):
            assert_allclose(of_block[member], by_f_test(z[rows], y[rows]), rtol=1e-7)
            assert of_block[member, :4].mean() > 1.5 * of_block[member, 4:].mean()


def test_columns_times_their_relevance_keep_their_mean_variance(told, networks):
    X, y = told
    X = X * np.geomspace(0.1, 10, X.shape[1])
    for of_block, x in zip(
        relevance_of(networks, X, y, standardize=False), np.split(X, [WIDTHS[0]], axis=1), strict=True
    ):
        for member, fold in ((2, 0), (3, 1)):
            kept = x[held_out_folds(y, 2) != fold]
            assert_allclose((kept * of_block[member]).var(axis=0).mean(), kept.var(axis=0).mean(), rtol=1e-10)


def test_labels_of_rows_that_a_member_holds_out_have_no_part_in_its_relevance(told, networks):
    X, y = told
    before = relevance_of(networks, X, y)
    of_first = np.flatnonzero(held_out_folds(y, 2) == 0)
    # rows of a fold change places, and so have other labels: the folds stay, which go by the labels
    X = X.copy()
    X[of_first] = X[of_first[::-1]]
    after = relevance_of(networks, X, y)
    for was, now in zip(before, after, strict=True):
        assert_allclose(now[2], was[2], rtol=1e-12)
        assert np.abs(now[3] - was[3]).max() > 0.01


def test_float32_columns_have_much_the_same_relevance(told, networks):
    X, y = told
    X = X * np.geomspace(1e-3, 1e3, X.shape[1]) + 100 * np.arange(X.shape[1])
    for narrow, wide in zip(relevance_of(networks, X.astype(np.float32), y), relevance_of(networks, X, y), strict=True):
        of_most = slice(6, None)  # the first are too small beside their mean for float32
        assert_allclose(narrow[:, of_most], wide[:, of_most], rtol=0.01)


@pytest.mark.parametrize("to_matrix", [np.asarray, sp.csr_matrix], ids=["dense", "csr"])
def test_relevance_is_the_same_a_few_rows_and_columns_at_a_time(told, networks, to_matrix, monkeypatch):
    X, y = told
    X = to_matrix(np.where(X > 5, X, 0))
    whole = relevance_of(networks, X, y)
    monkeypatch.setattr("skdual.inputs.chunks._PART_VALUES", 16 * sum(WIDTHS))
    monkeypatch.setattr(relevance, "_MAX_SUMS", 5 * 3 * 3)
    for few, all_at_once in zip(relevance_of(networks, X, y), whole, strict=True):
        assert_allclose(few, all_at_once, rtol=1e-10)


def test_columns_that_tell_nothing_have_much_the_same_relevance(networks):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 2000)), np.arange(200) % 4
    fit(X, y)
    assert networks[0][1].std() < 0.15
    chance = column_relevance(100, 2, np.full(9, 1 / 99), np.ones(9))
    assert_allclose(chance, 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("standardize", [True, False])
def test_relevance_of_columns_of_one_value_is_finite_and_the_least(told, networks, standardize, dtype):
    X, y = told
    X[:, 5], X[:, WIDTHS[0] :] = 1e6 / 3, 7.1
    X = X.astype(dtype)
    of_a, of_b = relevance_of(networks, X, y, standardize=standardize)
    assert np.isfinite(of_a).all()
    assert of_a[2, 5] == of_a[2].min()
    assert_array_equal(of_b, 1)


@pytest.mark.filterwarnings("error")
def test_relevance_is_1_where_values_are_too_large_to_square(told, networks):
    X, y = told
    X[3, 5] = 1e200
    with pytest.raises(ValueError, match="became NaN or infinite in epoch 1"):
        fit(X, y, standardize=False)
    assert_array_equal(networks[0][0], 1)


def test_relevance_of_as_many_rows_as_classes_is_1():
    assert_array_equal(column_relevance(3, 3, np.array([1.0, 0.5]), np.array([1.0, 2.0])), 1)


def test_rows_count_for_relevance_as_much_as_their_class_in_the_loss(networks, monkeypatch):
    """Weight 9 is each row nine times, but for the number of rows, by which chance is told; here they are many."""
    monkeypatch.setattr("skdual.training.held_out.LONE_MEMBER_ROWS", 3000)  # all rows count
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [900, 900, 90])
    X = rng.normal(size=(len(y), sum(WIDTHS))) + rng.normal(size=(3, sum(WIDTHS)))[y]
    repeated = np.concatenate([np.arange(len(y)), np.tile(np.flatnonzero(y == 2), 8)])
    settings = {"n_members": 1, "standardize": False}
    weighted = relevance_of(networks, X, y, class_weight={2: 9}, **settings)
    expected = relevance_of(networks, X[repeated], y[repeated], **settings)
    unweighted = relevance_of(networks, X, y, **settings)
    for got, wanted, before in zip(weighted, expected, unweighted, strict=True):
        assert_allclose(got, wanted, rtol=1e-3)
        assert np.abs(before / wanted - 1).max() > 0.1


def test_relevance_of_a_single_member_is_that_of_all_rows(told, networks):
    X, y = told
    of_a, of_b = relevance_of(networks, X, y, n_members=1)
    z = scaled(X)
    assert_allclose(of_a, by_f_test(z[:, : WIDTHS[0]], y)[None], rtol=1e-7)
    assert_allclose(of_b, by_f_test(z[:, WIDTHS[0] :], y)[None], rtol=1e-7)


def test_relevance_goes_into_the_weights_and_leaves_the_scores_as_they_are(told, networks, monkeypatch):
    X, y = told
    scores = []

    def note(network):
        blocks = torch.from_numpy(X).split(WIDTHS, dim=1)
        with torch.no_grad():
            scores.append(network.member_scores(*blocks).numpy())
            merge_relevance(network)
            scores.append(network.member_scores(*blocks).numpy())

    merge_relevance = DualBranchNetwork.merge_relevance
    monkeypatch.setattr(DualBranchNetwork, "merge_relevance", note)
    model = fit(X, y, max_epochs=3)
    assert_allclose(scores[1], scores[0], rtol=1e-9, atol=1e-12)
    assert model.network_.branch_a.inputs.relevance is None


def test_a_warm_start_goes_on_with_the_weights_of_columns_as_they_are(told, networks):
    X, y = told
    model = fit(X, y, warm_start=True)
    before = model.network_.branch_a.shortcut.weight.detach().clone()
    model.set_params(learning_rate=1e-12).fit(X, y)
    assert len(networks) == 1
    torch.testing.assert_close(model.network_.branch_a.shortcut.weight.detach(), before)


@pytest.mark.parametrize("n_columns", [190, 700], ids=["in the columns", "in the span of the rows"])
def test_few_columns_that_tell_are_heard_among_many(n_columns, monkeypatch):
    """Eight columns of each block tell; beside logistic regression, and members that take all columns alike."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 600)
    X = rng.normal(size=(600, 2 * n_columns)).astype(np.float32)
    for start in (0, n_columns):
        X[:, start : start + 8] += 0.6 * rng.normal(size=(3, 8)).astype(np.float32)[y]
    params = {"hidden_layer_sizes": ((64, 32), (64, 32)), "n_members": 4, "projection_dim": 16, "random_state": 0}
    model = DualBranchClassifier(n_columns, batch_size=32, max_epochs=40, **params)
    accuracy = model.fit(X[:200], y[:200]).score(X[200:], y[200:])
    linear = LogisticRegression(C=0.1, max_iter=1000).fit(X[:200], y[:200]).score(X[200:], y[200:])
    monkeypatch.setattr(fitting, "set_relevance", lambda *arguments: None)
    alike = model.fit(X[:200], y[:200]).score(X[200:], y[200:])
    assert accuracy > max(alike, linear) + 0.03
