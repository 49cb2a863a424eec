import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_array_equal
from stored_rows import COLUMNS, STORED, SUBSET, N, P, chosen, data_set, of_rows, stored_as

from skdual.inputs import rows as module
from skdual.inputs.columns import ColumnBlocks
from skdual.inputs.rows import Rows

AT = np.array([3, 0, 3, 39, 17])


def assert_blocks(batch, dense):
    for block, index in zip(batch.blocks, COLUMNS.indices, strict=True):
        assert_array_equal(block.numpy(), dense[:, index])


@stored_as
@of_rows
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_fetch_gives_the_values_of_the_dense_rows(X, stored, subset, dtype, tmp_path):
    batch = data_set(stored(X, tmp_path), dtype, subset=subset).fetch(AT)
    assert {block.dtype for block in batch.blocks} == {dtype}
    assert_blocks(batch, chosen(X, subset)[AT].astype(str(dtype).removeprefix("torch.")))


@of_rows
def test_fetch_gives_target_and_numbers_of_the_rows(X, subset):
    y = np.arange(N) * 10
    batch = data_set(X, y=y, subset=subset).fetch(AT)
    assert_array_equal(batch.target.numpy(), chosen(y, subset)[AT])
    assert_array_equal(batch.index, AT)


@pytest.mark.parametrize(
    "index",
    [[0, 1], [3, 4, 5], [2], [5], [0, 2, 4], [4, 5, 3], [2, 1, 0], [0, 1, 2, 4], [1, 2, 2]],
    ids=str,
)
@pytest.mark.parametrize("other", [[5, 0], [1, 2, 3, 4]], ids=str)
def test_fetch_takes_the_columns_numpy_takes(X, index, other):
    for order in ((index, other), (other, index)):
        columns = ColumnBlocks(("a", "b"), tuple(map(np.array, order)))
        batch = Rows(X, columns, torch.device("cpu"), torch.float64).fetch(AT)
        for block, expected in zip(batch.blocks, order, strict=True):
            assert_array_equal(block.numpy(), X[np.ix_(AT, expected)])


def test_runs_of_columns_are_not_copied(X):
    def places(a, b):
        columns = ColumnBlocks(("a", "b"), (np.array(a), np.array(b)))
        blocks = Rows(X, columns, torch.device("cpu"), torch.float64).fetch(AT).blocks
        return [block.untyped_storage().data_ptr() for block in blocks]

    of_a, of_b = places([0, 1, 2], [3, 4, 5, 6])
    assert of_a == of_b  # two views of one tensor
    of_a, of_b = places([0, 2, 1], [3, 4, 5, 6])
    assert of_a != of_b


@of_rows
@pytest.mark.parametrize("store", [np.asarray, sp.csr_matrix])
def test_numbers_that_are_on_the_device_already_are_used(X, subset, store):
    y = np.arange(N) * 10
    rows = data_set(store(X), y=y, subset=subset)
    numbers, drawn = torch.from_numpy(AT.copy()), {"ones": (torch.ones(3),)}
    batch, alone = rows.fetch(AT, numbers, drawn), rows.fetch(AT)
    assert batch.device_index is numbers
    assert batch.drawn is drawn
    assert_array_equal(alone.device_index.numpy(), AT)
    assert len(alone.drawn) == 0
    assert_array_equal(batch.target, alone.target)
    assert_blocks(batch, chosen(X, subset)[AT])


class Spy:
    """A matrix that notes what it is asked for."""

    def take(self, rows, numbers):
        self.asked = rows, numbers
        return torch.zeros(len(rows), P)


@of_rows
def test_rows_come_from_the_matrix_that_is_given(X, subset):
    matrix = Spy()
    batch = data_set(X, subset=subset, matrix=matrix).fetch(AT)
    expected = np.arange(N) if subset is None else subset
    for asked in matrix.asked:  # by their numbers in the matrix
        assert_array_equal(np.asarray(asked), expected[AT])
    assert not any(block.any() for block in batch.blocks)
    assert_array_equal(batch.index, AT)


def test_a_batch_unpacks_to_inputs_and_target(X):
    batch = data_set(X, y=np.arange(N)).fetch(AT)
    blocks, target = batch
    assert blocks is batch.blocks
    assert target is batch.target


def test_without_y_there_is_no_target(X):
    assert data_set(X).fetch(AT).target is None


@of_rows
def test_the_length_is_the_number_of_rows(X, subset):
    assert len(data_set(sp.csr_matrix(X), subset=subset)) == len(chosen(X, subset))


@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csr_array])
def test_fetch_makes_nothing_dense_on_the_host(X, kind, monkeypatch):
    for name in ("toarray", "todense"):
        monkeypatch.setattr(kind, name, lambda *args, **kwargs: pytest.fail("densified"))
    assert_blocks(data_set(kind(X)).fetch(AT), X[AT])


@pytest.mark.parametrize("store", [np.asarray, np.asfortranarray, sp.csr_matrix])
def test_fetch_copies_its_rows_only(store):
    rows = data_set(store(np.ones((50_000, P))))
    tracemalloc.start()
    rows.fetch(AT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000  # bytes: less than a column, or an index of the rows


@pytest.mark.parametrize("n", [1, 15, 16, 17, 2500])
@pytest.mark.parametrize(("values", "most"), [(1, 16), (100 * P, 100), (2**24, 1024)])
def test_chunks_are_all_rows_once_in_order(n, values, most, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_VALUES", values)
    chunks = list(data_set(np.zeros((n, P))).chunks())
    assert_array_equal(np.concatenate(chunks), np.arange(n))
    assert max(map(len, chunks)) == min(n, most)


@pytest.mark.parametrize("n", [1, 15, 16, 17, 2000])
@pytest.mark.parametrize(("values", "most"), [(1, 16), (100 * P, 100), (2**24, 1024)])
def test_chunks_of_given_rows_are_these_in_their_order(n, values, most, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_VALUES", values)
    given = np.random.default_rng(0).permutation(2500)[:n]
    chunks = list(data_set(np.zeros((2500, P))).chunks(given))
    assert_array_equal(np.concatenate(chunks), given)
    assert max(map(len, chunks)) == min(n, most)


# rows that lie side by side in a file


def of_length(n, p, dtype, folder):
    """A matrix in a file, of zeros that take no room on the disk."""
    return np.lib.format.open_memmap(folder / "X.npy", mode="w+", dtype=dtype, shape=(n, p))


def mapped_csr(X, folder):
    X = sp.csr_matrix(X)
    parts = []
    for name in ("data", "indices", "indptr"):
        np.save(folder / f"{name}.npy", getattr(X, name))
        parts.append(np.load(folder / f"{name}.npy", mmap_mode="r"))
    return sp.csr_matrix(tuple(parts), shape=X.shape, copy=False)


@pytest.mark.parametrize(
    ("p", "dtype"), [(7, np.float64), (1000, np.float32), (2**18, np.float32), (2**19, np.float64)]
)
def test_a_mebibyte_of_rows_of_a_file_is_read_together(p, dtype, tmp_path):
    X = of_length(30, p, dtype, tmp_path)
    row_bytes = p * np.dtype(dtype).itemsize
    columns = ColumnBlocks(("a", "b"), (np.arange(1), np.arange(1, p)))
    for stored in (X, np.load(tmp_path / "X.npy", mmap_mode="r"), np.asarray(X), X.view(np.ndarray), X[:]):
        run_length = Rows(stored, columns, torch.device("cpu"), torch.float32).run_length
        assert run_length >= 1
        assert run_length == 1 or run_length * row_bytes <= 2**20
        assert (run_length + 1) * row_bytes > 2**20


def test_a_mebibyte_of_the_values_of_a_mapped_csr_matrix_is_read_together(X, tmp_path, monkeypatch):
    matrix = mapped_csr(X, tmp_path)
    monkeypatch.setattr(module, "_RUN_BYTES", -(-10 * matrix.data.nbytes // N))  # what 10 rows have on average
    assert data_set(matrix).run_length == 10
    monkeypatch.setattr(module, "_RUN_BYTES", 1)
    assert data_set(matrix).run_length == 1
    assert data_set(mapped_csr(np.zeros_like(X), tmp_path)).run_length >= 1  # no values


@pytest.mark.parametrize("stored", [STORED[name] for name in STORED if name != "memory-mapped"])
def test_rows_in_memory_are_read_one_by_one(X, stored, tmp_path):
    assert data_set(stored(X, tmp_path)).run_length == 1


def test_no_rows_make_no_chunk(X):
    assert list(data_set(X).chunks(np.zeros(0, dtype=np.int64))) == []


def test_chunks_number_the_rows_of_the_subset(X):
    assert_array_equal(np.concatenate(list(data_set(X, subset=SUBSET).chunks())), np.arange(len(SUBSET)))
