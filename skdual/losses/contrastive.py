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
    logits = projections @ candidates.mT / temperature
    positive = ids[:, None] == candidate_ids
    positive.diagonal().fill_(False)
    if trained is not None:
        # finite: where nothing is left of a row of logits, its log-sum-exp would have no gradient
        logits = logits.masked_fill(~trained[..., None, :], torch.finfo(logits.dtype).min)
        positive = positive & trained[..., None, :]
    # an anchor is no candidate for itself: its own logit leaves the sum and the positives
    logits.diagonal(dim1=-2, dim2=-1).fill_(-torch.inf)
    n_positives = positive.sum(dim=-1)
    pulled = torch.where(positive, logits, 0).sum(dim=-1) / n_positives.clamp_min(1)
    return torch.where(n_positives > 0, torch.logsumexp(logits, dim=-1) - pulled, 0)
