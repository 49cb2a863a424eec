import weakref

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from small_memory import OUT_OF_MEMORY, SmallMemory

from skdual import DualBranchClassifier
from skdual.inference import in_chunks, run_in_chunks
from skdual.inputs.columns import ColumnBlocks
from skdual.inputs.rows import Rows
from skdual.network import DualBranchNetwork


@pytest.fixture(scope="module")
def network(two_blocks, quick):
    return DualBranchClassifier(**quick).fit(*two_blocks).network_


@pytest.fixture
def rows(two_blocks):
    columns = ColumnBlocks(("a", "b"), (np.arange(7), np.arange(7, 12)))
    return Rows(two_blocks[0], columns, torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("method", ["scores", "group_scores", "embed", "projection_error", "encode"])
def test_chunks_give_what_the_whole_gives(network, rows, two_blocks, method, monkeypatch):
    x = torch.from_numpy(two_blocks[0])
    with torch.no_grad():
        whole = getattr(network.eval(), method)(x[:, :7], x[:, 7:])
    monkeypatch.setattr("skdual.inputs.rows.CHUNK_VALUES", 1)
    assert len(list(rows.chunks())) > 1
    network.train()  # dropout must be off all the same
    chunked = run_in_chunks(network, method, rows)
    whole, chunked = ((r,) if method != "encode" else r for r in (whole, chunked))
    for expected, got in zip(whole, chunked, strict=True):
        assert_allclose(got, expected.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("numbers", [None, np.array([3, 149, 3, 20, 77, 8, 9])], ids=["all rows", "some"])
def test_every_chunk_comes_with_the_numbers_of_its_rows(rows, two_blocks, numbers, monkeypatch):
    monkeypatch.setattr("skdual.inputs.rows.CHUNK_VALUES", 1)
    seen = []
    for chunk, (a, b) in in_chunks(lambda x_a, x_b: (x_a, x_b), rows, numbers):
        assert_array_equal(np.hstack([a, b]), two_blocks[0][chunk])
        seen.extend(chunk)
    assert_array_equal(seen, range(150) if numbers is None else numbers)


def test_results_are_not_held_twice(network, rows, monkeypatch):
    """Each chunk's are let go once they are where they belong."""
    monkeypatch.setattr("skdual.inputs.rows.CHUNK_VALUES", 1)
    arrays, alive = [], []

    def noted(*arguments):
        for chunk, results in in_chunks(*arguments):
            alive.append(sum(array() is not None for array in arrays))
            arrays.append(weakref.ref(results[0]))
            yield chunk, results

    monkeypatch.setattr("skdual.inference.in_chunks", noted)
    assert len(run_in_chunks(network, "scores", rows)) == 150
    assert len(alive) > 3
    assert max(alive) <= 1  # that of the chunk before


# a device that runs out of memory

out_of_memory = pytest.mark.parametrize("error", OUT_OF_MEMORY.values(), ids=OUT_OF_MEMORY.keys())


@out_of_memory
@pytest.mark.parametrize("method", ["scores", "encode"])
def test_without_memory_for_a_chunk_it_is_halved(network, rows, method, error, monkeypatch):
    expected = run_in_chunks(network, method, rows)
    small = SmallMemory(monkeypatch, method, 40, error)
    got = run_in_chunks(network, method, rows)
    assert small.n_rows == [150, 75, 37, 37, 37, 37, 2]
    assert type(got) is type(expected)
    for ours, theirs in zip(*((r,) if method != "encode" else r for r in (got, expected)), strict=True):
        assert ours.shape == theirs.shape
        assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("most", "first"), [(16, [16]), (15, [16, 8, 8]), (5, [16, 8, 4, 4, 4, 4]), (1, [16, 8, 4, 2] + 16 * [1])]
)
def test_later_chunks_are_of_the_size_that_was_found(network, rows, most, first, monkeypatch):
    monkeypatch.setattr("skdual.inputs.rows.CHUNK_VALUES", 1)  # chunks of 16 rows, and a last one of 6
    expected = run_in_chunks(network, "scores", rows)
    small = SmallMemory(monkeypatch, "scores", most, OUT_OF_MEMORY["torch's"])
    assert_allclose(run_in_chunks(network, "scores", rows), expected, rtol=1e-5, atol=1e-6)
    size = first[-1]
    last = [size] * (6 // size) + [6 % size] * (6 % size > 0)
    assert small.n_rows == first + 8 * [size] * (16 // size) + last


def test_without_memory_for_the_rows_themselves_the_chunk_is_halved_too(network, rows, monkeypatch):
    expected = run_in_chunks(network, "scores", rows)
    original, n_rows = Rows.fetch, []

    def fetch(data_set, numbers):
        n_rows.append(len(numbers))
        if len(numbers) > 75:
            raise OUT_OF_MEMORY["torch's"]
        return original(data_set, numbers)

    monkeypatch.setattr(Rows, "fetch", fetch)
    assert_allclose(run_in_chunks(network, "scores", rows), expected, rtol=1e-5, atol=1e-6)
    assert n_rows == [150, 75, 75]


@out_of_memory
def test_one_row_that_is_too_much_is_an_error(network, rows, error, monkeypatch):
    small = SmallMemory(monkeypatch, "scores", 0, error)
    with pytest.raises(type(error), match="out of memory"):
        run_in_chunks(network, "scores", rows)
    assert small.n_rows == [150, 75, 37, 18, 9, 4, 2, 1]


@pytest.mark.parametrize("error", [RuntimeError("shapes cannot be multiplied"), ValueError("out of memory")], ids=str)
def test_what_is_no_lack_of_memory_is_raised_at_once(network, rows, error, monkeypatch):
    small = SmallMemory(monkeypatch, "scores", 40, error)
    with pytest.raises(type(error), match=str(error)):
        run_in_chunks(network, "scores", rows)
    assert small.n_rows == [150]


def test_nothing_of_a_failed_chunk_is_kept_while_the_next_is_tried(network, rows, monkeypatch):
    """Else its tensors would leave no memory for the smaller one."""
    kept, original = [], DualBranchNetwork.scores

    def limited(network, x_a, x_b):
        assert [tensor for tensor in kept if tensor() is not None] == []
        if len(x_a) > 40:
            kept.append(weakref.ref(x_a))
            raise torch.OutOfMemoryError("out of memory")  # a new one: the traceback of one that is kept keeps x_a
        return original(network, x_a, x_b)

    monkeypatch.setattr(DualBranchNetwork, "scores", limited)
    run_in_chunks(network, "scores", rows)
    assert len(kept) == 2


def test_no_graph_is_kept(network, rows):
    seen = []
    handle = network.fusion.register_forward_hook(lambda module, inputs, output: seen.append(output.requires_grad))
    run_in_chunks(network, "scores", rows)
    handle.remove()
    assert seen
    assert not any(seen)
