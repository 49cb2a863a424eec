import numpy as np
import pytest
import torch
from naive import gelu, layer_norm, softmax
from torch import nn

from skdual.network.attention import attend_both_ways
from skdual.network.fusion import AttentionFusion, ConcatFusion, TokenNorm

SIZES = [(5, 3, 4, 1), (5, 3, 4, 2), (2, 6, 6, 2), (4, 4, 1, 1)]  # d_a, d_b, token_dim, heads


def make_fusion(d_a=5, d_b=3, token_dim=4, heads=2, n_members=1):
    fusion = AttentionFusion(n_members, d_a, d_b, token_dim, heads).double()
    for parameter in fusion.parameters():  # norms and biases too
        nn.init.normal_(parameter, std=0.7)
    return fusion


def make_inputs(d_a=5, d_b=3, n_rows=4, n_members=1):
    return torch.randn(n_members, n_rows, d_a).double(), torch.randn(n_members, n_rows, d_b).double()


def naive_fusion(fusion, member, token_dim, heads, h_a, h_b):
    """The fusion of one row, token by token, from the weights of one member of ``fusion``."""
    weights = {name: parameter[member].detach().numpy() for name, parameter in fusion.named_parameters()}

    def linear(name, x):
        return weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]

    def norm(x):
        return layer_norm(x, 1.0, 0.0)

    def tokens(side, h):
        numbers = linear(f"side_{side}.tokens.linear", h)
        return [numbers[j :: len(h)] for j in range(len(h))]

    def read(side, own, other_side, others):
        size = token_dim // heads
        numbers = []
        for token in own:
            query = linear(f"side_{side}.query_value", norm(token))[:token_dim]
            pairs = [linear(f"side_{other_side}.query_value", norm(other)) for other in others]
            attended = np.zeros(token_dim)
            for head in range(heads):
                at = slice(head * size, (head + 1) * size)
                scores = np.array([query[at] @ pair[:token_dim][at] / np.sqrt(size) for pair in pairs])
                for share, pair in zip(softmax(scores), pairs, strict=True):
                    attended[at] += share * pair[token_dim:][at]
            token = token + linear(f"side_{side}.output", attended)
            token = token + linear(f"side_{side}.update", gelu(linear(f"side_{side}.hidden", norm(token))))
            numbers.append(linear(f"side_{side}.readout", token)[0])
        return numbers

    tokens_a, tokens_b = tokens("a", h_a), tokens("b", h_b)
    from_a, from_b = read("a", tokens_a, "b", tokens_b), read("b", tokens_b, "a", tokens_a)
    return layer_norm(np.concatenate([h_a + from_a, h_b + from_b]), weights["norm.weight"], weights["norm.bias"])


@pytest.mark.parametrize(("d_a", "d_b", "token_dim", "heads"), SIZES)
@pytest.mark.parametrize("n_members", [1, 3])
def test_attention_equals_naive_loops(d_a, d_b, token_dim, heads, n_members):
    fusion = make_fusion(d_a, d_b, token_dim, heads, n_members)
    h_a, h_b = make_inputs(d_a, d_b, n_members=n_members)
    fused = fusion(h_a, h_b).detach()
    for m in range(n_members):
        rows = zip(h_a[m].numpy(), h_b[m].numpy(), strict=True)
        expected = [naive_fusion(fusion, m, token_dim, heads, a, b) for a, b in rows]
        np.testing.assert_allclose(fused[m], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("n_members", [1, 3])
def test_either_side_agrees_with_multihead_attention(heads, n_members):
    fusion = make_fusion(token_dim=8, heads=heads, n_members=n_members)
    sides = fusion.side_a, fusion.side_b
    tokens = torch.randn(n_members, 3, 8, 5).double(), torch.randn(n_members, 3, 8, 9).double()
    queries, values = zip(*(side.query_and_value(x) for side, x in zip(sides, tokens, strict=True)), strict=True)
    attended = attend_both_ways(*queries, *values)
    for place, other in ((0, 1), (1, 0)):
        ours = sides[place].read(tokens[place], attended[place])
        for m in range(n_members):
            expected = by_multihead_attention(sides[place], sides[other], m, heads, tokens[place], tokens[other])
            torch.testing.assert_close(ours[m], expected, rtol=0, atol=1e-10)


def by_multihead_attention(side, other, m, heads, tokens, others):
    """What member m of a side reads from its tokens, by a transformer block of torch."""
    own, norm = tokens[m].mT, nn.LayerNorm(8, elementwise_affine=False)
    queries, keys = norm(own), norm(others[m].mT)
    peer = nn.MultiheadAttention(8, heads, batch_first=True, dtype=torch.float64)
    forward = nn.Sequential(norm, nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)).double()
    pairs = (peer.out_proj, side.output), (forward[1], side.hidden), (forward[3], side.update)
    with torch.no_grad():
        for numbers in ("weight", "bias"):
            own_query, _ = getattr(side.query_value, numbers)[m].chunk(2)
            getattr(peer, f"in_proj_{numbers}").copy_(torch.cat([own_query, getattr(other.query_value, numbers)[m]]))
            for theirs, ours in pairs:
                getattr(theirs, numbers).copy_(getattr(ours, numbers)[m])
        updated = own + peer(queries, keys, keys)[0]
        updated = updated + forward(updated)
        return updated @ side.readout.weight[m, 0] + side.readout.bias[m]


def test_token_norm_is_a_layer_norm_over_the_features_of_a_token():
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    expected = nn.functional.layer_norm(x.mT, (4,)).mT
    torch.testing.assert_close(TokenNorm.apply(x), expected, rtol=0, atol=1e-14)
    assert torch.autograd.gradcheck(TokenNorm.apply, x)


def test_token_norm_computes_bfloat16_in_float32():
    x = torch.randn(2, 3, 4, 5, dtype=torch.bfloat16, requires_grad=True)
    as_float32 = x.detach().float().requires_grad_()
    ours, expected = TokenNorm.apply(x), TokenNorm.apply(as_float32)
    assert ours.dtype == torch.float32
    assert torch.equal(ours, expected)
    towards = torch.randn_like(expected)
    (of_x,), (of_float32,) = (torch.autograd.grad(y, z, towards) for y, z in ((ours, x), (expected, as_float32)))
    assert torch.equal(of_x, of_float32.bfloat16())


def test_on_the_cpu_autocast_rounds_what_makes_tokens_and_what_attends_only(monkeypatch):
    fusion, inputs = AttentionFusion(2, 5, 3, 4, 2), [x.float() for x in make_inputs(n_members=2)]
    with torch.autocast("cpu", torch.bfloat16):
        fused = fusion(*inputs)
        made = [side.tokens(h) for side, h in zip((fusion.side_a, fusion.side_b), inputs, strict=True)]
    assert {x.dtype for x in (fused, *made)} == {torch.float32}
    for side, tokens, h in zip((fusion.side_a, fusion.side_b), made, inputs, strict=True):
        in_full = side.tokens(h)
        assert not torch.equal(tokens, in_full)
        torch.testing.assert_close(tokens, in_full, rtol=2**-6, atol=2**-6)
        monkeypatch.setattr(side.tokens, "forward", lambda h, tokens=tokens: tokens)
    assert not torch.equal(fused, fusion(*inputs))
    rounded = "skdual.network.fusion.attend_both_ways"
    monkeypatch.setattr(rounded, lambda *x: attend_both_ways(*(part.bfloat16() for part in x)))
    assert torch.equal(fused, fusion(*inputs))


def test_both_directions_exchange_information():
    fusion, inputs = make_fusion(d_a=5, d_b=3), make_inputs(d_a=5, d_b=3, n_rows=1)
    fusion.norm = nn.Identity()  # which mixes the halves by itself
    by_a, by_b = torch.autograd.functional.jacobian(lambda *h: fusion(*h)[0, 0], inputs)
    of_a_by_b, of_b_by_a = by_b[:5, 0, 0], by_a[5:, 0, 0]
    assert of_a_by_b.shape == (5, 3)
    assert of_b_by_a.shape == (3, 5)
    assert of_a_by_b.abs().min() > 1e-6
    assert of_b_by_a.abs().min() > 1e-6


@pytest.mark.parametrize("n_members", [1, 3])
def test_rows_and_members_do_not_mix(n_members):
    fusion, (h_a, h_b) = make_fusion(n_members=n_members), make_inputs(n_members=n_members)
    before = fusion(h_a, h_b)
    h_a[-1, 0] += 1
    h_b[-1, 0] -= 1
    after = fusion(h_a, h_b)
    same = torch.ones(n_members, 4, dtype=torch.bool)
    same[-1, 0] = False
    assert not torch.isclose(before[~same], after[~same]).any()
    torch.testing.assert_close(before[same], after[same], rtol=0, atol=1e-14)


@pytest.mark.parametrize("n_members", [1, 3])
def test_gradient_reaches_every_parameter_of_the_member(n_members):
    fusion = AttentionFusion(n_members, 5, 3, 4, 2).double()  # as initialised
    output = fusion(*make_inputs(n_members=n_members))[-1]
    (output * torch.randn_like(output)).sum().backward()
    reached = [name for name, p in fusion.named_parameters() if p.grad is not None and p.grad[-1].abs().max() > 1e-8]
    assert reached == [name for name, _ in fusion.named_parameters()]
    assert not any(p.grad[:-1].any() for p in fusion.parameters())


@pytest.mark.parametrize("fusion", [AttentionFusion(2, 5, 3, 4, 2), ConcatFusion(2, 5, 3)])
def test_fusion_has_no_dropout(fusion):
    assert not [module for module in fusion.modules() if "Dropout" in type(module).__name__]
    h_a, h_b = torch.randn(2, 4, 5), torch.randn(2, 4, 3)
    assert torch.equal(fusion.train()(h_a, h_b), fusion.eval()(h_a, h_b))


@pytest.mark.parametrize("n_members", [1, 3])
def test_concat_is_the_layer_norm_of_both(n_members):
    fusion, (h_a, h_b) = ConcatFusion(n_members, 5, 3).double(), make_inputs(n_members=n_members)
    nn.init.normal_(fusion.norm.weight)
    nn.init.normal_(fusion.norm.bias)
    weight, bias = fusion.norm.weight.detach().numpy(), fusion.norm.bias.detach().numpy()
    for m, fused in enumerate(fusion(h_a, h_b)):
        expected = layer_norm(np.hstack([h_a[m], h_b[m]]), weight[m], bias[m])
        np.testing.assert_allclose(fused.detach(), expected, rtol=0, atol=1e-12)
