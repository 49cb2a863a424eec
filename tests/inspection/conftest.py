import numpy as np
import pandas as pd
import pytest

from skdual import DualBranchClassifier


@pytest.fixture(scope="session")
def planted():
    """A frame of 400 rows and their labels: "rna2" makes class "one", "protein3" class "two", the rest is noise.

    Columns have all sorts of means and scales, and those of the two blocks are mixed with each other.
    """
    rng = np.random.default_rng(0)
    names = [f"rna{column}" for column in range(10)] + [f"protein{column}" for column in range(6)]
    frame = pd.DataFrame(rng.normal(size=(400, 16)), columns=names, index=[f"row{row}" for row in range(400)])
    y = np.array(["one", "two", "zero"])[rng.integers(0, 3, 400)]
    frame.loc[y == "one", "rna2"] += 5
    frame.loc[y == "two", "protein3"] += 5
    frame = (frame + 3 * rng.normal(size=16)) * 10 ** rng.uniform(-3, 3, 16)
    return frame[rng.permutation(names)].astype(np.float32), y


@pytest.fixture(scope="session")
def blocks(planted):
    names = planted[0].columns
    return {block: [name for name in names if name.startswith(block)] for block in ("rna", "protein")}


@pytest.fixture(scope="session")
def settings():
    return {
        "hidden_layer_sizes": ((16, 8), (8,)),
        "n_members": 2,
        "projection_dim": 8,
        "max_epochs": 30,
        "batch_size": 64,
        "random_state": 0,
    }


@pytest.fixture(scope="session")
def model(planted, blocks, settings):
    """Fitted on the first 300 rows of ``planted``."""
    X, y = planted
    return DualBranchClassifier(blocks, **settings).fit(X[:300], y[:300])


@pytest.fixture(scope="session")
def unnamed(planted, blocks, settings):
    """The same, fitted on an array without names."""
    X, y = planted
    by_number = [X.columns.get_indexer(names) for names in blocks.values()]
    return DualBranchClassifier(by_number, **settings).fit(X[:300].to_numpy(), y[:300])
