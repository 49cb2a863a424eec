"""A pipeline in place of the classifier: what reaches the classifier is looked at."""

import pytest
from pandas.testing import assert_frame_equal
from sklearn.ensemble import BaggingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdual import DualBranchClassifier
from skdual.inspection import attributions, block_importance, class_attributions, linear_probe

CALLS = [
    lambda estimator, X, y: attributions(estimator, X, target=y, method="gradient_x_input"),
    lambda estimator, X, y: class_attributions(estimator, X, y, method="gradient_x_input"),
    lambda estimator, X, y: block_importance(estimator, X, y, n_repeats=2, random_state=0),
    lambda estimator, X, y: block_importance(estimator, X, y, method="ablation"),
    lambda estimator, X, y: linear_probe(estimator, X, y, cv=2),
]


@pytest.fixture(scope="module")
def pipeline(planted, blocks, settings):
    X, y = planted
    inner = make_pipeline(StandardScaler(), DualBranchClassifier(blocks, **settings))
    return make_pipeline(StandardScaler(with_std=False), inner).set_output(transform="pandas").fit(X[:300], y[:300])


@pytest.mark.parametrize("look", CALLS)
def test_a_pipeline_is_its_classifier_on_the_rows_that_reach_it(pipeline, planted, look):
    X, y = planted[0][300:], planted[1][300:]
    scaled = pipeline[-1][0].transform(pipeline[0].transform(X))
    found = look(pipeline, X, y)
    assert_frame_equal(found, look(pipeline[-1][-1], scaled, y))
    assert found.abs().to_numpy().max() > 0


def test_attributions_keep_the_index_of_x_through_steps_that_lose_it(planted, settings):
    X, y = planted
    pipeline = make_pipeline(StandardScaler(), DualBranchClassifier(10, **settings)).fit(X, y)
    found = attributions(pipeline, X[:5], method="gradient_x_input")
    assert found.index.tolist() == X.index[:5].tolist()
    assert found.columns[0] == ("a", "x0")


@pytest.mark.parametrize("look", CALLS)
def test_what_holds_no_fitted_classifier_is_refused(planted, look):
    X, y = planted
    with pytest.raises(TypeError, match="DualBranchClassifier or a Pipeline that ends in one, got LogisticRegression"):
        look(make_pipeline(StandardScaler(), LogisticRegression()), X, y)
    with pytest.raises(NotFittedError):
        look(make_pipeline(StandardScaler(), DualBranchClassifier(10)), X, y)


def test_what_holds_a_classifier_in_an_attribute_is_refused_with_its_name(model, planted):
    X, y = planted
    with pytest.raises(TypeError, match="got FrozenEstimator; give its estimator"):
        linear_probe(FrozenEstimator(model), X, y)
    search = GridSearchCV(DualBranchClassifier(10, n_members=1, max_epochs=1), {"temperature": [0.1]}, cv=2).fit(X, y)
    with pytest.raises(TypeError, match="got GridSearchCV; give its best_estimator_"):
        linear_probe(search, X, y)
    for without in (GridSearchCV(model, {}), BaggingClassifier(model)):  # whose estimator is not the fitted one
        with pytest.raises(TypeError, match=f"got {type(without).__name__}\\.$"):
            linear_probe(without, X, y)
