"""Cross-entropy + weighted contrastive + weighted orthonormality, term by term."""

import torch
from torch import nn
from torch.nn import functional as F

from .contrastive import contrastive_loss
from .orthonormality import orthonormality_penalty


class CompositeLoss(nn.Module):
    """The training objective; a term of weight 0 is neither computed nor recorded.

    Parameters
    ----------
    class_weight : ndarray of shape (n_classes,)
        Weight of a row by its class, with mean 1 over the training rows.
    label_smoothing : float
    contrastive : {"supervised", "self_supervised"} or None
    contrastive_weight, orthogonality_weight : float
    temperature : float
    """

    def __init__(
        self,
        class_weight,
        label_smoothing,
        contrastive,
        contrastive_weight,
        temperature,
        orthogonality_weight,
    ):
        super().__init__()
        self.register_buffer("class_weight", torch.as_tensor(class_weight))
        self.label_smoothing = label_smoothing
        self.contrastive = contrastive
        self.contrastive_weight = contrastive_weight
        self.temperature = temperature
        self.orthogonality_weight = orthogonality_weight

    def ids(self, target, rows):
        """What makes two views positives of each other: class codes or row numbers."""
        return target if self.contrastive == "supervised" else rows

    def forward(self, scores, target, class_weight, projections=None, ids=None, bank=None, bases=None):
        """Loss terms of a batch.

        Parameters
        ----------
        scores : tensor of shape (batch, n_classes)
        target : tensor of int64 of shape (batch,)
        class_weight : tensor of shape (n_classes,)
        projections : pair of tensors of shape (batch, projection_dim), optional
        ids : tensor of int64 of shape (batch,), optional
        bank : pair of tensors, optional
            See :func:`~skdual.losses.contrastive.contrastive_loss`.
        bases : tensor of shape (n_classes, subspace_dim, d), optional

        Returns
        -------
        terms : dict of scalar tensors
            ``loss``, their weighted sum, ``classification_loss`` and where they apply ``contrastive_loss`` and
            ``orthogonality_loss``, unweighted.
        """
        per_row = F.cross_entropy(scores, target, reduction="none", label_smoothing=self.label_smoothing)
        # divided by the rows and not by their weights, whose mean over the data is 1: else a batch of
        # heavy rows would count as much as a batch of light ones
        total = classification = (per_row * class_weight[target]).mean()
        terms = {"classification_loss": classification}
        if projections is not None and self.contrastive_weight:
            views = torch.cat(projections)
            contrastive = contrastive_loss(views, ids.repeat(2), self.temperature, bank).mean()
            terms["contrastive_loss"] = contrastive
            total = total + self.contrastive_weight * contrastive
        if bases is not None and self.orthogonality_weight:
            orthogonality = orthonormality_penalty(bases)
            terms["orthogonality_loss"] = orthogonality
            total = total + self.orthogonality_weight * orthogonality
        return {"loss": total, **terms}
