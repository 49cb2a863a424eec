"""How speed.py measures: shapes, sides of pairs, fresh processes and their peak memory."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from skorch.callbacks import Callback

from skdual import DualBranchClassifier
from skdual.defaults import WIDE_DROPOUT, WIDE_SIZES

ONE_MEMBER = {"n_members": 1, "batch_size": 256, "random_state": 0}
# columns of both blocks, and parameters
SMALL = (300, 300), ONE_MEMBER
FULL = (10_000, 3_000), {**ONE_MEMBER, "hidden_layer_sizes": WIDE_SIZES, "dropout": WIDE_DROPOUT}
QUICK = (1_000, 300), {**ONE_MEMBER, "hidden_layer_sizes": ((512, 256, 128, 64), (128, 64)), "dropout": WIDE_DROPOUT}


class Bench(NamedTuple):
    """What was asked for on the command line."""

    quick: bool
    data: Path | None
    device: str

    def pick(self, full, quick):
        return quick if self.quick else full

    @property
    def small(self):
        return self._here(*SMALL)

    @property
    def full(self):
        """The full widths, or smaller ones."""
        return self._here(*self.pick(FULL, QUICK))

    def _here(self, columns, params):
        return columns, {**params, "device": self.device}


def wait_for(device):
    """Until it has done what it was asked for."""
    if device != "cpu":
        getattr(torch, device).synchronize()


def waited(work, device):
    """The same work, which ends when the device has done it."""

    def waits(*arguments):
        result = work(*arguments)
        wait_for(device)
        return result

    return waits


def clocked(work, *arguments):
    """A side of a pair: does the work and gives the milliseconds that it took."""

    def side():
        start = time.perf_counter()
        work(*arguments)
        return 1e3 * (time.perf_counter() - start)

    return side


def pairs(side_a, side_b, n, warm_up=True):
    """Medians over ``n`` pairs of two functions that give milliseconds, which take turns after a warm-up each."""
    if warm_up:
        side_a(), side_b()
    times = np.array([(side_a(), side_b()) for _ in range(n)])
    a_ms, b_ms = np.median(times, axis=0)
    return {"ratio": np.median(times[:, 0] / times[:, 1]), "a_ms": a_ms, "b_ms": b_ms, "pairs": n}


def growth_of(sides):
    """Exponent of time in size, the slope in log-log axes, from a dict size -> side; the sides take turns."""
    times = np.array([[side() for side in sides.values()] for _ in range(4)])
    ms = np.median(times[1:], axis=0)
    return {"exponent": np.polyfit(np.log(list(sides)), np.log(ms), 1)[0], "sizes": list(sides), "ms": ms.tolist()}


class KeptCallback(Callback):
    """One that the estimator, which copies its callbacks, uses as it is, so that what it notes can be read."""

    def __copy__(self):
        return self


class StepTimer(KeptCallback):
    """Milliseconds of every training step of the latest fit, without the fetching of its rows."""

    def __init__(self, device):
        self.device = device

    def on_train_begin(self, net, **kwargs):
        self.ms = []

    def on_batch_begin(self, net, **kwargs):
        wait_for(self.device)
        self.start = time.perf_counter()

    def on_batch_end(self, net, **kwargs):
        wait_for(self.device)
        self.ms.append(1e3 * (time.perf_counter() - self.start))


def step_side(X, y, blocks, **params):
    """A side of a pair: fits two epochs and gives the median step of the second."""
    timer = StepTimer(params["device"])
    model = DualBranchClassifier(blocks, max_epochs=2, callbacks=[timer], **params)

    def side():
        model.fit(X, y)
        return float(np.median(timer.ms[len(timer.ms) // 2 :]))

    return side


def epoch_side(X, y, blocks, outside=None, **params):
    """A side of a pair: fits three epochs and gives the median of two; ``outside`` gets the rest of the fit."""
    model = DualBranchClassifier(blocks, max_epochs=3, **params)

    def side():
        total = clocked(model.fit, X, y)()
        epochs = [1e3 * epoch["duration"] for epoch in model.history_]
        if outside is not None:
            outside.append(total - sum(epochs))
        return float(np.median(epochs[1:]))

    return side


def python(code, **environment):
    """The last line that a fresh Python prints, read as JSON."""
    here = Path(__file__).resolve().parent  # on the path of the new process
    environment = {**os.environ, **environment}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=here, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def fresh(function, *arguments, **environment):
    """What a function of a file of this folder gives in a fresh process."""
    module = Path(function.__code__.co_filename).stem
    code = f"import json, {module}; print(json.dumps({module}.{function.__name__}(*{arguments!r})))"
    return python(code, **environment)


def peak_mb(work, *arguments):
    """MB by which the resident memory of this process rises at most while the work is done."""

    def high_water():
        return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024

    # ru_maxrss would start at the peak of the process that started this one, and hide what is less
    Path("/proc/self/clear_refs").write_text("5")
    before = high_water()
    work(*arguments)
    return high_water() - before


def sample(n_rows, columns, n_classes=20):
    """Noise and labels: no time here depends on what there is to learn."""
    X = np.random.default_rng(0).standard_normal((n_rows, sum(columns)), dtype=np.float32)
    return X, np.arange(n_rows) % n_classes


def tiny_fit():
    """Load what torch imports at the first training step of a process, which belongs to no measurement."""
    DualBranchClassifier(4, max_epochs=1, device="cpu").fit(*sample(40, (4, 4)))


def sparse_sample(n_rows, columns):
    """The same as CSR, with one value in each run of 20 columns: 5 per cent."""
    rng = np.random.default_rng(0)
    runs = np.arange(0, sum(columns), 20, dtype=np.int32)
    indices = (runs + rng.integers(20, size=(n_rows, len(runs)), dtype=np.int32)).ravel()
    data = rng.standard_exponential(len(indices), dtype=np.float32)
    indptr = np.arange(n_rows + 1, dtype=np.int32) * len(runs)
    return sp.csr_matrix((data, indices, indptr), shape=(n_rows, sum(columns))), np.arange(n_rows) % 20
