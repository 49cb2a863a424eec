"""Keeping one set of weights aside while training goes on."""


class KeptWeights:
    """A copy of a module's parameters and buffers that can be refreshed and put back."""

    def __init__(self, module):
        self._module = module
        self._copy = None
        self.epoch = 0

    def keep(self, epoch):
        """Copy the module's present state; ``epoch`` says when that was."""
        state = self._module.state_dict()
        if self._copy is None:
            self._copy = {name: tensor.detach().clone() for name, tensor in state.items()}
        else:
            for name, tensor in state.items():
                self._copy[name].copy_(tensor)
        self.epoch = epoch

    def restore(self):
        """Put the copy back into the module."""
        self._module.load_state_dict(self._copy)
