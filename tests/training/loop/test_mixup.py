import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from skdual.training.loop.mixup import MIXED_SHARE, Mixing, Mixup


def draw(alpha=0.4, n_rows=4000, seed=0):
    """Partners and weights of a batch of rows whose numbers are not their places."""
    rows = np.random.default_rng(9).permutation(10 * n_rows)[:n_rows]
    return Mixup(alpha, np.random.default_rng(seed)).draw(rows)


def test_rows_become_weighted_means_of_themselves_and_their_partners():
    x = torch.tensor([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]])
    mixing = Mixing(torch.tensor([2, 1, 0]), torch.tensor([[0.75], [1.0], [0.5]]))
    torch.testing.assert_close(mixing(x), torch.tensor([[1.75, 17.5], [2.0, 20.0], [2.5, 25.0]]))


def test_unmixed_rows_are_their_own_partners():
    partner, weight = draw(alpha=5.0)  # weights that never round to 1
    alone = weight == 1
    assert alone.any()
    assert_array_equal(partner[alone], np.arange(4000)[alone])
    mixing = Mixing(torch.from_numpy(partner), torch.from_numpy(weight).double()[:, None])
    x = torch.randn(4000, 3, dtype=torch.float64)
    assert torch.equal(mixing(x)[alone], x[alone])


def test_partners_are_places_in_the_batch_and_each_other_row_is_as_likely():
    places = np.concatenate([draw(n_rows=10, seed=seed)[0] for seed in range(2000)]).reshape(-1, 10)
    share = (places[:, :, None] == np.arange(10)).mean(axis=0)
    itself = (1 - MIXED_SHARE) + MIXED_SHARE / 10
    expected = np.where(np.eye(10, dtype=bool), itself, MIXED_SHARE / 10)
    assert (np.abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / 2000)).all()


def test_arrays_of_mixup_are_ready_to_be_sent():
    partner, weight = draw(n_rows=7)
    assert (partner.dtype, weight.dtype) == (np.int64, np.float32)
    assert partner.shape == weight.shape == (7,)


def test_about_the_documented_share_is_mixed_and_every_row_stays_mostly_itself():
    _, weight = draw(alpha=5.0)  # weights that are rarely 1 by chance
    assert weight.min() >= 0.5
    assert (weight < 1).mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("alpha", [0.4, 1.0, 5.0])
def test_mixup_weights_follow_the_folded_beta_distribution(alpha):
    _, weight = draw(alpha, n_rows=20_000)
    sample = np.random.default_rng(1).beta(alpha, alpha, 200_000)
    mean = MIXED_SHARE * np.maximum(sample, 1 - sample).mean() + (1 - MIXED_SHARE)
    assert weight.mean() == pytest.approx(mean, abs=0.004)


def test_mixup_of_one_seed_is_one_mixing():
    first, second, other = draw(seed=1), draw(seed=1), draw(seed=2)
    for ours, same, another in zip(first, second, other, strict=True):
        assert_array_equal(ours, same)
        assert not np.array_equal(ours, another)
