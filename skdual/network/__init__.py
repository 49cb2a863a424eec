"""The network, in the order a batch passes through it: branches, fusion, heads, ensemble; before them, ``scaling``."""

from .dual_branch import DualBranchNetwork

__all__ = ["DualBranchNetwork"]
