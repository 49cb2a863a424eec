"""Who comes to a held-out accuracy first: the row peers of speed.py."""

import math
import time
import warnings
from collections import defaultdict
from functools import partial

import numpy as np
import torch
from measuring import FULL, ONE_MEMBER, tiny_fit
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from torch import nn

from skdual import DualBranchClassifier
from skdual.network import DualBranchNetwork

MAX_EPOCHS = 10


def peers(bench):
    """Seconds to a held-out accuracy, ours (A) against each peer's (B), on draws of 20 classes.

    To 85 % (60 on quick shapes), and to the most that logistic regression comes to, short of which no network is worth
    its time. Medians over draws; the slow peers run on the first one only.
    """
    columns, params = bench.pick(FULL, ((1_000, 300), ONE_MEMBER))
    low, max_seconds = bench.pick((0.85, 300), (0.6, 8))
    seconds = defaultdict(list)
    tiny_fit()
    for draw in range(bench.pick(3, 1)):
        X, y = latent_classes(bench.pick(5_000, 2_000), columns, random_state=draw)
        test, train = np.split(np.arange(len(y)), [len(y) // 5])
        rows = X[train], y[train]
        linear = run_logistic(Race(X[test], y[test], max_laps=10), *rows)
        targets = {"low": low, "linear": linear.best}
        new_race = partial(Race, X[test], y[test], target=max(targets.values()), max_seconds=max_seconds)
        network, ours = run_ours(columns[0], params, X, y, train, test, targets)
        races = {"logistic regression": linear, "plain skorch": run_skorch(new_race(), network, *rows)}
        if network["bfloat16"]:
            races["plain skorch in float32"] = run_skorch(new_race(), {**network, "bfloat16": False}, *rows)
        if draw == 0:
            races["scikit-learn MLP"] = run_mlp(new_race(), network["hidden_layer_sizes"][0], *rows)
            races["LightGBM"] = run_lightgbm(new_race(), *rows)
        for name, race in races.items():
            for kind, target in targets.items():
                seconds[name, kind].append((ours[kind], race.seconds_to(target), target))
    for (name, kind), draws in seconds.items():
        a, b, target = np.array(draws, dtype=np.float64).T  # NaN where it was not reached
        ratio, a_ms, b_ms = (None if np.isnan(x).any() else np.median(x) for x in (a / b, 1e3 * a, 1e3 * b))
        times = {"ratio": ratio, "a_ms": a_ms, "b_ms": b_ms, "pairs": len(draws)}
        yield {"name": f"peers, {name}, {kind} target", **times, "target": np.median(target)}


def latent_classes(n_rows, columns, random_state, n_classes=20, rank=8):
    """Classes that lie apart in a few hidden directions, half of which each block shows beneath noise."""
    rng = np.random.default_rng(random_state)
    y = rng.integers(n_classes, size=n_rows)
    blocks = []
    for n_columns in columns:
        hidden = 1.3 * rng.standard_normal((n_classes, rank))[y] + rng.standard_normal((n_rows, rank))
        shown = hidden @ rng.standard_normal((rank, n_columns)) * (3.5 / math.sqrt(sum(columns)))
        blocks.append(shown.astype(np.float32) + rng.standard_normal((n_rows, n_columns), dtype=np.float32))
    return np.hstack(blocks), y


class Race:
    """Laps of a model, on a clock that stands still while its held-out accuracy is looked at."""

    def __init__(self, X, y, target=2.0, max_seconds=math.inf, max_laps=math.inf):
        self.X, self.y = X, y
        self.target, self.max_seconds, self.max_laps = target, max_seconds, max_laps
        self.laps = []  # seconds until then, and the accuracy
        self.since = time.perf_counter()

    def lap(self, predict):
        before = self.laps[-1][0] if self.laps else 0.0
        seconds = before + time.perf_counter() - self.since
        self.laps.append((seconds, float(np.mean(predict(self.X) == self.y))))
        self.since = time.perf_counter()

    def run(self, advance, predict):
        """Train lap by lap until it is over."""
        while not self.laps or (
            self.best < self.target and self.laps[-1][0] < self.max_seconds and len(self.laps) < self.max_laps
        ):
            advance()
            self.lap(predict)
        return self

    @property
    def best(self):
        return max(accuracy for _, accuracy in self.laps)

    def seconds_to(self, target):
        return next((seconds for seconds, accuracy in self.laps if accuracy >= target), math.nan)


def run_ours(n_a, params, X, y, train, test, targets):
    """What our network is made with, and seconds to each target.

    They are those of a whole fit of as few epochs as come to it; how many these are is found out beforehand.
    """
    seconds = {}
    for kind, target in targets.items():
        for n_epochs in range(1, MAX_EPOCHS + 1):
            model = DualBranchClassifier(n_a, max_epochs=n_epochs, device="cpu", **params)
            race = Race(X[test], y[test])
            model.fit(X[train], y[train])
            race.lap(model.predict)
            if race.best >= target:
                break
        seconds[kind] = race.seconds_to(target)
    return {**model.net_.get_params_for("module"), "standardize": ("none", "none"), "projection_dim": 0}, seconds


class PlainNetwork(nn.Module):
    """The estimator's network as any skorch net takes it: X in, scores out."""

    def __init__(self, **arguments):
        super().__init__()
        self.widths, self.network = arguments["in_features"], DualBranchNetwork(**arguments)

    def forward(self, X):
        return self.network(*X.split(self.widths, dim=1)).scores[0]


def run_skorch(race, network, X, y):
    scaler, arguments = StandardScaler(), {f"module__{name}": value for name, value in network.items()}
    X = scaler.fit_transform(X)
    settings = {"lr": 1e-3, "batch_size": 256, "iterator_train__shuffle": True, "train_split": None, "verbose": 0}
    net = NeuralNetClassifier(
        PlainNetwork, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.AdamW, max_epochs=1, **settings, **arguments
    )
    return race.run(partial(net.partial_fit, X, y), lambda X: net.predict(scaler.transform(X)))


def run_mlp(race, sizes, X, y):
    scaler, model, classes = StandardScaler(), MLPClassifier(sizes, batch_size=256, random_state=0), np.unique(y)
    X = scaler.fit_transform(X)
    return race.run(partial(model.partial_fit, X, y, classes=classes), lambda X: model.predict(scaler.transform(X)))


def run_logistic(race, X, y):
    scaler, model = StandardScaler(), LogisticRegression(C=0.1, max_iter=5, warm_start=True)
    X = scaler.fit_transform(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # five iterations do not converge
        return race.run(partial(model.fit, X, y), lambda X: model.predict(scaler.transform(X)))


def run_lightgbm(race, X, y):
    from lightgbm import Booster, Dataset

    params = {"objective": "multiclass", "num_class": len(np.unique(y)), "learning_rate": 0.05, "verbose": -1}
    booster = Booster(params, Dataset(X, y))
    return race.run(booster.update, lambda X: booster.predict(X).argmax(axis=1))
