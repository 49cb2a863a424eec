"""What is recorded of every epoch."""

import json

import numpy as np
import pytest
from member_scores import mean_log_loss, model_of
from numpy.testing import assert_allclose


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


def test_history_is_plain_whatever_the_rate_is(two_blocks, quick):
    model = model_of(quick, learning_rate=np.float32(0.5**7)).fit(*two_blocks)
    assert json.loads(json.dumps(model.history_)) == model.history_


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

    monkeypatch.setattr(f"skdual.losses.composite.{term}", fail)
    model = model_of(quick, **params).fit(*two_blocks)
    assert all(term not in epoch for epoch in model.history_)
    if term == "contrastive_loss":
        assert len(model.network_.projections) == 0


def test_max_epochs_is_exact(two_blocks, quick):
    assert model_of(quick, max_epochs=7).fit(*two_blocks).n_epochs_ == 7
