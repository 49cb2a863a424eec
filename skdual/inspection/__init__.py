"""What a fitted classifier looks at: attributions of features, importance of blocks, and where the classes part."""

from .attribution import attributions, class_attributions
from .importance import block_importance
from .probe import linear_probe

__all__ = ["attributions", "block_importance", "class_attributions", "linear_probe"]
