"""The examples in public docstrings give what they say, and no public function, class or method lacks one."""

import doctest
import importlib
import inspect
import pkgutil

import matplotlib.pyplot as plt
import pytest

import skdual

MODULES = [importlib.import_module(module.name) for module in pkgutil.walk_packages(skdual.__path__, "skdual.")]
# run as a reader would paste them: with nothing imported but what they import
EXAMPLES = {
    test.name: test for module in MODULES for test in doctest.DocTestFinder().find(module, globs={}) if test.examples
}
PUBLIC = ["", ".datasets", ".inspection", ".omics", ".plotting", ".preprocessing"]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize("test", EXAMPLES.values(), ids=EXAMPLES.keys())
def test_examples_of_docstrings_run(test):
    assert doctest.DocTestRunner().run(test).failed == 0


def methods(cls):
    """Names of the public methods of a class that are written in this package, those that it inherits included."""
    for ancestor in inspect.getmro(cls):
        if ancestor.__module__.startswith("skdual"):
            for name, thing in vars(ancestor).items():
                # scikit-learn adds set_fit_request and the like to the class itself
                if not name.startswith("_") and inspect.isroutine(thing) and thing.__module__.startswith("skdual"):
                    yield f"{ancestor.__module__}.{ancestor.__qualname__}.{name}"


@pytest.mark.parametrize("module", PUBLIC)
def test_everything_public_has_an_example(module):
    module = importlib.import_module(f"skdual{module}")
    things = [getattr(module, name) for name in module.__all__]
    documented = [thing for thing in things if inspect.isclass(thing) or inspect.isfunction(thing)]
    names = [f"{thing.__module__}.{thing.__qualname__}" for thing in documented]
    names += [name for thing in documented if inspect.isclass(thing) for name in methods(thing)]
    assert names
    assert [name for name in names if name not in EXAMPLES] == []
