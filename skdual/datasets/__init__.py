"""Real two-block data sets that come with the package."""

from .htad import load_htad

__all__ = ["load_htad"]
