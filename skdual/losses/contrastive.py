"""Supervised and self-supervised contrastive loss."""

import torch


def contrastive_loss(projections, ids, temperature, bank=None):
    """Contrastive loss of every anchor.

    L_i = -1/|P(i)| sum_{p in P(i)} log( exp(s_ip / t) / sum_{a != i} exp(s_ia / t) ), where P(i) are the other
    views with the anchor's id; 0 where there are none. With class codes as ids it is the supervised loss
    (Khosla et al., 2020, L_out); with row numbers it is NT-Xent (Chen et al., 2020).

    Parameters
    ----------
    projections : tensor of shape (n_views, projection_dim)
        Unit-length projections; every view is an anchor, and a candidate for all others.
    ids : tensor of int64 of shape (n_views,)
        Views with one id are positives of each other.
    temperature : float
    bank : pair of tensors of shape (n_bank, projection_dim) and (n_bank,), optional
        Further candidates and their ids; they are no anchors.

    Returns
    -------
    losses : tensor of shape (n_views,)
    """
    candidates, candidate_ids = projections, ids
    if bank is not None:
        candidates = torch.cat([projections, bank[0]])
        candidate_ids = torch.cat([ids, bank[1]])
    logits = projections @ candidates.T / temperature
    # an anchor is no candidate for itself: its own logit leaves the sum and the positives
    logits.diagonal().fill_(-torch.inf)
    positive = ids[:, None] == candidate_ids
    positive.diagonal().fill_(False)
    n_positives = positive.sum(dim=1)
    pulled = torch.where(positive, logits, 0).sum(dim=1) / n_positives.clamp_min(1)
    return torch.where(n_positives > 0, torch.logsumexp(logits, dim=1) - pulled, 0)
