"""Clipping gradients, of each member by itself."""

import torch


def clip_gradients(parameters, max_norm):
    """Scale every member's gradient down to the norm ``max_norm`` where it is longer (Pascanu et al., 2013).

    Parameters
    ----------
    parameters : iterable of torch.nn.Parameter
        The first axis of each is the member.
    max_norm : float
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    # rows of matrices first: one sum over all of a wide layer would be slow, and off by a thousandth in float32
    parts = [torch.linalg.vector_norm(gradient, dim=-1) if gradient.ndim > 2 else gradient for gradient in gradients]
    norms = torch.linalg.vector_norm(torch.cat([part.reshape(len(part), -1) for part in parts], dim=1), dim=1)
    factor = (max_norm / (norms + 1e-6)).clamp_max(1)
    by_ndim = {ndim: factor.view(-1, *(1,) * (ndim - 1)) for ndim in {gradient.ndim for gradient in gradients}}
    for gradient in gradients:
        gradient.mul_(by_ndim[gradient.ndim])
