"""What one fit of the net needs while it goes on: batches, schedule, mask of the rows, mixing, bank."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR

from ...inputs.batches import BatchLoader, ClassAwareBatches, ShuffledBatches
from ...losses.memory_bank import MemoryBank
from .kept_weights import KeptWeights
from .mixup import Mixup
from .schedule import WarmRestarts


@dataclass
class RunningFit:
    """What a fit needs, and nothing after it.

    ``training_mask`` says which rows each member trains on, (n_members, n); None where all train on all in the batches.
    """

    kept: KeptWeights
    schedule: LambdaLR
    class_weight: torch.Tensor
    training_mask: torch.Tensor | None
    mixup: Mixup | None
    bank: MemoryBank | None
    update: Callable
    n_finished: int = 0


def start_fit(net, rows, cycle_lengths, mask, update):
    """Set up a fit of an initialised net.

    Parameters
    ----------
    net : DualBranchNet
    rows : Rows
        To train on.
    cycle_lengths : list of int
        Epochs of each cycle of the learning rate.
    mask : ndarray of bool of shape (n_members, n)
        Which rows each member trains on.
    update : callable
        Does a training step on a batch, except for advancing the schedule.

    Returns
    -------
    running : RunningFit
    loader : BatchLoader
        Of the training batches.
    """
    order_rng, bank_rng, mixup_rng = (np.random.default_rng(seed) for seed in np.random.SeedSequence(net.seed).spawn(3))
    mixup = Mixup(net.mixup_alpha, mixup_rng) if net.mixup_alpha else None
    bank = _new_bank(net, rows, bank_rng) if net.memory_bank_size else None
    draws_of = {name: source.draw for name, source in (("mixup", mixup), ("bank", bank)) if source is not None}
    # what a single member holds out is in no batch
    subset = np.flatnonzero(mask[0]) if len(mask) == 1 and not mask.all() else None
    codes = rows.y if subset is None else rows.y[subset]
    sampler = _sampler(net, rows, codes, order_rng)
    loader = BatchLoader(rows, sampler, draws_of, subset)
    n_steps = [n_epochs * len(loader) for n_epochs in cycle_lengths]
    running = RunningFit(
        kept=KeptWeights(net.module_),
        schedule=LambdaLR(net.optimizer_, WarmRestarts(n_steps, net.warmup)),
        class_weight=_class_weight(net, codes, sampler),
        training_mask=None if len(mask) == 1 or mask.all() else torch.from_numpy(mask).to(rows.device),
        mixup=mixup,
        bank=bank,
        update=update,
    )
    return running, loader


def _sampler(net, rows, codes, random_generator):
    """Of batches of those rows that are trained on, which have the codes."""
    if net.sampling == "class_aware":
        return ClassAwareBatches(codes, net.classes_per_batch, net.samples_per_class, random_generator)
    return ShuffledBatches(len(codes), net.batch_size, random_generator, rows.run_length)


def _class_weight(net, codes, sampler):
    """Class weights; over sampling frequencies where these differ, so that resampling leaves the priors as they are."""
    weight = net.criterion_.class_weight
    if net.sampling != "class_aware":
        return weight
    priors = np.bincount(codes) / len(codes)
    correction = torch.from_numpy(priors / sampler.frequencies).to(weight.dtype)
    return weight * correction.to(weight.device)


def _new_bank(net, rows, random_generator):
    """An empty bank for this fit; filled afresh, it can never hold projections of other rows."""
    return MemoryBank(
        net.criterion_.ids(rows.y, np.arange(len(rows))),
        net.module_.n_members,
        net.memory_bank_size,
        net.module_.projection_dim,
        rows.device,
        net.dtype,
        random_generator,
    )
