"""The network, in the order a batch passes through it.

``dual_branch`` (the whole), whose first layers are those of ``skdual.scaling``; ``branches``, ``fusion`` (by
``attention`` or not), ``heads``, ``ensemble`` (one answer of all members). Their layers are of ``members`` side by
side, and ``step_memory`` is what some of these use again in every step.
"""

from .dual_branch import DualBranchNetwork

__all__ = ["DualBranchNetwork"]
