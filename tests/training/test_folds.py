import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skdual.training.folds import held_out_folds, training_mask


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


@pytest.mark.parametrize(("n", "n_held_out"), [(50_000, 0), (50_001, 1924)])
def test_a_single_member_leaves_a_fold_out_of_many_rows(n, n_held_out):
    mask = training_mask(1, np.arange(n) % 5)
    assert mask.shape == (1, n)
    assert np.sum(~mask) == n_held_out


@pytest.mark.parametrize("n_members", [2, 3, 8])
def test_both_halves_of_the_members_leave_out_the_same_folds(n_members):
    codes, half = shuffled_codes(70, 50, 1), n_members // 2
    mask, folds = training_mask(n_members, codes), held_out_folds(codes, n_members - half)
    for member in range(n_members):
        assert_array_equal(mask[member], folds != (member if member < half else member - half))


def test_nothing_may_be_held_out():
    assert_array_equal(held_out_folds(shuffled_codes(9, 9, 1), 0), np.full(19, -1))


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
