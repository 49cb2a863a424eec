import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from skdual import DualBranchClassifier
from skdual.inputs.columns import ColumnBlocks
from skdual.inputs.rows import Rows
from skdual.training.inference import run_in_chunks


@pytest.fixture(scope="module")
def network(two_blocks, quick):
    return DualBranchClassifier(**quick).fit(*two_blocks).network_


@pytest.fixture
def rows(two_blocks):
    columns = ColumnBlocks(("a", "b"), (np.arange(7), np.arange(7, 12)))
    return Rows(two_blocks[0], columns, torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("method", ["scores", "view_scores", "embed", "projection_error", "encode"])
def test_chunks_give_what_the_whole_gives(network, rows, two_blocks, method, monkeypatch):
    x = torch.from_numpy(two_blocks[0])
    with torch.no_grad():
        whole = getattr(network.eval(), method)(x[:, :7], x[:, 7:])
    monkeypatch.setattr("skdual.inputs.rows._CHUNK_CELLS", 1)
    assert len(list(rows.chunks())) > 1
    network.train()  # dropout must be off all the same
    chunked = run_in_chunks(network, method, rows)
    whole, chunked = ((r,) if method != "encode" else r for r in (whole, chunked))
    for expected, got in zip(whole, chunked, strict=True):
        assert_allclose(got, expected.numpy(), rtol=1e-5, atol=1e-6)


def test_no_graph_is_kept(network, rows):
    seen = []
    handle = network.fusion.register_forward_hook(lambda module, inputs, output: seen.append(output.requires_grad))
    run_in_chunks(network, "scores", rows)
    handle.remove()
    assert seen
    assert not any(seen)
