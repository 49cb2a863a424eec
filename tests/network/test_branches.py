import numpy as np
import pytest
import torch
from naive import gelu, layer_norm
from torch import nn

from skdual.network.branches import BranchEncoder

NORMS = (nn.LayerNorm, nn.BatchNorm1d)


def make_encoder(n_columns=7, widths=(6, 5, 4), **changed):
    arguments = {"dropout": 0.0, "activation": "gelu", "normalization": "layer", "initialization": "he"} | changed
    return BranchEncoder(n_columns, widths, **arguments).double()


def randomize(encoder):
    """Weights and biases of norms and biases of linear layers, which would go untested at 1 and 0."""
    for name, parameter in encoder.named_parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.5 if name.endswith("weight") else -1, 2)
    return encoder


def parts(encoder, kind):
    return [module for module in encoder if isinstance(module, kind)]


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def naive_forward(encoder, x, normalize, activate):
    for linear, norm in zip(parts(encoder, nn.Linear), parts(encoder, NORMS), strict=True):
        weight = linear.weight.detach().numpy()
        bias = np.zeros(len(weight)) if linear.bias is None else linear.bias.detach().numpy()
        x = np.array([[sum(weight[o] * row) + bias[o] for o in range(len(bias))] for row in x])
        x = activate(normalize(x, norm))
    return x


def naive_layer_norm(x, norm):
    return layer_norm(x, norm.weight.detach().numpy(), norm.bias.detach().numpy())


def naive_batch_norm(x, norm, mean=None, variance=None):
    mean, variance = (x.mean(0), x.var(0)) if mean is None else (mean, variance)
    return (x - mean) / np.sqrt(variance + 1e-5) * norm.weight.detach().numpy() + norm.bias.detach().numpy()


@pytest.mark.parametrize(("normalization", "norm"), [("batch", nn.BatchNorm1d), ("layer", nn.LayerNorm)])
def test_order_and_sizes_of_layers(normalization, norm):
    encoder = BranchEncoder(70, (48, 32, 9), 0.3, "gelu", normalization, "he")
    assert [type(module) for module in encoder] == [nn.Linear, norm, nn.GELU, nn.Dropout] * 3
    sizes = [(module.in_features, module.out_features) for module in parts(encoder, nn.Linear)]
    assert sizes == [(70, 48), (48, 32), (32, 9)]
    assert [module.weight.numel() for module in parts(encoder, norm)] == [48, 32, 9]
    assert {module.p for module in parts(encoder, nn.Dropout)} == {0.3}


@pytest.mark.parametrize(("activation", "formula"), [("gelu", gelu), ("gelu_tanh", gelu_tanh)])
@pytest.mark.parametrize("training", [True, False])
def test_equals_naive_forward_with_layer_norm(activation, formula, training):
    encoder, x = randomize(make_encoder(activation=activation)).train(training), torch.randn(8, 7).double()
    expected = naive_forward(encoder, x.numpy(), naive_layer_norm, formula)
    np.testing.assert_allclose(encoder(x).detach(), expected, rtol=0, atol=1e-12)


def test_exact_and_tanh_gelu_differ():
    x = np.linspace(-4, 4, 81)
    assert 1e-4 < np.abs(gelu(x) - gelu_tanh(x)).max() < 1e-3  # far more than the tolerance above


def test_equals_naive_forward_with_batch_norm():
    encoder, x = randomize(make_encoder(normalization="batch")), torch.randn(8, 7).double()
    seen = {}

    def normalize_and_note(x, norm):
        seen[norm] = (0.1 * x.mean(0), 0.9 + 0.1 * x.var(0, ddof=1))  # running statistics after one batch
        return naive_batch_norm(x, norm)

    trained = encoder.train()(x).detach()
    np.testing.assert_allclose(trained, naive_forward(encoder, x.numpy(), normalize_and_note, gelu), atol=1e-12)
    evaluated = encoder.eval()(x).detach()
    expected = naive_forward(encoder, x.numpy(), lambda x, norm: naive_batch_norm(x, norm, *seen[norm]), gelu)
    np.testing.assert_allclose(evaluated, expected, atol=1e-12)


def test_dropout_only_in_training():
    encoder, x = make_encoder(widths=(500,), dropout=0.4), torch.randn(20, 7).double()
    evaluated, trained = encoder.eval()(x), encoder.train()(x)
    dropped = trained == 0
    assert dropped.double().mean().item() == pytest.approx(0.4, abs=0.03)
    torch.testing.assert_close(trained[~dropped], evaluated[~dropped] / 0.6)


@pytest.mark.parametrize(
    ("initialization", "variance"), [("he", lambda n_in, n_out: 2 / n_in), ("xavier", lambda i, o: 2 / (i + o))]
)
def test_variance_of_initial_weights(initialization, variance):
    encoder = make_encoder(600, (400, 300), initialization=initialization)
    for linear in parts(encoder, nn.Linear):
        weight = linear.weight
        assert weight.var().item() == pytest.approx(variance(weight.shape[1], weight.shape[0]), rel=0.03)
        assert weight.mean().item() == pytest.approx(0, abs=5 * weight.std().item() / weight.numel() ** 0.5)


def test_orthogonal_initialization():
    wide_to_narrow, narrow_to_wide = parts(make_encoder(60, (40, 50), initialization="orthogonal"), nn.Linear)
    for matrix in (wide_to_narrow.weight, narrow_to_wide.weight.T):
        torch.testing.assert_close(matrix @ matrix.T, 2 * torch.eye(40).double(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("initialization", ["he", "xavier", "orthogonal"])
def test_biases_start_at_zero(initialization):
    layers = parts(make_encoder(initialization=initialization), nn.Linear)
    assert [linear.bias.tolist() for linear in layers] == [[0] * 6, [0] * 5, [0] * 4]


def test_no_bias_where_batch_norm_takes_it_out():
    assert [layer.bias for layer in parts(make_encoder(normalization="batch"), nn.Linear)] == [None] * 3
