"""What fit promises: labels, refusals, reproducibility, continuation, interruption."""

import copy
import math
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from naive import extended, subspace_error
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import log_softmax, softmax
from scipy.stats import norm
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from skorch.callbacks import Callback, Checkpoint, EarlyStopping, EpochScoring

from skdual import DualBranchClassifier, from_prefix
from skdual.network import DualBranchNetwork
from skdual.training.calibration import fit_view_weights, held_out_folds
from skdual.training.net import DualBranchNet


def model_of(quick, **params):
    return DualBranchClassifier(**(quick | params))


def member_scores(model, X, view=0):
    """Scores of each member in one view, (n_members, n, n_classes), by a network of its own with its weights alone."""
    blocks = [torch.from_numpy(np.asarray(X)[:, index]) for index in model.block_indices_]
    parameters = dict(model.network_.named_parameters())
    scores = []
    for member in range(model.network_.n_members):
        alone = one_member(model, member, view)
        with torch.no_grad():
            scores.append(alone.scores(*blocks).numpy())
    assert len(parameters) == len(dict(alone.named_parameters()))
    return np.stack(scores)


def scores_by_blocks(model, X):
    """The same by both blocks, by A and by B, (3, n_members, n, n_classes); or by both only."""
    return np.stack([member_scores(model, X, which) for which in range(len(model.view_weights_))])


def views_of(model):
    """Members of each view, and which blocks they score by: half of the members score by both only."""
    n_members = model.network_.n_members
    plain, regularized = range(n_members // 2), range(n_members // 2, n_members)
    by_single_block = [(regularized, 1), (regularized, 2)] if len(model.view_weights_) == 3 else []
    return [(plain, 0)] * bool(plain) + [(regularized, 0), *by_single_block]


def scores_in_views(model, X):
    """Mean scores of each view, (n_views, n, n_classes)."""
    scores = scores_by_blocks(model, X)
    return np.stack([scores[which, list(members)].mean(axis=0) for members, which in views_of(model)])


def weights_fitted_on(model, scores, y, weight=(1.0, 1.0, 1.0)):
    """Weights of the views by these scores, with the cost of single blocks."""
    by_single_block = np.array([which > 0 for _, which in views_of(model)])
    return fit_view_weights(scores, codes_of(y), np.array(weight), by_single_block)


def held_out_scores_in_views(model, X, folds, rows):
    """Scores in each view of rows by the member of the view that holds out their fold."""
    scores = scores_by_blocks(model, X)
    return np.stack([[scores[which, members[folds[row]], row] for row in rows] for members, which in views_of(model)])


def one_member(model, member, view=0):
    """A network with the weights of one member, that scores by one view as it is."""
    alone = DualBranchNetwork(**(model._settings["module"] | {"n_members": 1}))
    of_members = {name for name, _ in alone.named_parameters()} | {"head.constants"}
    state = {
        name: tensor[[member]] if name in of_members else tensor for name, tensor in model.network_.state_dict().items()
    }
    state["view_weights"] = torch.eye(len(model.view_weights_))[view]
    alone.to(model.network_.view_weights.dtype).load_state_dict(state)
    return alone.eval()


def mean_log_loss(model, X, y):
    """Mean of the members' log losses by both blocks: what is watched on validation rows."""
    return np.mean([log_loss(y, softmax(scores, axis=1), labels=model.classes_) for scores in member_scores(model, X)])


@pytest.fixture
def rows_seen(monkeypatch):
    """A dict with the numbers of the rows that a fit trains on and validates on, as ``train`` and ``valid``."""
    seen = {}
    original = DualBranchNet.partial_fit

    def spy(net, rows, validation=None):
        seen.update(train=rows.subset, valid=validation.subset)
        return original(net, rows, validation=validation)

    monkeypatch.setattr(DualBranchNet, "partial_fit", spy)
    return seen


class RaiseAt(Callback):
    """Raises an exception in the given epoch, from the given hook."""

    def __init__(self, epoch, hook="on_batch_end", exception=KeyboardInterrupt):
        self.epoch = epoch
        self.exception = exception
        setattr(self, hook, self._raise)

    def _raise(self, net, **kwargs):
        if len(net.history) == self.epoch and kwargs.get("training", True):
            raise self.exception


# outputs


def test_outputs_agree_with_each_other(two_blocks, quick):
    X, y = two_blocks
    model = model_of(quick).fit(X, y)
    scores = model.decision_function(X)
    assert scores.shape == (150, 3)
    assert_allclose(model.predict_proba(X), softmax(scores, axis=1), rtol=1e-6)
    assert_allclose(model.predict_log_proba(X), log_softmax(scores, axis=1), rtol=1e-6)
    assert_array_equal(model.predict(X), model.classes_[scores.argmax(axis=1)])
    assert model.score(X, y) == np.mean(model.predict(X) == y)


@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize(
    "params",
    [{}, {"fusion": "attention", "head": "linear"}, {"contrastive": None, "initialization": "orthogonal"}],
    ids=str,
)
@pytest.mark.parametrize("block_dropout", [0, 0.5])
def test_probabilities_are_the_softmax_of_the_weighted_mean_score_over_the_temperature(
    two_blocks, quick, n_members, params, block_dropout
):
    X, y = two_blocks
    params = params | {"n_members": n_members, "block_dropout": block_dropout}
    params["random_state"] = 1  # such that the temperature is not near 1, where it would do nothing
    model = model_of(quick, **params).fit(X, y, X_val=X[::3], y_val=y[::3])
    if n_members > 1:
        scores = scores_by_blocks(model, X)
        assert np.abs(scores - scores.mean(axis=1, keepdims=True)).max() > 0.1  # members differ
    assert model.view_weights_.shape == (3 if block_dropout else 1,)
    assert model.view_weights_.dtype == np.float64
    assert model.view_weights_.sum() == pytest.approx(1, abs=1e-12)
    assert model.view_weights_.min() >= 0
    assert model.probability_temperature_ == pytest.approx(1 / model.network_.view_weights.sum().item())
    assert abs(math.log(model.probability_temperature_)) > 0.05
    weights = model.network_.view_weights.numpy()
    by_blocks = [
        sum(w for w, (_, of) in zip(weights, views_of(model), strict=True) if of == which) for which in (0, 1, 2)
    ]
    assert_allclose(model.view_weights_ * weights.sum(), by_blocks[: len(model.view_weights_)], rtol=1e-5)
    expected = softmax(np.tensordot(weights, scores_in_views(model, X), axes=1), axis=1)
    assert_allclose(model.predict_proba(X), expected, rtol=1e-4, atol=1e-6)


def test_embeddings_are_those_of_the_first_member(two_blocks, quick):
    X, y = two_blocks
    model = model_of(quick, n_members=3).fit(X, y)
    blocks = [torch.from_numpy(X[:, :7]), torch.from_numpy(X[:, 7:])]
    first = one_member(model, 0)
    with torch.no_grad():
        assert_allclose(model.transform(X), first.embed(*blocks).numpy(), rtol=1e-4, atol=1e-5)
        for got, expected in zip(model.transform_branches(X), first.encode(*blocks), strict=True):
            assert_allclose(got, expected.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_members", [1, 3])
def test_two_classes_give_one_score_and_both_errors(two_blocks, quick, n_members):
    X, y = two_blocks
    y = y == "left"
    model = model_of(quick, n_members=n_members).fit(X, y)
    score = model.decision_function(X)
    assert score.shape == (150,)
    assert_allclose(model.predict_proba(X)[:, 1], 1 / (1 + np.exp(-score)), rtol=1e-5)
    errors = model.projection_error(X)
    assert errors.shape == (150, 2)
    scales = np.exp(model.network_.head.log_scale.detach().numpy())
    weights = model.network_.view_weights.tolist()
    scale = sum(weight * scales[list(of)].mean() for weight, (of, _) in zip(weights, views_of(model), strict=True))
    assert_allclose(score, scale * (errors[:, 0] - errors[:, 1]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n_members", [1, 3])
def test_projection_error_is_the_distance_of_the_unit_embedding_to_the_subspaces(two_blocks, quick, n_members):
    X, y = (np.asarray(two_blocks[0], np.float64), two_blocks[1])
    model = model_of(quick, n_members=n_members, random_state=1).fit(X, y)
    head = model.network_.head
    scales = np.exp(head.log_scale.detach().numpy())
    errors, weights = [], []
    views = zip(model.network_.view_weights.tolist(), views_of(model), strict=True)
    for weight, member, which in [(w / len(of), member, which) for w, (of, which) in views for member in of]:
        alone = one_member(model, member)
        bases = head.bases[member].detach().numpy()
        with torch.no_grad():
            h_a, h_b = alone.encode_members(torch.from_numpy(X[:, :7]), torch.from_numpy(X[:, 7:]))
        seen_a, seen_b = [(1, 1), (1, 0), (0, 1)][which]
        with torch.no_grad():
            z = alone.fusion(seen_a * h_a, seen_b * h_b)[0].numpy()
        errors.append(subspace_error(extended(z, member, n_members), bases))
        weights.append(weight * scales[member])
    if n_members > 1:
        assert 0 < model.view_weights_[0] < 1  # a mixture
    naive = np.average(errors, axis=0, weights=weights)
    assert_allclose(model.projection_error(X), naive, rtol=1e-9, atol=1e-12)
    assert (model.projection_error(X) >= 0).all()
    assert_array_equal(model.classes_[model.projection_error(X).argmin(axis=1)], model.predict(X))


def test_a_linear_head_has_no_projection_error(two_blocks, quick):
    model = model_of(quick, head="linear").fit(*two_blocks)
    assert not hasattr(model, "projection_error")
    with pytest.raises(AttributeError, match="no attribute 'projection_error'") as caught:
        model.projection_error(two_blocks[0])
    assert "needs head='subspace'; got head='linear'" in str(caught.value.__cause__)


@pytest.mark.parametrize("fusion", ["concat", "attention"])
def test_transform_is_the_fusion_of_transform_branches(two_blocks, quick, fusion):
    X, y = two_blocks
    model = model_of(quick, fusion=fusion, n_members=1).fit(X, y)
    h_a, h_b = model.transform_branches(X)
    assert (h_a.shape, h_b.shape) == ((150, 8), (150, 8))
    with torch.no_grad():
        z = model.network_.fusion(torch.from_numpy(h_a[None]), torch.from_numpy(h_b[None]))[0].numpy()
    assert_allclose(model.transform(X), z, rtol=1e-5, atol=1e-6)
    assert len(model.get_feature_names_out()) == z.shape[1] == 16


def test_each_branch_reads_its_own_block(two_blocks, quick):
    X, y = two_blocks
    model = model_of(quick).fit(X, y)
    changed = X.copy()
    changed[:, 7:] += 1
    (a, b), (a_changed, b_changed) = model.transform_branches(X), model.transform_branches(changed)
    assert_array_equal(a, a_changed)
    assert not np.allclose(b, b_changed)


def test_unfitted(quick, two_blocks):
    for method in ("predict", "transform", "projection_error", "score_samples"):
        with pytest.raises(NotFittedError):
            getattr(model_of(quick), method)(two_blocks[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_computes_in_the_precision_of_the_data(two_blocks, quick, dtype):
    X = two_blocks[0].astype(dtype)
    model = model_of(quick).fit(X, two_blocks[1])
    assert model.transform(X).dtype == model.predict_proba(X).dtype == dtype


def test_bfloat16_trains_in_it_and_predicts_in_float32(two_blocks, quick):
    X, y = two_blocks
    model = model_of(quick, precision="bfloat16", max_epochs=30).fit(X, y)
    assert model.predict_proba(X).dtype == np.float32
    assert model.score(X, y) > 0.9
    plain = model_of(quick, max_epochs=30).fit(X, y)
    assert model.history_[0]["train_loss"] != plain.history_[0]["train_loss"]
    assert_allclose(model.history_[0]["train_loss"], plain.history_[0]["train_loss"], rtol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["concat", "attention"])
def test_compile_gives_the_numbers_of_the_plain_module_and_is_saved(two_blocks, quick, fusion):
    X, y = two_blocks
    params = {"fusion": fusion, "dropout": 0.0, "block_dropout": 0.0}
    compiled, plain = (model_of(quick, compile=c, **params).fit(X, y) for c in (True, False))
    assert_allclose(compiled.predict_proba(X), plain.predict_proba(X), rtol=1e-3, atol=1e-4)
    assert_array_equal(copy.deepcopy(compiled).predict_proba(X), compiled.predict_proba(X))


# labels


@pytest.mark.parametrize(
    "labels",
    [["a", "b", "c"], [-1, 0, 7], [1.0, 2.0, 3.0], [True, False, True], np.array(["x", "y", "z"], object)],
    ids=["str", "negative", "whole floats", "bool", "object"],
)
def test_labels_of_any_kind_come_back_as_they_are(two_blocks, quick, labels):
    X, y = two_blocks
    codes = np.unique(y, return_inverse=True)[1]
    y = np.asarray(labels)[codes]
    model = model_of(quick, max_epochs=40).fit(X, y)
    assert_array_equal(model.classes_, np.unique(y))
    assert model.predict(X).dtype == y.dtype
    assert model.score(X, y) > 0.9


def test_a_thousand_classes(quick):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(1000), 2)
    X = (rng.normal(size=(1000, 12))[y] + 0.01 * rng.normal(size=(2000, 12))).astype(np.float32)
    wide = {"hidden_layer_sizes": ((64,), (64,)), "batch_size": 250, "max_epochs": 15, "learning_rate": 1e-2}
    model = model_of(quick, **wide, dropout=0.0, n_members=1).fit(X, y)
    assert model.predict_proba(X).shape == (2000, 1000)
    assert model.score(X, y) > 0.9


def test_classes_with_one_row(two_blocks, quick):
    X, y = two_blocks[0], two_blocks[1].astype("U10")
    y[0], y[1] = "once", "only"
    for sampling in ("shuffle", "class_aware"):
        by_heart = {"max_epochs": 60, "dropout": 0.0, "block_dropout": 0, "learning_rate": 1e-2}
        model = model_of(quick, sampling=sampling, **by_heart).fit(X, y)
        assert model.predict(X[:2]).tolist() == ["once", "only"]
        for scores in member_scores(model, X[:2]):  # every member has seen the only row of a class
            assert model.classes_[scores.argmax(axis=1)].tolist() == ["once", "only"]


def test_two_rows_of_two_classes_leave_nothing_to_hold_out(quick):
    model = model_of(quick, blocks=1).fit([[0.0, 1.0], [1.0, 0.0]], ["a", "b"])
    assert model.probability_temperature_ == 1.0
    assert model.view_weights_.tolist() == [1, 0, 0]


def test_class_weight_is_the_same_as_repeating_rows(two_blocks, quick):
    """On the full batch, weight 3 for a class is the gradient of its rows three times."""
    X, y = two_blocks
    plain = {"dropout": 0.0, "contrastive": None, "standardize": False, "gradient_clip": None}
    plain |= {"n_members": 1, "mixup_alpha": 0, "block_dropout": 0}
    left = np.flatnonzero(y == "left")
    repeated = np.concatenate([np.arange(150), left, left])
    weighted = model_of(quick, class_weight={"left": 3}, batch_size=150, **plain).fit(X, y)
    doubled = model_of(quick, batch_size=len(repeated), **plain).fit(X[repeated], y[repeated])
    assert_allclose(weighted.predict_proba(X), doubled.predict_proba(X), rtol=1e-2, atol=1e-3)
    balanced = model_of(quick, class_weight="balanced", **plain).fit(X, y)
    counts = {label: 150 / (3 * np.sum(y == label)) for label in np.unique(y)}
    by_hand = model_of(quick, class_weight=counts, **plain).fit(X, y)
    assert_array_equal(balanced.predict_proba(X), by_hand.predict_proba(X))


@pytest.mark.slow
@pytest.mark.parametrize("sampling", ["shuffle", "class_aware"])
def test_probabilities_are_the_posteriors_of_overlapping_gaussians(sampling):
    """However the batches are drawn: the class-aware ones are corrected for their resampling."""
    rng = np.random.default_rng(0)
    priors, means = np.array([0.8, 0.15, 0.05]), np.array([0.0, 1.5, 3.0])

    def draw(n):
        y = rng.choice(3, size=n, p=priors)
        return means[y][:, None] + rng.normal(size=(n, 2)), y

    X, y = draw(4000)
    X_test, _ = draw(3000)
    density = priors * np.prod(norm.pdf(X_test[:, None, :], loc=means[:, None]), axis=2)
    posterior = density / density.sum(axis=1, keepdims=True)
    model = DualBranchClassifier(
        blocks=1,
        hidden_layer_sizes=((32, 16), (32, 16)),
        dropout=0.0,
        fusion="concat",
        batch_size=96,
        sampling=sampling,
        max_epochs=25,
        random_state=0,
    )
    proba = model.fit(X.astype(np.float32), y).predict_proba(X_test.astype(np.float32))
    assert np.abs(proba - posterior).mean() < 0.05  # 0.12 without the correction
    assert_allclose(proba.mean(axis=0), posterior.mean(axis=0), atol=0.02)


# members and the rows they hold out


def codes_of(y):
    return np.searchsorted(["left", "middle", "right"], y)


def members_weights(model):
    """Of each member, all its parameters in a row."""
    return np.concatenate([p.detach().flatten(1).numpy() for p in model.network_.parameters() if p.ndim > 1], axis=1)


OF_HELD_OUT_ROWS = {
    "default": {},
    "no mixing": {"mixup_alpha": 0},
    "always mixing": {"mixup_alpha": 1.0, "batch_size": 150},
    "self-supervised": {"contrastive": "self_supervised"},
    "bank": {"memory_bank_size": 60, "mixup_alpha": 0},
    "bank, mixing": {"memory_bank_size": 60},
    "no block dropout": {"block_dropout": 0},
    "attention, linear": {"fusion": "attention", "head": "linear"},
    "small batches": {"batch_size": 4, "max_epochs": 2},
}


@pytest.mark.parametrize("changed", ["features", "labels"])
@pytest.mark.parametrize("params", OF_HELD_OUT_ROWS.values(), ids=OF_HELD_OUT_ROWS.keys())
def test_a_member_does_not_depend_on_the_rows_that_it_holds_out(two_blocks, quick, params, changed, monkeypatch):
    X, y = two_blocks
    params = {"standardize": False, "n_members": 3, "dropout": 0.1} | params
    of_members = [0, 0, 1]
    folds = held_out_folds(codes_of(y), 2)
    for module in ("net", "fitting"):  # the same, though labels change
        monkeypatch.setattr(f"skdual.training.{module}.held_out_folds", lambda codes, n_held_out: folds)
    X = X / 10
    expected = members_weights(model_of(quick, **params).fit(X, y))
    for fold in set(of_members):
        other_X, other_y = X.copy(), y.copy()
        if changed == "features":
            other_X[folds == fold] = np.random.default_rng(0).normal(size=X.shape)[folds == fold]
        else:
            other_y[folds == fold] = np.roll(y[folds == fold], 5)
        assert np.any(other_X != X) or np.any(other_y != y)
        weights = members_weights(model_of(quick, **params).fit(other_X, other_y))
        for member in range(3):
            if of_members[member] == fold:
                assert_array_equal(weights[member], expected[member])
            else:
                assert np.abs(weights[member] - expected[member]).max() > 1e-3


@pytest.mark.parametrize(
    ("base", "changed"),
    [
        ({"dropout": 0.1}, {"dropout": 0.6}),
        ({"mixup_alpha": 0.2}, {"mixup_alpha": 5.0}),
        ({"block_dropout": 0.1}, {"block_dropout": 0.9}),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "params", [{}, {"fusion": "attention", "normalization": "batch", "contrastive": None}], ids=str
)
def test_the_first_half_of_the_members_knows_no_regularisation(two_blocks, quick, params, base, changed):
    X, y = two_blocks
    first, other = (
        members_weights(model_of(quick, n_members=3, **params | some).fit(X, y)) for some in (base, changed)
    )
    assert_allclose(other[0], first[0], rtol=0, atol=1e-5)
    for member in (1, 2):
        assert np.abs(other[member] - first[member]).max() > 1e-3


def assert_view_weights(model, expected):
    assert model.probability_temperature_ == pytest.approx(1 / expected.sum(), rel=1e-4)
    shares = np.zeros(len(model.view_weights_))
    for (_, which), weight in zip(views_of(model), expected, strict=True):
        shares[which] += weight / expected.sum()
    assert_allclose(model.view_weights_, shares, rtol=1e-3, atol=1e-4)
    assert_allclose(model.network_.view_weights, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("block_dropout", [0, 0.5])
def test_the_view_weights_are_fitted_on_held_out_and_validation_rows(two_blocks, quick, block_dropout):
    X, y = two_blocks
    params = {"n_members": 4, "class_weight": {"left": 3}, "block_dropout": block_dropout}
    model = model_of(quick, **params).fit(X, y)
    folds = held_out_folds(codes_of(y), 2)
    rows = [row for row in range(150) if folds[row] in (0, 1)]
    held_out = held_out_scores_in_views(model, X, folds, rows)
    weight = np.array([3.0, 1.0, 1.0])
    weight /= weight[codes_of(y)].mean()
    assert_view_weights(model, weights_fitted_on(model, held_out, y[rows], weight))
    X_val, y_val = X[:40], np.roll(y, 1)[:40]
    watched = model_of(quick, **params).fit(X, y, X_val=X_val, y_val=y_val)
    seen = np.concatenate([held_out, scores_in_views(model, X_val)], axis=1)
    assert_view_weights(watched, weights_fitted_on(watched, seen, np.concatenate([y[rows], y_val]), weight))
    assert watched.probability_temperature_ > 1.1 * model.probability_temperature_  # for most of these labels are wrong


def test_with_early_stopping_held_out_rows_are_training_rows(two_blocks, quick, rows_seen):
    X, y = two_blocks
    for n_members in (1, 3):
        model = model_of(quick, early_stopping=True, validation_fraction=0.3, n_members=n_members).fit(X, y)
        chosen, fitted_on = scores_in_views(model, X)[:, rows_seen["valid"]], rows_seen["valid"]
        if n_members == 3:
            folds = np.full(150, -1)
            folds[rows_seen["train"]] = held_out_folds(codes_of(y[rows_seen["train"]]), 2)
            held_out = np.flatnonzero(folds == 0)  # which one member of either half holds out
            chosen = np.concatenate([held_out_scores_in_views(model, X, folds, held_out), chosen], axis=1)
            fitted_on = np.concatenate([held_out, fitted_on])
        assert_view_weights(model, weights_fitted_on(model, chosen, y[fitted_on]))


@pytest.mark.parametrize(("block_dropout", "unfitted"), [(0, [1]), (0.5, [1, 0, 0])])
def test_one_member_has_view_weights_from_validation_rows_only(two_blocks, quick, block_dropout, unfitted):
    X, y = two_blocks
    params = {"n_members": 1, "block_dropout": block_dropout}
    without = model_of(quick, **params).fit(X, y)
    assert without.view_weights_.tolist() == unfitted
    assert without.probability_temperature_ == 1.0
    assert isinstance(without.probability_temperature_, float)
    scores = scores_in_views(without, X)
    assert_allclose(without.decision_function(X), scores[0], rtol=1e-5, atol=1e-5)
    given = model_of(quick, **params).fit(X, y, X_val=X[:40], y_val=y[:40])
    expected = weights_fitted_on(given, scores_in_views(given, X[:40]), y[:40])
    assert_view_weights(given, expected)
    assert abs(math.log(expected.sum())) > 0.05
    by_hand = np.tensordot(expected, scores, axes=1)
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
    assert model.view_weights_[2 if noisy == "a" else 1] > 0.6
    assert model.view_weights_[1 if noisy == "a" else 2] < 0.1
    assert model.score(X[test], y[test]) > alone - 0.04
    assert without.score(X[test], y[test]) < alone - 0.06  # there is something to be gained


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


# kinds of input


def test_csr_and_csc_give_the_model_of_the_dense_array_and_are_never_made_dense(two_blocks, quick, monkeypatch):
    X, y = two_blocks
    X = np.where(np.abs(X) < 1.5, 0, X)
    for cells in ("_CHUNK_CELLS", "_PART_CELLS"):
        monkeypatch.setattr(f"skdual.inputs.rows.{cells}", 1)  # for all: products of other sizes round otherwise
    dense = model_of(quick).fit(X, y)
    made_dense = []
    for name in ("toarray", "todense"):
        original = getattr(sp.csr_matrix, name)

        def note(matrix, *args, _original=original, **kwargs):
            made_dense.append(matrix.shape[0])
            return _original(matrix, *args, **kwargs)

        monkeypatch.setattr(sp.csr_matrix, name, note)
    for kind in (sp.csr_matrix, sp.csc_matrix):
        sparse = model_of(quick).fit(kind(X), y)
        assert_array_equal(sparse.predict_proba(kind(X)), dense.predict_proba(X))
        assert_array_equal(sparse.transform(kind(X)), dense.transform(X))
    assert max(made_dense, default=0) <= 16


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_by_name(two_blocks, quick, library):
    X, y = two_blocks
    names = [f"rna__{i}" for i in range(7)] + [f"protein__{i}" for i in range(5)]
    order = np.random.default_rng(0).permutation(12)
    make = pd.DataFrame if library == "pandas" else lambda data, columns: pl.DataFrame(data, schema=columns)
    frame = make(X[:, order], columns=[names[i] for i in order])
    model = model_of(quick, blocks=from_prefix("rna__", "protein__")).fit(frame, y)
    assert model.block_names_ == ("rna", "protein")
    for index, prefix in zip(model.block_indices_, ("rna__", "protein__"), strict=True):
        assert all(model.feature_names_in_[i].startswith(prefix) for i in index)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[[*frame.columns[1:], frame.columns[0]]])
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[list(frame.columns[1:])])
    with pytest.raises(ValueError, match="11 features"):
        model.predict(np.asarray(frame)[:, 1:])


def test_blocks_none_gives_every_column_to_both_branches(two_blocks, quick):
    model = model_of(quick, blocks=None).fit(*two_blocks)
    for index in model.block_indices_:
        assert_array_equal(index, np.arange(12))


def test_columns_of_other_scale_do_not_matter_when_standardised(two_blocks, quick):
    X, y = two_blocks[0].astype(np.float64), two_blocks[1]
    scaled = X * np.logspace(-2, 2, 12) + np.linspace(-5, 5, 12)
    probabilities = [model_of(quick).fit(data, y).predict_proba(data) for data in (X, scaled)]
    assert_allclose(*probabilities, rtol=1e-6, atol=1e-8)
    assert not np.allclose(probabilities[0], model_of(quick, standardize=False).fit(scaled, y).predict_proba(scaled))


# refusals


def fitted_state(model):
    """Everything predictions and attributes depend on, for a comparison before and after."""
    state = model.__getstate__()
    return {name: value for name, value in state.items() if name not in model.get_params()}


BAD_PARAMS = {
    "blocks": 99,
    "standardize": "yes",
    "hidden_layer_sizes": (8, 8),
    "dropout": 1.5,
    "activation": "relu6",
    "normalization": "none",
    "initialization": "zeros",
    "fusion": "sum",
    "block_dropout": 1,
    "token_dim": 0,
    "attention_heads": 3,
    "projection_dim": 0,
    "contrastive": "triplet",
    "contrastive_weight": -1,
    "temperature": 0,
    "memory_bank_size": -1,
    "head": "svm",
    "subspace_dim": 999,
    "orthogonality_weight": -0.1,
    "n_members": 0,
    "mixup_alpha": -1,
    "class_weight": {"nobody": 1},
    "label_smoothing": 1.0,
    "batch_size": 1,
    "sampling": "random",
    "classes_per_batch": 2,
    "samples_per_class": 2,
    "max_epochs": 0,
    "learning_rate": 0,
    "weight_decay": -1,
    "warmup": 2,
    "gradient_clip": 0,
    "early_stopping": "no",
    "validation_fraction": 0,
    "patience": 0,
    "warm_start": 2,
    "rejection_quantile": 1,
    "rejection_label": "left",
    "device": "abacus",
    "precision": "float8",
    "compile": "no",
    "random_state": "seed",
    "verbose": -1,
    "callbacks": 3,
    "net_params": {"no_such_argument": 1},
}


def test_every_parameter_has_a_bad_value_here():
    assert set(BAD_PARAMS) == set(DualBranchClassifier().get_params())


@pytest.mark.parametrize("name", BAD_PARAMS)
def test_a_bad_parameter_is_named_and_changes_nothing(two_blocks, quick, name):
    X, y = two_blocks
    model = model_of(quick, max_epochs=1, fusion="attention").fit(X, y)
    before, proba = fitted_state(model), model.predict_proba(X)
    model.set_params(**{name: BAD_PARAMS[name]})
    with pytest.raises((ValueError, TypeError), match=name):
        model.fit(X[:, :10], y == "left")
    after = fitted_state(model)
    assert before.keys() == after.keys()
    assert model.n_features_in_ == 12
    assert_array_equal(model.predict_proba(X), proba)


@pytest.mark.parametrize("block_dropout", [1, 1.0, -0.1, 7, "half", None, (0.5, 0.5), float("nan")])
def test_block_dropout_is_a_fraction_below_1(two_blocks, quick, block_dropout):
    with pytest.raises(ValueError, match=r"'block_dropout' parameter .* must be a float in the range \[0.0, 1.0\)"):
        model_of(quick, block_dropout=block_dropout).fit(*two_blocks)


@pytest.mark.parametrize("n_members", [0, -1, 1.5, "many", None, (2, 3)])
def test_n_members_is_auto_or_a_positive_int(two_blocks, quick, n_members):
    with pytest.raises(ValueError, match=r"'n_members' parameter .* must be a str among {'auto'} or an int in"):
        model_of(quick, n_members=n_members).fit(*two_blocks)


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"memory_bank_size": 5, "contrastive": None}, ["memory_bank_size=5", "contrastive=None"]),
        ({"memory_bank_size": 5, "contrastive_weight": 0.0}, ["memory_bank_size=5", "contrastive_weight=0.0"]),
        (
            {"classes_per_batch": 2, "samples_per_class": 4, "batch_size": 32, "sampling": "class_aware"},
            ["classes_per_batch=2", "samples_per_class=4", "batch_size=32"],
        ),
        ({"classes_per_batch": 4, "sampling": "class_aware"}, ["classes_per_batch=4", "3 classes"]),
        (
            {"samples_per_class": 40, "batch_size": 32, "sampling": "class_aware"},
            ["samples_per_class=40", "batch_size=32"],
        ),
        ({"classes_per_batch": 2}, ["classes_per_batch=2", "sampling='shuffle'"]),
        ({"attention_heads": 3, "token_dim": 4, "fusion": "attention"}, ["attention_heads=3", "token_dim=4"]),
        ({"net_params": {"iterator_train__num_workers": 2}}, ["net_params", "iterator_train__num_workers"]),
    ],
)
def test_contradictions_are_errors_that_name_both_sides(two_blocks, quick, params, named):
    with pytest.raises(ValueError, match=".*".join(named)):
        model_of(quick, **params).fit(*two_blocks)


def test_a_fit_that_fails_on_the_way_changes_nothing(two_blocks, quick):
    X, y = two_blocks
    model = model_of(quick, warm_start=True).fit(X, y)
    proba = model.predict_proba(X)
    model.set_params(callbacks=[RaiseAt(2, exception=RuntimeError)])
    with pytest.raises(RuntimeError):
        model.fit(X, y)
    assert model.n_epochs_ == 4
    assert_array_equal(model.predict_proba(X), proba)


@pytest.mark.parametrize("to_matrix", [np.asarray, sp.csr_matrix], ids=["dense", "csr"])
def test_cells_too_large_for_float32_are_refused_where_it_is_computed_in(two_blocks, quick, to_matrix):
    X, y = two_blocks[0].astype(np.float64), two_blocks[1]
    huge = X.copy()
    huge[3, 2] = -1e200
    X, huge = to_matrix(X), to_matrix(huge)
    model = model_of(quick, precision="float32", max_epochs=1)
    for call, name in [
        (lambda: model.fit(huge, y), "X"),
        (lambda: model.fit(X, y, X_val=huge, y_val=y), "X_val"),
        (lambda: model.fit(X, y).predict(huge), "X"),
    ]:
        with pytest.raises(ValueError, match=f"^{name} contains cells beyond .* float32"):
            call()
    assert np.isfinite(model_of(quick, max_epochs=1).fit(X, y).predict_proba(huge)).all()


def test_booleans_are_no_labels_of_numbers(two_blocks, quick):
    X, y = two_blocks
    with pytest.raises(ValueError, match=r"^y_val must hold numbers, as the classes are; got booleans"):
        model_of(quick).fit(X, (y == y[0]) + 0, X_val=X, y_val=y == y[0])


def test_feature_names_are_forgotten_by_a_fit_without_names(two_blocks, quick):
    X, y = two_blocks
    model = model_of(quick, max_epochs=1).fit(pd.DataFrame(X, columns=[f"c{i}" for i in range(12)]), y)
    assert list(model.feature_names_in_) == [f"c{i}" for i in range(12)]
    assert not hasattr(model.fit(X, y), "feature_names_in_")


@pytest.mark.parametrize(
    ("params", "term"),
    [({"learning_rate": 1e30, "gradient_clip": None}, "_loss"), ({"temperature": 1e-44}, "contrastive_loss")],
)
def test_a_loss_that_is_not_finite_stops_with_epoch_term_and_remedy(two_blocks, quick, params, term):
    with pytest.raises(ValueError, match=rf"{term} became NaN or infinite in epoch 1, batch [12] ") as caught:
        model_of(quick, **params).fit(*two_blocks)
    assert any(name in str(caught.value) for name in params)


# random state


def test_a_seed_fixes_the_result_and_leaves_global_random_state_alone(two_blocks, quick):
    X, y = two_blocks
    params = {"memory_bank_size": 16, "sampling": "class_aware", "early_stopping": True}

    def states():
        return torch.random.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002 - the global state is meant

    before = states()
    first, second = (model_of(quick, **params).fit(X, y) for _ in range(2))
    copy.deepcopy(first)
    assert states() == before
    assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    assert [e["train_loss"] for e in first.history_] == [e["train_loss"] for e in second.history_]
    other = model_of(quick, random_state=1, **params).fit(X, y)
    assert not np.allclose(first.predict_proba(X), other.predict_proba(X))


def test_without_a_seed_numpys_decides(two_blocks, quick):
    X, y = two_blocks
    probabilities = []
    for seed in (3, 3, 4):
        np.random.seed(seed)  # noqa: NPY002 - the legacy global state is what random_state=None reads
        probabilities.append(model_of(quick, random_state=None, max_epochs=1).fit(X, y).predict_proba(X))
    assert_array_equal(probabilities[0], probabilities[1])
    assert not np.allclose(probabilities[0], probabilities[2])


# history, early stopping, interruption, warm start


def test_history_has_every_term_of_every_epoch(two_blocks, quick):
    X, y = two_blocks
    model = model_of(quick).fit(X, y, X_val=X[:40], y_val=y[:40])
    terms = ["loss", "classification_loss", "contrastive_loss", "orthogonality_loss"]
    expected = {"train_loss", *terms[1:], *(f"valid_{term}" for term in terms), "learning_rate", "duration"}
    assert len(model.history_) == model.n_epochs_ == 4
    for epoch in model.history_:
        assert set(epoch) == expected
        for prefix, total in (("", "train_loss"), ("valid_", "valid_loss")):
            parts = [epoch[prefix + term] for term in terms[1:]]
            weights = [1, model.contrastive_weight, model.orthogonality_weight]
            assert_allclose(epoch[total], np.dot(parts, weights), rtol=1e-5)


def test_validation_loss_is_the_log_loss(two_blocks, quick):
    X, y = two_blocks
    for n_members in (1, 3):
        model = model_of(quick, n_members=n_members).fit(X, y, X_val=X[:40], y_val=y[:40])
        expected = mean_log_loss(model, X[:40], y[:40])
        assert_allclose(model.history_[-1]["valid_classification_loss"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("params", "term"),
    [
        ({"contrastive_weight": 0.0}, "contrastive_loss"),
        ({"contrastive": None}, "contrastive_loss"),
        ({"orthogonality_weight": 0.0}, "orthogonality_loss"),
        ({"head": "linear"}, "orthogonality_loss"),
    ],
)
def test_a_term_that_is_off_is_neither_computed_nor_recorded(two_blocks, quick, params, term, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("computed")

    name = {"contrastive_loss": "contrastive_loss", "orthogonality_loss": "orthonormality_penalty"}[term]
    monkeypatch.setattr(f"skdual.losses.composite.{name}", fail)
    model = model_of(quick, **params).fit(*two_blocks)
    assert all(term not in epoch for epoch in model.history_)
    if term == "contrastive_loss":
        assert len(model.network_.projections) == 0


def test_max_epochs_is_exact(two_blocks, quick):
    assert model_of(quick, max_epochs=7).fit(*two_blocks).n_epochs_ == 7


def test_early_stopping_restores_the_best_weights(two_blocks, quick):
    X, y = two_blocks
    noisy = np.random.default_rng(0).permutation(y)  # nothing to learn: validation soon gets worse
    model = model_of(quick, early_stopping=True, patience=3, max_epochs=200, learning_rate=1e-2)
    model.fit(X, noisy, X_val=X[:50], y_val=noisy[::-1][:50])
    losses = [epoch["valid_classification_loss"] for epoch in model.history_]
    assert model.n_epochs_ < 200
    assert np.argmin(losses) == model.n_epochs_ - 1 - 3
    assert_allclose(mean_log_loss(model, X[:50], noisy[::-1][:50]), min(losses), rtol=1e-5)


def test_early_stopping_sets_a_stratified_part_aside(two_blocks, quick, rows_seen):
    X, y = two_blocks
    model_of(quick, early_stopping=True, validation_fraction=0.2).fit(X, y)
    train, valid = rows_seen["train"], rows_seen["valid"]
    assert_array_equal(np.sort(np.concatenate([train, valid])), np.arange(150))
    shares = [[np.mean(y[part] == label) for label in np.unique(y)] for part in (train, valid)]
    assert_allclose(*shares, atol=0.03)


def test_too_few_rows_for_a_validation_part_is_an_error(two_blocks, quick):
    X, y = two_blocks
    with pytest.raises(ValueError, match=r"validation_fraction=0\.1 of 12 rows"):
        model_of(quick, early_stopping=True).fit(X[:12], y[:12])


@pytest.mark.parametrize("hook", ["on_batch_end", "on_epoch_end"])
def test_an_interrupt_keeps_the_last_finished_epoch_and_warns(two_blocks, quick, hook):
    X, y = two_blocks
    finished = 3 if hook == "on_epoch_end" else 2
    interrupted = model_of(quick, callbacks=[RaiseAt(3, hook)])
    with pytest.warns(UserWarning, match=f"interrupted after {finished} of 4 epochs"):
        interrupted.fit(X, y)
    assert interrupted.n_epochs_ == len(interrupted.history_) == finished
    kept = model_of(quick, callbacks=[RaiseAt(finished, "on_epoch_end")])
    with pytest.warns(UserWarning, match="interrupted"):
        kept.fit(X, y)
    assert_array_equal(interrupted.predict_proba(X), kept.predict_proba(X))


def test_an_interrupt_with_early_stopping_keeps_the_best_epoch(two_blocks, quick):
    X, y = two_blocks
    model = model_of(
        quick, early_stopping=True, patience=99, max_epochs=30, learning_rate=0.05, callbacks=[RaiseAt(25)]
    )
    with pytest.warns(UserWarning, match="interrupted after 24 of 30"):
        model.fit(X, y, X_val=X[:40], y_val=y[::-1][:40])
    losses = [epoch["valid_classification_loss"] for epoch in model.history_]
    assert_allclose(mean_log_loss(model, X[:40], y[::-1][:40]), min(losses), rtol=1e-4)


def test_an_interrupt_before_the_first_epoch_is_finished_leaves_the_model_as_it_was(two_blocks, quick):
    X, y = two_blocks
    model = model_of(quick, callbacks=[RaiseAt(1)])
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    with pytest.raises(NotFittedError):
        model.predict(X)


def test_skorchs_early_stopping_stops_without_a_warning(two_blocks, quick, recwarn):
    model = model_of(quick, callbacks=[EarlyStopping("train_loss", patience=2, threshold=10.0)]).fit(*two_blocks)
    assert model.n_epochs_ == 3
    assert not [w for w in recwarn if "interrupted" in str(w.message)]


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


def test_warm_start_with_columns_in_another_order_is_refused(two_blocks, quick):
    X, y = pd.DataFrame(two_blocks[0]).add_prefix("column "), two_blocks[1]
    model = model_of(quick, warm_start=True).fit(X, y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match=r"column 2 is 'column 2', but in X it is 'column 3'"):
        model.fit(X.iloc[:, [0, 1, 3, 2, *range(4, 12)]], y)
    assert_array_equal(model.predict_proba(X), before)
    assert model.fit(X.to_numpy(), y).n_epochs_ == 2 * model.max_epochs  # without names there is nothing to compare


@pytest.mark.parametrize("beside", ["transform", "transform_branches", "predict_proba"])
def test_a_model_answers_in_threads_as_in_one(two_blocks, quick, beside):
    X, y = two_blocks
    model = model_of(quick, n_members=4).fit(X, y)
    expected = {name: np.hstack(getattr(model, name)(X)) for name in {"transform", beside}}
    with ThreadPoolExecutor(4) as threads:
        answers = threads.map(lambda name: (name, np.hstack(getattr(model, name)(X))), 60 * sorted(expected))
        for name, answer in answers:
            assert_array_equal(answer, expected[name])


def test_fits_in_threads_give_what_they_give_one_after_the_other(two_blocks, quick):
    X, y = two_blocks
    expected = [model_of(quick, random_state=seed).fit(X, y).predict_proba(X) for seed in range(4)]
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    with ThreadPoolExecutor(4) as threads:
        models = threads.map(lambda seed: model_of(quick, random_state=seed).fit(X, y), range(4))
        got = [model.predict_proba(X) for model in models]
    assert_array_equal(got, expected)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_view_weights_are_fitted_anew_by_every_warm_start(two_blocks, quick):
    X, y = two_blocks
    model = model_of(quick, n_members=1, warm_start=True).fit(X, y, X_val=X[:40], y_val=y[:40])
    assert model.probability_temperature_ != 1
    again = copy.deepcopy(model).fit(X, y)
    assert again.probability_temperature_ == 1
    assert again.network_.view_weights.tolist() == again.view_weights_.tolist() == [1, 0, 0]
    model.fit(X, y, X_val=X[:40], y_val=y[:40])
    assert_view_weights(model, weights_fitted_on(model, scores_in_views(model, X[:40]), y[:40]))
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
        ({"token_dim": 8}, slice(None), "token_dim"),
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


# skorch


@pytest.mark.parametrize("n_members", [1, 2])
def test_callbacks_are_copied_and_scoring_callbacks_work(two_blocks, quick, n_members):
    X, y = two_blocks
    scoring = EpochScoring("accuracy", lower_is_better=False, name="valid_acc")
    model = model_of(quick, n_members=n_members, callbacks=[scoring]).fit(X, y, X_val=X[:40], y_val=y[:40])
    assert not hasattr(scoring, "best_score_")
    by_both_blocks = model.classes_[member_scores(model, X[:40]).mean(axis=0).argmax(axis=1)]
    assert model.history_[-1]["valid_acc"] == pytest.approx(np.mean(by_both_blocks == y[:40]))


@pytest.mark.parametrize(("monitor", "validation"), [("valid_loss_best", True), ("train_loss_best", False)])
def test_checkpoints_are_written_where_the_loss_is_the_lowest_so_far(two_blocks, quick, tmp_path, monitor, validation):
    X, y = two_blocks
    rows = {"X_val": X[:40], "y_val": np.roll(y[:40], 1)} if validation else {}
    checkpoint = Checkpoint(monitor=monitor, dirname=tmp_path, f_params="epoch_{last_epoch[epoch]}.pt")
    model = model_of(quick, max_epochs=8, learning_rate=0.05, callbacks=[checkpoint]).fit(X, y, **rows)
    losses = [epoch[monitor.removesuffix("_best")] for epoch in model.history_]
    lowest = [epoch for epoch in range(1, 9) if losses[epoch - 1] == min(losses[:epoch])]
    assert sorted(path.name for path in tmp_path.glob("epoch_*")) == [f"epoch_{epoch}.pt" for epoch in lowest]
    assert not [name for name in model.history_[-1] if name.endswith("_best")]


def test_net_params_are_merged_last(two_blocks, quick):
    params = {"optimizer__betas": (0.5, 0.9), "lr": 0.123, "max_epochs": 2}
    model = model_of(quick, net_params=params).fit(*two_blocks)
    assert model.net_.optimizer_.defaults["betas"] == (0.5, 0.9)
    assert model.net_.optimizer_.defaults["lr"] == 0.123
    assert model.n_epochs_ == 2
    sgd = model_of(quick, net_params={"optimizer": torch.optim.SGD}).fit(*two_blocks)
    assert isinstance(sgd.net_.optimizer_, torch.optim.SGD)
