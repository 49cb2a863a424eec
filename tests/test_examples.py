"""The examples run as their users run them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdual.datasets import load_htad

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name, *arguments):
    command = [sys.executable, EXAMPLES / name, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_quickstart_gains_from_both_blocks_and_predicts_the_same_after_loading():
    printed = run("quickstart.py")
    f1 = {line.split("  ")[0]: float(line.split()[-1]) for line in printed.splitlines() if "macro F1" in line}
    assert list(f1) == ["audio alone", "accelerometer alone", "both blocks"]
    assert f1["both blocks"] > 0.9
    assert f1["both blocks"] > max(f1["audio alone"], f1["accelerometer alone"])
    assert "same probabilities: True" in printed


@pytest.mark.slow
def test_multiomics_names_the_classes():
    printed = run("multiomics.py")
    assert "branches [256, 128] and [256, 128]" in printed
    assert float(printed.split()[-1]) > 0.8  # four classes: 0.25 by chance, 0.5 by one block


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
def test_citeseq_needs_both_blocks_for_the_rare_type_and_reads_files(tmp_path):
    def scores(printed):
        return {name.strip(): float(f1) for name, f1 in re.findall(r"^(.+?) +\d+ cells   F1 (\S+)$", printed, re.M)}

    f1 = scores(run("citeseq_pipeline.py", "--output", tmp_path / "cells.png"))
    assert set(f1) == {"CD4 T", "CD8 T", "monocyte", "B", "NK", "pDC", "macro F1"}
    assert f1["macro F1"] > 0.9
    assert f1["pDC"] > 0.7  # by protein alone they are monocytes
    assert min(f1["CD4 T"], f1["CD8 T"]) > 0.85  # by RNA alone they are one
    code = f"import citeseq_pipeline as c; a = c.simulate(300, 50); a.write_h5ad({str(tmp_path / 'small.h5ad')!r})"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=EXAMPLES)
    printed = run("citeseq_pipeline.py", "--data", tmp_path / "small.h5ad", "--output", tmp_path / "small.png")
    assert "50 genes, 11 proteins" in printed
    assert np.isfinite(scores(printed)["macro F1"])
    for picture in ("cells.png", "small.png"):
        assert matplotlib.image.imread(tmp_path / picture).std() > 0.05  # not blank


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
