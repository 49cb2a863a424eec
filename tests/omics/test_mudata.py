"""MuData as it comes from the library itself, beside matrices put together by hand."""

import mudata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData
from cite_seq import CELLS, COUNTS, LABELS, LEVELS, LOGGED, two_modalities
from numpy.testing import assert_array_equal

from skdual.omics import from_mudata


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
