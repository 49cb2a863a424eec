"""The README's Python blocks run, and its tables tell the truth."""

import ast
import re
from pathlib import Path

import pytest

from skdual import DualBranchClassifier

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_readme_has_blocks_to_run():
    assert len(BLOCKS) == README.count("```python") == 5


@pytest.mark.parametrize("block", BLOCKS, ids=[f"block {number}" for number in range(1, len(BLOCKS) + 1)])
def test_readme_block_runs(block, tmp_path, monkeypatch):
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


EXTRAS = {  # what each brings that can be imported
    "examples": {"pandas", "matplotlib", "PIL", "skdual.plotting"},
    "omics": {"anndata", "mudata", "pandas", "skdual.omics"},
    "plotting": {"matplotlib", "PIL", "skdual.plotting"},
    "search": {"optuna"},
    "inspection": {"captum", "pandas", "skdual.inspection"},
}


def test_the_table_of_examples_names_the_extras_that_each_needs():
    table = README.split("| `examples/` |")[1].split("\n\n")[0]
    named = {
        name: set(re.findall(r"`(\w+)`", extras))
        for name, extras in re.findall(r"^\| `(\w+\.py)` \| .* \| (.*?) \|$", table, re.M)
    }
    assert named.keys() == {path.name for path in (ROOT / "examples").glob("*.py")}
    for name, extras in named.items():
        tree = ast.walk(ast.parse((ROOT / "examples" / name).read_text(encoding="utf-8")))
        modules = set()
        for node in tree:
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                modules.add(".".join(node.module.split(".")[: 2 if node.module.startswith("skdual") else 1]))
                modules |= {"captum" for alias in node.names if alias.name == "AttributionDisplay"}
        needed = modules & set.union(*EXTRAS.values())
        assert needed <= set().union(*(EXTRAS[extra] for extra in extras)), name
        for extra in extras:
            assert needed - set().union(*(EXTRAS[other] for other in extras - {extra})), (name, extra)
