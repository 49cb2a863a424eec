"""Learning rate over a fit: linear warm-up, then half a cosine down to 0; or this several times."""

import math


class WarmupCosine:
    """Factor on the learning rate at a step, for torch.optim.lr_scheduler.LambdaLR.

    Linear from 1 / warm-up steps to 1 over the warm-up, then (1 + cos(pi t)) / 2 (Loshchilov & Hutter, 2017)
    with t from 0 to 1 over the steps that remain. As torch's LinearLR and CosineAnnealingLR one after the other, but a
    function of the step, which :class:`WarmRestarts` can put in a row.

    Parameters
    ----------
    n_steps : int
        Optimizer steps of the whole fit.
    warmup : float
        Share of the steps to warm up over, in [0, 1).
    """

    def __init__(self, n_steps, warmup):
        self.n_steps = n_steps
        self.n_warmup = math.floor(warmup * n_steps)

    def __call__(self, step):
        if step < self.n_warmup:
            return (step + 1) / self.n_warmup
        progress = (step - self.n_warmup) / max(1, self.n_steps - self.n_warmup)
        return (1 + math.cos(math.pi * min(progress, 1))) / 2


class WarmRestarts:
    """One :class:`WarmupCosine` after the other (warm restarts, Loshchilov & Hutter, 2017).

    Parameters
    ----------
    n_steps : list of int
        Optimizer steps of each.
    warmup : float
        Share of the steps of each to warm up over, in [0, 1).
    """

    def __init__(self, n_steps, warmup):
        self._parts = [WarmupCosine(n, warmup) for n in n_steps]

    def __call__(self, step):
        for part in self._parts[:-1]:
            if step < part.n_steps:
                return part(step)
            step -= part.n_steps
        return self._parts[-1](step)
