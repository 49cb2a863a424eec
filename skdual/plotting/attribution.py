"""Which features count, block by block."""

from itertools import cycle

from ..extras import import_extra
from ..inspection import attributions as compute_attributions
from ..inspection.validation import check_positive_int
from .axes import as_text, divide, given_or_new_axes, import_pyplot
from .colors import BLOCK_COLORS
from .validation import check_finite_numbers

_LONGEST_NAME = 30  # letters; longer names are cut in the picture


class AttributionDisplay:
    """The features with the largest mean absolute attribution, the blocks side by side on one scale.

    It is recommended to use :meth:`from_estimator`; all parameters are stored as attributes. Beside matplotlib (the
    extra ``plotting``) it needs pandas and, to compute attributions, captum (the extra ``inspection``).

    Parameters
    ----------
    attributions : pandas.DataFrame of shape (n_samples, n_features)
        From :func:`skdual.inspection.attributions`; two levels of columns, "block" and "feature".

    Attributes
    ----------
    importances : dict of str to pandas.Series
        For each block the mean absolute attribution by feature, largest first.
    axes_ : dict of str to matplotlib Axes
        The panel of each block.
    bars_ : dict of str to matplotlib BarContainer
        The bars of each block, the largest first.
    ax_ : matplotlib Axes
        The frame of the panels.
    figure_ : matplotlib Figure

    Raises
    ------
    TypeError
        If attributions is not a DataFrame.
    ValueError
        If its columns have other levels, or its values are not finite numbers in at least one row.

    See Also
    --------
    skdual.inspection.attributions : How attributions are computed.

    Examples
    --------
    >>> import pandas as pd
    >>> from skdual.plotting import AttributionDisplay
    >>> columns = [("rna", "CD3E"), ("rna", "MS4A1"), ("protein", "CD3"), ("protein", "CD19")]
    >>> columns = pd.MultiIndex.from_tuples(columns, names=["block", "feature"])
    >>> display = AttributionDisplay(pd.DataFrame([[0.1, -0.4, 1.0, 0.0], [0.3, 0.8, -1.0, 0.2]], columns=columns))
    >>> display.importances["rna"].round(3).to_dict()
    {'MS4A1': 0.6, 'CD3E': 0.2}
    """

    def __init__(self, attributions):
        if not hasattr(attributions, "columns"):
            raise TypeError(f"attributions must be a pandas DataFrame, got {type(attributions).__name__}.")
        levels = list(getattr(attributions.columns, "names", ()))
        if levels != ["block", "feature"]:
            raise ValueError(f"attributions must have the column levels 'block' and 'feature', got {levels}.")
        if not attributions.shape[1]:
            raise ValueError("attributions must have at least one column, got none.")
        check_finite_numbers(attributions, "attributions", attributions.shape[1])
        self.attributions = attributions
        mean = attributions.abs().mean().sort_values(ascending=False, kind="stable")
        blocks = dict.fromkeys(attributions.columns.get_level_values("block"))
        self.importances = {block: mean.xs(block, level="block") for block in blocks}

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        n_features=10,
        target=None,
        method="integrated_gradients",
        baseline=None,
        feature_names=None,
        random_state=None,
        ax=None,
    ):
        """Compute the attributions of rows and draw them.

        Parameters
        ----------
        estimator : DualBranchClassifier or Pipeline
            Fitted; a pipeline must end in one.
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
        n_features : int, default=10
            Features to show of each block.
        target, method, baseline, feature_names, random_state
            As in :func:`skdual.inspection.attributions`.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.

        Returns
        -------
        display : AttributionDisplay

        Raises
        ------
        TypeError
            If estimator is something else.
        ValueError
            If an argument is wrong.
        NotFittedError
            If estimator is not fitted.
        ImportError
            If matplotlib, captum or pandas is missing, naming the extra.

        Examples
        --------
        >>> from skdual import DualBranchClassifier
        >>> from skdual.datasets import load_htad
        >>> from skdual.plotting import AttributionDisplay
        >>> htad = load_htad()
        >>> model = DualBranchClassifier(36, n_members=1, max_epochs=2, random_state=0).fit(htad.data, htad.target)
        >>> display = AttributionDisplay.from_estimator(model, htad.data[:20], method="gradient_x_input", n_features=5)
        >>> {block: len(bars) for block, bars in display.bars_.items()}
        {'a': 5, 'b': 5}
        """
        caller = f"{cls.__name__}.from_estimator"
        import_pyplot(caller)
        for library in ("captum", "pandas"):
            import_extra(library, extra="inspection", caller=caller)
        check_positive_int(n_features, "n_features")
        attributions = compute_attributions(
            estimator,
            X,
            target=target,
            method=method,
            baseline=baseline,
            feature_names=feature_names,
            random_state=random_state,
        )
        return cls(attributions).plot(ax=ax, n_features=n_features)

    def plot(self, ax=None, *, n_features=10):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Bounds of the panels; a new figure by default.
        n_features : int, default=10
            Features to show of each block; all of a block that has fewer.

        Returns
        -------
        self : AttributionDisplay

        Raises
        ------
        ValueError
            If n_features is not an int of at least 1, or ax was removed from its figure.
        TypeError
            If ax is no matplotlib Axes.
        ImportError
            If matplotlib is missing, naming the extra.

        Examples
        --------
        >>> import pandas as pd
        >>> from skdual.plotting import AttributionDisplay
        >>> columns = pd.MultiIndex.from_tuples([("rna", "CD3E"), ("protein", "CD3")], names=["block", "feature"])
        >>> display = AttributionDisplay(pd.DataFrame([[0.1, -0.4], [0.3, 0.8]], columns=columns)).plot(n_features=1)
        >>> list(display.axes_)
        ['rna', 'protein']
        """
        check_positive_int(n_features, "n_features")
        shown = {block: importance.iloc[:n_features] for block, importance in self.importances.items()}
        rows = max(map(len, shown.values()))
        ax = given_or_new_axes(ax, f"{type(self).__name__}.plot", figsize=(4.8 * len(shown), 1.4 + 0.28 * rows))
        self.axes_ = dict(zip(shown, divide(ax, 1, len(shown)).ravel(), strict=True))
        self.bars_ = {}
        longest = max(importance.iloc[0] for importance in shown.values())
        for (block, panel), color in zip(self.axes_.items(), cycle(BLOCK_COLORS), strict=False):
            importance = shown[block]
            self.bars_[block] = panel.barh(range(len(importance)), importance, color=color)
            panel.set_yticks(range(len(importance)), labels=[as_text(_shorten(str(name))) for name in importance.index])
            # equal scales make bars of both blocks comparable, and bars of equal width too
            panel.set(xlim=(0, 1.05 * longest if longest else 1), ylim=(rows - 0.4, -0.6))
            count = f"top {len(importance)} of {len(self.importances[block])} features"
            panel.set(title=f"{as_text(block)}: {count}", xlabel="mean |attribution| (units of score)")
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _shorten(name):
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
