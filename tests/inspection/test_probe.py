"""The linear probe finds the classes where they were planted."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdual import DualBranchClassifier
from skdual.datasets import load_htad
from skdual.inspection import linear_probe


def test_each_branch_knows_its_class_and_the_fusion_knows_both(model, planted):
    X, y = planted[0][300:], planted[1][300:]
    three = linear_probe(model, X, y)["mean"]
    assert list(three.index) == ["rna", "protein", "fused"]
    assert three["fused"] > 0.9
    assert (three[["rna", "protein"]] < 0.8).all()
    one, two = (linear_probe(model, X, y == label, scoring="roc_auc")["mean"] for label in ("one", "two"))
    assert one["rna"] > 0.98 > 0.8 > one["protein"]
    assert two["protein"] > 0.98 > 0.8 > two["rna"]


def test_probe_scores_are_those_of_a_scaled_logistic_regression(model, planted):
    X, y = planted[0][300:], planted[1][300:]
    cv = StratifiedKFold(4, shuffle=True, random_state=0)
    found = linear_probe(model, X, y, cv=cv, scoring="neg_log_loss")
    stages = dict(zip(["rna", "protein", "fused"], [*model.transform_branches(X), model.transform(X)], strict=True))
    for stage, values in stages.items():
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        scores = cross_validate(probe, values, y, cv=cv, scoring="neg_log_loss")["test_score"]
        assert found.loc[stage, "mean"] == pytest.approx(scores.mean())
        assert found.loc[stage, "std"] == pytest.approx(scores.std())


def test_every_stage_is_probed_on_the_same_splits(model, planted):
    X, y = planted[0][300:], planted[1][300:]
    splits = list(StratifiedKFold(4, shuffle=True, random_state=0).split(X, y))
    expected = linear_probe(model, X, y, cv=splits)
    assert_array_equal(linear_probe(model, X, y, cv=iter(splits)), expected)

    seen = []

    def scoring(probe, stage, labels):
        seen.append(tuple(labels))
        return 0.0

    linear_probe(model, X, y, cv=StratifiedKFold(2, shuffle=True), scoring=scoring)
    assert seen[:2] == seen[2:4] == seen[4:]
    assert seen[0] != seen[1]


def test_linear_probe_is_the_same_for_all_forms_of_x(model, unnamed, planted):
    frame, y = planted[0][300:], planted[1][300:]
    expected = linear_probe(model, frame, y, cv=3)
    for X in (frame.to_numpy(), sp.csr_matrix(frame)):
        assert_array_equal(linear_probe(unnamed, X, y, cv=3), expected)


def test_frames_of_set_output_are_probed_too(planted, blocks, settings):
    X, y = planted
    model = DualBranchClassifier(blocks, **(settings | {"max_epochs": 2})).fit(X[:300], y[:300])
    expected = linear_probe(model, X[300:], y[300:], cv=3)
    assert_array_equal(linear_probe(model.set_output(transform="pandas"), X[300:], y[300:], cv=3), expected)


def test_wrong_arguments_of_linear_probe_are_named(model, planted):
    X, y = planted
    with pytest.raises(NotFittedError):
        linear_probe(DualBranchClassifier(), X, y)
    with pytest.raises(TypeError, match="got LogisticRegression"):
        linear_probe(LogisticRegression(), X, y)
    for wrong, message in (
        (np.array(["one"]), "X and y must have the same number of rows; X has 400, y has 1"),
        ("one", "y must be a 1d array with one label per row"),
        (np.where(y == "one", None, y), r"y has \d+ missing label"),
        (X.iloc[:, 0].to_numpy(), "y must hold class labels. Unknown label type: continuous"),
        (np.full(400, "one"), r"y has 1 class \('one'\) in 400 row\(s\); a probe needs at least 2"),
    ):
        with pytest.raises(ValueError, match=message):
            linear_probe(model, X, wrong)
    with pytest.raises(ValueError, match=r"cv must give at least one split, got none of \[\]"):
        linear_probe(model, X, y, cv=[])
    with pytest.raises(TypeError, match="X must be an array-like, a sparse matrix or a frame, got NoneType"):
        linear_probe(model, None, y)
    with pytest.raises(ZeroDivisionError):
        linear_probe(model, X, y, scoring=lambda *rows: 1 / 0)
    with pytest.raises(ValueError, match=r"y has 1 class .* in 1 row\(s\)"):
        linear_probe(model, X[:1], y[:1])
    with pytest.raises(ValueError, match="Feature names must be in the same order as they were in fit"):
        linear_probe(model, X[X.columns[::-1]], y)


def test_on_htad_the_fused_embedding_knows_more_than_either_branch():
    htad = load_htad()
    model = DualBranchClassifier(htad.blocks, n_members=1, max_epochs=8, random_state=0)
    model.fit(htad.data[::2], htad.target[::2])
    found = linear_probe(model, htad.data[1::2], htad.target[1::2], cv=3)["mean"]
    assert found["fused"] > found[["audio", "accelerometer"]].max() + 0.03
