"""A device with memory for a few rows only: a method of the network that fails for more of them."""

import torch

from skdual.network import DualBranchNetwork

OUT_OF_MEMORY = {
    "torch's": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "of another kind": RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GB)"),
}


class SmallMemory:
    """Makes a method of the network raise an error for more than so many rows, and notes how many each call has."""

    def __init__(self, monkeypatch, method, most, error):
        self.n_rows = []
        original = getattr(DualBranchNetwork, method)

        def limited(network, x_a, x_b):
            self.n_rows.append(len(x_a))
            assert len(self.n_rows) < 500, "asked again and again"
            if len(x_a) > most:
                raise error
            return original(network, x_a, x_b)

        monkeypatch.setattr(DualBranchNetwork, method, limited)
