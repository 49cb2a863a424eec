"""Hyperparameters found by Optuna on HTAD; trials that lag behind are given up before their last epoch.

Run: pip install ".[search,plotting]" && python examples/optuna_search.py [--output optuna_search.png]
"""

import argparse
from pathlib import Path

import matplotlib
import optuna
from matplotlib import pyplot as plt
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from skorch.callbacks import Callback

from skdual import DualBranchClassifier
from skdual.datasets import load_htad

MAX_EPOCHS = 15
N_TRIALS = 20


class PruneTrial(Callback):
    """Reports the validation loss of each epoch; ends the fit where the pruner says so."""

    def __init__(self, trial):
        self.trial = trial

    def on_epoch_end(self, net, **kwargs):
        epoch = len(net.history)
        self.trial.report(net.history[-1, "valid_classification_loss"], epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned(f"after {epoch} epochs")


def draw(study, output):
    """The validation loss of every trial by epoch; the grey ones were given up where they end."""
    figure, ax = plt.subplots(figsize=(8, 5), layout="constrained")
    kinds = {"given up": ("silver", 1.0), "run to the end": ("tab:blue", 1.0), "the best": ("tab:orange", 2.5)}
    for trial in study.trials:
        given_up = trial.state == optuna.trial.TrialState.PRUNED
        kind = "the best" if trial.number == study.best_trial.number else "given up" if given_up else "run to the end"
        color, width = kinds[kind]
        epochs, losses = zip(*trial.intermediate_values.items(), strict=True)
        ax.plot(epochs, losses, color=color, linewidth=width, zorder=2 + list(kinds).index(kind))
        if given_up:
            ax.plot(epochs[-1], losses[-1], "x", color=color)
    for kind, (color, width) in kinds.items():
        ax.plot([], color=color, linewidth=width, label=kind)
    ax.set(yscale="log", xlabel="epoch", ylabel="classification loss on validation rows")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter("{x:g}")
    ax.legend()
    figure.savefig(output, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default="optuna_search.png", help="the picture (optuna_search.png)")
    output = parser.parse_args().output
    output.parent.mkdir(parents=True, exist_ok=True)
    matplotlib.use("Agg")  # draws into files, with no window

    htad = load_htad()
    X, X_test, y, y_test = train_test_split(htad.data, htad.target, test_size=0.2, stratify=htad.target, random_state=0)
    X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)

    def objective(trial):
        model = DualBranchClassifier(
            htad.blocks,
            n_members=1,  # one network a trial; the best is fitted with all of them
            max_epochs=MAX_EPOCHS,
            learning_rate=trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
            dropout=trial.suggest_float("dropout", 0.0, 0.6),
            contrastive_weight=trial.suggest_float("contrastive_weight", 0.0, 2.0),
            subspace_dim=trial.suggest_int("subspace_dim", 1, 8),
            weight_decay=trial.suggest_float("weight_decay", 1e-4, 1.0, log=True),
            callbacks=[PruneTrial(trial)],
            random_state=0,
        )
        model.fit(X_train, y_train, X_val=X_val, y_val=y_val)
        return model.history_[-1]["valid_classification_loss"]

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=3),
    )
    study.optimize(objective, n_trials=N_TRIALS)

    for trial in study.trials:
        chosen = ", ".join(f"{name} {value:.3g}" for name, value in trial.params.items())
        epochs = len(trial.intermediate_values)
        print(f"trial {trial.number:2d}  {trial.state.name:8s} {epochs:2d} epochs, loss {trial.value:.3f}  {chosen}")
    epochs = sum(len(trial.intermediate_values) for trial in study.trials)
    print(f"\n{epochs} of {N_TRIALS * MAX_EPOCHS} epochs were run; the best loss is {study.best_value:.3f}")

    for name, params in (("default settings", {}), ("the best", study.best_params)):
        model = DualBranchClassifier(htad.blocks, **params, max_epochs=MAX_EPOCHS, random_state=0).fit(X, y)
        score = f1_score(y_test, model.predict(X_test), average="macro")
        print(f"{name:16s}  macro F1 {score:.3f} on {len(y_test)} rows held out")
    draw(study, output)
    print(f"saved {output}")


if __name__ == "__main__":
    main()
