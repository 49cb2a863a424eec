import numpy as np
import pytest
import torch
from naive import contrastive_losses
from torch.nn import functional as F

from skdual.losses.composite import CompositeLoss
from skdual.losses.contrastive import contrastive_loss
from skdual.losses.memory_bank import BankCandidates
from skdual.losses.orthogonality import orthogonality_loss
from skdual.training.loop.mixup import Mixing

CLASS_WEIGHT = np.array([0.5, 3.0, 1.0, 0.0])
TARGET = torch.tensor([0, 1, 1, 2, 3, 0])


def make_loss(**changed):
    arguments = {
        "class_weight": CLASS_WEIGHT,
        "label_smoothing": 0.0,
        "contrastive": "supervised",
        "contrastive_weight": 0.3,
        "temperature": 0.2,
        "orthogonality_weight": 0.7,
    }
    return CompositeLoss(**(arguments | changed))


def make_batch(n_members=1):
    bases = torch.randn(n_members, 4, 2, 8).double()
    return {
        "scores": torch.randn(n_members, 6, 4).double(),
        "projections": tuple(F.normalize(torch.randn(n_members, 6, 5).double(), dim=2) for _ in range(2)),
        "gram": bases @ bases.mT,
    }


def make_bank(n_members=1):
    projections = F.normalize(torch.randn(n_members, 7, 5).double(), dim=2)
    ids, visible = torch.tensor([0, 1, 1, 2, 40, 41, 42]), torch.ones(n_members, 7, dtype=torch.bool)
    return BankCandidates(projections, ids, visible)


def terms_of(loss, batch, rows=None, class_weight=None, **changed):
    batch = batch | changed
    ids = loss.ids(TARGET, torch.arange(6) if rows is None else rows)
    return loss(
        batch["scores"],
        TARGET,
        class_weight,
        mixing=batch.get("mixing"),
        training_mask=batch.get("training_mask"),
        projections=batch["projections"],
        ids=ids,
        bank_candidates=batch.get("bank"),
        gram=batch["gram"],
    )


@pytest.mark.parametrize("n_members", [1, 3])
def test_loss_is_the_weighted_sum_of_its_terms(n_members):
    batch = make_batch(n_members)
    terms = terms_of(make_loss(), batch)
    assert set(terms) == {"loss", "classification_loss", "contrastive_loss", "orthogonality_loss"}
    views = torch.cat(batch["projections"], dim=1)
    contrastive = contrastive_loss(views, torch.cat([TARGET, TARGET]), 0.2).mean()
    penalty = orthogonality_loss(batch["gram"])
    torch.testing.assert_close(terms["contrastive_loss"], contrastive, rtol=1e-12, atol=0)
    torch.testing.assert_close(terms["orthogonality_loss"], penalty, rtol=1e-12, atol=0)
    expected = terms["classification_loss"] + 0.3 * contrastive + 0.7 * penalty
    torch.testing.assert_close(terms["loss"], expected, rtol=1e-12, atol=0)


def naive_classification_losses(scores, label_smoothing=0.0, target=TARGET):
    """Weighted loss of every row of one member."""
    per_row = []
    for row, code in zip(scores.detach().numpy(), target.tolist(), strict=True):
        log_probability = row - np.log(np.exp(row).sum())
        wanted = [(1 - label_smoothing) * (k == code) + label_smoothing / 4 for k in range(4)]
        per_row.append(-CLASS_WEIGHT[code] * sum(w * log_p for w, log_p in zip(wanted, log_probability, strict=True)))
    return per_row


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("n_members", [1, 3])
def test_classification_loss_equals_loops(label_smoothing, n_members):
    batch = make_batch(n_members)
    per_member = [sum(naive_classification_losses(scores, label_smoothing)) / 6 for scores in batch["scores"]]
    terms = terms_of(make_loss(label_smoothing=label_smoothing), batch)
    assert terms["classification_loss"].item() == pytest.approx(sum(per_member) / n_members, rel=1e-12)


def test_classification_loss_agrees_with_torch():
    batch = make_batch()
    weight = torch.from_numpy(CLASS_WEIGHT)
    expected = F.cross_entropy(batch["scores"][0], TARGET, weight, reduction="sum") / 6
    torch.testing.assert_close(terms_of(make_loss(), batch)["classification_loss"], expected)


def test_class_weight_of_the_call_is_the_one_used():
    batch = make_batch()
    terms = terms_of(make_loss(), batch, class_weight=torch.ones(4).double())
    torch.testing.assert_close(terms["classification_loss"], F.cross_entropy(batch["scores"][0], TARGET))


@pytest.mark.parametrize(
    ("changed_loss", "changed_batch", "left"),
    [
        ({"orthogonality_weight": 0.0}, {}, {"contrastive_loss"}),
        ({}, {"gram": None}, {"contrastive_loss"}),
        ({"contrastive": None}, {"projections": None}, {"orthogonality_loss"}),
        ({"contrastive": None, "orthogonality_weight": 0.0}, {"projections": None}, set()),
    ],
)
def test_terms_that_are_off_are_not_there(changed_loss, changed_batch, left):
    loss, batch = make_loss(**changed_loss), make_batch()
    terms = terms_of(loss, batch, **changed_batch)
    assert set(terms) == {"loss", "classification_loss"} | left
    weights = {"classification_loss": 1, "contrastive_loss": 0.3, "orthogonality_loss": 0.7}
    expected = sum(weights[name] * terms[name] for name in {"classification_loss"} | left)
    torch.testing.assert_close(terms["loss"], expected, rtol=1e-12, atol=0)


def naive_contrastive_losses(batch, ids, member, bank=None, training_mask=None):
    """Loss of every view that counts for the member, from those views and candidates alone."""
    views = np.concatenate([projection[member].detach().numpy() for projection in batch["projections"]])
    ids = np.concatenate([ids, ids])
    if training_mask is not None:
        counted = np.concatenate([training_mask[member]] * 2)
        views, ids = views[counted], ids[counted]
    if bank is not None:
        bank = (bank.projections[member][bank.visible[member]].numpy(), bank.ids[bank.visible[member]].numpy())
    return contrastive_losses(views, ids.tolist(), 0.2, bank)


@pytest.mark.parametrize("form", ["supervised", "self_supervised"])
@pytest.mark.parametrize("with_bank", [False, True])
@pytest.mark.parametrize("n_members", [1, 3])
def test_both_forms_of_the_contrastive_loss(form, with_bank, n_members):
    loss, batch = make_loss(contrastive=form), make_batch(n_members)
    rows = torch.tensor([30, 11, 12, 11, 14, 15])  # row 11 twice
    ids = loss.ids(TARGET, rows)
    assert torch.equal(ids, TARGET if form == "supervised" else rows)
    bank = make_bank(n_members) if with_bank else None
    expected = np.mean([naive_contrastive_losses(batch, ids, m, bank).mean() for m in range(n_members)])
    terms = terms_of(loss, batch, rows=rows, bank=bank)
    assert terms["contrastive_loss"].item() == pytest.approx(expected, rel=1e-10)


TRAINED = torch.tensor([[1, 1, 0, 1, 1, 1], [1, 1, 1, 0, 1, 0], [0, 1, 1, 0, 0, 0]]).bool()


def make_masked(with_bank):
    """Batch of three members that train on 5, 4 and 2 of its rows, and the bank they see parts of."""
    batch, bank = make_batch(3), make_bank(3)
    bank.visible.copy_(torch.tensor([[1, 0, 1, 1, 0, 1, 1], [0, 1, 1, 1, 1, 1, 0], [0] * 7]))
    return batch | {"training_mask": TRAINED, "bank": bank if with_bank else None}


@pytest.mark.parametrize("form", ["supervised", "self_supervised"])
@pytest.mark.parametrize("with_bank", [False, True])
def test_means_are_over_the_rows_that_count_then_over_members(form, with_bank):
    loss, batch = make_loss(contrastive=form), make_masked(with_bank)
    ids, bank = loss.ids(TARGET, torch.arange(6)), batch["bank"]
    classification = [
        np.mean(np.array(naive_classification_losses(scores))[counted])
        for scores, counted in zip(batch["scores"], TRAINED, strict=True)
    ]
    contrastive = [
        naive_contrastive_losses(batch, ids, 0, bank, TRAINED).mean(),
        naive_contrastive_losses(batch, ids, 1, bank, TRAINED).mean(),
        naive_contrastive_losses(batch, ids, 2, None, TRAINED).mean(),  # which sees nothing of the bank
    ]
    terms = terms_of(loss, batch)
    assert terms["classification_loss"].item() == pytest.approx(sum(classification) / 3, rel=1e-12)
    assert terms["contrastive_loss"].item() == pytest.approx(sum(contrastive) / 3, rel=1e-10)
    penalty = orthogonality_loss(batch["gram"]).item()  # of which no row is part
    assert terms["orthogonality_loss"].item() == pytest.approx(penalty, rel=1e-12)
    expected = (sum(classification) + 0.3 * sum(contrastive)) / 3 + 0.7 * penalty
    assert terms["loss"].item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("masked", [False, True])
def test_targets_are_mixed_as_the_rows(label_smoothing, masked):
    batch = make_batch(3) | {"training_mask": TRAINED if masked else None}
    loss, partner, share = make_loss(label_smoothing=label_smoothing), np.array([3, 0, 2, 5, 1, 4]), np.ones(6)
    share[[0, 1, 3, 5]] = 0.5, 0.7, 0.9, 0.6
    expected, shares = [], [np.ones(6), share, share]  # the first of three members sees the rows as they are
    trained = TRAINED if masked else torch.ones(3, 6).bool()
    for scores, counted, share_of_own in zip(batch["scores"], trained, shares, strict=True):
        own = naive_classification_losses(scores, label_smoothing)
        others = naive_classification_losses(scores, label_smoothing, TARGET[partner])
        mixed = [w * a + (1 - w) * b for w, a, b in zip(share_of_own, own, others, strict=True)]
        expected.append(np.mean(np.array(mixed)[counted]))
    mixing = Mixing(torch.from_numpy(partner), torch.from_numpy(share)[:, None])
    terms = terms_of(loss, batch, mixing=mixing)
    assert terms["classification_loss"].item() == pytest.approx(sum(expected) / 3, rel=1e-12)
    for name in ("contrastive_loss", "orthogonality_loss"):
        assert terms[name] == terms_of(loss, batch)[name]


@pytest.mark.parametrize("with_bank", [False, True])
def test_trained_on_all_rows_is_the_default(with_bank):
    loss, batch = make_loss(), make_masked(with_bank) | {"training_mask": None}
    if with_bank:
        batch["bank"].visible.fill_(True)
    expected, terms = terms_of(loss, batch), terms_of(loss, batch, training_mask=torch.ones(3, 6, dtype=torch.bool))
    masked = terms_of(loss, batch, training_mask=TRAINED)
    for name, value in terms.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=0)
        assert (masked[name] == expected[name]) == (name == "orthogonality_loss")


@pytest.mark.parametrize("with_bank", [False, True])
def test_rows_that_do_not_count_have_no_influence(with_bank):
    batch = make_masked(with_bank)
    leaves = [batch["scores"], *batch["projections"]]
    for leaf in leaves:
        leaf.requires_grad_()
    # weights that are not 0: else a row would be without influence for its class
    loss = terms_of(make_loss(), batch, class_weight=torch.ones(4).double())["loss"]
    for gradient in torch.autograd.grad(loss, leaves):
        assert torch.equal(gradient.any(dim=2), TRAINED)
    with torch.no_grad():
        for leaf in leaves:
            leaf[~TRAINED] = -leaf[~TRAINED].flip(-1)
    again = terms_of(make_loss(), batch, class_weight=torch.ones(4).double())["loss"]
    torch.testing.assert_close(again, loss, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("with_bank", [False, True])
def test_member_that_no_row_counts_for(with_bank, dtype):
    batch, none = make_masked(with_bank), TRAINED.clone()
    none[0] = False
    batch = {name: value.to(dtype) if name in ("scores", "gram") else value for name, value in batch.items()}
    batch["projections"] = tuple(projection.to(dtype) for projection in batch["projections"])
    if with_bank:
        batch["bank"] = batch["bank"]._replace(projections=batch["bank"].projections.to(dtype))
    leaves = [batch["scores"], *batch["projections"]]
    for leaf in leaves:
        leaf.requires_grad_()
    terms = terms_of(make_loss().to(dtype), batch, training_mask=none)
    for gradient in torch.autograd.grad(terms["loss"], leaves):
        assert gradient.isfinite().all()
        assert [bool(own.any()) for own in gradient] == [False, True, True]


def test_gradient_reaches_scores_projections_and_gram():
    batch = make_batch(2)
    leaves = [batch["scores"], *batch["projections"], batch["gram"]]
    for leaf in leaves:
        leaf.requires_grad_()
    terms_of(make_loss(), batch)["loss"].backward()
    assert all(own.any() for leaf in leaves for own in leaf.grad)


@pytest.mark.parametrize("with_bank", [False, True])
def test_members_times_the_loss_is_each_member_alone(with_bank):
    together = make_masked(with_bank)
    for name in ("scores", "gram"):
        together[name].requires_grad_()
    (3 * terms_of(make_loss(), together)["loss"]).backward()
    for m in range(3):
        alone = {name: together[name][[m]].detach().requires_grad_() for name in ("scores", "gram")}
        alone["projections"] = tuple(projection[[m]] for projection in together["projections"])
        bank = together["bank"]
        alone["bank"] = bank and BankCandidates(bank.projections[[m]], bank.ids, bank.visible[[m]])
        terms_of(make_loss(), alone, training_mask=TRAINED[[m]])["loss"].backward()
        for name in ("scores", "gram"):
            torch.testing.assert_close(together[name].grad[[m]], alone[name].grad, rtol=1e-10, atol=1e-14)


def test_class_weight_moves_with_the_module():
    assert make_loss().to(torch.float32).class_weight.dtype == torch.float32
