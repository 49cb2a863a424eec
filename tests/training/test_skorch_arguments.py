import pytest
import torch
from skorch.callbacks import Checkpoint, EarlyStopping, EpochTimer

from skdual.training.skorch_arguments import check_callbacks, check_net_params


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
        check_net_params(net_params)


@pytest.mark.parametrize("callbacks", [[3], ["EarlyStopping"], [("name", 3)], [(1, EpochTimer())]])
def test_what_is_no_callback_is_refused(callbacks):
    with pytest.raises(ValueError, match="callbacks must be skorch callbacks"):
        check_callbacks(callbacks, has_validation=True)


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
