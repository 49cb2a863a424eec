"""Branch encoders: one MLP per block, each layer linear, normalisation, GELU, dropout."""

from itertools import pairwise

from torch import nn

ACTIVATIONS = {"gelu": "none", "gelu_tanh": "tanh"}
NORMALIZATIONS = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
INITIALIZATIONS = ("he", "xavier", "orthogonal")


def initialize_linear(layer, initialization):
    """Weights by name, biases at 0.

    ``"he"`` (He et al., 2015) fits rectifiers and GELU, ``"xavier"`` is Glorot & Bengio, 2010, ``"orthogonal"``
    is Saxe et al., 2014, with the rectifiers' gain.
    """
    if initialization == "he":
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    elif initialization == "xavier":
        nn.init.xavier_normal_(layer.weight)
    else:
        nn.init.orthogonal_(layer.weight, gain=nn.init.calculate_gain("relu"))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class BranchEncoder(nn.Sequential):
    """MLP from the columns of a block to its features: (batch, p) -> (batch, d).

    Parameters
    ----------
    in_features : int
        Columns of the block, p.
    hidden_layer_sizes : sequence of int
        Widths of the layers; the last is d.
    dropout : float
        Rate after every layer.
    activation : {"gelu", "gelu_tanh"}
    normalization : {"batch", "layer"}
    initialization : {"he", "xavier", "orthogonal"}
    """

    def __init__(self, in_features, hidden_layer_sizes, dropout, activation, normalization, initialization):
        widths = [in_features, *hidden_layer_sizes]
        layers = []
        for n_in, n_out in pairwise(widths):
            # batch normalisation takes out any constant: a bias before it would only gather rounding noise
            linear = nn.Linear(n_in, n_out, bias=normalization != "batch")
            initialize_linear(linear, initialization)
            layers += [
                linear,
                NORMALIZATIONS[normalization](n_out),
                nn.GELU(approximate=ACTIVATIONS[activation]),
                nn.Dropout(dropout),
            ]
        super().__init__(*layers)
