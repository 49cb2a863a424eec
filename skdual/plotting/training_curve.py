"""Loss curves of a fit."""

import numpy as np

from ..pipelines import fitted_classifier
from .axes import divide, given_or_new_axes, import_pyplot
from .colors import TRAINING, VALIDATION
from .history import TERMS, check_history, validation_name
from .verdict import learning_verdict


class TrainingCurveDisplay:
    """Every loss term by epoch, on training and on validation rows, with a verdict.

    One panel a term. Two things to know when reading them: training losses are taken with dropout, mixup and lost
    blocks, which raise them above what the same rows would have in prediction; and the contrastive loss grows with the
    batch, so that its two curves may be compared in shape only.

    Parameters
    ----------
    history : list of dict
        ``history_`` of a fitted :class:`~skdual.DualBranchClassifier`.

    Attributes
    ----------
    epochs : ndarray of int of shape (n_epochs,)
        1 to the last; those before a warm start count too.
    training_losses, validation_losses : dict of str to ndarray of float of shape (n_epochs,)
        Curves by the name of the term in ``history``, such as ``"classification_loss"``; that of the weighted sum is
        ``"train_loss"`` in both. NaN in epochs without the term; without validation rows the second is empty.
    lowest_validation_epoch : int or None
        Where the validation classification loss is lowest, the first of them; with ``early_stopping=True`` and no warm
        start the epoch whose weights were kept (``best_epoch_`` of the estimator). None without validation rows.
    verdict : LearningVerdict
        What :func:`~skdual.plotting.learning_verdict` makes of the history.
    axes_ : dict of str to matplotlib Axes
        The panel of each term.
    lines_ : dict of str to list of matplotlib Line2D
        Training curve and, where there is one, validation curve of each term.
    ax_ : matplotlib Axes
        The frame of the panels.
    figure_ : matplotlib Figure

    Raises
    ------
    TypeError
        If ``history`` is something else.
    ValueError
        If it has no epoch, no losses, or some that are not finite numbers.

    See Also
    --------
    skdual.plotting.learning_verdict : The rule behind the verdict.

    Examples
    --------
    >>> from skdual import DualBranchClassifier
    >>> from skdual.datasets import load_htad
    >>> from skdual.plotting import TrainingCurveDisplay
    >>> htad = load_htad()
    >>> model = DualBranchClassifier(36, n_members=1, max_epochs=5, early_stopping=True, random_state=0)
    >>> display = TrainingCurveDisplay.from_estimator(model.fit(htad.data, htad.target))
    >>> display.verdict.label
    'converged'
    """

    def __init__(self, history):
        check_history(history)
        if not history:
            raise ValueError("history must have at least one epoch, got none.")
        self.history = history
        recorded = {name for row in history for name in row}
        terms = [name for name in TERMS if name in recorded]  # not what callbacks have recorded
        if not terms:
            raise ValueError("history must have the losses of every epoch, such as 'train_loss'; got none.")
        self.epochs = np.arange(1, len(history) + 1)
        self.training_losses = {name: self._curve(name) for name in terms}
        self.validation_losses = {
            name: self._curve(validation_name(name)) for name in terms if validation_name(name) in recorded
        }
        watched = self.validation_losses.get("classification_loss")
        self.lowest_validation_epoch = None if watched is None else int(np.nanargmin(watched)) + 1
        self.verdict = learning_verdict(history)

    def _curve(self, name):
        return np.array([row.get(name, np.nan) for row in self.history], dtype=float)

    @classmethod
    def from_estimator(cls, estimator, *, ax=None):
        """Draw the loss curves of a fitted classifier.

        Parameters
        ----------
        estimator : DualBranchClassifier or Pipeline
            Fitted; a pipeline must end in one.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.

        Returns
        -------
        display : TrainingCurveDisplay

        Raises
        ------
        TypeError
            If estimator is something else.
        NotFittedError
            If it is not fitted.
        ImportError
            If matplotlib is missing, naming the extra.

        Examples
        --------
        >>> from skdual import DualBranchClassifier
        >>> from skdual.datasets import load_htad
        >>> from skdual.plotting import TrainingCurveDisplay
        >>> htad = load_htad()
        >>> model = DualBranchClassifier(36, n_members=1, max_epochs=2, random_state=0).fit(htad.data, htad.target)
        >>> display = TrainingCurveDisplay.from_estimator(model)
        >>> list(display.axes_)
        ['train_loss', 'classification_loss', 'contrastive_loss', 'orthogonality_loss']
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        classifier = fitted_classifier(estimator)
        return cls(classifier.history_).plot(ax=ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Bounds of the panels; a new figure by default.

        Returns
        -------
        self : TrainingCurveDisplay

        Raises
        ------
        TypeError
            If ax is no matplotlib Axes.
        ValueError
            If ax was removed from its figure.
        ImportError
            If matplotlib is missing, naming the extra.

        Examples
        --------
        >>> from skdual.plotting import TrainingCurveDisplay
        >>> display = TrainingCurveDisplay([{"train_loss": 2.1}, {"train_loss": 1.4}]).plot()
        >>> list(display.axes_)
        ['train_loss']
        """
        n_rows, n_columns = -(-len(self.training_losses) // 2), min(len(self.training_losses), 2)
        ax = given_or_new_axes(ax, f"{type(self).__name__}.plot", figsize=(4.5 * n_columns, 3 * n_rows + 0.4))
        panels = divide(ax, n_rows, n_columns).ravel()
        for panel in panels[len(self.training_losses) :]:
            panel.remove()
        self.axes_ = dict(zip(self.training_losses, panels, strict=False))
        self.lines_ = {name: self._draw(name, panel) for name, panel in self.axes_.items()}
        panels[0].legend()
        panels[0].set_title(str(self.verdict), loc="left", fontsize="medium")  # of them all, so it may be wider
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw(self, name, panel):
        marker = "o" if len(self.epochs) < 10 else None  # a curve of one epoch is nothing but its marker
        lines = panel.plot(self.epochs, self.training_losses[name], color=TRAINING, marker=marker, label="training")
        if name in self.validation_losses:
            losses = self.validation_losses[name]
            lines += panel.plot(self.epochs, losses, color=VALIDATION, marker=marker, ls="--", label="validation")
        if self.lowest_validation_epoch is not None:
            panel.axvline(
                self.lowest_validation_epoch,
                color="0.4",
                linestyle=":",
                label=f"lowest validation loss (epoch {self.lowest_validation_epoch})",
            )
        panel.set(xlabel="epoch", ylabel="total loss" if name == "train_loss" else name.replace("_", " "))
        panel.ticklabel_format(axis="y", scilimits=(-2, 3))
        panel.xaxis.get_major_locator().set_params(integer=True)
        return lines
