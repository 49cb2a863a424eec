"""Transformers of counts that scikit-learn lacks: library-size normalisation and the centred log-ratio."""

import numbers
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils._param_validation import Interval, Options
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from .inputs.frames import check_container, column_label, column_names, dtype_names, plain_container
from .inputs.validation import check_column_numbers, check_finite

__all__ = ["CenteredLogRatio", "LogNormalizer"]


class _CountTransformer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """What both have in common: counts in, dense or CSR, and as many columns out."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class LogNormalizer(_CountTransformer):
    """Library-size normalisation: every row scaled to one total, then log(1 + x).

    Value x_ij becomes log(1 + x_ij · target_sum / Σ_j x_ij), as ``normalize_total`` and ``log1p`` of scanpy compute
    it. Rows of zeros stay zeros, sparse matrices sparse.

    Parameters
    ----------
    target_sum : float or None, default=1e4
        Total of every row before the logarithm. None: the median of the training rows' totals, rows of zeros left out.
        With a number nothing is learnt from the training rows.

    Attributes
    ----------
    target_sum_ : float
        The total that rows are scaled to.
    n_features_in_ : int
        Columns of X in fit.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the columns, where X in fit had names.

    References
    ----------
    Wolf, Angerer & Theis, "SCANPY: large-scale single-cell gene expression data analysis", Genome Biology 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from skdual.preprocessing import LogNormalizer
    >>> counts = np.array([[1, 3], [0, 8]])
    >>> np.expm1(LogNormalizer(target_sum=100).fit_transform(counts)).round(3)
    array([[ 25.,  75.],
           [  0., 100.]], dtype=float32)
    """

    _parameter_constraints: ClassVar[dict] = {"target_sum": [Interval(numbers.Real, 0, None, closed="neither"), None]}

    def __init__(self, target_sum=1e4):
        self.target_sum = target_sum

    def fit(self, X, y=None):
        """Check X, and take the median of its totals if ``target_sum=None``.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Counts, at least 0.
        y : ignored

        Returns
        -------
        self : LogNormalizer

        Raises
        ------
        ValueError
            If ``target_sum`` is wrong, X has negative values or some that are not finite, or ``target_sum=None`` and X
            nothing but zeros.
        TypeError
            If X is of a type that can't be used.

        Examples
        --------
        >>> from skdual.preprocessing import LogNormalizer
        >>> LogNormalizer(target_sum=None).fit([[1, 3], [0, 8]]).target_sum_
        6.0
        """
        self._validate_params()
        X = plain_container(X, "X")
        totals = _totals(_check_counts(self, X))
        target_sum = self.target_sum
        if target_sum is None:
            if not totals.any():
                raise ValueError("target_sum=None takes the median of the rows' totals, but every value of X is 0.")
            target_sum = np.median(totals[totals > 0])
        validate_data(self, X, skip_check_array=True)
        self.target_sum_ = float(target_sum)
        return self

    def transform(self, X):
        """Scale the rows and take logarithms.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Counts, at least 0.

        Returns
        -------
        X_log : ndarray or CSR matrix of shape (n_samples, n_features)
            float64 where X is, and float32 otherwise.

        Raises
        ------
        ValueError
            If ``target_sum`` is wrong, or X has other columns than in fit, negative values or some that are not finite.
        TypeError
            If X is of a type that can't be used.
        NotFittedError
            If ``target_sum=None`` and nothing was fitted.

        Examples
        --------
        >>> from skdual.preprocessing import LogNormalizer
        >>> LogNormalizer().fit([[1, 3], [0, 8]]).transform([[0, 2]]).round(3)
        array([[0.  , 9.21]], dtype=float32)
        """
        self._validate_params()
        if self.target_sum is None:
            check_is_fitted(self, "target_sum_")
        X = plain_container(X, "X")
        counts = _check_counts(self, X)
        validate_data(self, X, reset=False, skip_check_array=True)
        totals = _totals(counts)
        target_sum = self.target_sum_ if self.target_sum is None else self.target_sum
        return _divided_log1p(counts, np.where(totals == 0, 1, totals) / target_sum, axis=1)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = self.target_sum is None
        return tags


class CenteredLogRatio(_CountTransformer):
    """Centred log-ratio of counts: log(1 + x / g), g the geometric mean of 1 + x.

    The form that muon's ``prot.pp.clr`` and Seurat use for surface proteins. Its logarithms of 1 + x leave zeros
    zeros and sparse matrices sparse, as the textbook's log(x / g) would not.

    Parameters
    ----------
    axis : {0, 1}, default=0
        What g is the mean over. 0: one g for each column, over the training rows. 1: one for each row, over its
        columns; then nothing is learnt from the training rows.

    Attributes
    ----------
    geometric_mean_ : ndarray of float64 of shape (n_features_in_,)
        g of each column; with ``axis=0`` only.
    n_features_in_ : int
        Columns of X in fit.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the columns, where X in fit had names.

    References
    ----------
    Stoeckius et al., "Simultaneous epitope and transcriptome measurement in single cells", Nature Methods 2017.
    Bredikhin et al., "MUON: multimodal omics analysis framework", Genome Biology 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from skdual.preprocessing import CenteredLogRatio
    >>> counts = np.array([[0, 3], [3, 15]])
    >>> np.expm1(CenteredLogRatio().fit_transform(counts)).round(3)  # g is 2 and 8
    array([[0.   , 0.375],
           [1.5  , 1.875]], dtype=float32)
    """

    _parameter_constraints: ClassVar[dict] = {"axis": [Options(numbers.Integral, {0, 1})]}

    def __init__(self, axis=0):
        self.axis = axis

    def fit(self, X, y=None):
        """Check X, and take the geometric means of its columns if ``axis=0``.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Counts, at least 0.
        y : ignored

        Returns
        -------
        self : CenteredLogRatio

        Raises
        ------
        ValueError
            If ``axis`` is wrong, or X has negative values or some that are not finite.
        TypeError
            If X is of a type that can't be used.

        Examples
        --------
        >>> from skdual.preprocessing import CenteredLogRatio
        >>> CenteredLogRatio().fit([[0, 3], [3, 15]]).geometric_mean_.round(3)
        array([2., 8.])
        """
        self._validate_params()
        X = plain_container(X, "X")
        counts = _check_counts(self, X)
        validate_data(self, X, skip_check_array=True)
        if self.axis == 0:
            self.geometric_mean_ = _geometric_mean(counts, axis=0)
        elif hasattr(self, "geometric_mean_"):
            del self.geometric_mean_
        return self

    def transform(self, X):
        """Divide by the geometric means and take logarithms.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
            Counts, at least 0.

        Returns
        -------
        X_clr : ndarray or CSR matrix of shape (n_samples, n_features)
            float64 where X is, and float32 otherwise.

        Raises
        ------
        ValueError
            If ``axis`` is wrong, or X has other columns than in fit, negative values or some that are not finite.
        TypeError
            If X is of a type that can't be used.
        NotFittedError
            If ``axis=0`` and no column means were fitted.

        Examples
        --------
        >>> from skdual.preprocessing import CenteredLogRatio
        >>> CenteredLogRatio().fit([[0, 3], [3, 15]]).transform([[2, 0]]).round(3)
        array([[0.693, 0.   ]], dtype=float32)
        """
        self._validate_params()
        if self.axis == 0:
            check_is_fitted(self, "geometric_mean_")
        X = plain_container(X, "X")
        counts = _check_counts(self, X)
        validate_data(self, X, reset=False, skip_check_array=True)
        mean = self.geometric_mean_ if self.axis == 0 else _geometric_mean(counts, axis=1)
        return _divided_log1p(counts, mean, self.axis)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = self.axis == 0
        return tags


def _check_counts(estimator, X):
    """X as ndarray or canonical CSR, float64 where it is and float32 otherwise, as scanpy has integers."""
    check_container(X, "X")
    rules = {"accept_sparse": "csr", "dtype": "numeric", "ensure_all_finite": False}
    counts = check_array(X, estimator=estimator, input_name="X", **rules)
    check_finite(counts, "X", column_names(X) or None)
    # scikit-learn makes float64 of pandas's nullable types, and of integers beside float32
    names = dtype_names(X)
    is_shorter = counts.dtype.kind != "f" or counts.dtype.itemsize < 8 or (names and all(map(_is_short, names)))
    counts = counts.astype(np.float32 if is_shorter else np.float64, copy=False)
    if sp.issparse(counts):
        check_column_numbers(counts, "X")
    if sp.issparse(counts) and not counts.has_canonical_format:
        counts = counts.copy()
        counts.sum_duplicates()  # a logarithm needs whole values
    negative = (counts < 0).nonzero()[1]
    if len(negative):
        first = negative.min()
        raise ValueError(
            f"Negative values in data passed to {type(estimator).__name__}: {len(negative)} values of X, in "
            f"{column_label(first, column_names(X) or None)} first; it takes counts, at least 0."
        )
    return counts


def _is_short(name):
    """Whether a type of columns asks for no more than float32."""
    return name.startswith(("bool", "int", "uint", "float16", "float32"))


def _totals(counts):
    with np.errstate(over="ignore"):
        totals = _sums(counts, axis=1)
    if not np.isfinite(totals).all():
        row = np.isinf(totals).argmax()
        raise ValueError(f"the values of row {row} of X are too large to be summed up; scale them down.")
    return totals


def _geometric_mean(counts, axis):
    """Geometric mean of 1 + x over rows (axis=0) or columns (axis=1), in float64."""
    return np.exp(_sums(np.log1p(counts), axis) / counts.shape[axis])


def _sums(values, axis):
    """Sums over rows (axis=0) or columns (axis=1), in float64."""
    if sp.issparse(values):
        values = values.astype(np.float64)  # scipy sums in the dtype of the values, and turns the sum into another
    return np.asarray(values.sum(axis=axis, dtype=np.float64)).ravel()


def _divided_log1p(counts, divisors, axis):
    """log(1 + x / divisor) with a divisor for each column (axis=0) or row (axis=1), of the dtype of x."""
    smallest = np.finfo(counts.dtype).tiny  # what is less could be rounded to 0
    divisors = np.maximum(divisors.astype(counts.dtype), smallest)
    if not sp.issparse(counts):
        return np.log1p(counts / (divisors if axis == 0 else divisors[:, None]))
    result = counts.copy()
    result.data /= divisors[counts.indices] if axis == 0 else np.repeat(divisors, np.diff(counts.indptr))
    np.log1p(result.data, out=result.data)
    return result
