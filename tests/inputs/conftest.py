import numpy as np
import pytest
from stored_rows import N, P


@pytest.fixture(name="X", params=[np.float64, np.float32], ids=lambda dtype: dtype.__name__)
def matrix(request):
    """Half zeros, with rows and a column of nothing else, far from 0 where it is not, and three constant columns."""
    rng = np.random.default_rng(0)
    X = np.where(rng.random((N, P)) < 0.5, 0, rng.normal(1000, 5, (N, P)))
    X[[0, 17, 18, N - 1]] = 0
    X[:, [2, 3, 5]] = 0, 0.1, 1e8 / 3
    return X.astype(request.param)
