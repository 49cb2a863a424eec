"""A scikit-learn classifier for samples measured twice."""

__version__ = "0.1.0"

from . import datasets
from .estimator import DualBranchClassifier
from .inputs.columns import from_prefix
from .inputs.joining import join_blocks
from .persistence import load, save

__all__ = ["DualBranchClassifier", "__version__", "datasets", "from_prefix", "join_blocks", "load", "save"]
