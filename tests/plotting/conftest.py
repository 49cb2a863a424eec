import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest

from skdual import DualBranchClassifier


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def fitted(two_blocks, quick):
    X, y = two_blocks
    return DualBranchClassifier(**quick).fit(X[:100], y[:100], X_val=X[100:], y_val=y[100:])
