"""The loss: ``composite``, of cross-entropy, ``contrastive`` (with a ``memory_bank``) and ``orthogonality``."""

from .composite import CompositeLoss

__all__ = ["CompositeLoss"]
