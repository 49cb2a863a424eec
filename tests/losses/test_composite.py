import numpy as np
import pytest
import torch
from naive import contrastive_losses
from torch.nn import functional as F

from skdual.losses.composite import CompositeLoss
from skdual.losses.contrastive import contrastive_loss
from skdual.losses.orthonormality import orthonormality_penalty

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


def make_batch():
    projections = tuple(F.normalize(torch.randn(6, 5).double(), dim=1) for _ in range(2))
    return {"scores": torch.randn(6, 4).double(), "projections": projections, "bases": torch.randn(4, 2, 8).double()}


def terms_of(loss, batch, rows=None, class_weight=None, **changed):
    batch = batch | changed
    ids = loss.ids(TARGET, torch.arange(6) if rows is None else rows)
    weight = loss.class_weight if class_weight is None else class_weight
    return loss(batch["scores"], TARGET, weight, batch["projections"], ids, batch.get("bank"), batch["bases"])


def test_loss_is_the_weighted_sum_of_its_terms():
    batch = make_batch()
    terms = terms_of(make_loss(), batch)
    assert set(terms) == {"loss", "classification_loss", "contrastive_loss", "orthogonality_loss"}
    views = torch.cat(batch["projections"])
    contrastive = contrastive_loss(views, torch.cat([TARGET, TARGET]), 0.2).mean()
    penalty = orthonormality_penalty(batch["bases"])
    torch.testing.assert_close(terms["contrastive_loss"], contrastive, rtol=1e-12, atol=0)
    torch.testing.assert_close(terms["orthogonality_loss"], penalty, rtol=1e-12, atol=0)
    expected = terms["classification_loss"] + 0.3 * contrastive + 0.7 * penalty
    torch.testing.assert_close(terms["loss"], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.5])
def test_classification_loss_equals_loops(label_smoothing):
    batch = make_batch()
    per_row = []
    for scores, code in zip(batch["scores"].numpy(), TARGET.tolist(), strict=True):
        log_probability = scores - np.log(np.exp(scores).sum())
        wanted = [(1 - label_smoothing) * (k == code) + label_smoothing / 4 for k in range(4)]
        per_row.append(-CLASS_WEIGHT[code] * sum(w * log_p for w, log_p in zip(wanted, log_probability, strict=True)))
    terms = terms_of(make_loss(label_smoothing=label_smoothing), batch)
    assert terms["classification_loss"].item() == pytest.approx(sum(per_row) / 6, rel=1e-12)


def test_classification_loss_agrees_with_torch():
    batch = make_batch()
    weight = torch.from_numpy(CLASS_WEIGHT)
    expected = F.cross_entropy(batch["scores"], TARGET, weight, reduction="sum") / 6
    torch.testing.assert_close(terms_of(make_loss(), batch)["classification_loss"], expected)


def test_class_weight_of_the_call_is_the_one_used():
    batch = make_batch()
    terms = terms_of(make_loss(), batch, class_weight=torch.ones(4).double())
    torch.testing.assert_close(terms["classification_loss"], F.cross_entropy(batch["scores"], TARGET))


@pytest.mark.parametrize(
    ("changed_loss", "changed_batch", "left"),
    [
        ({"orthogonality_weight": 0.0}, {}, {"contrastive_loss"}),
        ({}, {"bases": None}, {"contrastive_loss"}),
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


@pytest.mark.parametrize("form", ["supervised", "self_supervised"])
@pytest.mark.parametrize("with_bank", [False, True])
def test_both_forms_of_the_contrastive_loss(form, with_bank):
    loss, batch = make_loss(contrastive=form), make_batch()
    rows = torch.tensor([30, 11, 12, 11, 14, 15])  # row 11 twice
    ids = loss.ids(TARGET, rows)
    assert torch.equal(ids, TARGET if form == "supervised" else rows)
    bank = (F.normalize(torch.randn(7, 5).double(), dim=1), torch.tensor([0, 1, 1, 2, 40, 41, 42]))
    bank = bank if with_bank else None
    views = np.concatenate([projection.numpy() for projection in batch["projections"]])
    arrays = None if bank is None else tuple(tensor.numpy() for tensor in bank)
    expected = contrastive_losses(views, [*ids.tolist(), *ids.tolist()], 0.2, arrays).mean()
    terms = terms_of(loss, batch, rows=rows, bank=bank)
    assert terms["contrastive_loss"].item() == pytest.approx(expected, rel=1e-10)


def test_gradient_reaches_scores_projections_and_bases():
    batch = make_batch()
    leaves = [batch["scores"], *batch["projections"], batch["bases"]]
    for leaf in leaves:
        leaf.requires_grad_()
    terms_of(make_loss(), batch)["loss"].backward()
    assert all(leaf.grad.any() for leaf in leaves)


def test_class_weight_moves_with_the_module():
    assert make_loss().to(torch.float32).class_weight.dtype == torch.float32
