"""Supervised and self-supervised contrastive loss."""

import torch


def contrastive_loss(projections, ids, temperature, bank=None, trained=None):
    """Contrastive loss of every anchor.

    L_i = -1/|P(i)| sum_{p in P(i)} log( exp(s_ip / t) / sum_{a != i} exp(s_ia / t) ), where P(i) are the other
    views with the anchor's id; 0 where there are none. With class codes as ids it is the supervised loss
    (Khosla et al., 2020, L_out); with row numbers it is NT-Xent (Chen et al., 2020).

    Parameters
    ----------
    projections : tensor of shape (..., n_views, projection_dim)
        Unit-length projections; every view is an anchor, and a candidate for all others.
    ids : tensor of int64 of shape (n_views,)
        Views with one id are positives of each other.
    temperature : float
    bank : pair of tensors of shape (..., n_bank, projection_dim) and (n_bank,), optional
        Further candidates and their ids; they are no anchors.
    trained : tensor of bool of shape (..., n_views + n_bank), optional
        False for views, and candidates of the bank, that are nobody's candidates; all are by default.

    Returns
    -------
    losses : tensor of shape (..., n_views)
    """
    candidates, candidate_ids = projections, ids
    if bank is not None:
        candidates = torch.cat([projections, bank[0]], dim=-2)
        candidate_ids = torch.cat([ids, bank[1]])
    positive = ids[:, None] == candidate_ids
    positive.diagonal().fill_(False)
    if trained is not None:
        positive = positive & trained[..., None, :]
    return _SupervisedContrast.apply(projections @ candidates.mT, positive, temperature, trained)


class _SupervisedContrast(torch.autograd.Function):
    """logsumexp_a(s_ia / t) - mean_p(s_ip / t) from similarities s, with the gradient in closed form.

    d L_i / d s_ia = (softmax_a(s_i / t) - [a in P(i)] / |P(i)|) / t, and 0 where P(i) is empty. One matrix of this
    size is kept for it, where autograd would keep one for every operation.
    """

    @staticmethod
    def forward(ctx, similarities, positive, temperature, trained):
        logits = similarities / temperature
        if trained is not None:
            # finite: where nothing is left of a row of logits, there would be no log-sum-exp
            logits.masked_fill_(~trained[..., None, :], torch.finfo(logits.dtype).min)
        # an anchor is no candidate for itself: its own logit leaves the sum and the positives
        logits.diagonal(dim1=-2, dim2=-1).fill_(-torch.inf)
        n_positives = positive.sum(dim=-1, keepdim=True)
        share = positive / n_positives.clamp_min(1).to(logits.dtype)
        log_proba = torch.log_softmax(logits, dim=-1)
        losses = -torch.where(positive, log_proba, 0).mul_(share).sum(dim=-1)
        gradient = log_proba.exp_().mul_(n_positives > 0).sub_(share).div_(temperature)
        ctx.save_for_backward(gradient)
        return losses

    @staticmethod
    def backward(ctx, grad_losses):
        (gradient,) = ctx.saved_tensors
        return grad_losses[..., None] * gradient, None, None, None
