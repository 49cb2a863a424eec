import math

import numpy as np
import pytest
import torch
from skorch.callbacks import EpochTimer

from skdual import DualBranchClassifier
from skdual.network.members import MemberLinear
from skdual.parameters import resolve_settings
from skdual.training.build import build_net
from skdual.training.skorch_arguments import check_callbacks, check_net_params


def settings(**params):
    y = np.arange(60) % 3
    return resolve_settings(
        DualBranchClassifier(**params).get_params(deep=False),
        n_columns=(7, 5),
        codes=y,
        classes=np.arange(3),
        n_train=60,
        zero_shares=lambda: (0.0, 0.0),
        min_bfloat16_weights=math.inf,
        block_names=("a", "b"),
        has_validation=False,
    )


def build(net_params=None, callbacks=None, **params):
    check_callbacks(callbacks, has_validation=True)
    check_net_params(net_params)
    of_net = settings(net_params=net_params, **params)
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


def test_callbacks_may_be_named():
    net = build(callbacks=[("mine", EpochTimer())])
    assert "mine" in dict(net.callbacks_)
