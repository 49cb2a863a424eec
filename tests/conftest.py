import importlib
import os

os.environ["SCIPY_ARRAY_API"] = "1"  # before anything imports scipy: check_estimator's array API checks need it
# tests run side by side in two processes, whose threads would fight for the cores
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import numpy as np
import pytest
import torch


def pytest_addoption(parser):
    parser.addoption(
        "--device",
        default="standin",
        help="accelerator for the tests of tests/devices; by default a stand-in, and all other tests run on the CPU. "
        "With a real one, such as cuda, only tests of devices run",
    )


def pytest_configure(config):
    if config.getoption("--device") == "standin":
        # torch trains on no real accelerator in a process that has the stand-in
        for name in ("cuda", "mps", "xpu"):
            getattr(torch, name).is_available = lambda: False
        importlib.import_module("standin_device")  # which makes the device known


def pytest_ignore_collect(collection_path, config):
    # torch knows either the stand-in, whose traffic is counted, or a real device; other tests are of the CPU
    if config.getoption("--device") == "standin" or collection_path.is_dir():
        return None
    return collection_path.parent.name != "devices" or collection_path.name == "test_traffic.py" or None


@pytest.fixture(scope="session")
def accelerator(request):
    """Name of the device that tests of devices run on."""
    return request.config.getoption("--device")


@pytest.fixture(scope="session")
def two_blocks():
    """150 rows of 7 + 5 columns, three classes that need both blocks; float32, labels as strings."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, 150)
    a = rng.normal(size=(150, 7)) + 2.5 * (codes == 1)[:, None]
    b = 3 * rng.normal(size=(150, 5)) + 6 * (codes == 2)[:, None] + 10
    return np.hstack([a, b]).astype(np.float32), np.array(["left", "middle", "right"])[codes]


@pytest.fixture(scope="session")
def quick():
    """Arguments that make a fit of ``two_blocks`` a matter of tenths of a second."""
    return {
        "blocks": 7,
        "hidden_layer_sizes": ((16, 8), (8,)),
        "n_members": 2,
        "token_dim": 4,
        "projection_dim": 8,
        "batch_size": 32,
        "max_epochs": 4,
        "random_state": 0,
    }
