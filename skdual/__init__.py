"""A scikit-learn classifier for samples described by two blocks of columns."""

__version__ = "0.1.0"

from importlib import import_module
from typing import TYPE_CHECKING

from .estimator import DualBranchClassifier
from .inputs.columns import from_prefix
from .inputs.joining import join_blocks
from .persistence import load, save

__all__ = [
    "DualBranchClassifier",
    "__version__",
    "datasets",
    "from_prefix",
    "inspection",
    "join_blocks",
    "load",
    "omics",
    "plotting",
    "preprocessing",
    "save",
]

if TYPE_CHECKING:  # a __getattr__ would let a type checker take any name for one of ours
    from . import datasets, inspection, omics, plotting, preprocessing
else:

    def __getattr__(name):
        """Public modules, imported when they are first asked for."""
        if name in __all__:
            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return __all__
