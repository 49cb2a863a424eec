"""AnnData as it comes from the library itself, beside matrices put together by hand."""

import anndata
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from anndata import AnnData
from cite_seq import CELLS, COUNTS, GENES, LABELS, LEVELS, LOGGED, PROTEINS, N
from numpy.testing import assert_array_equal

from skdual import DualBranchClassifier, from_prefix
from skdual.omics import from_anndata


@pytest.fixture
def mixed():
    """As 10x writes it: one matrix, whose var tells genes from proteins, which do not lie side by side."""
    types = ["Gene Expression", "Antibody Capture", "Gene Expression", "Antibody Capture", "Gene Expression"]
    var = pd.DataFrame(
        {"feature_types": pd.Categorical(types), "highly_variable": [True, True, False, False, True]},
        index=["CD3E", "CD3", "MS4A1", "CD19", "LYZ"],
    )
    X = np.column_stack([COUNTS[:, 0], LEVELS[:, 0], COUNTS[:, 1], LEVELS[:, 1], COUNTS[:, 2]]).astype(np.float32)
    return AnnData(sp.csr_matrix(X), pd.DataFrame({"cell_type": LABELS}, index=CELLS), var)


def test_rna_in_x_and_protein_in_obsm(cite):
    bunch = from_anndata(cite, block_b={"obsm": "protein"}, target="cell_type")
    assert sp.issparse(bunch.data)
    assert bunch.data.format == "csr"
    assert bunch.data.dtype == np.float32
    assert_array_equal(bunch.data.toarray(), np.hstack([LOGGED, LEVELS]))
    assert_array_equal(bunch.target, LABELS)
    assert bunch.blocks == {"rna": slice(0, 4), "protein": slice(4, 7)}
    assert bunch.feature_names == [f"rna:{name}" for name in GENES] + [f"protein:{name}" for name in PROTEINS]
    assert_array_equal(bunch.obs_names, CELLS)


def test_layers_are_read_instead_of_x_and_arrays_are_numbered(cite):
    bunch = from_anndata(cite, block_b={"obsm": "levels"}, target="number", layer="counts", names=("genes", "adt"))
    assert bunch.data.dtype == np.float32  # counts of int64
    assert_array_equal(bunch.data.toarray(), np.hstack([COUNTS.astype(np.float32), LEVELS]))
    assert_array_equal(bunch.target, np.arange(N))
    assert bunch.feature_names[3:] == ["genes:NKG7", "adt:0", "adt:1", "adt:2"]
    assert list(bunch.blocks) == ["genes", "adt"]


def test_blocks_by_feature_type_and_further_columns_of_var(mixed):
    bunch = from_anndata(
        mixed,
        block_a={"feature_types": "Gene Expression", "highly_variable": True},
        block_b={"feature_types": "Antibody Capture"},
        target="cell_type",
    )
    assert_array_equal(bunch.data.toarray(), np.column_stack([COUNTS[:, [0, 2]], LEVELS[:, :2]]).astype(np.float32))
    assert bunch.feature_names == ["rna:CD3E", "rna:LYZ", "protein:CD3", "protein:CD19"]


def test_views_and_files_give_the_rows_they_show(cite, tmp_path):
    view = cite[5:12]
    for adata in (view, view.copy()):
        bunch = from_anndata(adata, block_b={"obsm": "protein"}, target="cell_type")
        assert_array_equal(bunch.data.toarray(), np.hstack([LOGGED, LEVELS])[5:12])
        assert_array_equal(bunch.target, LABELS[5:12])
    cite.write_h5ad(tmp_path / "cite.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cite.h5ad", backed="r")
    for layer, expected in ((None, LOGGED), ("counts", COUNTS)):
        bunch = from_anndata(backed, block_b={"obsm": "protein"}, target="cell_type", layer=layer)
        assert_array_equal(bunch.data[:, :4].toarray(), expected.astype(np.float32))
    backed.file.close()


def test_the_bunch_feeds_the_estimator(cite):
    bunch = from_anndata(cite, block_b={"obsm": "protein"}, target="cell_type")
    model = DualBranchClassifier(
        bunch.blocks, hidden_layer_sizes=((16,), (8,)), n_members=1, learning_rate=1e-2, max_epochs=40, random_state=0
    )
    model.fit(bunch.data, bunch.target)
    assert model.block_names_ == ("rna", "protein")
    assert [len(index) for index in model.block_indices_] == [4, 3]
    assert model.score(bunch.data, bunch.target) > 0.6  # chance: a third


@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
def test_names_tell_the_blocks_of_a_frame_apart(cite, library):
    bunch = from_anndata(cite, block_b={"obsm": "protein"}, target="cell_type")
    data = bunch.data.toarray()
    frame = library.DataFrame(dict(zip(bunch.feature_names, data.T, strict=True)))[bunch.feature_names[::-1]]
    model = DualBranchClassifier(
        from_prefix("rna:", "protein:"), hidden_layer_sizes=((8,), (8,)), n_members=1, max_epochs=2, random_state=0
    )
    model.fit(frame, bunch.target)
    for block, index in zip(bunch.blocks.values(), model.block_indices_, strict=True):
        assert list(np.array(frame.columns)[index]) == bunch.feature_names[block][::-1]
    assert model.predict_proba(frame).shape == (N, 3)


def test_what_is_read_is_the_users_own(cite):
    bunch = from_anndata(cite, block_b={"obsm": "protein"}, target="number")
    bunch.target[:] = 7
    bunch.obs_names[0] = "another"
    assert list(cite.obs["number"]) == list(range(N))
    assert list(cite.obs_names) == CELLS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"block_b": {"obsm": "adt"}}, r"block_b='adt' is not among the keys of obsm; there are: 'protein', 'levels'"),
        ({"block_b": {"kind": "adt"}}, "block_b='kind' is not among the columns of var; there are: 'highly_variable'"),
        ({"block_b": {"highly_variable": "no"}}, "leaves no variable; var.'highly_variable'. has the values True, Fal"),
        ({"block_b": {"highly_variable": True}}, "share 3 variables, 'CD3E' first"),
        ({"block_b": "X"}, "share 4 variables, 'CD3E' first"),
        ({"block_b": "protein"}, "block_b must be 'X', {'obsm': key} or a dict of columns of var.*'protein'"),
        ({"block_b": {}}, "block_b must be"),
        ({"block_b": {"obsm": "protein", "highly_variable": True}}, "block_b must be"),
        ({"block_a": {"obsm": "protein"}}, "block_a and block_b are both {'obsm': 'protein'}"),
        ({"block_b": {"obsm": ["protein"]}}, r"block_b=\['protein'\] is not among the keys of obsm; there are: 'prot"),
        ({"block_b": {"obsm": {}}}, "block_b={} is not among the keys of obsm"),
        (
            {"block_a": {"highly_variable": [True] * 4}},
            r"block_a: var\['highly_variable'\] must be compared with one v",
        ),
        ({"block_a": {"highly_variable": ["yes", "no"]}}, r"must be compared with one value, got \['yes', 'no'\]"),
        ({"layer": "raw"}, "layer='raw' is not among the layers of adata; there are: 'counts'"),
        ({"layer": ["counts"]}, r"layer=\['counts'\] is not among the layers of adata; there are: 'counts'"),
        ({"layer": "raw", "block_a": {"obsm": "levels"}}, "layer='raw' is not among the layers"),
        ({"target": ["cell_type"]}, r"target=\['cell_type'\] is not among the columns of obs; there are: 'cell_type'"),
        ({"target": LABELS}, "target=array.* is not among the columns of obs"),
        ({"target": "type"}, "target='type' is not among the columns of obs; there are: 'cell_type', 'number'"),
        ({"names": ("rna", "rna")}, r"names must be a pair of two different str, got \('rna', 'rna'\)"),
        ({"names": None}, "names must be a pair of two different str, got None"),
        ({"names": "ab"}, "names must be a pair of two different str, got 'ab'"),
        ({"names": ("rna", 1)}, r"names must be a pair of two different str, got \('rna', 1\)"),
    ],
)
def test_anndata_refusals_name_what_is_there(cite, arguments, message):
    with pytest.raises(ValueError, match=message):
        from_anndata(cite, **{"block_b": {"obsm": "protein"}, "target": "cell_type"} | arguments)
