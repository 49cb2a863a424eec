"""The logarithms that stand for columns of a long tail.

Where x is 0 the derivatives are those of the positive side, for relu has none there.
"""

import torch


def logarithms(x, unit):
    """log(1 + x / unit), and x / unit where x is negative."""
    ratio = x / unit  # which is infinite for values far beyond those that told the unit
    return torch.log1p(ratio.clamp(0, torch.finfo(ratio.dtype).max)) - torch.relu(-ratio)


def inverse_logarithms(logarithm, unit):
    """The x that :func:`logarithms` makes this of."""
    return (torch.expm1(logarithm.clamp(min=0)) - torch.relu(-logarithm)) * unit
