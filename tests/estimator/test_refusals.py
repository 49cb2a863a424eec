"""Bad parameters and bad data are named, and leave a fitted model as it was."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from member_scores import model_of
from numpy.testing import assert_array_equal
from raise_at import RaiseAt
from skorch.callbacks import Callback

from skdual import DualBranchClassifier


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
        (
            {"samples_per_class": 10**13, "sampling": "class_aware"},
            ["samples_per_class=10000000000000", "training rows"],
        ),
        ({"classes_per_batch": 2}, ["classes_per_batch=2", "sampling='shuffle'"]),
        ({"attention_heads": 3, "token_dim": 4, "fusion": "attention"}, ["attention_heads=3", "token_dim=4"]),
        ({"net_params": {"iterator_train__num_workers": 2}}, ["net_params", "iterator_train__num_workers"]),
        ({"net_params": {"predict_nonlinearity": None}}, ["net_params", "predict_nonlinearity", "no effect"]),
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
def test_values_too_large_for_float32_are_refused_where_it_is_computed_in(two_blocks, quick, to_matrix):
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
        with pytest.raises(ValueError, match=f"^{name} contains values beyond .* float32"):
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


class Spoil(Callback):
    def __init__(self, value):
        self.value = value

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == net.max_epochs:
            net.module_.branch_b.layers[0].weight.data[0, 0, 0] = self.value


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_weights_that_the_last_update_spoilt_stop_the_fit(two_blocks, quick, value):
    with pytest.raises(ValueError, match=r"^the weights are not finite after epoch 2; "):
        model_of(quick, max_epochs=2, callbacks=[Spoil(value)]).fit(*two_blocks)
    model_of(quick, max_epochs=2, callbacks=[Spoil(1e30)]).fit(*two_blocks)
