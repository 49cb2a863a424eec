"""Checks of what users hand on to the skorch net: ``callbacks`` and ``net_params``."""

from inspect import signature

from skorch.callbacks import Callback, EpochScoring, LoadInitState, LRScheduler

from .loop.net import DualBranchNet

_NOT_USED = ("iterator_train", "iterator_valid", "dataset", "train_split", "predict_nonlinearity")
# what the estimator's own parameters settle: names with all that skorch lets follow them, such as module__dropout
_SETTLED_PREFIXES = {"criterion", "classes", "device", "batch_size", "callbacks", *signature(DualBranchNet).parameters}
_SETTLED_NAMES = {"max_epochs", "lr", "optimizer__lr", "optimizer__weight_decay", "verbose", "compile", "warm_start"}


def check_callbacks(callbacks, has_validation):
    """Refuse what is no skorch callback, or one that can't do here what it is for.

    Parameters
    ----------
    callbacks : list or None
        Callbacks, or pairs (name, callback).
    has_validation : bool
        Whether there are validation rows to watch.

    Raises
    ------
    ValueError
        If one is something else, sets the learning rate, loads the state of another fit, scores without the labels,
        or watches validation rows that there are not.
    """
    for callback in callbacks or ():
        is_pair = isinstance(callback, tuple) and len(callback) == 2 and isinstance(callback[0], str)
        named = callback[1] if is_pair else callback
        if isinstance(named, type) and issubclass(named, Callback):  # which skorch will make an instance of
            try:
                named = named()
            except TypeError as error:
                raise ValueError(f"callbacks: {named.__name__} needs arguments ({error}); give an instance.") from error
        if not isinstance(named, Callback):
            raise ValueError(f"callbacks must be skorch callbacks or pairs (name, callback), got {callback!r}.")
        if isinstance(named, LRScheduler):
            raise ValueError(
                "callbacks: LRScheduler would be overridden, because learning_rate, warmup and max_epochs settle the "
                "learning rate of every step."
            )
        if isinstance(named, LoadInitState):
            raise ValueError(
                "callbacks: LoadInitState would put the history and the learning rate of another fit in place of those "
                "of this one; go on from a fitted or loaded classifier with warm_start=True."
            )
        if isinstance(named, EpochScoring) and isinstance(named.scoring, str) and not named.use_caching:
            raise ValueError(
                f"callbacks: EpochScoring({named.scoring!r}) gets no labels with use_caching=False; leave that at its "
                f"default, True."
            )
        monitor = getattr(named, "monitor", None)
        if isinstance(monitor, str) and monitor.startswith("valid_") and not has_validation:
            raise ValueError(
                f"callbacks: {type(named).__name__} watches {monitor!r}, but there are no validation rows; give X_val "
                f"and y_val to fit, or set early_stopping=True or monitor='train_loss'."
            )


def check_net_params(net_params):
    """Refuse names of what has no effect here, or of what the estimator's own parameters settle.

    Parameters
    ----------
    net_params : dict or None

    Raises
    ------
    ValueError
        If there is one.
    """
    for name in net_params or ():
        prefix = str(name).split("__")[0]
        if prefix in _NOT_USED:
            raise ValueError(f"net_params: {name!r} has no effect; skdual feeds rows and makes probabilities itself.")
        if name in _SETTLED_NAMES or prefix in _SETTLED_PREFIXES:
            raise ValueError(f"net_params: {name!r} follows from the estimator's own parameters; set these.")
