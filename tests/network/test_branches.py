import numpy as np
import pytest
import torch
from naive import gelu, layer_norm
from torch import nn

from skdual.network.branches import BranchEncoder
from skdual.network.members import ColumnLinear, MemberBatchNorm, MemberDropout, MemberLayerNorm, MemberLinear

NORMS = (MemberLayerNorm, MemberBatchNorm)


def make_encoder(n_columns=7, widths=(6, 5, 4), n_members=1, **changed):
    arguments = {"dropout": 0.0, "activation": "gelu", "normalization": "layer", "initialization": "he"} | changed
    return BranchEncoder(n_members, n_columns, widths, **arguments).double()


def randomize(encoder):
    """Weights and biases of norms and biases of linear layers, which would go untested at 1 and 0."""
    for name, parameter in encoder.named_parameters():
        if parameter.ndim == 2:
            nn.init.uniform_(parameter, 0.5 if name.endswith("weight") else -1, 2)
    return encoder


def parts(encoder, kind):
    return [module for module in encoder.layers if isinstance(module, kind)]


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def naive_linear(x, weight, bias):
    return np.array([[sum(weight[o] * row) + bias[o] for o in range(len(weight))] for row in x])


def naive_forward(encoder, x, normalize, activate):
    """Output of every member: its layers one by one, plus the linear map of ``x``."""
    outputs = []
    for m, shortcut in enumerate(encoder.shortcut.weight.detach().numpy()):
        h = x
        for linear, norm in zip(parts(encoder, MemberLinear), parts(encoder, NORMS), strict=True):
            weight = linear.weight[m].detach().numpy()
            bias = np.zeros(len(weight)) if linear.bias is None else linear.bias[m].detach().numpy()
            h = activate(normalize(naive_linear(h, weight, bias), norm, m))
        outputs.append(h + naive_linear(x, shortcut, np.zeros(len(shortcut))))
    return outputs


def naive_layer_norm(x, norm, m):
    return layer_norm(x, norm.weight[m].detach().numpy(), norm.bias[m].detach().numpy())


def naive_batch_norm(x, norm, m, mean=None, variance=None):
    mean, variance = (x.mean(0), x.var(0)) if mean is None else (mean, variance)
    return (x - mean) / np.sqrt(variance + 1e-5) * norm.weight[m].detach().numpy() + norm.bias[m].detach().numpy()


def test_shifted_units_tell_the_norm_of_a_row():
    encoder = make_encoder(widths=(3000,), n_members=2)
    x = torch.randn(1, 7, dtype=torch.float64)
    layers = encoder.layers
    assert torch.allclose(layers(encoder.inputs(2, x)), layers(encoder.inputs(2, 3 * x)), atol=1e-5)
    encoder.shift_units(0.5)
    bias = encoder.layers[0].bias
    assert bias.std(dim=1).tolist() == pytest.approx([0.5, 0.5], rel=0.1)
    assert not torch.equal(bias[0], bias[1])
    assert (layers(encoder.inputs(2, x)) - layers(encoder.inputs(2, 3 * x))).abs().mean() > 0.05
    batch = make_encoder(normalization="batch")
    batch.shift_units(0.5)  # has no bias to draw
    assert batch.layers[0].bias is None


@pytest.mark.parametrize(("normalization", "norm"), [("batch", MemberBatchNorm), ("layer", MemberLayerNorm)])
@pytest.mark.parametrize("n_members", [1, 2])
def test_order_and_sizes_of_the_layers_of_a_branch(normalization, norm, n_members):
    encoder = BranchEncoder(n_members, 70, (48, 32, 9), 0.3, "gelu", normalization, "he")
    kinds = [type(module) for module in encoder.layers]
    assert kinds == [ColumnLinear, norm, nn.GELU, MemberDropout] + [MemberLinear, norm, nn.GELU, MemberDropout] * 2
    sizes = [module.weight.shape for module in parts(encoder, MemberLinear)]
    assert sizes == [(n_members, 48, 70), (n_members, 32, 48), (n_members, 9, 32)]
    assert [module.weight.shape for module in parts(encoder, norm)] == [(n_members, width) for width in (48, 32, 9)]
    assert {module.rate for module in parts(encoder, MemberDropout)} == {0.3}
    assert encoder.shortcut.weight.shape == (n_members, 9, 70)


@pytest.mark.parametrize(("activation", "formula"), [("gelu", gelu), ("gelu_tanh", gelu_tanh)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("n_members", [1, 3])
def test_branch_equals_naive_forward_with_layer_norm(activation, formula, training, n_members):
    encoder = randomize(make_encoder(n_members=n_members, activation=activation)).train(training)
    x = torch.randn(8, 7).double()
    expected = naive_forward(encoder, x.numpy(), naive_layer_norm, formula)
    np.testing.assert_allclose(encoder(x).detach(), expected, rtol=0, atol=1e-12)


def test_exact_and_tanh_gelu_differ():
    x = np.linspace(-4, 4, 81)
    assert 1e-4 < np.abs(gelu(x) - gelu_tanh(x)).max() < 1e-3  # far more than the tolerance above


@pytest.mark.parametrize("n_members", [1, 3])
def test_branch_equals_naive_forward_with_batch_norm(n_members):
    encoder, x = randomize(make_encoder(n_members=n_members, normalization="batch")), torch.randn(8, 7).double()
    seen = {}

    def normalize_and_note(x, norm, m):
        seen[norm, m] = (0.1 * x.mean(0), 0.9 + 0.1 * x.var(0, ddof=1))  # running statistics after one batch
        return naive_batch_norm(x, norm, m)

    trained = encoder.train()(x).detach()
    np.testing.assert_allclose(trained, naive_forward(encoder, x.numpy(), normalize_and_note, gelu), atol=1e-12)
    evaluated = encoder.eval()(x).detach()
    expected = naive_forward(encoder, x.numpy(), lambda x, norm, m: naive_batch_norm(x, norm, m, *seen[norm, m]), gelu)
    np.testing.assert_allclose(evaluated, expected, atol=1e-12)


@pytest.mark.parametrize(("n_members", "rates"), [(1, [0.4]), (4, [0, 0, 0.4, 0.4])])
def test_dropout_only_in_training_and_not_of_the_shortcut(n_members, rates):
    encoder = make_encoder(widths=(500,), n_members=n_members, dropout=0.4)
    x = torch.randn(20, 7).double()
    evaluated, trained = (
        encoder.train(training)(x) - encoder.shortcut(encoder.inputs(n_members, x)) for training in (False, True)
    )
    dropped = trained == 0
    assert dropped.double().mean(dim=(1, 2)).tolist() == pytest.approx(rates, abs=0.03)
    kept = torch.tensor([1 - rate for rate in rates], dtype=torch.float64)[:, None, None]
    torch.testing.assert_close(trained[~dropped], (evaluated / kept)[~dropped])


@pytest.mark.parametrize(("n_members", "n_plain"), [(1, 0), (4, 2)])
def test_mixed_rows_go_through_layers_and_shortcut_of_the_second_half(n_members, n_plain):
    encoder = make_encoder(n_members=n_members)
    x, mixed = torch.randn(20, 7).double(), torch.randn(20, 7).double()
    expected = torch.cat([encoder(x)[:n_plain], encoder(mixed)[n_plain:]])
    torch.testing.assert_close(encoder(x, mixed), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("initialization", "variance"), [("he", lambda n_in, n_out: 2 / n_in), ("xavier", lambda i, o: 2 / (i + o))]
)
def test_variance_of_initial_weights(initialization, variance):
    encoder = make_encoder(600, (400, 300), n_members=2, initialization=initialization)
    for linear in parts(encoder, MemberLinear):
        for weight in linear.weight:
            assert_normal(weight, variance(weight.shape[1], weight.shape[0]))
        assert_unrelated(*linear.weight)


@pytest.mark.parametrize("initialization", ["he", "xavier", "orthogonal"])
def test_shortcut_keeps_the_variance_of_its_input(initialization):
    encoder, x = make_encoder(600, (5, 400), n_members=2, initialization=initialization), torch.randn(300, 600).double()
    for weight, h in zip(
        encoder.shortcut.weight, encoder.shortcut(encoder.inputs(len(encoder.shortcut.weight), x)), strict=True
    ):
        assert_normal(weight, 1 / 600)
        assert h.var().item() == pytest.approx(1, rel=0.05)
    assert_unrelated(*encoder.shortcut.weight)


def assert_normal(weight, variance):
    assert weight.var().item() == pytest.approx(variance, rel=0.03)
    assert weight.mean().item() == pytest.approx(0, abs=5 * weight.std().item() / weight.numel() ** 0.5)


def assert_unrelated(weight, other):
    correlation = torch.corrcoef(torch.stack([weight.flatten(), other.flatten()]))[0, 1]
    assert correlation.item() == pytest.approx(0, abs=5 / weight.numel() ** 0.5)


@pytest.mark.parametrize("n_members", [1, 3])
def test_orthogonal_initialization(n_members):
    encoder = make_encoder(60, (40, 50), n_members=n_members, initialization="orthogonal")
    wide_to_narrow, narrow_to_wide = parts(encoder, MemberLinear)
    for matrix in (*wide_to_narrow.weight, *narrow_to_wide.weight.mT):
        torch.testing.assert_close(matrix @ matrix.T, 2 * torch.eye(40).double(), rtol=0, atol=1e-5)
    if n_members > 1:
        assert_unrelated(*wide_to_narrow.weight[:2])


@pytest.mark.parametrize("initialization", ["he", "xavier", "orthogonal"])
def test_biases_start_at_zero(initialization):
    layers = parts(make_encoder(n_members=2, initialization=initialization), MemberLinear)
    assert [linear.bias.tolist() for linear in layers] == [[[0] * 6] * 2, [[0] * 5] * 2, [[0] * 4] * 2]


def test_no_bias_where_batch_norm_takes_it_out():
    assert [layer.bias for layer in parts(make_encoder(normalization="batch"), MemberLinear)] == [None] * 3
