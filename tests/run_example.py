"""Running a page of the examples as its users do."""

import subprocess
import sys
from pathlib import Path

import matplotlib.image

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name, output, *arguments):
    """What an example prints, once its picture is there."""
    command = [sys.executable, EXAMPLES / name, "--output", output, *arguments]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert printed.rstrip().endswith(f"saved {output}")
    picture = matplotlib.image.imread(output)
    assert min(picture.shape[:2]) > 500
    assert picture.std() > 0.05  # not blank
    return printed
