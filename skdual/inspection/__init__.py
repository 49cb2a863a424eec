"""What a fitted classifier looks at: attributions of features, importance of blocks, and where the classes part."""

from .blocks import block_importance
from .features import attributions, class_attributions
from .probe import linear_probe

__all__ = ["attributions", "block_importance", "class_attributions", "linear_probe"]
