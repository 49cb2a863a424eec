"""Layers that hold the weights of all members of a network and apply them side by side.

Every parameter's first axis is the member, so that members share each product but no number.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F


class MemberLinear(nn.Module):
    """One linear layer per member.

    Takes what all members share, (batch, in_features), or what each has of its own, (n_members, ..., in_features),
    and gives (n_members, ..., out_features). Starts as torch.nn.Linear does.
    """

    def __init__(self, n_members, in_features, out_features, bias=True):
        super().__init__()
        bound = 1 / math.sqrt(in_features)
        self.weight = nn.Parameter(torch.empty(n_members, out_features, in_features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n_members, out_features).uniform_(-bound, bound)) if bias else None

    def forward(self, x):
        n_members, out_features, _ = self.weight.shape
        if x.ndim == 2:  # one wide product for all members is faster than one for each
            y = F.linear(x, self.weight.flatten(0, 1), None if self.bias is None else self.bias.flatten())
            return y.unflatten(1, (n_members, out_features)).transpose(0, 1)
        rows = x.flatten(1, -2)
        weight = self.weight.transpose(1, 2)
        y = torch.bmm(rows, weight) if self.bias is None else torch.baddbmm(self.bias[:, None], rows, weight)
        return y.unflatten(1, x.shape[1:-1])


class MemberLayerNorm(nn.Module):
    """Layer normalisation of (n_members, ..., n_features), with a scale and a shift per member and feature."""

    def __init__(self, n_members, n_features):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_members, n_features))
        self.bias = nn.Parameter(torch.zeros(n_members, n_features))

    def forward(self, x):
        n_members, n_features = self.weight.shape
        if n_members == 1:
            return F.layer_norm(x, (n_features,), self.weight[0], self.bias[0])
        shape = (n_members, *(1 for _ in x.shape[1:-1]), n_features)
        return torch.addcmul(self.bias.view(shape), F.layer_norm(x, (n_features,)), self.weight.view(shape))


class MemberBatchNorm(nn.Module):
    """Batch normalisation of (n_members, batch, n_features); statistics, scale and shift per member and feature."""

    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, n_members, n_features):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_members, n_features))
        self.bias = nn.Parameter(torch.zeros(n_members, n_features))
        self.register_buffer("running_mean", torch.zeros(n_members, n_features))
        self.register_buffer("running_var", torch.ones(n_members, n_features))

    def forward(self, x):
        y = F.batch_norm(
            x.transpose(0, 1).flatten(1),
            self.running_mean.view(-1),  # views, which batch_norm updates in place
            self.running_var.view(-1),
            self.weight.flatten(),
            self.bias.flatten(),
            training=self.training,
        )
        return y.unflatten(1, self.weight.shape).transpose(0, 1)
