"""The README's Python blocks run, and its tables tell the truth."""

import re
from pathlib import Path

import pytest

from skdual import DualBranchClassifier

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_there_are_blocks_to_run():
    assert len(BLOCKS) == README.count("```python") == 4


@pytest.mark.parametrize("block", BLOCKS, ids=[f"block {number}" for number in range(1, len(BLOCKS) + 1)])
def test_block_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "readme"}
    exec(compile(block, "README.md", "exec"), namespace)
    for name, width in re.findall(r"^(\w+) = .*# \(n, (\d+)\)", block, flags=re.MULTILINE):
        assert namespace[name].shape[1:] == (int(width),), name


def test_the_parameter_table_names_every_parameter_with_its_default():
    table = README.split("## Parameters")[1].split("##")[0]
    documented = {}
    for names, defaults, _ in re.findall(r"^\| (`.*?) \| (.*?) \| (.*?) \|$", table, flags=re.MULTILINE):
        names, defaults = re.findall(r"`(.*?)`", names), re.findall(r"`(.*?)`", defaults)
        documented |= dict(zip(names, defaults * len(names) if len(defaults) == 1 else defaults, strict=True))
    expected = DualBranchClassifier().get_params()
    assert documented.keys() == expected.keys()
    for name, value in documented.items():
        assert eval(value, {}) == expected[name], name
