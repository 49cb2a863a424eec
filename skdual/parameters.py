"""Hyperparameters: what each may be, which contradict each other, and who uses them."""

import math
import numbers
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.class_weight import compute_class_weight

from . import defaults
from .inputs.batches import n_batches
from .inputs.labels import label_to_code, plain_str
from .network.branches import ACTIVATIONS, INITIALIZATIONS, NORMALIZATIONS
from .scaling.scalings import SCALINGS, scaling_pair

_positive_int = Interval(numbers.Integral, 1, None, closed="left")
_fraction = Interval(numbers.Real, 0, 1, closed="left")
_not_negative = Interval(numbers.Real, 0, None, closed="left")
_positive = Interval(numbers.Real, 0, None, closed="neither")
_auto = StrOptions({"auto"})

# what is in blocks, pairs, dicts and lists, and rejection_label, is checked where it is resolved
CONSTRAINTS = {
    "blocks": "no_validation",
    "standardize": ["boolean", StrOptions(set(SCALINGS)), list, tuple, dict],
    "hidden_layer_sizes": [_auto, list, tuple, dict],
    "dropout": [_auto, _fraction, list, tuple, dict],
    "activation": [StrOptions(set(ACTIVATIONS))],
    "normalization": [StrOptions(set(NORMALIZATIONS))],
    "initialization": [StrOptions(set(INITIALIZATIONS))],
    "fusion": [StrOptions({"attention", "concat"})],
    "block_dropout": [_fraction],
    "token_dim": [_positive_int],
    "attention_heads": [_positive_int],
    "projection_dim": [_positive_int],
    "contrastive": [StrOptions({"supervised", "self_supervised"}), None],
    "contrastive_weight": [_not_negative],
    "temperature": [_positive],
    "memory_bank_size": [Interval(numbers.Integral, 0, None, closed="left")],
    "head": [StrOptions({"subspace", "linear"})],
    "subspace_dim": [_positive_int],
    "orthogonality_weight": [_not_negative],
    "n_members": [_auto, _positive_int],
    "class_weight": [dict, StrOptions({"balanced"}), None],
    "label_smoothing": [_fraction],
    "mixup_alpha": [_auto, _not_negative],
    "batch_size": [_auto, Interval(numbers.Integral, 2, None, closed="left")],
    "sampling": [StrOptions({"shuffle", "class_aware"})],
    "classes_per_batch": [_positive_int, None],
    "samples_per_class": [_positive_int, None],
    "max_epochs": [_auto, _positive_int],
    "learning_rate": [_auto, _positive],
    "weight_decay": [_auto, _not_negative],
    "warmup": [_fraction],
    "gradient_clip": [_positive, None],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(numbers.Real, 0, 1, closed="neither")],
    "patience": [_positive_int],
    "warm_start": ["boolean"],
    "rejection_quantile": [Interval(numbers.Real, 0, 1, closed="neither"), None],
    "rejection_label": "no_validation",
    "device": [str, torch.device],
    "precision": [StrOptions({"auto", "float32", "bfloat16", "float64"})],
    "compile": ["boolean"],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
    "callbacks": [list, tuple, None],
    "net_params": [dict, None],
}

_BY_BLOCK = ("standardize", "hidden_layer_sizes", "dropout")  # which take a dict by block name

# what each takes as it is given
_OF_MODULE = (
    "activation",
    "normalization",
    "initialization",
    "fusion",
    "block_dropout",
    "token_dim",
    "attention_heads",
    "head",
    "subspace_dim",
    "projection_dim",
)
_OF_CRITERION = ("label_smoothing", "contrastive", "contrastive_weight", "temperature", "orthogonality_weight")
_OF_NET = ("memory_bank_size", "warmup", "gradient_clip", "sampling")


def resolve_settings(
    params,
    *,
    n_columns,
    codes,
    classes,
    n_train,
    zero_shares,
    min_bfloat16_weights,
    block_names,
    has_validation,
):
    """Replace "auto" by values, check what depends on the data, and sort the parameters by their users.

    Parameters
    ----------
    params : dict
        All parameters of the estimator, each value within CONSTRAINTS.
    n_columns : pair of int
        Of block A and of block B.
    codes : ndarray of int64
        Class codes of all rows.
    classes : ndarray
    n_train : int
        Rows to train on, validation rows left out.
    zero_shares : callable
        Gives the share of the values of either block in them that are 0; called where it matters only.
    min_bfloat16_weights : float
        Weights of the branches from which on ``precision="auto"`` rounds products to bfloat16.
    block_names : pair of str
    has_validation : bool
        Whether there are validation rows.

    Returns
    -------
    settings : dict of dict
        Plain values: ``module`` (DualBranchNetwork), ``criterion`` (CompositeLoss), ``net`` (DualBranchNet),
        and ``rejection`` (``quantile`` and ``label``).

    Raises
    ------
    ValueError
        If a value has the wrong structure, or two parameters contradict each other.
    """
    params = {name: _plain_number(value, CONSTRAINTS[name]) for name, value in params.items()}
    params |= {name: _in_order(name, params[name], block_names) for name in _BY_BLOCK}
    has_contrastive = params["contrastive"] is not None and params["contrastive_weight"] > 0
    if params["memory_bank_size"] and not has_contrastive:
        raise ValueError(
            f"memory_bank_size={params['memory_bank_size']} needs a contrastive loss, but "
            f"contrastive={params['contrastive']!r} and contrastive_weight={params['contrastive_weight']}; set "
            f"memory_bank_size=0 or turn the loss on."
        )
    module = _module_settings(params, n_columns, n_train, min_bfloat16_weights)
    criterion = _chosen(params, *_OF_CRITERION)
    if not has_contrastive:
        module["projection_dim"], criterion["contrastive"] = 0, None
    return {
        "rejection": _rejection(params, classes, has_validation),
        "module": {"n_classes": len(classes), **module},
        "criterion": {"class_weight": _class_weight(params["class_weight"], classes, codes), **criterion},
        "net": _net_settings(params, sum(n_columns), n_train, len(classes), zero_shares),
    }


def settings_by_parameter(settings, dtype):
    """What ``settings_`` of the estimator says of the settings of a fit with weights of a torch dtype."""
    module, net = settings["module"], settings["net"]
    return {
        **_chosen(module, "standardize", "row_norms"),
        "splines": tuple(n > 0 for n in module["n_hats"]),
        "whitened": tuple(rank > 0 for rank in module["whitening_ranks"][:2]),
        "whitened_together": module["whitening_ranks"][2] > 0,
        **_chosen(module, "hidden_layer_sizes", "dropout", "n_members"),
        **_chosen(net, "mixup_alpha", "batch_size", "classes_per_batch", "samples_per_class", "max_epochs"),
        "learning_rate": net["lr"],
        "weight_decay": net.get("optimizer__weight_decay"),
        "precision": "bfloat16" if module["bfloat16"] else str(dtype).removeprefix("torch."),
    }


def _plain_number(value, constraints):
    """A number as Python's own: small integers of numpy overflow in products, and torch takes no bool for an int."""
    intervals = [constraint for constraint in constraints if isinstance(constraint, Interval)]
    if not intervals or not isinstance(value, numbers.Real):
        return value
    plain: Callable = int if intervals[0].type is numbers.Integral else float
    return plain(value)


def _in_order(name, value, block_names):
    """A dict by block name as a list, block A first; anything else as it is."""
    if not isinstance(value, dict):
        return value
    if set(value) != set(block_names):
        raise ValueError(
            f"{name}={value!r} must name both blocks, {block_names[0]!r} and {block_names[1]!r}, and no others."
        )
    return [value[block] for block in block_names]


def _chosen(params, *names):
    return {name: params[name] for name in names}


def _module_settings(params, n_columns, n_train, min_bfloat16_weights):
    """Of the network, but for the number of classes."""
    max_ranks = [min(p, n_train) for p in n_columns]
    sizes = _hidden_layer_sizes(params["hidden_layer_sizes"], n_columns, max_ranks)
    _check_dims(params, sum(of_branch[-1] for of_branch in sizes))
    n_members = params["n_members"]
    if n_members == "auto":
        n_members = defaults.n_members(n_columns, max_ranks, sizes, n_train)
    is_large = defaults.n_branch_weights(max_ranks, sizes, n_members) >= min_bfloat16_weights
    return {
        "n_members": n_members,
        "in_features": tuple(n_columns),
        "hidden_layer_sizes": sizes,
        "dropout": _dropout(params["dropout"], max_ranks),
        "standardize": scaling_pair(params["standardize"]),
        "row_norms": (False, False),  # the rows may tell otherwise
        "n_hats": (0, 0),  # as well
        "whitening_ranks": (0, 0, 0),
        "bfloat16": params["precision"] == "bfloat16" or (params["precision"] == "auto" and is_large),
        **_chosen(params, *_OF_MODULE),
    }


def _net_settings(params, n_columns, n_train, n_classes, zero_shares):
    """Of the training loop and the optimizer."""
    batch = _batch_settings(params, n_train, n_classes)
    steps = n_batches(n_train, batch["batch_size"], params["sampling"])
    max_epochs, learning_rate, mixup_alpha = (params[name] for name in ("max_epochs", "learning_rate", "mixup_alpha"))
    first_cycle = None
    if max_epochs == "auto":
        max_epochs = defaults.max_epochs(steps)
        first_cycle = None if params["early_stopping"] else defaults.first_cycle(max_epochs, n_train)
    if learning_rate == "auto":
        learning_rate = defaults.learning_rate(n_columns, n_train)
    return {
        **batch,
        "max_epochs": max_epochs,
        "first_cycle": first_cycle,
        "lr": float(learning_rate),
        **_weight_decay(params, float(learning_rate), max_epochs * steps),
        "patience": params["patience"] if params["early_stopping"] else None,
        "mixup_alpha": defaults.mixup_alpha(zero_shares()) if mixup_alpha == "auto" else mixup_alpha,
        **_chosen(params, *_OF_NET),
    }


def _rejection(params, classes, has_validation):
    """Quantile and label of rows to be rejected, which can't be told from their labels otherwise."""
    quantile, label = params["rejection_quantile"], params["rejection_label"]
    if quantile is None:
        if label is not None:
            raise ValueError(f"rejection_label={label!r} has no effect without rejection_quantile.")
        return {"quantile": None, "label": None}
    if params["head"] != "subspace":
        raise ValueError(f"rejection_quantile={quantile} needs head='subspace'; got head={params['head']!r}.")
    if not has_validation:
        raise ValueError(
            f"rejection_quantile={quantile} needs validation rows to learn its threshold from; give X_val and y_val to "
            f"fit, or set early_stopping=True."
        )
    return {"quantile": float(quantile), "label": _rejection_label(label, classes)}


def _rejection_label(label: Any, classes):
    """The label as a plain value that one array can hold unchanged beside the labels of y."""
    int64, largest = np.iinfo(np.int64), sys.float_info.max
    if classes.dtype.kind in "mM" or (classes.dtype == np.uint64 and classes.max() > int64.max):
        raise ValueError(
            f"rejection_label can't stand beside labels of {classes.dtype}; make y strings, or integers within int64."
        )
    kind: Callable
    if classes.dtype.kind in "biu":
        kind, wanted = int, "an integer within int64"
        fits = _is_number(label, numbers.Integral) and int64.min <= label <= int64.max
    elif classes.dtype.kind == "f":
        kind, wanted = float, "a whole number that float64 holds"
        plain = label.item() if isinstance(label, np.generic) else label  # small floats of numpy can't be compared
        fits = _is_number(plain, numbers.Real) and -largest <= plain <= largest and float(plain) == plain == int(plain)
    else:
        kind, wanted, fits = plain_str, "a str", isinstance(label, str)
    if not fits or label in classes.tolist():
        raise ValueError(
            f"rejection_label must be {wanted}, like labels of y such as {classes.tolist()[0]!r}, but none of them; "
            f"got {label!r}. With rejection_quantile predict gives it to rejected rows."
        )
    return kind(label)


def _is_number(value: Any, kind) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _hidden_layer_sizes(value, n_columns, max_ranks):
    if isinstance(value, str):
        return defaults.hidden_layer_sizes(n_columns, max_ranks)
    is_pair = len(value) == 2 and all(isinstance(sizes, (list, tuple)) and len(sizes) for sizes in value)
    if not is_pair or not all(_is_number(size, numbers.Integral) and size > 0 for sizes in value for size in sizes):
        raise ValueError(
            f"hidden_layer_sizes must be 'auto', or a pair or a dict by block name of non-empty sequences of positive "
            f"ints, one for each branch, such as ((256, 128), (64,)); got {value!r}."
        )
    return tuple(tuple(int(size) for size in sizes) for sizes in value)


def _dropout(value, max_ranks):
    """A rate for each branch."""
    if isinstance(value, str):
        return defaults.dropout(max_ranks)
    pair = (value, value) if isinstance(value, numbers.Real) else tuple(value)
    if len(pair) != 2 or not all(_is_number(rate, numbers.Real) and 0 <= rate < 1 for rate in pair):
        raise ValueError(
            f"dropout must be 'auto', a rate in [0, 1), or a pair or a dict by block name of such rates; got {value!r}."
        )
    return tuple(float(rate) for rate in pair)


def _check_dims(params, embedding_dim):
    if params["fusion"] == "attention" and params["token_dim"] % params["attention_heads"]:
        raise ValueError(
            f"attention_heads={params['attention_heads']} must divide token_dim={params['token_dim']}, which the heads "
            f"share."
        )
    if params["head"] == "subspace" and params["subspace_dim"] > embedding_dim:
        raise ValueError(
            f"subspace_dim={params['subspace_dim']} exceeds the width of the embedding, {embedding_dim} (the last "
            f"widths of hidden_layer_sizes together)."
        )


def _class_weight(class_weight, classes, codes):
    """Weight of each class, scaled to mean 1 over the rows."""
    if isinstance(class_weight, dict):
        code_of = label_to_code(list(class_weight), classes)
        # as in scikit-learn, others may stand beside all labels of y, of rows that this fit does not see
        has_all = len(set(code_of.values())) == len(classes)
        unknown = [label for label in class_weight if label not in code_of and not has_all]
        wrong = [
            weight
            for weight in class_weight.values()
            if not (_is_number(weight, numbers.Real) and 0 <= weight < math.inf)
        ]
        if unknown or wrong:
            raise ValueError(
                f"class_weight must map labels of y to weights of at least 0; got "
                f"{f'the label {unknown[0]!r}, which does not occur in y' if unknown else f'the weight {wrong[0]!r}'}."
            )
        weight = np.ones(len(classes))
        for label, code in code_of.items():
            weight[code] = class_weight[label]
    else:
        weight = compute_class_weight(class_weight, classes=classes, y=classes[codes])
    with np.errstate(over="ignore"):
        mean = weight[codes].mean()
    if not mean > 0:
        raise ValueError(f"class_weight={class_weight!r} gives every row of y the weight 0.")
    if not math.isfinite(mean):
        raise ValueError(f"class_weight={class_weight!r} is too large to compute with.")
    return weight / mean


def _batch_settings(params, n_train, n_classes):
    """batch_size, classes_per_batch and samples_per_class, consistent with each other."""
    size, k, m = params["batch_size"], params["classes_per_batch"], params["samples_per_class"]
    n_rows = defaults.batch_size(n_train, n_classes) if size == "auto" else min(int(size), n_train)
    if params["sampling"] == "class_aware":
        if m is not None and m > n_train:
            raise ValueError(f"samples_per_class={m} exceeds the {n_train} training rows.")
        return _class_aware_settings(size, n_rows, k, m, n_classes)
    for name, value in (("classes_per_batch", k), ("samples_per_class", m)):
        if value is not None:
            raise ValueError(
                f"{name}={value} has a meaning with sampling='class_aware' only; got sampling={params['sampling']!r}."
            )
    return {"batch_size": n_rows, "classes_per_batch": None, "samples_per_class": None}


def _class_aware_settings(size, n_rows, k, m, n_classes):
    """Of batches of k classes and m rows of each, near to ``n_rows``, which ``size`` made of the training rows."""
    if k is not None and k > n_classes:
        raise ValueError(f"classes_per_batch={k} exceeds the {n_classes} classes of y.")
    if size != "auto" and k is not None and m is not None and k * m != size:
        raise ValueError(
            f"classes_per_batch={k} x samples_per_class={m} makes batches of {k * m} rows, but batch_size={size}; "
            f"leave one of the three out."
        )
    for name, value in (("classes_per_batch", k), ("samples_per_class", m)):
        if size != "auto" and value is not None and value > size:
            raise ValueError(f"{name}={value} exceeds batch_size={size}.")
    if k is None:
        # where nobody says how many rows of a class, four have positives enough
        k = min(n_classes, max(2 if size == "auto" else 1, n_rows // (m or min(4, n_rows))))
    if m is None:
        # two rows have a positive in each other, and two classes negatives, but a size that was asked for is kept
        m = max(2 if size == "auto" else 1, n_rows // k)
    if k * m < 2:
        raise ValueError(f"classes_per_batch={k} x samples_per_class={m} makes batches of one row; 2 are the least.")
    return {"batch_size": k * m, "classes_per_batch": k, "samples_per_class": m}


def _weight_decay(params, learning_rate, n_steps):
    """As an argument of the optimizer; none where "auto", which may be 1, would meet another than it is meant for."""
    if params["weight_decay"] != "auto":
        return {"optimizer__weight_decay": params["weight_decay"]}
    if not {"optimizer", "optimizer__param_groups"}.isdisjoint(params["net_params"] or ()):
        return {}
    return {"optimizer__weight_decay": defaults.weight_decay(learning_rate, n_steps)}
