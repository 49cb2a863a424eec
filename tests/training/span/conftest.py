import numpy as np
import pytest
from wide_blocks import N_ROWS, WIDTHS

from skdual.training.span import choice


@pytest.fixture(autouse=True)
def short_fits_too(monkeypatch):
    """The fits of tests in this folder are short."""
    monkeypatch.setattr(choice, "MIN_STEPS_TIMES_ROOT_ROWS", 0)


@pytest.fixture
def wide():
    """Rows of two blocks of more columns than rows, of three classes."""
    random_generator = np.random.default_rng(1)
    y = np.arange(N_ROWS) % 3
    return random_generator.normal(size=(N_ROWS, sum(WIDTHS))) + 0.6 * y[:, None], y
