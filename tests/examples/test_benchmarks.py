"""The benchmarks give their figures."""

import json

import numpy as np
import pytest
from run_example import run
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdual.datasets import load_htad


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
