"""Weights of the groups and the temperature, and what they are good for."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
from member_scores import (
    assert_ensemble,
    codes_of,
    ensemble_fitted_on,
    held_out_scores_in_groups,
    model_of,
    scores_in_groups,
)
from numpy.testing import assert_allclose
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss

from skdual import DualBranchClassifier
from skdual.training.held_out import held_out_folds


@pytest.mark.parametrize("block_dropout", [0, 0.5])
def test_the_group_weights_are_fitted_on_held_out_and_validation_rows(two_blocks, quick, block_dropout):
    X, y = two_blocks
    params = {"n_members": 4, "class_weight": {"left": 3}, "block_dropout": block_dropout}
    model = model_of(quick, **params).fit(X, y)
    folds = held_out_folds(codes_of(y), 2)
    rows = [row for row in range(150) if folds[row] in (0, 1)]
    held_out = held_out_scores_in_groups(model, X, folds, rows)
    weight = np.array([3.0, 1.0, 1.0])
    weight /= weight[codes_of(y)].mean()
    assert_ensemble(model, *ensemble_fitted_on(model, held_out, y[rows], y, weight))
    assert np.abs(model.class_offsets_).max() > 0.01
    X_val, y_val = X[:40], np.roll(y, 1)[:40]
    watched = model_of(quick, **params).fit(X, y, X_val=X_val, y_val=y_val)
    seen = np.concatenate([held_out, scores_in_groups(model, X_val)], axis=1)
    assert_ensemble(watched, *ensemble_fitted_on(watched, seen, np.concatenate([y[rows], y_val]), y, weight))
    assert watched.probability_temperature_ > 1.1 * model.probability_temperature_  # for most of these labels are wrong


def test_with_early_stopping_held_out_rows_are_training_rows(two_blocks, quick, rows_seen):
    X, y = two_blocks
    for n_members in (1, 3):
        model = model_of(quick, early_stopping=True, validation_fraction=0.3, n_members=n_members).fit(X, y)
        chosen, fitted_on = scores_in_groups(model, X)[:, rows_seen["valid"]], rows_seen["valid"]
        if n_members == 3:
            folds = np.full(150, -1)
            folds[rows_seen["train"]] = held_out_folds(codes_of(y[rows_seen["train"]]), 2)
            held_out = np.flatnonzero(folds == 0)  # which one member of either half holds out
            chosen = np.concatenate([held_out_scores_in_groups(model, X, folds, held_out), chosen], axis=1)
            fitted_on = np.concatenate([held_out, fitted_on])
        assert_ensemble(model, *ensemble_fitted_on(model, chosen, y[fitted_on], y[rows_seen["train"]]))


@pytest.mark.parametrize(("block_dropout", "unfitted"), [(0, [1]), (0.5, [1, 0, 0])])
def test_one_member_has_group_weights_from_validation_rows_only(two_blocks, quick, block_dropout, unfitted):
    X, y = two_blocks
    params = {"n_members": 1, "block_dropout": block_dropout}
    without = model_of(quick, **params).fit(X, y)
    assert without.block_weights_.tolist() == unfitted
    assert without.probability_temperature_ == 1.0
    assert isinstance(without.probability_temperature_, float)
    scores = scores_in_groups(without, X)
    assert_allclose(without.decision_function(X), scores[0], rtol=1e-5, atol=1e-5)
    given = model_of(quick, **params).fit(X, y, X_val=X[:40], y_val=y[:40])
    expected, class_offsets = ensemble_fitted_on(given, scores_in_groups(given, X[:40]), y[:40], y)
    assert_ensemble(given, expected, class_offsets)
    assert abs(math.log(expected.sum())) > 0.05
    by_hand = np.tensordot(expected, scores, axes=1) + class_offsets
    assert_allclose(given.decision_function(X), by_hand, rtol=1e-3, atol=1e-3 if block_dropout else 1e-4)


@pytest.mark.parametrize("noisy", ["a", "b"])
def test_a_block_of_noise_does_no_harm(quick, noisy):
    """Beside 300 columns of noise, rows are told apart about as well as by the other block alone."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 1300)
    known = rng.normal(size=(1300, 5)) + 1.5 * np.eye(3, 5)[y]
    noise = rng.normal(size=(1300, 300))
    X = np.hstack([noise, known] if noisy == "a" else [known, noise]).astype(np.float32)
    params = quick | {"blocks": 300 if noisy == "a" else 5, "n_members": 6, "max_epochs": 20, "contrastive": None}
    params["hidden_layer_sizes"] = ((32, 16), (32, 16))
    train, test = slice(300), slice(300, None)
    alone = LogisticRegression().fit(known[train], y[train]).score(known[test], y[test])
    model = DualBranchClassifier(**params).fit(X[train], y[train])
    without = DualBranchClassifier(**(params | {"block_dropout": 0})).fit(X[train], y[train])
    assert model.block_weights_[2 if noisy == "a" else 1] > 0.6
    assert model.block_weights_[1 if noisy == "a" else 2] < 0.1
    assert model.score(X[test], y[test]) > alone - 0.04
    assert without.score(X[test], y[test]) < alone - 0.06  # there is something to be gained


@pytest.mark.parametrize("stored", [np.asarray, sp.csr_matrix], ids=["dense", "csr"])
@pytest.mark.parametrize("dead", ["a", "b"])
def test_a_block_that_does_not_vary_is_not_heard(quick, stored, dead):
    """Its scores are the same for all rows; a large weight would do no harm until it varies."""
    rng = np.random.default_rng(0)
    known = rng.normal(size=(1200, 5))
    y = known[:, 0] * known[:, 1] > 0
    blocks = [np.full((1200, 3), 4.0), known] if dead == "a" else [known, np.zeros((1200, 3))]
    params = quick | {"blocks": blocks[0].shape[1], "hidden_layer_sizes": ((64, 32), (64, 32))}
    params |= {"max_epochs": 25, "random_state": 1}
    train, test = slice(200), slice(200, None)
    model = DualBranchClassifier(**params).fit(stored(np.hstack(blocks)[train]), y[train])
    assert model.block_weights_[1 if dead == "a" else 2] == 0
    alive = [block + rng.normal(size=block.shape) if block.shape[1] == 3 else block for block in blocks]
    as_fitted, later = (model.score(stored(np.hstack(each)[test]), y[test]) for each in (blocks, alive))
    assert as_fitted > 0.8
    assert later > as_fitted - 0.1


def test_the_temperature_makes_probabilities_of_noisy_labels_honest(quick):
    """A network that has learnt the noise by heart is sure of itself; its probabilities on new rows aren't."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1200, 6)).astype(np.float32)
    y = (X[:, 0] + X[:, 3] > 0) ^ (rng.random(1200) < 0.25)
    params = quick | {"blocks": 3, "max_epochs": 150, "learning_rate": 1e-2, "dropout": 0.0, "mixup_alpha": 0}
    params["hidden_layer_sizes"] = ((64, 32), (64, 32))
    model = DualBranchClassifier(**(params | {"n_members": 8})).fit(X[:300], y[:300])
    assert model.probability_temperature_ > 1.5
    scores = model.decision_function(X[300:])
    cool = log_loss(y[300:], model.predict_proba(X[300:]))
    hot = log_loss(y[300:], 1 / (1 + np.exp(-scores * model.probability_temperature_)))
    assert cool < hot - 0.05
    sure = np.maximum(*model.predict_proba(X[300:]).T).mean()
    assert sure == pytest.approx(model.score(X[300:], y[300:]), abs=0.08)


def test_offsets_let_rare_classes_be_given_about_as_often_as_they_occur():
    rng = np.random.default_rng(3)
    y = rng.choice(3, 2200, p=[0.6, 0.32, 0.08])
    X = rng.normal(size=(2200, 50)) + (0.9 * rng.normal(size=(3, 50)) * (rng.random(50) < 0.4))[y]
    params = {"hidden_layer_sizes": ((64, 32), (64, 32)), "batch_size": 32, "max_epochs": 40, "projection_dim": 16}
    model = DualBranchClassifier(30, **params, n_members=4, random_state=0, device="cpu").fit(X[:200], y[:200])
    scores, truth = model.decision_function(X[200:]), y[200:]
    with_offsets, without = softmax(scores, axis=1), softmax(scores - model.class_offsets_, axis=1)
    occurs = np.mean(truth == 2)
    assert without[:, 2].mean() < 0.8 * occurs < with_offsets[:, 2].mean() < 1.2 * occurs
    macro_f1 = [f1_score(truth, proba.argmax(axis=1), average="macro") for proba in (with_offsets, without)]
    assert macro_f1[0] > macro_f1[1] + 0.02
    assert log_loss(truth, with_offsets) < 0.9 * log_loss(truth, without)
