"""X in a file: the model is that of X in memory, which X is never copied to."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal
from skorch.callbacks import Callback

from skdual import DualBranchClassifier


def dense(X, folder):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


def csr(X, folder):
    X = sp.csr_matrix(X)
    for name in ("data", "indices", "indptr"):
        np.save(folder / f"{name}.npy", getattr(X, name))
    parts = tuple(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("data", "indices", "indptr"))
    return sp.csr_matrix(parts, shape=X.shape, copy=False)


of_each_kind = pytest.mark.parametrize("mapped", [dense, csr])
VARIANTS = {"default": {}, "early stopping": {"early_stopping": True}, "class-aware": {"sampling": "class_aware"}}
of_each_variant = pytest.mark.parametrize("params", VARIANTS.values(), ids=VARIANTS.keys())


class Orders(Callback):
    """Notes the rows of every epoch, in their order."""

    def __init__(self):
        self.epochs = []

    def on_epoch_begin(self, net, **kwargs):
        self.epochs.append([])

    def on_batch_begin(self, net, batch, training, **kwargs):
        if training:
            self.epochs[-1].extend(batch.index)


@of_each_kind
@of_each_variant
def test_a_small_file_gives_the_model_of_the_matrix_in_memory(two_blocks, quick, mapped, params, tmp_path):
    X, y = two_blocks
    X = np.where(np.abs(X) < 1.5, 0, X)
    from_memory = DualBranchClassifier(**(quick | params)).fit(X, y)
    in_file = mapped(X, tmp_path)
    from_file = DualBranchClassifier(**(quick | params)).fit(in_file, y)
    for method in ("predict_proba", "transform"):
        assert_array_equal(getattr(from_file, method)(in_file), getattr(from_memory, method)(X))


@pytest.fixture
def runs_of_5(monkeypatch):
    """Runs of 5 rows of ``two_blocks``, of which 4 are mixed with each other."""
    monkeypatch.setattr("skdual.inputs.rows._RUN_BYTES", 5 * 12 * 4)
    monkeypatch.setattr("skdual.inputs.batches.RUNS_MIXED", 4)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_rows_of_a_large_file_are_read_in_runs(two_blocks, quick, early_stopping, tmp_path, runs_of_5):
    X, y = two_blocks
    plain, in_runs = Orders(), Orders()
    params = quick | {"max_epochs": 40, "early_stopping": early_stopping, "validation_fraction": 0.2, "patience": 40}
    for data, orders in ((X, plain), (dense(X, tmp_path), in_runs)):
        model = DualBranchClassifier(**params, callbacks=[orders]).fit(data, y)
    n_train = 120 if early_stopping else 150
    for orders, few in ((plain, False), (in_runs, True)):
        assert len(orders.epochs) == 40
        for rows in orders.epochs:
            assert sorted(rows) == list(range(n_train))
            windows = [set(np.array(rows[start : start + 20]) // 5) for start in range(0, n_train - 19, 20)]
            assert (max(map(len, windows)) == 4) == few
    assert len({tuple(rows) for rows in in_runs.epochs}) == 40
    assert model.score(X, y) > 0.95


def test_class_aware_batches_of_a_large_file_are_what_they_are_in_memory(two_blocks, quick, tmp_path, runs_of_5):
    X, y = two_blocks
    models = [DualBranchClassifier(sampling="class_aware", **quick).fit(data, y) for data in (X, dense(X, tmp_path))]
    assert_array_equal(*(model.predict_proba(X) for model in models))


@of_each_kind
def test_nothing_is_written_to_the_file(two_blocks, quick, mapped, tmp_path):
    X, y = two_blocks
    in_file = mapped(X, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    DualBranchClassifier(**quick).fit(in_file, y).predict(in_file)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# more than fits into memory

N_ROWS, N_COLUMNS = 192_000, 2_000
PART = 4_000
LOAD = {
    "dense": "X = np.load('X.npy', mmap_mode='r')\nsize = X.nbytes",
    "csr": """
parts = [np.load(name + '.npy', mmap_mode='r') for name in ('data', 'indices', 'indptr')]
X = sp.csr_matrix(tuple(parts), shape=(len(parts[2]) - 1, 2_000), copy=False)
size = parts[0].nbytes + parts[1].nbytes""",
}
FIT = """
import resource
import numpy as np
import scipy.sparse as sp
from skdual import DualBranchClassifier

def refuses(copy):
    try:
        copy()
    except MemoryError:
        return True
    return False

{load}
assert size > 1.5e9, size
y = np.load('y.npy')
model = DualBranchClassifier(
    1_000, n_members=1, hidden_layer_sizes=((8,), (4,)), projection_dim=8, max_epochs=1, device='cpu', random_state=0
)
few = X[:600].copy()
model.fit(few, y[:600]).predict(few)  # so that all is imported
with open('/proc/self/status') as status:
    in_use = next(int(line.split()[1]) * 1024 for line in status if line.startswith('VmData'))
limit = in_use + 400 * 2**20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
assert refuses(lambda: np.array(X) if isinstance(X, np.ndarray) else X.copy())
assert refuses(lambda: np.empty(size // 3, dtype=np.uint8))
assert not refuses(lambda: X[:600].copy())

model.fit(X, y)
labels = model.predict(X)
assert refuses(lambda: np.empty(size // 3, dtype=np.uint8))
assert len(labels) == len(y)
assert np.mean(labels == y) > 0.95, np.mean(labels == y)
assert np.array_equal(labels[:600], model.predict(few))
"""


def write_dense(folder, part):
    X = np.lib.format.open_memmap(folder / "X.npy", "w+", np.float32, (N_ROWS, N_COLUMNS))
    for start in range(0, N_ROWS, PART):
        X[start : start + PART] = part


def write_csr(folder, part):
    """Every other value: the even columns of even rows, and the odd ones of the others."""
    n_values = N_COLUMNS // 2
    columns = np.arange(0, N_COLUMNS, 2, dtype=np.int32) + np.arange(PART, dtype=np.int32)[:, None] % 2
    shapes = {"data": (np.float32, N_ROWS * n_values), "indices": (np.int32, N_ROWS * n_values)}
    for name, values in (("data", np.take_along_axis(part, columns.astype(np.int64), axis=1)), ("indices", columns)):
        dtype, length = shapes[name]
        stored = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, (length,))
        for start in range(0, length, PART * n_values):
            stored[start : start + PART * n_values] = values.ravel()
    np.save(folder / "indptr.npy", np.arange(0, N_ROWS * n_values + 1, n_values, dtype=np.int32))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA has to count all private memory, as on Linux")
@pytest.mark.parametrize(("kind", "write"), [("dense", write_dense), ("csr", write_csr)], ids=["dense", "csr"])
def test_x_is_not_copied_to_memory(kind, write, tmp_path):
    """1.5 GB of values are fitted and predicted by a process that may have 0.4 GB beside its libraries."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, PART)
    part = (
        rng.standard_normal((PART, N_COLUMNS), dtype=np.float32)
        + np.eye(3, dtype=np.float32)[codes][:, rng.integers(0, 3, N_COLUMNS)]
    )
    try:
        write(tmp_path, part)
        np.save(tmp_path / "y.npy", np.tile(codes, N_ROWS // PART))
        code = textwrap.dedent(FIT).format(load=LOAD[kind])
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    finally:
        for path in tmp_path.glob("*.npy"):  # pytest would keep them for three runs
            path.unlink()
