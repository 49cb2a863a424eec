"""The cycles of the learning rate: the choice between the ends of the first two, and the last, of all rows."""

import math

from torch.optim.lr_scheduler import LambdaLR

from .calibration import held_out_loss
from .interrupts import held_interrupts
from .kept_weights import KeptWeights
from .schedule import WarmupCosine

LEAST_GAIN = 0.03
"""Share by which held-out loss has to be lower at the end of the first cycle for a fit to go back to it.

The rows are scored by single members, which suffer from what they learn by heart more than the mean of several does.
"""

LAST_PEAK = 0.5
"""Peak of the learning rate in the last cycle, beside that of the others, where the weights of the second are kept."""


class Cycles:
    """Starts each cycle of a fit, and does what there is to do between two of them.

    The learning rate rises and falls to 0 in each (warm restarts, Loshchilov & Hutter, 2017). From the end of the
    second cycle the fit goes back to that of the first where the rows that members hold out are better off there. The
    last goes on from what was kept, with a peak that is lower where this was the first; in it every member trains on
    all rows.

    Parameters
    ----------
    net : DualBranchNet
        With its module, optimizer, ``warmup`` and class weights.
    running : RunningFit
    rows : Rows
        To train on.
    mask : ndarray of bool of shape (n_members, n)
        Which rows each member trains on until the last cycle.
    n_epochs : tuple of three ints
        Epochs of each; the last may have none, or both the first and the last.
    n_batches : int
        In an epoch.
    before_last : callable
        Called at the end of the second cycle, when the weights are chosen, if there is a last one.
    """

    def __init__(self, net, running, rows, mask, n_epochs, n_batches, before_last):
        self._net, self._running, self._rows, self._mask = net, running, rows, mask
        self._first, self._second, self._last = n_epochs
        self._n_batches = n_batches
        self._before_last = before_last
        self._first_end, self._first_loss = None, math.inf
        self._start(self._first or self._second)

    def scores_held_out(self, epoch):
        """Whether held-out rows are scored at the end of an epoch, counted from 1."""
        return bool(self._first) and epoch in (self._first, self._first + self._second)

    def end_epoch(self, epoch):
        """Choose weights, and start the next cycle, where one ends."""
        if epoch == self._first:
            self._first_end = KeptWeights(self._net.module_)
            self._first_end.keep(epoch)
            self._first_loss = self._held_out_loss()
            self._start(self._second)
        elif epoch == self._first + self._second:
            if self._first_end is not None and self._first_loss < (1 - LEAST_GAIN) * self._held_out_loss():
                self._running.kept = self._first_end
            if self._last:
                self._start(self._last, LAST_PEAK * self._running.kept.epoch / epoch)
                self._learn_held_out(epoch)

    def _start(self, n_epochs, peak=1.0):
        factor = WarmupCosine(n_epochs * self._n_batches, self._net.warmup, peak)
        self._running.schedule = LambdaLR(self._net.optimizer_, factor)

    def _held_out_loss(self):
        return held_out_loss(self._net.module_, self._rows, self._mask, self._net.criterion__class_weight)

    def _learn_held_out(self, epoch):
        with held_interrupts():
            self._running.kept.restore()
            self._before_last()
            self._running.training_mask.fill_(True)  # in place: a captured update reads it where it is
            self._running.kept.keep(epoch)
            self._net.holds_out_ = False
