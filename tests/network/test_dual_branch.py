import numpy as np
import pytest
import torch

from skdual.network.dual_branch import DualBranchNetwork
from skdual.network.members import MemberDropout, MemberLinear
from skdual.scaling.statistics import ColumnStatistics
from skdual.training.loop.mixup import Mixing


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
        "block_dropout": 0.5,
        "standardize": ("standard", "standard"),
        "row_norms": (False, False),
        "n_hats": (0, 0),
        "whitening_ranks": (0, 0, 0),
        "bfloat16": False,
    }
    return DualBranchNetwork(**(arguments | changed))


def make_inputs(n_rows=8):
    return torch.randn(n_rows, 9), torch.randn(n_rows, 7)


@pytest.mark.parametrize("head", ["subspace", "linear"])
@pytest.mark.parametrize("fusion", ["attention", "concat"])
@pytest.mark.parametrize("normalization", ["layer", "batch"])
@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("block_dropout", [0.5, 0])
def test_shapes_of_the_networks_outputs(fusion, head, normalization, n_members, block_dropout):
    n_groups = (1 if n_members == 1 else 2) + (2 if block_dropout else 0)
    arguments = {"fusion": fusion, "head": head, "normalization": normalization, "block_dropout": block_dropout}
    network = make_network(n_members=n_members, **arguments)
    inputs = make_inputs()
    scores, projections, gram = network(*inputs)
    assert scores.shape == (n_members, 8, 3)
    assert [projection.shape for projection in projections] == [(n_members, 8, 5), (n_members, 8, 5)]
    assert [h.shape for h in network.encode(*inputs)] == [(8, 6), (8, 4)]
    assert [h.shape for h in network.encode_members(*inputs)] == [(n_members, 8, 6), (n_members, 8, 4)]
    assert network.embed(*inputs).shape == (8, 10)
    assert network.embedding_dim == 10
    assert network.n_members == n_members
    assert network.scores(*inputs).shape == (8, 3)
    assert network.member_scores(*inputs).shape == (n_members, 3 if block_dropout else 1, 8, 3)
    assert network.group_scores(*inputs).shape == (8, n_groups, 3)
    assert network.ensemble.weights.shape == (n_groups,)
    if head == "subspace":
        assert network.projection_error(*inputs).shape == (8, 3)
        torch.testing.assert_close(gram, network.head.bases @ network.head.bases.mT)
    else:
        assert gram is None


def test_branches_have_their_own_widths_and_dropout():
    network = make_network(n_members=2, dropout=(0.5, 0.2))
    layers = [branch.layers for branch in (network.branch_a, network.branch_b)]
    sizes = [[m.weight.shape for m in branch if isinstance(m, MemberLinear)] for branch in layers]
    assert sizes == [[(2, 12, 9), (2, 6, 12)], [(2, 4, 7)]]
    rates = [{m.rate for m in branch if isinstance(m, MemberDropout)} for branch in layers]
    assert rates == [{0.5}, {0.2}]


def single_of(network, member, **arguments):
    """A network of one member with the numbers of this one."""
    shared, single = ("ensemble", "scaler"), make_network(**arguments).double()
    state = {n: v if n.startswith(shared) else v[member : member + 1] for n, v in network.state_dict().items()}
    state["ensemble.weights"] = single.ensemble.weights
    single.load_state_dict(state)
    return single.train(network.training)


@pytest.mark.parametrize("head", ["subspace", "linear"])
@pytest.mark.parametrize("fusion", ["attention", "concat"])
@pytest.mark.parametrize("normalization", ["layer", "batch"])
@pytest.mark.parametrize("training", [True, False])
def test_each_member_is_a_network_of_its_own(fusion, head, normalization, training):
    arguments = {"fusion": fusion, "head": head, "normalization": normalization}
    arguments["block_dropout"] = 0 if training else 0.5  # rows are drawn for all members at once
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
        if not name.startswith(("ensemble", "scaler")):
            theirs = torch.cat([single.state_dict()[name] for single in singles])
            torch.testing.assert_close(value, theirs, rtol=0, atol=1e-12)
    assert (output.scores[0] - output.scores[1]).abs().max() > 0.01
    in_groups = torch.cat([single.member_scores(*inputs) for single in singles])
    torch.testing.assert_close(network.member_scores(*inputs), in_groups, rtol=0, atol=1e-10)


@pytest.mark.parametrize("n_members", [1, 2, 5])
def test_embeds_by_the_first_member_while_columns_have_their_relevance(n_members):
    network, inputs = make_network(n_members=n_members, block_dropout=0).eval(), make_inputs()
    for branch, n_columns in ((network.branch_a, 9), (network.branch_b, 7)):
        branch.inputs.relevance = torch.rand(n_members, 1, n_columns) + 0.5
        branch.inputs.relevance[: n_members // 2] = 1
    before = network.embed(*inputs)
    network.merge_relevance()
    torch.testing.assert_close(before, network.embed(*inputs))


@pytest.mark.parametrize("mixes", [True, False])
@pytest.mark.parametrize("ranks", [(0, 0, 0), (3, 0, 0), (0, 2, 5), (3, 2, 5)])
def test_plain_members_take_the_scaled_blocks_whitened(ranks, mixes):
    network, (x_a, x_b) = make_network(n_members=3, whitening_ranks=ranks, block_dropout=0), make_inputs()
    for factor in network.whitening.buffers():
        factor.copy_(torch.randn_like(factor))
    assert len(list(network.whitening.buffers())) == sum(rank > 0 for rank in ranks)
    own_a, own_b, together = (
        torch.eye(n) if factor is None else factor.T @ factor
        for factor, n in zip(
            (network.whitening.factor_a, network.whitening.factor_b, network.whitening.factor_together),
            (9, 7, 16),
            strict=True,
        )
    )
    scaled = [scaler(x) for scaler, x in zip(network.scalers, (x_a, x_b), strict=True)]
    whitened = (torch.cat([scaled[0] @ own_a, scaled[1] @ own_b], dim=1) @ together).split([9, 7], dim=1)

    def mixing(x):
        return x.flip(0)

    encoded = network.encode_members(x_a, x_b, mixing if mixes else None)
    for h, branch, rows, of_plain in zip(encoded, network.branches, scaled, whitened, strict=True):
        torch.testing.assert_close(h[:1], branch(of_plain)[:1], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(h[1:], branch(mixing(rows) if mixes else rows)[1:])
    expected = network.fusion(*(branch(of_plain) for branch, of_plain in zip(network.branches, whitened, strict=True)))
    torch.testing.assert_close(network.embed(x_a, x_b), expected[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("ranks", "member"), [((3, 2, 0), 0), ((0, 0, 5), 1), ((3, 2, 5), 1)])
def test_encodes_by_the_first_member_whose_branches_read_a_block_each(ranks, member):
    network, (x_a, x_b) = make_network(n_members=3, whitening_ranks=ranks), make_inputs()
    for factor in network.whitening.buffers():
        factor.copy_(torch.randn_like(factor))
    for parameter in network.fusion.parameters():  # which start alike
        parameter.detach().copy_(torch.randn_like(parameter))
    encoded = network.encode(x_a, x_b)
    for h, expected in zip(encoded, network.encode_members(x_a, x_b), strict=True):
        torch.testing.assert_close(h, expected[member], rtol=1e-3, atol=1e-4)
    assert torch.equal(network.encode(x_a, torch.randn_like(x_b))[0], encoded[0])
    *branches, fused = network.stages(x_a, x_b)
    assert all(map(torch.equal, branches, encoded))
    of_members = network.fusion(*network.encode_members(x_a, x_b))
    torch.testing.assert_close(fused, of_members[member], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("normalization", ["layer", "batch"])
def test_gradient_stays_with_the_member(normalization):
    network = make_network(n_members=3, normalization=normalization)
    output = network(*make_inputs())
    terms = [term[1] for term in _outputs(output)]
    sum((term * torch.randn_like(term)).sum() for term in terms).backward()
    for parameter in network.parameters():
        assert [bool(own.any()) for own in parameter.grad] == [False, True, False]


@pytest.mark.parametrize("n_members", [1, 3])
def test_network_passes_through_its_parts_in_order(n_members):
    network, (x_a, x_b) = make_network(n_members=n_members, block_dropout=0), make_inputs()
    network.ensemble.set(np.array([0.6, 0.3][: len(network.ensemble.groups)]), np.zeros(3))
    h_a, h_b = network.branch_a(network.scaler_a(x_a)), network.branch_b(network.scaler_b(x_b))
    z = network.fusion(h_a, h_b)
    for ours, expected in zip(network.encode_members(x_a, x_b), (h_a, h_b), strict=True):
        assert torch.equal(ours, expected)
    # of the first member alone, whose products are added up in another order
    for ours, expected in zip(network.encode(x_a, x_b), (h_a[0], h_b[0]), strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(network.embed(x_a, x_b), z[0], rtol=0, atol=1e-6)
    assert torch.equal(network(x_a, x_b).scores, network.head(z))
    assert torch.equal(network.member_scores(x_a, x_b), network.head(z)[:, None])
    of_members = network.head(z)
    expected = 0.6 * of_members[0] + (0.3 * of_members[1:].mean(dim=0) if n_members > 1 else 0)
    torch.testing.assert_close(network.scores(x_a, x_b), expected, rtol=0, atol=1e-6)


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
    for method in ("scores", "group_scores", "member_scores", "embed", "encode", "projection_error"):
        getattr(network, method)(*inputs)
    assert calls == []
    network(*inputs)
    assert calls == [1, 1]


# groups


def scores_without(network, branch, inputs):
    """Every member's scores where this branch, if any, gives 0 for every row."""
    handles = [] if branch is None else [branch.register_forward_hook(lambda module, args, h: torch.zeros_like(h))]
    scores = network(*inputs).scores
    for handle in handles:
        handle.remove()
    return scores.detach()


@pytest.mark.parametrize("head", ["subspace", "linear"])
@pytest.mark.parametrize("fusion", ["attention", "concat"])
@pytest.mark.parametrize("n_members", [1, 3])
def test_scores_by_one_block_are_those_with_the_other_branch_at_0(fusion, head, n_members):
    network = make_network(n_members=n_members, fusion=fusion, head=head, dropout=(0.5, 0.5)).eval()
    inputs = make_inputs()
    by_source = network.member_scores(*inputs)
    for source, silent in enumerate((None, network.branch_b, network.branch_a)):
        expected = scores_without(network, silent, inputs)
        torch.testing.assert_close(by_source[:, source], expected, rtol=1e-5, atol=1e-5)
        for other in {0, 1, 2} - {source}:
            assert (by_source[:, other] - expected).abs().max() > 0.1
    without = make_network(n_members=n_members, fusion=fusion, head=head, block_dropout=0).eval()
    without.load_state_dict(network.state_dict() | {"ensemble.weights": torch.ones(len(without.ensemble.groups))})
    torch.testing.assert_close(without.member_scores(*inputs), by_source[:, :1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fusion", ["attention", "concat"])
@pytest.mark.parametrize(("block", "unmoved"), [(0, 2), (1, 1)])
def test_scores_by_one_block_do_not_depend_on_the_other(fusion, block, unmoved):
    network, inputs = make_network(n_members=2, fusion=fusion).eval(), make_inputs()
    other = list(inputs)
    other[block] = make_inputs()[block]
    difference = (network.member_scores(*inputs) - network.member_scores(*other)).abs().amax(dim=(0, 2, 3))
    assert [value > 0.1 for value in difference] == [source != unmoved for source in range(3)]
    assert difference[unmoved] < 1e-6


@pytest.mark.parametrize("n_members", [1, 3])
def test_scores_are_the_sum_over_groups_of_the_mean_over_their_members(n_members):
    network = make_network(n_members=n_members, normalization="batch", dropout=(0.5, 0.5)).eval()
    inputs = make_inputs()
    of_members = network(*inputs).scores
    if n_members == 1:
        torch.testing.assert_close(network.scores(*inputs), of_members[0], rtol=1e-6, atol=1e-6)  # before any fit
    by_blocks = [
        scores_without(network, silent, inputs).double().numpy()
        for silent in (None, network.branch_b, network.branch_a)
    ]
    dropping = {1: [0], 3: [1, 2]}[n_members]  # the others, of which there are none or the first, score by both only
    means = [of_members[dropping].mean(axis=0) for of_members in by_blocks]
    means = means if n_members == 1 else [by_blocks[0][0], *means]
    group_scores = network.group_scores(*inputs).detach().numpy()
    np.testing.assert_allclose(group_scores, np.stack(means, axis=1), rtol=1e-5, atol=1e-5)
    for weights in ([1.0, 0.0, 0.0, 0.4], [0.0, 4.0, 0.0, 0.0], [0.1, 0.0, 0.3, 1.0], [2.0, 0.5, 0.7, 0.2]):
        weights = weights[: len(means)]
        class_offsets = np.array([0.3, -1.0, 0.7])
        network.ensemble.set(np.array(weights), class_offsets)
        expected = class_offsets + sum(weight * mean for weight, mean in zip(weights, means, strict=True))
        np.testing.assert_allclose(network.scores(*inputs).detach(), expected, rtol=1e-5, atol=1e-5)
        assert torch.equal(network(*inputs).scores, of_members)  # losses know no weights


@pytest.mark.parametrize(
    ("weights", "n_ways"), [([0.7, 0.3, 0, 0], 1), ([0, 1, 0, 0.2], 2), ([0, 0, 1, 1], 2), ([1, 0, 0.1, 0.1], 3)]
)
def test_groups_that_count_for_nothing_are_not_computed(weights, n_ways):
    network, inputs = make_network(n_members=4).eval(), make_inputs()
    network.ensemble.set(np.array(weights), np.zeros(3))
    n_rows = []
    network.fusion.register_forward_hook(lambda fusion, blocks, z: n_rows.append(z.shape[1]))
    with torch.no_grad():
        scores = network.scores(*inputs)
    assert n_rows == [n_ways * len(inputs[0])]
    inputs = [block.requires_grad_() for block in inputs]
    with_gradients = network.scores(*inputs)
    torch.testing.assert_close(with_gradients, scores)
    assert all(gradient is not None for gradient in torch.autograd.grad(with_gradients.sum(), inputs))


@pytest.mark.parametrize("n_members", [1, 3])
def test_scores_without_block_dropout_are_the_mean_over_members_by_the_temperature(n_members):
    network, inputs = make_network(n_members=n_members, normalization="batch", block_dropout=0).eval(), make_inputs()
    of_members = network(*inputs).scores
    if n_members == 1:
        assert torch.equal(network.scores(*inputs), of_members[0])
    mean = sum(of_members.detach().double().numpy()) / n_members
    for temperature in (1.0, 0.25, 3.0):
        network.ensemble.set(np.array([1] if n_members == 1 else [1 / 3, 2 / 3]) / temperature, np.zeros(3))
        np.testing.assert_allclose(network.scores(*inputs).detach(), mean / temperature, rtol=1e-5, atol=1e-6)
        assert torch.equal(network(*inputs).scores, of_members)


@pytest.mark.parametrize(
    ("n_members", "block_dropout", "expected"),
    [(1, 0.5, [1, 0, 0]), (4, 0.5, [0.5, 0.5, 0, 0]), (5, 0.5, [0.4, 0.6, 0, 0]), (1, 0, [1]), (4, 0, [0.5, 0.5])],
)
def test_group_weights_and_class_offsets_are_saved_but_not_trained(n_members, block_dropout, expected):
    network = make_network(n_members=n_members, block_dropout=block_dropout)
    assert network.state_dict()["ensemble.weights"].tolist() == pytest.approx(expected)
    inputs = make_inputs()
    torch.testing.assert_close(network.eval().scores(*inputs), network(*inputs).scores.mean(dim=0))
    network.ensemble.set(np.ones(len(expected)), np.arange(3.0))
    assert network.state_dict()["ensemble.class_offsets"].tolist() == [0, 1, 2]
    network.ensemble.reset()
    assert network.state_dict()["ensemble.weights"].tolist() == pytest.approx(expected)
    assert network.state_dict()["ensemble.class_offsets"].tolist() == [0, 0, 0]
    assert not any(name.startswith("ensemble") for name, _ in network.named_parameters())


@pytest.mark.parametrize("weights", [[0.0, 0.1, 2.0, 0.5], [0.0, 0.4, 0.0, 0.0], [0.1, 0.2, 3.0, 0.4]])
@pytest.mark.parametrize("n_members", [1, 3])
def test_projection_error_ranks_classes_as_the_weighted_groups_do(n_members, weights):
    network, inputs = make_network(n_members=n_members).double().eval(), [x.double() for x in make_inputs(300)]
    scales = np.array([0.5, 3.0, 9.0])[:n_members]
    weights = np.array(weights if n_members == 3 else weights[:3])
    with torch.no_grad():
        network.head.log_scale.copy_(torch.from_numpy(np.log(scales)))
        network.ensemble.set(weights, np.zeros(3))
        error, scores = network.projection_error(*inputs).numpy(), network.scores(*inputs).numpy()
        unweighted = network.group_scores(*inputs).mean(dim=1).numpy()
    np.testing.assert_array_equal(error.argmin(axis=1), scores.argmax(axis=1))
    of_groups = scales if n_members == 1 else np.array([0.5, 6.0, 6.0, 6.0])  # mean scales
    np.testing.assert_allclose(-sum(weights * of_groups) * error, scores, rtol=1e-9)
    assert error.min() >= 0
    assert error.max() <= 1 + 1e-9
    assert np.mean(unweighted.argmax(axis=1) == scores.argmax(axis=1)) < 0.9  # the weights matter here


# block dropout


def fused_inputs(network, inputs):
    """What the fusion is given in one pass: both branch outputs, (n_members, batch, d) each."""
    seen = []
    handle = network.fusion.register_forward_pre_hook(lambda module, args: seen.append(args))
    network(*inputs)
    handle.remove()
    assert len(seen) == 1
    return [h.detach() for h in seen[0]]


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("fusion", ["attention", "concat"])
@pytest.mark.parametrize(("block_dropout", "rate"), [(0.125, 0.1875), (0.5, 0.75), (0.9, 1.0)])
def test_a_share_of_the_rows_loses_one_block_in_training(block_dropout, rate, fusion, bfloat16):
    """The first of three members loses none, so the others have to lose half as much again; all rows at most."""
    network = make_network(n_members=3, fusion=fusion, block_dropout=block_dropout, bfloat16=bfloat16)
    inputs = make_inputs(4000)
    kept = network.encode_members(*inputs)
    passes = [fused_inputs(network, inputs) for _ in range(2)]
    for fused in passes:
        lost_a, lost_b = lost = [(h == 0).all(dim=2) for h in fused]
        assert not (lost_a & lost_b).any()
        for gone in lost:  # in each member; 4000 rows: 5 standard deviations are below 0.04
            assert not gone[0].any()
            assert [own.item() for own in gone[1:].float().mean(dim=1)] == pytest.approx([rate / 2] * 2, abs=0.04)
        for h, expected, gone in zip(fused, kept, lost, strict=True):  # all of the block or nothing, and as it was
            torch.testing.assert_close(h[~gone].float(), expected[~gone], rtol=0, atol=0.2 if bfloat16 else 0)
    a_first, a_second = ((fused[0] == 0).all(dim=2) for fused in passes)
    for masks in ((a_first[1:], a_second[1:]), (a_first[1], a_first[2])):
        both = (masks[0] & masks[1]).float().mean().item()  # drawn anew for each member and step
        assert both == pytest.approx((rate / 2) ** 2, abs=0.04)


@pytest.mark.parametrize("rate", [0.25, 0.5])
def test_a_row_of_no_block_a_teaches_branch_a_nothing(rate):
    network, inputs = make_network(n_members=2, fusion="concat", head="linear", block_dropout=rate), make_inputs(60)
    h_a, h_b = network.encode_members(*inputs)
    for h in (h_a, h_b):
        h.retain_grad()
    network.encode_members = lambda x_a, x_b, mixing: (h_a, h_b)
    seen = []
    network.fusion.register_forward_pre_hook(lambda module, args: seen.extend(args))
    scores = network(*inputs).scores
    (scores * torch.randn_like(scores)).sum().backward()
    for h, given in zip((h_a, h_b), seen, strict=True):
        gone = (given == 0).all(dim=2)
        assert gone[1].any()
        assert torch.equal(h.grad.any(dim=2), ~gone)


@pytest.mark.parametrize(("block_dropout", "training"), [(0.5, False), (0, True), (0, False)])
def test_no_block_is_lost_otherwise(block_dropout, training):
    network = make_network(n_members=2, block_dropout=block_dropout).train(training)
    inputs = make_inputs(300)
    torch.manual_seed(1)
    fused = fused_inputs(network, inputs)
    drawn = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(3))  # nothing was drawn
    for h, expected in zip(fused, network.encode_members(*inputs), strict=True):
        assert torch.equal(h, expected)


def test_predictions_lose_no_block_even_in_training_mode():
    network, inputs = make_network(n_members=2).train(), make_inputs(300)
    expected = network.eval().member_scores(*inputs)
    assert torch.equal(network.train().member_scores(*inputs), expected)
    assert torch.equal(network.embed(*inputs), network.eval().embed(*inputs))


@pytest.mark.parametrize("n_members", [1, 3])
def test_standardised_inside_or_before_is_the_same(n_members):
    inside, before = make_network(n_members=n_members), make_network(n_members=n_members, standardize=("none", "none"))
    x_a, x_b = make_inputs()
    for scaler, x in ((inside.scaler_a, x_a), (inside.scaler_b, x_b)):
        of_columns = (x.mean(0), x.std(0), *torch.zeros(4, x.shape[1]))
        scaler.set_statistics(ColumnStatistics(*(values.numpy() for values in of_columns)))
    before.load_state_dict(inside.state_dict())
    expected = before.scores(inside.scaler_a(x_a), inside.scaler_b(x_b))
    assert torch.equal(inside.scores(x_a, x_b), expected)
    assert not torch.allclose(before.scores(x_a, x_b), expected)


@pytest.mark.parametrize("n_members", [1, 3])
def test_mixes_the_scaled_rows_of_both_blocks(n_members):
    pairs = ("standard", "standard"), ("none", "none")
    inside, before = (make_network(n_members=n_members, block_dropout=0, standardize=pair) for pair in pairs)
    before.load_state_dict(inside.state_dict())
    inputs, partner, share = make_inputs(), torch.tensor([1, 2, 3, 0, 4, 7, 5, 6]), torch.rand(8, 1) / 2 + 0.5
    scaled = (inside.scaler_a(inputs[0]), inside.scaler_b(inputs[1]))
    by_hand = [share * x + (1 - share) * x[partner] for x in scaled]
    mixed = _outputs(inside(*inputs, Mixing(partner, share)))
    first = n_members // 2  # members that see the rows as they are
    for ours, expected, plain in zip(mixed, _outputs(before(*by_hand)), _outputs(inside(*inputs)), strict=True):
        torch.testing.assert_close(ours[first:], expected[first:], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours[:first], plain[:first], rtol=1e-4, atol=1e-5)
        assert (ours - plain)[first:].abs().amax(dim=(1, 2)).min() > 0.01


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
    arguments = {"n_members": n_members, "normalization": normalization, "block_dropout": 0}
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
