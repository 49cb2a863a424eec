"""What a warm start goes on from, and whether it can."""

from typing import NamedTuple

import numpy as np

from ..inputs.columns import ColumnBlocks
from ..warn import warn

KEPT_IF_AUTO = ("hidden_layer_sizes", "n_members")
"""Parameters whose "auto" stays what it was in the previous fit, whatever the rows."""

_FREE_TO_CHANGE = ("dropout", "bfloat16", "initialization")  # no fitted weight depends on it
_ONLY_WITH = {
    "token_dim": ("fusion", "attention"),
    "attention_heads": ("fusion", "attention"),
    "subspace_dim": ("head", "subspace"),
}


class PreviousFit(NamedTuple):
    """What is left of the previous fit: classes, columns, settings and state dict."""

    classes: np.ndarray
    columns: ColumnBlocks
    feature_names: np.ndarray | None
    settings: dict
    weights: dict


def check_continuation(previous, data, settings):
    """Refuse a warm start that could not go on from the fitted network; warn of validation rows that it has learnt."""
    # booleans and durations equal numbers
    kinds = [[classes.dtype.kind == kind for kind in "bm"] for classes in (data.classes, previous.classes)]
    if not np.array_equal(data.classes, previous.classes) or kinds[0] != kinds[1]:
        raise ValueError(
            f"warm_start=True goes on with the fitted classes {previous.classes}, but y has {data.classes}; set "
            f"warm_start=False to start anew."
        )
    if not data.columns.same_as(previous.columns):
        fitted, new = (" and ".join(map(str, columns.n_columns)) for columns in (previous.columns, data.columns))
        raise ValueError(
            f"warm_start=True goes on with the fitted blocks, of {fitted} columns, but blocks or X have others, {new} "
            f"of them; set warm_start=False to start anew."
        )
    if data.feature_names is not None and previous.feature_names is not None:
        for at, (name, fitted) in enumerate(zip(data.feature_names, previous.feature_names, strict=True)):
            if name != fitted:
                raise ValueError(
                    f"warm_start=True goes on with the fitted columns, where column {at} is {str(fitted)!r}, but in X "
                    f"it is {str(name)!r}; give them in the same order, or set warm_start=False to start anew."
                )
    had, has = (bool(each["module"]["projection_dim"]) for each in (previous.settings, settings))
    if had != has:
        raise ValueError(
            f"warm_start=True goes on with the fitted network, trained with{'' if had else 'out'} a contrastive loss; "
            f"leave contrastive and contrastive_weight as they were, or set warm_start=False to start anew."
        )
    for name, value in settings["module"].items():
        fitted = previous.settings["module"][name]
        free = name in _FREE_TO_CHANGE or (name == "block_dropout" and value and fitted)  # 0 has other groups
        if name in _ONLY_WITH:
            form, wanted = _ONLY_WITH[name]
            free = settings["module"][form] != wanted
        if value != fitted and not free:
            raise ValueError(
                f"warm_start=True goes on with the fitted network, whose {name} is {fitted!r}, but now it would be "
                f"{value!r}; set warm_start=False to start anew."
            )
    fraction, previous_fraction = (each["split"]["fraction"] for each in (settings, previous.settings))
    if fraction not in (None, previous_fraction):
        warn(
            f"warm_start=True goes on with a network that has learnt validation rows: this fit sets {fraction:g} of "
            f"the rows aside, the previous one set {previous_fraction or 'none'} aside. Their losses, and the "
            f"probabilities, will look too good; leave early_stopping and validation_fraction as they were, or give "
            f"X_val and y_val to fit."
        )
