"""The examples in public docstrings give what they say, and no public function or class lacks one."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import skdual

MODULES = [importlib.import_module(module.name) for module in pkgutil.walk_packages(skdual.__path__, "skdual.")]
PUBLIC = ["", ".datasets", ".inspection", ".omics", ".plotting", ".preprocessing"]


@pytest.mark.parametrize("module", [m for m in MODULES if ">>>" in inspect.getsource(m)], ids=lambda m: m.__name__)
def test_examples(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_function_and_class_has_an_example(module):
    module = importlib.import_module(f"skdual{module}")
    public = {name: getattr(module, name) for name in module.__all__}
    documented = {name: thing for name, thing in public.items() if inspect.isclass(thing) or inspect.isfunction(thing)}
    assert [name for name, thing in documented.items() if ">>>" not in inspect.getdoc(thing)] == []
    assert documented
