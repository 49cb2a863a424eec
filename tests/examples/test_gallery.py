"""The gallery makes every picture, and the README shows them."""

import re
from pathlib import Path

import pytest
from run_example import EXAMPLES, assert_shows_something, run

SHOWN = EXAMPLES / "pictures"


@pytest.mark.slow
def test_every_picture_is_saved(tmp_path):
    printed = run("gallery.py", "--output", tmp_path / "pictures")
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
        assert_shows_something(path)
        assert path.stat().st_size < 120_000


def test_the_readme_shows_each_picture():
    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"\(examples/pictures/(\S+\.png)\)", readme)
    assert sorted(shown) == sorted(path.name for path in SHOWN.iterdir())
