"""The history of a fit, checked."""

import math
import numbers
import reprlib

TERMS = ("train_loss", "classification_loss", "contrastive_loss", "orthogonality_loss")


def validation_name(term):
    """How the history calls the loss of the validation rows."""
    return "valid_loss" if term == "train_loss" else f"valid_{term}"


def check_history(history):
    """Refuse what is not one dict an epoch, or has losses or learning rates that are not finite numbers.

    Parameters
    ----------
    history : whatever the user gave

    Raises
    ------
    TypeError
        If it is no list of dict.
    ValueError
        If a number is missing or is none.
    """
    if not isinstance(history, (list, tuple)) or not all(isinstance(epoch, dict) for epoch in history):
        came = reprlib.repr(history)
        raise TypeError(f"history must be a list of dict, as history_ of a fitted classifier, got {came}.")
    names = {"learning_rate", *TERMS, *map(validation_name, TERMS)}
    for number, epoch in enumerate(history, start=1):
        for name in sorted(names & epoch.keys()):
            if not isinstance(epoch[name], numbers.Real) or not math.isfinite(epoch[name]):
                raise ValueError(f"history must have finite numbers; epoch {number} has {name}={epoch[name]!r}.")
        if "valid_classification_loss" in epoch and "learning_rate" not in epoch:
            raise ValueError(f"history must have the learning_rate of every epoch; epoch {number} has none.")
