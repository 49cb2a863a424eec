"""The examples run as their users run them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

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
def test_grid_search():
    printed = run("grid_search.py")
    scores = [float(score) for score in re.findall(r"^macro F1 (\S+)", printed, flags=re.MULTILINE)]
    assert len(scores) == 8
    assert scores == sorted(scores, reverse=True)
    assert float(re.search(r"macro avg\s+\S+\s+\S+\s+(\S+)", printed)[1]) > 0.88


@pytest.mark.slow
def test_multiomics_has_the_full_widths():
    printed = run("multiomics.py")
    assert "branches [2048, 1024, 512, 256] and [512, 256]" in printed
    assert float(printed.split()[-1]) > 0.5  # four classes: 0.25 by chance
