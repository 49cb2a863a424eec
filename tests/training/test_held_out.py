import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skdual.training.held_out import held_out_folds, split_rows, training_mask


def shuffled_codes(*counts):
    return np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))


@pytest.mark.parametrize("n_held_out", [1, 2, 4, 8, 11])
@pytest.mark.parametrize("counts", [(160, 40, 8), (1000, 3, 2), (50, 50), (2,) * 30, (9, 1, 1, 5)], ids=str)
@pytest.mark.parametrize("order", ["shuffled", "sorted"])
def test_folds_are_stratified(counts, n_held_out, order):
    codes = shuffled_codes(*counts)
    codes = np.sort(codes) if order == "sorted" else codes
    folds = held_out_folds(codes, n_held_out)
    n_folds = max(6, n_held_out)
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
    for n_held_out in (1, 2, 3, 8, 20):
        folds = held_out_folds(codes, n_held_out)
        for fold in range(n_held_out):
            assert_array_equal(np.unique(codes[folds != fold]), np.arange(7))


def test_folds_take_a_sixth_of_the_rows_or_less_where_there_are_more_to_hold_out():
    codes = shuffled_codes(360, 240)
    for n_held_out, size in ((1, 100), (2, 100), (6, 100), (8, 75), (10, 60)):
        assert_array_equal(np.bincount(held_out_folds(codes, n_held_out)), np.full(max(6, n_held_out), size))


@pytest.mark.parametrize(("n", "n_folds"), [(12_000, 6), (12_001, 7), (14_000, 7), (50_000, 25)])
def test_a_fold_has_no_more_rows_than_are_needed(n, n_folds):
    sizes = np.bincount(held_out_folds(np.arange(n) % 5, 2))
    assert len(sizes) == n_folds
    assert sizes.max() <= 2000
    assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize(("n", "n_held_out"), [(2000, 0), (2010, 201), (15_000, 1500), (20_000, 2000), (50_000, 2000)])
def test_a_single_member_leaves_a_tenth_out_of_many_rows(n, n_held_out):
    mask = training_mask(1, np.arange(n) % 5)
    assert mask.shape == (1, n)
    assert np.sum(~mask) == n_held_out
    assert training_mask(1, np.arange(n) % 5, early_stopping=True).all()  # the validation rows do as well


@pytest.mark.parametrize("n_members", [2, 3, 7, 8])
def test_both_halves_of_the_members_leave_out_the_same_folds(n_members):
    """An odd one would leave out rows that no other scores: it trains on all."""
    codes, half = shuffled_codes(70, 50, 1), n_members // 2
    mask = training_mask(n_members, codes)
    folds = held_out_folds(codes, half)
    for member in range(2 * half):
        assert_array_equal(mask[member], folds != member % half)
    assert mask[2 * half :].all()


@pytest.mark.parametrize("n_members", [2, 8])
def test_a_member_that_holds_a_row_out_trains_on_no_copy_of_it(n_members):
    random_generator = np.random.default_rng(0)
    sample = random_generator.integers(0, 100, 300)  # as drawn with replacement
    codes = shuffled_codes(60, 36, 4)[sample]
    _, first, place = np.unique(sample, return_index=True, return_inverse=True)
    mask = training_mask(n_members, codes, first[place])
    for of_member in mask:
        assert not set(sample[of_member]) & set(sample[~of_member])
        assert set(codes[of_member]) == {0, 1, 2}
        for code in (0, 1):  # copies are dealt by their classes too
            assert np.mean(~of_member[codes == code]) > 0.08


def test_folds_have_as_many_originals_of_each_class():
    original = np.repeat(np.arange(0, 120, 4), 4)
    codes = np.repeat([0, 1], [72, 48])
    folds = held_out_folds(codes, 2, original)
    assert_array_equal(folds, folds[original])
    for code, n_originals in ((0, 3), (1, 2)):
        assert_array_equal(np.bincount(folds[codes == code]), np.full(6, 4 * n_originals))


def test_a_class_of_copies_of_one_row_is_learnt_by_all_members():
    codes, original = np.repeat([0, 1], [40, 5]), np.append(np.arange(40), np.full(5, 40))
    assert_array_equal(held_out_folds(codes, 2, original)[codes == 1], np.full(5, -1))


@pytest.mark.parametrize("n_copies", [50, 200])
def test_two_rows_that_fill_a_class_are_learnt_by_all_members_and_never_set_aside(n_copies):
    """As oversampling makes them of a class of two rows."""
    codes = np.repeat([0, 1], [100, 2 * n_copies])
    original = np.append(np.arange(100), np.repeat([100, 100 + n_copies], n_copies))
    mask = training_mask(8, codes, original)
    assert mask[:, codes == 1].all()
    assert (~mask).any(axis=1).all()
    assert set(codes[split_rows(codes, 0.2, seed=0, original=original)[1]]) == {0}


def test_a_row_beside_many_copies_of_the_other_of_its_class_is_learnt_by_all_members():
    codes, original = np.repeat([0, 1], [40, 12]), np.append(np.arange(40), [*np.full(11, 40), 51])
    assert_array_equal(held_out_folds(codes, 2, original)[codes == 1], np.full(12, -1))
    assert set(codes[split_rows(codes, 0.2, seed=0, original=original)[1]]) == {0}


def test_the_same_codes_give_the_same_folds_whatever_the_random_state():
    codes = shuffled_codes(30, 20, 10)
    np.random.seed(0)  # noqa: NPY002 - the global state must not matter
    expected = held_out_folds(codes, 4)
    np.random.seed(1)  # noqa: NPY002 - nor this one
    assert_array_equal(held_out_folds(codes.copy(), 4), expected)


def test_folds_do_not_follow_the_order_of_the_rows():
    """Rows measured one after the other, as of one batch or patient, are spread over the folds."""
    folds = held_out_folds(np.zeros(800, dtype=np.int64), 8)
    changes = np.diff(folds) % 8
    assert len(np.unique(changes)) == 8
    assert np.bincount(changes).max() < 200


def test_the_split_is_stratified_seeded_and_keeps_single_rows_in_training():
    codes = np.repeat([0, 1, 2], [80, 20, 1])
    train, valid = split_rows(codes, 0.2, seed=0)
    assert_array_equal(np.sort(np.concatenate([train, valid])), np.arange(101))
    assert_array_equal(np.bincount(codes[valid], minlength=3), [16, 4, 0])
    assert_array_equal(valid, split_rows(codes, 0.2, seed=0)[1])
    assert not np.array_equal(valid, split_rows(codes, 0.2, seed=1)[1])


def test_the_split_keeps_copies_together():
    random_generator = np.random.default_rng(0)
    sample = random_generator.integers(0, 100, 400)
    original = np.array([np.flatnonzero(sample == row)[0] for row in sample])
    codes = np.repeat([0, 1], [70, 30])[sample]
    train, valid = split_rows(codes, 0.2, seed=0, original=original)
    assert_array_equal(np.sort(np.concatenate([train, valid])), np.arange(400))
    assert not set(sample[train]) & set(sample[valid])
    n_originals = [len(np.unique(sample[valid][codes[valid] == code])) for code in (0, 1)]
    assert n_originals == [14, 6]


def test_the_split_keeps_a_class_of_copies_of_one_row_in_training():
    codes, original = np.repeat([0, 1], [40, 5]), np.append(np.arange(40), np.full(5, 40))
    assert codes[split_rows(codes, 0.2, seed=0, original=original)[1]].tolist() == [0] * 8


@pytest.mark.parametrize(("counts", "fraction"), [([5, 5, 5], 0.1), ([100, 100, 2], 0.8), ([1, 1, 1], 0.5)])
def test_a_split_that_leaves_a_class_without_rows_is_refused(counts, fraction):
    with pytest.raises(ValueError, match=f"validation_fraction={fraction}"):
        split_rows(np.repeat([0, 1, 2], counts), fraction, seed=0)
