"""A callback that raises, to end a fit on the way."""

from skorch.callbacks import Callback


class RaiseAt(Callback):
    """Raises an exception in the given epoch, from the given hook."""

    def __init__(self, epoch, hook="on_batch_end", exception=KeyboardInterrupt):
        self.epoch = epoch
        self.exception = exception
        setattr(self, hook, self._raise)

    def _raise(self, net, **kwargs):
        if len(net.history) == self.epoch and kwargs.get("training", True):
            raise self.exception
