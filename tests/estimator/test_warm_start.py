"""A fit that goes on from an earlier one."""

import copy
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from member_scores import assert_ensemble, ensemble_fitted_on, member_scores, model_of, scores_in_groups
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone


def test_warm_start_goes_on_from_the_fitted_weights(two_blocks, quick):
    X, y = two_blocks
    model = model_of(quick, warm_start=True, dropout=0.0).fit(X, y)
    before, network = model.history_[-1], model.network_
    model.fit(X, y)
    assert model.n_epochs_ == 8
    assert model.history_[3] == before
    assert model.history_[4]["classification_loss"] < before["classification_loss"]
    cold = clone(model).set_params(warm_start=False).fit(X, y).fit(X, y)
    assert cold.n_epochs_ == 4
    assert network is not model.network_


def test_warm_start_keeps_its_members_however_many_rows_come(two_blocks, quick):
    X, y = two_blocks
    many = np.tile(np.arange(150), 90)
    params = {"n_members": "auto", "max_epochs": 1, "batch_size": 1024, "contrastive": None}
    assert model_of(quick, **params).fit(X[many], y[many]).network_.n_members == 4
    model = model_of(quick, warm_start=True, **params).fit(X, y)
    assert model.network_.n_members == 8
    assert model.fit(X[many], y[many]).network_.n_members == 8
    assert model.n_epochs_ == 2
    few = model_of(quick, warm_start=True, **(params | {"n_members": 3})).fit(X, y)
    assert few.set_params(n_members="auto").fit(X, y).network_.n_members == 3


@pytest.mark.parametrize(("dtype", "shown"), [(bool, "False  True"), ("m8[D]", "0 1")])
def test_booleans_and_durations_are_not_the_classes_0_and_1(two_blocks, quick, dtype, shown):
    X, y = two_blocks[0], (two_blocks[1] == two_blocks[1][0]).astype(int)
    model = model_of(quick, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match=rf"goes on with the fitted classes \[0 1\], but y has \[{shown}\]"):
        model.fit(X, y.astype(dtype))
    model = model_of(quick, warm_start=True).fit(X, y.astype(dtype))
    with pytest.raises(ValueError, match=rf"goes on with the fitted classes \[{shown}\], but y has \[0 1\]"):
        model.fit(X, y)


def test_warm_start_with_other_blocks_is_refused(two_blocks, quick):
    X, y = two_blocks
    model = model_of(quick, warm_start=True).fit(X, y)
    had, has = " and ".join(str(len(index)) for index in model.block_indices_), f"1 and {X.shape[1] - 1}"
    with pytest.raises(ValueError, match=f"fitted blocks, of {had} columns, but blocks or X have others, {has} of"):
        model.set_params(blocks=1).fit(X, y)


def test_warm_start_with_columns_in_another_order_is_refused(two_blocks, quick):
    X, y = pd.DataFrame(two_blocks[0]).add_prefix("column "), two_blocks[1]
    model = model_of(quick, warm_start=True).fit(X, y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match=r"column 2 is 'column 2', but in X it is 'column 3'"):
        model.fit(X.iloc[:, [0, 1, 3, 2, *range(4, 12)]], y)
    assert_array_equal(model.predict_proba(X), before)
    assert model.fit(X.to_numpy(), y).n_epochs_ == 2 * model.max_epochs  # without names there is nothing to compare


def test_group_weights_are_fitted_anew_by_every_warm_start(two_blocks, quick):
    X, y = two_blocks
    model = model_of(quick, n_members=1, warm_start=True).fit(X, y, X_val=X[:40], y_val=y[:40])
    assert model.probability_temperature_ != 1
    again = copy.deepcopy(model).fit(X, y)
    assert again.probability_temperature_ == 1
    assert again.network_.ensemble.weights.tolist() == again.block_weights_.tolist() == [1, 0, 0]
    model.fit(X, y, X_val=X[:40], y_val=y[:40])
    assert_ensemble(model, *ensemble_fitted_on(model, scores_in_groups(model, X[:40]), y[:40], y))
    assert_allclose(model.network_.head.bases.detach(), again.network_.head.bases.detach(), rtol=1e-5)


def test_a_warm_start_may_drop_blocks_more_or_less_often(two_blocks, quick):
    X, y = two_blocks
    fitted = model_of(quick, warm_start=True, n_members=1, dropout=0.0, mixup_alpha=0).fit(X, y)
    rates = {}
    for rate in (0.1, 0.9):
        again = copy.deepcopy(fitted).set_params(block_dropout=rate).fit(X, y)
        again.network_.train()
        with torch.no_grad():
            h_a = torch.ones(1, 4000, 1)
            rates[rate] = (again.network_._drop_blocks(h_a, h_a)[0] == 0).float().mean().item()
    assert_allclose([rates[0.1], rates[0.9]], [0.05, 0.45], atol=0.03)


def test_warm_start_after_loading_and_with_other_rows(two_blocks, quick):
    X, y = two_blocks
    model = model_of(quick, warm_start=True, memory_bank_size=200).fit(X, y)
    again = copy.deepcopy(model)
    for fitted in (model, again):
        fitted.fit(X[20:90], y[20:90])
    assert again.n_epochs_ == 8
    assert_array_equal(model.predict_proba(X), again.predict_proba(X))


@pytest.mark.parametrize(
    ("params", "rows", "match"),
    [
        ({}, slice(None), "fitted classes"),
        ({"projection_dim": 4}, slice(None), "projection_dim is 8, but now it would be 4"),
        ({"contrastive": None}, slice(None), "trained with a contrastive loss; leave contrastive and"),
        ({"contrastive_weight": 0}, slice(None), "trained with a contrastive loss"),
        ({"n_members": 3}, slice(None), "n_members is 2, but now it would be 3"),
        ({"blocks": 6}, slice(None), "blocks"),
        ({"block_dropout": 0}, slice(None), "block_dropout is 0.25, but now it would be 0"),
    ],
)
def test_warm_start_with_something_else_is_refused(two_blocks, quick, params, rows, match):
    X, y = two_blocks
    model = model_of(quick, warm_start=True).fit(X, y)
    proba = model.predict_proba(X)
    labels = y if params else np.where(y == "left", "right", y)
    with pytest.raises(ValueError, match=match):
        model.set_params(**params).fit(X[rows], labels)
    assert_array_equal(model.predict_proba(X), proba)


@pytest.mark.parametrize(
    ("changed", "form", "other_form"),
    [
        ({"token_dim": 8}, {"fusion": "attention"}, {"fusion": "concat"}),
        ({"attention_heads": 2}, {"fusion": "attention"}, {"fusion": "concat"}),
        ({"subspace_dim": 2}, {"head": "subspace"}, {"head": "linear"}),
        ({"initialization": "xavier"}, None, {}),
    ],
)
def test_what_no_fitted_weight_depends_on_may_change(two_blocks, quick, changed, form, other_form):
    X, y = two_blocks
    model = model_of(quick, warm_start=True, learning_rate=1e-12, **other_form).fit(X, y)
    before = member_scores(model, X)
    assert_allclose(member_scores(model.set_params(**changed).fit(X, y), X), before, rtol=1e-5, atol=1e-5)
    if form:
        model = model_of(quick, warm_start=True, **form).fit(X, y)
        with pytest.raises(ValueError, match=f"whose {next(iter(changed))} is"):
            model.set_params(**changed).fit(X, y)


def test_automatic_widths_stay_as_they_are(quick):
    """Fewer rows make other widths of 2,048 columns in a fit that starts anew."""
    X, y = np.random.default_rng(0).normal(size=(2048, 2058)).astype(np.float32), np.arange(2048) % 2
    params = {"blocks": 10, "hidden_layer_sizes": "auto", "n_members": 1, "max_epochs": 1, "contrastive": None}
    model = model_of(quick, warm_start=True, **params).fit(X, y)
    widths = model.network_.branch_b.layers[0].weight.shape
    assert model.fit(X[:100], y[:100]).network_.branch_b.layers[0].weight.shape == widths
    assert clone(model).fit(X[:100], y[:100]).network_.branch_b.layers[0].weight.shape[1] < widths[1]


def test_the_rows_that_are_set_aside_stay_the_same(two_blocks, quick, rows_seen):
    X, y = two_blocks
    params = {"early_stopping": True, "random_state": np.random.RandomState(0)}
    model = model_of(quick, warm_start=True, **params).fit(X, y)
    first = rows_seen["valid"]
    model = copy.deepcopy(model.fit(X, y))
    assert_array_equal(rows_seen["valid"], first)
    model.fit(X, y)
    assert_array_equal(rows_seen["valid"], first)
    model.set_params(warm_start=False).fit(X, y)
    assert not np.array_equal(rows_seen["valid"], first)


@pytest.mark.parametrize(
    ("first", "then", "match"),
    [
        ({}, {"early_stopping": True}, "sets 0.1 of the rows aside, the previous one set none aside"),
        (
            {"early_stopping": True},
            {"early_stopping": True, "validation_fraction": 0.2},
            "sets 0.2 of the rows aside, the previous one set 0.1 aside",
        ),
        ({"early_stopping": True}, {"early_stopping": True}, None),
        ({"early_stopping": True}, {"early_stopping": False}, None),
        ({}, {"early_stopping": True, "X_val": True}, None),
    ],
)
def test_validation_rows_that_were_learnt_before_are_warned_of(two_blocks, quick, first, then, match):
    X, y = two_blocks
    model = model_of(quick, warm_start=True, **first).fit(X, y)
    own_rows = {"X_val": X[:40], "y_val": y[:40]} if then.pop("X_val", False) else {}
    model.set_params(**then)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        copy.deepcopy(model).fit(X, y, **own_rows)
    messages = [str(warning.message) for warning in seen]
    assert [match in message for message in messages] == ([True] if match else [])
