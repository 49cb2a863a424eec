import numpy as np
import pytest
import torch

from skdual.training.mixup import MIXED_SHARE, Mixing, Mixup


def draw(alpha=0.4, n_rows=4000, seed=0):
    return Mixup(alpha, np.random.default_rng(seed)).draw(n_rows, torch.device("cpu"), torch.float64)


def test_rows_become_weighted_means_of_themselves_and_their_partners():
    x = torch.tensor([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]])
    mixing = Mixing(torch.tensor([2, 1, 0]), torch.tensor([[0.75], [1.0], [0.5]]))
    torch.testing.assert_close(mixing(x), torch.tensor([[1.75, 17.5], [2.0, 20.0], [2.5, 25.0]]))


def test_unmixed_rows_are_their_own_partners():
    mixing = draw()
    alone = mixing.weight[:, 0] == 1
    torch.testing.assert_close(mixing.partner[alone], torch.arange(4000)[alone])
    x = torch.randn(4000, 3, dtype=torch.float64)
    torch.testing.assert_close(mixing(x)[alone], x[alone])


def test_about_the_documented_share_is_mixed_and_every_row_stays_mostly_itself():
    mixing = draw(alpha=5.0)  # weights that are rarely 1 by chance
    assert mixing.weight.min() >= 0.5
    assert (mixing.weight < 1).double().mean() == pytest.approx(MIXED_SHARE, abs=0.03)


@pytest.mark.parametrize("alpha", [0.4, 1.0, 5.0])
def test_weights_follow_the_folded_beta_distribution(alpha):
    weight = draw(alpha, n_rows=20_000).weight[:, 0].numpy()
    sample = np.random.default_rng(1).beta(alpha, alpha, 200_000)
    mean = MIXED_SHARE * np.maximum(sample, 1 - sample).mean() + (1 - MIXED_SHARE)
    assert weight.mean() == pytest.approx(mean, abs=0.004)


def test_one_seed_gives_one_mixing():
    first, second, other = draw(seed=1), draw(seed=1), draw(seed=2)
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.partner, second.partner)
    assert not torch.equal(first.partner, other.partner)
