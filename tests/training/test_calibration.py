import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize, minimize_scalar
from scipy.special import softmax
from sklearn.metrics import log_loss

from skdual import DualBranchClassifier
from skdual.inputs.columns import ColumnBlocks
from skdual.inputs.rows import Rows
from skdual.network import DualBranchNetwork
from skdual.training.calibration import chance_loss, class_log_sizes, fit_ensemble, held_out_loss, held_out_scores
from skdual.training.held_out import held_out_folds, training_mask

# scores of held-out rows


@pytest.fixture(scope="module", params=[(2, 0.25), (5, 0.25), (3, 0.0)], ids=["2", "5", "3, both blocks only"])
def fitted(request, two_blocks, quick):
    n_members, block_dropout = request.param
    params = quick | {"n_members": n_members, "block_dropout": block_dropout}
    return DualBranchClassifier(**params).fit(*two_blocks)


def rows_of(X, y, dtype=torch.float32, subset=None):
    columns = ColumnBlocks(("a", "b"), (np.arange(7), np.arange(7, 12)))
    return Rows(X, columns, torch.device("cpu"), dtype, y, subset)


@pytest.mark.parametrize("values", [1, 2**24], ids=["many chunks", "one chunk"])
def test_held_out_rows_are_scored_by_the_member_that_did_not_see_them(fitted, two_blocks, values, monkeypatch):
    monkeypatch.setattr("skdual.inputs.rows.CHUNK_VALUES", values)
    X, y = two_blocks
    codes, network = np.unique(y, return_inverse=True)[1], fitted.network_
    n_members, by_both_only = network.n_members, fitted.block_dropout == 0
    half = n_members // 2
    folds = held_out_folds(codes, n_members - half)
    network.train()  # dropout must be off all the same
    rows = rows_of(X, codes)
    scores, held_out = held_out_scores(network, rows, training_mask(n_members, rows.y))
    network.eval()
    assert_array_equal(held_out, [row for row in range(150) if 0 <= folds[row] < half])
    assert len(held_out) == pytest.approx(150 * half / 6, abs=4)
    assert scores.shape == (2 if by_both_only else 4, len(held_out), 3)
    for row, got in zip(held_out, scores.swapaxes(0, 1), strict=True):
        x = torch.from_numpy(X[row : row + 1])
        with torch.no_grad():
            every = network.member_scores(x[:, :7], x[:, 7:])[:, :, 0].numpy()
        own, other_half = every[folds[row]], every[half + folds[row]]
        assert_allclose(got, [own[0], *other_half], rtol=1e-4, atol=1e-4)
        others = np.delete(every, folds[row], axis=0)[:, 0]
        assert np.abs(others - own[0]).max() > 1e-3  # members differ: the test can tell them apart
        assert by_both_only or np.abs(np.diff(got, axis=0)).max(axis=1).min() > 1e-3  # and so do groups


def test_held_out_rows_of_a_subset_are_numbered_in_it(fitted, two_blocks):
    X, y = two_blocks
    codes, subset = np.unique(y, return_inverse=True)[1], np.random.default_rng(0).permutation(150)[:90]
    rows = rows_of(X, codes, subset=subset)
    mask = training_mask(fitted.network_.n_members, rows.y)
    scores, held_out = held_out_scores(fitted.network_, rows, mask)
    expected, same = held_out_scores(fitted.network_, rows_of(X[subset], codes[subset]), mask)
    assert_array_equal(held_out, same)
    assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)


def test_held_out_rows_are_scored_in_smaller_chunks_where_memory_is_short(fitted, two_blocks, monkeypatch):
    X, y = two_blocks
    codes = np.unique(y, return_inverse=True)[1]
    rows = rows_of(X, codes)
    mask = training_mask(fitted.network_.n_members, rows.y)
    expected, numbers = held_out_scores(fitted.network_, rows, mask)
    original, n_rows = DualBranchNetwork.member_scores, []

    def limited(network, x_a, x_b):
        n_rows.append(len(x_a))
        if len(x_a) > 10:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return original(network, x_a, x_b)

    monkeypatch.setattr(DualBranchNetwork, "member_scores", limited)
    scores, held_out = held_out_scores(fitted.network_, rows, mask)
    assert n_rows[0] == len(numbers) > 10
    assert max(n_rows[-4:]) <= 10
    assert_array_equal(held_out, numbers)
    assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)


def test_held_out_loss_is_the_weighted_log_loss_of_the_best_weights_and_offsets(fitted, two_blocks):
    codes, weight = np.unique(two_blocks[1], return_inverse=True)[1], np.array([0.5, 2.0, 1.0])
    rows = rows_of(two_blocks[0], codes)
    mask = training_mask(fitted.network_.n_members, rows.y)
    scores, held_out = held_out_scores(fitted.network_, rows, mask)
    log_sizes = class_log_sizes(codes, weight)
    codes = codes[held_out]
    group_weights, class_offsets = fit_ensemble(scores, codes, weight, log_sizes)
    proba = softmax(np.einsum("v,vnc->nc", group_weights, scores) + class_offsets, axis=1)
    expected = log_loss(codes, proba, sample_weight=weight[codes]) * weight[codes].mean()
    assert held_out_loss(fitted.network_, rows, mask, weight) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("weight", [[1.0, 1.0, 1.0], [0.5, 2.0, 1.0], [0.0, 1.0, 2.0]])
def test_chance_loss_is_that_of_the_best_constant_probabilities(weight):
    codes, weight = np.repeat([0, 1, 2], [30, 6, 4]), np.array(weight)

    def loss(logits):
        return np.mean(weight[codes] * -np.log(softmax(logits))[codes])

    assert chance_loss(codes, weight) == pytest.approx(minimize(loss, np.zeros(3)).fun, rel=1e-4)


@pytest.mark.parametrize("enough_rows", [False, True])
def test_a_single_member_holds_out_rows_where_there_are_enough(two_blocks, quick, enough_rows, monkeypatch):
    monkeypatch.setattr("skdual.training.held_out.LONE_MEMBER_ROWS", 149 if enough_rows else 150)
    X, y = two_blocks
    codes = np.unique(y, return_inverse=True)[1]
    model = DualBranchClassifier(**quick | {"n_members": 1}).fit(X, y)
    held_out = held_out_folds(codes, 1, least_folds=10) == 0
    with torch.no_grad():
        x = torch.from_numpy(X[held_out])
        scores = model.network_.member_scores(x[:, :7], x[:, 7:])[0].numpy()
    log_sizes = class_log_sizes(codes, np.ones(3))
    expected, _ = fit_ensemble(scores, codes[held_out], np.ones(3), log_sizes, np.array([False, True, True]))
    assert abs(expected - [1, 0, 0]).max() > 0.1
    assert_allclose(model.network_.ensemble.weights, expected if enough_rows else [1, 0, 0], rtol=1e-3, atol=1e-3)


# weights of the groups


def log_loss_by_hand(scores, codes, weight, group_weights):
    """Weighted log loss of the rows, and that of one more row whose label is drawn evenly and scored like any."""
    total = further = 0.0
    for row, code in enumerate(codes):
        scaled = np.zeros(scores.shape[2])
        for group_weight, of_group in zip(group_weights, scores, strict=True):
            scaled += group_weight * of_group[row]
        highest = scaled.max()
        log_proba = scaled - highest - math.log(sum(math.exp(score - highest) for score in scaled))
        total -= weight[code] * log_proba[code]
        further -= log_proba.mean()
    return total + further / len(codes)


def simulated(n, n_classes, temperature, seed=0):
    """Scores that are ``temperature`` times too large for labels that are drawn by them."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(n, n_classes))
    gumbel = rng.gumbel(size=(n, n_classes))
    return temperature * logits, (logits + gumbel).argmax(axis=1)


def simulated_groups(n, n_classes, group_weights, seed=0):
    """Independent scores of each group, and labels that are drawn by their sum with these weights."""
    rng = np.random.default_rng(seed)
    scores = 2 * rng.normal(size=(len(group_weights), n, n_classes))
    logits = np.tensordot(group_weights, scores, axes=1)
    return scores, (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


def fit_group_weights(scores, codes, weight, *by_single_block):
    """Of classes of one size, whose offsets are 0."""
    group_weights, class_offsets = fit_ensemble(scores, codes, weight, np.zeros(len(weight)), *by_single_block)
    assert_array_equal(class_offsets, 0)
    return group_weights


def fitted_temperature(scores, codes, weight):
    """Of one group."""
    group_weights = fit_group_weights(scores[None], codes, weight)
    assert group_weights.shape == (1,)
    return 1 / group_weights[0]


@pytest.mark.parametrize("truth", [0.2, 1.0, 7.0])
@pytest.mark.parametrize("weight", [(1.0, 1.0, 1.0), (0.2, 3.0, 0.8), (0.0, 1.0, 2.0)])
def test_the_temperature_of_one_group_is_the_best_of_a_grid(truth, weight):
    scores, codes = simulated(60, 3, truth)
    weight = np.array(weight)
    fitted = fitted_temperature(scores.astype(np.float32), codes, weight)
    grid = np.geomspace(0.05, 50, 1001)  # steps of 0.7 %
    losses = [log_loss_by_hand(scores[None], codes, weight, [1 / temperature]) for temperature in grid]
    assert fitted == pytest.approx(grid[np.argmin(losses)], rel=0.007)
    assert 0.05 < fitted < 50
    assert log_loss_by_hand(scores[None], codes, weight, [1 / fitted]) <= min(losses) + 1e-4


@pytest.mark.parametrize("weight", [(1.0, 1.0, 1.0), (0.2, 3.0, 0.8), (0.0, 1.0, 2.0)])
@pytest.mark.parametrize("truth", [(1.0, 0.5, 0.2), (0.0, 1.5, 0.7), (0.4, 0.0, 0.0)])
def test_the_weights_of_three_groups_are_the_best_there_are(truth, weight):
    """Against a grid, and against a search without gradients from the best of it."""
    scores, codes = simulated_groups(40, 3, truth)
    weight = np.array(weight)
    fitted = fit_group_weights(scores.astype(np.float32), codes, weight)
    assert fitted.shape == (3,)
    assert fitted.min() >= 0
    least = log_loss_by_hand(scores, codes, weight, fitted)
    steps = np.arange(0, 4, 0.5)
    grid = [(a, b, c) for a in steps for b in steps for c in steps]
    losses = [log_loss_by_hand(scores, codes, weight, point) for point in grid]
    assert least <= min(losses) + 1e-6
    start = np.sqrt(np.add(grid[np.argmin(losses)], 0.1))
    found = minimize(
        lambda roots: log_loss_by_hand(scores, codes, weight, roots**2),  # squares are not negative
        start,
        method="Nelder-Mead",
        options={"xatol": 1e-5, "fatol": 1e-9, "maxiter": 2000},
    )
    assert found.success
    assert least <= found.fun + 1e-6
    assert_allclose(fitted, found.x**2, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("truth", [0.1, 0.5, 1.0, 3.0, 20.0])
def test_a_known_temperature_is_found(truth):
    scores, codes = simulated(20_000, 4, truth)
    assert fitted_temperature(scores, codes, np.ones(4)) == pytest.approx(truth, rel=0.04)


@pytest.mark.parametrize("truth", [(1.0, 0.5, 0.2), (0.0, 0.3, 0.9), (0.1, 0.0, 0.0), (3.0, 2.0, 1.0)])
def test_known_weights_are_found(truth):
    scores, codes = simulated_groups(20_000, 4, truth)
    assert_allclose(fit_group_weights(scores, codes, np.ones(4)), truth, rtol=0.05, atol=0.02)


@pytest.mark.parametrize("informative", [0, 1, 2])
def test_the_weight_is_on_the_group_that_knows(informative):
    """The others are noise, as large as what is known."""
    truth = np.eye(3)[informative]
    scores, codes = simulated_groups(5000, 3, truth)
    fitted = fit_group_weights(scores, codes, np.ones(3))
    assert fitted[informative] == pytest.approx(1, rel=0.08)
    assert fitted[informative] / fitted.sum() > 0.95


def test_a_group_that_adds_only_noise_to_another_is_left_out():
    """Scores by both blocks, of which one is noise: informative, but the other group knows it all without."""
    (known, noise), codes = simulated_groups(5000, 3, (1.0, 0.0))
    fitted = fit_group_weights(np.stack([known + noise, noise, known]), codes, np.ones(3))
    assert fitted[2] / fitted.sum() > 0.95
    assert fitted[2] == pytest.approx(1, rel=0.08)
    both_only = fit_group_weights((known + noise)[None], codes, np.ones(3))
    assert 0.1 < both_only[0] < 0.8  # unsure, because it is often wrong


@pytest.mark.parametrize("n", [5, 40, 1000])
@pytest.mark.parametrize("n_classes", [2, 10])
def test_rows_that_are_all_right_are_as_sure_as_their_number_allows(n, n_classes):
    """The further row gives each class 1 / n_classes, so p = (n + 1 / n_classes) / (n + 1) is the best for the right
    one: n log p + log(p) / c + (1 - 1 / c) log((1 - p) / (c - 1)) has its maximum there."""
    codes = np.arange(n) % n_classes
    scores = np.eye(n_classes)[codes]
    temperature = fitted_temperature(scores, codes, np.ones(n_classes))
    proba = math.exp(1 / temperature) / (math.exp(1 / temperature) + n_classes - 1)
    assert proba == pytest.approx((n + 1 / n_classes) / (n + 1), rel=1e-4)
    without = minimize_scalar(lambda t: math.log1p((n_classes - 1) * math.exp(-1 / t)), bounds=(0.05, 50)).x
    assert without < 0.06 < temperature  # certainty, but for the further row
    three = fit_group_weights(np.stack([scores] * 3), codes, np.ones(n_classes))
    assert three.sum() == pytest.approx(1 / temperature, rel=0.02)


@pytest.mark.parametrize("scale", [1e-4, 1e-6])
def test_the_weights_end_at_their_bounds(scale):
    codes = np.arange(10) % 2
    right = np.eye(2)[codes]
    for n_groups in (1, 3):
        slight = fit_group_weights(np.stack([scale * right] * n_groups), codes, np.ones(2))
        assert_allclose(slight, [20] * n_groups, rtol=1e-3)
        wrong = fit_group_weights(np.stack([-100 * right] * n_groups), codes, np.ones(2))
        assert_allclose(wrong, [0.02, 0, 0][:n_groups], rtol=1e-3)
    # a group is heard through the lower bound on the sum only where none has anything to say
    mixed = fit_group_weights(np.stack([-100 * right, right, -right]), codes, np.ones(2))
    assert mixed[1] > 1
    assert_allclose(mixed[[0, 2]], 0, atol=1e-3)


def test_the_order_of_classes_does_not_matter_but_their_weight_does():
    scores, codes = simulated(200, 3, 2.0)
    scores[codes == 0] = -scores[codes == 0]  # class 0 is scored wrong throughout
    expected = fitted_temperature(scores, codes, np.array([1.0, 2.0, 3.0]))
    turned = fitted_temperature(scores[:, [2, 0, 1]], (codes + 1) % 3, np.array([3.0, 1.0, 2.0]))
    assert turned == pytest.approx(expected, rel=1e-9)
    assert fitted_temperature(scores, codes, np.array([0.1, 1.0, 1.0])) < expected / 1.2


def test_a_single_block_has_a_cost_of_a_twentieth_of_the_deviation_of_its_scores():
    scores, codes = simulated_groups(40, 3, (0.3, 0.5, 0.6))
    scores /= 8  # the less they vary, the more weight it takes to be worth the cost
    costly, weight = np.array([False, True, True]), np.array([1.0, 2.0, 0.5])
    spread = [0.0, *(np.mean([np.std(row) for row in of_group]) for of_group in scores[1:])]

    def loss(group_weights):
        return log_loss_by_hand(scores, codes, weight, group_weights) + 0.05 * np.dot(spread, group_weights)

    fitted = fit_group_weights(scores, codes, weight, costly)
    found = minimize(lambda roots: loss(roots**2), np.full(3, 0.7), method="Nelder-Mead", options={"xatol": 1e-6})
    assert found.success
    assert_allclose(fitted, found.x**2, rtol=2e-3, atol=2e-3)
    assert fitted[1:].sum() < fit_group_weights(scores, codes, weight)[1:].sum() - 0.02


# offsets of the classes


@pytest.mark.parametrize("weight", [(1.0, 1.0, 1.0, 1.0), (0.2, 3.0, 0.8, 1.0)])
def test_class_log_sizes_are_those_of_the_weights_of_all_rows_around_their_mean(weight):
    expected = [math.log(sum(weight[code] for _ in range(n))) for code, n in enumerate((20, 5, 1, 10))]
    expected -= np.mean(expected)
    codes = np.repeat(np.arange(4), (20, 5, 1, 10))
    assert_allclose(class_log_sizes(codes, np.array(weight)), expected)
    codes, weight = np.append(codes, [4, 4]), np.array([*weight, 0, 1])  # one of no weight, and one without rows
    assert_allclose(class_log_sizes(codes, weight), [*expected, 0, 0])
    assert_array_equal(class_log_sizes(np.arange(6) % 3, np.ones(3)), 0)


def test_the_offsets_have_a_cost_of_the_square_of_the_exponent_and_a_half():
    scores, codes = simulated_groups(60, 3, (0.7, 0.5))
    log_sizes, weight = class_log_sizes(np.repeat([0, 1, 2], (50, 9, 1)), np.ones(3)), np.array([1.0, 2.0, 0.5])

    def loss(roots_and_exponent):
        exponent = roots_and_exponent[-1]
        with_offsets = np.concatenate([scores, np.tile(exponent * log_sizes, (1, len(codes), 1))])
        cost = 1.5 * exponent**2
        return cost + log_loss_by_hand(with_offsets, codes, weight, [*roots_and_exponent[:-1] ** 2, 1.0])

    group_weights, class_offsets = fit_ensemble(scores, codes, weight, log_sizes)
    found = minimize(loss, np.array([0.7, 0.7, -0.3]), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9})
    assert found.success
    assert abs(found.x[-1]) > 0.1
    assert_allclose(group_weights, found.x[:-1] ** 2, rtol=2e-3, atol=2e-3)
    assert_allclose(class_offsets, found.x[-1] * log_sizes, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("underconfidence", [1.0, 2.0, 4.0])
def test_a_temperature_sharpens_what_rows_say_and_not_the_sizes_of_the_classes(underconfidence):
    """What the rows say is that many times too small in the scores, and how large the classes are is right."""
    rng = np.random.default_rng(0)
    log_priors = np.log([0.8, 0.15, 0.05])
    evidence = 2 * rng.normal(size=(20_000, 3))
    codes = (evidence + log_priors + rng.gumbel(size=evidence.shape)).argmax(axis=1)
    log_sizes = log_priors - log_priors.mean()
    scores = evidence / underconfidence + log_priors
    [group_weight], class_offsets = fit_ensemble(scores[None], codes, np.ones(3), log_sizes)
    assert group_weight == pytest.approx(underconfidence, rel=0.04)
    assert_allclose(class_offsets, (1 - underconfidence) * log_sizes, atol=0.12)


# any groups


def test_of_groups_that_are_alike_the_one_by_both_blocks_is_heard():
    scores, codes = simulated(100, 3, 1.0)
    fitted = fit_group_weights(np.stack([scores] * 4), codes, np.ones(3), np.array([False, False, True, True]))
    assert_allclose(fitted[2:], 0, atol=1e-6)
    assert fitted[:2].sum() == pytest.approx(1 / fitted_temperature(scores, codes, np.ones(3)), rel=1e-3)


def test_the_order_of_groups_does_not_matter():
    scores, codes = simulated_groups(300, 3, (0.6, 0.0, 1.2))
    expected = fit_group_weights(scores, codes, np.array([1.0, 2.0, 3.0]))
    for order in ([2, 0, 1], [1, 2, 0]):
        turned = fit_group_weights(scores[order], codes, np.array([1.0, 2.0, 3.0]))
        assert_allclose(turned, expected[order], rtol=1e-3, atol=1e-3)
