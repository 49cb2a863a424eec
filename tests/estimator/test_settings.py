"""``settings_``: what a fit made of the parameters and of the rows."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError

from skdual import DualBranchClassifier
from skdual.datasets import load_htad


def test_auto_is_what_the_parameters_say_it_is():
    htad = load_htad()  # 1,386 rows of 36 + 16 columns, seven classes
    model = DualBranchClassifier(htad.blocks, max_epochs=1, precision="float32", random_state=0, device="cpu")
    assert model.fit(htad.data, htad.target).settings_ == {
        "standardize": ("standard", "standard"),
        "row_norms": (False, False),
        "splines": (False, False),
        "whitened": (False, False),
        "whitened_together": False,
        "hidden_layer_sizes": ((256, 128), (256, 128)),
        "dropout": (0.2, 0.2),
        "n_members": 8,
        "mixup_alpha": 0.4,
        "batch_size": 64,  # the power of two nearest to 86.6
        "classes_per_batch": None,
        "samples_per_class": None,
        "max_epochs": 1,
        "learning_rate": pytest.approx(2e-5 * 1386 / 52**0.5),
        "weight_decay": 1.0,
        "precision": "float32",
    }


def test_settings_that_were_given_are_those_of_the_fit(two_blocks, quick):
    given = {
        "standardize": ("robust", "minmax"),
        "hidden_layer_sizes": ((16, 8), (8,)),
        "dropout": (0.1, 0.3),
        "n_members": 3,
        "mixup_alpha": 0.2,
        "batch_size": 30,
        "classes_per_batch": 3,
        "samples_per_class": 10,
        "max_epochs": 2,
        "learning_rate": 0.01,
        "weight_decay": 0.5,
        "precision": "float64",
    }
    model = DualBranchClassifier(**(quick | given), sampling="class_aware", device="cpu").fit(*two_blocks)
    of_rows = dict.fromkeys(["row_norms", "splines", "whitened"], (False, False)) | {"whitened_together": False}
    assert model.settings_ == given | of_rows


def test_the_optimizer_keeps_its_own_weight_decay(two_blocks, quick):
    given = {"optimizer__param_groups": [("*.bias", {"weight_decay": 0.3})]}
    model = DualBranchClassifier(**quick, net_params=given, device="cpu").fit(*two_blocks)
    assert model.settings_["weight_decay"] is None


@pytest.mark.parametrize("together", [False, True])
def test_settings_say_which_blocks_were_whitened_after_a_warm_start_and_in_a_file(together, quick):
    random_generator = np.random.default_rng(0)
    X, y = random_generator.normal(size=(120, 12)), np.arange(120) % 2
    if together:
        X[:, 7:] = X[:, :5] + 0.1 * X[:, 7:]
    else:
        X[:, :7] += 20 * random_generator.normal(size=(120, 1))  # which all columns of block A share
    X[:, 0] += y * (0.2 if together else 2)
    model = DualBranchClassifier(**quick, warm_start=True, device="cpu").fit(X, y)
    probabilities = model.predict_proba(X)
    of_rows = {"whitened": (not together, False), "whitened_together": together}
    assert model.settings_.items() >= of_rows.items()
    loaded = pickle.loads(pickle.dumps(model))
    assert loaded.settings_ == model.settings_
    assert_array_equal(loaded.predict_proba(X), probabilities)
    assert model.fit(X, y).settings_.items() >= of_rows.items()


def test_before_a_fit_there_are_no_settings():
    model = DualBranchClassifier(7)
    assert not hasattr(model, "settings_")
    with pytest.raises(NotFittedError):
        _ = model.settings_
