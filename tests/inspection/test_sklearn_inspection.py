"""scikit-learn's own inspection works on the estimator."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.inspection import PartialDependenceDisplay, partial_dependence, permutation_importance


def test_permutation_importance_finds_the_planted_columns(model, unnamed, planted):
    X, y = planted[0][300:], planted[1][300:]
    names = np.array(X.columns)
    for estimator, rows in ((model, X), (unnamed, X.to_numpy())):
        found = permutation_importance(estimator, rows, y, n_repeats=3, random_state=0, scoring="neg_log_loss")
        assert set(names[np.argsort(found.importances_mean)[-2:]]) == {"rna2", "protein3"}


@pytest.mark.parametrize("response", ["predict_proba", "decision_function"])
def test_partial_dependence_rises_with_the_planted_column_of_the_class(model, planted, response):
    X = planted[0][300:].astype(np.float64)  # pandas 3 lets scikit-learn put its float64 grid into no other columns
    effect = partial_dependence(model, X, ["rna2"], response_method=response, grid_resolution=12)["average"]
    assert effect.shape == (3, 12)
    others = [
        np.ptp(partial_dependence(model, X, [name], response_method=response, grid_resolution=12)["average"][0])
        for name in X.columns.difference(["rna2", "protein3"])
    ]
    assert effect[0, -1] - effect[0, 0] > 2 * max(others)


def test_the_display_draws_a_curve_a_panel(model, planted):
    plt.switch_backend("agg")
    shown = PartialDependenceDisplay.from_estimator(
        model,
        planted[0][300:].astype(np.float64),
        ["rna2", "protein3", ("rna2", "protein3")],
        target="one",
        grid_resolution=5,
    )
    assert [line is not None for line in shown.lines_[0]] == [True, True, False]
    height = shown.lines_[0, 0].get_ydata()
    assert height[-1] > height[0] + 0.2
    plt.close(shown.figure_)
