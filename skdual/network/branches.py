"""Branch encoders: one MLP per block, each layer linear, normalisation, GELU, dropout; and a linear shortcut."""

import math
from itertools import pairwise

import torch
from torch import nn

from .members import (
    ColumnLinear,
    MemberBatchNorm,
    MemberDropout,
    MemberInputs,
    MemberLayerNorm,
    MemberLinear,
)

ACTIVATIONS = {"gelu": "none", "gelu_tanh": "tanh"}
NORMALIZATIONS = {"batch": MemberBatchNorm, "layer": MemberLayerNorm}
INITIALIZATIONS = ("he", "xavier", "orthogonal")


def initialize_linear(layer, initialization):
    """Weights of every member by name, biases at 0.

    ``"he"`` (He et al., 2015) fits rectifiers and GELU, ``"xavier"`` is Glorot & Bengio, 2010, ``"orthogonal"``
    is Saxe et al., 2014, with the rectifiers' gain.
    """
    for weight in layer.weight.unbind(0):
        if initialization == "he":
            nn.init.kaiming_normal_(weight, nonlinearity="relu")
        elif initialization == "xavier":
            nn.init.xavier_normal_(weight)
        else:
            nn.init.orthogonal_(weight, gain=nn.init.calculate_gain("relu"))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class BranchEncoder(nn.Module):
    """MLP from the columns of a block to its features plus a linear map of them: (batch, p) -> (n_members, batch, d).

    The linear map is the shortcut of a residual block (He et al., 2016) around the whole MLP: where classes are all but
    linear in the columns, that need not be learnt through the layers.

    Parameters
    ----------
    n_members : int
    in_features : int
        Columns of the block, p.
    hidden_layer_sizes : sequence of int
        Widths of the layers; the last is d.
    dropout : float
        Rate after every layer, in the regularised members.
    activation : {"gelu", "gelu_tanh"}
    normalization : {"batch", "layer"}
    initialization : {"he", "xavier", "orthogonal"}
        Of the layers; the shortcut keeps the variance of its input.
    """

    def __init__(self, n_members, in_features, hidden_layer_sizes, dropout, activation, normalization, initialization):
        super().__init__()
        self.inputs = MemberInputs()
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise([in_features, *hidden_layer_sizes]):
            # batch normalisation takes out any constant: a bias before it would only gather rounding noise
            linear = (MemberLinear if layers else ColumnLinear)(n_members, n_in, n_out, bias=normalization != "batch")
            initialize_linear(linear, initialization)
            layers += [
                linear,
                NORMALIZATIONS[normalization](n_members, n_out),
                nn.GELU(approximate=ACTIVATIONS[activation]),
                MemberDropout(dropout),
            ]
        self.layers = nn.Sequential(*layers)
        self.shortcut = ColumnLinear(n_members, in_features, hidden_layer_sizes[-1], bias=False)
        nn.init.normal_(self.shortcut.weight, std=1 / math.sqrt(in_features))

    def shift_units(self, deviation):
        """Draw the first layer's biases from a normal distribution, in place of 0, where it has any.

        Layer normalisation of a layer without biases is blind to the norm of a row: one twice as far from the mean in
        every column looks the same.
        """
        first, _ = self.column_layers
        assert isinstance(first, ColumnLinear)
        if first.bias is not None:
            # drawn on the CPU as all weights are, so that every device starts alike
            first.bias.detach().copy_(deviation * torch.randn(first.bias.shape, device="cpu"))

    @property
    def column_layers(self):
        """The two layers whose weights multiply the columns."""
        return self.layers[0], self.shortcut

    def merge_relevance(self):
        """Multiply the weights by the relevance of the columns, for columns as they are."""
        if self.inputs.relevance is not None:
            for layer in self.column_layers:
                layer.weight.detach().mul_(self.inputs.relevance)
        self.inputs.relevance = None

    def forward(self, x, of_regularized=None):
        """Features of ``x``; those of ``of_regularized`` in the regularised members, where it is given."""
        inputs = self.inputs(len(self.shortcut.weight), x, of_regularized)
        return self.layers(inputs) + self.shortcut(inputs)
