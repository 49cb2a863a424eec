"""The composite loss, its terms, and the memory bank of the contrastive one."""

from .composite import CompositeLoss

__all__ = ["CompositeLoss"]
