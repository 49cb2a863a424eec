"""One fit of the net, watched through its callbacks and against the same arithmetic by hand."""

import copy
import gc
import weakref

import naive
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from skorch.callbacks import Callback

from skdual import DualBranchClassifier
from skdual.inputs.batches import BatchLoader
from skdual.losses.memory_bank import MemoryBank
from skdual.training.held_out import held_out_folds
from skdual.training.loop.kept_weights import KeptWeights
from skdual.training.loop.mixup import Mixup
from skdual.training.loop.schedule import WarmRestarts, WarmupCosine


class Watch(Callback):
    """Calls a function with (net, keyword arguments) at one hook."""

    def __init__(self, hook, note):
        self.note = note
        setattr(self, hook, self._call)

    def _call(self, net, **kwargs):
        self.note(net, kwargs)


def fit(two_blocks, quick, *, val=None, **params):
    X, y = two_blocks
    validation = {"X_val": X[:30], "y_val": y[:30]} if val else {}
    return DualBranchClassifier(**(quick | params)).fit(X, y, **validation)


def relevance_of(network):
    """What each member multiplies the columns of either block by while training, (n_members, n_columns)."""
    return [branch.inputs.relevance[:, 0].numpy() for branch in (network.branch_a, network.branch_b)]


def test_each_epoch_visits_every_row_once(two_blocks, quick):
    epochs = {}

    def note(net, kwargs):
        epochs.setdefault(len(net.history), []).append(kwargs["batch"].index)

    fit(two_blocks, quick, callbacks=[Watch("on_batch_begin", note)])
    assert len(epochs) == 4
    orders = [np.concatenate(batches) for batches in epochs.values()]
    for order in orders:
        assert sorted(order) == list(range(150))
    assert not np.array_equal(orders[0], orders[1])


@pytest.mark.parametrize("sampling", ["shuffle", "class_aware"])
def test_what_a_single_member_holds_out_is_in_no_batch(two_blocks, quick, sampling, monkeypatch):
    monkeypatch.setattr("skdual.training.held_out.LONE_MEMBER_ROWS", 149)
    seen = []
    watch = Watch("on_batch_begin", lambda net, kwargs: seen.append(kwargs["batch"].index))
    params = {"n_members": 1, "max_epochs": 3, "memory_bank_size": 10, "sampling": sampling, "callbacks": [watch]}
    fit(two_blocks, quick, **params)
    codes = np.unique(two_blocks[1], return_inverse=True)[1]
    trained = np.flatnonzero(held_out_folds(codes, 1, least_folds=10))
    assert len(trained) == 135
    rows, times = np.unique(np.concatenate(seen), return_counts=True)
    assert_array_equal(rows, trained)
    assert sampling == "class_aware" or (times == 3).all()


@pytest.mark.parametrize("mixup_alpha", [0, 0.4])
@pytest.mark.parametrize(("n_members", "enough_rows"), [(1, False), (1, True), (3, False), (4, False)])
def test_a_step_equals_adamw_on_the_loss_by_hand(two_blocks, quick, n_members, enough_rows, mixup_alpha, monkeypatch):
    """Two steps of float64 on full batches, repeated with plain torch: each member's loss of the rows it trains on."""
    monkeypatch.setattr("skdual.training.held_out.LONE_MEMBER_ROWS", 149 if enough_rows else 150)
    X, y = two_blocks[0].astype(np.float64), two_blocks[1]
    codes = np.unique(y, return_inverse=True)[1]
    folds = held_out_folds(codes, 2) if n_members > 1 else np.full(150, -1)
    if enough_rows:
        folds = held_out_folds(codes, 1, least_folds=10)
    fold_of_member = {1: [0], 3: [0, 0, None], 4: [0, 1, 0, 1]}[n_members]
    states, orders, mixed, relevance = [], [], [], []
    plain = {"dropout": 0.0, "contrastive": None, "batch_size": 150, "warmup": 0.0, "gradient_clip": 0.05}
    params = quick | plain | {"max_epochs": 2, "learning_rate": 0.01, "weight_decay": 0.1, "n_members": n_members}
    params |= {"mixup_alpha": mixup_alpha, "block_dropout": 0}
    original = Mixup.draw

    def draw(mixup, rows):
        mixed.append(original(mixup, rows))
        return mixed[-1]

    def note(net, kwargs):
        states.append({name: tensor.clone() for name, tensor in net.module_.state_dict().items()})
        orders.append(kwargs["batch"].index)
        relevance.append(relevance_of(net.module_))

    monkeypatch.setattr(Mixup, "draw", draw)
    model = DualBranchClassifier(**params, callbacks=[Watch("on_batch_begin", note)]).fit(X, y)
    network = model.network_.train()
    network.load_state_dict(states[0])
    matrices = [p for p in network.parameters() if p.ndim == 3]
    others = [p for p in network.parameters() if p.ndim != 3]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], fused=False
    )
    assert len(mixed) == (2 if mixup_alpha else 0)
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    scaled /= np.sqrt(1 + (scaled / 3) ** 2)
    told = np.hstack(relevance[0])
    for step, rate in enumerate((0.01, 0.005)):  # the cosine at 0 and at 1/2
        rows = other = orders[step]
        share = np.ones((len(rows), 1))
        if mixup_alpha:
            partner, weight = mixed[step]
            other, share = rows[partner], weight.astype(np.float64)[:, None]
        for group in optimizer.param_groups:
            group["lr"] = rate
        losses, gradients = [], [torch.zeros_like(p) for p in network.parameters()]
        for member in range(n_members):
            optimizer.zero_grad()
            # the first half of the members, rounded down, sees the rows as they are
            w, own, second = (1, rows, rows) if member < n_members // 2 else (share, rows, other)
            x = torch.from_numpy(told[member] * (w * scaled[own] + (1 - w) * scaled[second]))
            target = np.broadcast_to(w * np.eye(3)[codes[own]] + (1 - w) * np.eye(3)[codes[second]], (len(rows), 3))
            fold = fold_of_member[member]
            seen = np.flatnonzero((folds[own] != fold) & (folds[second] != fold))
            bases = network.head.bases[member]
            penalty = torch.stack([(U @ U.T - torch.eye(len(U))).square().mean() for U in bases]).mean()
            h_a, h_b = network.branch_a(x[:, :7]), network.branch_b(x[:, 7:])
            scores = network.head(network.fusion(h_a, h_b))[member][seen]
            log_proba = torch.log_softmax(scores, dim=1)
            loss = -(torch.from_numpy(target[seen]) * log_proba).sum(dim=1).mean() + penalty
            loss.backward()
            losses.append(loss.item())
            norm = torch.sqrt(sum(p.grad[member].square().sum() for p in network.parameters()))
            for gradient, p in zip(gradients, network.parameters(), strict=True):
                gradient += p.grad * min(1, 0.05 / norm)
                assert not p.grad[torch.arange(n_members) != member].any()
        for gradient, p in zip(gradients, network.parameters(), strict=True):
            p.grad = gradient
        optimizer.step()
    assert_allclose(model.history_[-1]["train_loss"], np.mean(losses), rtol=1e-6)
    monkeypatch.setattr(Mixup, "draw", original)
    again = DualBranchClassifier(**params).fit(X, y).network_
    with torch.no_grad():  # the weights end as those of columns as they are
        for branch, columns in ((network.branch_a, slice(0, 7)), (network.branch_b, slice(7, 12))):
            for layer in branch.column_layers:
                layer.weight *= torch.from_numpy(told[:, None, columns])
    expected = dict(network.named_parameters())
    for name, parameter in again.named_parameters():
        assert_allclose(parameter.detach().numpy(), expected[name].detach().numpy(), rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_member_learns_from_the_rows_of_its_own_training_only(two_blocks, quick):
    """In batches of two rows a member has no gradient if, and only if, it holds both out."""
    y = two_blocks[1]
    folds = held_out_folds(np.unique(y, return_inverse=True)[1], 4)
    gradients = []

    def note(net, kwargs):
        rows = kwargs["batch"].index
        named = dict(kwargs["named_parameters"])
        gradients.append((set(folds[rows].tolist()), named["head.weight"].grad.flatten(1).norm(dim=1).numpy()))

    watch = Watch("on_grad_computed", note)
    params = {
        "n_members": 8,
        "head": "linear",
        "batch_size": 2,
        "contrastive": None,
        "mixup_alpha": 0,
        "block_dropout": 0,
    }
    fit(two_blocks, quick, max_epochs=3, callbacks=[watch], **params)
    alone = 0
    for held_out, norms in gradients:
        for member in range(8):
            assert (norms[member] == 0) == (held_out == {member % 4})
        alone += len(held_out) == 1
    assert alone > 5


@pytest.mark.parametrize("contrastive", ["supervised", "self_supervised"])
def test_members_pull_and_push_the_rows_of_their_own_training_only(two_blocks, quick, contrastive):
    """The contrastive loss of an epoch of one batch, from projections that the network gives."""
    X, y = two_blocks
    codes = np.unique(y, return_inverse=True)[1]
    folds = held_out_folds(codes, 1)
    states, relevance = [], []

    def note(net, kwargs):
        states.append({name: tensor.clone() for name, tensor in net.module_.state_dict().items()})
        relevance.append(relevance_of(net.module_))

    model = fit(
        two_blocks,
        quick,
        contrastive=contrastive,
        batch_size=150,
        max_epochs=1,
        dropout=0.0,
        block_dropout=0,
        mixup_alpha=0,
        callbacks=[Watch("on_batch_begin", note)],
    )
    network = model.network_
    network.load_state_dict(states[0])
    scaled = [x.numpy() for x in network.scale(*torch.from_numpy(X).split([7, 5], dim=1))]
    network.scaler_a, network.scaler_b = torch.nn.Identity(), torch.nn.Identity()
    means = []
    for member in range(2):
        with torch.no_grad():
            blocks = [torch.from_numpy(x * told[member]) for x, told in zip(scaled, relevance[0], strict=True)]
            views = [projection.double().numpy() for projection in network(*blocks).projections]
        seen = np.flatnonzero(folds != 0)
        ids = np.tile(codes[seen] if contrastive == "supervised" else seen, 2)
        projections = np.concatenate([view[member, seen] for view in views])
        means.append(naive.contrastive_losses(projections, ids, model.temperature).mean())
    assert_allclose(model.history_[0]["contrastive_loss"], np.mean(means), rtol=1e-5)


def test_the_bank_shows_what_is_stored_and_starts_empty_with_every_fit(two_blocks, quick, monkeypatch):
    """Slots are drawn for many batches ahead, but none is shown before its projection is there, and that the latest."""
    shown, stored, batches = [], {}, []
    take, store = MemoryBank.take, MemoryBank.store

    def spy_on_take(bank, slots):
        result = take(bank, slots)
        shown.append(0 if result is None else len(result[1]))
        expected = [stored[bank][slot] for slot in slots.tolist()]
        if expected:
            assert_array_equal(result[0].numpy(), np.stack(expected, axis=1))
        return result

    def spy_on_store(bank, numbers, last, projections, visible):
        for branch, of_branch in enumerate(projections):
            for place, row in enumerate(batches[-1].tolist()):
                stored.setdefault(bank, {})[branch * 150 + row] = of_branch[:, place].detach().numpy().copy()
        store(bank, numbers, last, projections, visible)

    monkeypatch.setattr(MemoryBank, "take", spy_on_take)
    monkeypatch.setattr(MemoryBank, "store", spy_on_store)
    watch = Watch("on_batch_begin", lambda net, kwargs: batches.append(kwargs["batch"].index))
    params = {"memory_bank_size": 1000, "warm_start": True, "batch_size": 50, "max_epochs": 2, "callbacks": [watch]}
    model = fit(two_blocks, quick, **params)
    per_epoch = [0, 100, 200, 200, 200, 200]  # slots of all rows outside the batch, once they are filled
    assert shown == per_epoch
    model.fit(two_blocks[0], two_blocks[1])
    assert shown[6:] == per_epoch


def test_contrastive_loss_sees_the_bank_in_training_only(two_blocks, quick):
    """At a learning rate of almost 0 a bank of further candidates can only raise the loss; validation has none."""
    still = {"learning_rate": 1e-12, "dropout": 0.0, "max_epochs": 2}
    without, with_bank = (fit(two_blocks, quick, val=True, memory_bank_size=n, **still).history_ for n in (0, 200))
    assert with_bank[1]["contrastive_loss"] > without[1]["contrastive_loss"] + 0.5
    assert with_bank[1]["valid_contrastive_loss"] == pytest.approx(without[1]["valid_contrastive_loss"], rel=1e-5)


def test_class_aware_batches_reach_the_training_step(two_blocks, quick):
    shapes = []

    def note(net, kwargs):
        shapes.append(np.bincount(kwargs["batch"].target.numpy(), minlength=3).tolist())

    params = {"sampling": "class_aware", "classes_per_batch": 3, "samples_per_class": 5, "batch_size": 15}
    fit(two_blocks, quick, callbacks=[Watch("on_batch_begin", note)], **params)
    assert len(shapes) == 4 * 10
    assert all(shape == [5, 5, 5] for shape in shapes)


def test_the_learning_rate_rises_and_falls(two_blocks, quick):
    model = fit(two_blocks, quick, max_epochs=10, warmup=0.3, learning_rate=0.01)
    rates = [epoch["learning_rate"] for epoch in model.history_]
    # five steps an epoch, so the rate of an epoch is that of every fifth step
    assert_allclose(rates, [0.01 * WarmupCosine(50, 0.3)(5 * epoch) for epoch in range(10)], rtol=1e-12)


@pytest.mark.parametrize(
    ("losses", "best"),
    [
        ((0.48, 0.50), 18),
        ((0.49, 0.50), 72),
        ((2.0, 0.50), 72),
        ((0.99, 1.0), 18),  # chance is at 1.098, so that 3 % of what is learnt is 0.003
        ((0.998, 1.0), 72),
        ((1.19, 1.2), 18),  # nothing is learnt
        ((1.2, 1.2), 72),
        (None, 72),
    ],
    ids=str,
)
def test_the_end_of_the_first_of_two_cycles_is_kept_if_held_out_loss_is_3_per_cent_lower(
    two_blocks, quick, losses, best, monkeypatch
):
    """There are 72 epochs of 2 steps; without members that hold rows out there is one cycle."""
    monkeypatch.setattr("skdual.defaults.MIN_STEPS", 2 * 72)
    given = list(losses or ())
    monkeypatch.setattr("skdual.training.loop.cycles.held_out_loss", lambda *arguments: given.pop(0))
    states = {}

    def note(net, kwargs):
        states[len(net.history)] = state = copy.deepcopy(net.module_)
        state.merge_relevance()

    params = {"max_epochs": "auto", "n_members": 2 if losses else 1, "warmup": 0.2, "learning_rate": 0.01}
    params["batch_size"] = 75
    model = fit(two_blocks, quick, **params, callbacks=[Watch("on_epoch_end", note)])
    assert not given
    assert model.n_epochs_ == 72
    assert model.best_epoch_ == best
    for name, parameter in model.network_.named_parameters():
        assert torch.equal(parameter, states[best].get_parameter(name)), name
    factor = WarmRestarts([2 * 18, 2 * 54] if losses else [2 * 72], 0.2)
    rates = [epoch["learning_rate"] for epoch in model.history_]
    assert_allclose(rates, [0.01 * factor(2 * epoch) for epoch in range(72)], rtol=1e-12)


@pytest.mark.parametrize(("noisy", "best"), [(True, 10), (False, 40)])
def test_noise_is_left_after_the_first_cycle_and_intricate_borders_after_the_second(noisy, best):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 12)).astype(np.float32)
    if noisy:
        y = (X[:, 0] + X[:, 8] > 0) ^ (rng.random(400) < 0.3)
    else:
        X = X[:, [0, 8]]
        y = (np.floor(X[:, 0] + 0.5) + np.floor(X[:, 1] + 0.5)) % 2  # the fields of a chessboard
    params = {"hidden_layer_sizes": ((64, 32), (64, 32)), "batch_size": 32, "projection_dim": 8, "n_members": 4}
    model = DualBranchClassifier(8 if noisy else 1, learning_rate=3e-3, random_state=0, device="cpu", **params)
    assert model.fit(X, y).best_epoch_ == best
    assert model.n_epochs_ == 40


def test_callbacks_see_the_gradient_before_it_is_clipped(two_blocks, quick):
    norms = []

    def note(net, kwargs):
        norms.append(max(parameter.grad.abs().max().item() for _, parameter in kwargs["named_parameters"]))

    fit(two_blocks, quick, gradient_clip=1e-6, max_epochs=1, callbacks=[Watch("on_grad_computed", note)])
    assert min(norms) > 1e-6


def test_nothing_of_training_stays_behind(two_blocks, quick, monkeypatch):
    made = []
    for kind in (MemoryBank, Mixup, KeptWeights, BatchLoader):

        def initialize(self, *args, _initialize=kind.__init__, **kwargs):
            _initialize(self, *args, **kwargs)
            made.append(weakref.ref(self))

        monkeypatch.setattr(kind, "__init__", initialize)
    net = fit(two_blocks, quick, memory_bank_size=10).net_
    gc.collect()
    assert len(made) == 4
    assert [reference() for reference in made] == [None] * 4
    assert all(parameter.grad is None for parameter in net.module_.parameters())
    assert not net.optimizer_.state
    assert net.best_epoch_ == 4
