"""Callbacks and further arguments of the skorch net."""

import numpy as np
import pytest
import torch
from member_scores import member_scores, model_of
from skorch.callbacks import BatchScoring, Checkpoint, EarlyStopping, EpochScoring, LoadInitState, LRScheduler


@pytest.mark.parametrize("n_members", [1, 2])
def test_callbacks_are_copied_and_scoring_callbacks_work(two_blocks, quick, n_members):
    X, y = two_blocks
    scoring = EpochScoring("accuracy", lower_is_better=False, name="valid_acc")
    model = model_of(quick, n_members=n_members, callbacks=[scoring]).fit(X, y, X_val=X[:40], y_val=y[:40])
    assert not hasattr(scoring, "best_score_")
    by_both_blocks = model.classes_[member_scores(model, X[:40]).mean(axis=0).argmax(axis=1)]
    assert model.history_[-1]["valid_acc"] == pytest.approx(np.mean(by_both_blocks == y[:40]))


@pytest.mark.parametrize("chunk", [1, 10**6])
def test_scores_of_batches_are_weighted_by_their_rows(two_blocks, quick, monkeypatch, chunk):
    X, y = two_blocks
    monkeypatch.setattr("skdual.inputs.rows.CHUNK_VALUES", chunk)  # validation batches of 16, 16 and 8 rows, or one
    scorings = [EpochScoring("accuracy", name="of_epoch"), BatchScoring("accuracy", name="of_batches")]
    model = model_of(quick, callbacks=scorings).fit(X, y, X_val=X[:40], y_val=y[:40])
    for epoch in model.history_:
        assert epoch["of_batches"] == pytest.approx(epoch["of_epoch"])


@pytest.mark.parametrize("scheduler", [LRScheduler, LRScheduler("StepLR", step_size=1), ("rate", LRScheduler())])
def test_schedulers_that_would_be_overridden_are_refused(two_blocks, quick, scheduler):
    with pytest.raises(ValueError, match="LRScheduler would be overridden, because learning_rate, warmup"):
        model_of(quick, callbacks=[scheduler]).fit(*two_blocks)


def test_scores_by_name_that_would_get_no_labels_are_refused(two_blocks, quick):
    with pytest.raises(ValueError, match=r"EpochScoring\('accuracy'\) gets no labels with use_caching=False"):
        model_of(quick, callbacks=[EpochScoring("accuracy", use_caching=False)]).fit(*two_blocks)
    own = EpochScoring(lambda net, rows, y: len(rows), name="rows", on_train=True, use_caching=False)
    history = model_of(quick, callbacks=[own]).fit(*two_blocks).history_
    assert history[-1]["rows"] == len(two_blocks[0])


def test_the_state_of_another_fit_is_refused(two_blocks, quick, tmp_path):
    with pytest.raises(ValueError, match=r"LoadInitState would put .* go on from .* with warm_start=True"):
        model_of(quick, callbacks=[LoadInitState(Checkpoint(dirname=tmp_path))]).fit(*two_blocks)


@pytest.mark.parametrize("named", [False, True])
def test_a_callback_class_that_needs_arguments_is_named(two_blocks, quick, named):
    with pytest.raises(ValueError, match=r"callbacks: EpochScoring needs arguments .* give an instance"):
        model_of(quick, callbacks=[("mine", EpochScoring) if named else EpochScoring]).fit(*two_blocks)


def test_a_checkpoint_that_loads_the_best_epoch_leaves_the_history_whole(two_blocks, quick, tmp_path):
    X, y = two_blocks
    checkpoint = Checkpoint("valid_loss_best", dirname=tmp_path, load_best=True)
    params = {"max_epochs": 8, "learning_rate": 0.2, "n_members": 1}
    validation = {"X_val": X[:40], "y_val": np.roll(y[:40], 1)}
    model = model_of(quick, **params, callbacks=[checkpoint]).fit(X, y, **validation)
    plain = model_of(quick, **params).fit(X, y, **validation)
    losses = [epoch["valid_loss"] for epoch in plain.history_]
    assert [epoch["valid_loss"] for epoch in model.history_] == losses
    assert model.n_epochs_ == 8 > model.best_epoch_ == 1 + losses.index(min(losses))


def test_other_forms_of_adamw_can_be_asked_for(two_blocks, quick):
    model = model_of(quick, net_params={"optimizer__foreach": True}).fit(*two_blocks)
    assert model.net_.optimizer_.defaults["foreach"]
    expected = model_of(quick).fit(*two_blocks).predict_proba(two_blocks[0])
    np.testing.assert_allclose(model.predict_proba(two_blocks[0]), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match=r"net_params=.* was refused by the skorch net: .*differentiable"):
        model_of(quick, net_params={"optimizer__differentiable": True}).fit(*two_blocks)


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


def test_what_history_does_not_have_can_not_be_monitored(two_blocks, quick):
    X, y = two_blocks
    model = model_of(quick, callbacks=[EarlyStopping(monitor="val_loss")])
    message = "^callbacks: Key 'val_loss' was not found in history. What may be monitored here: .*, valid_loss"
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, X_val=X, y_val=y)
    assert not hasattr(model, "network_")


def test_net_params_are_merged_last(two_blocks, quick):
    model = model_of(quick, net_params={"optimizer__betas": (0.5, 0.9)}).fit(*two_blocks)
    assert model.net_.optimizer_.defaults["betas"] == (0.5, 0.9)
    sgd = model_of(quick, net_params={"optimizer": torch.optim.SGD}).fit(*two_blocks)
    assert isinstance(sgd.net_.optimizer_, torch.optim.SGD)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "forward"])
def test_the_net_refuses_rows_that_are_not_its_own(two_blocks, quick, method):
    model = model_of(quick).fit(*two_blocks)
    with pytest.raises(TypeError, match="net_ takes no X"):
        getattr(model.net_, method)(two_blocks[0])
