"""The pages by task run as their users run them, and show what they say."""

import re
import subprocess
import sys

import numpy as np
import pytest
from run_example import EXAMPLES, assert_shows_something, run, run_with_picture

from skdual.datasets import load_htad, load_nutrimouse


def rows_of(printed):
    """Lines of a table: label and numbers, two or more."""
    found = re.findall(r"^(\S.*?)((?: +\d+\.\d+%?){2,})$", printed, flags=re.MULTILINE)
    return {label.strip(): [float(number.rstrip("%")) for number in numbers.split()] for label, numbers in found}


def small_file(folder):
    """Blocks and labels of one's own: a fifth of HTAD."""
    htad = load_htad()
    path = folder / "own.npz"
    np.savez(path, a=htad.data[::5, :36], b=htad.data[::5, 36:], y=htad.target[::5])
    return path


@pytest.mark.slow
def test_new_tasks_are_less_familiar_and_more_often_rejected(tmp_path):
    rows = rows_of(run_with_picture("novelty.py", tmp_path / "novelty.png"))
    mean = rows.pop("mean")
    assert set(rows) == set(load_htad().target_names)
    table = np.array(list(rows.values()))
    np.testing.assert_allclose(table[:, :2].mean(axis=0), mean, atol=1e-3)
    assert mean[0] > 0.82
    assert mean[0] > mean[1] > 0.7
    known, new = table[:, 2], table[:, 3]
    assert known.mean() == pytest.approx(5, abs=3)  # the quantile, on rows that did not set it
    assert new.mean() > 4 * known.mean()


@pytest.mark.slow
def test_new_diets_of_mice_are_less_familiar(tmp_path):
    rows = rows_of(run_with_picture("novelty.py", tmp_path / "novelty.png", "--data", "nutrimouse"))
    mean = rows.pop("mean")
    assert set(rows) == set(load_nutrimouse().diet_names)
    assert mean[0] > 0.7
    assert max(row[0] for row in rows.values()) > 0.9


@pytest.mark.slow
def test_class_weights_find_a_rare_genotype(tmp_path):
    rows = rows_of(run_with_picture("imbalanced.py", tmp_path / "imbalanced.png", "--data", "nutrimouse"))
    recall = {name: row[1] for name, row in rows.items()}
    assert len(recall) == 5
    assert recall["class_weight='balanced'"] > recall["default"] + 0.1


@pytest.mark.slow
def test_class_weights_find_rare_tasks_and_cost_where_rare_tasks_stay_rare(tmp_path):
    printed = run_with_picture("imbalanced.py", tmp_path / "imbalanced.png")
    rows = rows_of(printed)
    assert len(rows) == 5
    accuracy, rare, loss, rare_loss = np.array([rows["default"], rows["class_weight='balanced'"]]).T
    assert accuracy[1] > accuracy[0] + 0.06
    assert rare[1] > rare[0] + 0.3
    assert loss[1] < loss[0]
    assert rare_loss[1] > rare_loss[0]
    best = max(rows, key=lambda name: rows[name][0])
    assert f"highest balanced accuracy: {best}\n" in printed
    assert rows["balanced logistic regression"][0] > 0.7


@pytest.mark.slow
def test_the_subtype_of_both_blocks_is_found(tmp_path):
    printed = run_with_picture("tumour_subtypes.py", tmp_path / "tumours.png")
    names = ["escaped", "hypermethylated", "immune", "reference", "macro", "log loss"]
    rows = {model: dict(zip(names, numbers, strict=True)) for model, numbers in rows_of(printed).items()}
    whole, linear = rows["block_dropout=0"], rows["logistic regression"]
    assert set(rows) == {"default", "block_dropout=0", "logistic regression"}
    for model in (rows["default"], whole):
        assert model["escaped"] > linear["escaped"] + 0.15  # where all members lose blocks it is not
        assert model["macro"] > 0.68
    for one in rows.values():
        assert one["immune"] > 0.6
        assert one["log loss"] < 1.2  # 1.38 by guessing the shares
    lowest = min(rows, key=lambda name: rows[name]["log loss"])
    assert f"lowest log loss: {lowest}\n" in printed


@pytest.mark.slow
def test_image_and_text_are_better_together_and_the_temperature_helps(tmp_path):
    printed = run_with_picture("image_text.py", tmp_path / "items.png")
    found = re.findall(r"^(.*\S) +accuracy (\S+)   log loss (\S+)$", printed, flags=re.MULTILINE)
    accuracy = {name: float(value) for name, value, _ in found}
    loss = {name: float(value) for name, _, value in found}
    assert list(loss) == ["image alone", "text alone", "both", "logistic regression of both"]
    assert accuracy["both"] > max(accuracy["image alone"], accuracy["text alone"]) + 0.02
    assert loss["both"] < min(loss["image alone"], loss["text alone"]) - 0.2
    assert 0.6 < accuracy["logistic regression of both"] < 0.95  # one label in twenty is noise
    temperature, with_it, without = re.search(
        r"probability_temperature_ (\S+): the log loss of both is (\S+) with it and (\S+) without", printed
    ).groups()
    assert 0.5 < float(temperature) < 1
    assert float(with_it) == loss["both"] < float(without)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tumour_subtypes.py", "image_text.py"])
def test_omics_examples_read_data_of_the_user(tmp_path, name):
    printed = run_with_picture(name, tmp_path / "own.png", "--data", small_file(tmp_path))
    assert "36 + 16 columns" in printed
    losses = re.findall(r"(?:log loss|\d\.\d{3}) +(\d\.\d{3})$", printed, flags=re.MULTILINE)
    assert len(losses) == (3 if name == "tumour_subtypes.py" else 4)
    assert all(float(loss) < 1.5 for loss in losses)  # 1.95 by chance


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
        assert_shows_something(tmp_path / picture)


@pytest.mark.slow
def test_the_blocks_of_htad_rank_as_they_do_alone(tmp_path):
    printed = run("explain_htad.py", "--output", tmp_path / "new" / "features.png")
    assert float(printed.splitlines()[0].split()[-1]) > 0.9
    assert re.search(r"^predicted \S+, true sweep$", printed, flags=re.MULTILINE)  # the first of the test rows
    assert printed.rstrip().endswith("they agree: True")
    assert_shows_something(tmp_path / "new" / "features.png")
