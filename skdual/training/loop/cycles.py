"""The cycles of the learning rate in a fit, and the choice between the ends of two."""

import math

from skorch.callbacks import EarlyStopping

from ..calibration import chance_loss, held_out_loss
from .kept_weights import KeptWeights

MIN_LOSS_DROP = 0.03
"""By how much held-out loss has to be lower at the end of the first cycle for a fit to go back to it, as a share of the
loss at the end of the second, or of what that is below the loss of chance, if this is less.

The rows are scored by single members, which overfit more than the mean of several does.
"""


def early_stopping_callbacks(net):
    """Callbacks of skorch's EarlyStopping, which stop a fit by raising KeyboardInterrupt."""
    return [callback for _, callback in net.callbacks_ if isinstance(callback, EarlyStopping)]


class Cycles:
    """The one or two cycles of a fit; of two, held-out rows tell at whose end the weights are better.

    There is one without ``net.first_cycle``, where no member holds a row out, and with a callback of skorch's
    EarlyStopping, which would stop where the learning rate rises again.

    Parameters
    ----------
    net : DualBranchNet
        Initialised.
    rows : Rows
        To train on.
    mask : ndarray of bool of shape (n_members, n)
        Which of them each member trains on.
    n_epochs : int
        Of the whole fit.

    Attributes
    ----------
    lengths : list of int
        Epochs of each cycle.
    """

    def __init__(self, net, rows, mask, n_epochs):
        self._net, self._rows, self._mask = net, rows, mask
        first = net.first_cycle
        two = first and first < n_epochs and not mask.all() and not early_stopping_callbacks(net)
        self.lengths = [first, n_epochs - first] if two else [n_epochs]
        self._first_end, self._first_loss = None, math.inf

    def scores_held_out(self, epoch):
        """Whether held-out rows are scored at the end of an epoch, counted from 1."""
        return len(self.lengths) == 2 and epoch in (self.lengths[0], sum(self.lengths))

    def end_epoch(self, epoch):
        """Keep the weights at the end of the first of two cycles."""
        if len(self.lengths) == 2 and epoch == self.lengths[0]:
            self._first_end = KeptWeights(self._net.module_)
            self._first_end.keep(epoch)
            self._first_loss = self._held_out_loss()

    def choose(self, last_end):
        """The KeptWeights of the better end: ``last_end``, which the network has now, or those of the first cycle."""
        if self._first_end is None:
            return last_end
        last_loss = self._held_out_loss()
        below_chance = max(0.0, chance_loss(self._rows.y, self._net.criterion__class_weight) - last_loss)
        is_better = last_loss - self._first_loss > MIN_LOSS_DROP * min(last_loss, below_chance)
        return self._first_end if is_better else last_end

    def _held_out_loss(self):
        return held_out_loss(self._net.module_, self._rows, self._mask, self._net.criterion__class_weight)
