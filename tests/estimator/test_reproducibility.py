"""Seeds and threads."""

import copy
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from member_scores import model_of
from numpy.testing import assert_array_equal


def test_a_seed_fixes_the_result_and_leaves_global_random_state_alone(two_blocks, quick):
    X, y = two_blocks
    params = {"memory_bank_size": 16, "sampling": "class_aware", "early_stopping": True}

    def states():
        return torch.random.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002 - the global state is meant

    before = states()
    first, second = (model_of(quick, **params).fit(X, y) for _ in range(2))
    copy.deepcopy(first)
    assert states() == before
    assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    assert [e["train_loss"] for e in first.history_] == [e["train_loss"] for e in second.history_]
    other = model_of(quick, random_state=1, **params).fit(X, y)
    assert not np.allclose(first.predict_proba(X), other.predict_proba(X))


def test_without_a_seed_numpys_decides(two_blocks, quick):
    X, y = two_blocks
    probabilities = []
    for seed in (3, 3, 4):
        np.random.seed(seed)  # noqa: NPY002 - the legacy global state is what random_state=None reads
        probabilities.append(model_of(quick, random_state=None, max_epochs=1).fit(X, y).predict_proba(X))
    assert_array_equal(probabilities[0], probabilities[1])
    assert not np.allclose(probabilities[0], probabilities[2])


@pytest.mark.parametrize("beside", ["transform", "transform_branches", "predict_proba"])
def test_a_model_answers_in_threads_as_in_one(two_blocks, quick, beside):
    X, y = two_blocks
    model = model_of(quick, n_members=4).fit(X, y)
    expected = {name: np.hstack(getattr(model, name)(X)) for name in {"transform", beside}}
    with ThreadPoolExecutor(4) as threads:
        answers = threads.map(lambda name: (name, np.hstack(getattr(model, name)(X))), 60 * sorted(expected))
        for name, answer in answers:
            assert_array_equal(answer, expected[name])


def test_fits_in_threads_give_what_they_give_one_after_the_other(two_blocks, quick):
    X, y = two_blocks
    expected = [model_of(quick, random_state=seed).fit(X, y).predict_proba(X) for seed in range(4)]
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    with ThreadPoolExecutor(4) as threads:
        models = threads.map(lambda seed: model_of(quick, random_state=seed).fit(X, y), range(4))
        got = [model.predict_proba(X) for model in models]
    assert_array_equal(got, expected)
    assert torch.equal(torch.random.get_rng_state(), state)
