import numpy as np
import pandas as pd
from numpy.testing import assert_array_equal

from skdual import DualBranchClassifier
from skdual.datasets import load_htad


def test_htad_is_what_its_article_describes():
    htad = load_htad()
    assert htad.data.shape == (1386, 52)
    assert htad.data.dtype == np.float32
    assert np.isfinite(htad.data).all()
    assert set(htad.target) == set(htad.target_names)
    assert len(htad.target_names) == 7
    assert len(htad.feature_names) == 52
    for name, columns in htad.blocks.items():
        assert all(feature.startswith(f"{name}__") for feature in htad.feature_names[columns])
    for words in ("MIT", "Garcia-Ceja", "10.1007/978-3-030-67835-7_17"):
        assert words in htad.DESCR
    # the first row of the published table
    assert_array_equal(htad.data[0, [0, 36]], np.float32([120.0788862, -0.340983072]))
    assert htad.target[0] == "watch_tv"


def test_htad_as_a_frame():
    frame = load_htad(as_frame=True).data
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == load_htad().feature_names
    assert_array_equal(frame.to_numpy(), load_htad().data)


def test_blocks_of_htad_are_those_of_the_estimator():
    htad = load_htad()
    model = DualBranchClassifier(htad.blocks, max_epochs=1).fit(htad.data, htad.target)
    assert model.block_names_ == ("audio", "accelerometer")
    assert [len(index) for index in model.block_indices_] == [36, 16]
