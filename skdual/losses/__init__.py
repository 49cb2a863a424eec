"""The composite loss and its terms, one a file."""

from .composite import CompositeLoss

__all__ = ["CompositeLoss"]
