"""AnnData and MuData as they come from the libraries themselves, beside matrices put together by hand."""

import sys

import anndata
import mudata
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from anndata import AnnData
from numpy.testing import assert_array_equal

from skdual import DualBranchClassifier, from_prefix
from skdual.omics import from_anndata, from_mudata

N = 30
GENES, PROTEINS = ["CD3E", "MS4A1", "LYZ", "NKG7"], ["CD3", "CD19", "CD14"]
CELLS = [f"cell{i}" for i in range(N)]
rng = np.random.default_rng(0)
LABELS = np.array(["B", "Mono", "T"])[np.arange(N) % 3]
COUNTS = rng.poisson(1.0 + 4 * (np.arange(N)[:, None] % 3 == np.arange(4)))
LOGGED = np.log1p(COUNTS).astype(np.float32)
LEVELS = rng.normal(size=(N, 3)).astype(np.float32)


@pytest.fixture
def cite():
    """RNA as CSR in X, counts in a layer, protein in obsm as DataFrame and as array."""
    adata = AnnData(
        sp.csr_matrix(LOGGED),
        pd.DataFrame({"cell_type": pd.Categorical(LABELS), "number": np.arange(N)}, index=CELLS),
        pd.DataFrame({"highly_variable": [True, False, True, True]}, index=GENES),
    )
    adata.layers["counts"] = sp.csr_matrix(COUNTS)
    adata.obsm["protein"] = pd.DataFrame(LEVELS, columns=PROTEINS, index=CELLS)
    adata.obsm["levels"] = LEVELS
    return adata


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


def two_modalities(obs=None, obs_rna=None, obs_protein=None, cells_protein=None):
    """Protein of the last 20 cells in reverse, and of two cells without RNA."""
    cells_protein = [*CELLS[:9:-1], "lone1", "lone2"] if cells_protein is None else cells_protein
    levels = np.array([LEVELS[CELLS.index(cell)] if cell in CELLS else [9, 9, 9] for cell in cells_protein])
    rna = AnnData(sp.csr_matrix(LOGGED), pd.DataFrame(obs_rna or {}, index=CELLS), pd.DataFrame(index=GENES))
    protein = AnnData(levels, pd.DataFrame(obs_protein or {}, index=cells_protein), pd.DataFrame(index=PROTEINS))
    with mudata.set_options(pull_on_update=False):
        mdata = mudata.MuData({"rna": rna, "prot": protein, "other": AnnData(LEVELS, rna.obs[[]])})
    for name, labels in (obs or {}).items():
        mdata.obs[name] = pd.Series(labels, index=CELLS).reindex(mdata.obs_names)
    return mdata


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


@pytest.mark.parametrize("store", [np.asarray, sp.csr_matrix, sp.csc_matrix, sp.csr_array])
@pytest.mark.parametrize(("kinds", "expected"), [("ff", "f"), ("dd", "d"), ("df", "f"), ("fd", "f"), ("if", "f")])
def test_storage_and_dtype(store, kinds, expected):
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


def test_without_target_there_are_no_labels(cite):
    assert from_anndata(cite, block_b={"obsm": "protein"}, target=None).target is None
    assert from_mudata(two_modalities(), "rna", "prot", None).target is None


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


def test_rows_of_two_modalities_are_joined_by_name():
    bunch = from_mudata(two_modalities(obs={"cell_type": LABELS}), "rna", "prot", "cell_type")
    assert_array_equal(bunch.obs_names, CELLS[10:])
    assert_array_equal(bunch.data.toarray(), np.hstack([LOGGED, LEVELS])[10:])
    assert_array_equal(bunch.target, LABELS[10:])
    assert bunch.blocks == {"rna": slice(0, 4), "prot": slice(4, 7)}
    assert bunch.feature_names[3:5] == ["rna:NKG7", "prot:CD3"]


def test_the_first_modality_gives_the_order():
    bunch = from_mudata(two_modalities(obs={"cell_type": LABELS}), "prot", "rna", "cell_type")
    assert_array_equal(bunch.obs_names, CELLS[:9:-1])
    assert_array_equal(bunch.data.toarray(), np.hstack([LEVELS, LOGGED])[:9:-1])
    assert_array_equal(bunch.target, LABELS[:9:-1])


def test_labels_of_a_modality():
    mdata = two_modalities(obs_rna={"cell_type": LABELS, "phase": LABELS})
    mdata["prot"].obs["phase"] = "G1"
    for target in ("cell_type", "rna:cell_type", "rna:phase"):
        assert_array_equal(from_mudata(mdata, "prot", "rna", target).target, LABELS[:9:-1])
    assert set(from_mudata(mdata, "rna", "prot", "prot:phase").target) == {"G1"}
    with pytest.raises(ValueError, match="'phase' is in both modalities and differs in 20 of 20 cells; write 'rna:pha"):
        from_mudata(mdata, "rna", "prot", "phase")
    mdata["prot"].obs["phase"] = mdata["rna"].obs["phase"].reindex(mdata["prot"].obs_names)
    assert_array_equal(from_mudata(mdata, "rna", "prot", "phase").target, LABELS[10:])


def test_labels_of_a_modality_with_a_colon_in_its_name():
    modalities = two_modalities(obs_rna={"cell:type": LABELS})
    with mudata.set_options(pull_on_update=False):
        mdata = mudata.MuData({"a:b": modalities["rna"], "prot": modalities["prot"]})
    assert_array_equal(from_mudata(mdata, "a:b", "prot", "a:b:cell:type").target, LABELS[10:])


def test_a_modality_of_modalities_is_refused():
    inner = two_modalities()
    with mudata.set_options(pull_on_update=False):
        mdata = mudata.MuData(
            {"inner": inner, "other": AnnData(LEVELS, inner["other"].obs, pd.DataFrame(index=list("xyz")))}
        )
    with pytest.raises(TypeError, match=r"modality 'inner' must be of anndata.AnnData, got MuData"):
        from_mudata(mdata, "inner", "other", None)


def test_columns_that_mudata_pulled_are_found():
    mdata = two_modalities(obs_rna={"cell_type": LABELS})
    mdata.pull_obs()
    assert "rna:cell_type" in mdata.obs or "cell_type" in mdata.obs
    for target in ("cell_type", "rna:cell_type"):
        assert_array_equal(from_mudata(mdata, "rna", "prot", target).target, LABELS[10:])


def test_layers_and_obsm_of_modalities(tmp_path):
    mdata = two_modalities()
    mdata["rna"].layers["counts"] = sp.csr_matrix(COUNTS)
    mdata["prot"].obsm["pca"] = np.arange(44).reshape(22, 2)
    with mudata.set_options(pull_on_update=False):
        mdata.write_h5mu(tmp_path / "cite.h5mu")
        backed = mudata.read_h5mu(tmp_path / "cite.h5mu", backed=True)
    for data in (mdata, backed):
        bunch = from_mudata(data, "rna", "prot", None, layer={"rna": "counts"}, obsm={"prot": "pca"})
        assert_array_equal(bunch.data[:, :4].toarray(), COUNTS[10:])
        assert_array_equal(bunch.data[:, 4:].toarray(), np.arange(40).reshape(20, 2)[::-1])
        assert bunch.feature_names[4:] == ["prot:0", "prot:1"]
    backed.file.close()


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({}, {"modality_b": "protein"}, "modality_b='protein' is not among modalities; there are: 'rna', 'prot', 'oth"),
        ({}, {"modality_b": "rna"}, "modality_a and modality_b are both 'rna'; they must be two modalities"),
        (
            {},
            {"modality_a": ["rna"]},
            r"modality_a=\['rna'\] is not among modalities; there are: 'rna', 'prot', 'other'",
        ),
        ({}, {"target": "type"}, "target='type' is not among the columns of obs; there are: 'cell_type'"),
        ({}, {"layer": "counts"}, "layer='counts' is not among the layers of modality 'rna'; there are: none"),
        ({}, {"layer": ["counts"]}, r"layer=\['counts'\] is not among the layers of modality 'rna'"),
        ({}, {"layer": {"prot": "a"}, "obsm": {"prot": "b"}}, "modality 'prot' is in both layer and obsm"),
        ({}, {"layer": {"other": "counts"}}, "layer='other' is not among the two modalities; there are: 'rna', 'prot'"),
        ({}, {"obsm": {"prot": "pca"}}, "obsm='pca' is not among the keys of obsm of modality 'prot'; there are: none"),
        ({}, {"obsm": {"prot": ["pca"]}}, r"obsm=\['pca'\] is not among the keys of obsm of modality 'prot'"),
        ({"obs": {"cell_type": [None, *LABELS[:-4], *[None] * 3]}}, {}, "'cell_type' is missing in 3 of 20 cells"),
        ({"cells_protein": ["lone1", "lone2"]}, {}, "share no obs_names .'cell0' and 'lone1' are the first of each"),
    ],
)
def test_mudata_refusals_name_what_is_there(change, arguments, message):
    mdata = two_modalities(**{"obs": {"cell_type": LABELS}} | change)
    arguments = {"modality_a": "rna", "modality_b": "prot", "target": "cell_type"} | arguments
    with pytest.raises(ValueError, match=message):
        from_mudata(mdata, **arguments)


def test_arguments_of_another_type_are_refused_by_name():
    mdata = two_modalities(obs={"cell_type": LABELS})
    for target in (["cell_type"], 5, LABELS):
        with pytest.raises(TypeError, match=f"target must be a str or None, got {type(target).__name__}"):
            from_mudata(mdata, "rna", "prot", target)
    for obsm in ("pca", ["pca"], 5):
        with pytest.raises(TypeError, match="obsm must be a dict modality -> key, got "):
            from_mudata(mdata, "rna", "prot", "cell_type", obsm=obsm)


@pytest.mark.filterwarnings("ignore:Observation names are not unique", "ignore:obs_names are not unique")
def test_cells_of_one_name_are_refused():
    mdata = two_modalities()
    mdata["prot"].obs_names = ["cell12"] * 22
    with pytest.raises(ValueError, match="obs_names of modality 'prot' are not unique"):
        from_mudata(mdata, "rna", "prot", None)


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
