import pytest

from skdual.training.loop.net import DualBranchNet


@pytest.fixture
def rows_seen(monkeypatch):
    """A dict with the numbers of the rows that a fit trains on and validates on, as ``train`` and ``valid``."""
    seen = {}
    original = DualBranchNet.partial_fit

    def spy(net, rows, validation=None, **others):
        seen.update(train=rows.subset, valid=validation.subset)
        return original(net, rows, validation=validation, **others)

    monkeypatch.setattr(DualBranchNet, "partial_fit", spy)
    return seen
