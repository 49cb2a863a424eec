"""How much worse the predictions get without a block."""

import copy

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.metrics import check_scoring
from sklearn.utils import check_random_state
from torch import nn

from ..extras import import_extra
from ..fitted_methods import with_network
from ..inputs.labels import label_to_code
from ..inputs.validation import check_matrix
from ..pipelines import classifier_input, fitted_classifier
from .validation import check_method, check_positive_int, check_targets

METHODS = ("permutation", "ablation")


def block_importance(estimator, X, y, *, method="permutation", scoring=None, n_repeats=10, random_state=None):
    """How much the score drops when a block is made uninformative.

    Columns of one block often say the same, so that shuffling one of them alone does little
    (:func:`~sklearn.inspection.permutation_importance`); this makes a whole block uninformative at once. Take rows
    that the estimator was not trained on. Information that both blocks carry shows up in neither importance: see
    :func:`linear_probe` for what each carries.

    Parameters
    ----------
    estimator : DualBranchClassifier or Pipeline
        Fitted; a pipeline must end in one, and its blocks are those of the columns that reach it. It is left alone.
    X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
        Labels.
    method : {"permutation", "ablation"}, default="permutation"
        "permutation" shuffles the rows of the block, all its columns together: each row gets the block of another
        row, which looks real but may contradict its other block. "ablation" replaces the block in every row
        by what ``standardize`` centers it at, mostly its training mean (see the baseline of :func:`attributions`).
    scoring : str, callable or None, default=None
        One score, as in :func:`~sklearn.metrics.check_scoring`. A callable gets the classifier, without the steps of a
        pipeline before it, and rows as they come out of these. None: the estimator's ``score``, the accuracy.
    n_repeats : int, default=10
        Permutations of each block, each of which holds a copy of X. With ``method="permutation"`` only.
    random_state : int, RandomState instance or None, default=None
        Seeds the permutations.

    Returns
    -------
    importance : pandas.DataFrame of shape (2, 2)
        Indexed by block, ``block_names_``; columns "mean" and "std" of the drop of the score over the repeats.
        The std of an ablation is 0.

    Raises
    ------
    NotFittedError
        If ``estimator`` is not fitted.
    TypeError
        If ``estimator`` is something else, X of a type that can't be used, or ``scoring`` more than one score or no
        number.
    ValueError
        If an argument is wrong, naming it; or if ``method="permutation"`` is asked of a single row, or of an estimator
        whose branches read the same columns (``blocks=None``), which can't be permuted for one of them.
    ImportError
        If pandas is missing.

    References
    ----------
    Breiman, "Random Forests", Machine Learning 2001 (permutation importance). Au et al., "Grouped Feature Importance
    and Combined Features Effect Plot", Data Mining and Knowledge Discovery 2022 (of groups of columns).

    Examples
    --------
    >>> from skdual import DualBranchClassifier
    >>> from skdual.datasets import load_htad
    >>> from skdual.inspection import block_importance
    >>> htad = load_htad()
    >>> model = DualBranchClassifier(htad.blocks, n_members=1, max_epochs=5, random_state=0)
    >>> model = model.fit(htad.data[::2], htad.target[::2])
    >>> importance = block_importance(model, htad.data[1::2], htad.target[1::2], n_repeats=3, random_state=0)
    >>> importance["mean"].idxmax()
    'accelerometer'
    """
    pandas = import_extra("pandas", extra="inspection", caller="block_importance")
    classifier = fitted_classifier(estimator)
    check_method(method, METHODS)
    check_positive_int(n_repeats, "n_repeats")
    if isinstance(scoring, (list, tuple, set, dict)):
        raise TypeError(f"scoring must be one score (a name, a callable or None), got {scoring!r}.")
    score = _scores_of(check_scoring(classifier, scoring))
    random_state = check_random_state(random_state)
    X = classifier_input(estimator, X)
    y = check_targets(X, y)
    if not callable(scoring):
        _check_known(classifier, y)
    if method == "ablation":
        whole = score(classifier, X, y)
        drops = [[whole - score(without, X, y)] for without in _without_each_block(classifier)]
    else:
        drops = _permutation_drops(classifier, X, y, score, n_repeats, random_state)
    index = pandas.Index(classifier.block_names_, name="block")
    return pandas.DataFrame({"mean": np.mean(drops, axis=1), "std": np.std(drops, axis=1)}, index=index)


def _scores_of(scorer):
    """The scorer, whose answers are checked to be numbers."""

    def score(estimator, X, y):
        found = scorer(estimator, X, y)
        try:
            return float(found)
        except (TypeError, ValueError) as error:
            raise TypeError(f"scoring must give a number, got {found!r}.") from error

    return score


def _check_known(estimator, y):
    """Refuse labels that no prediction can equal, of which every score would be the same with and without a block."""
    if not hasattr(estimator, "rejection_threshold_") and not label_to_code(y, estimator.classes_):
        raise ValueError(f"y has none of the labels in classes_, {estimator.classes_}; got {y.tolist()[0]!r} first.")


class _Constant(nn.Module):
    """Replaces every row of a block by one row."""

    row: torch.Tensor

    def __init__(self, row):
        super().__init__()
        self.register_buffer("row", row)

    def forward(self, x):
        return self.row.expand_as(x)


def _without_each_block(estimator):
    """Copies of the estimator, one of which does not see block A, the other not block B."""
    for block in "ab":
        network = copy.deepcopy(estimator.network_)
        scaler = getattr(network, f"scaler_{block}")
        setattr(network, f"scaler_{block}", nn.Sequential(_Constant(scaler.origin[None]), scaler))
        yield with_network(estimator, network.eval())


def _permutation_drops(estimator, X, y, score, n_repeats, random_state):
    """Drops of the score by block and repeat."""
    if np.intersect1d(*estimator.block_indices_).size:
        raise ValueError(
            "method='permutation' needs blocks of different columns, but the estimator was fitted with blocks=None, so "
            "that both branches read every column; take method='ablation', which parts the branches."
        )
    sparse_frame = hasattr(X, "sparse")
    X = check_matrix(estimator, X)
    if X.shape[0] < 2:
        raise ValueError(
            "method='permutation' needs at least 2 rows to deal out anew, got an X of 1; take method='ablation'."
        )

    def score_of(X):
        return score(estimator, _as_fitted(estimator, X, sparse_frame), y)

    whole = score_of(X)
    return [
        [whole - score_of(_permuted(X, columns, random_state)) for _ in range(n_repeats)]
        for columns in estimator.block_indices_
    ]


def _permuted(X, columns, random_state):
    """A copy of X whose rows have the given columns of other rows."""
    order = random_state.permutation(X.shape[0])
    if not sp.issparse(X):
        permuted = np.array(X)
        permuted[:, columns] = X[order[:, None], columns]
        return permuted
    others = np.setdiff1d(np.arange(X.shape[1]), columns)
    joined = sp.hstack([X[order][:, columns], X[:, others]], format="csc")
    return joined[:, np.argsort(np.concatenate([columns, others]))].tocsr()


def _as_fitted(estimator, X, sparse_frame):
    """X with the column names of fit, where it had some; of sparse rows only where they came in a frame."""
    if not hasattr(estimator, "feature_names_in_") or (sp.issparse(X) and not sparse_frame):
        return X
    pandas = import_extra("pandas", extra="inspection", caller="block_importance")
    make = pandas.DataFrame.sparse.from_spmatrix if sp.issparse(X) else pandas.DataFrame
    return make(X, columns=estimator.feature_names_in_)
