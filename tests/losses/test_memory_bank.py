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


def drawn_slots(bank, rows=()):
    """(branch, row) of every drawn slot."""
    drawn = bank.draw(np.array(rows, dtype=np.int64))
    return [] if drawn is None else [(int(branch), int(row)) for branch, row, _ in drawn[0][0]]


@pytest.mark.parametrize("size", [1, 7, 25, 40, 1000])
@pytest.mark.parametrize("batch_size", [1, 5, 12])
@pytest.mark.parametrize("n_members", [1, 3])
def test_random_rounds(size, batch_size, n_members):
    bank, rng, latest, masks = make_bank(size, n_members=n_members), np.random.default_rng(1), {}, {}
    for number in range(200):
        rows = rng.integers(N_ROWS, size=batch_size)  # now and then a row twice
        eligible = {slot: tag for slot, tag in latest.items() if slot[1] not in rows}
        drawn = bank.draw(rows)
        if not eligible:
            assert drawn is None
        else:
            projections, ids, counted = (tensor.numpy() for tensor in drawn)
            assert projections.shape == (n_members, len(ids), 3)
            slots = [(branch, row) for branch, row, _ in projections[0].astype(int)]
            assert len(slots) == min(size, len(eligible))
            assert len(set(slots)) == len(slots)
            assert all(eligible[slot] == tag for slot, tag in zip(slots, projections[0, :, 2], strict=True))
            for member in range(n_members):
                np.testing.assert_allclose(projections[member] - projections[0], [[0, 0, 0.1 * member]] * len(slots))
                assert counted[member].tolist() == [masks[row][member] for _, row in slots]
            assert np.array_equal(ids, IDS[[row for _, row in slots]])
        trained = rng.random((n_members, batch_size)) < 0.7
        bank.store(rows, tagged(rows, number * batch_size, n_members), torch.from_numpy(trained))
        for place, row in enumerate(rows.tolist()):
            masks[row] = trained[:, place]
            latest[0, row] = latest[1, row] = number * batch_size + place
    assert len(latest) == 2 * N_ROWS


def test_later_projection_of_a_row_twice_stays():
    bank, rows = make_bank(100), np.array([4, 9, 4, 4, 2])
    bank.store(rows, tagged(rows))
    projections, _, _ = bank.draw(np.array([0]))
    numbers = {(int(branch), int(row)): int(number) for branch, row, number in projections[0]}
    assert numbers == {(branch, row): number for branch in (0, 1) for row, number in {4: 3, 9: 1, 2: 4}.items()}


def test_nothing_to_draw():
    bank = make_bank(5)
    assert bank.draw(np.array([0, 1])) is None
    bank.store(np.array([3, 4]), tagged(np.array([3, 4])))
    assert bank.draw(np.array([3, 4, 5])) is None
    assert sorted(drawn_slots(bank, [4])) == [(0, 3), (1, 3)]


def test_size_larger_than_the_data_draws_all_others():
    bank, rows = make_bank(10_000), np.arange(N_ROWS)
    bank.store(rows, tagged(rows))
    assert sorted(drawn_slots(bank, [0, 5])) == [(b, row) for b in (0, 1) for row in rows if row not in (0, 5)]


def test_is_detached_and_a_copy():
    bank, rows = make_bank(100, n_members=2), np.arange(6)
    projections = tuple(torch.randn(2, 6, 3).double().requires_grad_() for _ in range(2))
    bank.store(rows, projections)
    kept, _, _ = bank.draw(np.array([9]))
    assert not kept.requires_grad
    before = kept.clone()
    with torch.no_grad():
        for projection in projections:
            projection.zero_()
    assert torch.equal(bank.draw(np.array([9]))[0].sort(dim=1).values, before.sort(dim=1).values)
    bank.store(rows, projections)
    assert torch.equal(kept, before)


def test_draws_are_uniform():
    bank, rows = make_bank(5), np.arange(12)
    bank.store(rows, tagged(rows))
    counts = dict.fromkeys([(branch, row) for branch in (0, 1) for row in range(3, 12)], 0)
    for _ in range(4000):
        for slot in drawn_slots(bank, [0, 1, 2]):
            counts[slot] += 1
    assert sum(counts.values()) == 5 * 4000
    assert chisquare(list(counts.values())).pvalue > 0.01


def test_draws_are_seeded():
    rows = np.arange(N_ROWS)

    def draws(seed):
        bank = make_bank(5, seed)
        bank.store(rows, tagged(rows))
        return [drawn_slots(bank, [0]) for _ in range(3)]

    assert draws(0) == draws(0) != draws(1)
    first, second, third = draws(0)
    assert len({tuple(first), tuple(second), tuple(third)}) == 3


def test_without_a_mask_every_member_may_be_shown_every_slot():
    bank, rows = make_bank(100, n_members=3), np.arange(5)
    bank.store(rows, tagged(rows, n_members=3))
    assert bank.draw(np.array([9]))[2].all()


def test_takes_dtype_and_ids_as_given():
    draws = np.random.default_rng(0)
    bank = MemoryBank(np.array([7, -1]), 2, 2, 3, torch.device("cpu"), torch.float32, draws)
    bank.store(np.array([1]), (torch.ones(2, 1, 3), torch.ones(2, 1, 3)), torch.tensor([[False], [True]]))
    projections, ids, counted = bank.draw(np.array([0]))
    assert projections.dtype == torch.float32
    assert ids.tolist() == [-1, -1]
    assert counted.tolist() == [[False, False], [True, True]]
