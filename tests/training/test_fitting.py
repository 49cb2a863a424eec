import math

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_array_equal
from skorch.callbacks import Checkpoint, EarlyStopping, EpochTimer

from skdual import DualBranchClassifier
from skdual.inputs.duplicates import first_occurrences
from skdual.network.members import MemberLinear
from skdual.parameters import resolve_settings
from skdual.training import fitting
from skdual.training.build import build_net
from skdual.training.held_out import training_mask
from skdual.training.skorch_arguments import check_callbacks, check_net_params


def settings(widths=(7, 5), **params):
    y = np.arange(60) % 3
    return resolve_settings(
        DualBranchClassifier(**params).get_params(deep=False),
        n_columns=widths,
        codes=y,
        classes=np.arange(3),
        n_train=60,
        zero_shares=lambda: (0.0, 0.0),
        min_bfloat16_weights=math.inf,
        block_names=("a", "b"),
        has_validation=False,
    )


def build(net_params=None, callbacks=None, widths=(7, 5), **params):
    check_callbacks(callbacks, has_validation=True)
    check_net_params(net_params)
    of_net = settings(widths, net_params=net_params, **params)
    return build_net(of_net, torch.device("cpu"), torch.float64, seed=0, callbacks=callbacks, net_params=net_params)


@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize(("fusion", "head"), [("attention", "subspace"), ("concat", "linear")])
def test_the_net_has_the_type_and_optimiser_asked_for(n_members, fusion, head):
    net = build(learning_rate=0.02, weight_decay=0.3, n_members=n_members, fusion=fusion, head=head)
    assert {parameter.dtype for parameter in net.module_.parameters()} == {torch.float64}
    assert net.criterion_.class_weight.dtype == torch.float64
    assert type(net.optimizer_) is torch.optim.AdamW
    groups = net.optimizer_.param_groups
    assert {group["lr"] for group in groups} == {0.02}
    decays = {parameter: group["weight_decay"] for group in groups for parameter in group["params"]}
    assert len(decays) == len(list(net.module_.parameters()))
    matrices = {layer.weight for layer in net.module_.modules() if isinstance(layer, MemberLinear)}
    for name, parameter in net.module_.named_parameters():
        # matrices shrink; biases, norms, scale and bases do not
        assert decays[parameter] == (0.3 if parameter in matrices else 0.0), name


@pytest.mark.parametrize(("n_rows", "shifted"), [(39, [False, False]), (40, [False, True]), (80, [True, True])])
def test_units_are_shifted_where_a_block_has_two_rows_for_each_column(n_rows, shifted):
    rows = np.random.default_rng(0).normal(size=(n_rows, 60))
    still = {"learning_rate": 1e-12, "max_epochs": 1, "hidden_layer_sizes": ((8,), (8,)), "device": "cpu"}
    network = DualBranchClassifier(40, random_state=0, **still).fit(rows, np.arange(n_rows) % 2).network_
    biases = [branch.layers[0].bias.abs().mean().item() for branch in (network.branch_a, network.branch_b)]
    assert [bias > 0.2 for bias in biases] == shifted
    assert [bias < 1e-6 for bias in biases] == [not shift for shift in shifted]


def test_param_groups_of_the_user_stand():
    net = build({"optimizer__param_groups": [("head.*", {"lr": 0.5})]})
    assert [group["lr"] for group in net.optimizer_.param_groups] == [0.5, 2e-3]


@pytest.mark.parametrize(
    "net_params",
    [
        {"no_such_argument": 1},
        {"module__no_such_argument": 1},
        {"optimizer__no_such_argument": 1},
        {"dataset__length": 3},
        {"warm_start": True},
    ],
)
def test_net_params_that_do_nothing_are_refused(net_params):
    with pytest.raises(ValueError, match="net_params") as caught:
        build(net_params)
    assert next(iter(net_params)).split("__")[-1] in str(caught.value)


@pytest.mark.parametrize(
    "net_params",
    [
        {"patience": 3},
        {"sampling": "class_aware"},
        {"batch_size": 0},
        {"mixup_alpha": -1},
        {"gradient_clip": "a"},
        {"warmup": 2},
        {"module__n_classes": 2},
        {"callbacks": []},
        {"max_epochs": 2},
        {"lr": 0.1},
        {"optimizer__lr": 0.1},
        {"optimizer__weight_decay": 0.1},
        {"verbose": 1},
        {"compile": True},
        {"criterion": torch.nn.NLLLoss},
        {"criterion__class_weight": [1, 2, 3]},
        {"criterion__temperature": 0.7},
    ],
)
def test_net_params_that_the_estimator_settles_are_refused(net_params):
    with pytest.raises(ValueError, match=f"net_params: '{next(iter(net_params))}'"):
        build(net_params)


def test_weights_do_not_depend_on_the_default_device():
    torch.manual_seed(0)
    expected = build().module_.state_dict()
    try:
        torch.set_default_device("meta")
        torch.manual_seed(0)
        got = build().module_.state_dict()
    finally:
        torch.set_default_device(None)
    for name, tensor in expected.items():
        assert torch.equal(tensor, got[name]), name


@pytest.mark.parametrize("callbacks", [[3], ["EarlyStopping"], [("name", 3)], [(1, EpochTimer())]])
def test_what_is_no_callback_is_refused(callbacks):
    with pytest.raises(ValueError, match="callbacks must be skorch callbacks"):
        build(callbacks=callbacks)


@pytest.mark.parametrize(
    "callback",
    [
        EarlyStopping(),
        EarlyStopping,
        ("mine", EarlyStopping),
        ("mine", Checkpoint(monitor="valid_classification_loss_best")),
    ],
)
def test_a_callback_that_watches_validation_rows_needs_some(callback):
    message = r"callbacks: \w+ watches 'valid_.*', but .* give X_val and y_val to fit, or set early_stopping=True"
    with pytest.raises(ValueError, match=message):
        check_callbacks([callback], has_validation=False)
    check_callbacks([callback], has_validation=True)


def test_callbacks_may_be_named():
    net = build(callbacks=[("mine", EpochTimer())])
    assert "mine" in dict(net.callbacks_)


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
    monkeypatch.setattr(fitting, "whiten_blocks", lambda _, rows, original, scalers: given.append((rows, original)))
    DualBranchClassifier(**(quick | {"n_members": 4, "early_stopping": early_stopping})).fit(X, y)
    assert len(found) == 1
    [(_, codes, of_members), (training, of_whitening)] = given
    assert early_stopping == (len(training) < len(X))
    assert_array_equal(codes, training.y)
    assert_array_equal(of_members, first_occurrences(training))
    assert_array_equal(of_whitening, of_members)


@pytest.mark.parametrize(
    ("scaling", "dtype", "largest"),
    [("standard", np.float64, 1e200), ("minmax", np.float32, 3e38), ("robust", np.float32, 3e38)],
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
