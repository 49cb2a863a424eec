"""Block importance against blocks shuffled and replaced by hand, and against fits on single blocks."""

import copy
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.metrics import f1_score, log_loss
from sklearn.model_selection import train_test_split

from skdual import DualBranchClassifier
from skdual.datasets import load_htad
from skdual.inspection import block_importance

METHODS = ["permutation", "ablation"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("informative", [0, 1])
def test_the_block_that_knows_the_classes_comes_first(method, informative):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    X = rng.normal(size=(300, 12)).astype(np.float32)
    X[:, 8 * informative : 8 * informative + 4] += 3 * np.eye(4, dtype=np.float32)[y]
    model = DualBranchClassifier(8, hidden_layer_sizes=((16,), (16,)), n_members=2, max_epochs=15, random_state=0)
    found = block_importance(model.fit(X[:200], y[:200]), X[200:], y[200:], method=method, random_state=0)
    assert list(found.index) == ["a", "b"]
    assert list(found.columns) == ["mean", "std"]
    assert found["mean"].iloc[informative] > 0.4
    assert abs(found["mean"].iloc[1 - informative]) < 0.1


def test_permutation_deals_out_whole_rows_of_a_block(model, planted):
    X, y = planted[0][300:], planted[1][300:]
    rng = np.random.RandomState(0)
    whole = model.score(X, y)
    drops = []
    for names in (model.feature_names_in_[index] for index in model.block_indices_):
        for _ in range(5):
            order = rng.permutation(len(X))
            shuffled = X.copy()
            for name in names:
                shuffled[name] = X[name].to_numpy()[order]
            drops.append(whole - model.score(shuffled, y))
    found = block_importance(model, X, y, n_repeats=5, random_state=0)
    assert list(found.index) == ["rna", "protein"]
    assert_allclose(found["mean"], np.reshape(drops, (2, 5)).mean(axis=1))
    assert_allclose(found["std"], np.reshape(drops, (2, 5)).std(axis=1))
    assert (found["std"] > 0).all()


def test_ablation_puts_the_training_mean_in_place_of_a_block(model, planted):
    X, y = planted[0][300:], planted[1][300:]
    mean = planted[0][:300].astype(np.float64).mean().astype(np.float32)
    found = block_importance(model, X, y, method="ablation", scoring="neg_log_loss")
    for block, index in zip(model.block_names_, model.block_indices_, strict=True):
        names = model.feature_names_in_[index]
        replaced = X.assign(**{name: mean[name] for name in names})
        drop = log_loss(y, model.predict_proba(replaced)) - log_loss(y, model.predict_proba(X))
        assert found.loc[block, "mean"] == pytest.approx(drop, rel=1e-3)
        assert found.loc[block, "std"] == 0


def test_ablation_stays_on_the_device_of_the_network(model, planted):
    X, y = planted[0][300:], planted[1][300:]
    arguments = {"method": "ablation", "scoring": "neg_log_loss"}
    expected = block_importance(model, X, y, **arguments)
    elsewhere = copy.deepcopy(model).set_params(device="cuda:99")  # for its next fit
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_array_equal(block_importance(elsewhere, X, y, **arguments), expected)


@pytest.mark.parametrize("method", METHODS)
def test_block_importance_is_the_same_for_all_forms_of_x(model, unnamed, planted, method):
    frame, y = planted[0][300:], planted[1][300:]
    arguments = {"method": method, "scoring": "neg_log_loss", "n_repeats": 2, "random_state": 0}
    expected = block_importance(model, frame, y, **arguments)
    assert_array_equal(block_importance(model, pl.from_pandas(frame), y, **arguments), expected)
    for X in (frame.to_numpy(), sp.csr_matrix(frame), sp.csc_matrix(frame)):
        assert_array_equal(block_importance(unnamed, X, y, **arguments), expected)


@pytest.mark.filterwarnings("error:X does not have valid feature names")
def test_frames_of_sparse_columns_keep_their_names(model, planted):
    frame, y = planted[0][300:], planted[1][300:]
    columns = frame.astype(pd.SparseDtype(np.float32, 0))
    expected = block_importance(model, frame, y, n_repeats=2, random_state=0)
    assert_array_equal(block_importance(model, columns, y, n_repeats=2, random_state=0), expected)


@pytest.mark.parametrize("method", METHODS)
def test_block_importance_leaves_the_estimator_and_x_alone(unnamed, planted, method):
    X, y = planted[0].to_numpy().copy(), planted[1]
    before, network = unnamed.predict_proba(X), unnamed.network_
    for rows in (X, sp.csr_matrix(X)):
        block_importance(unnamed, rows, y, method=method, n_repeats=2, random_state=0)
        assert_array_equal(rows.toarray() if sp.issparse(rows) else rows, planted[0])
    assert unnamed.network_ is network
    assert_array_equal(unnamed.predict_proba(X), before)


def test_branches_that_read_the_same_columns_can_only_be_ablated(planted, settings):
    X, y = planted[0].to_numpy(), planted[1]
    model = DualBranchClassifier(**settings).fit(X[:300], y[:300])
    found = block_importance(model, X[300:], y[300:], method="ablation", scoring="neg_log_loss")
    rows = torch.from_numpy(X[300:])
    mean = torch.from_numpy(X[:300].mean(axis=0)).expand_as(rows)
    with torch.no_grad():
        losses = [
            log_loss(y[300:], model.network_.scores(*branches).softmax(dim=1).numpy())
            for branches in ((rows, rows), (mean, rows), (rows, mean))
        ]
    assert_allclose(found["mean"], np.array(losses[1:]) - losses[0], rtol=1e-3)
    with pytest.raises(ValueError, match=r"fitted with blocks=None.*take method='ablation'"):
        block_importance(model, X[300:], y[300:])


def test_scoring_is_one_score_as_in_sklearn(model, planted):
    X, y = planted[0][300:], planted[1][300:]

    def macro_f1(estimator, X, y):
        return f1_score(y, estimator.predict(X), average="macro")

    expected = block_importance(model, X, y, scoring="f1_macro", n_repeats=2, random_state=0)
    assert_array_equal(block_importance(model, X, y, scoring=macro_f1, n_repeats=2, random_state=0), expected)
    with pytest.raises(TypeError, match="scoring must be one score"):
        block_importance(model, X, y, scoring=["f1_macro", "accuracy"])


def test_wrong_arguments_of_block_importance_are_named(model, planted):
    X, y = planted
    with pytest.raises(NotFittedError):
        block_importance(DualBranchClassifier(), X, y)
    expected = "estimator must be a DualBranchClassifier or a Pipeline that ends in one, got str"
    with pytest.raises(TypeError, match=expected):
        block_importance("model", X, y)
    with pytest.raises(ValueError, match="method must be one of 'permutation', 'ablation'; got 'shapley'"):
        block_importance(model, X, y, method="shapley")
    for method in (["ablation"], None, np.array(["ablation", "permutation"])):
        with pytest.raises(ValueError, match="method must be one of 'permutation', 'ablation'; got "):
            block_importance(model, X, y, method=method)
    for n_repeats in (0, True, 2.5, "3"):
        with pytest.raises(ValueError, match=f"n_repeats must be an int of at least 1, got {n_repeats!r}"):
            block_importance(model, X, y, n_repeats=n_repeats)


@pytest.mark.parametrize("method", METHODS)
def test_a_wrong_y_is_named(model, planted, method):
    X, y = planted[0][:20], planted[1][:20]
    for wrong, message in (
        (y[:3], "X and y must have the same number of rows; X has 20, y has 3"),
        ("one", "y must be a 1d array with one label per row"),
        (1, "y must be a 1d array with one label per row"),
        (np.stack([y, y], axis=1), "y must be a 1d array with one label per row"),
        (np.where(np.arange(20) == 4, None, y), r"y has 1 missing label\(s\), None in row 4 first"),
        (np.linspace(0.1, 0.9, 20), "y must hold class labels. Unknown label type: continuous"),
        (np.char.upper(y), "y has none of the labels in classes_, .'one' 'two' 'zero'.; got 'ZERO' first"),
    ):
        with pytest.raises(ValueError, match=message):
            block_importance(model, X, wrong, method=method)
    with pytest.raises(ValueError, match="at least one row, got none"):
        block_importance(model, X[:0], y[:0], method=method)
    with pytest.raises(ValueError, match="Feature names must be in the same order as they were in fit"):
        block_importance(model, X[X.columns[::-1]], y, method=method)


def test_a_scorer_of_its_own_may_take_other_labels(model, planted):
    X, familiar = planted[0][:20], np.arange(20) % 2

    def gap(estimator, X, familiar):
        scores = estimator.score_samples(X)
        return scores[familiar == 1].mean() - scores[familiar == 0].mean()

    assert block_importance(model, X, familiar, scoring=gap, n_repeats=2, random_state=0).notna().all(axis=None)


@pytest.mark.parametrize("score", [None, [0.5, 0.5], {"accuracy": 0.5}])
def test_a_score_that_is_no_number_is_refused(model, planted, score):
    X, y = planted[0][:20], planted[1][:20]
    for method in METHODS:
        with pytest.raises(TypeError, match="scoring must give a number, got "):
            block_importance(model, X, y, scoring=lambda *rows: score, method=method)


def test_a_single_row_can_be_ablated_but_not_permuted(model, planted):
    X, y = planted[0][:1], planted[1][:1]
    assert block_importance(model, X, y, method="ablation").shape == (2, 2)
    with pytest.raises(ValueError, match="needs at least 2 rows to deal out anew, got an X of 1; take method='ablat"):
        block_importance(model, X, y)


def htad_losses_and_importance(columns_a, columns_b):
    """Log loss of fits on either part of HTAD's columns; a fit on both, and its test rows."""
    htad = load_htad()
    X, X_test, y, y_test = train_test_split(htad.data, htad.target, stratify=htad.target, random_state=0)
    quick = {"n_members": 2, "max_epochs": 8, "random_state": 0}
    alone = [
        log_loss(y_test, DualBranchClassifier(**quick).fit(X[:, part], y).predict_proba(X_test[:, part]))
        for part in (columns_a, columns_b)
    ]
    both = [*columns_a, *columns_b]
    model = DualBranchClassifier(len(columns_a), **quick).fit(X[:, both], y)
    return alone, model, X_test[:, both], y_test


@pytest.mark.parametrize("unit", ["D", "ns"])
def test_labels_may_be_dates_of_another_unit(two_blocks, quick, unit):
    X, y = two_blocks
    dates = np.array(["2020-01-01", "2020-01-02", "2020-01-03"], dtype="M8[D]")[np.unique(y, return_inverse=True)[1]]
    model = DualBranchClassifier(**quick).fit(X, dates.astype("M8[s]"))
    expected = block_importance(model, X, dates.astype("M8[s]"), random_state=0)
    pd.testing.assert_frame_equal(block_importance(model, X, dates.astype(f"M8[{unit}]"), random_state=0), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("columns_a", "columns_b", "methods"),
    [
        (range(36), range(36, 52), ["permutation"]),  # all of both blocks; by ablation they tie
        (range(36), range(36, 42), METHODS),
        (range(12), range(36, 52), METHODS),
    ],
)
def test_on_htad_the_blocks_rank_as_fits_on_single_blocks_do(columns_a, columns_b, methods):
    alone, model, X, y = htad_losses_and_importance(columns_a, columns_b)
    assert abs(alone[0] - alone[1]) > 0.05
    for method in methods:
        found = block_importance(model, X, y, method=method, scoring="neg_log_loss", n_repeats=3, random_state=0)
        assert found["mean"].argmax() == np.argmin(alone)
        assert (found["mean"] > 0).all()
