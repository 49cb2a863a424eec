"""Distance of every row to the subspace of its own class, against the nearest other one."""

import numpy as np

from ..inputs.labels import encode_fitted_labels
from ..pipelines import classifier_input, fitted_classifier
from .axes import given_or_new_axes, import_pyplot
from .colors import CORRECT, WRONG
from .validation import check_finite_numbers


class ProjectionErrorDisplay:
    """Projection error of every row onto its own class's subspace, against the least onto another's.

    A row above the diagonal is nearest to its own class, one below to another, and one beside it was a close call: with
    ``class_offsets_`` of the classifier one below may be correct, and one above misclassified. Rejection
    (``rejection_quantile``) does not count.

    Parameters
    ----------
    own_errors : ndarray of shape (n_samples,)
        Of the row's own class.
    other_errors : ndarray of shape (n_samples,)
        The least of all other classes.
    misclassified : ndarray of bool of shape (n_samples,), default=None
        Which rows have a larger probability of another class than of their own; by default those nearer to another.

    Attributes
    ----------
    misclassified : ndarray of bool of shape (n_samples,)
    scatter_ : list of matplotlib PathCollection
        The correct rows, then the misclassified ones.
    line_ : matplotlib Line2D
        The diagonal.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Raises
    ------
    ValueError
        If the errors are not finite numbers, one a row, or not as many of one as of the other; or if ``misclassified``
        is no array of bool of as many.

    See Also
    --------
    skdual.DualBranchClassifier.projection_error : The errors.

    Examples
    --------
    >>> from skdual import DualBranchClassifier
    >>> from skdual.datasets import load_htad
    >>> from skdual.plotting import ProjectionErrorDisplay
    >>> htad = load_htad()
    >>> model = DualBranchClassifier(36, n_members=1, max_epochs=3, random_state=0).fit(htad.data, htad.target)
    >>> display = ProjectionErrorDisplay.from_estimator(model, htad.data, htad.target)
    >>> bool(1 - display.misclassified.mean() == model.score(htad.data, htad.target))
    True
    """

    def __init__(self, own_errors, other_errors, misclassified=None):
        self.own_errors = check_finite_numbers(own_errors, "own_errors")
        self.other_errors = check_finite_numbers(other_errors, "other_errors")
        if len(self.own_errors) != len(self.other_errors):
            raise ValueError(
                f"own_errors and other_errors must have one number for each row; got {len(self.own_errors)} and "
                f"{len(self.other_errors)}."
            )
        if misclassified is None:
            misclassified = self.other_errors < self.own_errors
        self.misclassified = np.asarray(misclassified)
        if self.misclassified.dtype != bool or self.misclassified.shape != self.own_errors.shape:
            raise ValueError(
                f"misclassified must have one bool for each of {len(self.own_errors)} rows; got "
                f"{self.misclassified.dtype} of shape {self.misclassified.shape}."
            )

    @classmethod
    def from_estimator(cls, estimator, X, y, *, ax=None):
        """Compute the projection errors of rows and draw them.

        Parameters
        ----------
        estimator : DualBranchClassifier or Pipeline
            Fitted, with ``head="subspace"``; a pipeline must end in one.
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            Classes, all of which the classifier must know.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.

        Returns
        -------
        display : ProjectionErrorDisplay

        Raises
        ------
        TypeError
            If estimator is something else.
        ValueError
            If the classifier was fitted without subspaces, or y a class that it does not know.
        NotFittedError
            If it is not fitted.
        ImportError
            If matplotlib is missing, naming the extra.

        Examples
        --------
        >>> from skdual import DualBranchClassifier
        >>> from skdual.datasets import load_htad
        >>> from skdual.plotting import ProjectionErrorDisplay
        >>> htad = load_htad()
        >>> model = DualBranchClassifier(36, n_members=1, max_epochs=2, random_state=0).fit(htad.data, htad.target)
        >>> display = ProjectionErrorDisplay.from_estimator(model, htad.data, htad.target)
        >>> display.own_errors.shape
        (1386,)
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        classifier = fitted_classifier(estimator)
        if not hasattr(classifier, "projection_error"):
            raise ValueError(
                f"{cls.__name__} needs a classifier that was fitted with head='subspace', got one fitted without."
            )
        X = classifier_input(estimator, X)
        errors = classifier.projection_error(X)
        codes = encode_fitted_labels(y, classifier.classes_, "y", len(errors))
        own = np.arange(errors.shape[1]) == codes[:, None]
        misclassified = classifier.predict_proba(X).argmax(axis=1) != codes
        return cls(errors[own], np.where(own, np.inf, errors).min(axis=1), misclassified).plot(ax=ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.

        Returns
        -------
        self : ProjectionErrorDisplay

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
        >>> from skdual.plotting import ProjectionErrorDisplay
        >>> display = ProjectionErrorDisplay(own_errors=[0.1, 0.2, 0.6], other_errors=[0.7, 0.9, 0.4]).plot()
        >>> [text.get_text() for text in display.ax_.get_legend().get_texts()]
        ['correct (2)', 'misclassified (1)', 'equally near']
        """
        ax = given_or_new_axes(ax, f"{type(self).__name__}.plot", figsize=(5.5, 5.5))
        size = np.clip(20000 / len(self.own_errors), 8, 36)
        right, wrong = ~self.misclassified, self.misclassified
        rows = (
            (right, f"correct ({right.sum()})", {"color": CORRECT, "alpha": 0.5, "linewidths": 0}),
            (wrong, f"misclassified ({wrong.sum()})", {"color": WRONG, "marker": "x", "linewidths": 1.2}),
        )
        self.scatter_ = [
            ax.scatter(self.own_errors[which], self.other_errors[which], s=size, label=label, **style)
            for which, label, style in rows
        ]
        errors = np.concatenate([self.own_errors, self.other_errors])
        top = 1.05 * errors.max() or 1
        bottom, start = -0.02 * top, 0.0
        if "log" in (ax.get_xscale(), ax.get_yscale()):
            bottom = start = errors[errors > 0].min(initial=top) / 1.05
        (self.line_,) = ax.plot([start, top], [start, top], color="0.4", linestyle="--", label="equally near")
        ax.set(
            xlim=(bottom, top),
            ylim=(bottom, top),
            aspect="equal",
            xlabel="projection error, own class",
            ylabel="projection error, nearest other class",
            title="Distance to the class subspaces",
        )
        ax.legend(loc="lower right")
        self.ax_, self.figure_ = ax, ax.figure
        return self
