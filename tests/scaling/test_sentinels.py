"""Values that many rows share, far from all others of their column: which these are, and what stands in for them."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm
from sklearn.feature_selection import f_classif
from sklearn.preprocessing import StandardScaler
from stored_rows import data_set

from skdual import DualBranchClassifier
from skdual.anova import shrunk_epsilon_squared
from skdual.inputs import chunks
from skdual.inputs.columns import ColumnBlocks
from skdual.inputs.rows import Rows
from skdual.scaling.column_scaler import ColumnScaler
from skdual.scaling.sentinels import distances, find_sentinels, what_is_told
from skdual.scaling.statistics import column_statistics

N = 400
Y = np.arange(N) % 3
P = 7  # of stored_rows


def normal(seed=0):
    return np.random.default_rng(seed).normal(5, 1, N)


def coded(code, share=0.2, others=None, seed=1):
    return np.where(np.random.default_rng(seed).random(N) < share, code, normal() if others is None else others)


def found_in(*columns):
    return find_sentinels(np.sort(np.transpose(columns), axis=0))


def others_near(distance, n_near):
    """0 in a hundred rows and 300 others of deviation 1 about, the n nearest at a distance."""
    others = 10 + norm.ppf((np.arange(300) + 0.5) / 300)
    others[:n_near] = distance + np.linspace(0, 0.01, n_near)
    return np.r_[np.zeros(100), others]


integers = np.random.default_rng(2).integers(1, 6, N)  # 1 to 5

SENTINELS = {
    "0 amid 5 +- 1": (coded(0), 0),
    "99 amid 5 +- 1": (coded(99), 99),
    "-1e30": (coded(-1e30), -1e30),
    "in 4 % of the rows": (coded(0, 0.04), 0),
    "in 85 % of the rows": (coded(0, 0.85), 0),
    "1 to 5 and 99": (coded(99, others=integers), 99),
    "1 to 5 and 10": (coded(10, others=integers), 10),
    "0, 1 and 9": (coded(9, others=integers > 2), 9),
    "few of the others are near": (others_near(0.1, 14), 0),
    "few of the others are on its other side": (others_near(-7, 14), 0),
}

NONE = {
    "normal": normal(),
    "constant": np.ones(N),
    "in 1 % of the rows": coded(0, 0.01),
    "in 93 % of the rows": coded(0, 0.93),
    "0 amid other values": np.maximum(0, normal() - 5),
    "in the middle": coded(5),
    "binary": coded(0, 0.3, others=np.ones(N)),
    "binary, rounded": coded(0, 0.3, others=0.3 + 1e-16 * np.random.default_rng(0).integers(-1, 2, N)),
    "1 to 5": integers,
    "1 to 5 and 9": coded(9, others=integers),
    "0, 1 and 2": coded(2, others=integers > 2),
    "counts": np.random.default_rng(0).poisson(1, N),
    "more of the others are near": others_near(0.1, 16),
    "more of the others are on its other side": others_near(-7, 16),
    "0 amid 16 values": coded(0, 0.3, others=np.random.default_rng(4).integers(5, 21, N)),
    "1 to 5, 99 and 100": np.where(np.arange(N) == 7, 100, coded(99, others=integers)),
}


@pytest.mark.parametrize("name", SENTINELS)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_far_value_of_many_rows_is_a_sentinel(name, sign):
    column, value = SENTINELS[name]
    column, value = sign * column, sign * value
    others = column[column != value].astype(np.float64)
    found = found_in(normal(), column, normal())
    assert_array_equal(found.columns, [1])
    assert_array_equal(found.side, [np.sign(value - others.mean())])
    assert_array_equal(found.value, [value])


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_sentinel(name):
    assert not len(found_in(NONE[name], -NONE[name]).columns)


def test_of_two_sentinels_the_lowest_counts():
    column = coded(99, 0.05, others=coded(-99, 0.04, seed=3))
    assert_array_equal(found_in(column, -column).side, [-1, -1])
    assert_array_equal(found_in(column, -column).value, [-99, -99])


@pytest.mark.parametrize("n_rows", [1, 12, 19, 20])
def test_few_rows_have_sentinels_from_ten_of_each_kind_on(n_rows):
    column = np.r_[np.zeros(n_rows // 2), np.linspace(5, 6, n_rows - n_rows // 2)]
    assert len(find_sentinels(column[:, None]).columns) == (n_rows == 20)


def by_f_test(x, y):
    """Eta squared by the F value of scikit-learn."""
    between, within = len(np.unique(y)) - 1, len(y) - len(np.unique(y))
    f, _ = f_classif(x[:, None], y)
    return (f * between / (f * between + within))[0]


@pytest.fixture
def told():
    """Columns whose sentinels tell the classes, whose other values do, both, neither, and both with a code of 99."""
    rng = np.random.default_rng(0)
    columns = []
    for by_sentinel, by_others, code in ((0.2, 0, 0), (0, 0.7, 0), (0.1, 0.4, 0), (0, 0, 0), (0.1, 0.4, 99)):
        is_coded = rng.random(N) < 0.3 + by_sentinel * (Y - 1)
        columns.append(np.where(is_coded, code, 10 + rng.normal(size=N) + by_others * (Y == 1)))
    return np.transpose(columns)


def test_sentinels_are_as_far_as_the_classes_say(told):
    is_coded = (told == 0) | (told == 99)
    eta_squared = np.array([[by_f_test(of * 1.0, Y) for of in is_coded.T], [0] * 5])
    others = [told[~of, j] for j, of in enumerate(is_coded.T)]
    eta_squared[1] = [by_f_test(x, Y[~of]) for x, of in zip(others, is_coded.T, strict=True)]
    n_others = np.array([len(x) for x in others])
    powers = shrunk_epsilon_squared(eta_squared[0], N, 3), shrunk_epsilon_squared(eta_squared[1], n_others, 3)
    of_told = what_is_told(told, is_coded, Y)
    assert_allclose(of_told.eta_squared, eta_squared, rtol=1e-9)
    assert_allclose(of_told.center, [x.mean() for x in others])
    assert_allclose(of_told.deviation, [x.std() for x in others])
    assert_array_equal(of_told.n_rows, [np.full(5, N), n_others])
    far = distances(of_told)
    assert_allclose(far, np.sqrt(powers[0] / powers[1] / is_coded.mean(axis=0)))
    assert far[0] > 4 > far[2] > 0.5 > far[1]
    # what the column has of either is as one power to the other
    for j in range(5):
        of_sentinels = np.where(is_coded[:, j], far[j], 0).var()
        of_others = others[j].var() / others[j].var() * np.mean(~is_coded[:, j])
        assert of_sentinels / of_others == pytest.approx(powers[0][j] / powers[1][j])


@pytest.mark.parametrize("y", [np.arange(N), np.zeros(N, dtype=int)], ids=["a class to each row", "one class"])
def test_sentinels_count_as_much_as_the_others_where_classes_say_nothing(y):
    column = coded(0, 0.3)[:, None]
    of_told = what_is_told(column, column == 0, y)
    assert_allclose(distances(of_told), 1 / np.sqrt(np.mean(column == 0)))


@pytest.mark.parametrize("factor", [1e-60, 1e-46, 1e-30, 1e30, 1e60])
def test_values_that_float32_can_not_tell_apart_are_told_apart(factor):
    X = np.c_[coded(0, others=normal() + Y), coded(99), normal()] * np.array([factor, factor, 1])
    layers = []
    for matrix in (X, X / np.array([factor, factor, 1])):
        layer = ColumnScaler(3, "standard").double()
        columns = ColumnBlocks(("a", "b"), (np.arange(2), np.array([2])))
        rows = Rows(matrix, columns, torch.device("cpu"), torch.float64, Y)
        layer.set_statistics(column_statistics(rows, "standard", np.arange(3), torch.float64))
        layers.append(layer(torch.from_numpy(matrix)))
    assert_allclose(*layers, atol=1e-9)


@pytest.mark.parametrize("store", [np.asarray, sp.csr_matrix])
@pytest.mark.parametrize("values", [1, 1000, 2**24])
def test_columns_are_scaled_with_stand_ins(store, values, told, monkeypatch):
    monkeypatch.setattr(chunks, "COLUMN_CHUNK_VALUES", values)
    X = np.c_[np.exp(1.5 * (told[:, 1] - 10)), told, normal()]
    X[told[:, 1] == 0, 0] = -99  # amid a long tail
    center, scale, log_zero, unit, sentinel, stand_in = column_statistics(
        data_set(store(X), y=Y), "standard", np.arange(P), torch.float64
    )
    is_coded = (X == 0) | (abs(X) == 99)
    tail = X[~is_coded[:, 0], 0]
    logarithms = X.copy()
    logarithms[:, 0] = np.log1p(np.maximum(X[:, 0], 0) / np.quantile(tail, 0.1))
    assert_allclose(unit, [np.quantile(tail, 0.1), *[0] * 6])
    assert not log_zero.any()
    some = slice(0, 6)
    of_told = what_is_told(logarithms[:, some], is_coded[:, some], Y)
    side = np.array([-1, -1, -1, -1, -1, 1])
    expected = of_told.center + side * distances(of_told) * of_told.deviation
    code = np.where(side > 0, 99, np.where(np.arange(6) == 0, -99, 0))
    stays = expected * side > code * side
    assert stays.tolist() == [False, True, False, False, False, False]
    assert_array_equal(sentinel, [*code, 0])
    assert_allclose(stand_in[1:], [*np.where(stays, code, expected)[1:], 0])
    assert_allclose(np.log1p(stand_in[0] / unit[0]), expected[0])
    logarithms[:, some] = np.where(is_coded[:, some] & ~stays, expected, logarithms[:, some])
    oracle = StandardScaler().fit(logarithms)
    assert_allclose((center, scale), (oracle.mean_, oracle.scale_), rtol=1e-10)


SMALL = {"hidden_layer_sizes": ((32, 16), (16,)), "n_members": 2, "max_epochs": 12, "random_state": 0}


def told_by_values(n):
    """Rows of three classes that differ by the means of 40 + 20 columns, of 5 +- 1, and which cells are missing."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, n)
    means = rng.normal(5, 0.9 * (rng.random(60) < 0.3), (3, 60))
    return means[y] + rng.normal(size=(n, 60)), y, rng.random((n, 60)) < 0.3


def test_codes_for_what_is_missing_are_as_good_as_means():
    X, y, is_missing = told_by_values(1300)
    means = np.where(is_missing, 0, X).sum(axis=0) / np.sum(~is_missing, axis=0)
    accuracy = []
    for value in (means, np.where(np.arange(60) % 2, 0, 99)):
        filled = np.where(is_missing, value, X)
        model = DualBranchClassifier(40, **SMALL | {"max_epochs": "auto"})
        accuracy.append(model.fit(filled[:300], y[:300]).score(filled[300:], y[300:]))
    assert accuracy[0] > 0.9
    assert accuracy[1] > accuracy[0] - 0.02


def test_how_far_away_a_code_is_makes_no_difference():
    X, y, is_missing = told_by_values(200)
    models = [DualBranchClassifier(40, **SMALL) for _ in range(2)]
    coded = [np.where(is_missing, code, X) for code in (-999, -1e30)]
    near, far = (model.fit(x, y).predict_proba(x) for model, x in zip(models, coded, strict=True))
    assert_allclose(near, far, rtol=1e-9)
    assert np.ptp(near) > 0.5


def test_markers_that_are_off_stay_off():
    """What tells the classes is which markers are on, not how much."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 1300)
    is_on = rng.random((1300, 60)) < np.clip(0.4 + 0.3 * rng.normal(size=(3, 60)) * (rng.random(60) < 0.3), 0, 1)[y]
    X = np.where(is_on, 5 + rng.normal(size=(1300, 60)), 0)
    accuracy = []
    for x in (X, is_on.astype(float)):
        accuracy.append(DualBranchClassifier(40, **SMALL).fit(x[:300], y[:300]).score(x[300:], y[300:]))
    assert accuracy[1] > 0.9
    assert accuracy[0] > accuracy[1] - 0.04


def test_rows_of_another_dtype_have_the_same_codes():
    X, y, is_missing = told_by_values(200)
    X = np.where(is_missing, -99.9, X)
    model = DualBranchClassifier(40, **SMALL).fit(X, y)
    assert_allclose(model.predict_proba(X.astype(np.float32)), model.predict_proba(X), rtol=1e-4)
