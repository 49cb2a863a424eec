"""The embedding in two dimensions."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from ..inputs.labels import check_labels
from ..inspection.validation import check_method
from ..pipelines import classifier_input, fitted_classifier
from .axes import as_text, given_or_new_axes, import_pyplot
from .colors import CLASS_COLORS, color_by_code
from .validation import check_finite_numbers

_METHODS = ("pca", "tsne")


class EmbeddingDisplay:
    """The embedding of ``transform`` in two dimensions, coloured by class.

    It is recommended to use :meth:`from_estimator`; all parameters are stored as attributes.

    Parameters
    ----------
    points : ndarray of shape (n_samples, 2)
        The rows in two dimensions.
    y : array-like of shape (n_samples,)
        Their classes.
    held_out_points : ndarray of shape (n_held_out, 2), optional
        Rows to mark as held out.
    y_held_out : array-like of shape (n_held_out,), optional
        Their classes; may have some that y lacks.
    axis_labels : pair of str, default=("dimension 1", "dimension 2")

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
        Those of y and y_held_out, sorted.
    scatter_ : list of matplotlib PathCollection
        The rows, then the held-out rows where there are any.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Raises
    ------
    ValueError
        If points are not finite numbers, two a row, y or y_held_out is not one label a point, all of one kind, only one
        of held_out_points and y_held_out is given, or axis_labels is not a pair.

    References
    ----------
    van der Maaten & Hinton, "Visualizing Data using t-SNE", JMLR 2008. Petroff, "Accessible Color Sequences for Data
    Visualization", arXiv:2107.02270.

    Examples
    --------
    >>> from sklearn.model_selection import train_test_split
    >>> from skdual import DualBranchClassifier
    >>> from skdual.datasets import load_htad
    >>> from skdual.plotting import EmbeddingDisplay
    >>> htad = load_htad()
    >>> X, X_held_out, y, y_held_out = train_test_split(htad.data, htad.target, random_state=0)
    >>> model = DualBranchClassifier(36, n_members=1, max_epochs=3, random_state=0).fit(X, y)
    >>> display = EmbeddingDisplay.from_estimator(model, X, y, X_held_out=X_held_out, y_held_out=y_held_out)
    >>> display.points.shape, display.held_out_points.shape
    ((1039, 2), (347, 2))
    """

    def __init__(self, points, y, *, held_out_points=None, y_held_out=None, axis_labels=("dimension 1", "dimension 2")):
        if (held_out_points is None) != (y_held_out is None):
            raise ValueError("held_out_points and y_held_out must be given together, got only one of them.")
        if not isinstance(axis_labels, (list, tuple)) or len(axis_labels) != 2:
            raise ValueError(f"axis_labels must be a pair, one label for each axis; got {axis_labels!r}.")
        self.points = check_finite_numbers(points, "points", 2)
        self.y = check_labels(y, "y", len(self.points), "points")
        self.held_out_points, self.y_held_out = held_out_points, y_held_out
        if held_out_points is not None:
            self.held_out_points = check_finite_numbers(held_out_points, "held_out_points", 2)
            self.y_held_out = check_labels(y_held_out, "y_held_out", len(self.held_out_points), "held_out_points")
        self.axis_labels = axis_labels
        self.classes = _classes([y for y in (self.y, self.y_held_out) if y is not None])

    @classmethod
    def from_estimator(
        cls, estimator, X, y, *, X_held_out=None, y_held_out=None, method="pca", random_state=None, ax=None
    ):
        """Embed rows with a fitted classifier and draw them.

        Parameters
        ----------
        estimator : DualBranchClassifier or Pipeline
            Fitted; a pipeline must end in one.
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        X_held_out : like X, of shape (n_held_out, n_features), optional
            Rows that the classifier was not fitted on, to be marked.
        y_held_out : array-like of shape (n_held_out,), optional
        method : {"pca", "tsne"}, default="pca"
            Principal components of the embedding of X, onto which held-out rows are projected; or t-SNE of all rows
            together, since it can't place new ones.
        random_state : int, RandomState instance or None, default=None
            Of t-SNE, and of PCA where it is randomised.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.

        Returns
        -------
        display : EmbeddingDisplay

        Raises
        ------
        TypeError
            If estimator is something else.
        ValueError
            If method is another one, only one of X_held_out and y_held_out is given, y or y_held_out is not one label
            per row, all of one kind, or there are too few rows.
        NotFittedError
            If estimator is not fitted.
        ImportError
            If matplotlib is missing, naming the extra.

        Examples
        --------
        >>> from skdual import DualBranchClassifier
        >>> from skdual.datasets import load_htad
        >>> from skdual.plotting import EmbeddingDisplay
        >>> htad = load_htad()
        >>> model = DualBranchClassifier(36, n_members=1, max_epochs=2, random_state=0).fit(htad.data, htad.target)
        >>> display = EmbeddingDisplay.from_estimator(model, htad.data, htad.target)
        >>> display.points.shape
        (1386, 2)
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        check_method(method, _METHODS)
        if (X_held_out is None) != (y_held_out is None):
            raise ValueError("X_held_out and y_held_out must be given together, got only one of them.")
        classifier = fitted_classifier(estimator)

        def embed(rows):
            return np.asarray(classifier.transform(classifier_input(estimator, rows)))

        embedding = embed(X)
        try:
            held_out = np.empty((0, embedding.shape[1])) if X_held_out is None else embed(X_held_out)
        except (TypeError, ValueError) as error:  # which calls them X
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"X_held_out: {error}") from error
        check_labels(y, "y", len(embedding), "X")  # t-SNE takes long
        if X_held_out is not None:
            check_labels(y_held_out, "y_held_out", len(held_out), "X_held_out")
        n_rows = len(embedding) + (len(held_out) if method == "tsne" else 0)
        if n_rows < 2:
            raise ValueError(f"method={method!r} needs at least 2 rows, got an X of {n_rows}.")
        placed = embedding if method == "pca" else np.concatenate([embedding, held_out])
        # equal rows of a batch may come out of a product with different rounding
        if np.ptp(placed, axis=0).max() <= 100 * np.finfo(embedding.dtype).eps * np.abs(placed).max():
            raise ValueError(f"method={method!r} needs rows that differ, got {len(placed)} rows of one embedding.")
        if method == "pca":
            reduction = PCA(2, random_state=random_state).fit(embedding)
            points = reduction.transform(np.concatenate([embedding, held_out]))
            shares = reduction.explained_variance_ratio_
            labels = tuple(f"component {i} ({share:.0%} of variance)" for i, share in enumerate(shares, start=1))
        else:
            perplexity = min(30, (len(placed) - 1) / 3)  # must be less than the number of rows
            points = TSNE(2, perplexity=perplexity, random_state=random_state).fit_transform(placed)
            labels = ("t-SNE 1", "t-SNE 2")
        display = cls(
            points[: len(embedding)],
            y,
            held_out_points=None if X_held_out is None else points[len(embedding) :],
            y_held_out=y_held_out,
            axis_labels=labels,
        )
        return display.plot(ax=ax)

    def plot(self, ax=None):
        """Draw.

        Ten classes or fewer have the colours of a legend; more have those of a scale, in the order of ``classes``.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.

        Returns
        -------
        self : EmbeddingDisplay

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
        >>> import numpy as np
        >>> from skdual.plotting import EmbeddingDisplay
        >>> points = np.array([[0.0, 1.0], [1.0, 0.0], [0.9, 0.1]])
        >>> display = EmbeddingDisplay(points, ["rest", "walk", "walk"]).plot()
        >>> [text.get_text() for text in display.ax_.get_legend().get_texts()]
        ['rest', 'walk']
        """
        ax = given_or_new_axes(ax, f"{type(self).__name__}.plot", figsize=(7.5, 5))
        few = len(self.classes) <= len(CLASS_COLORS)
        style = color_by_code(len(self.classes))
        crowd = len(self.points) + (0 if self.held_out_points is None else len(self.held_out_points))
        size = np.clip(20000 / crowd, 8, 36)
        codes = np.searchsorted(self.classes, self.y)
        self.scatter_ = [ax.scatter(*self.points.T, c=codes, s=size, alpha=0.6, linewidths=0, **style)]
        if self.held_out_points is not None and self.y_held_out is not None:
            codes = np.searchsorted(self.classes, self.y_held_out)
            self.scatter_.append(
                ax.scatter(
                    *self.held_out_points.T, c=codes, s=1.6 * size, marker="^", edgecolors="k", linewidths=0.7, **style
                )
            )
        ax.set(xlabel=self.axis_labels[0], ylabel=self.axis_labels[1], title="Embedding")
        self._explain(ax, few)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _explain(self, ax, few):
        """Legend of classes and markers, or a colour scale and a legend of markers."""
        from matplotlib.lines import Line2D

        handles, labels = [], []
        if few:
            for name, color in zip(self.classes, CLASS_COLORS, strict=False):
                handles.append(Line2D([], [], marker="o", linestyle="", color=color))
                labels.append(as_text(name))
        else:
            scale = ax.figure.colorbar(self.scatter_[0], ax=ax, label="class", spacing="proportional")
            ticks = np.unique(np.linspace(0, len(self.classes) - 1, 11).round().astype(int))
            scale.set_ticks(ticks, labels=[as_text(self.classes[tick]) for tick in ticks])
            scale.minorticks_off()
            scale.solids.set_alpha(1)
        if self.held_out_points is not None:
            for marker, label, edge in (("o", "training", "none"), ("^", "held out", "k")):
                handles.append(Line2D([], [], marker=marker, linestyle="", color="0.6", markeredgecolor=edge))
                labels.append(label)
        if handles:
            place = {"loc": "upper left", "bbox_to_anchor": (1.02, 1), "borderaxespad": 0} if few else {}
            legend = ax.legend(handles, map(str, range(len(handles))), **place)
            for text, label in zip(legend.get_texts(), labels, strict=True):
                text.set_text(label)  # afterwards: matplotlib may leave out a label that starts with "_"


def _classes(labels):
    """The sorted classes of all labels, which must be of one kind."""
    if len({y.dtype == bool for y in labels}) > 1:  # True is 1 to numpy
        raise ValueError("y and y_held_out must hold labels of one kind, got booleans and others.")
    kinds = {y.dtype.kind for y in labels}
    if len(kinds) > 1 or kinds == {"O"}:
        together = np.concatenate([y.astype(object) for y in labels])
        check_labels(together, "y and y_held_out", len(together), "points and held_out_points")
    return np.unique(np.concatenate(labels))
