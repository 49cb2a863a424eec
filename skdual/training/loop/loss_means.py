"""Means of the loss terms over an epoch, kept on the device until the epoch is over."""

import torch


class LossMeans:
    """Row-weighted running means of named scalar tensors, and where the first of each was not finite."""

    def __init__(self):
        self._names: list[str] = []
        # 0-dimensional CPU tensors go with tensors of any device
        self._sums = self._n_finite = torch.zeros((), device="cpu")
        self._finite = torch.ones((), dtype=torch.bool, device="cpu")
        self._n_rows = self._n_batches = 0

    def add(self, terms, n_rows):
        """Take in the terms of a batch (dict of scalar tensors, the same names every time)."""
        self._names = list(terms)
        values = torch.stack(list(terms.values())).detach()
        self._sums = self._sums + values * n_rows
        self._finite = self._finite & values.isfinite()
        self._n_finite = self._n_finite + self._finite
        self._n_rows += n_rows
        self._n_batches += 1

    def read(self):
        """Wait for the device and give the means, and the batch from which on a term was not finite.

        Returns
        -------
        means : dict of float
        broken : dict of int
            Number of the batch, from 0, of the terms for which there is one.
        """
        means, counts = torch.stack([self._sums / self._n_rows, self._n_finite.to(self._sums.dtype)]).cpu().tolist()
        broken = {name: int(n) for name, n in zip(self._names, counts, strict=True) if n < self._n_batches}
        return dict(zip(self._names, means, strict=True)), broken
