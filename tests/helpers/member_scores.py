"""What each member of a fitted model scores by itself, and the weights and offsets that follow from it."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.special import softmax
from sklearn.metrics import log_loss

from skdual import DualBranchClassifier
from skdual.network import DualBranchNetwork
from skdual.training.calibration import class_log_sizes, fit_ensemble


def model_of(quick, **params):
    return DualBranchClassifier(**(quick | params))


def member_scores(model, X, source=0):
    """Scores of each member by one source, (n_members, n, n_classes), each in a network of its own."""
    blocks = [torch.from_numpy(np.asarray(X)[:, index]) for index in model.block_indices_]
    scores = []
    for member in range(model.network_.n_members):
        alone = one_member(model, member, source)
        with torch.no_grad():
            scores.append(alone.scores(*blocks).numpy())
    return np.stack(scores)


def scores_by_blocks(model, X):
    """The same by both blocks, by A and by B, (3, n_members, n, n_classes); or by both only."""
    return np.stack([member_scores(model, X, which) for which in range(len(model.block_weights_))])


def groups_of(model):
    """Members of each group, and which blocks they score by: half of the members score by both only."""
    n_members = model.network_.n_members
    plain, regularized = range(n_members // 2), range(n_members // 2, n_members)
    by_single_block = [(regularized, 1), (regularized, 2)] if len(model.block_weights_) == 3 else []
    return [(plain, 0)] * bool(plain) + [(regularized, 0), *by_single_block]


def scores_in_groups(model, X):
    """Mean scores of each group, (n_groups, n, n_classes)."""
    scores = scores_by_blocks(model, X)
    return np.stack([scores[which, list(members)].mean(axis=0) for members, which in groups_of(model)])


def ensemble_fitted_on(model, scores, y, trained_on, weight=(1.0, 1.0, 1.0)):
    """Weights of the groups and offsets by these scores, with the cost of single blocks; ``trained_on`` are labels."""
    by_single_block = np.array([which > 0 for _, which in groups_of(model)])
    log_sizes = class_log_sizes(codes_of(trained_on), np.array(weight))
    return fit_ensemble(scores, codes_of(y), np.array(weight), log_sizes, by_single_block)


def held_out_scores_in_groups(model, X, folds, rows):
    """Scores in each group of rows by the member of the group that holds out their fold."""
    scores = scores_by_blocks(model, X)
    return np.stack([[scores[which, members[folds[row]], row] for row in rows] for members, which in groups_of(model)])


def one_member(model, member, source=0):
    """A network with the weights of one member, that scores by one source as it is."""
    alone = DualBranchNetwork(**(model._settings["module"] | {"n_members": 1}))
    of_members = {name for name, _ in alone.named_parameters()} | {"head.constants"}
    state = {
        name: tensor[[member]] if name in of_members else tensor for name, tensor in model.network_.state_dict().items()
    }
    state["ensemble.weights"] = torch.eye(len(model.block_weights_))[source]
    state["ensemble.class_offsets"] = torch.zeros(len(model.classes_))
    alone.to(model.network_.ensemble.weights.dtype).load_state_dict(state)
    return alone.eval()


def mean_log_loss(model, X, y):
    """Mean of the members' log losses by both blocks: what is watched on validation rows."""
    return np.mean([log_loss(y, softmax(scores, axis=1), labels=model.classes_) for scores in member_scores(model, X)])


def codes_of(y):
    return np.searchsorted(["left", "middle", "right"], y)


def members_weights(model):
    """Of each member, all its parameters in a row."""
    return np.concatenate([p.detach().flatten(1).numpy() for p in model.network_.parameters() if p.ndim > 1], axis=1)


def assert_ensemble(model, expected, class_offsets):
    assert model.probability_temperature_ == pytest.approx(1 / expected.sum(), rel=1e-4)
    shares = np.zeros(len(model.block_weights_))
    for (_, which), weight in zip(groups_of(model), expected, strict=True):
        shares[which] += weight / expected.sum()
    assert_allclose(model.block_weights_, shares, rtol=1e-3, atol=1e-4)
    assert_allclose(model.network_.ensemble.weights, expected, rtol=1e-3, atol=1e-4)
    assert_allclose(model.class_offsets_, class_offsets, rtol=1e-3, atol=1e-4)
