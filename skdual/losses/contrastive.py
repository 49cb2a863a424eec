"""Supervised and self-supervised contrastive loss."""

import torch

from ..matmul import products_of_pairs


def contrastive_loss(projections, ids, temperature, bank_projections=None, bank_ids=None, candidate_mask=None):
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
    bank_projections : tensor of shape (..., n_bank, projection_dim), optional
        Further candidates; they are no anchors, and no gradient leads back to them.
    bank_ids : tensor of int64 of shape (n_bank,), optional
        Their ids.
    candidate_mask : tensor of bool of shape (..., n_views + n_bank), optional
        Which views, and projections of the bank, are candidates of the others; all are by default.

    Returns
    -------
    losses : tensor of shape (..., n_views)
    """
    candidates, candidate_ids = projections, ids
    if bank_projections is not None:
        candidates = torch.cat([projections, bank_projections], dim=-2)
        candidate_ids = torch.cat([ids, bank_ids])
    # as 32-bit integers, and at once in the dtype of what they are multiplied with: a quarter of the time
    positive = projections.new_empty(len(ids), len(candidate_ids))
    torch.eq(ids.int()[:, None], candidate_ids.int(), out=positive)
    positive.diagonal().fill_(0)  # an anchor is no positive of itself
    return _ContrastiveLoss.apply(projections, candidates.detach(), positive, temperature, candidate_mask)


class _ContrastiveLoss(torch.autograd.Function):
    """logsumexp_a(s_ia / t) - mean_p(s_ip / t) with s_ia = <z_i, c_a>, and the gradient in closed form.

    d L_i / d s_ia = (softmax_a(s_i / t) - [a in P(i)] / |P(i)|) / t, and 0 where P(i) is empty. The first candidates
    are the views themselves, to which their gradient leads back; the bank's are constants. One matrix of this size is
    kept for it, where autograd would keep one for every operation; what can be is computed in place, for on the CPU new
    memory of this size takes time too.
    """

    @staticmethod
    def forward(ctx, projections, candidates, positive, temperature, candidate_mask):
        logits = products_of_pairs(projections / temperature, candidates)
        # what is no candidate; finite, so that 0 times it is 0, and where nothing is left there is a sum
        lowest = torch.finfo(logits.dtype).min
        if candidate_mask is not None:
            logits.masked_fill_(~candidate_mask[..., None, :], lowest)
            positive = positive * candidate_mask[..., None, :].to(positive.dtype)
        logits.diagonal(dim1=-2, dim2=-1).fill_(lowest)  # nor is an anchor a candidate for itself
        n_positives = positive.sum(dim=-1, keepdim=True)
        has_positives, n_positives = n_positives.squeeze(-1) > 0, n_positives.clamp_min_(1)
        gradient = torch.softmax(logits, dim=-1)
        # logsumexp, of which softmax has taken the exponentials already: log(e^s / softmax) for the largest s
        log_total = logits.amax(dim=-1) - gradient.amax(dim=-1).log()
        mean = (logits.mul_(positive).sum(dim=-1, keepdim=True) / n_positives).squeeze(-1)
        gradient.addcmul_(positive, n_positives.reciprocal(), value=-1)
        ctx.save_for_backward(projections, candidates, gradient, has_positives)
        ctx.temperature = temperature
        return (log_total - mean) * has_positives

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_losses):
        projections, candidates, gradient, has_positives = ctx.saved_tensors
        scale = (grad_losses * has_positives / ctx.temperature)[..., None]
        # scaling rows of the small matrices spares a pass over the large one; nothing leads back to the bank
        among_views = gradient[..., : projections.shape[-2]]
        as_candidates = products_of_pairs(among_views.mT, (scale * projections).mT)
        return (scale * products_of_pairs(gradient, candidates.mT)).add_(as_candidates), None, None, None, None
