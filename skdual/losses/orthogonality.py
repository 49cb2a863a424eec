"""Orthonormality penalty of the class subspaces."""

import torch


def orthogonality_loss(gram):
    """mean_c MSE(U_c U_c', I) from the U_c U_c' (..., n_classes, D, D): a scalar, 0 if all bases are orthonormal."""
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    return (gram - identity).square().mean()
