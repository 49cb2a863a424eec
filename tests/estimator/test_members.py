"""What members share and what they don't: the rows each holds out, regularisation of half of them."""

import numpy as np
import pytest
from member_scores import codes_of, members_weights, model_of
from numpy.testing import assert_allclose, assert_array_equal

from skdual.training.held_out import held_out_folds

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
    params = {"standardize": False, "n_members": 5, "dropout": 0.1} | params
    of_members = [0, 1, 0, 1, None]
    folds = held_out_folds(codes_of(y), 2)
    # the same, though labels change
    monkeypatch.setattr("skdual.training.held_out.held_out_folds", lambda *args: folds)
    X = X / 10
    expected = members_weights(model_of(quick, **params).fit(X, y))
    for fold in (0, 1):
        other_X, other_y = X.copy(), y.copy()
        if changed == "features":
            other_X[folds == fold] = np.random.default_rng(0).normal(size=X.shape)[folds == fold]
        else:
            other_y[folds == fold] = np.roll(y[folds == fold], 5)
        assert np.any(other_X != X) or np.any(other_y != y)
        weights = members_weights(model_of(quick, **params).fit(other_X, other_y))
        for member in range(5):
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
