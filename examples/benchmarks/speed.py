"""Speed and memory of the estimator, beside the plainest code that does the same and beside its peers.

Run: python examples/benchmarks/speed.py [--quick] [--only NAME] [--device cuda] [--data FOLDER] [--output FILE]

Every row is one function below, or of race.py. Its two sides take turns in one process (A B A B ...) after a warm-up
each, so that both meet the same machine; those of peers, which take minutes, run once on each draw of the data. a_ms
and b_ms are medians, ratio is the median over the pairs of A's time over B's. Each result is printed as a line of
JSON and, with --output, added to FILE. Peak memory is how far the resident memory of a fresh process rises while the
work is done, in MB of 2**20 bytes; it is read where Linux tells it.

--quick takes fewer pairs and smaller shapes, which show that all runs, not how fast. --data is a folder of sets as for
accuracy.py, for what lower precision does to accuracy. --device (cpu by default) is where both sides of the rows loop,
fusion, head, contrastive, predict, sparse, precision and growth compute; a clock is read when the device has done its
work. Peak memory, peers, search and iris are of the CPU, and left out elsewhere. The rows contrastive and peers need
pip install ".[benchmarks,test]".
"""

import argparse
import copy
import json
import math
import os
import tempfile
import time
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import scipy.sparse as sp
import torch
from accuracy import read, splits_of
from measuring import (
    Bench,
    clocked,
    epoch_side,
    fresh,
    growth_of,
    pairs,
    peak_mb,
    python,
    sample,
    sparse_sample,
    step_side,
    tiny_fit,
    waited,
)
from race import peers
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, ShuffleSplit
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from skdual import DualBranchClassifier
from skdual.datasets import load_htad
from skdual.inputs.columns import ColumnBlocks
from skdual.inputs.rows import Rows
from skdual.losses.contrastive import contrastive_loss
from skdual.network.heads import SubspaceHead
from skdual.training.held_out import training_mask
from skdual.training.loop.mixup import MIXED_SHARE, Mixing
from skdual.training.loop.schedule import WarmupCosine

IN_COLUMNS = 5_200  # rows of full width that are too many for a dense copy, and so not trained in their span
BFLOAT16_UNITS = ("avx512_bf16", "amx_bf16")


def loop(bench):
    """An epoch of fit (A) against one of a hand-written loop over the same network, losses and batches (B)."""
    yield {"name": "loop small", **beside_loop(bench.pick(20_000, 2_048), *bench.small, bench.pick(5, 3))}
    yield {"name": "loop full", **beside_loop(bench.pick(4_096, 1_024), *bench.full, bench.pick(5, 3))}


def beside_loop(n_rows, columns, params, n_pairs):
    X, y = sample(n_rows, columns)
    model = DualBranchClassifier(columns[0], max_epochs=1, **params).fit(X, y)
    trained = training_mask(1, y)[0]  # without the rows that our member holds out
    blocks = X[trained, : columns[0]], X[trained, columns[0] :], y[trained]
    on_device = [torch.from_numpy(block.copy()).to(params["device"]) for block in blocks]
    by_hand = partial(hand_written, model.network_, model.net_.criterion_, *on_device)
    outside = []
    result = pairs(epoch_side(X, y, columns[0], outside, **params), by_hand, n_pairs)
    return {**result, "a_outside_epochs_ms": np.median(outside)}


def hand_written(network, criterion, a, b, y, n_epochs=3, batch_size=256):
    """Milliseconds of an epoch of the loop that an expert would write for one member."""
    network = copy.deepcopy(network).train()
    matrices = [parameter for parameter in network.parameters() if parameter.ndim == 3]
    others = [parameter for parameter in network.parameters() if parameter.ndim != 3]
    groups = [{"params": matrices, "weight_decay": 1e-2}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=2e-3, fused=True)
    schedule = LambdaLR(optimizer, WarmupCosine(n_epochs * math.ceil(len(y) / batch_size), 0.1))
    rng = np.random.default_rng(0)
    epochs = []
    for _ in range(n_epochs):
        start = time.perf_counter()
        total = torch.zeros((), device=y.device)
        share = rng.beta(0.4, 0.4, len(y))
        weights = np.where(rng.random(len(y)) < MIXED_SHARE, np.maximum(share, 1 - share), 1.0).astype(np.float32)
        weights = torch.from_numpy(weights).to(y.device)[:, None].split(batch_size)
        for rows, weight in zip(torch.randperm(len(y), device=y.device).split(batch_size), weights, strict=True):
            target, mixing = y[rows], Mixing(torch.randperm(len(rows), device=y.device), weight)
            optimizer.zero_grad(set_to_none=True)
            scores, pair, gram = network(a[rows], b[rows], mixing)
            loss = criterion(scores, target, criterion.class_weight, mixing, None, pair, target, None, gram)["loss"]
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.detach() * len(rows)
        total.item()
        epochs.append(1e3 * (time.perf_counter() - start))
    return float(np.median(epochs[1:]))


def fusion(bench):
    """A training step with attention fusion (A) against the same with concatenation (B), full widths."""
    columns, params = bench.full
    X, y = sample(bench.pick(IN_COLUMNS, 512), columns)
    sides = [step_side(X, y, columns[0], fusion=kind, **params) for kind in ("attention", "concat")]
    yield {"name": "fusion", **pairs(*sides, bench.pick(5, 3))}


def head(bench):
    """Scores of the subspace head (A) against the form that builds the projection matrices (B); 256 rows, d = 512."""
    sides = [clocked(head_scores(form, 50, device=bench.device)) for form in ("ours", "projections")]
    peaks = {}
    if bench.device == "cpu":
        peaks = {f"{side}_peak_mb": fresh(head_peak, form, 50) for side, form in (("a", "ours"), ("b", "projections"))}
    yield {"name": "head", **pairs(*sides, bench.pick(21, 5)), **peaks}
    side = clocked(head_scores("ours", 1_000, device=bench.device))
    a_ms = np.median([side() for _ in range(bench.pick(21, 5))])
    peaks = {"a_peak_mb": fresh(head_peak, "ours", 1_000)} if bench.device == "cpu" else {}
    yield {"name": "head, 1,000 classes", "a_ms": a_ms, **peaks}


def head_scores(form, n_classes, n_rows=256, device="cpu"):
    """A function that scores rows in one of the two forms."""
    module = SubspaceHead(1, 512, n_classes, 4).to(device)
    z = torch.randn(1, n_rows, 512, device=device)

    def with_projections():
        unit = F.normalize(torch.cat([F.normalize(z[0], dim=-1), torch.ones_like(z[0, :, :1])], dim=-1), dim=-1)
        bases = module.bases[0]
        projected = torch.einsum("bd,cde->bce", unit, bases.mT @ bases)
        return -module.log_scale.exp() * (unit[:, None] - projected).square().sum(dim=-1)

    return waited(torch.no_grad()(partial(module, z) if form == "ours" else with_projections), device)


def head_peak(form, n_classes):
    head_scores(form, 2, n_rows=8)()  # so that libraries are loaded
    return peak_mb(head_scores(form, n_classes))


def contrastive(bench):
    """Loss and gradient (A) against pytorch-metric-learning's (B); a step with a memory bank (A) against none (B)."""
    from pytorch_metric_learning.losses import SupConLoss

    def gradient(loss, views, ids):
        return torch.autograd.grad(loss(views, ids), views)

    for n_rows in (256, 1_024):
        views = F.normalize(torch.randn(2 * n_rows, 128, device=bench.device), dim=-1).requires_grad_()
        ids = torch.arange(2 * n_rows, device=bench.device) % 20
        losses = (lambda views, ids: contrastive_loss(views, ids, 0.1).mean(), SupConLoss(temperature=0.1))
        sides = [clocked(waited(gradient, bench.device), loss, views, ids) for loss in losses]
        yield {"name": f"contrastive loss, batch {n_rows}", **pairs(*sides, bench.pick(15, 5))}
    (columns, params), bank = bench.full, bench.pick(4_096, 1_024)
    n_rows = bench.pick(IN_COLUMNS, bank // 2 + 512)  # two slots a row, and the batch's own are not drawn
    X, y = sample(n_rows, columns)
    sides = [step_side(X, y, columns[0], memory_bank_size=size, **params) for size in (bank, 0)]
    yield {"name": f"contrastive step, bank {bank}", **pairs(*sides, bench.pick(5, 3))}


def predict(bench):
    """The estimator's methods (A) against the bare network over the same chunks of rows (B)."""
    yield from beside_network("small", bench.pick(20_000, 5_000), *bench.small, bench.pick(7, 3))
    yield from beside_network("full", bench.pick(8_192, 2_048), *bench.full, bench.pick(7, 3))


def beside_network(size, n_rows, columns, params, n_pairs):
    X, y = sample(n_rows, columns)
    model = DualBranchClassifier(columns[0], max_epochs=1, **params).fit(X[:512], y[:512])
    rows = Rows(X, ColumnBlocks(model.block_names_, model.block_indices_), model.device_, torch.float32)
    parts = [torch.from_numpy(X[chunk[0] : chunk[-1] + 1]).split(columns, dim=1) for chunk in rows.chunks()]

    def bare(method):
        with torch.no_grad():
            outputs = [method(*(block.to(model.device_) for block in part)) for part in parts]
            return [(output[0] if isinstance(output, tuple) else output).cpu() for output in outputs]

    # forward is the scores by both blocks and the projections; scores and embed are what the two methods need
    for method, own in (("predict_proba", "scores"), ("transform", "embed")):
        for name in ("forward", own):
            sides = clocked(getattr(model, method), X), clocked(bare, getattr(model.network_, name))
            yield {"name": f"predict {size}, {method} / {name}", **pairs(*sides, n_pairs)}


def sparse(bench):
    """An epoch on CSR (A) against the same rows dense in memory (B); and the peak memory of many CSR rows."""
    columns, params = bench.full
    X, y = sparse_sample(bench.pick(2_048, 1_024), columns)
    sides = [epoch_side(rows, y, columns[0], **params) for rows in (X, X.toarray())]
    yield {"name": "sparse epoch", **pairs(*sides, bench.pick(5, 3))}
    if bench.device != "cpu":
        return
    n_rows = bench.pick(50_000, 2_000)
    with tempfile.TemporaryDirectory() as folder:
        fresh(save_sparse, folder, n_rows, columns)
        result = {**fresh(fit_peak, folder, columns, params), **fresh(predict_peak, folder, columns)}
    yield {"name": f"sparse memory, {n_rows} x {sum(columns)}", **result}


def save_sparse(folder, n_rows, columns):
    """Keep a matrix as npy parts, so that the process that measures never held what it takes to make it."""
    X, _ = sparse_sample(n_rows, columns)
    for part in ("data", "indices", "indptr"):
        np.save(Path(folder, part), getattr(X, part))


def load_sparse(folder, columns):
    parts = tuple(np.load(Path(folder, f"{part}.npy")) for part in ("data", "indices", "indptr"))
    return sp.csr_matrix(parts, shape=(len(parts[2]) - 1, sum(columns)))


def fit_peak(folder, columns, params):
    X = load_sparse(folder, columns)
    y = np.arange(X.shape[0]) % 20
    model = DualBranchClassifier(columns[0], max_epochs=1, **params)
    tiny_fit()
    peak = peak_mb(model.fit, X, y)
    joblib.dump(model, Path(folder, "model.joblib"))
    weights = sum(weight.nbytes for weight in model.network_.parameters())
    csr = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
    return {"csr_mb": csr / 2**20, "weights_mb": weights / 2**20, "fit_peak_mb": peak}


def predict_peak(folder, columns):
    X, model = load_sparse(folder, columns), joblib.load(Path(folder, "model.joblib"))
    tiny_fit()
    return {"predict_peak_mb": peak_mb(model.predict, X)}


def precision(bench):
    """A step at batch 1,024 in another precision (A) against float32 (B); with --data, held-out accuracy too."""
    cpu = Path("/proc/cpuinfo").read_text()
    if bench.device == "cpu" and not any(unit in cpu for unit in BFLOAT16_UNITS):
        yield {"name": "precision", "not_run": f"this CPU has no bfloat16 units ({', '.join(BFLOAT16_UNITS)})"}
        return
    columns, params = bench.full
    params = {**params, "batch_size": 1_024}
    X, y = sample(bench.pick(4_096, 2_048), columns)
    for kind in ("auto", "bfloat16"):
        sides = [step_side(X, y, columns[0], precision=name, **params) for name in (kind, "float32")]
        yield {"name": f"precision {kind}", **pairs(*sides, bench.pick(5, 3))}
    for path in sorted(bench.data.glob("*.npz"))[:3] if bench.data else []:
        X, n_a, y, _ = read(path)
        X = X.astype(np.float32)
        _, train, test = next(splits_of(y, None, 1, 0.2))
        scores = {}
        for kind in ("auto", "bfloat16", "float32"):
            n_epochs = bench.pick("auto", 5)
            model = DualBranchClassifier(n_a, precision=kind, max_epochs=n_epochs, device=bench.device, random_state=0)
            scores[kind] = model.fit(X[train], y[train]).score(X[test], y[test])
        yield {"name": f"precision, accuracy on {path.stem}", **scores}


def search(bench):
    """GridSearchCV of eight candidates with n_jobs=2 (A) against n_jobs=1 (B), one thread a process."""
    fit_seconds = []

    def side(n_jobs):
        ms, shortest = fresh(search_once, n_jobs, bench.pick(22, 1), OMP_NUM_THREADS="1")
        fit_seconds.append(shortest)
        return ms

    result = pairs(partial(side, 2), partial(side, 1), bench.pick(5, 1), warm_up=False)
    yield {"name": "search", **result, "shortest_fit_s": min(fit_seconds)}


def search_once(n_jobs, epochs):
    """Milliseconds of the search, and seconds of the shortest of its fits."""
    htad = load_htad()
    model = DualBranchClassifier(36, max_epochs=epochs, device="cpu", random_state=0)
    grid = {"temperature": [0.05, 0.1, 0.2, 0.5], "subspace_dim": [2, 4]}
    split = ShuffleSplit(1, test_size=0.2, random_state=0)
    candidates = GridSearchCV(model, grid, cv=split, n_jobs=n_jobs, refit=False)
    ms = clocked(candidates.fit, htad.data, htad.target)()
    return ms, float(candidates.cv_results_["mean_fit_time"].min())


def growth(bench):
    """Exponents of an epoch and of predict in rows, and of a step in columns, classes and rows of a batch."""
    sizes = bench.pick((8_000, 16_000, 32_000, 64_000), (512, 1_024, 2_048))
    small, params = bench.small
    X, y = sample(sizes[-1], small)
    model = DualBranchClassifier(300, max_epochs=1, **params).fit(X[:512], y[:512])
    rows = {n: epoch_side(X[:n], y[:n], 300, **params) for n in sizes}
    yield {"name": "growth of an epoch in rows", **growth_of(rows)}
    yield {"name": "growth of predict in rows", **growth_of({n: clocked(model.predict, X[:n]) for n in sizes})}
    columns = {}
    for n in bench.pick((2_000, 4_000, 8_000, 16_000), (1_000, 2_000, 4_000)):
        wide, codes = sample(bench.pick(2_048, 512), (n // 2, n // 2))
        columns[n] = step_side(wide, codes, n // 2, **bench.full[1])
    yield {"name": "growth of a step in columns", **growth_of(columns)}
    X, y = X[:2_048], y[:2_048]
    sizes = bench.pick((16, 64, 256, 1_024), (16, 128, 1_024))
    classes = {n: step_side(X, np.arange(len(X)) % n, 300, **params) for n in sizes}
    yield {"name": "growth of a step in classes", **growth_of(classes)}
    sizes = bench.pick((64, 128, 256, 512, 1_024), (64, 256, 1_024))
    batches = {n: step_side(X, y, 300, **{**params, "batch_size": n}) for n in sizes}
    yield {"name": "growth of a step in batch", **growth_of(batches)}


def iris(bench):
    """A default fit of 150 x 4; and what importing the package adds to importing torch and scikit-learn."""
    model = DualBranchClassifier(device="cpu", random_state=0)
    side = clocked(model.fit, *load_iris(return_X_y=True))
    tiny_fit()
    yield {"name": "iris fit", "a_ms": np.median([side() for _ in range(bench.pick(5, 1))])}
    code = "import time, torch, sklearn; start = time.perf_counter(); import skdual; print(time.perf_counter() - start)"
    yield {"name": "iris import", "a_ms": 1e3 * np.median([python(code) for _ in range(bench.pick(5, 3))])}


ROWS = (loop, fusion, head, contrastive, predict, sparse, precision, peers, search, growth, iris)
OF_THE_CPU = (peers, search, iris)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer pairs and smaller shapes")
    parser.add_argument("--only", choices=[row.__name__ for row in ROWS], help="one row")
    parser.add_argument("--device", default="cpu", help="where to compute; cpu by default")
    parser.add_argument("--data", type=Path, help="folder of npz files, for the row precision")
    parser.add_argument("--output", type=Path, help="file to add the JSON lines to")
    arguments = parser.parse_args()
    note = "; --quick: fewer pairs, smaller shapes" if arguments.quick else ""
    print(
        f"torch {torch.__version__}, {arguments.device}, {torch.get_num_threads()} threads, "
        f"load {os.getloadavg()[0]:.1f}{note}",
        flush=True,
    )
    bench = Bench(arguments.quick, arguments.data, arguments.device)
    rows = [row for row in ROWS if bench.device == "cpu" or row not in OF_THE_CPU]
    for row in rows:
        if arguments.only in (None, row.__name__):
            for result in row(bench):
                result = {key: round(value, 4) if isinstance(value, float) else value for key, value in result.items()}
                where = {"device": bench.device, "threads": torch.get_num_threads(), "quick": bench.quick}
                line = json.dumps({**result, **where})
                print(line, flush=True)
                if arguments.output:
                    with arguments.output.open("a") as file:
                        file.write(line + "\n")


if __name__ == "__main__":
    main()
