"""Verdicts on runs made to underfit, overfit and converge, and on curves whose truth is planted."""

import numpy as np
import pytest

from skdual import DualBranchClassifier
from skdual.datasets import load_htad
from skdual.plotting import learning_verdict

UNREGULARISED = {"dropout": 0.0, "mixup_alpha": 0.0, "block_dropout": 0.0, "weight_decay": 0.0, "max_epochs": 60}


def verdict_of_fit(n_rows, wrong_share=0.0, **params):
    """Fit HTAD with some labels shuffled, watched on other rows."""
    rng = np.random.default_rng(0)
    htad = load_htad()
    order = rng.permutation(len(htad.target))
    train, watched = order[:n_rows], order[n_rows : n_rows + 400]
    y = htad.target[train]
    wrong = rng.random(n_rows) < wrong_share
    y[wrong] = rng.permutation(y[wrong])
    model = DualBranchClassifier(36, n_members=1, random_state=0, **params)
    model.fit(htad.data[train], y, X_val=htad.data[watched], y_val=htad.target[watched])
    return learning_verdict(model.history_)


def curves(training, validation, rates=None):
    rates = np.full(len(training), 0.002) if rates is None else rates
    return [
        {"classification_loss": t, "valid_classification_loss": v, "learning_rate": rate}
        for t, v, rate in zip(training, validation, rates, strict=True)
    ]


def cosine(n_epochs):
    return 0.002 * (1 + np.cos(np.pi * np.arange(n_epochs) / n_epochs)) / 2


@pytest.mark.parametrize(
    "params",
    [
        {"max_epochs": 3},
        {"max_epochs": 6},
        {"max_epochs": 3, "learning_rate": 1e-4},
        {"max_epochs": 10, "learning_rate": 1e-4},
        {"max_epochs": 8, "learning_rate": 1e-6},
    ],
)
def test_runs_too_short_or_too_slow_underfit(params):
    assert verdict_of_fit(400, **params).label == "underfitting"


def test_memorised_wrong_labels_are_overfitting():
    verdict = verdict_of_fit(150, 0.3, **UNREGULARISED | {"max_epochs": 30})
    assert verdict.label == "overfitting"
    assert "far below" in verdict.reason  # scores are bounded by the subspaces, so the validation loss hardly rises


def test_a_validation_loss_that_rises_again_is_overfitting():
    linear = {"head": "linear", "contrastive": None, "learning_rate": 5e-3}
    verdict = verdict_of_fit(150, 0.3, **UNREGULARISED, **linear)
    assert verdict.label == "overfitting"
    assert "rose" in verdict.reason


@pytest.mark.parametrize("early_stopping", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_defaults_converge(early_stopping):
    assert verdict_of_fit(400, early_stopping=early_stopping).label == "converged"


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("regularised", [False, True])
def test_planted_curves_with_noise(seed, regularised):
    """With regularisation the training curve lies far above the validation curve, which must change nothing."""
    rng = np.random.default_rng(seed)
    time = np.arange(60) / 60

    def noisy(curve):
        return curve * np.exp(0.03 * rng.normal(size=60))

    def run(validation, training):
        return learning_verdict(curves(noisy(training + regularised), noisy(validation), cosine(60))).label

    falling, settled = 2 - np.sin(np.pi * time / 2), 0.3 + 1.7 * np.exp(-12 * time)
    assert run(settled, settled) == "converged"
    assert run(falling, falling) == "underfitting"
    assert run(settled + 1.2 * time, settled) == "overfitting"
    assert run(settled + 1.2 * time, settled + 1.2 * time) == "underfitting"  # went astray on both
    assert run(settled + 0.5, settled - 0.25) == ("converged" if regularised else "overfitting")  # a gap


@pytest.mark.parametrize(("epoch", "factor"), [(-1, 3), (30, 0.2)])
def test_one_odd_epoch_does_not_matter(epoch, factor):
    validation = 0.3 + 1.7 * np.exp(-np.arange(60) / 5)
    training = validation.copy()
    validation[epoch] *= factor
    assert learning_verdict(curves(training, validation)).label == "converged"


def test_a_moderate_gap_is_not_overfitting():
    time = np.arange(40)
    training, validation = 0.6 + 1.3 * np.exp(-time / 3), 0.9 + np.exp(-time / 3)
    assert learning_verdict(curves(training, validation)).label == "converged"
    assert learning_verdict(curves(training - 0.2, validation)).label == "overfitting"  # below half


def test_nothing_learnt_is_underfitting():
    history = curves(np.linspace(1.95, 1.93, 20), np.linspace(1.94, 1.93, 20))
    assert str(learning_verdict(history)) == "underfitting: the losses hardly fell, from 1.95 to 1.93"


@pytest.mark.parametrize(("learnt", "label"), [(0.049, "underfitting"), (0.051, "converged")])
@pytest.mark.parametrize("scale", [1, 40])
def test_less_than_5_per_cent_of_the_first_loss_is_nothing_learnt(learnt, label, scale):
    training = np.r_[np.full(3, 1.0), np.full(17, 1 - learnt)]
    validation = np.full(20, 0.98)
    for curve, other in ((training, validation), (validation, training)):
        assert learning_verdict(curves(scale * curve, scale * other)).label == label


def test_halfway_is_counted_by_the_learning_rate():
    losses = [2.0, 1.2, 0.9, 0.75, 0.7, 0.68, 0.67, 0.67, 0.66, 0.66]
    assert learning_verdict(curves(losses, losses, np.full(10, 0.01))).label == "converged"
    rates = np.r_[np.full(6, 0.01), np.full(4, 1e-6)]  # flat at the end only because nothing is learnt any more
    assert learning_verdict(curves(losses, losses, rates)).label == "underfitting"


def test_the_unit_of_the_losses_does_not_matter():
    rng = np.random.default_rng(0)
    for _ in range(50):
        training, validation = np.exp(rng.normal(size=(2, 12)).cumsum(axis=1) / 3)
        labels = {learning_verdict(curves(scale * training, scale * validation)).label for scale in (1, 0.125, 8)}
        assert len(labels) == 1


def test_the_reason_names_the_best_epoch_of_the_whole_history():
    before = [{"classification_loss": 2.0, "learning_rate": 0.002}] * 3  # a fit without validation rows
    after = curves([1.0, 0.5, 0.2, 0.1], [1.2, 0.8, 1.2, 1.5])
    assert learning_verdict(before + after).reason == "the validation loss rose from 0.80 in epoch 5 to 1.50"


def test_the_reason_does_not_quote_one_odd_epoch():
    validation = np.concatenate([np.linspace(1.2, 0.5, 20), np.linspace(0.51, 0.9, 20)])
    validation[2] = 0.1
    reason = learning_verdict(curves(np.linspace(1.0, 0.1, 40), validation)).reason
    assert reason == "the validation loss rose from 0.53 in epoch 20 to 0.88"


@pytest.mark.filterwarnings("error")
def test_epochs_count_alike_where_no_learning_rate_was_recorded_but_0():
    losses = [2.0, 1.6, 1.2, 0.8]
    assert learning_verdict(curves(losses, losses, np.zeros(4))) == learning_verdict(curves(losses, losses))


@pytest.mark.parametrize("history", [None, 3, [1, 2], {"train_loss": 1.0}], ids=str)
def test_a_history_is_a_list_of_dicts(history):
    with pytest.raises(TypeError, match="history must be a list of dict"):
        learning_verdict(history)


@pytest.mark.parametrize("name", ["classification_loss", "valid_classification_loss", "learning_rate"])
def test_numbers_that_are_missing_or_none_are_refused(name):
    history = curves([1.0, 0.5, 0.2], [1.2, 0.8, 0.7])
    with pytest.raises(ValueError, match=f"history must have finite numbers; epoch 3 has {name}=nan"):
        learning_verdict([*history[:2], history[2] | {name: np.nan}])
    if name == "learning_rate":
        with pytest.raises(ValueError, match="history must have the learning_rate of every epoch; epoch 2 has none"):
            learning_verdict([history[0], {k: v for k, v in history[1].items() if k != name}])


@pytest.mark.parametrize(
    ("history", "reason"),
    [
        ([{"classification_loss": 2.0, "learning_rate": 0.002}] * 5, "no validation rows"),
        ([], "no validation rows"),
        (curves([2.0], [1.0]), "one epoch is too few"),
    ],
)
def test_no_verdict(history, reason):
    verdict = learning_verdict(history)
    assert verdict.label == "no verdict"
    assert verdict.reason.startswith(reason)
    assert str(verdict) == f"no verdict: {verdict.reason}"


@pytest.mark.parametrize(("last", "label"), [(0.39, "overfitting"), (0.41, "converged")])
def test_a_training_loss_below_half_the_validation_loss_is_overfitting(last, label):
    training, validation = np.full(21, last), np.full(21, 0.8)
    training[0] = validation[0] = 2.0
    assert learning_verdict(curves(training, validation, cosine(21))).label == label
