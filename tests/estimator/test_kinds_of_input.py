"""The same model from arrays, sparse matrices and frames."""

import math

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from member_scores import model_of
from numpy.testing import assert_allclose, assert_array_equal

from skdual import from_prefix


def test_csr_and_csc_give_the_model_of_the_dense_array_and_are_never_made_dense(two_blocks, quick, monkeypatch):
    X, y = two_blocks
    X = np.where(np.abs(X) < 1.5, 0, X)
    for values in ("rows.CHUNK_VALUES", "chunks.COLUMN_CHUNK_VALUES", "chunks._PART_VALUES"):
        monkeypatch.setattr(f"skdual.inputs.{values}", 1)  # for all: products of other sizes round otherwise
    dense = model_of(quick).fit(X, y)
    made_dense = []
    for name in ("toarray", "todense"):
        original = getattr(sp.csr_matrix, name)

        def note(matrix, *args, _original=original, **kwargs):
            made_dense.append(math.prod(matrix.shape))
            return _original(matrix, *args, **kwargs)

        monkeypatch.setattr(sp.csr_matrix, name, note)
    for kind in (sp.csr_matrix, sp.csc_matrix):
        sparse = model_of(quick).fit(kind(X), y)
        assert_array_equal(sparse.predict_proba(kind(X)), dense.predict_proba(X))
        assert_array_equal(sparse.transform(kind(X)), dense.transform(X))
    assert max(made_dense, default=0) <= 16 * X.shape[1]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_blocks_of_frames_by_name(two_blocks, quick, library):
    X, y = two_blocks
    names = [f"rna__{i}" for i in range(7)] + [f"protein__{i}" for i in range(5)]
    order = np.random.default_rng(0).permutation(12)
    make = pd.DataFrame if library == "pandas" else lambda data, columns: pl.DataFrame(data, schema=columns)
    frame = make(X[:, order], columns=[names[i] for i in order])
    model = model_of(quick, blocks=from_prefix("rna__", "protein__")).fit(frame, y)
    assert model.block_names_ == ("rna", "protein")
    for index, prefix in zip(model.block_indices_, ("rna__", "protein__"), strict=True):
        assert all(model.feature_names_in_[i].startswith(prefix) for i in index)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[[*frame.columns[1:], frame.columns[0]]])
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[list(frame.columns[1:])])
    with pytest.raises(ValueError, match="11 features"):
        model.predict(np.asarray(frame)[:, 1:])


def test_blocks_none_gives_every_column_to_both_branches(two_blocks, quick):
    model = model_of(quick, blocks=None).fit(*two_blocks)
    for index in model.block_indices_:
        assert_array_equal(index, np.arange(12))


def test_columns_of_other_scale_do_not_matter_when_standardised(two_blocks, quick):
    X, y = two_blocks[0].astype(np.float64), two_blocks[1]
    scaled = X * np.logspace(-2, 2, 12) + np.linspace(-5, 5, 12)
    probabilities = [model_of(quick).fit(data, y).predict_proba(data) for data in (X, scaled)]
    assert_allclose(*probabilities, rtol=1e-6, atol=1e-8)
    assert not np.allclose(probabilities[0], model_of(quick, standardize=False).fit(scaled, y).predict_proba(scaled))
