"""Rows as dense tensors, from the host and from a device that holds them all."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
import standin_device
import torch
from numpy.testing import assert_array_equal

from skdual.inputs import matrices
from skdual.inputs.matrices import RESIDENT_SHARE, HostMatrix, ResidentCSR, ResidentDense, matrix_for_training

N, P = 40, 6
DEVICES = [torch.device("cpu"), standin_device.DEVICE]
EMPTY = [0, 17, 18, N - 1]


@pytest.fixture(name="X", params=[np.float32, np.float64], ids=lambda dtype: dtype.__name__)
def matrix(request):
    """Half zeros, with rows and a column of nothing else; every other value is another number, exact in float32."""
    X = np.arange(1.0, N * P + 1).reshape(N, P) / 8
    X[np.random.default_rng(0).random((N, P)) < 0.5] = 0
    X[EMPTY], X[:, 2] = 0, 0
    return X.astype(request.param)


def read_only(*arrays):
    for array in arrays:
        array.flags.writeable = False
    return arrays


def mapped(folder, *arrays):
    for number, array in enumerate(arrays):
        np.save(folder / f"{number}.npy", array)
    return [np.load(folder / f"{number}.npy", mmap_mode="r") for number in range(len(arrays))]


def csr(data, indices, indptr):
    return sp.csr_matrix((data, indices, indptr), shape=(N, P), copy=False)


def parts(X):
    X = sp.csr_matrix(X)
    return X.data, X.indices, X.indptr


def int64_indices(X, folder):
    X = sp.csr_matrix(X)
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


def unsorted(X, folder):
    """The values of every row from the last to the first."""
    X = sp.csr_matrix(X)
    turned = np.concatenate(
        [np.arange(stop, start, -1) - 1 for start, stop in zip(X.indptr, X.indptr[1:], strict=False)]
    )
    return csr(X.data[turned], X.indices[turned], X.indptr)


def twice(X, folder):
    """Every value as a quarter and three quarters of it, which lie apart."""
    data = np.concatenate([X / 4, X * 3 / 4], axis=1).ravel()
    return csr(data, np.tile(np.arange(P), 2 * N), np.arange(0, 2 * N * P + 1, 2 * P))


STORED = {
    "C": lambda X, folder: X,
    "F": lambda X, folder: np.asfortranarray(X),
    "from the last row": lambda X, folder: np.ascontiguousarray(X[::-1])[::-1],
    "from the last column": lambda X, folder: np.ascontiguousarray(X[:, ::-1])[:, ::-1],
    "strided": lambda X, folder: np.repeat(X, 2, axis=1)[:, ::2],
    "read-only": lambda X, folder: read_only(X.copy())[0],
    "memory-mapped": lambda X, folder: mapped(folder, X)[0],
    "csr": lambda X, folder: sp.csr_matrix(X),
    "csr array": lambda X, folder: sp.csr_array(X),
    "csr of int64 indices": int64_indices,
    "csr, unsorted": unsorted,
    "csr with zeros": lambda X, folder: csr(X.ravel(), np.tile(np.arange(P), N), np.arange(0, N * P + 1, P)),
    "csr with duplicates": twice,
    "csr, read-only": lambda X, folder: csr(*read_only(*parts(X))),
    "csr, memory-mapped": lambda X, folder: csr(*mapped(folder, *parts(X))),
}
stored_as = pytest.mark.parametrize("stored", STORED.values(), ids=STORED.keys())
on_each = pytest.mark.parametrize("device", DEVICES, ids=str)
ROWS = {
    "any": [3, 38, 4, 20],
    "repeated": [3, 0, 3, 39, 3],
    "empty": EMPTY,
    "one": [5],
    "one, empty": [17],
    "all": range(N),
    "none": [],
}


def resident(X, device, dtype):
    return (ResidentCSR if sp.issparse(X) else ResidentDense)(X, device, dtype)


def taken(matrix, rows, device):
    rows = np.array(rows, dtype=np.int64)
    return matrix.take(rows, torch.from_numpy(rows).to(device))


@stored_as
@on_each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_rows_of_a_stored_matrix_are_those_of_the_dense_one(X, stored, device, dtype, tmp_path):
    X_stored = stored(X, tmp_path)
    for matrix in (HostMatrix(X_stored, device, dtype), resident(X_stored, device, dtype)):
        for rows in ROWS.values():
            got = taken(matrix, rows, device)
            assert (got.dtype, got.device, got.shape) == (dtype, device, (len(rows), P))
            assert_array_equal(got.cpu().numpy(), X[list(rows)].reshape(len(rows), P))


@on_each
@pytest.mark.parametrize("values", [1, 7, P, 5 * P, N * P])
@pytest.mark.parametrize("store", [np.asarray, sp.csr_matrix])
def test_a_matrix_that_is_sent_in_parts_arrives_as_a_whole(X, store, device, values, monkeypatch):
    monkeypatch.setattr(matrices, "_COPIED_VALUES", values)
    assert_array_equal(taken(resident(store(X), device, torch.float32), range(N), device).cpu(), X)


@on_each
def test_a_matrix_without_values(device):
    X = sp.csr_matrix((N, P), dtype=np.float32)
    for matrix in (HostMatrix(X, device, torch.float32), resident(X, device, torch.float32)):
        assert_array_equal(taken(matrix, [4, 4, 0], device).cpu(), np.zeros((3, P)))


@pytest.mark.parametrize("store", [np.asarray, np.asfortranarray, sp.csr_matrix])
def test_no_more_than_a_part_is_copied_on_the_host_at_a_time(store, monkeypatch):
    monkeypatch.setattr(matrices, "_COPIED_VALUES", 5000)
    X = store(np.ones((50_000, P)))  # 2.4 MB of values
    resident(X[:2], standin_device.DEVICE, torch.float32)  # what the first use brings in is not counted
    tracemalloc.start()
    resident(X, standin_device.DEVICE, torch.float32)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300_000


@pytest.mark.parametrize("store", [np.asarray, sp.csr_matrix])
def test_the_matrix_on_the_device_is_a_copy(X, store):
    device, dtype = standin_device.DEVICE, torch.float32 if X.dtype == np.float32 else torch.float64
    matrix = store(X.copy())
    there = resident(matrix, device, dtype)
    (matrix.data if sp.issparse(matrix) else matrix)[:] = -1
    assert_array_equal(taken(there, range(N), device).cpu(), X)


@stored_as
def test_rows_of_a_matrix_on_the_device_cross_no_bus(X, stored, tmp_path):
    matrix = resident(stored(X, tmp_path), standin_device.DEVICE, torch.float32)
    for rows in ROWS.values():
        rows = np.array(rows, dtype=np.int64)
        numbers = torch.from_numpy(rows).to(standin_device.DEVICE)
        with standin_device.traffic() as seen:
            matrix.take(rows, numbers)
        assert seen == {}


def test_rows_that_lie_side_by_side_are_not_copied_on_the_host(X):
    dtype = torch.from_numpy(X).dtype
    matrix = HostMatrix(X, torch.device("cpu"), dtype)
    for rows, shared in ((range(3, 9), True), ([7], True), ([3, 5, 4], False), ([3, 3], False), ([], False)):
        got = taken(matrix, rows, "cpu")
        assert_array_equal(got, X[list(rows)])
        assert np.shares_memory(got.numpy(), X) == shared


def test_what_crosses_the_bus_for_rows_of_the_host():
    X = np.eye(200, dtype=np.float64)[:, :100]
    rows = np.arange(50)
    for store, n_bytes in (
        (np.asarray, 50 * 100 * 4),
        (sp.csr_matrix, 50 * (8 + 4)),
    ):  # values; a place and a value each
        matrix = HostMatrix(store(X), standin_device.DEVICE, torch.float32)
        with standin_device.traffic() as seen:
            matrix.take(rows, torch.from_numpy(rows))
        assert seen["bytes_to_device"] == n_bytes
        assert seen["sync"] == seen["to_host"] == 0


# where the rows are kept


def n_bytes(X, dtype):
    """What the device holds: values, or the values of those that are stored, their columns and where rows begin."""
    size = {torch.float32: 4, torch.float64: 8}[dtype]
    if not sp.issparse(X):
        return X.shape[0] * X.shape[1] * size
    stored = sum(len(row) for row in np.split(X.indices, X.indptr[1:-1]))
    return stored * size + stored * (8 if X.indices.dtype == np.int64 else 4) + 8 * (X.shape[0] + 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("store", [np.asarray, sp.csr_matrix, lambda X: int64_indices(X, None)])
@pytest.mark.parametrize("share", [RESIDENT_SHARE, 0.1, 0])
def test_rows_stay_on_a_device_that_has_the_memory(X, store, dtype, share, monkeypatch):
    X = store(X)
    monkeypatch.setattr(matrices, "RESIDENT_SHARE", share)
    enough = int(np.ceil(n_bytes(X, dtype) / share)) if share else 2**60
    for free, fits in ((enough, bool(share)), (enough + 1, bool(share)), (enough - 20, False), (0, False)):
        monkeypatch.setattr(torch.standin, "mem_get_info", lambda device=None, free=free: (free, 2**62))
        matrix = matrix_for_training(X, standin_device.DEVICE, dtype)
        there = ResidentCSR if sp.issparse(X) else ResidentDense
        assert type(matrix) is (there if fits else HostMatrix)


def test_the_bytes_counted_are_those_that_are_sent(X):
    for store in (np.asarray, sp.csr_matrix, lambda X: int64_indices(X, None)):
        matrix = store(X)
        with standin_device.traffic() as seen:
            matrix_for_training(matrix, standin_device.DEVICE, torch.float32)
        # row starts are int64 when they have landed; they are cast before they are sent
        assert seen["bytes_to_device"] == n_bytes(matrix, torch.float32)


@pytest.mark.parametrize("store", [np.asarray, sp.csr_matrix])
def test_on_the_cpu_rows_stay_where_they_are(X, store):
    assert type(matrix_for_training(store(X), torch.device("cpu"), torch.float32)) is HostMatrix


def test_a_device_that_cannot_say_what_is_free_gets_no_rows_to_keep(X, monkeypatch):
    monkeypatch.setattr(matrices, "free_memory", lambda device: None)
    assert type(matrix_for_training(X, standin_device.DEVICE, torch.float32)) is HostMatrix
