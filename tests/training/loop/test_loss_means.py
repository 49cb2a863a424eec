import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from skdual.training.loop.loss_means import LossMeans


def test_loss_means_are_weighted_by_rows():
    rng = np.random.default_rng(0)
    values, sizes = rng.normal(size=(5, 2)), [32, 32, 32, 32, 7]
    means = LossMeans()
    for (loss, part), size in zip(values, sizes, strict=True):
        means.add({"loss": torch.tensor(loss), "part": torch.tensor(part)}, size)
    read, broken = means.read()
    assert broken == {}
    assert_allclose([read["loss"], read["part"]], np.average(values, axis=0, weights=sizes), rtol=1e-12)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_loss_means_say_in_which_batch_each_term_broke(bad):
    means = LossMeans()
    for first, second in [(1.0, 1.0), (1.0, bad), (bad, 1.0), (1.0, bad)]:
        means.add({"first": torch.tensor(first), "second": torch.tensor(second)}, 4)
    assert means.read()[1] == {"first": 2, "second": 1}
