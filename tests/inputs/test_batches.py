import itertools
import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skdual.inputs import batches as module
from skdual.inputs.batches import MAX_REPEATS, BatchLoader, ClassAwareBatches, ShuffledBatches
from skdual.inputs.columns import ColumnBlocks
from skdual.inputs.rows import Rows

COUNTS = {
    "balanced": [30] * 6,
    "rare": [500, 40, 7, 1],
    "very rare": [300, 2, 2, 2, 1, 1],
    "single rows": [1] * 9,
    "two classes": [3, 200],
    "all sizes": list(range(1, 40)),
}
with_counts = pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS.keys())
with_shape = pytest.mark.parametrize(("k", "m"), [(1, 5), (2, 1), (2, 2), (2, 3), (3, 4), (4, 8), (4, 17)])


def class_aware(counts, k, m, seed=0):
    """Sampler of rows in random order, and their codes."""
    codes = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    return ClassAwareBatches(codes, min(k, len(counts)), m, np.random.default_rng(seed)), codes


def naive_sizes(n, size):
    sizes = []
    while n:
        sizes.append(min(n, size))
        n -= sizes[-1]
    if len(sizes) > 1 and sizes[-1] == 1:
        sizes[-2:] = [size + 1]
    return sizes


of_run_length = pytest.mark.parametrize("run_length", [1, 2, 5, 70])


@of_run_length
@pytest.mark.parametrize("size", [2, 3, 4, 7, 8, 100])
def test_shuffled_batches_are_full_but_for_the_last_and_none_is_a_lone_row(size, run_length, monkeypatch):
    monkeypatch.setattr(module, "RUNS_MIXED", 3)
    for n in range(1, 60):
        batches = ShuffledBatches(n, size, np.random.default_rng(0), run_length)
        assert [len(batch) for batch in batches] == naive_sizes(n, size)
        assert len(batches) == len(naive_sizes(n, size))


@of_run_length
@pytest.mark.parametrize("size", [2, 3, 4, 7, 8, 100])
def test_shuffled_batches_hold_every_row_once_an_epoch(size, run_length, monkeypatch):
    monkeypatch.setattr(module, "RUNS_MIXED", 3)
    for n in range(1, 60):
        batches = ShuffledBatches(n, size, np.random.default_rng(0), run_length)
        for _ in range(2):
            assert_array_equal(np.sort(np.concatenate(list(batches))), np.arange(n))


def test_shuffled_batches_bring_a_row_to_every_place():
    batches = ShuffledBatches(5, 2, np.random.default_rng(0))
    orders = np.array([np.concatenate(list(batches)) for _ in range(2000)])
    share = (orders[:, :, None] == np.arange(5)).mean(axis=0)
    assert_allclose(share, 0.2, atol=0.05)  # 5 standard errors and more


def orders(n_rows, run_length, n_epochs=1):
    batches = ShuffledBatches(n_rows, 7, np.random.default_rng(0), run_length)
    return np.array([np.concatenate(list(batches)) for _ in range(n_epochs)])


def test_runs_of_rows_bring_a_row_to_every_place_too(monkeypatch):
    monkeypatch.setattr(module, "RUNS_MIXED", 2)
    share = (orders(12, 2, 4000)[:, :, None] == np.arange(12)).mean(axis=0)
    assert_allclose(share, 1 / 12, atol=0.025)  # 5 standard errors and more


@pytest.mark.parametrize("n_rows", [1000, 1003, 999])
@pytest.mark.parametrize(("run_length", "mixed"), [(10, 4), (10, 1), (3, 20), (50, 2)])
def test_rows_come_from_few_runs_at_a_time(n_rows, run_length, mixed, monkeypatch):
    monkeypatch.setattr(module, "RUNS_MIXED", mixed)
    (order,) = orders(n_rows, run_length)
    windows = [order[start : start + mixed * run_length] for start in range(0, n_rows, mixed * run_length)]
    for rows in windows:
        assert len(np.unique(rows // run_length)) <= mixed + 1  # a short run shifts those after it
    # and the runs of a window lie anywhere, its rows in no order
    assert len({tuple(np.unique(rows // run_length)) for rows in windows}) == len(windows)
    firsts = [rows.min() for rows in windows]
    assert firsts != sorted(firsts)
    neighbours = np.diff(order) == 1
    assert neighbours.mean() < (0.2 if mixed * run_length > 10 else 0.4)


def test_epochs_of_runs_differ(monkeypatch):
    monkeypatch.setattr(module, "RUNS_MIXED", 2)
    first, second = orders(100, 5, 2)
    assert len({tuple(first), tuple(second)}) == 2
    # in which runs go together too
    pairs = [
        {tuple(np.unique(order[start : start + 10] // 5)) for start in range(0, 100, 10)} for order in (first, second)
    ]
    assert pairs[0] != pairs[1]


@pytest.mark.parametrize(
    ("n_rows", "run_length", "plain"), [(60, 20, True), (61, 20, False), (5, 70, True), (61, 1, True)]
)
def test_as_many_rows_as_are_mixed_anyway_are_all_shuffled(n_rows, run_length, plain, monkeypatch):
    monkeypatch.setattr(module, "RUNS_MIXED", 3)
    expected = np.random.default_rng(0).permutation(n_rows)
    assert np.array_equal(orders(n_rows, run_length)[0], expected) == plain


SAMPLERS = {
    "shuffled": lambda seed: ShuffledBatches(50, 8, np.random.default_rng(seed)),
    "class-aware": lambda seed: class_aware([20, 20, 9, 1], 3, 4, seed)[0],
}


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS.keys())
def test_a_seed_gives_the_same_epochs_and_each_is_another(sampler):
    first, again, other = (
        [np.concatenate(list(batches)).tolist() for batches in [sampler(seed)] for _ in range(4)] for seed in (0, 0, 1)
    )
    assert first == again
    assert len({tuple(epoch) for epoch in first + other}) == 8


@with_counts
@with_shape
def test_class_aware_batches_have_k_times_m_rows(counts, k, m):
    batches, codes = class_aware(counts, k, m)
    size = min(k, len(counts)) * m
    for _ in range(3):
        assert [len(batch) for batch in batches] == [size] * len(batches)
    assert len(batches) == math.ceil(len(codes) / size)


@pytest.mark.parametrize(("k", "m"), [(1, 3), (2, 2), (3, 5), (4, 4), (6, 7), (6, 40)])
def test_balanced_classes_give_k_classes_of_m_rows_to_every_batch(k, m):
    batches, codes = class_aware([30] * 6, k, m)
    for _ in range(3):
        for batch in batches:
            per_class = np.bincount(codes[batch], minlength=6)
            assert sorted(per_class) == [0] * (6 - k) + [m] * k


@with_counts
@with_shape
def test_a_class_is_spread_evenly_over_the_batches(counts, k, m):
    batches, codes = class_aware(counts, k, m)
    for _ in range(3):
        slots = np.array([np.bincount(codes[batch], minlength=len(counts)) for batch in batches]) / m
        assert_array_equal(slots, np.round(slots))
        assert (np.ptp(slots, axis=0) <= 1).all()


@with_counts
@with_shape
def test_no_row_is_drawn_more_often_than_documented(counts, k, m):
    batches, codes = class_aware(counts, k, m)
    bound = np.array([max(MAX_REPEATS, math.ceil(m / count)) + 1 for count in counts])
    for _ in range(8):
        drawn = np.bincount(np.concatenate(list(batches)), minlength=len(codes))
        assert (drawn <= bound[codes]).all()


@with_counts
@with_shape
def test_rows_of_a_class_take_turns(counts, k, m):
    batches, codes = class_aware(counts, k, m)
    drawn = np.zeros(len(codes), dtype=int)
    for _ in range(5):
        drawn += np.bincount(np.concatenate(list(batches)), minlength=len(codes))
        assert max(np.ptp(drawn[codes == code]) for code in range(len(counts))) <= 1


@with_counts
@with_shape
def test_every_row_is_seen_within_a_bounded_number_of_epochs(counts, k, m):
    batches, codes = class_aware(counts, k, m)
    slots = batches.frequencies * len(batches) * min(k, len(counts))
    epochs = np.ceil(np.array(counts) / (m * slots)) + np.ceil(1 / slots)
    first_seen = np.full(len(codes), np.inf)
    for epoch in range(1, int(epochs.max()) + 1):
        rows = np.concatenate(list(batches))
        first_seen[rows] = np.minimum(first_seen[rows], epoch)
    assert (first_seen <= epochs[codes]).all()


@with_counts
@with_shape
def test_frequencies_are_the_share_of_the_rows_drawn(counts, k, m):
    batches, codes = class_aware(counts, k, m)
    epochs = 100
    drawn = sum(np.bincount(codes[batch], minlength=len(counts)) for _ in range(epochs) for batch in batches)
    # a class is never owed a slot or more, however long it goes on
    assert_allclose(batches.frequencies, drawn / drawn.sum(), atol=m / drawn.sum())


def test_common_classes_get_what_rare_ones_cannot_fill():
    batches, codes = class_aware([500, 40, 7, 1], 4, 4)
    # 35 batches of 4 slots, 35 slots for each class at first; 7 rows four times fill 7 slots and a class gets at
    # least 1, which leaves 132 for two; 40 rows four times fill 40 of their 66, and the rest is the largest class's
    for _ in range(3):
        assert_array_equal(np.bincount(codes[np.concatenate(list(batches))]), 4 * np.array([92, 40, 7, 1]))


@pytest.mark.parametrize(("n_rows", "m"), [(2, 2), (2, 3), (3, 2), (3, 7), (5, 3), (5, 4), (7, 7)])
def test_the_rows_of_a_class_in_a_batch_are_as_many_as_can_be(n_rows, m):
    batches, codes = class_aware([n_rows, 200], 2, m)
    for _ in range(50):
        different = {len(np.unique(batch[codes[batch] == 0])) for batch in batches}
        assert different <= {0, min(n_rows, m)}


def test_every_two_classes_meet_in_a_batch():
    batches, codes = class_aware([30] * 6, 2, 5)
    pairs = {tuple(np.unique(codes[batch])) for _ in range(20) for batch in batches}
    assert pairs == set(itertools.combinations(range(6), 2))


def test_a_thousand_classes_take_turns_in_few_batches():
    batches, codes = class_aware([2] * 1000, 10, 20)
    assert len(batches) == 10  # of 10 slots: a tenth of the classes an epoch
    for _ in range(2):
        seen = np.concatenate([codes[batch] for _ in range(10) for batch in batches])
        assert_array_equal(np.bincount(seen), np.full(1000, 20))


def test_codes_without_rows_are_never_drawn():
    batches, _ = class_aware([0, 5, 0, 0, 30, 1], 3, 4)
    assert_array_equal(batches.frequencies > 0, [False, True, False, False, True, True])
    for _ in range(20):
        assert {len(batch) for batch in batches} == {12}


def test_the_loader_fetches_what_the_sampler_draws():
    X = np.random.default_rng(0).normal(size=(20, 3))
    rows = Rows(X, ColumnBlocks(("a", "b"), (np.array([0]), np.array([1, 2]))), torch.device("cpu"), torch.float64)
    sampler, drawn = (ShuffledBatches(20, 6, np.random.default_rng(0)) for _ in range(2))
    loader = BatchLoader(rows, sampler)
    batches = list(loader)
    assert len(loader) == len(batches)
    for batch, numbers in zip(batches, drawn, strict=True):
        assert_array_equal(torch.cat(batch.blocks, dim=1), X[numbers])
        assert_array_equal(batch.index, numbers)
        assert_array_equal(batch.device_index, numbers)
        assert len(batch.drawn) == 0


@pytest.mark.parametrize("n_batches", [1, 63, 64, 65, 130])
def test_what_is_drawn_for_a_batch_goes_with_it(n_batches):
    """However many batches are drawn ahead, each source is asked once for every batch, in their order."""
    rows = Rows(
        np.zeros((500, 2)), ColumnBlocks(("a", "b"), (np.array([0]), np.array([1]))), torch.device("cpu"), torch.float64
    )
    sampler = [np.random.default_rng(seed).permutation(500)[: 1 + seed % 5] for seed in range(n_batches)]
    asked = [[], []]

    def pair(numbers):
        asked[0].append(numbers)
        return numbers * 2, np.full(len(asked[0]) % 3, len(asked[0]), dtype=np.float32)  # now and then nothing

    def single(numbers):
        asked[1].append(numbers)
        return (-numbers,)

    for _ in range(2):
        for of_source in asked:
            of_source.clear()
        batches = list(BatchLoader(rows, sampler, {"two": pair, "one": single}))
        assert len(batches) == n_batches
        for of_source in asked:
            assert all(np.array_equal(*both) for both in zip(of_source, sampler, strict=True))
        for number, (batch, numbers) in enumerate(zip(batches, sampler, strict=True), start=1):
            assert_array_equal(batch.index, numbers)
            assert list(batch.drawn) == ["two", "one"]
            (twice, counted), (minus,) = batch.drawn.values()
            assert_array_equal(twice, numbers * 2)
            assert counted.dtype == torch.float32
            assert counted.tolist() == [number] * (number % 3)
            assert_array_equal(minus, -numbers)


def test_batches_are_drawn_when_they_are_needed():
    """64 at a time, so that an epoch that is cut short has not drawn all."""
    rows = Rows(
        np.zeros((500, 2)), ColumnBlocks(("a", "b"), (np.array([0]), np.array([1]))), torch.device("cpu"), torch.float64
    )
    asked = []
    loader = BatchLoader(
        rows, ShuffledBatches(500, 2, np.random.default_rng(0)), {"all": lambda numbers: asked.append(1) or (numbers,)}
    )
    for number, _ in enumerate(loader):
        assert len(asked) == min(250, 64 * (number // 64 + 1))
