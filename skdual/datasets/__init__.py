"""Real two-block data sets that come with the package."""

from .htad import load_htad
from .nutrimouse import load_nutrimouse

__all__ = ["load_htad", "load_nutrimouse"]
