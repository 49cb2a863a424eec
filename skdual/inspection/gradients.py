"""Attributions of rows that are on the device: captum's methods on the network's class scores."""

from typing import NamedTuple

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from ..devices import isolated_random_state, send
from ..extras import import_extra
from ..inference import as_memory_allows, check_finite_results
from ..warn import warn

TOLERANCE = 1e-3
"""Share of a row's largest class score, or the baseline's, by which integrated gradients may miss their sum."""

N_STEPS = (50, 200, 800, 1600)
"""Steps along the path; rows that miss their sum are computed anew with the next number."""

N_SAMPLES = 50
"""Noisy copies of a row that SmoothGrad takes the mean over."""

NOISE = 0.5
"""Standard deviation of their noise, in standard deviations of the column."""

_POINTS = 256  # rows, counted once for each step or copy, that go through the network together
_VALUES = 2**22  # at most so many values of them


class Part(NamedTuple):
    """Some rows on the device, and what their attributions are made with.

    ``x`` are both blocks of the rows, ``baseline`` and ``scale`` one row of both, and ``target`` the rows' class codes.
    ``points`` rows may go through the network together.
    """

    x: tuple
    baseline: tuple
    scale: tuple
    target: torch.Tensor
    points: int
    seed: int


def _captum():
    return import_extra("captum.attr", extra="inspection", caller="skdual.inspection")


def gradient_x_input(scores, part):
    """The gradient at the row, times the row's difference from the baseline."""
    saliency = _captum().Saliency(scores)
    gradient = saliency.attribute(tuple(v.requires_grad_() for v in part.x), target=part.target, abs=False)
    return tuple(g * (v - b) for g, v, b in zip(gradient, part.x, part.baseline, strict=True)), 0


def smooth_grad(scores, part):
    """The mean gradient over noisy copies of the row, times the row's difference from the baseline."""
    captum = _captum()

    def scores_of_steps(*steps):
        return scores(*(b + s * step for b, s, step in zip(part.baseline, part.scale, steps, strict=True)))

    # captum's noise is the same for all columns of a tensor: in deviations from the baseline it fits them all
    steps = tuple((v - b) / s for v, b, s in zip(part.x, part.baseline, part.scale, strict=True))
    with isolated_random_state(part.target.device, part.seed):
        gradient = captum.NoiseTunnel(captum.Saliency(scores_of_steps)).attribute(
            steps,
            nt_type="smoothgrad",
            nt_samples=N_SAMPLES,
            nt_samples_batch_size=max(1, part.points // len(part.target)),
            stdevs=NOISE,
            target=part.target,
            abs=False,
        )
    return tuple(g * step for g, step in zip(gradient, steps, strict=True)), 0


def integrated_gradients(scores, part):
    """The integral of the gradient along the straight path from the baseline, times the row's difference from it."""
    method = _captum().IntegratedGradients(scores)
    with torch.no_grad():
        start, end = scores(*part.baseline), scores(*part.x)
    difference = (end - start).gather(1, part.target[:, None]).squeeze(1)
    tolerance = TOLERANCE * torch.maximum(start.abs().amax(dim=1), end.abs().amax(dim=1))
    attributions = tuple(torch.empty_like(v) for v in part.x)
    missed = torch.arange(len(part.target), device=part.target.device)
    for n_steps in N_STEPS:
        found = method.attribute(
            tuple(v[missed] for v in part.x),
            baselines=part.baseline,
            target=part.target[missed],
            n_steps=n_steps,
            method="gausslegendre",
            internal_batch_size=part.points,
        )
        for whole, some in zip(attributions, found, strict=True):
            whole[missed] = some
        error = (sum(some.sum(dim=1) for some in found) - difference[missed]).abs()
        missed = missed[~(error <= tolerance[missed])]
        if not len(missed):
            break
    return attributions, len(missed)


METHODS = {
    "gradient_x_input": gradient_x_input,
    "smooth_grad": smooth_grad,
    "integrated_gradients": integrated_gradients,
}


def attribute_rows(network, rows, codes, baseline, method, random_state):
    """Attributions of all rows, a few rows at a time; memory is bounded by these.

    A device that runs out of memory gets half as many from there on.

    Columns in which a logarithm stands for x are explained in it: their gradients and differences are those of
    the logarithm, which, unlike x, noise can't bring out of what the network takes.

    Parameters
    ----------
    network : DualBranchNetwork
    rows : Rows
    codes : ndarray of int64 of shape (n,)
        The class whose score is explained, for every row.
    baseline : pair of tensors of shape (1, p_a) and (1, p_b)
    method : str
        One of ``METHODS``.
    random_state : int, RandomState instance or None

    Yields
    ------
    index : ndarray of int64
        Numbers of some rows.
    attributions : ndarray of shape (len(index), p_a + p_b)

    Warns
    -----
    ConvergenceWarning
        After the last rows, if integrated gradients of some are not complete.
    """
    network.eval()

    def scores(*x):
        return network.scores(*(scaler.expand(v) for scaler, v in zip(network.scalers, x, strict=True)))

    def explained(x):
        return tuple(scaler.compress(v) for scaler, v in zip(network.scalers, x, strict=True))

    random_generator = check_random_state(random_state) if method == "smooth_grad" else None

    def explain(index, points):
        part = Part(
            x=explained(rows.fetch(index).blocks),
            baseline=explained(baseline),
            scale=tuple(scaler.scale[None] for scaler in network.scalers),
            target=send(torch.from_numpy(codes[index]), rows.device),
            points=points,
            seed=0 if random_generator is None else int(random_generator.randint(np.iinfo(np.int32).max)),
        )
        with torch.device("cpu"):  # captum makes tensors on the default device, which may be any of the caller's
            attributions, missed = METHODS[method](scores, part)
            return torch.cat(attributions, dim=1).detach(), torch.tensor(missed)

    points = int(np.clip(_VALUES // sum(b.shape[1] for b in baseline), 1, _POINTS))
    n_missed, finite = 0, np.ones(len(rows), dtype=bool)
    for index, (attributions, missed) in as_memory_allows(explain, [np.arange(len(rows))], points):
        n_missed += int(missed)
        finite[index] = np.isfinite(attributions).all(axis=1)
        yield index, attributions
    check_finite_results(finite)
    if n_missed:
        warn(
            f"The integrated gradients of {n_missed} of {len(rows)} rows do not add up to score(x) - score(baseline) "
            f"within {TOLERANCE} of the largest score after {N_STEPS[-1]} steps; these rows may be far from the "
            f"baseline: look for outliers, or give a nearer baseline.",
            ConvergenceWarning,
        )
