import numpy as np
import pytest
import torch
from torch import nn

from skdual.network.dual_branch import DualBranchNetwork


def make_network(**changed):
    arguments = {
        "in_features": (9, 7),
        "n_classes": 3,
        "hidden_layer_sizes": ((12, 6), (4,)),
        "dropout": (0.0, 0.0),
        "activation": "gelu",
        "normalization": "layer",
        "initialization": "he",
        "fusion": "attention",
        "token_dim": 4,
        "attention_heads": 2,
        "head": "subspace",
        "subspace_dim": 2,
        "projection_dim": 5,
        "standardize": True,
        "bfloat16": False,
    }
    return DualBranchNetwork(**(arguments | changed))


def make_inputs(n_rows=8):
    return torch.randn(n_rows, 9), torch.randn(n_rows, 7)


@pytest.mark.parametrize("head", ["subspace", "linear"])
@pytest.mark.parametrize("fusion", ["attention", "concat"])
@pytest.mark.parametrize("normalization", ["layer", "batch"])
def test_shapes(fusion, head, normalization):
    network, inputs = make_network(fusion=fusion, head=head, normalization=normalization), make_inputs()
    scores, projections = network(*inputs)
    assert scores.shape == (8, 3)
    assert [projection.shape for projection in projections] == [(8, 5), (8, 5)]
    assert [h.shape for h in network.encode(*inputs)] == [(8, 6), (8, 4)]
    assert network.embed(*inputs).shape == (8, 10)
    assert network.embedding_dim == 10
    assert network.scores(*inputs).shape == (8, 3)
    if head == "subspace":
        assert network.projection_error(*inputs).shape == (8, 3)


def test_branches_have_their_own_widths_and_dropout():
    network = make_network(dropout=(0.5, 0.2))
    sizes = [[m.weight.shape for m in branch if isinstance(m, nn.Linear)] for branch in _branches(network)]
    assert sizes == [[(12, 9), (6, 12)], [(4, 7)]]
    rates = [{m.p for m in branch if isinstance(m, nn.Dropout)} for branch in _branches(network)]
    assert rates == [{0.5}, {0.2}]


def _branches(network):
    return network.branch_a, network.branch_b


def test_passes_through_the_parts_in_order():
    network, (x_a, x_b) = make_network(), make_inputs()
    h_a, h_b = network.branch_a(network.scaler_a(x_a)), network.branch_b(network.scaler_b(x_b))
    z = network.fusion(h_a, h_b)
    for ours, expected in zip(network.encode(x_a, x_b), (h_a, h_b), strict=True):
        assert torch.equal(ours, expected)
    assert torch.equal(network.embed(x_a, x_b), z)
    assert torch.equal(network(x_a, x_b).scores, network.head(z))
    assert torch.equal(network.projection_error(x_a, x_b), network.head.projection_error(z))


def test_projections_are_the_heads_at_unit_length():
    network, inputs = make_network(), make_inputs()
    for ours, head, h in zip(network(*inputs).projections, network.projections, network.encode(*inputs), strict=True):
        raw = head(h).detach().numpy()
        expected = raw / np.sqrt((raw**2).sum(axis=1, keepdims=True))
        np.testing.assert_allclose(ours.detach(), expected, atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(ours.detach(), axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_no_projections_without_heads(training):
    network = make_network(projection_dim=0).train(training)
    assert network(*make_inputs()).projections is None
    assert not [name for name in network.state_dict() if name.startswith("projections")]


def test_prediction_leaves_projection_heads_out():
    network, inputs, calls = make_network().eval(), make_inputs(), []
    for head in network.projections:
        head.register_forward_hook(lambda *_: calls.append(1))
    for method in (network.scores, network.embed, network.encode, network.projection_error):
        method(*inputs)
    assert calls == []
    network(*inputs)
    assert calls == [1, 1]


def test_scores_are_those_of_forward():
    network, inputs = make_network(normalization="batch", dropout=(0.5, 0.5)).eval(), make_inputs()
    assert torch.equal(network.scores(*inputs), network(*inputs).scores)


def test_standardised_inside_or_before_is_the_same():
    inside, before, (x_a, x_b) = make_network(), make_network(standardize=False), make_inputs()
    for scaler, x in ((inside.scaler_a, x_a), (inside.scaler_b, x_b)):
        scaler.set_statistics(x.mean(0).numpy(), x.std(0).numpy())
    before.load_state_dict({name: value for name, value in inside.state_dict().items() if "scaler" not in name})
    expected = before.scores(inside.scaler_a(x_a), inside.scaler_b(x_b))
    assert torch.equal(inside.scores(x_a, x_b), expected)
    assert not torch.allclose(before.scores(x_a, x_b), expected)


def test_every_parameter_learns():
    network = make_network()
    output = network(*make_inputs())
    terms = [output.scores, *output.projections]
    sum((term * torch.randn_like(term)).sum() for term in terms).backward()
    learning = [name for name, p in network.named_parameters() if p.grad is not None and p.grad.any()]
    assert learning == [name for name, _ in network.named_parameters()]


def test_bfloat16_rounds_in_training_only():
    inputs, exact, rounded = make_inputs(), make_network(), make_network(bfloat16=True)
    rounded.load_state_dict(exact.state_dict())
    for network in (exact, rounded):
        network.eval()
    assert torch.equal(rounded(*inputs).scores, exact(*inputs).scores)
    assert torch.equal(rounded.scores(*inputs), exact.scores(*inputs))
    for network in (exact, rounded):
        network.train()
    for ours, expected in zip(_outputs(rounded(*inputs)), _outputs(exact(*inputs)), strict=True):
        assert ours.dtype == torch.float32
        error = (ours - expected).abs().max() / expected.abs().max()
        assert 1e-5 < error < 0.05


def _outputs(output):
    return [output.scores, *output.projections]
