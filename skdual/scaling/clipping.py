"""Smooth clipping of scaled values."""

import torch

LIMIT = 3.0
"""Standard deviations that no clipped value goes beyond."""

_HUGE = 1e9  # whose square is finite; beyond it all is the limit


def clip_smoothly(z):
    """z / sqrt(1 + (z / LIMIT)^2) (Holzmueller et al., 2024, RealMLP); z is overwritten where no gradient needs it.

    Values near 0 stay as they are. Without it the columns that are 0 in nearly all rows, as in counts of words or
    genes, reach tens of deviations where they are not, and drown the rest.
    """
    z = z.clamp_(-_HUGE, _HUGE)
    one = torch.ones((), dtype=z.dtype, device=z.device)
    factor = torch.addcmul(one, z, z, value=1 / LIMIT**2).rsqrt_()
    return z * factor if z.requires_grad else factor.mul_(z)
