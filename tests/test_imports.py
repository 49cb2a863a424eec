"""Importing the package loads nothing that is slow to load, or that an extra brings, yet has all its modules."""

import subprocess
import sys
from importlib import import_module
from pkgutil import iter_modules

import pytest

import skdual

# torch._dynamo alone takes longer than torch and scikit-learn together
NOT_LOADED = ("torch._dynamo", "matplotlib", "captum", "anndata", "mudata", "h5py", "optuna", "skops", "lightgbm")


def test_importing_skdual_loads_no_more_than_it_needs():
    code = (
        "import sys, skdual, skdual.inspection, skdual.omics, skdual.plotting, skdual.preprocessing\n"
        f"print([name for name in {NOT_LOADED} if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.strip() == "[]"


def test_public_modules_are_there_without_being_imported():
    names = {
        "datasets": "load_htad",
        "inspection": "attributions",
        "omics": "from_anndata",
        "plotting": "EmbeddingDisplay",
        "preprocessing": "LogNormalizer",
    }
    code = (
        "import sys, skdual\n"
        f"for module, name in {names}.items():\n"
        "    before = 'skdual.' + module in sys.modules\n"
        "    print(before, module in dir(skdual), getattr(getattr(skdual, module), name).__name__)\n"
        f"print([name for name in {NOT_LOADED} if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.splitlines() == [*(f"False True {name}" for name in names.values()), "[]"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "inputs",
        "losses",
        "network",
        "scaling",
        "training",
        "training.columns",
        "training.loop",
        "training.span",
    ],
)
def test_maps_name_every_module(name):
    package = import_module(f"skdual.{name}".rstrip("."))
    modules = [module.name for module in iter_modules(package.__path__)]
    assert [module for module in modules if f"``{module}``" not in package.__doc__] == []


def test_the_names_of_the_package():
    assert dir(skdual) == sorted(skdual.__all__)
    assert all(hasattr(skdual, name) for name in skdual.__all__)
    with pytest.raises(AttributeError, match="module 'skdual' has no attribute 'ploting'"):
        _ = skdual.ploting
    with pytest.raises(ImportError, match="cannot import name 'ploting' from 'skdual'"):
        from skdual import ploting  # noqa: F401 - it must fail
