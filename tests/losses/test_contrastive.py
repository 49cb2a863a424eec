import math

import numpy as np
import pytest
import torch
from naive import contrastive_losses
from pytorch_metric_learning.losses import SupConLoss
from pytorch_metric_learning.reducers import MeanReducer
from torch.nn import functional as F

from skdual.losses.contrastive import contrastive_loss

TEMPERATURES = [0.01, 0.05, 0.1, 0.5, 1.0]

IDS = {
    "two classes": [0, 1] * 10,
    "many classes": [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 2, 2, 5, 5, 6, 7, 3, 4, 4],
    "singletons": [0, 0, 0, 1, 1, 2, 3, 4, 5, -1],  # 2 to 5 and -1 have no positive
    "both branches": [3, 1, 1, 0, 2, 9] * 2,
    "row numbers": [7, 2, 5, 11, 3] * 2,
    "row numbers, one row twice": [7, 2, 7, 11, 3] * 2,
}


def make_batch(ids, seed=0, n_bank=0, projection_dim=16):
    """Unit-length projections in float64, drawn towards their class's mean, ids, and a bank or None."""
    rng = np.random.default_rng(seed)
    bank_ids = rng.choice(ids, n_bank)
    centres = {label: rng.normal(size=projection_dim) for label in ids}
    all_ids = [*ids, *bank_ids]
    views = np.array([centres[label] for label in all_ids]) + rng.normal(size=(len(all_ids), projection_dim))
    views = F.normalize(torch.from_numpy(views), dim=1)
    bank = (views[len(ids) :], torch.from_numpy(bank_ids)) if n_bank else ()
    return views[: len(ids)], torch.tensor(ids), bank


def as_arrays(bank):
    return None if not bank else tuple(tensor.numpy() for tensor in bank)


@pytest.mark.parametrize("n_bank", [0, 1, 30])
@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("name", IDS)
def test_contrastive_loss_equals_loops(name, temperature, n_bank):
    views, ids, bank = make_batch(IDS[name], n_bank=n_bank)
    expected = contrastive_losses(views.numpy(), ids.numpy(), temperature, as_arrays(bank))
    losses = contrastive_loss(views, ids, temperature, *bank)
    assert losses.shape == (len(ids),)
    np.testing.assert_allclose(losses, expected, rtol=1e-10, atol=1e-12)
    single = () if not bank else (bank[0].float(), bank[1])
    loss = contrastive_loss(views.float(), ids, temperature, *single).mean()
    assert loss.item() == pytest.approx(expected.mean(), rel=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("name", IDS)
def test_contrastive_loss_equals_pytorch_metric_learning(name, temperature, seed):
    views, ids, _ = make_batch(IDS[name], seed)
    views = views.float()
    # the mean over all anchors: the default reducer's times the share of anchors whose loss is not 0
    peer = SupConLoss(temperature, reducer=MeanReducer())
    assert contrastive_loss(views, ids, temperature).mean().item() == pytest.approx(peer(views, ids).item(), rel=1e-5)


@pytest.mark.parametrize("n_rows", [1, 2, 12])
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_contrastive_loss_of_a_batch_of_one_class(temperature, n_rows):
    views, ids, _ = make_batch([4] * 2 * n_rows)
    expected = contrastive_losses(views.numpy(), ids.numpy(), temperature)
    # two views: the positive is the only candidate
    assert expected.mean() == pytest.approx(0, abs=1e-12) if n_rows == 1 else expected.mean() > 0.5
    loss = contrastive_loss(views.float(), ids, temperature).mean().item()
    assert loss == pytest.approx(expected.mean(), rel=1e-5, abs=1e-6)


def test_contrastive_loss_has_a_known_value():
    views = torch.tensor([[1.0, 0], [1, 0], [0, 1]]).double()
    losses = contrastive_loss(views, torch.tensor([0, 0, 1]), 0.5)
    # similarity 1 to the positive and 0 to the other: log(1 + exp(-1 / 0.5))
    np.testing.assert_allclose(losses, [np.log1p(np.exp(-2))] * 2 + [0], rtol=1e-14)


@pytest.mark.parametrize("n_bank", [0, 4])
def test_anchor_without_positive_has_no_loss(n_bank):
    views, _, _ = make_batch([0, 0, 1, 2])
    views.requires_grad_()
    bank = (make_batch([8] * 4, seed=1)[0], torch.full((4,), 8)) if n_bank else ()
    losses = contrastive_loss(views, torch.tensor([0, 0, 1, 2]), 0.01, *bank)
    assert (losses[:2] > 0).all()
    assert losses[2:].tolist() == [0, 0]
    losses[2:].sum().backward(retain_graph=True)
    assert not views.grad.any()
    losses.sum().backward()
    assert views.grad.isfinite().all()
    assert views.grad.any()


def test_bank_entries_are_candidates_but_no_anchors():
    views, ids, bank = make_batch(IDS["singletons"], n_bank=20)
    losses = contrastive_loss(views, ids, 0.1, *bank)
    assert losses.shape == (len(ids),)
    only_negatives = (bank[0], torch.full_like(bank[1], 99))
    assert (contrastive_loss(views, ids, 0.1, *only_negatives)[:5] > contrastive_loss(views, ids, 0.1)[:5]).all()
    found = torch.isin(ids[5:], bank[1])
    assert found.any()
    assert torch.equal(losses[5:] > 0, found)  # positives of the bank make anchors of singletons


@pytest.mark.parametrize("n_bank", [0, 5])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("name", ["singletons", "two classes"])
def test_gradient_of_the_contrastive_loss(name, temperature, n_bank):
    views, ids, bank = make_batch(IDS[name], n_bank=n_bank, projection_dim=4)
    views.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: contrastive_loss(F.normalize(x, dim=1), ids, temperature, *bank), views, atol=1e-5, rtol=1e-4
    )


def test_order_of_views_and_bank_does_not_matter():
    views, ids, bank = make_batch(IDS["many classes"], n_bank=12)
    order, bank_order = torch.randperm(len(ids)), torch.randperm(12)
    losses = contrastive_loss(views, ids, 0.1, *bank)
    shuffled = contrastive_loss(views[order], ids[order], 0.1, *(tensor[bank_order] for tensor in bank))
    torch.testing.assert_close(shuffled, losses[order], rtol=1e-12, atol=1e-12)


def test_ids_are_names_only():
    views, ids, _ = make_batch(IDS["many classes"])
    assert torch.equal(contrastive_loss(views, 1000 - 3 * ids, 0.1), contrastive_loss(views, ids, 0.1))


def make_members(ids, n_bank=0, n_members=3):
    """Batches that have their ids in common, and of every member a random choice of what it trains on."""
    _, ids, bank = make_batch(ids, n_bank=n_bank)
    views = F.normalize(torch.randn(n_members, len(ids) + n_bank, 16).double(), dim=2)
    trained = torch.rand(n_members, len(ids) + n_bank) < 0.6
    return views[:, : len(ids)], ids, (views[:, len(ids) :], bank[1]) if n_bank else (), trained


@pytest.mark.parametrize("n_bank", [0, 7])
@pytest.mark.parametrize("leading", [(3,), (1,), (2, 3)])
def test_members_are_batches_of_their_own(leading, n_bank):
    views, ids, bank, _ = make_members(IDS["many classes"], n_bank, n_members=math.prod(leading))
    of_members = views.unflatten(0, leading)
    shaped_bank = (bank[0].unflatten(0, leading), bank[1]) if n_bank else ()
    losses = contrastive_loss(of_members, ids, 0.1, *shaped_bank)
    assert losses.shape == (*leading, len(ids))
    for m, member_losses in enumerate(losses.flatten(0, -2)):
        member_bank = (bank[0][m].numpy(), bank[1].numpy()) if n_bank else None
        expected = contrastive_losses(views[m].numpy(), ids.numpy(), 0.1, member_bank)
        np.testing.assert_allclose(member_losses, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("n_bank", [0, 1, 30])
@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("name", IDS)
def test_candidates_not_trained_on_might_as_well_not_be_there(name, temperature, n_bank):
    views, ids, bank, trained = make_members(IDS[name], n_bank)
    losses = contrastive_loss(views, ids, temperature, *bank, candidate_mask=trained)
    single = () if not bank else (bank[0].float(), bank[1])
    in_float32 = contrastive_loss(views.float(), ids, temperature, *single, candidate_mask=trained)
    assert losses.shape == (3, len(ids))
    assert not trained.all()
    for m in range(3):
        of_views, of_bank = trained[m, : len(ids)], trained[m, len(ids) :]
        kept_bank = (bank[0][m][of_bank].numpy(), bank[1][of_bank].numpy()) if of_bank.any() else None
        if of_views.sum() + of_bank.sum() < 2:
            expected = [0.0] * int(of_views.sum())  # nothing to compare with
        else:
            expected = contrastive_losses(views[m][of_views].numpy(), ids[of_views].numpy(), temperature, kept_bank)
        np.testing.assert_allclose(losses[m][of_views], expected, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(in_float32[m][of_views], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_contrastive_loss_has_a_known_value_beside_rows_not_trained_on(dtype):
    # far from the anchor a positive and a negative; right where it is, two that do not count
    views = torch.tensor([[[1.0, 0], [-1, 0], [-1, 0], [1, 0]]], dtype=dtype)
    bank = (views[:, :1], torch.tensor([0]))
    trained = torch.tensor([[True, True, True, False, False]])
    losses = contrastive_loss(views, torch.tensor([0, 0, 1, 1]), 0.01, *bank, candidate_mask=trained)
    assert losses[0, 0].item() == pytest.approx(math.log(2), rel=1e-5)  # 100 in float32 is exact to 4e-6


@pytest.mark.parametrize("n_bank", [0, 7])
def test_all_candidates_are_trained_on_by_default(n_bank):
    views, ids, bank, trained = make_members(IDS["singletons"], n_bank)
    losses = contrastive_loss(views, ids, 0.1, *bank, candidate_mask=torch.ones_like(trained))
    assert torch.equal(losses, contrastive_loss(views, ids, 0.1, *bank))
    assert not torch.equal(losses, contrastive_loss(views, ids, 0.1, *bank, candidate_mask=trained))


@pytest.mark.parametrize("n_bank", [0, 7])
@pytest.mark.parametrize("temperature", [0.01, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_kept", [0, 1])
def test_member_that_trains_on_next_to_no_row_of_the_batch(n_kept, dtype, temperature, n_bank):
    views, ids, bank, trained = make_members([0, 1, 1, 0] * 2, n_bank)
    views = views.to(dtype).requires_grad_()
    bank = () if not bank else (bank[0].to(dtype), bank[1])
    trained[0] = trained[1, : len(ids)] = False
    trained[2] = True
    trained[:2, :n_kept] = True
    losses = contrastive_loss(views, ids, temperature, *bank, candidate_mask=trained)
    assert losses.isfinite().all()
    assert not losses[0].any()  # the only candidate, if there is one, is as likely as can be
    with torch.autograd.set_detect_anomaly(True):  # NaN on the way would be an error too
        contrastive_loss(views, ids, temperature, *bank, candidate_mask=trained).sum().backward()
    assert views.grad.isfinite().all()
    assert views.grad[2].any()
    assert not views.grad[0].any()


@pytest.mark.parametrize("n_bank", [0, 5])
def test_gradient_of_the_contrastive_loss_of_members(n_bank):
    views, ids, bank, trained = make_members([0, 1, 1, 0, 2, 1], n_bank)
    counted = trained[:, : len(ids)]
    views = views[..., :4].clone().requires_grad_()
    bank = () if not bank else (bank[0][..., :4], bank[1])

    def counted_losses(x):
        return contrastive_loss(F.normalize(x, dim=2), ids, 0.5, *bank, candidate_mask=trained) * counted

    assert torch.autograd.gradcheck(counted_losses, views, atol=1e-5, rtol=1e-4)
    for m in range(3):
        (gradient,) = torch.autograd.grad(counted_losses(views)[m].sum(), views)
        assert not gradient[m][~counted[m]].any()
        assert gradient[m].any()
        assert not gradient[[k for k in range(3) if k != m]].any()
