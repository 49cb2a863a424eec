"""The gallery makes every picture."""

import re
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pytest

GALLERY = Path(__file__).parents[2] / "examples" / "gallery.py"


@pytest.mark.slow
def test_every_picture_is_saved(tmp_path):
    command = [sys.executable, GALLERY, "--output", tmp_path / "pictures"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert re.search(r"^verdict: converged: ", printed, flags=re.MULTILINE)
    saved = [Path(name) for name in re.findall(r"^saved (.*)$", printed, flags=re.MULTILINE)]
    assert sorted(saved) == sorted((tmp_path / "pictures").iterdir())
    assert {path.stem for path in saved} == {
        "training_curve",
        "embedding_pca",
        "embedding_tsne",
        "projection_error",
        "attribution",
    }
    for path in saved:
        picture = matplotlib.image.imread(path)
        assert min(picture.shape[:2]) > 500
        assert picture.std() > 0.05  # not blank
