"""The example runs as its users run it."""

import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pytest


@pytest.mark.slow
def test_the_blocks_rank_as_they_do_alone(tmp_path):
    example = Path(__file__).parents[2] / "examples" / "explain_htad.py"
    command = [sys.executable, example, "--output", tmp_path / "features.png"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert float(printed.splitlines()[0].split()[-1]) > 0.9
    assert printed.rstrip().endswith("they agree: True")
    assert matplotlib.image.imread(tmp_path / "features.png").std() > 0.05  # not blank
