"""Standardisation as the first layer, so that rows are centred only once a batch is dense."""

import torch
from torch import nn


class ColumnScaler(nn.Module):
    """(x - mean) / scale with statistics of the training rows; the identity until they are set."""

    def __init__(self, n_columns):
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_columns))
        self.register_buffer("scale", torch.ones(n_columns))

    def set_statistics(self, mean, scale):
        """Copy mean and scale, arrays of shape (n_columns,), into the layer."""
        self.mean.copy_(torch.from_numpy(mean))
        self.scale.copy_(torch.from_numpy(scale))

    def forward(self, x):
        return (x - self.mean) / self.scale
