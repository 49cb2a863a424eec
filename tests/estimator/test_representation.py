"""repr and HTML show what was changed, and stay short."""

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from skdual import DualBranchClassifier

WIDTH = 12_000
FIRST = np.arange(WIDTH) < 10_000


def test_repr_names_changed_parameters_only():
    assert repr(DualBranchClassifier()) == "DualBranchClassifier()"
    assert repr(DualBranchClassifier(36, temperature=0.5)) == "DualBranchClassifier(blocks=36, temperature=0.5)"


@pytest.mark.parametrize(
    "blocks",
    [
        (FIRST, ~FIRST),
        (FIRST.tolist(), (~FIRST).tolist()),
        (np.flatnonzero(FIRST), np.flatnonzero(~FIRST)),
        {"rna": list(np.flatnonzero(FIRST)), "protein": list(np.flatnonzero(~FIRST))},
    ],
    ids=["masks", "lists of bool", "column numbers", "lists of column numbers"],
)
def test_ten_thousand_columns_and_a_fit_are_not_printed(blocks):
    X = np.random.default_rng(0).normal(size=(20, WIDTH)).astype(np.float32)
    params = {"hidden_layer_sizes": ((4,), (4,)), "n_members": 1, "max_epochs": 1}
    model, plain = (DualBranchClassifier(which, **params).fit(X, np.arange(20) % 2) for which in (blocks, 10_000))
    for wrap in (lambda model: model, make_pipeline):
        printed = repr(wrap(model))
        assert printed.count("\n") < 60
        assert len("".join(printed.split())) < 800
        assert len(wrap(model)._repr_html_()) < len(wrap(plain)._repr_html_()) + 3_000
