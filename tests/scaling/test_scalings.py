"""What ``standardize`` makes of the columns, beside scikit-learn's own scalers."""

import pickle
import tracemalloc

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

from skdual import DualBranchClassifier
from skdual.inputs import chunks
from skdual.inputs.columns import ColumnBlocks
from skdual.inputs.rows import Rows
from skdual.scaling.clipping import LIMIT
from skdual.scaling.scalings import SCALINGS, scaling_pair
from skdual.scaling.statistics import column_statistics

ORACLES = {
    "standard": StandardScaler(),
    "minmax": MinMaxScaler(),
    "maxabs": MaxAbsScaler(),
    "robust": RobustScaler(unit_variance=True),
    "log1p": make_pipeline(FunctionTransformer(np.log1p), StandardScaler()),
    "none": FunctionTransformer(),
}
CLIPPED = {"standard", "robust", "log1p"}
WAYS = list(ORACLES)
every_way = pytest.mark.parametrize("way", WAYS)

rng = np.random.default_rng(0)
X = rng.gamma(2.0, np.logspace(-2, 3, 12), (90, 12))  # at least 0, skewed, of very different sizes
Y = np.arange(90) % 3
X[Y == 1, :3] *= 2
Z = rng.gamma(2.0, np.logspace(-2, 3, 12), (40, 12))
SPARSE = np.where(rng.random(X.shape) < 0.2, 0, X)


def model_of(standardize, **changed):
    params = {
        "blocks": 7,
        "hidden_layer_sizes": ((8,), (8,)),
        "n_members": 1,
        "subspace_dim": 2,
        "projection_dim": 4,
        "max_epochs": 2,
        "random_state": 0,
    }
    return DualBranchClassifier(standardize=standardize, **params | changed)


def scaled(model, X):
    """What the branches read, (n, p) in the order of the columns of blocks that lie in order."""
    network = model.network_
    blocks = [torch.from_numpy(np.ascontiguousarray(X[:, index])) for index in model.block_indices_]
    return np.hstack([layer(x) for layer, x in zip((network.scaler_a, network.scaler_b), blocks, strict=True)])


def with_logarithms(train, new):
    """Both with the logarithms of the columns of a long tail, one after the other."""
    train, new = train.copy(), new.copy()
    for x, other in zip(train.T, new.T, strict=True):
        tenth, median, last_tenth = np.quantile(x[x != 0], [0.1, 0.5, 0.9])
        if last_tenth > 3 * median:
            x[:], other[:] = (np.log(1 + values / tenth) for values in (x, other))
    return train, new


def expected(way, train, new):
    train, new = with_logarithms(train, new) if way == "standard" else (train, new)
    z = clone(ORACLES[way]).fit(train).transform(new)
    return z / np.sqrt(1 + (z / LIMIT) ** 2) if way in CLIPPED else z


def test_every_way_of_scaling_is_tested():
    assert set(WAYS) == set(SCALINGS)


@every_way
def test_both_blocks_read_what_sklearn_makes_of_training_and_new_rows(way):
    model = model_of(way).fit(X, Y)
    for rows in (X, Z):
        assert_allclose(scaled(model, rows), expected(way, X, rows), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("b", WAYS)
@pytest.mark.parametrize("a", WAYS)
def test_standardize_takes_a_way_for_each_block(a, b):
    model = model_of((a, b), max_epochs=1).fit(X, Y)
    read = scaled(model, Z)
    assert_allclose(read[:, :7], expected(a, X[:, :7], Z[:, :7]), rtol=1e-9, atol=1e-12)
    assert_allclose(read[:, 7:], expected(b, X[:, 7:], Z[:, 7:]), rtol=1e-9, atol=1e-12)


def test_ways_follow_scattered_and_shared_columns():
    blocks = ([11, 0, 5, 3], [1, 2, 4, 10, 9, 8, 7, 6])
    model = model_of(("robust", "minmax"), blocks=blocks, max_epochs=1).fit(X, Y)
    read = scaled(model, Z)
    for way, index, columns in (("robust", blocks[0], slice(0, 4)), ("minmax", blocks[1], slice(4, 12))):
        assert_allclose(read[:, columns], expected(way, X[:, index], Z[:, index]), rtol=1e-9, atol=1e-12)
    model = model_of(("log1p", "maxabs"), blocks=None, max_epochs=1).fit(X, Y)  # both read every column
    read = scaled(model, Z)
    assert_allclose(read[:, :12], expected("log1p", X, Z), rtol=1e-9)
    assert_allclose(read[:, 12:], expected("maxabs", X, Z), rtol=1e-9)


@pytest.mark.parametrize(
    "same",
    [
        (True, "standard", ("standard", True), ["standard", "standard"], {"b": True, "a": "standard"}, np.True_),
        (False, "none", (False, "none"), {"a": "none", "b": False}),
        (("log1p", "robust"), {"b": "robust", "a": "log1p"}),
    ],
)
def test_spellings_of_one_scaling_give_one_model(same):
    first, *others = (model_of(standardize, max_epochs=1).fit(X, Y).predict_proba(Z) for standardize in same)
    for probabilities in others:
        assert_array_equal(probabilities, first)


@every_way
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dense_and_csr_give_the_same_model(way, dtype):
    dense = SPARSE.astype(dtype)
    models = [model_of(way).fit(data, Y) for data in (dense, sp.csr_matrix(dense))]
    assert_array_equal(models[0].predict_proba(dense), models[1].predict_proba(sp.csr_matrix(dense)))
    for name, buffer in models[0].network_.named_buffers():
        assert_array_equal(buffer, models[1].network_.get_buffer(name))


def data_set(X, subset=None):
    columns = ColumnBlocks(("a", "b"), (np.arange(7), np.arange(7, 12)))
    return Rows(X, columns, torch.device("cpu"), torch.float64, np.arange(X.shape[0]) % 3, subset)


@pytest.mark.parametrize("way", sorted(set(WAYS) - {"none"}))
@pytest.mark.parametrize("columns", [np.arange(12), np.array([2]), np.array([1, 5, 6])], ids=str)
@pytest.mark.parametrize("subset", [None, rng.permutation(90)[:40]], ids=["all rows", "a subset"])
@pytest.mark.parametrize("store", [np.array, np.asfortranarray, sp.csr_matrix, sp.csr_array])
def test_statistics_of_few_values_at_a_time(way, columns, subset, store, monkeypatch):
    chosen = SPARSE if subset is None else SPARSE[subset]
    chosen = chosen[:, columns]
    for n_values in (1, 100, 10**9):
        monkeypatch.setattr(chunks, "COLUMN_CHUNK_VALUES", n_values)
        monkeypatch.setattr(chunks, "_PART_VALUES", n_values)
        mean, scale, *_ = column_statistics(data_set(store(SPARSE), subset), way, columns, torch.float64)
        z = ((np.log1p(chosen) if way == "log1p" else chosen) - mean) / scale
        assert_allclose(z, clone(ORACLES[way]).fit_transform(chosen), rtol=1e-9, atol=1e-12)


def test_whole_columns_are_not_all_dense_at_once(monkeypatch):
    monkeypatch.setattr(chunks, "COLUMN_CHUNK_VALUES", 20_000)
    wide = sp.random(1000, 2000, density=0.01, format="csr", random_state=0)
    tracemalloc.start()
    column_statistics(data_set(wide), "robust", np.arange(2000), torch.float64)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000  # bytes; the dense matrix has 16 million


@every_way
def test_columns_that_do_not_vary_are_harmless(way):
    flat = X.copy()
    flat[:, [2, 8]] = 0, 5
    model = model_of(way).fit(flat, Y)
    assert np.isfinite(model.predict_proba(Z)).all()
    if way not in ("none", "maxabs"):  # 5 is at the end of [-1, 1]
        assert_allclose(scaled(model, flat)[:, [2, 8]], 0, atol=1e-15)
        for layer, column in ((model.network_.scaler_a, 2), (model.network_.scaler_b, 1)):
            assert layer.scale[column] == 1


def test_robust_scale_is_1_where_the_quartiles_are_equal():
    mostly_zero = np.zeros((90, 2))
    mostly_zero[:10, 0] = 40
    rows = Rows(mostly_zero, data_set(X).columns, torch.device("cpu"), torch.float64)
    mean, scale, *_ = column_statistics(rows, "robust", np.arange(2), torch.float64)
    assert_array_equal(mean, [0, 0])
    assert_array_equal(scale, [1, 1])


def test_minmax_gives_the_unit_range_and_maxabs_keeps_zeros():
    model = model_of(("minmax", "maxabs")).fit(SPARSE, Y)
    read = scaled(model, SPARSE)
    assert_allclose(read[:, :7].min(axis=0), 0, atol=1e-15)
    assert_allclose(read[:, :7].max(axis=0), 1)
    assert_allclose(read[:, 7:].max(axis=0), 1)
    assert_array_equal(read[:, 7:] == 0, SPARSE[:, 7:] == 0)


# negative values and logarithms


@pytest.mark.parametrize("store", [np.array, sp.csr_matrix])
def test_negative_values_under_a_logarithm_are_named_at_fit_and_predict(store):
    wrong = X.copy()
    wrong[[4, 50], [9, 8]] = -0.5
    model = model_of(("none", "log1p")).fit(store(X), Y)
    before = model.predict_proba(store(Z))
    message = "{} has 2 negative value\\(s\\) in block 'b', in column 8 first, which standardize='log1p'"
    for refuse, name in (
        (lambda: model.fit(store(wrong), Y), "X"),
        (lambda: model.fit(store(X), Y, X_val=store(wrong), y_val=Y), "X_val"),
        (lambda: model.predict(store(wrong)), "X"),
        (lambda: model.transform(store(wrong)), "X"),
    ):
        with pytest.raises(ValueError, match="^" + message.format(name)):
            refuse()
    assert_array_equal(model.predict_proba(store(Z)), before)
    model_of(("log1p", "none")).fit(store(wrong), Y).predict(store(wrong))  # the other block may be negative


def test_the_column_of_a_frame_is_named():
    frame = pd.DataFrame(X.copy(), columns=[f"g{i}" for i in range(12)])
    frame.loc[3, "g5"] = -1
    with pytest.raises(ValueError, match=r"1 negative value\(s\) in block 'a', in column 'g5' first"):
        model_of("log1p").fit(frame, Y)


def test_long_tails_on_both_sides_do_not_hide_where_most_rows_are(monkeypatch):
    # splines tell it too, of columns scaled either way
    monkeypatch.setattr("skdual.training.columns.splines.MIN_GAIN", np.inf)
    rng = np.random.default_rng(0)
    y = np.arange(600) % 3
    X = rng.standard_t(1, (600, 24)) + rng.normal(size=(3, 24))[y]
    train, test = slice(0, 300), slice(300, 600)
    scores = {
        way: model_of(way, blocks=12, n_members=2, max_epochs=30).fit(X[train], y[train]).score(X[test], y[test])
        for way in ("standard", "robust")
    }
    assert scores["standard"] > scores["robust"] > 0.6
    plain = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[train], y[train])
    assert scores["standard"] > plain.score(X[test], y[test]) + 0.2


# among the other parameters


@pytest.mark.parametrize(
    "standardize",
    ["zscore", None, 1, ("standard",), ("standard", "zscore"), ("none", None), ["none"] * 3, {"a": "none"}, {}],
    ids=repr,
)
def test_other_values_of_standardize_are_refused(standardize):
    model = model_of(True).fit(X, Y)
    before = model.predict_proba(Z)
    with pytest.raises(ValueError, match="standardize"):
        model.set_params(standardize=standardize).fit(X, Y)
    assert_array_equal(model.predict_proba(Z), before)


def test_scaling_pair_takes_every_form():
    assert scaling_pair(True) == ("standard", "standard")
    assert scaling_pair([False, "robust"]) == ("none", "robust")


@every_way
def test_saved_models_scale_as_before(way, tmp_path):
    model = model_of((way, "robust")).fit(X, Y)
    joblib.dump(model, tmp_path / "model.joblib")
    for loaded in (pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "model.joblib")):
        assert_array_equal(loaded.predict_proba(Z), model.predict_proba(Z))


def test_warm_start_keeps_the_statistics_and_refuses_another_scaling():
    model = model_of({"a": "robust", "b": "minmax"}, warm_start=True).fit(X, Y)
    before = scaled(model, Z)
    model.set_params(standardize=("robust", "minmax")).fit(2 * X, Y)  # another spelling of the same
    assert model.n_epochs_ == 4
    assert_array_equal(scaled(model, Z), before)
    with pytest.raises(ValueError, match=r"whose standardize is \('robust', 'minmax'\), but now it would be"):
        model.set_params(standardize="robust").fit(X, Y)


def test_statistics_are_those_of_the_training_rows():
    model = model_of(("robust", "maxabs")).fit(X, Y, X_val=1000 * Z, y_val=np.arange(40) % 3)
    assert_array_equal(scaled(model, Z), scaled(model_of(("robust", "maxabs")).fit(X, Y), Z))


def test_standardize_is_searched_by_name():
    grid = {"standardize": ["robust", ("log1p", "none"), {"a": "maxabs", "b": False}]}
    search = GridSearchCV(model_of(True, max_epochs=1), grid, cv=2, error_score="raise").fit(X, Y)
    assert len(search.cv_results_["params"]) == 3
