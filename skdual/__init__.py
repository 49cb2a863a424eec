"""A scikit-learn classifier for samples described by two blocks of columns.

The front door is ``estimator``, with what it can do once fitted (``fitted_methods``). Through the house, in the order
of a fit: ``parameters`` (their constraints, and what "auto" stands for by the rules of ``defaults``), ``inputs`` (from
X and y to rows and batches), ``scaling`` of the columns, ``network``, ``losses``, ``training``, ``inference``;
``serialization`` (what a fitted model is saved as) and ``persistence`` (files). All of them use ``devices``,
``matmul``, ``anova``, ``warn``. Beside it are ``inspection`` and ``plotting`` of fitted models (of ``pipelines`` too),
``preprocessing``, readers of single-cell data (``omics``), ``datasets``, and ``extras`` (optional dependencies).
"""

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
