"""How much each group of members counts, and class sizes: what makes the best probabilities of rows not trained on."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax
from scipy.stats import entropy

from ..inference import in_chunks, run_in_chunks
from ..inputs.chunks import any_varies
from ..network.ensemble import BOTH, ONLY_A, ONLY_B

SINGLE_BLOCK_COST = 0.05
"""What single blocks have to gain to be heard, in log loss summed over rows, where their scores vary by 1."""

OFFSET_COST = 1.5
"""What class offsets of t times the logarithms of the sizes have to gain, over t ** 2, in log loss summed over rows."""

_MAX_WEIGHT = 20.0
_MIN_TOTAL = 0.02


def held_out_scores(network, rows, mask):
    """Scores of each row in every group by the member of the group that did not train on it.

    Parameters
    ----------
    network : DualBranchNetwork
    rows : Rows
        All that the network was trained on.
    mask : ndarray of bool of shape (n_members, n)
        Which of them each member was trained on.

    Returns
    -------
    scores : ndarray of shape (n_groups, n_held_out, n_classes)
    held_out : ndarray of int64 of shape (n_held_out,)
        Numbers of the rows that every group has such a member for.
    """
    network.eval()
    untrained = [~mask[members] for members, _ in network.ensemble.groups]
    held_out = np.flatnonzero(np.all([of_group.any(axis=0) for of_group in untrained], axis=0))
    parts = [np.empty((len(network.ensemble.groups), 0, network.n_classes))]
    for chunk, (scores,) in in_chunks(network.member_scores, rows, held_out):
        by_group = []
        for (members, source), of_group in zip(network.ensemble.groups, untrained, strict=True):
            member = members.start + of_group[:, chunk].argmax(axis=0)
            by_group.append(scores[member, source, np.arange(len(chunk))])
        parts.append(np.stack(by_group))
    return np.concatenate(parts, axis=1), held_out


def calibrate(network, training, validation, mask, class_weight):
    """Fit group weights and class offsets on rows that the scores were not trained on, where there are any.

    These are the rows that members hold out and the validation rows; without any both blocks count in full. A single
    block that is the same in all training rows is not heard: of its scores, which are constants, the cost says little.

    Parameters
    ----------
    network : DualBranchNetwork
    training, validation : Rows
        ``validation`` may be None.
    mask : ndarray of bool of shape (n_members, n)
        Which training rows each member was trained on.
    class_weight : ndarray of shape (n_classes,)
        As in training.
    """
    of_members, held_out = held_out_scores(network, training, mask)
    scores, codes = [of_members], [training.y[held_out]]
    if validation is not None:
        scores.append(run_in_chunks(network, "group_scores", validation).swapaxes(0, 1))
        codes.append(validation.y)
    if not sum(map(len, codes)):
        return
    sources = np.array([group.source for group in network.ensemble.groups])
    heard = np.ones(len(sources), dtype=bool)
    for source, index in zip((ONLY_A, ONLY_B), training.columns.indices, strict=True):
        if source in sources and not any_varies(training, index):
            heard[sources == source] = False
    group_weights = np.zeros(len(sources))
    group_weights[heard], class_offsets = fit_ensemble(
        np.concatenate(scores, axis=1)[heard],
        np.concatenate(codes),
        class_weight,
        class_log_sizes(training.y, class_weight),
        sources[heard] != BOTH,
    )
    network.ensemble.set(group_weights, class_offsets)


def held_out_loss(network, rows, mask, class_weight):
    """Weighted log loss of the rows that members hold out, by the group weights and class offsets that suit them best.

    Single blocks have no cost here: it is the members that are judged, and not which of their scores to trust.

    Parameters
    ----------
    network : DualBranchNetwork
    rows : Rows
    mask : ndarray of bool of shape (n_members, n)
        Which of them each member was trained on.
    class_weight : ndarray of shape (n_classes,)
        As in training.
    """
    scores, held_out = held_out_scores(network, rows, mask)
    codes = rows.y[held_out]
    group_weights, class_offsets = fit_ensemble(scores, codes, class_weight, class_log_sizes(rows.y, class_weight))
    log_proba = log_softmax(np.tensordot(group_weights, scores, axes=1) + class_offsets, axis=1)
    return -float(np.mean(class_weight[codes] * log_proba[np.arange(len(codes)), codes]))


def chance_loss(codes, class_weight):
    """Least weighted log loss of probabilities that are the same for all rows.

    Parameters
    ----------
    codes : ndarray of int64 of shape (n,)
    class_weight : ndarray of shape (n_classes,)
        As in training.
    """
    weights = class_weight * np.bincount(codes, minlength=len(class_weight))
    return float(entropy(weights) * weights.sum() / len(codes))


def class_log_sizes(codes, class_weight):
    """Logarithms of the weights of all rows of each class together, less their mean; 0 for classes without any."""
    sizes = class_weight * np.bincount(codes, minlength=len(class_weight))
    logarithms = np.log(sizes, out=np.zeros(len(sizes)), where=sizes > 0)
    return np.where(sizes > 0, logarithms - logarithms[sizes > 0].mean(), 0)


def fit_ensemble(scores, codes, class_weight, log_sizes, by_single_block=None):
    """Weights w >= 0 of the groups, and t, for the best probabilities softmax(sum_g w_g scores_g + t log_sizes).

    With one group its weight is the inverse of a temperature (Guo et al., 2017). It sharpens or flattens what the
    scores have of the sizes of the classes too, which t sets right (Menon et al., 2021): t is below 0 where rare
    classes come out too seldom. The least weighted log loss, where the label of every row is smoothed by
    1 / (n n_classes) for each class, together as much as one row: without it, n rows that are all scored right would
    ask for certainty, and not for about n in n + 1. Few rows can make a single block look better than both by chance,
    so its weight has a cost: ``SINGLE_BLOCK_COST`` times the mean standard deviation over classes of the weighted
    scores, over all rows together; and so has t, ``OFFSET_COST`` times its square. What is minimised is convex.

    Parameters
    ----------
    scores : ndarray of shape (n_groups, n, n_classes)
    codes : ndarray of int64 of shape (n,)
    class_weight : ndarray of shape (n_classes,)
        As in training.
    log_sizes : ndarray of shape (n_classes,)
        Of the training rows, see :func:`class_log_sizes`.
    by_single_block : ndarray of bool of shape (n_groups,), optional
        Which groups have a cost; none by default.

    Returns
    -------
    group_weights : ndarray of shape (n_groups,)
        None above 20. Where they would sum to less than 0.02, 0.02 for the first group and 0 for the others.
    class_offsets : ndarray of shape (n_classes,)
        t log_sizes.
    """
    scale = float(np.abs(scores).max()) or 1.0
    scores = scores.astype(np.float64) / scale  # else the search would stop at once where scores are tiny
    n_groups, n_rows, n_classes = scores.shape
    cost = np.zeros(n_groups)
    if by_single_block is not None:
        cost = SINGLE_BLOCK_COST / n_rows * scores.std(axis=2).mean(axis=1) * by_single_block
    target = np.full((n_rows, n_classes), 1 / (n_rows * n_classes))
    target[np.arange(n_rows), codes] += class_weight[codes]

    def loss_and_gradient(sought):
        group_weights, exponent = sought[:-1], sought[-1]
        log_proba = log_softmax(np.tensordot(group_weights, scores, axes=1) + exponent * log_sizes, axis=1)
        residual = np.exp(log_proba) * target.sum(axis=1, keepdims=True) - target
        loss = (OFFSET_COST * exponent**2 - np.vdot(target, log_proba)) / n_rows + cost @ group_weights
        by_weights = np.tensordot(scores, residual, axes=2) / n_rows + cost
        by_exponent = (residual.sum(axis=0) @ log_sizes + 2 * OFFSET_COST * exponent) / n_rows
        return loss, np.append(by_weights, by_exponent)

    both = np.eye(n_groups)[0]
    bounds = [(0, _MAX_WEIGHT * scale)] * n_groups + [(None, None)]
    start = np.append(scale * both, 0)
    found = minimize(loss_and_gradient, start, jac=True, bounds=bounds, options={"ftol": 1e-12})
    group_weights, class_offsets = found.x[:-1] / scale, found.x[-1] * log_sizes
    return group_weights if group_weights.sum() >= _MIN_TOTAL else _MIN_TOTAL * both, class_offsets
