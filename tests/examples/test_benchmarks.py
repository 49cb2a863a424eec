"""The benchmarks give their figures."""

import importlib
import json
import sys
from functools import partial

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from run_example import EXAMPLES, run
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdual import DualBranchClassifier
from skdual.datasets import load_htad


@pytest.fixture
def quick_models(monkeypatch, quick):
    """Benchmarks by name, that fit a small network in place of the default one."""
    monkeypatch.setattr(sys, "path", [str(EXAMPLES / "benchmarks"), *sys.path])

    def load(name):
        module = importlib.import_module(name)
        params = {name: value for name, value in quick.items() if name not in ("blocks", "random_state")}
        monkeypatch.setattr(module, "DualBranchClassifier", partial(DualBranchClassifier, **params))
        return module

    return load


def test_the_novelty_benchmark_tells_known_rows_from_those_of_the_class_left_out(quick_models, two_blocks):
    novelty, X, y = quick_models("novelty"), two_blocks[0], np.unique(two_blocks[1], return_inverse=True)[1]
    auroc = novelty.leave_out(X, 7, y, 2)
    train, test = train_test_split(np.arange(150), test_size=0.2, stratify=y, random_state=0)
    known = train[y[train] != 2]
    model = novelty.DualBranchClassifier(7, random_state=0).fit(X[known], y[known])
    of_known, new = model.score_samples(X[test[y[test] != 2]]), model.score_samples(X[y == 2])
    assert auroc["score_samples"] == pytest.approx((of_known[:, None] > new).mean(), abs=1e-3)
    assert len(auroc) == 5


def test_mahalanobis_distance_of_the_novelty_benchmark_is_that_to_the_nearest_mean(quick_models, two_blocks):
    novelty, X, y = quick_models("novelty"), two_blocks[0].astype(np.float64), two_blocks[1]
    means = {label: X[y == label].mean(axis=0) for label in np.unique(y)}
    covariance, _ = ledoit_wolf(X - np.array([means[label] for label in y]), assume_centered=True)
    expected = [min((x - mean) @ np.linalg.solve(covariance, x - mean) for mean in means.values()) for x in X]
    assert_allclose(novelty.mahalanobis(X, y, X), expected, rtol=1e-6)


def test_the_benchmark_of_wide_blocks_scores_as_sklearn_does(quick_models, monkeypatch):
    wide = quick_models("wide")
    monkeypatch.setattr(wide, "MODELS", ["skdual", "logistic"])
    monkeypatch.setattr(wide, "SETS", {"few": lambda draw: wide.factors(draw, n_rows=120, columns=(60, 40))})
    (ours, linear), (a, b, y) = wide.scores("few", 1), wide.factors(1, n_rows=120, columns=(60, 40))
    X = np.hstack([a, b]).astype(np.float32)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=1)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)).fit(X_train, y_train)
    assert_allclose(linear, (model.score(X_test, y_test), log_loss(y_test, model.predict_proba(X_test))), rtol=1e-6)
    assert all(np.isfinite(ours))


def test_the_race_gives_plain_skorch_the_network_of_the_estimator(quick_models, two_blocks):
    race, X, y = quick_models("race"), two_blocks[0], np.unique(two_blocks[1], return_inverse=True)[1]
    test, train = np.split(np.arange(len(y)), [30])
    network, seconds = race.run_ours(7, {"n_members": 1, "random_state": 0}, X, y, train, test, {"low": 0.4})
    assert seconds["low"] > 0
    ours = race.DualBranchClassifier(7, n_members=1, contrastive=None).fit(X, y).network_
    plain = race.PlainNetwork(**network)
    assert [tuple(p.shape) for p in plain.parameters()] == [tuple(p.shape) for p in ours.parameters()]
    x = torch.from_numpy(X).split([7, X.shape[1] - 7], dim=1)
    assert all(torch.equal(scaled, block) for scaled, block in zip(plain.network.scale(*x), x, strict=True))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        laps = race.run_skorch(race.Race(X[test], y[test], target=0.8, max_laps=400), network, X[train], y[train])
    assert laps.best >= 0.8


@pytest.mark.slow
def test_the_accuracy_benchmark_scores_as_sklearn_does_and_resumes(tmp_path):
    htad = load_htad()
    X, y = htad.data[::4], np.unique(htad.target[::4], return_inverse=True)[1]
    np.savez(tmp_path / "htad.npz", a=X[:, :36], b=X[:, 36:], y=y)
    arguments = ["--data", tmp_path, "--output", tmp_path / "out", "--models", "logistic,logistic [B]", "--splits", "2"]
    first = run("benchmarks/accuracy.py", *arguments)
    assert run("benchmarks/accuracy.py", *arguments).strip() in first
    rows = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert len(rows) == 4
    for row in rows:
        data = X[:, 36:] if row["model"].endswith("[B]") else X
        train, test, y_train, y_test = train_test_split(
            data, y, test_size=0.2, stratify=y, random_state=int(row["split"])
        )
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)).fit(train, y_train)
        assert row["accuracy"] == pytest.approx(model.score(test, y_test))
        counts, confidence, correct = np.array(row["bins"])
        assert counts.sum() == len(y_test)
        assert confidence.sum() == pytest.approx(model.predict_proba(test).max(axis=1).sum())
        assert correct.sum() / counts.sum() == pytest.approx(row["accuracy"])


@pytest.mark.slow
@pytest.mark.parametrize("row", ["loop", "fusion", "head", "contrastive", "predict", "sparse", "growth", "iris"])
def test_a_row_of_the_speed_benchmark_gives_its_figures(row):
    printed = run("benchmarks/speed.py", "--quick", "--only", row).splitlines()[1:]
    results = [json.loads(line) for line in printed]
    assert results
    for result in results:
        assert result["name"].startswith(row)
        figures = [value for value in result.values() if isinstance(value, float)]
        assert figures
        assert np.isfinite(figures).all()
