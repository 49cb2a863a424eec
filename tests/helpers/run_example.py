"""Running programs of the examples as their users do."""

import subprocess
import sys
from pathlib import Path

import matplotlib.image

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name, *arguments):
    """What a program prints."""
    command = [sys.executable, EXAMPLES / name, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def run_with_picture(name, output, *arguments):
    """What a program prints that saves a picture and says so in the end."""
    printed = run(name, "--output", output, *arguments)
    assert printed.rstrip().endswith(f"saved {output}")
    assert_shows_something(output)
    return printed


def assert_shows_something(picture):
    pixels = matplotlib.image.imread(picture)
    assert min(pixels.shape[:2]) > 500
    assert pixels.std() > 0.05
