"""Fits that end before their last epoch: early stopping and interrupts."""

import signal

import joblib
import numpy as np
import pytest
from member_scores import mean_log_loss, model_of
from numpy.testing import assert_allclose, assert_array_equal
from raise_at import RaiseAt
from sklearn.exceptions import NotFittedError
from skorch.callbacks import EarlyStopping

from skdual.training import calibration, fitting
from skdual.training.loop import cycles, net
from skdual.training.loop.kept_weights import KeptWeights
from skdual.training.loop.progress import FitProgress
from skdual.training.span.branch import SpanBranch


def test_early_stopping_restores_the_best_weights(two_blocks, quick):
    X, y = two_blocks
    noisy = np.random.default_rng(0).permutation(y)  # nothing to learn: validation soon gets worse
    model = model_of(quick, early_stopping=True, patience=3, max_epochs=200, learning_rate=1e-2)
    model.fit(X, noisy, X_val=X[:50], y_val=noisy[::-1][:50])
    losses = [epoch["valid_classification_loss"] for epoch in model.history_]
    assert model.n_epochs_ < 200
    assert np.argmin(losses) == model.n_epochs_ - 1 - 3
    assert_allclose(mean_log_loss(model, X[:50], noisy[::-1][:50]), min(losses), rtol=1e-5)


def test_early_stopping_sets_a_stratified_part_aside(two_blocks, quick, rows_seen):
    X, y = two_blocks
    model_of(quick, early_stopping=True, validation_fraction=0.2).fit(X, y)
    train, valid = rows_seen["train"], rows_seen["valid"]
    assert_array_equal(np.sort(np.concatenate([train, valid])), np.arange(150))
    shares = [[np.mean(y[part] == label) for label in np.unique(y)] for part in (train, valid)]
    assert_allclose(*shares, atol=0.03)


def test_a_share_of_numpy_is_a_share(two_blocks, quick, rows_seen):
    model_of(quick, early_stopping=True, validation_fraction=np.float32(0.5)).fit(*two_blocks)
    assert len(rows_seen["valid"]) == 75


def test_too_few_rows_for_a_validation_part_is_an_error(two_blocks, quick):
    X, y = two_blocks
    with pytest.raises(ValueError, match=r"validation_fraction=0\.1 of 12 rows"):
        model_of(quick, early_stopping=True).fit(X[:12], y[:12])


@pytest.mark.parametrize("hook", ["on_batch_end", "on_epoch_end"])
def test_an_interrupt_keeps_the_last_finished_epoch_and_warns(two_blocks, quick, hook):
    X, y = two_blocks
    finished = 3 if hook == "on_epoch_end" else 2
    interrupted = model_of(quick, callbacks=[RaiseAt(3, hook)])
    with pytest.warns(UserWarning, match=f"interrupted after {finished} of 4 epochs") as seen:
        interrupted.fit(X, y)
    assert seen[0].filename == __file__
    assert interrupted.n_epochs_ == len(interrupted.history_) == finished
    kept = model_of(quick, callbacks=[RaiseAt(finished, "on_epoch_end")])
    with pytest.warns(UserWarning, match="interrupted"):
        kept.fit(X, y)
    assert_array_equal(interrupted.predict_proba(X), kept.predict_proba(X))


def test_an_interrupt_with_early_stopping_keeps_the_best_epoch(two_blocks, quick):
    X, y = two_blocks
    model = model_of(
        quick, early_stopping=True, patience=99, max_epochs=30, learning_rate=0.05, callbacks=[RaiseAt(25)]
    )
    with pytest.warns(UserWarning, match="interrupted after 24 of 30"):
        model.fit(X, y, X_val=X[:40], y_val=y[::-1][:40])
    losses = [epoch["valid_classification_loss"] for epoch in model.history_]
    assert_allclose(mean_log_loss(model, X[:40], y[::-1][:40]), min(losses), rtol=1e-4)


def test_an_interrupt_before_the_first_epoch_is_finished_leaves_the_model_as_it_was(two_blocks, quick):
    X, y = two_blocks
    model = model_of(quick, callbacks=[RaiseAt(1)])
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    with pytest.raises(NotFittedError):
        model.predict(X)


def press_ctrl_c_in(monkeypatch, owner, name, after=1):
    """At the start of the call number ``after`` of a function."""
    original, calls = getattr(owner, name), []

    def pressing(*args, **kwargs):
        calls.append(1)
        if len(calls) == after:
            signal.raise_signal(signal.SIGINT)
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, pressing)


@pytest.fixture
def wide():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    return rng.normal(size=(60, 150)).astype(np.float32) + 0.3 * y[:, None], y


@pytest.mark.parametrize(
    ("owner", "name", "after"),
    [
        (cycles, "held_out_loss", 2),
        (net.DualBranchNet, "_end_fit", 1),
        (FitProgress, "close", 1),
        (SpanBranch, "widen", 1),
        (SpanBranch, "widen", 2),
        (calibration, "held_out_scores", 3),
        (calibration, "fit_ensemble", 3),
        (fitting, "_rejection_threshold", 1),
    ],
)
def test_an_interrupt_after_the_last_epoch_does_not_stop_what_is_left(wide, quick, monkeypatch, owner, name, after):
    monkeypatch.setattr("skdual.training.span.choice.MIN_STEPS_TIMES_ROOT_ROWS", 0)  # the fits are short
    monkeypatch.setattr("skdual.defaults.MIN_STEPS", 80)  # 40 epochs of two steps
    monkeypatch.setattr("skdual.defaults.MIN_CYCLE_ROWS", 60)
    (X, y), params = wide, {"blocks": 75, "n_members": 2, "max_epochs": "auto", "verbose": 1}
    expected = model_of(quick, **params).fit(X, y).predict_proba(X)
    press_ctrl_c_in(monkeypatch, owner, name, after)
    with pytest.warns(UserWarning, match="Ctrl-C came after the last epoch; the fit was finished") as seen:
        model = model_of(quick, **params).fit(X, y)
    assert seen[0].filename == __file__
    assert_array_equal(model.predict_proba(X), expected)


def test_an_interrupt_while_an_epoch_is_kept_keeps_all_of_it(two_blocks, quick, monkeypatch):
    X, y = two_blocks
    kept = model_of(quick, callbacks=[RaiseAt(2, "on_epoch_end")])
    with pytest.warns(UserWarning, match="interrupted after 2 of 4"):
        kept.fit(X, y)
    press_ctrl_c_in(monkeypatch, KeptWeights, "keep", 2)
    with pytest.warns(UserWarning, match="interrupted after 2 of 4"):
        model = model_of(quick).fit(X, y)
    assert_array_equal(model.predict_proba(X), kept.predict_proba(X))


def test_skorchs_early_stopping_stops_without_a_warning(two_blocks, quick, recwarn):
    model = model_of(quick, callbacks=[EarlyStopping("train_loss", patience=2, threshold=10.0)]).fit(*two_blocks)
    assert model.n_epochs_ == 3
    assert not [w for w in recwarn if "interrupted" in str(w.message)]


@pytest.mark.parametrize(("load_best", "best"), [(True, 1), (False, 3)])
def test_the_best_epoch_is_that_whose_weights_skorchs_early_stopping_loads(two_blocks, quick, load_best, best):
    stopping = EarlyStopping("train_loss", patience=2, threshold=10.0, load_best=load_best)
    assert model_of(quick, callbacks=[stopping]).fit(*two_blocks).best_epoch_ == best


def test_the_best_epoch_counts_those_before_a_warm_start_and_is_kept_in_files(two_blocks, quick, tmp_path):
    X, y = two_blocks
    model = model_of(quick, warm_start=True, max_epochs=3).fit(X, y)
    assert model.best_epoch_ == 3
    model.set_params(learning_rate=10.0, early_stopping=True, patience=2).fit(X, y, X_val=X[:40], y_val=y[:40])
    assert model.best_epoch_ == 3 + model.net_.best_epoch_ < model.n_epochs_
    joblib.dump(model, tmp_path / "model.joblib")
    assert joblib.load(tmp_path / "model.joblib").best_epoch_ == model.best_epoch_


def test_the_learning_rate_falls_once_where_skorchs_early_stopping_watches(two_blocks, quick, monkeypatch):
    monkeypatch.setattr("skdual.defaults.MIN_STEPS", 60)

    def falls(**params):
        history = model_of(quick, n_members=2, max_epochs="auto", batch_size=64, **params).fit(*two_blocks).history_
        rates = [epoch["learning_rate"] for epoch in history]
        return sum(now < before >= earlier for earlier, before, now in zip(rates, rates[1:], rates[2:], strict=False))

    assert falls() == 2
    assert falls(callbacks=[EarlyStopping("train_loss", patience=1000)]) == 1
