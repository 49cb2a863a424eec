"""What a fitted model answers, and how its answers hang together."""

import copy
import math

import numpy as np
import pytest
import torch
from member_scores import groups_of, model_of, one_member, scores_by_blocks, scores_in_groups
from naive import extended, subspace_error
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import log_softmax, softmax
from sklearn.exceptions import NotFittedError


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
    params["random_state"] = 2  # such that the temperature is not near 1, where it would do nothing
    model = model_of(quick, **params).fit(X, y, X_val=X[::3], y_val=y[::3])
    if n_members > 1:
        scores = scores_by_blocks(model, X)
        assert np.abs(scores - scores.mean(axis=1, keepdims=True)).max() > 0.1  # members differ
    assert model.block_weights_.shape == (3 if block_dropout else 1,)
    assert model.block_weights_.dtype == np.float64
    assert model.block_weights_.sum() == pytest.approx(1, abs=1e-12)
    assert model.block_weights_.min() >= 0
    assert model.probability_temperature_ == pytest.approx(1 / model.network_.ensemble.weights.sum().item())
    assert abs(math.log(model.probability_temperature_)) > 0.05
    weights = model.network_.ensemble.weights.numpy()
    by_blocks = [
        sum(w for w, (_, of) in zip(weights, groups_of(model), strict=True) if of == which) for which in (0, 1, 2)
    ]
    assert_allclose(model.block_weights_ * weights.sum(), by_blocks[: len(model.block_weights_)], rtol=1e-5)
    assert model.class_offsets_.shape == (3,)
    assert model.class_offsets_.dtype == np.float64
    expected = softmax(np.tensordot(weights, scores_in_groups(model, X), axes=1) + model.class_offsets_, axis=1)
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
    weights = model.network_.ensemble.weights.tolist()
    scale = sum(weight * scales[list(of)].mean() for weight, (of, _) in zip(weights, groups_of(model), strict=True))
    offset = model.class_offsets_[1] - model.class_offsets_[0]
    assert (offset != 0) == (n_members > 1)
    assert_allclose(score, scale * (errors[:, 0] - errors[:, 1]) + offset, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n_members", [1, 3])
def test_projection_error_is_the_distance_of_the_unit_embedding_to_the_subspaces(two_blocks, quick, n_members):
    X, y = (np.asarray(two_blocks[0], np.float64), two_blocks[1])
    model = model_of(quick, n_members=n_members, random_state=1).fit(X, y)
    head = model.network_.head
    scales = np.exp(head.log_scale.detach().numpy())
    errors, weights = [], []
    groups = zip(model.network_.ensemble.weights.tolist(), groups_of(model), strict=True)
    for weight, member, which in [(w / len(of), member, which) for w, (of, which) in groups for member in of]:
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
        assert 0 < model.block_weights_[0] < 1  # a mixture
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


def test_unfitted_methods_are_refused(quick, two_blocks):
    for method in ("predict", "transform", "projection_error", "score_samples"):
        with pytest.raises(NotFittedError):
            getattr(model_of(quick), method)(two_blocks[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outputs_have_the_precision_of_the_data(two_blocks, quick, dtype):
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
    torch._dynamo.utils.counters.clear()
    plain = model_of(quick, **params).fit(X, y)
    assert not torch._dynamo.utils.counters["stats"]
    compiled = model_of(quick, compile=True, **params).fit(X, y)
    assert torch._dynamo.utils.counters["stats"]["calls_captured"] > 10
    assert_allclose(compiled.predict_proba(X), plain.predict_proba(X), rtol=1e-3, atol=1e-4)
    assert_array_equal(copy.deepcopy(compiled).predict_proba(X), compiled.predict_proba(X))
