import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from skdual.losses.memory_bank import MemoryBank

N_ROWS = 20
IDS = np.arange(N_ROWS) % 3 * 10


def make_bank(size, seed=0, ids=IDS, n_members=1):
    return MemoryBank(ids, n_members, size, 3, torch.device("cpu"), torch.float64, np.random.default_rng(seed))


def tagged(rows, tag=0, n_members=1):
    """Projections that tell their branch, row and number: tag + 1 for the second place in the batch and so on.

    Members differ in the number, by 0.1.
    """
    numbers = tag + np.arange(len(rows))
    return tuple(
        torch.stack(
            [
                torch.from_numpy(np.column_stack([np.full(len(rows), branch), rows, numbers + 0.1 * member]))
                for member in range(n_members)
            ]
        )
        for branch in (0, 1)
    )


def drawn(bank, rows):
    """Slots and last places, as they come to the device."""
    return tuple(torch.from_numpy(array) for array in bank.draw(np.array(rows, dtype=np.int64)))


def step(bank, rows, projections=None, visible=None):
    """One batch: what the bank shows, before it keeps the batch's own (tagged by 0)."""
    rows = np.array(rows, dtype=np.int64)
    slots, last = drawn(bank, rows)
    shown = bank.take(slots)
    projections = tagged(rows, n_members=len(bank._visible)) if projections is None else projections
    bank.store(torch.from_numpy(rows), last, projections, visible)
    return shown


def slots_of(shown):
    """(branch, row) of every slot that was shown."""
    return [] if shown is None else [(int(branch), int(row)) for branch, row, _ in shown[0][0]]


@pytest.mark.parametrize("size", [1, 7, 25, 40, 1000])
@pytest.mark.parametrize("batch_size", [1, 5, 12])
@pytest.mark.parametrize("n_members", [1, 3])
def test_memory_bank_over_random_rounds(size, batch_size, n_members):
    bank, rng, latest, masks = make_bank(size, n_members=n_members), np.random.default_rng(1), {}, {}
    for number in range(200):
        rows = rng.integers(N_ROWS, size=batch_size)  # now and then a row twice
        eligible = {slot: tag for slot, tag in latest.items() if slot[1] not in rows}
        visible = rng.random((n_members, batch_size)) < 0.7
        shown = step(bank, rows, tagged(rows, number * batch_size, n_members), torch.from_numpy(visible))
        if not eligible:
            assert shown is None
        else:
            projections, ids, counted = (tensor.numpy() for tensor in shown)
            assert projections.shape == (n_members, len(ids), 3)
            slots = [(branch, row) for branch, row, _ in projections[0].astype(int)]
            assert len(slots) == min(size, len(eligible))
            assert len(set(slots)) == len(slots)
            assert all(eligible[slot] == tag for slot, tag in zip(slots, projections[0, :, 2], strict=True))
            for member in range(n_members):
                np.testing.assert_allclose(projections[member] - projections[0], [[0, 0, 0.1 * member]] * len(slots))
                assert counted[member].tolist() == [masks[row][member] for _, row in slots]
            assert np.array_equal(ids, IDS[[row for _, row in slots]])
        for place, row in enumerate(rows.tolist()):
            masks[row] = visible[:, place]
            latest[0, row] = latest[1, row] = number * batch_size + place
    assert len(latest) == 2 * N_ROWS


def test_later_projection_of_a_row_twice_stays():
    bank = make_bank(100)
    step(bank, [4, 9, 4, 4, 2])
    projections, _, _ = step(bank, [0])
    numbers = {(int(branch), int(row)): int(number) for branch, row, number in projections[0]}
    assert numbers == {(branch, row): number for branch in (0, 1) for row, number in {4: 3, 9: 1, 2: 4}.items()}


def test_memory_bank_with_nothing_to_draw():
    bank = make_bank(5)
    assert step(bank, [3, 4]) is None
    assert step(bank, [3, 4, 4]) is None
    assert sorted(slots_of(step(bank, [4]))) == [(0, 3), (1, 3)]
    assert sorted(slots_of(step(bank, [0, 1]))) == [(0, 3), (0, 4), (1, 3), (1, 4)]


def test_bank_larger_than_the_data_draws_all_others():
    bank = make_bank(10_000)
    step(bank, range(N_ROWS))
    others = [(branch, row) for branch in (0, 1) for row in range(N_ROWS) if row not in (0, 5)]
    assert sorted(slots_of(step(bank, [0, 5]))) == others


def test_batches_drawn_ahead_are_those_drawn_one_by_one():
    rng = np.random.default_rng(2)
    batches = [rng.integers(N_ROWS, size=size) for size in (4, 1, 6, 3, 8, 5, 5)]
    ahead, in_turn = make_bank(7), make_bank(7)
    draws = [drawn(ahead, rows) for rows in batches]
    for number, (rows, (slots, last)) in enumerate(zip(batches, draws, strict=True)):
        projections = tagged(rows, 10 * number)
        shown, expected = ahead.take(slots), step(in_turn, rows, projections)
        ahead.store(torch.from_numpy(rows), last, projections)
        assert (shown is None) == (expected is None) == (number == 0)
        for ours, theirs in zip(shown or (), expected or (), strict=True):
            assert torch.equal(ours, theirs)


def test_draws_leave_the_device_alone():
    """What is drawn are arrays of the host, whatever lies in the bank."""
    bank = make_bank(7)
    bank._projections = bank._visible = bank._ids = None
    for _ in range(2):
        assert all(type(array) is np.ndarray and array.dtype == np.int64 for array in bank.draw(np.array([3, 1, 3])))


def test_memory_bank_is_detached_and_a_copy():
    bank = make_bank(100, n_members=2)
    projections = tuple(torch.randn(2, 6, 3).double().requires_grad_() for _ in range(2))
    step(bank, range(6), projections)
    kept, _, _ = step(bank, [9])
    assert not kept.requires_grad
    before = kept.clone()
    with torch.no_grad():
        for projection in projections:
            projection.zero_()
    assert torch.equal(step(bank, [9])[0].sort(dim=1).values, before.sort(dim=1).values)
    step(bank, range(6), projections)
    assert torch.equal(kept, before)
    assert not step(bank, [9])[0].any()


def test_draws_from_the_bank_are_uniform():
    bank = make_bank(5)
    step(bank, range(12))
    counts = dict.fromkeys([(branch, row) for branch in (0, 1) for row in range(3, 12)], 0)
    for _ in range(4000):
        for slot in slots_of(step(bank, [0, 1, 2])):
            counts[slot] += 1
    assert sum(counts.values()) == 5 * 4000
    assert chisquare(list(counts.values())).pvalue > 0.01


def test_draws_from_the_bank_are_seeded():
    def draws(seed):
        bank = make_bank(5, seed)
        step(bank, range(N_ROWS))
        return [slots_of(step(bank, [0])) for _ in range(3)]

    assert draws(0) == draws(0) != draws(1)
    first, second, third = draws(0)
    assert len({tuple(first), tuple(second), tuple(third)}) == 3


def test_without_a_mask_every_member_may_be_shown_every_slot():
    bank = make_bank(100, n_members=3)
    step(bank, range(5))
    assert step(bank, [9])[2].all()


def test_memory_bank_takes_dtype_and_ids_as_given():
    draws = np.random.default_rng(0)
    bank = MemoryBank(np.array([7, -1]), 2, 2, 3, torch.device("cpu"), torch.float32, draws)
    step(bank, [1], (torch.ones(2, 1, 3), torch.ones(2, 1, 3)), torch.tensor([[False], [True]]))
    projections, ids, counted = step(bank, [0], (torch.ones(2, 1, 3), torch.ones(2, 1, 3)))
    assert projections.dtype == torch.float32
    assert ids.tolist() == [-1, -1]
    assert counted.tolist() == [[False, False], [True, True]]
