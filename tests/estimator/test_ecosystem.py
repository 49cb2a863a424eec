"""Life among scikit-learn's tools: pipelines, searches, ensembles, frames, joblib."""

import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from skdual import DualBranchClassifier, from_prefix

RNA, PROTEIN = [f"g{i}" for i in range(7)], [f"p{i}" for i in range(5)]


@pytest.fixture(scope="module")
def frame(two_blocks):
    return pd.DataFrame(two_blocks[0], columns=RNA + PROTEIN)


@pytest.fixture
def model(quick):
    return DualBranchClassifier(**quick, learning_rate=1e-2)


def two_block_pipeline(model):
    columns = ColumnTransformer([("rna", MinMaxScaler(), RNA), ("protein", StandardScaler(), PROTEIN)])
    return make_pipeline(
        columns.set_output(transform="pandas"), model.set_params(blocks=from_prefix("rna__", "protein__"))
    )


def test_classifier_behind_a_column_transformer(frame, two_blocks, model):
    pipeline = two_block_pipeline(model).fit(frame, two_blocks[1])
    classifier = pipeline[-1]
    assert_array_equal(classifier.block_indices_[0], np.arange(7))
    assert_array_equal(classifier.block_indices_[1], np.arange(7, 12))
    by_hand = clone(classifier).set_params(blocks=7)
    X = np.hstack([MinMaxScaler().fit_transform(frame[RNA]), StandardScaler().fit_transform(frame[PROTEIN])])
    assert_array_equal(by_hand.fit(X, two_blocks[1]).predict(X), pipeline.predict(frame))


def test_embedding_in_front_of_another_classifier(two_blocks, model):
    X, y = two_blocks
    pipeline = Pipeline([("embed", model.set_params(max_epochs=20)), ("classify", LogisticRegression())])
    assert pipeline.fit(X, y).score(X, y) > 0.8


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search_over_flat_names(two_blocks, model, n_jobs):
    grid = {
        "temperature": [0.1, 0.5],
        "subspace_dim": [2],
        "contrastive_weight": [0.0, 0.5],
        "learning_rate": [1e-5, 1e-2],
    }
    search = GridSearchCV(model, grid, n_jobs=n_jobs, cv=StratifiedKFold(2, shuffle=True, random_state=0))
    search.fit(*two_blocks)
    assert search.best_params_["learning_rate"] == 1e-2
    assert len(search.cv_results_["params"]) == 8
    slow, fast = (
        search.cv_results_["mean_test_score"][search.cv_results_["param_learning_rate"] == rate]
        for rate in (1e-5, 1e-2)
    )
    assert fast.min() > slow.max()


def test_parallel_jobs_give_the_scores_of_one(two_blocks, model):
    one, two = (cross_val_score(model, *two_blocks, cv=3, n_jobs=n_jobs) for n_jobs in (1, 2))
    assert_allclose(one, two, atol=0.021)  # threads may add up in another order: one row of fifty
    assert one.mean() > 1 / 3


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: CalibratedClassifierCV(model, cv=2),
        lambda model: BaggingClassifier(model, n_estimators=2, random_state=0),
        lambda model: VotingClassifier([("dual", model), ("linear", LogisticRegression())], voting="soft"),
        lambda model: StackingClassifier([("dual", model), ("linear", LogisticRegression())], cv=2),
    ],
    ids=["calibrated", "bagging", "voting", "stacking"],
)
def test_classifier_inside_meta_estimators(two_blocks, model, wrap):
    X, y = two_blocks
    fitted = wrap(model.set_params(max_epochs=15)).fit(X, y)
    assert_allclose(fitted.predict_proba(X).sum(axis=1), 1, rtol=1e-5)
    assert fitted.score(X, y) > 0.8


class Quick(DualBranchClassifier):
    """Settles most parameters, and leaves one to be tuned."""

    def __init__(self, blocks=None, *, temperature=0.1):
        super().__init__(
            blocks, temperature=temperature, hidden_layer_sizes=((16, 8), (8, 8)), max_epochs=2, n_members=1
        )
        self.random_state, self.device = 0, "cpu"


def test_a_subclass_may_settle_parameters(two_blocks):
    X, y = two_blocks
    search = GridSearchCV(Quick(7), {"temperature": [0.1, 0.5]}, cv=2, error_score="raise").fit(X, y)
    settled = {"hidden_layer_sizes": ((16, 8), (8, 8)), "max_epochs": 2, "n_members": 1, "random_state": 0}
    plain = DualBranchClassifier(7, device="cpu", **settled, **search.best_params_).fit(X, y)
    assert_array_equal(search.predict_proba(X), plain.predict_proba(X))
    wrong = Quick(7)
    wrong.patience = "x"
    with pytest.raises(ValueError, match="The 'patience' parameter of Quick must be an int"):
        wrong.fit(X, y)


def test_clone_is_unfitted_and_equal_in_parameters(two_blocks, model):
    fitted = model.fit(*two_blocks)
    copied = clone(fitted)
    assert not hasattr(copied, "classes_")
    assert copied.get_params() == fitted.get_params()
    assert_array_equal(copied.fit(*two_blocks).transform(two_blocks[0]), fitted.transform(two_blocks[0]))


@pytest.mark.parametrize(("library", "kind"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)])
def test_set_output_of_the_embedding(two_blocks, model, library, kind):
    X, y = two_blocks
    embedded = model.set_output(transform=library).fit(X, y).transform(X)
    assert isinstance(embedded, kind)
    assert list(embedded.columns) == [f"dualbranchclassifier{i}" for i in range(16)]
    assert_array_equal(np.asarray(embedded), model.set_output(transform="default").transform(X))


def test_joblib_in_a_new_process_gives_the_same_bits(two_blocks, model, tmp_path):
    X, y = two_blocks
    model.fit(X, y)
    joblib.dump(model, tmp_path / "model.joblib")
    np.save(tmp_path / "X.npy", X)
    code = (
        "import joblib, numpy as np\n"
        "model, X = joblib.load('model.joblib'), np.load('X.npy')\n"
        "np.savez('answers.npz', proba=model.predict_proba(X), embedded=model.transform(X), labels=model.predict(X))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    with np.load(tmp_path / "answers.npz") as answers:
        assert_array_equal(answers["proba"], model.predict_proba(X))
        assert_array_equal(answers["embedded"], model.transform(X))
        assert_array_equal(answers["labels"], model.predict(X))


def test_a_pipeline_transforms_validation_rows_and_hands_them_on(two_blocks, model):
    from sklearn import config_context

    X, y = two_blocks
    scaler = MinMaxScaler().fit(X)
    model.set_params(standardize=False)
    by_hand = clone(model).fit(scaler.transform(X), y, X_val=scaler.transform(X[:30]), y_val=y[:30])
    with config_context(enable_metadata_routing=True):
        routed = model.set_fit_request(X_val=True, y_val=True)
        pipeline = make_pipeline(MinMaxScaler(), routed, transform_input=["X_val"]).fit(
            X, y, X_val=X[:30], y_val=y[:30]
        )
    assert pipeline[-1].history_[-1]["valid_loss"] == by_hand.history_[-1]["valid_loss"]
    assert_array_equal(pipeline[-1].block_weights_, by_hand.block_weights_)


def test_read_only_and_memory_mapped_rows(two_blocks, model, tmp_path):
    X, y = two_blocks
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    expected = clone(model).fit(X, y).predict_proba(X)
    assert_array_equal(model.fit(mapped, y).predict_proba(mapped), expected)
