"""Training in the span of the rows, beside training in the columns."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose
from skorch.callbacks import Callback
from wide_blocks import N_ROWS, PLAIN, WIDTHS

from skdual import DualBranchClassifier
from skdual.inputs.columns import ColumnBlocks
from skdual.inputs.rows import Rows
from skdual.network.dual_branch import DualBranchNetwork
from skdual.training.calibration import held_out_loss
from skdual.training.held_out import held_out_folds, training_mask
from skdual.training.loop import cycles
from skdual.training.span import choice


@pytest.fixture
def in_columns(monkeypatch):
    """Function that keeps the training in the columns from then on."""
    return lambda: monkeypatch.setattr(choice, "MAX_VALUES", 0)


def member_scores(model, X):
    split = WIDTHS[0]
    with torch.no_grad():
        return model.network_.member_scores(torch.from_numpy(X[:, :split]), torch.from_numpy(X[:, split:])).numpy()


@pytest.mark.parametrize("n_members", [1, 3])
def test_gradient_descent_is_the_same_in_the_span_and_in_the_columns(wide, monkeypatch, n_members):
    X, y = wide
    params = {**PLAIN, "standardize": "minmax", "weight_decay": 0.0, "n_members": n_members, "warm_start": True}

    def fit(max_values, *rates):
        """From the same weights, which have parts outside the span, with gradient descent of the block's own rate."""
        monkeypatch.setattr(choice, "MAX_VALUES", 0)
        model = DualBranchClassifier(**params, learning_rate=1e-12).fit(X, y)
        start = member_scores(model, X)
        groups = [
            (f"branch_{block}.{layer}.weight", {"lr": 0.01 * rate})
            for block, rate in zip("ab", rates, strict=True)
            for layer in ("layers.0", "shortcut")
        ]
        descent = {"optimizer": torch.optim.SGD, "optimizer__param_groups": groups, "optimizer__momentum": 0.9}
        monkeypatch.setattr(choice, "MAX_VALUES", max_values)
        return start, model.set_params(learning_rate=0.01, net_params=descent).fit(X, y)

    start, expected = fit(0, 1, 1)
    _, in_span = fit(2**26, *(width / N_ROWS for width in WIDTHS))
    folds = held_out_folds(y, 2) if n_members > 1 else np.full(N_ROWS, -1)
    trained = folds != np.array([0, 0, 1])[:n_members, None]  # both halves of the members hold out the same parts
    for member in range(n_members):
        want, got, before = (
            scores[member, 0, trained[member]]
            for scores in (member_scores(expected, X), member_scores(in_span, X), start)
        )
        assert np.abs(want - before).max() > 0.05
        assert_allclose(got, want, atol=1e-5)
    assert in_span.history_[-1]["train_loss"] == pytest.approx(expected.history_[-1]["train_loss"], abs=1e-5)


@pytest.mark.parametrize("initialization", ["he", "orthogonal"])
def test_new_weights_start_as_those_of_all_columns_do(wide, in_columns, initialization):
    X, y = wide
    params = PLAIN | {"hidden_layer_sizes": ((400, 200), (300, 100)), "learning_rate": 1e-12, "max_epochs": 1}
    model = DualBranchClassifier(**params, initialization=initialization, standardize=False, n_members=1)
    X = X - X.mean(axis=0)
    blocks = X[:, : WIDTHS[0]], X[:, WIDTHS[0] :]

    def mean_squares():
        network = model.fit(X, y).network_
        layers = [
            (layer, block)
            for branch, block in zip((network.branch_a, network.branch_b), blocks, strict=True)
            for layer in branch.column_layers
        ]
        return [np.mean((block @ layer.weight[0].detach().numpy().T) ** 2) for layer, block in layers]

    in_span = mean_squares()
    in_columns()
    assert_allclose(in_span, mean_squares(), rtol=0.15)


def test_weights_answer_to_nothing_that_their_member_has_no_row_in(wide, monkeypatch):
    X, y = wide
    relevance = []

    def note(network):
        relevance.extend(branch.inputs.relevance.numpy() for branch in (network.branch_a, network.branch_b))
        merge_relevance(network)

    merge_relevance = DualBranchNetwork.merge_relevance
    monkeypatch.setattr(DualBranchNetwork, "merge_relevance", note)
    model = DualBranchClassifier(**PLAIN, n_members=3, standardize=False).fit(X, y)
    trained = training_mask(3, y)
    split = WIDTHS[0]
    for branch, block, told in zip(
        (model.network_.branch_a, model.network_.branch_b), (X[:, :split], X[:, split:]), relevance, strict=True
    ):
        assert branch.shortcut.weight.shape[2] == block.shape[1]
        for layer in branch.column_layers:
            for member in range(3):
                # in the columns as the member takes them
                weights = layer.weight[member].detach().numpy() / told[member]
                seen = block[trained[member]] * told[member]
                assert_allclose(weights @ np.linalg.pinv(seen) @ seen, weights, atol=1e-5)
                assert np.abs(weights).max() > 0.01


def test_a_warm_start_keeps_what_it_learnt_from_other_rows(wide):
    X, y = wide
    others = np.random.default_rng(2).normal(size=X.shape)
    model = DualBranchClassifier(**PLAIN, n_members=2, warm_start=True).fit(X, y)
    before = member_scores(model, X)
    model.set_params(learning_rate=1e-12).fit(others, y)
    assert_allclose(member_scores(model, X), before, atol=1e-5)


@pytest.mark.parametrize("n_val", [10, 20])  # with 20 block B has fewer columns than there are rows in all
@pytest.mark.parametrize("n_members", [1, 4])
@pytest.mark.parametrize("other_rows", [False, True])
def test_a_warm_start_watches_validation_rows_by_all_that_it_had_learnt(wide, n_val, n_members, other_rows):
    X, y = wide
    random_generator = np.random.default_rng(2)
    X_val, y_val = X[:n_val] + random_generator.normal(size=(n_val, X.shape[1])), y[:n_val]
    params = PLAIN | {"max_epochs": 20, "warm_start": True, "n_members": n_members}
    model = DualBranchClassifier(**params).fit(X, y, X_val=X_val, y_val=y_val)
    before = model.history_[-1]["valid_classification_loss"]
    rows = random_generator.normal(size=X.shape) if other_rows else X
    model.set_params(learning_rate=1e-12, max_epochs=2).fit(rows, y, X_val=X_val, y_val=y_val)
    after = [epoch["valid_classification_loss"] for epoch in model.history_[-2:]]
    assert after == pytest.approx([before, before], abs=1e-5)


def test_a_warm_start_learns_nothing_in_directions_that_only_validation_rows_have(wide):
    X, y = wide
    X_val = np.random.default_rng(2).normal(size=(10, X.shape[1]))
    model = DualBranchClassifier(**PLAIN, warm_start=True, n_members=1, standardize=False).fit(X, y)
    split = WIDTHS[0]
    layer = model.network_.branch_a.shortcut
    before = layer.weight[0].detach().numpy().copy()
    model.set_params(learning_rate=0.01).fit(X, y, X_val=X_val, y_val=y[:10])
    learnt = model.network_.branch_a.shortcut.weight[0].detach().numpy() - before
    seen = X[:, :split]
    assert np.abs(learnt).max() > 0.01
    assert_allclose(learnt @ np.linalg.pinv(seen) @ seen, learnt, atol=1e-5)


def test_a_block_of_more_splines_than_rows_beside_a_wide_one_is_trained_in_the_columns():
    random_generator = np.random.default_rng(0)
    codes = random_generator.integers(0, 6, 200)
    y = np.isin(codes, [0, 3, 4]).astype(int)
    categories = np.where(
        random_generator.random((200, 30)) < 0.6, codes[:, None], random_generator.integers(6, size=(200, 30))
    )
    X = np.hstack([categories, random_generator.normal(size=(200, 300))])
    shapes, scores = [], []

    class Watch(Callback):
        def on_epoch_end(self, net, dataset_valid, **kwargs):
            shapes.append([branch.shortcut.weight.shape[2] for branch in net.module_.branches])
            scores.append(net.predict_proba(dataset_valid))

    params = PLAIN | {"blocks": 30, "n_members": 1, "callbacks": [Watch()]}
    model = DualBranchClassifier(**params).fit(X[:160], y[:160], X_val=X[160:], y_val=y[160:])
    assert model.settings_["splines"] == (True, False)
    n_inputs = model.network_.scaler_a.n_outputs
    assert shapes[-1] == [n_inputs, 160]
    assert n_inputs > 160
    with torch.no_grad():
        of_network = model.network_.member_scores(*torch.from_numpy(X[160:]).split([30, 300], dim=1))[0, 0]
    assert_allclose(scores[-1], torch.softmax(of_network, dim=1), atol=1e-5)


@pytest.mark.parametrize("standardize", ["standard", "none", "maxabs", "robust", ("standard", "none")])
@pytest.mark.parametrize("normalization", ["layer", "batch"])
@pytest.mark.parametrize("n_members", [1, 3])
def test_validation_rows_are_seen_as_they_will_be(wide, standardize, normalization, n_members):
    X, y = wide
    others = X + np.random.default_rng(2).normal(size=X.shape)
    losses = []

    class Watch(Callback):
        def on_epoch_end(self, net, dataset_valid, **kwargs):
            losses.append(net.predict_proba(dataset_valid))

    params = {"standardize": standardize, "normalization": normalization, "n_members": n_members}
    model = DualBranchClassifier(**PLAIN, **params, callbacks=[Watch()]).fit(X, y, X_val=others, y_val=y)
    scores = member_scores(model, others)[:, 0].mean(axis=0)
    expected = torch.softmax(torch.from_numpy(scores), dim=1).numpy()
    assert_allclose(losses[-1], expected, atol=1e-5)


@pytest.mark.parametrize("n_members", [2, 3, 4])
def test_held_out_rows_are_seen_as_they_will_be(n_members, monkeypatch):
    random_generator = np.random.default_rng(0)
    y = np.arange(120) % 3
    X = random_generator.normal(size=(120, 300)) + 0.1 * y[:, None]
    losses = []
    monkeypatch.setattr(cycles, "held_out_loss", lambda *args: losses.append(held_out_loss(*args)) or losses[-1])
    monkeypatch.setattr(cycles, "MIN_LOSS_DROP", math.inf)  # the last weights are kept
    monkeypatch.setattr("skdual.defaults.MIN_STEPS", 40)
    model = DualBranchClassifier(**PLAIN | {"blocks": 150, "max_epochs": "auto"}, n_members=n_members).fit(X, y)
    rows = Rows(X, ColumnBlocks(("a", "b"), model.block_indices_), torch.device("cpu"), torch.float64, y)
    assert len(losses) == 2
    assert losses[1] == pytest.approx(
        held_out_loss(model.network_, rows, training_mask(n_members, rows.y), np.ones(3)), rel=1e-6
    )


def test_sparse_rows_give_the_same_network_in_the_span(wide):
    X, y = wide
    X = np.where(X > 0.5, X, 0)
    dense, sparse = (DualBranchClassifier(**PLAIN, n_members=2).fit(rows, y) for rows in (X, sp.csr_matrix(X)))
    assert_allclose(sparse.predict_proba(X), dense.predict_proba(X), atol=1e-6)


@pytest.mark.filterwarnings("error")
def test_values_too_large_are_refused_without_a_warning(wide):
    X, y = wide
    X = X.astype(np.float32)
    X[3, 5] = 1e30
    with pytest.raises(ValueError, match="became NaN or infinite in epoch 1"):
        DualBranchClassifier(**PLAIN, standardize=False).fit(X, y)


def test_only_the_block_wider_than_long_is_trained_in_the_span(wide, in_columns):
    X, y = wide
    X, blocks = X[:, :70], slice(0, 60)
    shapes = []

    class Shapes(Callback):
        def on_epoch_end(self, net, **kwargs):
            shapes.append(
                [layer.weight.shape[2] for layer in (net.module_.branch_a.shortcut, net.module_.branch_b.shortcut)]
            )

    params = PLAIN | {"max_epochs": 1, "blocks": (blocks, slice(60, 70)), "callbacks": [Shapes()], "n_members": 1}
    DualBranchClassifier(**params).fit(X, y)
    in_columns()
    DualBranchClassifier(**params).fit(X, y)
    assert shapes == [[N_ROWS, 10], [60, 10]]


def test_clipped_columns_are_centred_again_in_a_block_wider_than_long(wide):
    X, y = wide
    X = np.exp(2 * X[:, :70])
    params = PLAIN | {"max_epochs": 1, "n_members": 1, "standardize": "robust"}  # which takes no tails off
    model = DualBranchClassifier(**params).fit(X, y)
    with torch.no_grad():
        scaled_a, scaled_b = model.network_.scale(torch.from_numpy(X[:, :60]), torch.from_numpy(X[:, 60:]))
    assert scaled_a.mean(dim=0).abs().max() < 1e-12
    assert scaled_b.mean(dim=0).abs().max() > 0.05
    before = model.network_.scaler_a.clipped_mean.clone()
    model.set_params(warm_start=True).fit(1.1 * X[::-1], y)
    assert torch.equal(model.network_.scaler_a.clipped_mean, before)
