import copy

import pytest
import torch
from torch import nn

from skdual.network.members import (
    ColumnLinear,
    MemberBatchNorm,
    MemberDropout,
    MemberInputs,
    MemberLayerNorm,
    MemberLinear,
)

LAYERS = [lambda: MemberLinear(3, 4, 5), lambda: MemberLayerNorm(3, 4), lambda: MemberBatchNorm(3, 4)]


def randomize(layer):
    for name, value in layer.double().state_dict().items():
        nn.init.uniform_(value, 0.5 if name == "running_var" else -2, 2)
    return layer


class OnColumns(nn.Module):
    """A column layer on rows, as a branch applies it."""

    def __init__(self, n_members, in_features, out_features, bias=True):
        super().__init__()
        self.inputs = MemberInputs()
        self.layer = randomize(ColumnLinear(n_members, in_features, out_features, bias=bias))

    def forward(self, x, mixed=None):
        return self.layer(self.inputs(len(self.layer.weight), x, mixed))


def peer_of(layer, member, peer):
    """Torch's own layer with the numbers of one member; its further entries stay."""
    numbers = {name: value[member] for name, value in layer.state_dict().items()}
    peer.double().load_state_dict({**peer.state_dict(), **numbers})
    return peer


def assert_equal_peers(layer, peers, x):
    """``x`` is shared, (batch, n), or each member's own."""
    inputs = [x] * len(peers) if x.ndim == 2 else x
    expected = torch.stack([peer(own) for peer, own in zip(peers, inputs, strict=True)])
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("shape", [(6,), (1,), (6, 7)])
def test_linear_equals_torch_member_by_member(n_members, bias, shape):
    layer = randomize(MemberLinear(n_members, 4, 5, bias=bias))
    peers = [peer_of(layer, m, nn.Linear(4, 5, bias=bias)) for m in range(n_members)]
    assert_equal_peers(layer, peers, torch.randn(n_members, *shape, 4).double())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("n_rows", [6, 1])
def test_members_share_columns(n_members, bias, n_rows):
    layer = OnColumns(n_members, 4, 5, bias=bias)
    peers = [peer_of(layer.layer, m, nn.Linear(4, 5, bias=bias)) for m in range(n_members)]
    assert_equal_peers(layer, peers, torch.randn(n_rows, 4).double())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("n_members", "n_plain"), [(1, 0), (2, 1), (3, 1), (8, 4)])
def test_the_second_half_of_the_members_takes_the_mixed_rows(n_members, n_plain, bias):
    layer = OnColumns(n_members, 4, 5, bias=bias)
    x, mixed = torch.randn(6, 4).double(), torch.randn(6, 4).double()
    expected = torch.cat([layer(x)[:n_plain], layer(mixed)[n_plain:]])
    torch.testing.assert_close(layer(x, mixed), expected, rtol=1e-12, atol=1e-12)
    assert not torch.isclose(layer(x), layer(mixed)).any()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("with_mixed", [True, False])
@pytest.mark.parametrize(("n_members", "n_plain"), [(1, 0), (2, 1), (3, 1), (8, 4)])
def test_regularised_members_multiply_the_columns_by_their_relevance(n_members, n_plain, with_mixed, bias):
    layer, x, mixed = OnColumns(n_members, 4, 5, bias=bias), *torch.randn(2, 6, 4).double()
    told = torch.rand(n_members, 4).double() + 0.5
    told[:n_plain] = 1
    taken = [x if member < n_plain or not with_mixed else mixed for member in range(n_members)]
    expected = torch.stack([layer(rows * told[member])[member] for member, rows in enumerate(taken)])
    layer.inputs.relevance = told[:, None]
    torch.testing.assert_close(layer(x, mixed if with_mixed else None), expected, rtol=1e-12, atol=1e-12)


def test_columns_come_in_the_dtype_of_products():
    columns, x, mixed = MemberInputs(), *torch.randn(2, 6, 4)
    columns.relevance = torch.rand(2, 1, 4)
    for bfloat16 in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            inputs = columns(2, x, mixed)
        assert [rows.dtype for rows, _ in inputs] == 2 * [torch.bfloat16 if bfloat16 else torch.float32]
        torch.testing.assert_close(inputs[1][0][0].float(), mixed * columns.relevance[1], rtol=2**-8, atol=0)


@pytest.mark.parametrize(("n_members", "n_plain"), [(1, 0), (2, 1), (3, 1), (8, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dropout_in_the_second_half_of_the_members(n_members, n_plain, dtype):
    layer, x = MemberDropout(0.3), torch.rand(n_members, 400, 50, dtype=dtype) + 0.5
    x.requires_grad_()
    y = layer(x)
    assert y.dtype == dtype
    assert torch.equal(y[:n_plain], x[:n_plain])
    kept = y[n_plain:] != 0
    assert kept.double().mean(dim=(1, 2)).tolist() == pytest.approx([0.7] * (n_members - n_plain), abs=0.02)
    torch.testing.assert_close(y[n_plain:][kept], x[n_plain:][kept] / 0.7)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient[n_plain:], kept / torch.tensor(0.7, dtype=dtype))
    if n_members - n_plain > 1:  # every member draws for itself
        assert (kept[0] & kept[1]).double().mean().item() == pytest.approx(0.49, abs=0.02)
    assert not torch.equal(y, layer(x))
    assert layer.eval()(x) is x
    assert MemberDropout(0.0)(x) is x


def test_linear_starts_as_torch_does():
    layer, peer = MemberLinear(40, 25, 60), nn.Linear(25, 40 * 60)
    for ours, theirs in ((layer.weight, peer.weight), (layer.bias, peer.bias)):
        assert ours.abs().max() <= 1 / 5
        assert ours.std().item() == pytest.approx(theirs.std().item(), rel=0.05)
        assert ours.mean().item() == pytest.approx(0, abs=0.01)
        assert len(torch.unique(ours)) > 0.9 * min(ours.numel(), 2**16)  # no member copies another


@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("shape", [(6,), (6, 7)])
def test_layer_norm_equals_torch_member_by_member(n_members, shape):
    layer = randomize(MemberLayerNorm(n_members, 4))
    peers = [peer_of(layer, m, nn.LayerNorm(4)) for m in range(n_members)]
    assert_equal_peers(layer, peers, 1e-2 * torch.randn(n_members, *shape, 4).double() + 3)


@pytest.mark.parametrize("n_members", [1, 3])
def test_batch_norm_equals_torch_member_by_member(n_members):
    layer = randomize(MemberBatchNorm(n_members, 4))
    peers = [peer_of(layer, m, nn.BatchNorm1d(4)) for m in range(n_members)]
    scale = torch.arange(1, n_members + 1)[:, None, None]
    for n_rows in (6, 2, 9):
        assert_equal_peers(layer, peers, 1e-2 * scale * torch.randn(n_members, n_rows, 4).double() + 3 * scale)
    for name in ("running_mean", "running_var"):
        expected = torch.stack([getattr(peer, name) for peer in peers])
        torch.testing.assert_close(getattr(layer, name), expected, rtol=1e-12, atol=1e-12)
    before = {name: value.clone() for name, value in layer.eval().state_dict().items()}
    peers = [peer.eval() for peer in peers]
    for n_rows in (5, 1):
        assert_equal_peers(layer, peers, torch.randn(n_members, n_rows, 4).double())
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


@pytest.mark.parametrize("layer", [MemberLayerNorm(3, 4), MemberBatchNorm(3, 4)])
def test_norms_start_without_effect(layer):
    starts = {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1}
    assert all(torch.equal(value, torch.full((3, 4), starts[name])) for name, value in layer.state_dict().items())


@pytest.mark.parametrize("make_layer", LAYERS)
def test_gradient_stays_with_the_member(make_layer):
    layer, x = randomize(make_layer()), torch.randn(3, 6, 4).double().requires_grad_()
    for member in range(3):
        output = layer(x)[member]
        gradients = torch.autograd.grad((output * torch.randn_like(output)).sum(), [x, *layer.parameters()])
        for gradient in gradients:
            assert gradient.flatten(1).any(dim=1).tolist() == [m == member for m in range(3)]


def test_gradient_of_what_all_share_stays_with_the_member():
    layer, x = OnColumns(3, 4, 5), torch.randn(6, 4).double()
    for gradient in torch.autograd.grad(layer(x)[1].sum(), list(layer.parameters())):
        assert gradient.flatten(1).any(dim=1).tolist() == [False, True, False]


@pytest.mark.parametrize("make_layer", LAYERS)
def test_input_and_statistics_stay_with_the_member(make_layer):
    layer, x = randomize(make_layer()), torch.randn(3, 6, 4).double()
    other, changed = copy.deepcopy(layer), x.clone()
    changed[1] = torch.randn(6, 4)
    before, after = layer(x), other(changed)
    assert not torch.isclose(before[1], after[1]).any()
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    for name, value in layer.state_dict().items():
        differs = (value != other.state_dict()[name]).flatten(1).any(dim=1)
        assert differs.tolist() == [False, name.startswith("running"), False]
