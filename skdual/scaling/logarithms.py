"""The logarithms that stand for columns of long tails.

Where x is ``zero`` the derivatives are those of the upper side, for relu has none there.
"""

import torch


def logarithms(x, zero, unit):
    """log(1 + |x - zero| / unit), with the sign of x - zero."""
    ratio = (x - zero) / unit  # which is infinite for values far beyond those that told the unit
    largest = torch.finfo(ratio.dtype).max
    return torch.log1p(ratio.clamp(0, largest)) - torch.log1p(torch.relu(-ratio).clamp(max=largest))


def inverse_logarithms(logarithm, zero, unit):
    """The x that :func:`logarithms` makes this of."""
    return zero + (torch.expm1(logarithm.clamp(min=0)) - torch.expm1(torch.relu(-logarithm))) * unit
