"""Orthonormality penalty of the class subspaces."""

import torch


def orthogonality_loss(bases):
    """mean_c MSE(U_c U_c', I) of bases (..., n_classes, subspace_dim, d): a scalar, 0 if all are orthonormal."""
    gram = bases @ bases.mT
    identity = torch.eye(bases.shape[-2], dtype=bases.dtype, device=bases.device)
    return (gram - identity).square().mean()
