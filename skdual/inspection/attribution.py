"""How much each feature adds to a class score: row by row, and on the whole for every class."""

import reprlib

import numpy as np

from ..extras import import_extra
from ..fitted_methods import checked_rows
from ..inference import run_in_chunks
from ..inputs.labels import encode_fitted_labels, plain_str
from ..pipelines import classifier_input, fitted_classifier
from .baseline import baseline_blocks
from .gradients import METHODS, attribute_rows
from .validation import check_method


def attributions(
    estimator,
    X,
    *,
    target=None,
    method="integrated_gradients",
    baseline=None,
    feature_names=None,
    random_state=None,
):
    """How much every feature of every row adds to the score of a class, beside a baseline.

    The score is that of the row's target class before the softmax, as in
    :meth:`~skdual.DualBranchClassifier.decision_function` with three classes or more. With x the row, b the baseline
    and f the score, the attribution of feature i is

    - ``"gradient_x_input"``: df/dx_i(x) * (x_i - b_i), the first-order effect of the feature (with the baseline 0
      the literal product);
    - ``"smooth_grad"``: the same with the mean gradient at 50 copies of x with Gaussian noise of half of what
      ``standardize`` divides each column by, mostly its training standard deviation, and 1 if by nothing;
    - ``"integrated_gradients"``: (x_i - b_i) * integral of df/dx_i(b + t (x - b)) over t from 0 to 1. They are
      complete: a row's attributions add up to f(x) - f(b). The sum is checked for every row: it is within 0.001 times
      the largest absolute class score of the row or the baseline, with 50 Gauss-Legendre steps, or else 200, 800 or
      1,600.

    In blocks with ``standardize="log1p"`` x and b stand for log(1 + x) and log(1 + b), and in columns of a long tail
    that "standard" takes the logarithm of for these. For a value that "standard" replaces, such as a code for what is
    missing, x is what stands in for it.

    Parameters
    ----------
    estimator : DualBranchClassifier or Pipeline
        Fitted; a pipeline must end in one, and the features are the columns that reach it. Its weights and random state
        are left alone.
    X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
        Rows to explain. Sparse rows are made dense a few at a time, and give what their dense twins give.
    target : label, array-like of shape (n_samples,) or None, default=None
        The class whose score is explained: one of ``classes_`` for all rows, or one a row. None: the class with the
        highest score, row by row.
    method : {"integrated_gradients", "gradient_x_input", "smooth_grad"}, default="integrated_gradients"
        Computed by captum.
    baseline : array-like of shape (n_features,) or None, default=None
        The row to compare with; a pandas Series with names must have those of ``feature_names_in_``, in that order.
        None: where ``standardize`` has its zero in every column: the training mean (``True``; of the logarithms in
        columns of a long tail, and the median where values are far astray), the median ("robust"), exp(m) - 1 with m
        the mean of log(1 + x) ("log1p"), the minimum ("minmax"), or 0 ("maxabs", ``False``).
    feature_names : array-like of str of shape (n_features,) or None, default=None
        Names of the columns of X, in their order. None: ``feature_names_in_``, and "x0", "x1", ... where there are
        none.
    random_state : int, RandomState instance or None, default=None
        Seeds the noise of ``"smooth_grad"``; the other methods draw nothing.

    Returns
    -------
    attributions : pandas.DataFrame of shape (n_samples, n_features)
        In units of the score, float32 or float64 as the model. Columns are a MultiIndex ("block", "feature"): the
        columns of block A, then those of block B, so that ``attributions["a"]`` is a block. With
        ``blocks=None`` both branches read every column, and each column is there twice, once for what it does
        through either branch; a row's sum is over both. The index is that of X where X is a pandas DataFrame.

    Raises
    ------
    NotFittedError
        If ``estimator`` is not fitted.
    TypeError
        If ``estimator`` is something else, or X of a type that can't be used.
    ValueError
        If an argument is wrong, naming it, what was expected and what came.
    ImportError
        If captum or pandas is missing.

    Warns
    -----
    ConvergenceWarning
        If integrated gradients are not complete after 1,600 steps, with the number of such rows.

    References
    ----------
    Sundararajan, Taly & Yan, "Axiomatic Attribution for Deep Networks", ICML 2017 (integrated gradients). Smilkov et
    al., "SmoothGrad: Removing Noise by Adding Noise", 2017. Shrikumar et al., "Not Just a Black Box: Learning
    Important Features Through Propagating Activation Differences", 2016 (gradient x input). Kokhlikyan et al.,
    "Captum: A Unified and Generic Model Interpretability Library for PyTorch", 2020.

    Examples
    --------
    >>> from skdual import DualBranchClassifier
    >>> from skdual.datasets import load_htad
    >>> from skdual.inspection import attributions
    >>> htad = load_htad(as_frame=True)
    >>> model = DualBranchClassifier(htad.blocks, n_members=1, max_epochs=5, random_state=0).fit(htad.data, htad.target)
    >>> found = attributions(model, htad.data.head(3), target="sweep")
    >>> found.shape, found["accelerometer"].shape, found.columns[0]
    ((3, 52), (3, 16), ('audio', 'audio__mfcc1'))
    """
    pandas = import_extra("pandas", extra="inspection", caller="attributions")
    classifier, rows, baseline, columns = _prepare(estimator, X, method, baseline, feature_names)
    codes = _target_codes(classifier, rows, _one_a_row(target, len(rows)), "target")
    found = np.empty((len(rows), len(columns)), dtype=baseline[0].new_empty(0).cpu().numpy().dtype)
    for part, values in attribute_rows(classifier.network_, rows, codes, baseline, method, random_state):
        found[part] = values
    index = X.index if isinstance(X, pandas.DataFrame) else None
    return pandas.DataFrame(found, index=index, columns=columns)


def class_attributions(
    estimator,
    X,
    y=None,
    *,
    method="integrated_gradients",
    baseline=None,
    feature_names=None,
    random_state=None,
):
    """How much every feature matters to every class: the mean absolute attribution over the rows of the class.

    Each row is explained by the score of its own class, as :func:`attributions` with ``target=y`` does. Only sums are
    kept, so that memory does not grow with the number of rows.

    Parameters
    ----------
    estimator, X, method, baseline, feature_names, random_state
        See :func:`attributions`.
    y : array-like of shape (n_samples,) or None, default=None
        The class of every row, one of ``classes_``. None: the class with the highest score.

    Returns
    -------
    importance : pandas.DataFrame of shape (n_features, n_classes)
        The index is the MultiIndex ("block", "feature") of :func:`attributions`, the columns are ``classes_``. A class
        without rows has NaN.

    Raises
    ------
    NotFittedError, TypeError, ValueError, ImportError
        As :func:`attributions`.

    Warns
    -----
    ConvergenceWarning
        As :func:`attributions`.

    Examples
    --------
    >>> from skdual import DualBranchClassifier
    >>> from skdual.datasets import load_htad
    >>> from skdual.inspection import class_attributions
    >>> htad = load_htad(as_frame=True)
    >>> model = DualBranchClassifier(htad.blocks, n_members=1, max_epochs=5, random_state=0).fit(htad.data, htad.target)
    >>> importance = class_attributions(model, htad.data, htad.target, method="gradient_x_input")
    >>> importance.shape, importance["sweep"].groupby("block").sum().shape
    ((52, 7), (2,))
    """
    pandas = import_extra("pandas", extra="inspection", caller="class_attributions")
    classifier, rows, baseline, columns = _prepare(estimator, X, method, baseline, feature_names)
    codes = _target_codes(classifier, rows, y, "y")
    sums = np.zeros((len(classifier.classes_), len(columns)))
    for part, values in attribute_rows(classifier.network_, rows, codes, baseline, method, random_state):
        np.add.at(sums, codes[part], np.abs(values))
    counts = np.bincount(codes, minlength=len(sums)).astype(float)
    counts[counts == 0] = np.nan
    classes = classifier.classes_
    classes = pandas.Index(classes.astype(np.float32) if classes.dtype == np.float16 else classes, name="class")
    return pandas.DataFrame((sums / counts[:, None]).T, index=columns, columns=classes)


def _prepare(estimator, X, method, baseline, feature_names):
    """What both functions start from: the classifier, rows, baseline of both blocks, names of the columns."""
    classifier = fitted_classifier(estimator)
    check_method(method, METHODS)
    columns = _feature_index(classifier, feature_names)
    rows = checked_rows(classifier, classifier_input(estimator, X))
    return classifier, rows, baseline_blocks(classifier, baseline), columns


def _one_a_row(target, n_rows):
    """The target of every row, where there is one for all."""
    one_for_all = isinstance(target, str) or not hasattr(target, "__len__") or getattr(target, "ndim", 1) == 0
    return np.repeat(np.asarray(plain_str(target)), n_rows) if one_for_all and target is not None else target


def _target_codes(estimator, rows, labels, name):
    if labels is None:
        return run_in_chunks(estimator.network_, "scores", rows).argmax(axis=1)
    return encode_fitted_labels(labels, estimator.classes_, name, len(rows))


def _feature_index(estimator, feature_names):
    """A pandas MultiIndex ("block", "feature") over the columns of block A, then those of block B.

    Raises
    ------
    ValueError
        If ``feature_names`` are not one str a column of X, or the names of the fit in another order.
    """
    pandas = import_extra("pandas", extra="inspection", caller="skdual.inspection")
    n_features = estimator.n_features_in_
    of_fit = list(getattr(estimator, "feature_names_in_", []))
    names = (of_fit or [f"x{column}" for column in range(n_features)]) if feature_names is None else feature_names
    is_sequence = hasattr(names, "__len__") and getattr(names, "ndim", 1) == 1
    if not is_sequence or isinstance(names, (str, set, dict)):
        raise ValueError(f"feature_names must be one str a column, {n_features} of them; got {reprlib.repr(names)}.")
    names = list(names)
    if len(names) != n_features:
        raise ValueError(f"feature_names must be one str a column; got {len(names)} for {n_features} columns.")
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        raise ValueError(f"feature_names must be one str a column; got {reprlib.repr(wrong[0])} among them.")
    if names != of_fit and sorted(names) == sorted(of_fit):
        raise ValueError(
            "feature_names must be in the order of the columns; got those of the fit (feature_names_in_) in another."
        )
    blocks = zip(estimator.block_names_, estimator.block_indices_, strict=True)
    pairs = [(block, names[column]) for block, index in blocks for column in index]
    return pandas.MultiIndex.from_tuples(pairs, names=["block", "feature"])
