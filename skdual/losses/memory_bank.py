"""Memory bank: the latest projection of every training row and branch."""

from typing import NamedTuple

import numpy as np
import torch


class BankCandidates(NamedTuple):
    """Projections (n_members, n_drawn, projection_dim) of earlier batches, their ids (n_drawn,), and which of them each
    member may be shown, of bool, (n_members, n_drawn)."""

    projections: torch.Tensor
    ids: torch.Tensor
    visible: torch.Tensor


class MemoryBank:
    """Detached projections of earlier batches, drawn as further candidates of the contrastive loss.

    A slot is one (row, branch); the projections of branch b lie n rows behind those of branch a. Which slots
    are filled and which are drawn is decided on the host, where the row numbers of a batch are known
    anyway, so that the device never has to report back.

    Follows Wu et al., 2018 (instance discrimination) and Wang et al., 2020 (cross-batch memory).

    Parameters
    ----------
    ids : ndarray of int64 of shape (n_rows,)
        Id of every training row: its class code, or its number in the self-supervised form.
    n_members : int
    size : int
        Slots to draw for a batch; fewer come where fewer are filled.
    projection_dim : int
    device : torch.device
    dtype : torch.dtype
    random_generator : numpy.random.Generator
    """

    def __init__(self, ids, n_members, size, projection_dim, device, dtype, random_generator):
        self.n_rows = len(ids)
        self.size = size
        self.random_generator = random_generator
        self._projections = torch.zeros(n_members, 2 * self.n_rows, projection_dim, dtype=dtype, device=device)
        self._visible = torch.ones(n_members, 2 * self.n_rows, dtype=torch.bool, device=device)
        self._ids = torch.from_numpy(ids).to(device).repeat(2)
        self._filled = np.zeros(self.n_rows, dtype=bool)
        self._filled_rows = np.zeros(0, dtype=np.int64)

    def draw(self, rows):
        """What the next batch is shown, and what of it is kept; to be called once for each batch, in their order.

        The slots of the batch count as filled from then on.

        Parameters
        ----------
        rows : ndarray of int64 of shape (batch,)

        Returns
        -------
        slots : ndarray of int64 of shape (n_drawn,)
            Up to ``size`` filled slots, without replacement, none of them of ``rows``.
        last : ndarray of int64
            Place in the batch of every row, the later one of a row that is there twice.
        """
        slots = self._draw_slots(rows)
        kept, place = np.unique(rows[::-1], return_index=True)
        new = kept[~self._filled[kept]]
        self._filled[new] = True
        self._filled_rows = np.concatenate([self._filled_rows, new])
        return slots, len(rows) - 1 - place

    def _draw_slots(self, rows):
        n_filled = len(self._filled_rows)
        # the batch fills at most 2 len(rows) slots, so this many hold `size` others wherever there are as many
        n_enough = min(2 * n_filled, self.size + 2 * len(rows))
        drawn = self.random_generator.choice(2 * n_filled, size=n_enough, replace=False) if n_filled else []
        branch, number = np.divmod(np.asarray(drawn, dtype=np.int64), max(n_filled, 1))
        row = self._filled_rows[number]
        return (branch * self.n_rows + row)[~np.isin(row, rows)][: self.size]

    def take(self, slots):
        """The :class:`BankCandidates` in the slots, a tensor of int64 on the device; None where there are no slots."""
        if not len(slots):
            return None
        projections, visible = self._projections.index_select(1, slots), self._visible.index_select(1, slots)
        return BankCandidates(projections, self._ids[slots], visible)

    def store(self, device_index, last, projections, visible=None):
        """Keep the projections of a batch.

        Parameters
        ----------
        device_index : tensor of int64 of shape (batch,)
            Numbers of its rows, on the device.
        last : tensor of int64
            As drawn for the batch.
        projections : pair of tensors of shape (n_members, batch, projection_dim)
        visible : tensor of bool of shape (n_members, batch), optional
            Which of them each member may be shown again; all by default.
        """
        for branch, projection in enumerate(projections):
            at = device_index[last] + branch * self.n_rows
            self._projections.index_copy_(1, at, projection.detach()[:, last])
            if visible is not None:
                self._visible.index_copy_(1, at, visible[:, last])
