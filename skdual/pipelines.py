"""The classifier and the rows that it sees, from a classifier or a pipeline that ends in one."""

from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from .estimator import DualBranchClassifier


def fitted_classifier(estimator):
    """The fitted DualBranchClassifier that estimator is or, as a pipeline, ends in.

    Raises
    ------
    TypeError
        If there is none.
    NotFittedError
        If it is not fitted.
    """
    classifier = estimator
    while isinstance(classifier, Pipeline):
        classifier = classifier[-1]
    if not isinstance(classifier, DualBranchClassifier):
        fitted = "estimator" if isinstance(classifier, FrozenEstimator) else "best_estimator_"
        hint = f"; give its {fitted}" if hasattr(classifier, fitted) else ""
        raise TypeError(
            f"estimator must be a DualBranchClassifier or a Pipeline that ends in one, got {type(classifier).__name__}"
            f"{hint}."
        )
    check_is_fitted(classifier)
    return classifier


def classifier_input(estimator, X):
    """X as the steps before the classifier leave it."""
    while isinstance(estimator, Pipeline):
        X = estimator[:-1].transform(X) if len(estimator) > 1 else X
        estimator = estimator[-1]
    return X
