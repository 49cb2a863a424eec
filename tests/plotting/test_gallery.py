"""The gallery makes every picture, and the README shows them."""

import re
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pytest

ROOT = Path(__file__).parents[2]
GALLERY = ROOT / "examples" / "gallery.py"
SHOWN = ROOT / "examples" / "pictures"


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
    assert {path.name for path in saved} == {path.name for path in SHOWN.iterdir()}
    for path in saved:
        picture = matplotlib.image.imread(path)
        assert min(picture.shape[:2]) > 500
        assert picture.std() > 0.05  # not blank
        assert path.stat().st_size < 120_000


def test_the_readme_shows_each_picture():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"\(examples/pictures/(\S+\.png)\)", readme)
    assert sorted(shown) == sorted(path.name for path in SHOWN.iterdir())
