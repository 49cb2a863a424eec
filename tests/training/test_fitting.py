import math

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from skdual import DualBranchClassifier
from skdual.inputs.duplicates import first_occurrences
from skdual.training import fitting
from skdual.training.build import build_net
from skdual.training.columns.preparation import prepare_columns
from skdual.training.held_out import training_mask


@pytest.mark.parametrize(("n_rows", "shifted"), [(39, [False, False]), (40, [False, True]), (80, [True, True])])
def test_units_are_shifted_where_a_block_has_two_rows_for_each_column(n_rows, shifted):
    rows = np.random.default_rng(0).normal(size=(n_rows, 60))
    still = {"learning_rate": 1e-12, "max_epochs": 1, "hidden_layer_sizes": ((8,), (8,)), "device": "cpu"}
    network = DualBranchClassifier(40, random_state=0, **still).fit(rows, np.arange(n_rows) % 2).network_
    biases = [branch.layers[0].bias.abs().mean().item() for branch in (network.branch_a, network.branch_b)]
    assert [bias > 0.2 for bias in biases] == shifted
    assert [bias < 1e-6 for bias in biases] == [not shift for shift in shifted]


@pytest.mark.parametrize("to_matrix", [np.asarray, sp.csr_matrix], ids=["dense", "csr"])
def test_rows_are_mixed_by_the_zeros_of_the_training_rows(to_matrix):
    X = np.random.default_rng(0).normal(size=(60, 12))
    y = np.arange(60) % 3
    zeros = X.copy()
    zeros[:, 7:10] = 0  # most of block B, a quarter of all
    quick = {"hidden_layer_sizes": ((8,), (8,)), "n_members": 1, "max_epochs": 1, "random_state": 0}
    assert DualBranchClassifier(7, **quick).fit(to_matrix(X), y, X_val=zeros, y_val=y).net_.mixup_alpha == 0.4
    assert DualBranchClassifier(7, **quick).fit(to_matrix(zeros), y, X_val=X, y_val=y).net_.mixup_alpha == 0


@pytest.mark.parametrize("early_stopping", [False, True])
def test_copies_of_rows_are_looked_for_once(two_blocks, quick, early_stopping, monkeypatch):
    X, y = two_blocks
    X, y = np.concatenate([X, X[:9]]), np.concatenate([y, y[:9]])
    found, given = [], []

    def find(rows):
        found.append(rows)
        return first_occurrences(rows)

    monkeypatch.setattr(fitting, "first_occurrences", find)
    monkeypatch.setattr(fitting, "training_mask", lambda *of_fit: given.append(of_fit) or training_mask(*of_fit))
    monkeypatch.setattr(
        fitting, "prepare_columns", lambda *of_fit: given.append(of_fit[:2]) or prepare_columns(*of_fit)
    )
    DualBranchClassifier(**(quick | {"n_members": 4, "early_stopping": early_stopping})).fit(X, y)
    assert len(found) == 1
    [(_, codes, of_members, stops_early), (training, of_columns)] = given
    assert stops_early == early_stopping == (len(training) < len(X))
    assert_array_equal(codes, training.y)
    assert_array_equal(of_members, first_occurrences(training))
    assert_array_equal(of_columns, of_members)


@pytest.mark.parametrize("has", ["norm and splines", "whitening"])
def test_the_net_is_built_once_and_has_the_arguments_of_its_network(has, monkeypatch):
    random_generator = np.random.default_rng(0)
    X = random_generator.normal(size=(600, 12))
    if has == "whitening":  # what the columns of block A do not share tells the classes
        y = (X[:, :8] @ random_generator.normal(size=8) > 0).astype(int)
        X[:, :8] += 20 * random_generator.normal(size=(600, 1))
    else:  # how far a row is from the mean tells the classes, and so do the levels of columns
        y = (np.linalg.norm(X[:, :8], axis=1) > np.sqrt(8)) + 2 * (np.abs(X[:, 8]) < 0.7)
    built = []
    monkeypatch.setattr(
        fitting, "build_net", lambda *of_fit, **more: built.append(of_fit) or build_net(*of_fit, **more)
    )
    model = DualBranchClassifier(8, n_members=2, max_epochs=1, hidden_layer_sizes=((8,), (8,))).fit(X, y)
    assert len(built) == 1
    found = model.settings_["whitened"], model.settings_["splines"], model.settings_["row_norms"]
    both, neither = (True, True), (False, False)
    assert found == (((True, False), neither, neither) if has == "whitening" else (neither, both, both))
    of_module = {name: getattr(model.net_, f"module__{name}") for name in ("row_norms", "n_hats", "whitening_ranks")}
    scalers, whitening = model.network_.scalers, model.network_.whitening
    assert of_module == {
        "row_norms": tuple(scaler.row_norm is not None for scaler in scalers),
        "n_hats": tuple(0 if scaler.splines is None else scaler.splines.n_hats for scaler in scalers),
        "whitening_ranks": whitening.ranks,
    }


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("scaling", "dtype", "largest"),
    [
        ("standard", np.float64, 1e200),
        ("standard", np.float64, 1e308),
        ("minmax", np.float32, 3e38),
        ("robust", np.float32, 3e38),
    ],
)
def test_columns_whose_scale_overflows_are_refused(scaling, dtype, largest):
    X = np.random.default_rng(0).uniform(-1, 1, size=(60, 12)).astype(dtype)
    X[:, 4] *= largest
    X[::3, 4], X[1::3, 4] = largest, -largest
    message = rf"1 column\(s\) whose values are too large to be scaled by '{scaling}', column 4 first"
    with pytest.raises(ValueError, match=message):
        DualBranchClassifier(7, standardize=scaling, max_epochs=1, device="cpu").fit(X, np.arange(60) % 3)


@pytest.mark.parametrize("has_units", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_auto_precision_asks_the_device_and_never_lowers_float64(two_blocks, quick, has_units, dtype, monkeypatch):
    monkeypatch.setattr(fitting, "min_bfloat16_weights", lambda device: 0 if has_units else math.inf)
    params = quick | {"max_epochs": 1, "device": "cpu"}
    model = DualBranchClassifier(**params).fit(two_blocks[0].astype(dtype), two_blocks[1])
    name = np.dtype(dtype).name
    assert model.settings_["precision"] == ("bfloat16" if has_units and dtype == np.float32 else name)
    assert {str(p.dtype) for p in model.network_.parameters()} == {f"torch.{name}"}
