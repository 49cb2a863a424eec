"""scikit-learn's own checks: every one passes, none is skipped, waived or expected to fail."""

import pytest
from sklearn.utils.estimator_checks import check_estimator

from skdual import DualBranchClassifier


def assert_all_pass(estimator):
    results = check_estimator(estimator, on_skip=None, on_fail=None)
    assert len(results) > 50
    assert [(r["check_name"], r["status"], r["exception"]) for r in results if r["status"] != "passed"] == []


def test_no_tag_waives_a_check():
    tags = DualBranchClassifier().__sklearn_tags__()
    assert not tags.non_deterministic
    assert not tags.no_validation
    assert not tags._skip_test
    assert not tags.classifier_tags.poor_score
    assert tags.classifier_tags.multi_class


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "params",
    [
        {"blocks": 1},
        {"fusion": "attention", "head": "linear"},
        {"memory_bank_size": 64},
        # 20 steps alone, without rows to calibrate on, are too few for the check of class weights
        {"n_members": 1, "max_epochs": 40},
    ],
    ids=["blocks", "attention-linear", "bank", "one-member"],
)
def test_sklearn_checks_of_variants(params):
    # of 50 rows in one batch; with 10 steps the check of class weights is passed or not by chance
    assert_all_pass(DualBranchClassifier(**{"max_epochs": 20, **params}))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_sklearn_checks_of_the_default_estimator():
    assert_all_pass(DualBranchClassifier())
