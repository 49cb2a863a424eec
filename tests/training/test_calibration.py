import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize_scalar

from skdual import DualBranchClassifier
from skdual.inputs.columns import ColumnBlocks
from skdual.inputs.rows import Rows
from skdual.training.calibration import fit_temperature, held_out_folds, held_out_scores

# folds


def shuffled_codes(*counts):
    return np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))


@pytest.mark.parametrize("n_members", [2, 4, 8, 11])
@pytest.mark.parametrize("counts", [(160, 40, 8), (1000, 3, 2), (50, 50), (2,) * 30, (9, 1, 1, 5)], ids=str)
@pytest.mark.parametrize("order", ["shuffled", "sorted"])
def test_folds_are_stratified(counts, n_members, order):
    codes = shuffled_codes(*counts)
    codes = np.sort(codes) if order == "sorted" else codes
    folds = held_out_folds(codes, n_members)
    n_folds = max(8, n_members)
    assert folds.shape == codes.shape
    in_folds = folds[folds >= 0]
    assert in_folds.max() < n_folds
    for code, count in enumerate(counts):
        of_class = folds[codes == code]
        if count == 1:
            assert of_class.tolist() == [-1]
            continue
        sizes = np.bincount(of_class, minlength=n_folds)
        assert sizes.sum() == count  # each row in one fold
        assert sizes.max() - sizes.min() <= 1
        assert sizes.max() < count  # so every member trains on rows of the class


def test_every_member_trains_on_every_class():
    codes = shuffled_codes(70, 3, 2, 2, 1, 1, 16)
    for n_members in (2, 3, 8, 20):
        folds = held_out_folds(codes, n_members)
        for member in range(n_members):
            assert_array_equal(np.unique(codes[folds != member]), np.arange(7))


def test_folds_take_an_eighth_of_the_rows_or_a_part_for_each_member():
    codes = shuffled_codes(480, 320)
    for n_members, size in ((2, 100), (8, 100), (10, 80), (16, 50)):
        assert_array_equal(np.bincount(held_out_folds(codes, n_members)), np.full(max(8, n_members), size))


def test_one_member_holds_nothing_out():
    assert_array_equal(held_out_folds(shuffled_codes(9, 9, 1), 1), np.full(19, -1))


def test_the_same_codes_give_the_same_folds_whatever_the_random_state():
    codes = shuffled_codes(30, 20, 10)
    np.random.seed(0)  # noqa: NPY002 - the global state must not matter
    expected = held_out_folds(codes, 4)
    np.random.seed(1)  # noqa: NPY002
    assert_array_equal(held_out_folds(codes.copy(), 4), expected)


def test_folds_do_not_follow_the_order_of_the_rows():
    """Rows measured one after the other, as of one batch or patient, are spread over the folds."""
    folds = held_out_folds(np.zeros(800, dtype=np.int64), 8)
    changes = np.diff(folds) % 8
    assert len(np.unique(changes)) == 8
    assert np.bincount(changes).max() < 200


# scores of held-out rows


@pytest.fixture(scope="module", params=[2, 3])
def fitted(request, two_blocks, quick):
    return DualBranchClassifier(**(quick | {"n_members": request.param})).fit(*two_blocks)


def rows_of(X, y, dtype=torch.float32, subset=None):
    columns = ColumnBlocks(("a", "b"), (np.arange(7), np.arange(7, 12)))
    return Rows(X, columns, torch.device("cpu"), dtype, y, subset)


@pytest.mark.parametrize("cells", [1, 2**24], ids=["many chunks", "one chunk"])
def test_held_out_rows_are_scored_by_the_member_that_did_not_see_them(fitted, two_blocks, cells, monkeypatch):
    monkeypatch.setattr("skdual.inputs.rows._CHUNK_CELLS", cells)
    X, y = two_blocks
    codes, network = np.unique(y, return_inverse=True)[1], fitted.network_
    folds = held_out_folds(codes, network.n_members)
    network.train()  # dropout must be off all the same
    scores, held_out = held_out_scores(network, rows_of(X, codes), folds)
    network.eval()
    assert_array_equal(held_out, [row for row in range(150) if 0 <= folds[row] < network.n_members])
    assert len(held_out) == pytest.approx(150 * network.n_members / 8, abs=4)
    for row, got in zip(held_out, scores, strict=True):
        x = torch.from_numpy(X[row : row + 1])
        with torch.no_grad():
            every = network.member_scores(x[:, :7], x[:, 7:])[:, 0].numpy()
        assert_allclose(got, every[folds[row]], rtol=1e-4, atol=1e-4)
        others = np.delete(every, folds[row], axis=0)
        assert np.abs(others - every[folds[row]]).max() > 1e-3  # members differ: the test can tell them apart


def test_held_out_rows_of_a_subset_are_numbered_in_it(fitted, two_blocks):
    X, y = two_blocks
    codes, subset = np.unique(y, return_inverse=True)[1], np.random.default_rng(0).permutation(150)[:90]
    folds = held_out_folds(codes[subset], fitted.n_members)
    scores, held_out = held_out_scores(fitted.network_, rows_of(X, codes, subset=subset), folds)
    expected, same = held_out_scores(fitted.network_, rows_of(X[subset], codes[subset]), folds)
    assert_array_equal(held_out, same)
    assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)


# temperature


def log_loss_by_hand(scores, codes, weight, temperature):
    """Weighted log loss of the rows, and that of one more row whose label is drawn evenly and scored like any."""
    total = further = 0.0
    for row, code in zip(scores.tolist(), codes, strict=True):
        scaled = [score / temperature for score in row]
        highest = max(scaled)
        log_sum = highest + math.log(sum(math.exp(score - highest) for score in scaled))
        log_proba = [score - log_sum for score in scaled]
        total -= weight[code] * log_proba[code]
        further -= sum(log_proba) / len(log_proba)
    return total + further / len(scores)


def simulated(n, n_classes, temperature, seed=0):
    """Scores that are ``temperature`` times too large for labels that are drawn by them."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(n, n_classes))
    gumbel = rng.gumbel(size=(n, n_classes))
    return temperature * logits, (logits + gumbel).argmax(axis=1)


@pytest.mark.parametrize("truth", [0.2, 1.0, 7.0])
@pytest.mark.parametrize("weight", [(1.0, 1.0, 1.0), (0.2, 3.0, 0.8), (0.0, 1.0, 2.0)])
def test_the_temperature_is_the_best_of_a_grid(truth, weight):
    scores, codes = simulated(60, 3, truth)
    weight = np.array(weight)
    fitted = fit_temperature(scores.astype(np.float32), codes, weight)
    grid = np.geomspace(0.05, 50, 1001)  # steps of 0.7 %
    losses = [log_loss_by_hand(scores, codes, weight, temperature) for temperature in grid]
    assert fitted == pytest.approx(grid[np.argmin(losses)], rel=0.007)
    assert 0.05 < fitted < 50
    assert log_loss_by_hand(scores, codes, weight, fitted) <= min(losses) + 1e-4


@pytest.mark.parametrize("truth", [0.1, 0.5, 1.0, 3.0, 20.0])
def test_a_known_temperature_is_found(truth):
    scores, codes = simulated(20_000, 4, truth)
    assert fit_temperature(scores, codes, np.ones(4)) == pytest.approx(truth, rel=0.04)


@pytest.mark.parametrize("n", [5, 40, 1000])
@pytest.mark.parametrize("n_classes", [2, 10])
def test_rows_that_are_all_right_are_as_sure_as_their_number_allows(n, n_classes):
    """The further row gives each class 1 / n_classes, so p = (n + 1 / n_classes) / (n + 1) is the best for the right
    one: n log p + log(p) / c + (1 - 1 / c) log((1 - p) / (c - 1)) has its maximum there."""
    codes = np.arange(n) % n_classes
    scores = np.eye(n_classes)[codes]
    temperature = fit_temperature(scores, codes, np.ones(n_classes))
    proba = math.exp(1 / temperature) / (math.exp(1 / temperature) + n_classes - 1)
    assert proba == pytest.approx((n + 1 / n_classes) / (n + 1), rel=1e-4)
    without = minimize_scalar(lambda t: math.log1p((n_classes - 1) * math.exp(-1 / t)), bounds=(0.05, 50)).x
    assert without < 0.06 < temperature  # certainty, but for the further row


def test_the_temperature_ends_at_its_bounds():
    codes = np.arange(10) % 2
    right = np.eye(2)[codes]
    assert fit_temperature(1e-6 * right, codes, np.ones(2)) == pytest.approx(0.05, rel=1e-3)
    assert fit_temperature(-100 * right, codes, np.ones(2)) == pytest.approx(50, rel=1e-3)


def test_the_order_of_classes_does_not_matter_but_their_weight_does():
    scores, codes = simulated(200, 3, 2.0)
    scores[codes == 0] = -scores[codes == 0]  # class 0 is scored wrong throughout
    expected = fit_temperature(scores, codes, np.array([1.0, 2.0, 3.0]))
    turned = fit_temperature(scores[:, [2, 0, 1]], (codes + 1) % 3, np.array([3.0, 1.0, 2.0]))
    assert turned == pytest.approx(expected, rel=1e-9)
    assert fit_temperature(scores, codes, np.array([0.1, 1.0, 1.0])) < expected / 1.2
