"""Labels of any kind, few rows of a class, class weights and the priors of classes."""

import numpy as np
import pytest
from member_scores import member_scores, model_of
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm

from skdual import DualBranchClassifier


@pytest.mark.parametrize(
    "labels",
    [["a", "b", "c"], [-1, 0, 7], [1.0, 2.0, 3.0], [True, False, True], np.array(["x", "y", "z"], object)],
    ids=["str", "negative", "whole floats", "bool", "object"],
)
def test_labels_of_any_kind_come_back_as_they_are(two_blocks, quick, labels):
    X, y = two_blocks
    codes = np.unique(y, return_inverse=True)[1]
    y = np.asarray(labels)[codes]
    model = model_of(quick, max_epochs=10, learning_rate=1e-2).fit(X, y)
    assert_array_equal(model.classes_, np.unique(y))
    assert model.predict(X).dtype == y.dtype
    assert model.score(X, y) > 0.9


def test_labels_of_the_other_byte_order_have_the_usual_one_as_after_loading(two_blocks, quick):
    X, y = two_blocks
    codes = np.unique(y, return_inverse=True)[1]
    swapped = codes.astype(np.dtype("i4").newbyteorder())
    assert model_of(quick, max_epochs=1).fit(X, swapped).predict(X).dtype == np.dtype("i4")


def test_fit_of_a_thousand_classes(quick):
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
    assert model.block_weights_.tolist() == [1, 0, 0]


def test_rows_that_only_one_half_of_the_members_holds_out_are_not_calibrated_on(quick):
    rows = np.random.default_rng(0).normal(size=(5, 4))
    model = model_of(quick, blocks=2, n_members=3).fit(rows, ["a", "b", "b", "b", "b"])
    assert model.block_weights_.tolist() == [1, 0, 0]


def test_class_weight_is_the_same_as_repeating_rows(two_blocks, quick, monkeypatch):
    """On the full batch, weight 3 for a class is the gradient of its rows three times."""
    # to which rows three times are more evidence
    monkeypatch.setattr("skdual.training.fitting.set_relevance", lambda *arguments: None)
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
