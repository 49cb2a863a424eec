"""The end of the first of two cycles of the learning rate, to which a fit may go back."""

from .kept_weights import KeptWeights

LEAST_GAIN = 0.03
"""Share by which held-out loss has to be lower at the end of the first cycle for a fit to go back to it.

The rows are scored by single members, which overfit more than the mean of several does.
"""


class FirstEnd:
    """The weights that a network has now, at the end of the first cycle.

    Parameters
    ----------
    network : DualBranchNetwork
    epoch : int
        The last of the cycle, from 1.
    held_out_loss : float
        By these weights.

    Attributes
    ----------
    kept : KeptWeights
    """

    def __init__(self, network, epoch, held_out_loss):
        self.kept = KeptWeights(network)
        self.kept.keep(epoch)
        self._loss = held_out_loss

    def is_better(self, last_loss):
        """Whether held-out rows are better off by these weights than by the last ones, of that loss."""
        return self._loss < (1 - LEAST_GAIN) * last_loss
