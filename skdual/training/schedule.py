"""Learning rate over a cycle: linear warm-up, then half a cosine down to 0."""

import math


class WarmupCosine:
    """Factor on the learning rate at a step, for torch.optim.lr_scheduler.LambdaLR.

    Linear from 1 / warm-up steps to 1 over the warm-up, then (1 + cos(pi t)) / 2 (Loshchilov & Hutter, 2017)
    with t from 0 to 1 over the steps that remain; all of it times the peak.

    Parameters
    ----------
    n_steps : int
        Optimiser steps of the cycle.
    warmup : float
        Share of the steps to warm up over, in [0, 1).
    peak : float, default=1.0
        Largest factor.
    """

    def __init__(self, n_steps, warmup, peak=1.0):
        self.n_steps = n_steps
        self.peak = peak
        self.n_warmup = math.floor(warmup * n_steps)

    def __call__(self, step):
        if step < self.n_warmup:
            return self.peak * (step + 1) / self.n_warmup
        progress = (step - self.n_warmup) / max(1, self.n_steps - self.n_warmup)
        return self.peak * (1 + math.cos(math.pi * min(progress, 1))) / 2
