"""Searches that spend epochs where they are worth it: pruned trials, successive halving, and the examples of both."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from skorch.callbacks import Callback

from skdual import DualBranchClassifier

EXAMPLES = Path(__file__).parents[1] / "examples"


class Report(Callback):
    """As callbacks for pruning are written that know nothing of this package."""

    def __init__(self, trial):
        self.trial = trial

    def on_epoch_end(self, net, **kwargs):
        self.trial.report(net.history[-1, "valid_classification_loss"], len(net.history))
        if self.trial.should_prune():
            raise optuna.TrialPruned


def run(name):
    return subprocess.run([sys.executable, EXAMPLES / name], check=True, capture_output=True, text=True).stdout


def scores_on_held_out_rows(printed):
    return [float(score) for score in re.findall(r"macro F1 (\S+) on 278 rows", printed)]


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
def test_optuna_search_gives_up_poor_trials_and_finds_good_settings():
    printed = run("optuna_search.py")
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
def test_halving_search_keeps_the_better_third_of_each_round():
    printed = run("halving_search.py")
    rows = re.findall(r"^ *(\d+) epochs  macro F1 (\S+)  (.*)$", printed, flags=re.MULTILINE)
    rounds = {}
    for epochs, score, params in rows:
        rounds.setdefault(int(epochs), []).append((float(score), tuple(sorted(ast.literal_eval(params).items()))))
    assert {epochs: len(candidates) for epochs, candidates in rounds.items()} == {2: 12, 6: 4, 18: 2}
    for few, more in ((2, 6), (6, 18)):
        went_on = {params for _, params in rounds[more]}
        kept = [score for score, params in rounds[few] if params in went_on]
        left = [score for score, params in rounds[few] if params not in went_on]
        assert min(kept) >= max(left)
    [best] = scores_on_held_out_rows(printed)
    assert best > 0.9
