"""Where columns have linear splines beside them: where they tell the classes by their level, not by their size."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import chi2, chi2_contingency
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import f_classif
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.preprocessing import OneHotEncoder

import skdual
from skdual import DualBranchClassifier
from skdual.datasets import load_htad
from skdual.scaling.clipping import LIMIT
from skdual.scaling.splines import LinearSplines, hats_at
from skdual.training.columns import splines
from skdual.training.columns.relevance import column_relevance
from skdual.training.columns.splines import level_hats

PARAMS = {"hidden_layer_sizes": ((8,), (8,)), "n_members": 2, "max_epochs": 1, "random_state": 0, "device": "cpu"}


def extremes(n=300, widths=(8, 6), seed=1):
    """Two classes told by how far one column of each block is from 0, whatever its sign."""
    random_generator = np.random.default_rng(seed)
    X = random_generator.normal(size=(n, sum(widths)))
    far = np.abs(X[:, 0]) + np.abs(X[:, widths[0]])
    return X, (far + 0.2 * random_generator.normal(size=n) > 1.6).astype(int)


def categories(n=400, seed=1):
    """Three classes that have the values of 0 to 4 of two columns, and one normal column, as often as each its own."""
    random_generator = np.random.default_rng(seed)
    y = random_generator.integers(0, 3, n)
    shares = random_generator.dirichlet(np.ones(5), (2, 3))
    codes = [[random_generator.choice(5, p=p) for p in of_column[y]] for of_column in shares]
    X = random_generator.normal(size=(n, 9))
    X[:, 6:8], X[:, 0] = np.transpose(codes), X[:, 0] + y
    return X, y


def with_splines(X, y, n_a=8, **params):
    return DualBranchClassifier(n_a, **(PARAMS | params)).fit(X, y).settings_["splines"]


@pytest.mark.parametrize("stored", [np.asarray, sp.csr_matrix], ids=["dense", "csr"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_columns_have_them_whose_extremes_are_of_one_class(stored, dtype):
    X, y = extremes()
    model = DualBranchClassifier(8, **PARAMS).fit(stored(X.astype(dtype)), y)
    assert model.settings_["splines"] == (True, True)
    for scaler in model.network_.scalers:
        assert set(scaler.splines.column.tolist()) == {0}
    assert with_splines(stored(X[:, :9].astype(dtype)), y) == (True, True)
    assert with_splines(stored(np.roll(X, -1, axis=1).astype(dtype)), y, n_a=4) == (False, True)


def test_columns_have_them_that_are_codes_of_categories():
    X, y = categories()
    model = DualBranchClassifier(5, **PARAMS).fit(X, y)
    assert model.settings_["splines"] == (False, True)
    assert model.network_.scaler_b.splines.column.tolist() == [1] * 5 + [2] * 5
    X[:, 6:8] = np.array([-3, 0.1, 7, 8, 20])[X[:, 6:8].astype(int)]
    assert (
        DualBranchClassifier(5, **PARAMS).fit(X, y).network_.scaler_b.splines.n_hats == 10
    )  # whatever numbers stand for them


def test_where_their_size_tells_as_much_none_have_them():
    random_generator = np.random.default_rng(0)
    X = random_generator.normal(size=(300, 12))
    X[:, :4] = np.clip(np.round(X[:, :4] + 3), 1, 5)  # answers of 1 to 5
    y = (X[:, [0, 1, 6, 7]].sum(axis=1) + random_generator.normal(size=300) > 6).astype(int)
    assert with_splines(X, y, n_a=6) == (False, False)
    assert with_splines(X, random_generator.permutation(extremes()[1]), n_a=6) == (False, False)


def test_what_is_smooth_in_the_columns_together_needs_none():
    """The middle of a sum and a half of it, of which each column has the extremes too."""
    random_generator = np.random.default_rng(0)
    shared = random_generator.normal(size=400)
    X = shared[:, None] + 0.4 * random_generator.normal(size=(400, 4))
    y = (np.abs(X.mean(axis=1)) > 0.7).astype(int)
    z = (X - X.mean(axis=0)) / X.std(axis=0)
    assert set(level_hats(z, y).column) == {0, 1, 2, 3}
    assert with_splines(X, y, n_a=2) == (False, False)


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [("standard", True), ("robust", True), ("minmax", False), ("maxabs", False), ("none", False)],
)
def test_only_centred_columns_have_them(scaling, expected):
    assert with_splines(*extremes(), standardize=scaling)[0] == expected


@pytest.mark.parametrize(("n_columns", "expected"), [(300, True), (301, False)])
def test_only_blocks_of_no_more_columns_than_rows_have_them(n_columns, expected):
    X, y = extremes()
    noise = np.random.default_rng(1).normal(size=(300, n_columns - 6))
    assert with_splines(np.hstack([X, noise]), y)[0]
    assert with_splines(np.hstack([X, noise]), y)[1] == expected


@pytest.mark.parametrize(("n_values", "expected"), [(300 * 16, True), (300 * 16 - 1, False)])
def test_hat_functions_of_too_many_values_are_none(n_values, expected, monkeypatch):
    monkeypatch.setattr(splines, "_MAX_VALUES", n_values)
    assert with_splines(*extremes()) == (expected, expected)  # eight of either block, if any


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("kind", ["continuous", "codes"])
def test_levels_have_to_tell_half_as_much_as_size_beyond_it_and_significantly(n_classes, kind):
    random_generator, decided = np.random.default_rng(0), set()
    for curved in (0, 0.2, 0.4, 0.6, 1.0):
        for linear in (0, 0.5, 1.0, 2.0):
            x = random_generator.normal(size=240)
            if kind == "codes":
                x = np.clip(np.round(1.5 * x), -2, 2)
            score = curved * x**2 + linear * x + random_generator.normal(size=240)
            y = np.searchsorted(np.quantile(score, np.linspace(0, 1, n_classes + 1)[1:-1]), score)
            z = ((x - x.mean()) / x.std()).round(4)
            knots = np.unique(np.quantile(z, np.linspace(0.03, 0.97, 8)).round(4) if kind == "continuous" else z)
            levels = np.abs(z[:, None] - knots).argmin(axis=1)
            table = np.array([[np.sum((levels == i) & (y == c)) for c in range(n_classes)] for i in np.unique(levels)])
            assert table.sum(axis=1).min() >= 10
            of_levels = chi2_contingency(table, correction=False)
            f, _ = f_classif(np.column_stack([z, levels]), y)
            of_size, df_size = 240 * max(f / (f + (240 - n_classes) / (n_classes - 1))), n_classes - 1
            more, df = of_levels.statistic - of_size, of_levels.dof - df_size
            is_sure, is_more = chi2.sf(more, df) < 0.001, more - df > 0.5 * (of_size - df_size)
            decided.add((bool(is_sure), bool(is_more)))
            found = level_hats(z[:, None], y)
            assert len(found.column) == (len(knots) if is_sure and is_more else 0)
            if len(found.column):
                assert_allclose(found.center, knots)
    assert decided == {(False, False), (False, True), (True, False), (True, True)}


def test_rare_codes_have_none_and_stay_apart_from_the_others():
    codes = np.arange(400) % 4
    z, y = np.choose(codes, [-1.0, 0.5, 1.5, 0.5]), codes % 2
    z[:28:4] = 1.0  # in 7 of 400 rows, between two others
    found = level_hats(z[:, None], y)
    assert found.center.tolist() == [-1.0, 0.5, 1.5]
    layer = LinearSplines(3).double()
    layer.set_hats(found)
    assert_allclose(layer.hats(torch.ones(1, 1, dtype=torch.float64)), 0, atol=1e-12)


@pytest.mark.parametrize("value", [0.0, 1e-200, np.nan, np.inf])
def test_columns_that_do_not_vary_or_are_not_finite_have_none(value):
    assert not len(level_hats(np.full((90, 3), value), np.arange(90) % 2).column)


def test_rows_of_one_class_have_none():
    assert not len(level_hats(extremes()[0], np.zeros(300, dtype=np.int64)).column)


def test_errors_are_those_of_kernel_ridge_regression_on_the_other_rows():
    X, y = extremes(60, widths=(3, 2))
    f, _ = f_classif(X, y)
    eta_squared = f / (f + 58)
    z = X * column_relevance(60, 2, eta_squared, X.var(axis=0))
    distances = np.square(z[:, None] - z[None]).sum(axis=-1)
    values, vectors = np.linalg.eigh(np.exp(-distances / distances.mean()))
    features = vectors * np.sqrt(np.maximum(values, 0))
    total, target = np.square(features - features.mean(axis=0)).sum(), np.eye(2)[y]
    target -= target.mean(axis=0)
    errors = []
    for penalty in (1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0):
        model = Ridge(alpha=penalty * total / 59)
        predicted = cross_val_predict(model, features, target, cv=LeaveOneOut())
        factor = max(0, np.sum(predicted * target) / np.sum(predicted**2))
        errors.append(np.sum((target - factor * predicted) ** 2, axis=1) / np.sum(target**2) * 60)
    weighted = splines._times_relevance([X[:, :3], X[:, 3:]], y)
    assert [block.shape[1] for block in weighted] == [3, 2]
    assert_allclose(splines._errors(weighted, y), min(errors, key=np.mean), rtol=1e-5)


@pytest.mark.parametrize(
    ("without", "gain", "t", "expected"),
    [
        (1.0, 0.061, 2.1, True),
        (1.0, 0.059, 9.0, False),
        (0.05, 0.026, 2.1, True),
        (0.05, 0.024, 9.0, False),
        (0.008, 0.0055, 9.0, True),
        (0.008, 0.0045, 9.0, False),
        (1.0, 0.2, 1.9, False),
        (0.05, 0.03, 1.9, False),
        (1.0, -0.2, -9.0, False),
    ],
)
def test_they_have_to_take_six_hundredths_of_the_variance_or_half_of_the_error_and_two_standard_errors(
    without, gain, t, expected, monkeypatch
):
    spread = np.resize([-1.0, 1.0], 100)
    errors = {3: np.full(100, without)}  # without and with three hat functions, by the columns
    errors[6] = errors[3] - gain - spread / spread.std(ddof=1) * 10 * gain / t
    monkeypatch.setattr(splines, "_errors", lambda blocks, codes: errors[sum(z.shape[1] for z in blocks)])
    z = np.random.default_rng(0).normal(size=(100, 3))
    hats = hats_at(1, np.array([-1.0, 0.0, 1.0]))
    assert splines._help([z[:, :2], z[:, 2:]], [hats, hats_at(0, np.empty(0))], np.arange(100) % 2) == expected


def test_what_helps_must_not_be_that_a_block_counts_for_more(monkeypatch):
    """Movement of HTAD beside noise: hat functions of its columns would do what more weight for the block does."""
    htad = load_htad()
    X = htad.data.copy()
    X[:, :36] = np.random.default_rng(0).normal(size=(len(X), 36))
    gains, help_if = [], splines._help

    def gains_too(blocks, hats, codes):
        richer = list(map(splines._with_hats, blocks, hats))
        errors = [splines._errors(splines._times_relevance(of, codes), codes) for of in (blocks, richer)]
        gains.append(errors[0] - errors[1])
        return help_if(blocks, hats, codes)

    monkeypatch.setattr(splines, "_help", gains_too)
    assert with_splines(X, htad.target, n_a=36) == (False, False)
    assert with_splines(np.roll(X, 16, axis=1), htad.target, n_a=16) == (False, False)
    for gain in gains:
        assert gain.mean() > max(splines.MIN_GAIN, 2 * gain.std() / np.sqrt(640))


def test_rows_are_not_known_from_their_copies(monkeypatch):
    """Noise, whose classes the rows that are left out would be known to have."""
    random_generator = np.random.default_rng(0)
    X, y = random_generator.normal(size=(60, 14)), np.arange(60) % 2
    copied = random_generator.integers(0, 60, 300)
    used = []
    monkeypatch.setattr(splines, "level_hats", lambda z, codes: used.append(len(z)) or level_hats(z, codes))
    assert with_splines(X[copied], y[copied]) == (False, False)
    assert used == [len(np.unique(copied))] * 2


def test_some_rows_decide_where_there_are_many(monkeypatch):
    used, errors = [], splines._errors
    monkeypatch.setattr(splines, "level_hats", lambda z, codes: used.append(z.shape) or level_hats(z, codes))
    monkeypatch.setattr(splines, "_errors", lambda z, codes: used.append(np.hstack(z).shape) or errors(z, codes))
    assert with_splines(*extremes(2000)) == (True, True)
    assert used == [(1024, 8), (1024, 6), (640, 14), (640, 14), (640, 14 + 2 * 8)]


def test_rows_that_decide_are_of_all_classes_whatever_their_order(monkeypatch):
    """Every third row would not be among 640 evenly spaced ones."""
    n_of_class = []
    monkeypatch.setattr(splines, "_help", lambda blocks, hats, codes: n_of_class.append(np.bincount(codes)))
    y = np.arange(959) % 3
    X = np.random.default_rng(0).normal(size=(959, 14))
    X[:, 0] *= 1 + 3 * (y == 1)
    with_splines(X, y)
    (counts,) = n_of_class
    assert counts.sum() == 640
    assert_allclose(counts, 640 / 3, atol=40)


def test_a_class_that_is_not_among_the_rows_of_the_regression_is_no_class():
    """Two classes, one of a single row, which has a level of its own; the regression sees the other only."""
    random_generator = np.random.default_rng(0)
    X = np.c_[random_generator.choice([0.0, 2.0], 1024), random_generator.normal(size=1024)]
    rare = np.random.default_rng(0).permutation(1024)[-1]
    X[[*range(25), rare], 0] = 1.0
    assert with_splines(X, np.arange(1024) == rare, n_a=1) == (False, False)


def test_they_are_standardised_by_the_training_rows():
    X, y = categories()
    network = DualBranchClassifier(5, **PARAMS).fit(X, y).network_
    _, block = network.scale(*torch.from_numpy(X).split([5, 4], dim=1))
    assert block.shape == (400, 4 + 10)
    one_hot = OneHotEncoder(sparse_output=False).fit_transform(X[:, 6:8])
    z = (one_hot - one_hot.mean(axis=0)) / one_hot.std(axis=0)
    assert_allclose(block[:, 4:], z / np.sqrt(1 + (z / LIMIT) ** 2), atol=1e-3)


def test_the_norm_of_a_row_may_have_them():
    """A class between two parts of another, all around the mean."""
    random_generator = np.random.default_rng(0)
    X = random_generator.normal(size=(900, 8))
    norms = np.sqrt(np.mean(X[:, :5] ** 2, axis=1))
    X[:, :5] *= (random_generator.choice([0.6, 1.0, 1.4, 1.8], 900) / norms)[:, None]
    radius = np.sqrt(np.mean(X[:, :5] ** 2, axis=1))
    y = np.select([radius < 0.8, radius < 1.2, radius < 1.6], [0, 2, 1], 2)
    model = DualBranchClassifier(5, **PARAMS).fit(X, y)
    assert model.settings_["row_norms"] == (True, False)
    assert model.settings_["splines"] == (True, False)
    assert 5 in model.network_.scaler_a.splines.column


def test_a_warm_start_on_other_rows_keeps_them():
    model = DualBranchClassifier(8, warm_start=True, **PARAMS).fit(*extremes())
    X, _ = extremes(seed=2)
    before = model.network_.scaler_a.splines.mean.clone()
    assert model.fit(X, np.arange(300) % 2).settings_["splines"] == (True, True)
    assert torch.equal(model.network_.scaler_a.splines.mean, before)


def test_they_are_saved_with_the_model(tmp_path):
    X, y = extremes()
    model = DualBranchClassifier(8, **PARAMS).fit(X, y)
    skdual.save(model, tmp_path / "model")
    loaded = skdual.load(tmp_path / "model")
    assert loaded.settings_["splines"] == (True, True)
    assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


def test_beside_a_block_of_more_columns_than_rows_they_stay(monkeypatch):
    monkeypatch.setattr("skdual.training.span.choice.MIN_STEPS_TIMES_ROOT_ROWS", 0)  # the fit is short
    X, y = extremes()
    wide = np.hstack([np.random.default_rng(1).normal(size=(300, 310)), X[:, :8]])
    model = DualBranchClassifier(310, **PARAMS).fit(wide, y)
    assert model.settings_["splines"] == (False, True)
    assert model.predict_proba(wide).shape == (300, 2)


def test_early_stopping_decides_by_the_rows_that_are_trained_on(monkeypatch):
    used = []
    monkeypatch.setattr(splines, "level_hats", lambda z, codes: used.append(len(z)) or level_hats(z, codes))
    X, y = extremes()
    assert with_splines(X, y, early_stopping=True, validation_fraction=0.2) == (True, True)
    assert used == [240, 240]


def test_extremes_and_categories_are_told_apart():
    params = PARAMS | {"hidden_layer_sizes": ((64, 32), (64, 32)), "max_epochs": 15}
    X, y = extremes(1350, widths=(30, 20))
    model = DualBranchClassifier(30, **params).fit(X[:350], y[:350])
    forest = RandomForestClassifier(random_state=0).fit(X[:350], y[:350])
    assert model.score(X[350:], y[350:]) > forest.score(X[350:], y[350:]) > 0.7
    X, y = categories(2400, seed=2)
    one_hot = np.hstack([X, OneHotEncoder(sparse_output=False).fit_transform(X[:, 6:8])])
    by_number, by_category = (DualBranchClassifier(5, **params).fit(of[:400], y[:400]) for of in (X, one_hot))
    assert by_number.score(X[400:], y[400:]) > by_category.score(one_hot[400:], y[400:]) - 0.02
