"""What the loss curves of a fit tell: underfitting, overfitting or converged."""

from typing import NamedTuple

import numpy as np

from .history import check_history

_CLEARLY = 0.1  # share of what was learnt that a rise, a gap or a late fall must exceed
_HARDLY = 0.05  # share of the first loss; a smaller fall counts as nothing learnt


class LearningVerdict(NamedTuple):
    """A verdict on the loss curves; as a str one line.

    Attributes
    ----------
    label : {"underfitting", "overfitting", "converged", "no verdict"}
    reason : str
        Why, in one clause with the figures.

    Examples
    --------
    >>> from skdual.plotting import LearningVerdict
    >>> print(LearningVerdict("converged", "the validation loss settled at 0.21"))
    converged: the validation loss settled at 0.21
    """

    label: str
    reason: str

    def __str__(self):
        return f"{self.label}: {self.reason}"


def learning_verdict(history):
    """Whether a fit was too short, went too far, or neither.

    Only the classification loss is read: the other terms serve it, and the contrastive loss depends on the size of the
    batch, which is another one for validation rows. Each curve is smoothed by a running median over a tenth of the
    epochs. "Learnt" is how far the lower of the two curves fell below the higher of the two losses of the first epoch.
    The first rule that holds gives the verdict:

    1. *underfitting*, if less than 5 % of the first loss was learnt.
    2. The validation loss ended above its lowest by more than a tenth of what was learnt: *overfitting* if the
       training loss fell meanwhile, *underfitting* if it rose too, for then the fit lost its training rows as well.
    3. *overfitting*, if the training loss ended below half the validation loss, and below it by more than a tenth of
       what was learnt. Dropout, mixup and lost blocks can only raise the training loss, so such a gap is real; the
       reverse, a training loss above the validation loss, says nothing.
    4. *underfitting*, if the validation loss was still falling: from halfway to the end by more than a tenth of what
       was learnt. Halfway is where half of the sum of the learning rates is reached and not half of the epochs, for
       every curve flattens when the learning rate goes to 0.
    5. *converged*, otherwise.

    The curves are judged to their end, also where early stopping, or the first of two cycles of the learning rate,
    kept the weights of an earlier epoch.

    Parameters
    ----------
    history : list of dict
        ``history_`` of a fitted :class:`~skdual.DualBranchClassifier`.

    Returns
    -------
    verdict : LearningVerdict
        With the label "no verdict" where fewer than two epochs have validation losses.

    Raises
    ------
    TypeError
        If ``history`` is something else.
    ValueError
        If it has losses or learning rates that are not finite numbers, or validation losses without a learning rate.

    Examples
    --------
    >>> from skdual.plotting import learning_verdict
    >>> training, validation = [2.0, 0.8, 0.4, 0.2, 0.1], [2.0, 1.0, 0.8, 1.0, 1.3]
    >>> history = [
    ...     {"classification_loss": t, "valid_classification_loss": v, "learning_rate": 0.002}
    ...     for t, v in zip(training, validation)
    ... ]
    >>> print(learning_verdict(history))
    overfitting: the validation loss rose from 0.80 in epoch 3 to 1.30
    """
    check_history(history)
    losses = {"classification_loss", "valid_classification_loss"}
    watched = [epoch for epoch, row in enumerate(history) if losses <= row.keys()]
    if not watched:
        return LearningVerdict("no verdict", "no validation rows (give fit X_val and y_val, or early_stopping=True)")
    if len(watched) == 1:
        return LearningVerdict("no verdict", "one epoch is too few")
    rows = [history[epoch] for epoch in watched]
    train = _smooth([row["classification_loss"] for row in rows])
    valid = _smooth([row["valid_classification_loss"] for row in rows])
    start = max(train[0], valid[0])
    learnt = start - min(train.min(), valid.min())
    if learnt < _HARDLY * start:
        return LearningVerdict("underfitting", f"the losses hardly fell, from {start:.2f} to {start - learnt:.2f}")
    lowest = int(valid.argmin())
    if valid[-1] - valid[lowest] > _CLEARLY * learnt:
        if train[-1] < train[lowest]:
            epoch = watched[lowest] + 1
            reason = f"the validation loss rose from {valid[lowest]:.2f} in epoch {epoch} to {valid[-1]:.2f}"
            return LearningVerdict("overfitting", reason)
        return LearningVerdict("underfitting", "both losses rose again; a lower learning_rate may help")
    if train[-1] < valid[-1] / 2 and valid[-1] - train[-1] > _CLEARLY * learnt:
        reason = f"the training loss, {train[-1]:.2f}, is far below the validation loss, {valid[-1]:.2f}"
        return LearningVerdict("overfitting", reason)
    halfway = np.interp(0.5, _share_of_learning(rows), valid)
    if halfway - valid[-1] > _CLEARLY * learnt:
        reason = f"the validation loss was still falling, from {halfway:.2f} halfway to {valid[-1]:.2f}"
        return LearningVerdict("underfitting", reason)
    return LearningVerdict("converged", f"the validation loss settled at {valid[-1]:.2f}")


def _smooth(losses):
    """Running median over an odd number of epochs, about a tenth of them; shorter at both ends."""
    reach = len(losses) // 20
    return np.array([np.median(losses[max(0, i - reach) : i + reach + 1]) for i in range(len(losses))])


def _share_of_learning(rows):
    """Sum of the learning rate up to the end of each epoch, as a share of the whole; rates are those at its start.

    Epochs without any count alike.
    """
    rates = np.array([row["learning_rate"] for row in rows])
    during = (rates + np.append(rates[1:], rates[-1])) / 2
    if not during.any():
        during = np.ones(len(during))
    return during.cumsum() / during.sum()
