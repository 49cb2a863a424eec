"""The network, in the order a batch passes through it: scaling, branches, fusion, heads."""

from .dual_branch import DualBranchNetwork

__all__ = ["DualBranchNetwork"]
