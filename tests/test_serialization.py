"""What a saved model holds, and what it refuses."""

import pickle
import warnings

import joblib
import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from skdual import DualBranchClassifier
from skdual.inspection import attributions
from skdual.serialization import FORMAT


@pytest.fixture(scope="module")
def fitted(two_blocks, quick):
    return DualBranchClassifier(memory_bank_size=100, **(quick | {"n_members": 3, "random_state": 1})).fit(*two_blocks)


def leaves(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def test_the_state_is_plain_values_and_arrays(fitted):
    kinds = {type(leaf) for leaf in leaves(fitted.__getstate__())}
    assert kinds <= {np.ndarray, np.float64, np.int64, int, float, str, bool, type(None)}


def test_neither_optimizer_nor_bank_nor_rows_are_saved(fitted, two_blocks):
    n_weights = sum(p.numel() for p in fitted.network_.state_dict().values())
    arrays = [leaf for leaf in leaves(fitted.__getstate__()["_saved"]) if isinstance(leaf, np.ndarray)]
    assert sum(array.size for array in arrays) == n_weights
    others = [leaf for leaf in leaves(fitted.__getstate__()) if isinstance(leaf, np.ndarray)]
    assert sum(array.size for array in others) < n_weights + len(two_blocks[1])
    again = pickle.loads(pickle.dumps(fitted))
    assert again.net_.optimizer_.state_dict()["state"] == {}


def test_versions_are_recorded(fitted):
    saved = fitted.__getstate__()["_saved"]
    assert saved["format"] == FORMAT
    assert saved["versions"]["torch"] == str(torch.__version__)


def test_a_file_of_a_newer_format_is_refused(fitted):
    state = fitted.__getstate__()
    state["_saved"] = state["_saved"] | {"format": FORMAT + 1}
    with pytest.raises(ValueError, match=f"format {FORMAT + 1} .* up to {FORMAT}; upgrade"):
        DualBranchClassifier.__new__(DualBranchClassifier).__setstate__(state)


@pytest.mark.parametrize(
    ("name", "old", "warned"),
    [
        ("skdual", "{0}.{1}.99", False),
        ("skdual", "{0}.99.0", True),
        ("skdual", "99.{1}.{2}", True),
        ("torch", "{0}.99.0", False),
        ("torch", "99.{1}.0", True),
        ("scikit-learn", "{0}.99.0", False),
        ("scikit-learn", "99.{1}.0", True),
    ],
)
def test_a_model_of_another_version_warns(fitted, two_blocks, name, old, warned):
    state = fitted.__getstate__()
    here = state["_saved"]["versions"][name]
    old = old.format(*here.split("."))
    state["_saved"] = state["_saved"] | {"versions": state["_saved"]["versions"] | {name: old}}
    again = DualBranchClassifier.__new__(DualBranchClassifier)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        again.__setstate__(state)
    texts = [str(warning.message) for warning in caught]
    assert len(texts) == warned
    assert all(f"saved with {name} {old} (here {here});" in text for text in texts)
    assert_array_equal(again.predict_proba(two_blocks[0]), fitted.predict_proba(two_blocks[0]))


def test_the_versions_at_hand_do_not_warn(fitted):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pickle.loads(pickle.dumps(fitted))


def test_loading_leaves_the_global_random_state_alone(fitted):
    saved = pickle.dumps(fitted)
    torch.manual_seed(0)
    pickle.loads(saved)
    drawn = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(3))


def test_everything_comes_back(fitted, two_blocks):
    X, _ = two_blocks
    again = pickle.loads(pickle.dumps(fitted))
    for method in ("predict_proba", "transform", "projection_error"):
        assert_array_equal(getattr(again, method)(X), getattr(fitted, method)(X))
    assert again.history_ == fitted.history_
    assert again.device_ == fitted.device_
    assert again.probability_temperature_ == fitted.probability_temperature_ != 1
    assert_array_equal(again.block_weights_, fitted.block_weights_)
    assert 0 < fitted.block_weights_[0] < 1  # a mixture, not what a new network has
    assert torch.equal(again.network_.ensemble.weights, fitted.network_.ensemble.weights)
    assert again.get_params()["block_dropout"] == fitted.get_params()["block_dropout"] == 0.25
    assert again.network_.n_members == 3
    blocks = [torch.from_numpy(X[:, index]) for index in fitted.block_indices_]
    with torch.no_grad():
        members = fitted.network_.member_scores(*blocks)
        assert torch.equal(again.network_.member_scores(*blocks), members)
    assert members.shape == (3, 3, 150, 3)
    assert not torch.allclose(members[0], members[1], atol=0.1)
    assert not again.network_.training
    assert {p.dtype for p in again.network_.parameters()} == {torch.float32}


def test_float64_weights_stay_float64(two_blocks, quick):
    X, y = two_blocks[0].astype(np.float64), two_blocks[1]
    fitted = DualBranchClassifier(**quick).fit(X, y)
    assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(X), fitted.predict_proba(X))


def test_a_network_of_one_group_comes_back_with_one(two_blocks, quick):
    fitted = DualBranchClassifier(**quick | {"block_dropout": 0, "n_members": 1}).fit(*two_blocks)
    again = pickle.loads(pickle.dumps(fitted))
    assert again.network_.ensemble.weights.shape == (1,)
    assert torch.equal(again.network_.ensemble.weights, fitted.network_.ensemble.weights)
    assert_array_equal(again.predict_proba(two_blocks[0]), fitted.predict_proba(two_blocks[0]))


def test_a_model_loaded_in_inference_mode_gives_gradients(fitted, two_blocks):
    content = pickle.dumps(fitted)
    with torch.inference_mode():
        again = pickle.loads(content)
    X = two_blocks[0][:5]
    assert_array_equal(attributions(again, X), attributions(fitted, X))


def test_an_unfitted_estimator_pickles_as_it_is(quick):
    again = pickle.loads(pickle.dumps(DualBranchClassifier(**quick)))
    assert again.get_params() == DualBranchClassifier(**quick).get_params()
    assert not hasattr(again, "classes_")


def test_parameters_set_after_the_fit_do_not_spoil_the_file(two_blocks, quick):
    X, y = two_blocks
    params = quick | {"n_members": 4, "fusion": "attention", "net_params": {"optimizer__betas": (0.5, 0.9)}}
    fitted = DualBranchClassifier(**params).fit(X, y)
    expected = fitted.predict_proba(X)
    fitted.set_params(net_params={"nonsense": 1}, callbacks=[1], hidden_layer_sizes=((3,), (3,)), head="linear")
    fitted.set_params(n_members=1)
    assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(X), expected)


@pytest.mark.parametrize("device", [None, 1.5, "nonsense"], ids=str)
def test_a_device_that_is_none_is_the_cpu_to_load_on(fitted, two_blocks, device):
    expected = fitted.predict_proba(two_blocks[0])
    changed = pickle.loads(pickle.dumps(fitted)).set_params(device=device)
    with pytest.warns(UserWarning, match="which is not available here; it is loaded on the CPU"):
        loaded = pickle.loads(pickle.dumps(changed))
    assert_array_equal(loaded.predict_proba(two_blocks[0]), expected)


@pytest.fixture
def every_warning():
    """Torch gives most of its warnings once in the life of a process."""
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)


@pytest.mark.usefixtures("every_warning")
@pytest.mark.parametrize("blocks", [7, ([0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 11])], ids=["beside", "apart"])
def test_arrays_mapped_for_reading_are_loaded_without_a_warning(two_blocks, quick, blocks, tmp_path):
    fitted = DualBranchClassifier(**quick | {"blocks": blocks}).fit(*two_blocks)
    joblib.dump(fitted, tmp_path / "model.joblib")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
        assert isinstance(again.block_weights_, np.memmap)
        assert not again.block_weights_.flags.writeable
        assert_array_equal(again.predict_proba(two_blocks[0]), fitted.predict_proba(two_blocks[0]))
    assert all(index.flags.writeable for index in again.block_indices_)
