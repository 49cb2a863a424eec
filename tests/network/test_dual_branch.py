import numpy as np
import pytest
import torch
from torch import nn

from skdual.network.dual_branch import DualBranchNetwork
from skdual.network.members import MemberLinear
from skdual.training.mixup import Mixing


def make_network(**changed):
    arguments = {
        "n_members": 1,
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
@pytest.mark.parametrize("n_members", [1, 3])
def test_shapes(fusion, head, normalization, n_members):
    network = make_network(n_members=n_members, fusion=fusion, head=head, normalization=normalization)
    inputs = make_inputs()
    scores, projections = network(*inputs)
    assert scores.shape == (n_members, 8, 3)
    assert [projection.shape for projection in projections] == [(n_members, 8, 5), (n_members, 8, 5)]
    assert [h.shape for h in network.encode(*inputs)] == [(8, 6), (8, 4)]
    assert [h.shape for h in network.encode_members(*inputs)] == [(n_members, 8, 6), (n_members, 8, 4)]
    assert network.embed(*inputs).shape == (8, 10)
    assert network.embedding_dim == 10
    assert network.n_members == n_members
    assert network.scores(*inputs).shape == (8, 3)
    assert network.member_scores(*inputs).shape == (n_members, 8, 3)
    if head == "subspace":
        assert network.projection_error(*inputs).shape == (8, 3)


def test_branches_have_their_own_widths_and_dropout():
    network = make_network(n_members=2, dropout=(0.5, 0.2))
    layers = [branch.layers for branch in (network.branch_a, network.branch_b)]
    sizes = [[m.weight.shape for m in branch if isinstance(m, MemberLinear)] for branch in layers]
    assert sizes == [[(2, 12, 9), (2, 6, 12)], [(2, 4, 7)]]
    rates = [{m.p for m in branch if isinstance(m, nn.Dropout)} for branch in layers]
    assert rates == [{0.5}, {0.2}]


def single_of(network, member, **arguments):
    """A network of one member with the numbers of this one."""
    shared, single = ("temperature", "scaler"), make_network(**arguments).double()
    state = {n: v if n.startswith(shared) else v[member : member + 1] for n, v in network.state_dict().items()}
    single.load_state_dict(state)
    return single.train(network.training)


@pytest.mark.parametrize("head", ["subspace", "linear"])
@pytest.mark.parametrize("fusion", ["attention", "concat"])
@pytest.mark.parametrize("normalization", ["layer", "batch"])
@pytest.mark.parametrize("training", [True, False])
def test_each_member_is_a_network_of_its_own(fusion, head, normalization, training):
    arguments = {"fusion": fusion, "head": head, "normalization": normalization}
    network, inputs = make_network(n_members=3, **arguments).double(), [x.double() for x in make_inputs()]
    network(*[3 * x for x in inputs])  # running statistics are no longer 0 and 1
    network.train(training)
    singles = [single_of(network, m, **arguments) for m in range(3)]
    outputs = [single(*inputs) for single in singles]
    output = network(*inputs)
    expected = [torch.cat([single.scores for single in outputs])]
    expected += [torch.cat(branch) for branch in zip(*(single.projections for single in outputs), strict=True)]
    for ours, theirs in zip(_outputs(output), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    for name, value in network.state_dict().items():  # as left by the step
        if not name.startswith(("temperature", "scaler")):
            theirs = torch.cat([single.state_dict()[name] for single in singles])
            torch.testing.assert_close(value, theirs, rtol=0, atol=1e-12)
    assert (output.scores[0] - output.scores[1]).abs().max() > 0.01


@pytest.mark.parametrize("normalization", ["layer", "batch"])
def test_gradient_stays_with_the_member(normalization):
    network = make_network(n_members=3, normalization=normalization)
    output = network(*make_inputs())
    terms = [term[1] for term in _outputs(output)]
    sum((term * torch.randn_like(term)).sum() for term in terms).backward()
    for parameter in network.parameters():
        assert [bool(own.any()) for own in parameter.grad] == [False, True, False]


@pytest.mark.parametrize("n_members", [1, 3])
def test_passes_through_the_parts_in_order(n_members):
    network, (x_a, x_b) = make_network(n_members=n_members), make_inputs()
    network.temperature.fill_(1.7)
    h_a, h_b = network.branch_a(network.scaler_a(x_a)), network.branch_b(network.scaler_b(x_b))
    z = network.fusion(h_a, h_b)
    for ours, expected in zip(network.encode_members(x_a, x_b), (h_a, h_b), strict=True):
        assert torch.equal(ours, expected)
    for ours, expected in zip(network.encode(x_a, x_b), (h_a[0], h_b[0]), strict=True):
        assert torch.equal(ours, expected)
    assert torch.equal(network.embed(x_a, x_b), z[0])
    assert torch.equal(network(x_a, x_b).scores, network.head(z))
    assert torch.equal(network.member_scores(x_a, x_b), network.head(z))
    assert torch.equal(network.projection_error(x_a, x_b), network.head.projection_error(z))


@pytest.mark.parametrize("n_members", [1, 3])
def test_projections_are_the_heads_at_unit_length(n_members):
    network, inputs = make_network(n_members=n_members), make_inputs()
    encoded = network.encode_members(*inputs)
    for ours, head, h in zip(network(*inputs).projections, network.projections, encoded, strict=True):
        raw = head(h).detach().numpy()
        expected = raw / np.sqrt((raw**2).sum(axis=2, keepdims=True))
        np.testing.assert_allclose(ours.detach(), expected, atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(ours.detach(), axis=2), 1, atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_no_projections_without_heads(training):
    network = make_network(projection_dim=0).train(training)
    assert network(*make_inputs()).projections is None
    assert not [name for name in network.state_dict() if name.startswith("projections")]


def test_prediction_leaves_projection_heads_out():
    network, inputs, calls = make_network().eval(), make_inputs(), []
    for head in network.projections:
        head.register_forward_hook(lambda *_: calls.append(1))
    prediction = (network.scores, network.member_scores, network.embed, network.encode, network.projection_error)
    for method in prediction:
        method(*inputs)
    assert calls == []
    network(*inputs)
    assert calls == [1, 1]


@pytest.mark.parametrize("n_members", [1, 3])
def test_scores_are_the_mean_over_members_by_the_temperature(n_members):
    network = make_network(n_members=n_members, normalization="batch", dropout=(0.5, 0.5)).eval()
    inputs = make_inputs()
    of_members = network(*inputs).scores
    if n_members == 1:
        assert torch.equal(network.scores(*inputs), of_members[0])
    mean = sum(of_members.detach().double().numpy()) / n_members
    for temperature in (1.0, 0.25, 3.0):
        network.temperature.fill_(temperature)
        np.testing.assert_allclose(network.scores(*inputs).detach(), mean / temperature, rtol=1e-5, atol=1e-6)
        assert torch.equal(network(*inputs).scores, of_members)  # losses know no temperature


def test_temperature_is_saved_but_not_trained():
    network = make_network()
    assert network.state_dict()["temperature"] == 1
    assert "temperature" not in dict(network.named_parameters())


@pytest.mark.parametrize("n_members", [1, 3])
def test_standardised_inside_or_before_is_the_same(n_members):
    inside, before = make_network(n_members=n_members), make_network(n_members=n_members, standardize=False)
    x_a, x_b = make_inputs()
    for scaler, x in ((inside.scaler_a, x_a), (inside.scaler_b, x_b)):
        scaler.set_statistics(x.mean(0).numpy(), x.std(0).numpy())
    before.load_state_dict({name: value for name, value in inside.state_dict().items() if "scaler" not in name})
    expected = before.scores(inside.scaler_a(x_a), inside.scaler_b(x_b))
    assert torch.equal(inside.scores(x_a, x_b), expected)
    assert not torch.allclose(before.scores(x_a, x_b), expected)


@pytest.mark.parametrize("n_members", [1, 3])
def test_mixes_the_scaled_rows_of_both_blocks(n_members):
    inside, before = make_network(n_members=n_members), make_network(n_members=n_members, standardize=False)
    before.load_state_dict({name: value for name, value in inside.state_dict().items() if "scaler" not in name})
    inputs, partner, share = make_inputs(), torch.tensor([1, 2, 3, 0, 4, 7, 5, 6]), torch.rand(8, 1) / 2 + 0.5
    scaled = (inside.scaler_a(inputs[0]), inside.scaler_b(inputs[1]))
    by_hand = [share * x + (1 - share) * x[partner] for x in scaled]
    mixed = _outputs(inside(*inputs, Mixing(partner, share)))
    for ours, expected, plain in zip(mixed, _outputs(before(*by_hand)), _outputs(inside(*inputs)), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
        assert (ours - plain).abs().max() > 0.01


@pytest.mark.parametrize("n_members", [1, 3])
def test_every_parameter_of_every_member_learns(n_members):
    network = make_network(n_members=n_members)
    output = network(*make_inputs())
    terms = [output.scores, *output.projections]
    sum((term * torch.randn_like(term)).sum() for term in terms).backward()
    learning = [
        name for name, p in network.named_parameters() if p.grad is not None and all(own.any() for own in p.grad)
    ]
    assert learning == [name for name, _ in network.named_parameters()]


@pytest.mark.parametrize("normalization", ["layer", "batch"])
@pytest.mark.parametrize("n_members", [1, 3])
def test_bfloat16_rounds_in_training_only(n_members, normalization):
    arguments = {"n_members": n_members, "normalization": normalization}
    inputs, exact, rounded = make_inputs(), make_network(**arguments), make_network(bfloat16=True, **arguments)
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
