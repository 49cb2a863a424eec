"""What fitted methods refuse, and what they go by after parameters were set anew."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from skdual import DualBranchClassifier

METHODS = (
    "decision_function",
    "predict",
    "predict_proba",
    "predict_log_proba",
    "transform",
    "transform_branches",
    "projection_error",
    "score_samples",
)
EARLY = {"early_stopping": True, "rejection_quantile": 0.2, "rejection_label": "none"}


@pytest.fixture(scope="module", params=["none", "maxabs", "minmax"])
def unlimited(request, two_blocks, quick):
    """A model whose scaling lets large values through."""
    return DualBranchClassifier(standardize=request.param, **quick).fit(*two_blocks)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("container", [np.asarray, sp.csr_matrix], ids=["dense", "csr"])
def test_values_too_large_to_compute_with_are_refused(unlimited, two_blocks, method, container):
    X = two_blocks[0].copy()
    getattr(unlimited, method)(container(X))
    X[[70, 90]] = np.finfo(np.float32).max
    with pytest.raises(
        ValueError, match=r"^X has 2 row\(s\), row 70 first, whose values are so large .* scale .* standardize"
    ):
        getattr(unlimited, method)(container(X))


def test_rejecting_model_refuses_values_too_large_to_compute_with(two_blocks, quick):
    X = two_blocks[0].copy()
    model = DualBranchClassifier(standardize="none", **EARLY, **quick).fit(*two_blocks)
    X[3] = np.finfo(np.float32).max
    with pytest.raises(ValueError, match=r"^X has 1 row\(s\), row 3 first"):
        model.predict(X)


@pytest.mark.parametrize("standardize", ["standard", "robust"])
def test_scalings_that_limit_values_take_very_large_ones(two_blocks, quick, standardize):
    X = two_blocks[0].copy()
    model = DualBranchClassifier(standardize=standardize, **quick).fit(*two_blocks)
    X[70] = np.finfo(np.float32).max
    for method in METHODS:
        getattr(model, method)(X)


def test_values_beyond_float32_name_their_column(two_blocks, quick):
    names = [f"c{number}" for number in range(12)]
    X = pd.DataFrame(two_blocks[0], columns=names)
    model = DualBranchClassifier(**quick).fit(X, two_blocks[1])
    X = X.astype(np.float64)
    X.loc[5, "c9"] = 1e300
    with pytest.raises(ValueError, match=r"^X contains values beyond .* row 5, column 'c9', too large for float32"):
        model.predict(X)


@pytest.mark.parametrize("method", ["projection_error", "score_samples"])
def test_methods_of_subspaces_go_by_the_head_of_the_fit_whatever_the_parameter_says_now(two_blocks, quick, method):
    X, y = two_blocks
    model = DualBranchClassifier(**quick).fit(X, y)
    before = getattr(model, method)(X)
    np.testing.assert_array_equal(getattr(model.set_params(head="linear"), method)(X), before)
    model.fit(X, y).set_params(head="subspace")
    with pytest.raises(AttributeError, match=method) as caught:
        getattr(model, method)
    assert "needs head='subspace'; got head='linear'" in str(caught.value.__cause__)


def test_projection_error_goes_by_the_parameter_before_a_fit():
    assert hasattr(DualBranchClassifier(), "projection_error")
    assert not hasattr(DualBranchClassifier(head="linear"), "projection_error")
