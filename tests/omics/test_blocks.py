"""What both readers have in common: numbers, labels and refusals."""

import sys

import mudata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData
from cite_seq import CELLS, COUNTS, GENES, LABELS, LEVELS, PROTEINS, N, two_modalities
from numpy.testing import assert_array_equal

from skdual.omics import from_anndata, from_mudata


@pytest.mark.parametrize("store", [np.asarray, sp.csr_matrix, sp.csc_matrix, sp.csr_array])
@pytest.mark.parametrize(("kinds", "expected"), [("ff", "f"), ("dd", "d"), ("df", "f"), ("fd", "f"), ("if", "f")])
def test_storage_and_dtype_of_the_joined_blocks(store, kinds, expected):
    adata = AnnData(store(COUNTS.astype(kinds[0])), obsm={"protein": LEVELS.astype(kinds[1])})
    data = from_anndata(adata, block_b={"obsm": "protein"}, target=None).data
    assert sp.issparse(data) == (store is not np.asarray)
    assert data.dtype == np.dtype(expected)
    dense = data.toarray() if sp.issparse(data) else data
    assert_array_equal(dense, np.hstack([COUNTS, LEVELS]).astype(expected))


def test_frames_of_numbers_of_several_types():
    levels = pd.DataFrame({"smoker": LEVELS[:, 0] > 1, "age": np.arange(len(LEVELS)), "dose": LEVELS[:, 1]}, CELLS)
    adata = AnnData(COUNTS.astype(np.float32), pd.DataFrame(index=CELLS), obsm={"clinical": levels})
    found = from_anndata(adata, block_b={"obsm": "clinical"}, target=None)
    assert_array_equal(found.data[:, 4:], levels.astype(np.float32))
    assert found.feature_names[4:] == ["protein:smoker", "protein:age", "protein:dose"]


@pytest.mark.parametrize("kind", ["?", "B", "i", "q", "f", "d"])
def test_frames_of_one_type_give_what_an_array_of_it_does(kind):
    adata = AnnData(LEVELS.astype(np.float64), pd.DataFrame(index=CELLS), obsm={"array": COUNTS.astype(kind)})
    adata.obsm["frame"] = pd.DataFrame(COUNTS.astype(kind), CELLS, columns=GENES)
    levels = AnnData(LEVELS.astype(np.float64), adata.obs, pd.DataFrame(index=PROTEINS))
    with mudata.set_options(pull_on_update=False):
        mdata = mudata.MuData({"rna": adata, "prot": levels})
    for read in (
        lambda key: from_anndata(adata, block_b={"obsm": key}, target=None),
        lambda key: from_mudata(mdata, "prot", "rna", None, obsm={"rna": key}),
    ):
        of_array, of_frame = read("array").data, read("frame").data
        assert of_frame.dtype == of_array.dtype == (np.float64 if kind == "d" else np.float32)
        assert_array_equal(of_frame, of_array)


@pytest.mark.parametrize(("kinds", "expected"), [("iq", "f"), ("?B", "f"), ("qf", "f"), ("fd", "d"), ("qd", "d")])
def test_frames_of_two_types_are_as_precise_as_their_floats(kinds, expected):
    frame = pd.DataFrame({kind: COUNTS[:, column].astype(kind) for column, kind in enumerate(kinds)}, CELLS)
    adata = AnnData(LEVELS.astype(np.float64), pd.DataFrame(index=CELLS), obsm={"frame": frame})
    data = from_anndata(adata, block_b={"obsm": "frame"}, target=None).data
    assert data.dtype == np.dtype(expected)
    assert_array_equal(data[:, 3:], np.column_stack([frame[kind] for kind in kinds]))


@pytest.mark.parametrize("kinds", [("Int64", "Float64"), ("boolean", "float64"), ("int64[pyarrow]", "Int32")], ids=str)
def test_frames_of_nullable_numbers(kinds):
    levels = pd.DataFrame({"a": LEVELS[:, 0] > 1, "b": LEVELS[:, 1]}, CELLS).astype(int)
    nullable = pd.DataFrame({name: levels[name].astype(kind) for name, kind in zip("ab", kinds, strict=True)})
    adata = AnnData(COUNTS.astype(np.float32), pd.DataFrame(index=CELLS), obsm={"clinical": nullable})
    found = from_anndata(adata, block_b={"obsm": "clinical"}, target=None)
    assert_array_equal(found.data[:, 4:], levels.astype(np.float32))
    nullable["b"] = nullable["b"].mask(levels.index == CELLS[3])
    adata.obsm["clinical"] = nullable
    assert np.argwhere(np.isnan(from_anndata(adata, block_b={"obsm": "clinical"}, target=None).data)).tolist() == [
        [3, 5]
    ]


@pytest.mark.parametrize("store", [np.asarray, sp.csr_matrix])
def test_values_beyond_float32_are_kept_in_float64(store):
    large = COUNTS * 1e60
    for counts, levels in ((large, LEVELS), (LEVELS, large), (COUNTS, large)):
        adata = AnnData(store(counts), obsm={"protein": store(levels)})
        data = from_anndata(adata, block_b={"obsm": "protein"}, target=None).data
        assert data.dtype == np.float64
        assert_array_equal(data.toarray() if sp.issparse(data) else data, np.hstack([counts, levels]))
    unknown = np.where(COUNTS > 1, np.inf, COUNTS)  # which float32 holds as well
    adata = AnnData(unknown, obsm={"protein": LEVELS})
    data = from_anndata(adata, block_b={"obsm": "protein"}, target=None).data
    assert data.dtype == np.float32
    assert_array_equal(data[:, :4], unknown)


def test_without_target_there_are_no_labels(cite):
    assert from_anndata(cite, block_b={"obsm": "protein"}, target=None).target is None
    assert from_mudata(two_modalities(), "rna", "prot", None).target is None


def test_missing_labels_texts_and_no_x_are_refused(cite):
    cite.obs["cell_type"] = pd.Series(LABELS, index=CELLS).where(np.arange(N) > 3)
    with pytest.raises(ValueError, match="target='cell_type' is missing in 4 of 30 cells"):
        from_anndata(cite, block_b={"obsm": "protein"}, target="cell_type")
    cite.obsm["texts"] = pd.DataFrame({"a": LABELS}, index=CELLS)
    with pytest.raises(ValueError, match="block 'protein' must be a matrix of numbers, got values of object"):
        from_anndata(cite, block_b={"obsm": "texts"}, target=None)
    cite.X = None
    with pytest.raises(ValueError, match="adata has no X; name one of its layers: 'counts'"):
        from_anndata(cite, block_b={"obsm": "protein"}, target=None)


def test_other_containers_are_refused(cite):
    with pytest.raises(TypeError, match=r"mdata must be of mudata.MuData, got AnnData"):
        from_mudata(cite, "rna", "prot", "cell_type")
    with pytest.raises(TypeError, match=r"adata must be of anndata.AnnData, got MuData"):
        from_anndata(two_modalities(), block_b="X", target=None)


@pytest.mark.parametrize(("read", "package"), [(from_anndata, "anndata"), (from_mudata, "mudata")])
def test_without_the_package_the_extra_is_named(read, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    arguments = (
        {"block_b": "X", "target": None}
        if package == "anndata"
        else dict.fromkeys(("modality_a", "modality_b", "target"), "a")
    )
    with pytest.raises(ImportError, match=rf'from_{package} needs {package}; .*pip install "skdual\[omics\]"'):
        read(np.zeros((3, 3)), **arguments)
