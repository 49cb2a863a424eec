"""Grid search, pruned trials and successive halving, and the examples of all three."""

import ast
import re

import optuna
import pytest
from run_example import run_with_picture
from skorch.callbacks import Callback

from skdual import DualBranchClassifier


class Report(Callback):
    """As callbacks for pruning are written that know nothing of this package."""

    def __init__(self, trial):
        self.trial = trial

    def on_epoch_end(self, net, **kwargs):
        self.trial.report(net.history[-1, "valid_classification_loss"], len(net.history))
        if self.trial.should_prune():
            raise optuna.TrialPruned


def scores_on_held_out_rows(printed, n_rows=278):
    return [float(score) for score in re.findall(rf"macro F1 (\S+) on {n_rows} rows", printed)]


@pytest.mark.parametrize("named", [False, True])
def test_a_pruner_sees_each_epoch_and_ends_a_fit_that_changes_nothing(two_blocks, quick, named):
    X, y = two_blocks
    fitted = DualBranchClassifier(**quick).fit(X, y)
    before = dict(vars(fitted))

    def objective(trial):
        callback = ("report", Report(trial)) if named else Report(trial)
        fitted.callbacks = [callback]
        fitted.fit(X, y, X_val=X[:40], y_val=y[:40])

    study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=0.0, n_warmup_steps=3))
    study.optimize(objective, n_trials=1)
    [trial] = study.trials
    assert trial.state == optuna.trial.TrialState.PRUNED
    assert list(trial.intermediate_values) == [1, 2, 3]
    assert all(vars(fitted)[name] is value for name, value in before.items() if name != "callbacks")
    fitted.callbacks = None
    losses = [epoch["valid_classification_loss"] for epoch in fitted.fit(X, y, X_val=X[:40], y_val=y[:40]).history_]
    assert list(trial.intermediate_values.values()) == losses[:3]


@pytest.mark.slow
def test_grid_search_ranks_its_candidates(tmp_path):
    printed = run_with_picture("grid_search.py", tmp_path / "grid.png")
    scores = [float(score) for score in re.findall(r"^macro F1 (\S+)", printed, flags=re.MULTILINE)]
    assert len(scores) == 8
    assert scores == sorted(scores, reverse=True)
    assert float(re.search(r"macro avg\s+\S+\s+\S+\s+(\S+)", printed)[1]) > 0.88


@pytest.mark.slow
def test_optuna_search_gives_up_poor_trials_and_finds_good_settings(tmp_path):
    printed = run_with_picture("optuna_search.py", tmp_path / "optuna.png")
    trials = re.findall(r"^trial +\d+  (\w+) +(\d+) epochs", printed, flags=re.MULTILINE)
    assert len(trials) == 20
    complete = [int(epochs) for state, epochs in trials if state == "COMPLETE"]
    pruned = [int(epochs) for state, epochs in trials if state == "PRUNED"]
    assert set(complete) == {15}
    assert pruned
    assert max(pruned) < 15
    assert f"{sum(complete + pruned)} of 300 epochs" in printed
    default, best = scores_on_held_out_rows(printed)
    assert default > 0.88
    assert best > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(("data", "n_held_out"), [("htad", 278), ("nutrimouse", 8)])
def test_halving_search_keeps_the_better_third_of_each_round(tmp_path, data, n_held_out):
    printed = run_with_picture("halving_search.py", tmp_path / "halving.png", "--data", data)
    rows = re.findall(r"^ *(\d+) epochs  log loss (\S+)  (.*)$", printed, flags=re.MULTILINE)
    rounds = {}
    for epochs, loss, params in rows:
        rounds.setdefault(int(epochs), []).append((float(loss), tuple(sorted(ast.literal_eval(params).items()))))
    assert {epochs: len(candidates) for epochs, candidates in rounds.items()} == {2: 12, 6: 4, 18: 2}
    for few, more in ((2, 6), (6, 18)):
        went_on = {params for _, params in rounds[more]}
        kept = [loss for loss, params in rounds[few] if params in went_on]
        left = [loss for loss, params in rounds[few] if params not in went_on]
        assert max(kept) <= min(left)
    [best] = scores_on_held_out_rows(printed, n_held_out)
    assert best > 0.9
