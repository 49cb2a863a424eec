"""What a fitted estimator answers: labels, probabilities, embeddings, distances."""

import numpy as np
import torch
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from .inference import check_finite_results, run_in_chunks
from .inputs.columns import ColumnBlocks
from .inputs.rows import Rows
from .inputs.validation import check_matrix, check_range
from .network import DualBranchNetwork
from .network.heads import SubspaceHead
from .parameters import settings_by_parameter
from .scaling.validation import check_non_negative


def _has_subspaces(estimator):
    """Raise the AttributeError that says why there are no distances to subspaces."""
    head = estimator.head
    if hasattr(estimator, "network_"):  # the parameter may have been set anew since the fit
        head = "subspace" if isinstance(estimator.network_.head, SubspaceHead) else "linear"
    if head != "subspace":
        raise AttributeError(f"the distance to class subspaces needs head='subspace'; got head={head!r}.")
    return True


def columns_of(estimator):
    """The blocks that a fitted estimator reads."""
    return ColumnBlocks(estimator.block_names_, estimator.block_indices_)


def checked_rows(estimator, X):
    """X, checked against what the network of a fitted estimator was trained on, as rows on its device."""
    check_is_fitted(estimator)
    X, columns = check_matrix(estimator, X), columns_of(estimator)
    dtype = next(estimator.network_.parameters()).dtype
    feature_names = getattr(estimator, "feature_names_in_", None)
    check_range(X, dtype, feature_names=feature_names)
    check_non_negative(X, columns, estimator.network_.scalings, feature_names=feature_names)
    return Rows(X, columns, estimator.device_, dtype)


def with_network(estimator, network):
    """A fitted estimator like another one that answers by another network."""
    # not by copy.copy, which builds the network anew on whatever device the parameter means by now
    other = object.__new__(type(estimator))
    vars(other).update(vars(estimator), network_=network)
    return other


class FittedMethods(ClassNamePrefixFeaturesOutMixin, ClassifierMixin, TransformerMixin, BaseEstimator):
    """The methods of :class:`~skdual.DualBranchClassifier` that run its network over rows."""

    classes_: np.ndarray
    block_names_: tuple
    block_indices_: tuple
    network_: DualBranchNetwork
    device_: torch.device
    rejection_threshold_: float
    _settings: dict

    @property
    def settings_(self):
        """What the fit made of the parameters and of the rows."""
        check_is_fitted(self)
        return settings_by_parameter(self._settings, next(self.network_.parameters()).dtype)

    @property
    def _n_features_out(self):
        return self.network_.embedding_dim

    def _run(self, method, X):
        """Check X and run a method of the network over it."""
        rows = checked_rows(self, X)
        results = run_in_chunks(self.network_, method, rows)
        for result in results if isinstance(results, tuple) else (results,):
            check_finite_results(np.isfinite(result.reshape(len(result), -1)).all(axis=1))
        return results

    def decision_function(self, X):
        """Class scores, whose softmax is the probability.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes), or (n_samples,) with two classes
            float32 or float64, as the network computes. With two classes the second one's score minus the first one's.

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        ValueError
            If the columns of X are not those of the fit, or values are not finite, too large to compute with, or
            negative where ``standardize`` takes the logarithm.
        TypeError
            If X is of a type that can't be used.

        Examples
        --------
        >>> from skdual import DualBranchClassifier
        >>> from skdual.datasets import load_htad
        >>> htad = load_htad()
        >>> model = DualBranchClassifier(36, n_members=1, max_epochs=2, random_state=0).fit(htad.data, htad.target)
        >>> model.decision_function(htad.data).shape
        (1386, 7)
        """
        scores = self._run("scores", X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X):
        """The most probable label of every row, or ``rejection_label`` where it is too unfamiliar.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Of ``classes_``, in their dtype. With ``rejection_quantile`` also ``rejection_label``, in a dtype that holds
            both: int64 for uint8 and -1, wider strings for a longer one.

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        ValueError
            If the columns of X are not those of the fit, or values are not finite, too large to compute with, or
            negative where ``standardize`` takes the logarithm.
        TypeError
            If X is of a type that can't be used.

        Examples
        --------
        >>> from skdual import DualBranchClassifier
        >>> from skdual.datasets import load_htad
        >>> htad = load_htad()
        >>> model = DualBranchClassifier(36, n_members=1, max_epochs=2, random_state=0).fit(htad.data, htad.target)
        >>> model.predict(htad.data[::500]).tolist()
        ['watch_tv', 'wash_hands', 'watch_tv']
        """
        if not hasattr(self, "rejection_threshold_"):
            codes = self._run("scores", X).argmax(axis=1)
            return self.classes_[codes]
        scores, familiarity = self._run("scores_and_familiarity", X)
        labels = self.classes_[scores.argmax(axis=1)]
        if labels.dtype == np.uint64:  # which numpy would join with a negative label as floats
            labels = labels.astype(np.int64)
        label = np.asarray(self._settings["rejection"]["label"])
        dtype = np.result_type(labels.dtype, label.dtype)  # by their types alone: older numpy goes by the label's value
        return np.where(familiarity >= self.rejection_threshold_, labels.astype(dtype), label.astype(dtype))

    def predict_proba(self, X):
        """Probability of every class.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            float32 or float64, as the network computes; in the order of ``classes_``.

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        ValueError
            If the columns of X are not those of the fit, or values are not finite, too large to compute with, or
            negative where ``standardize`` takes the logarithm.
        TypeError
            If X is of a type that can't be used.

        Examples
        --------
        >>> from skdual import DualBranchClassifier
        >>> from skdual.datasets import load_htad
        >>> htad = load_htad()
        >>> model = DualBranchClassifier(36, n_members=1, max_epochs=2, random_state=0).fit(htad.data, htad.target)
        >>> model.predict_proba(htad.data[::500]).sum(axis=1).round(3).tolist()
        [1.0, 1.0, 1.0]
        """
        return softmax(self._run("scores", X), axis=1)

    def predict_log_proba(self, X):
        """Logarithm of the probability of every class.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
            float32 or float64, as the network computes; in the order of ``classes_``.

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        ValueError
            If the columns of X are not those of the fit, or values are not finite, too large to compute with, or
            negative where ``standardize`` takes the logarithm.
        TypeError
            If X is of a type that can't be used.

        Examples
        --------
        >>> from skdual import DualBranchClassifier
        >>> from skdual.datasets import load_htad
        >>> htad = load_htad()
        >>> model = DualBranchClassifier(36, n_members=1, max_epochs=2, random_state=0).fit(htad.data, htad.target)
        >>> model.predict_log_proba(htad.data).shape
        (1386, 7)
        """
        return log_softmax(self._run("scores", X), axis=1)

    def transform(self, X):
        """The fused embedding, that of the first member where there are several.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        z : ndarray of shape (n_samples, d_a + d_b)
            float32 or float64, as the network computes; d_a and d_b are the last widths of ``hidden_layer_sizes``.

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        ValueError
            If the columns of X are not those of the fit, or values are not finite, too large to compute with, or
            negative where ``standardize`` takes the logarithm.
        TypeError
            If X is of a type that can't be used.

        Examples
        --------
        >>> from skdual import DualBranchClassifier
        >>> from skdual.datasets import load_htad
        >>> htad = load_htad()
        >>> model = DualBranchClassifier(36, n_members=1, max_epochs=2, random_state=0).fit(htad.data, htad.target)
        >>> model.transform(htad.data).shape
        (1386, 256)
        """
        return self._run("embed", X)

    def transform_branches(self, X):
        """The outputs of both branches, before they are fused, each of which depends on its own block only.

        Where there are several members they are those of the first, or of the first regularised one where the plain
        ones take both blocks whitened together (``settings_["whitened_together"]``).

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        h_a, h_b : ndarray of shape (n_samples, d_a) and (n_samples, d_b)
            float32 or float64, as the network computes.

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        ValueError
            If the columns of X are not those of the fit, or values are not finite, too large to compute with, or
            negative where ``standardize`` takes the logarithm.
        TypeError
            If X is of a type that can't be used.

        Examples
        --------
        >>> from skdual import DualBranchClassifier
        >>> from skdual.datasets import load_htad
        >>> htad = load_htad()
        >>> model = DualBranchClassifier(36, n_members=1, max_epochs=2, random_state=0).fit(htad.data, htad.target)
        >>> [h.shape for h in model.transform_branches(htad.data)]
        [(1386, 128), (1386, 128)]
        """
        return self._run("encode", X)

    @available_if(_has_subspaces)
    def projection_error(self, X):
        """Squared distance of the unit-length embedding to every class's subspace; with ``head="subspace"`` only.

        In the regularised members a constant is appended to the embedding, which is scaled to unit length again.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        errors : ndarray of shape (n_samples, n_classes)
            float32 or float64, as the network computes. At least 0, and about 1 at most where the basis vectors are all
            but orthonormal, as they are after a fit of some steps (unless ``orthogonality_weight`` is 0); one column
            per class, with two classes too. They are means over the members and over what these score by (see
            :meth:`score_samples`), weighted by each member's learnt scale and by the weight of its group in the scores,
            so that they rank the classes as the scores do before ``class_offsets_`` are added.

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        ValueError
            If the columns of X are not those of the fit, or values are not finite, too large to compute with, or
            negative where ``standardize`` takes the logarithm.
        TypeError
            If X is of a type that can't be used.
        AttributeError
            With another head.

        Examples
        --------
        >>> from skdual import DualBranchClassifier
        >>> from skdual.datasets import load_htad
        >>> htad = load_htad()
        >>> model = DualBranchClassifier(36, n_members=1, max_epochs=2, random_state=0).fit(htad.data, htad.target)
        >>> model.classes_[model.projection_error(htad.data[::500]).argmin(axis=1)].tolist()
        ['watch_tv', 'wash_hands', 'watch_tv']
        """
        return self._run("projection_error", X)

    @available_if(_has_subspaces)
    def score_samples(self, X):
        """How familiar every row is: the higher, the more it is like the classes of the fit.

        Minus the squared distance to the nearest class's subspace. The distances to each class are first averaged over
        what rows are scored by: both blocks, in either half of the members, and with ``block_dropout`` A alone and B
        alone in the regularised half. Each is weighted by the average of its share in the scores and a uniform
        share. Unlike the largest probability it can tell a row that is far from all classes from one between two of
        them.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        familiarity : ndarray of shape (n_samples,)
            float32 or float64, as the network computes. Between about -1 and 0.

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        ValueError
            If the columns of X are not those of the fit, or values are not finite, too large to compute with, or
            negative where ``standardize`` takes the logarithm.
        TypeError
            If X is of a type that can't be used.
        AttributeError
            With another head.

        Examples
        --------
        >>> from skdual import DualBranchClassifier
        >>> from skdual.datasets import load_htad
        >>> htad = load_htad()
        >>> model = DualBranchClassifier(36, n_members=1, max_epochs=2, random_state=0).fit(htad.data, htad.target)
        >>> unlike = htad.data + 5 * htad.data.std(axis=0)
        >>> bool(model.score_samples(htad.data).mean() > model.score_samples(unlike).mean())
        True
        """
        return self._run("familiarity", X)
