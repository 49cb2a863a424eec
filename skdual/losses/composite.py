"""Cross-entropy + weighted contrastive + weighted orthonormality, term by term."""

import torch
from torch import nn

from .contrastive import contrastive_loss
from .orthogonality import orthogonality_loss


class CompositeLoss(nn.Module):
    """The training objective; a term of weight 0 is neither computed nor recorded.

    Parameters
    ----------
    class_weight : ndarray of shape (n_classes,)
        Weight of a row by its class, with mean 1 over the rows of y.
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

    def forward(
        self,
        scores,
        target,
        class_weight=None,
        mixing=None,
        training_mask=None,
        projections=None,
        ids=None,
        bank_candidates=None,
        gram=None,
    ):
        """Loss terms of a batch, means over the members.

        Parameters
        ----------
        scores : tensor of shape (n_members, batch, n_classes)
        target : tensor of int64 of shape (batch,)
        class_weight : tensor of shape (n_classes,), optional
            In place of the objective's own.
        mixing : Mixing, optional
            How the rows, and with them the targets, of the regularised members are mixed; none are by default.
        training_mask : tensor of bool of shape (n_members, batch), optional
            Which rows count for each member; all do by default.
        projections : pair of tensors of shape (n_members, batch, projection_dim), optional
        ids : tensor of int64 of shape (batch,), optional
        bank_candidates : BankCandidates, optional
        gram : tensor of shape (n_members, n_classes, subspace_dim, subspace_dim), optional
            Inner products of the basis vectors of every class.

        Returns
        -------
        terms : dict of scalar tensors
            ``loss``, their weighted sum, ``classification_loss`` and where they apply ``contrastive_loss`` and
            ``orthogonality_loss``, unweighted.
        """
        class_weight = self.class_weight if class_weight is None else class_weight
        per_row = self._cross_entropy(scores, self._shares(target, scores, class_weight, mixing))
        # divided by the rows and not by their weights, whose mean over the data is 1: else a batch of
        # heavy rows would count as much as a batch of light ones
        total = classification = _mean(per_row, training_mask)
        terms = {"classification_loss": classification}
        if projections is not None and self.contrastive_weight:
            contrastive = self._contrastive(projections, ids, training_mask, bank_candidates)
            terms["contrastive_loss"] = contrastive
            total = total + self.contrastive_weight * contrastive
        if gram is not None and self.orthogonality_weight:
            orthogonality = orthogonality_loss(gram)
            terms["orthogonality_loss"] = orthogonality
            total = total + self.orthogonality_weight * orthogonality
        return {"loss": total, **terms}

    def _contrastive(self, projections, ids, training_mask, bank):
        """Mean contrastive loss of the views, two of each row, that count for a member."""
        anchor_mask = None if training_mask is None else torch.cat([training_mask, training_mask], dim=1)
        candidate_mask, earlier = anchor_mask, {}
        if bank is not None:
            earlier = {"bank_projections": bank.projections, "bank_ids": bank.ids}
            if anchor_mask is not None:
                candidate_mask = torch.cat([anchor_mask, bank.visible], dim=1)
        views = torch.cat(projections, dim=1)
        per_view = contrastive_loss(views, ids.repeat(2), self.temperature, candidate_mask=candidate_mask, **earlier)
        return _mean(per_view, anchor_mask)

    def _shares(self, target, scores, class_weight, mixing):
        """Weight of every class in the cross-entropy of every row, (batch, n_classes), or of every member and row."""
        n_classes = scores.shape[-1]
        shares = (target[:, None] == torch.arange(n_classes, device=target.device)).to(scores.dtype)
        if self.label_smoothing:
            shares = (1 - self.label_smoothing) * shares + self.label_smoothing / n_classes
        shares = shares * class_weight[target][:, None]
        return shares if mixing is None else mixing.targets(shares, len(scores))

    @staticmethod
    def _cross_entropy(scores, shares):
        """Cross-entropy of every member and row, (n_members, batch)."""
        return -(torch.log_softmax(scores, dim=-1) * shares).sum(dim=-1)


def _mean(values, counted):
    """Mean over the members of the mean over what counts for each; of shapes (n_members, n)."""
    if counted is None:
        return values.mean()
    return ((values * counted).sum(dim=1) / counted.sum(dim=1).clamp_min(1)).mean()
