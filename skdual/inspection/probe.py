"""How well a linear model tells the classes apart at each stage of the network."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import check_cv, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..extras import import_extra
from ..pipelines import classifier_input, fitted_classifier
from .validation import check_targets


def linear_probe(estimator, X, y, *, cv=5, scoring=None):
    """Where the class information sits: a logistic regression on the outputs of branch A, branch B and the fusion.

    A stage that scores high holds the classes in a form that a linear model can read; if "fused" scores
    above both branches, these carry complementary information. Take rows that the estimator was not trained on: on its
    training rows the outputs have been shaped by the very labels. All three are of one member, that of
    :meth:`~skdual.DualBranchClassifier.transform_branches`; where the blocks were whitened together
    :meth:`~skdual.DualBranchClassifier.transform` is of another.

    Parameters
    ----------
    estimator : DualBranchClassifier or Pipeline
        Fitted; a pipeline must end in one. It is not fitted again.
    X : array-like, sparse matrix or DataFrame of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
        Labels to probe for; they need not be those of fit.
    cv : int, splitter or iterable, default=5
        As in :func:`~sklearn.model_selection.cross_val_score`.
    scoring : str, callable or None, default=None
        As in :func:`~sklearn.model_selection.cross_val_score`. None: accuracy.

    Returns
    -------
    scores : pandas.DataFrame of shape (3, 2)
        Indexed by stage: both ``block_names_``, then "fused"; columns "mean" and "std" over the splits.

    Raises
    ------
    NotFittedError
        If ``estimator`` is not fitted.
    TypeError
        If ``estimator`` is something else, or X of a type that can't be used.
    ValueError
        If X is not what the estimator was fitted on, or y not one label per row, of two classes at least.
    ImportError
        If pandas is missing.

    References
    ----------
    Alain & Bengio, "Understanding Intermediate Layers Using Linear Classifier Probes", ICLR workshop 2017.

    Examples
    --------
    >>> from skdual import DualBranchClassifier
    >>> from skdual.datasets import load_htad
    >>> from skdual.inspection import linear_probe
    >>> htad = load_htad()
    >>> model = DualBranchClassifier(htad.blocks, n_members=1, max_epochs=5, random_state=0)
    >>> model = model.fit(htad.data[::2], htad.target[::2])
    >>> list(linear_probe(model, htad.data[1::2], htad.target[1::2], cv=3).index)
    ['audio', 'accelerometer', 'fused']
    """
    pandas = import_extra("pandas", extra="inspection", caller="linear_probe")
    classifier = fitted_classifier(estimator)
    X = classifier_input(estimator, X)
    y = check_targets(X, y)
    if len(set(y.tolist())) < 2:
        raise ValueError(f"y has 1 class ({y.tolist()[0]!r}) in {len(y)} row(s); a probe needs at least 2.")
    stages = classifier._run("stages", X)
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    splits = list(check_cv(cv, y, classifier=True).split(stages[0], y))  # the same for every stage
    if not splits:
        raise ValueError(f"cv must give at least one split, got none of {cv!r}.")
    scores = [cross_val_score(probe, stage, y, cv=splits, scoring=scoring, error_score="raise") for stage in stages]
    index = pandas.Index([*classifier.block_names_, "fused"], name="stage")
    return pandas.DataFrame({"mean": np.mean(scores, axis=1), "std": np.std(scores, axis=1)}, index=index)
