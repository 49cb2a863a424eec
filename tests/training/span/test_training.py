"""Training in the span of the rows, beside training in the columns."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose
from skorch.callbacks import Callback

from skdual import DualBranchClassifier
from skdual.inputs.columns import ColumnBlocks
from skdual.inputs.rows import Rows
from skdual.network.dual_branch import DualBranchNetwork
from skdual.training.calibration import held_out_loss
from skdual.training.held_out import held_out_folds, training_mask
from skdual.training.loop import cycles
from skdual.training.span import choice
from skdual.training.span.branch import SpanCoordinates
from skdual.training.span.row_span import RowSpan

N_ROWS, WIDTHS = 24, (60, 40)
PLAIN = {
    "blocks": WIDTHS[0],
    "hidden_layer_sizes": ((9, 6), (7, 5)),
    "dropout": 0.0,
    "block_dropout": 0.0,
    "mixup_alpha": 0.0,
    "gradient_clip": None,
    "subspace_dim": 2,
    "batch_size": 8,
    "max_epochs": 6,
    "random_state": 0,
}


@pytest.fixture(autouse=True)
def short_fits_too(monkeypatch):
    """The fits of these tests are short."""
    monkeypatch.setattr(choice, "MIN_WAY", 0)


@pytest.fixture
def wide():
    """Rows of two blocks of more columns than rows, of three classes."""
    random_generator = np.random.default_rng(1)
    y = np.arange(N_ROWS) % 3
    return random_generator.normal(size=(N_ROWS, sum(WIDTHS))) + 0.6 * y[:, None], y


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
        relevance.extend(branch.columns.relevance.numpy() for branch in (network.branch_a, network.branch_b))
        merge_columns(network)

    merge_columns = DualBranchNetwork.merge_columns
    monkeypatch.setattr(DualBranchNetwork, "merge_columns", note)
    model = DualBranchClassifier(**PLAIN, n_members=3, standardize=False).fit(X, y)
    trained = held_out_folds(y, 2) != np.array([0, 0, 1])[:, None]
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
    monkeypatch.setattr(cycles, "LEAST_GAIN", math.inf)  # the last weights are kept
    model = DualBranchClassifier(**PLAIN | {"blocks": 150, "max_epochs": "auto"}, n_members=n_members).fit(X, y)
    rows = Rows(X, ColumnBlocks(("a", "b"), model.block_indices_), torch.device("cpu"), torch.float64, y)
    assert len(losses) == 2
    assert losses[1] == pytest.approx(
        held_out_loss(model.network_, rows, training_mask(n_members, rows.y), np.ones(3)), rel=1e-6
    )


def test_sparse_rows_give_the_same_network(wide):
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


@pytest.mark.parametrize(
    ("max_epochs", "batch_size", "early_stopping", "in_span"),
    [(20, 8, False, False), (21, 8, False, True), (6, 2, False, True), (5, 2, False, False), (21, 8, True, False)],
)
def test_a_fit_of_few_steps_stays_in_the_columns(wide, monkeypatch, max_epochs, batch_size, early_stopping, in_span):
    # 24 rows: 61.2 steps, which are 20.4 epochs of 3 steps, or 5.1 of 12; 18 rows need 70.7 steps, or 31.4 epochs
    monkeypatch.setattr(choice, "MIN_WAY", 300)
    widths = []

    class Stop(Callback):
        def on_epoch_end(self, net, **kwargs):
            widths.append(net.module_.branch_a.shortcut.weight.shape[2])
            raise KeyboardInterrupt

    settings = {"max_epochs": max_epochs, "batch_size": batch_size, "early_stopping": early_stopping}
    model = DualBranchClassifier(**PLAIN | settings, n_members=1, callbacks=[Stop()])
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(*wide)
    assert widths == [(18 if early_stopping else N_ROWS) if in_span else WIDTHS[0]]


def width_in_training(wide, **params):
    """How many columns, or coordinates, branch A is trained in."""
    widths = []

    class Watch(Callback):
        def on_epoch_end(self, net, **kwargs):
            widths.append(net.module_.branch_a.shortcut.weight.shape[2])

    DualBranchClassifier(**PLAIN | {"max_epochs": 1}, **params, callbacks=[Watch()]).fit(*wide)
    return widths[0]


@pytest.mark.parametrize(("n_members", "in_span"), [(1, True), (2, True), (8, False)])
def test_coordinates_count_as_values_where_they_are_more(wide, monkeypatch, n_members, in_span):
    # eight members have five spans of 24 coordinates for 60 columns and as many for 40; two have two
    monkeypatch.setattr(choice, "MAX_VALUES", N_ROWS * (60 + 48))
    assert width_in_training(wide, n_members=n_members) == (N_ROWS if in_span else WIDTHS[0])


@pytest.mark.parametrize(("max_weights", "in_span"), [(690, True), (691, False), (2000, False)])
def test_as_much_may_be_copied_as_weights_of_the_columns_take(wide, monkeypatch, max_weights, in_span):
    # 60 x (9 + 6) + 40 x (7 + 5) weights are twice 690, and so many times MAX_VALUES may be copied; fewer are no loss
    monkeypatch.setattr(choice, "MAX_VALUES", N_ROWS * 50)
    monkeypatch.setattr(choice, "_MAX_WEIGHTS", max_weights)
    assert width_in_training(wide, n_members=1) == (N_ROWS if in_span else WIDTHS[0])


@pytest.mark.parametrize(("max_weights", "in_span"), [(1379, True), (1380, False)])
def test_a_short_fit_of_very_many_weights_is_trained_in_the_span(wide, monkeypatch, max_weights, in_span):
    monkeypatch.setattr(choice, "MIN_WAY", 1e9)
    monkeypatch.setattr(choice, "_MAX_SHORT_WEIGHTS", max_weights)
    assert width_in_training(wide, n_members=1) == (N_ROWS if in_span else WIDTHS[0])


@pytest.mark.parametrize("batch_size", [8, 10])  # of 10 rows: the last has 4
def test_no_fit_of_many_steps_is_short(wide, monkeypatch, batch_size):
    monkeypatch.setattr(choice, "MIN_WAY", 1e9)
    n_spans, original = [], RowSpan.__init__

    def note(span, *arguments):
        n_spans.append(1)
        original(span, *arguments)

    monkeypatch.setattr(RowSpan, "__init__", note)
    for max_epochs in (33, 34):  # of 3 steps
        DualBranchClassifier(**PLAIN | {"max_epochs": max_epochs, "batch_size": batch_size}, n_members=1).fit(*wide)
        assert len(n_spans) == (0 if max_epochs == 33 else 2)


def test_clipped_columns_are_centred_again_in_a_block_wider_than_long(wide):
    X, y = wide
    X = -np.exp(2 * X[:, :70])  # negative, so that no logarithm takes the tails off
    model = DualBranchClassifier(**PLAIN | {"max_epochs": 1}, n_members=1).fit(X, y)
    with torch.no_grad():
        scaled_a, scaled_b = model.network_.scale(torch.from_numpy(X[:, :60]), torch.from_numpy(X[:, 60:]))
    assert scaled_a.mean(dim=0).abs().max() < 1e-12
    assert scaled_b.mean(dim=0).abs().max() > 0.05
    before = model.network_.scaler_a.clipped_mean.clone()
    model.set_params(warm_start=True).fit(1.1 * X[::-1], y)
    assert torch.equal(model.network_.scaler_a.clipped_mean, before)


@pytest.mark.parametrize("with_mixed", [True, False])
@pytest.mark.parametrize(("n_members", "n_plain"), [(1, 0), (2, 1), (3, 1), (8, 4)])
def test_each_regularised_member_may_have_coordinates_of_its_own(n_members, n_plain, with_mixed):
    n_spans = n_members - n_plain + bool(n_plain)
    x, mixed = torch.randn(2, n_spans, 6, 4)
    side_by_side = [torch.cat(list(of), dim=1) for of in (x, mixed)]
    taken = {}
    for rows, members in SpanCoordinates(4)(n_members, side_by_side[0], side_by_side[1] if with_mixed else None):
        of_members = rows if rows.ndim == 3 else rows.expand(members.stop - members.start, *rows.shape)
        taken |= dict(zip(range(members.start, members.stop), of_members, strict=True))
    assert sorted(taken) == list(range(n_members))
    for member, rows in taken.items():
        span = 0 if member < n_plain else member - n_plain + bool(n_plain)
        assert torch.equal(rows, (mixed if with_mixed and member >= n_plain else x)[span])
