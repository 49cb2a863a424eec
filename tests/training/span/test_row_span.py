"""Coordinates in the span of some rows, beside plain linear algebra."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from skdual.training.span import row_span
from skdual.training.span.row_span import RowSpan


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(6, 15))


def span_of(rows, relevance=None):
    relevance = None if relevance is None else torch.from_numpy(relevance[None])
    return RowSpan(torch.from_numpy(rows), np.random.default_rng(0), relevance)


def vectors_beside(rows):
    """Vectors that lie in the span of the rows only in part."""
    return np.random.default_rng(1).normal(size=(4, rows.shape[1])).astype(rows.dtype)


def and_back(span, vectors, without=()):
    """Vectors by way of their coordinates, less what is orthogonal to all rows but some."""
    coordinates = span.project(torch.from_numpy(vectors))
    directions = span.directions_of(np.array(without, dtype=np.int64))
    return span.expand(coordinates - coordinates @ directions.T @ directions)


def test_coordinates_in_the_span_keep_lengths_and_angles(rows):
    coordinates = span_of(rows).coordinates
    assert coordinates.shape == (6, 6)
    assert_allclose(coordinates @ coordinates.T, rows @ rows.T, atol=1e-8)


def test_vectors_are_projected_onto_the_span(rows):
    span, vectors = span_of(rows), vectors_beside(rows)
    projected = vectors @ np.linalg.pinv(rows) @ rows
    assert_allclose(and_back(span, vectors), projected, atol=1e-8)
    lengths = np.linalg.norm(span.project(torch.from_numpy(vectors)), axis=1)
    assert_allclose(lengths, np.linalg.norm(projected, axis=1))
    assert_allclose(span.project(torch.from_numpy(rows)), span.coordinates, atol=1e-5)


def test_what_only_some_rows_span_can_be_left_out(rows):
    vectors, others = vectors_beside(rows), rows[[0, 2, 3, 5]]
    got = and_back(span_of(rows), vectors, without=[1, 4])
    assert_allclose(got, vectors @ np.linalg.pinv(others) @ others, atol=1e-8)


def test_columns_are_multiplied_by_their_relevance_first(rows, monkeypatch):
    relevance = np.random.default_rng(3).uniform(0.1, 3, 15)
    with_relevance, of_multiplied, vectors = span_of(rows, relevance), span_of(rows * relevance), vectors_beside(rows)
    assert_allclose(with_relevance.coordinates, of_multiplied.coordinates, atol=1e-10)
    for without in ([], [1, 4]):
        expected = and_back(of_multiplied, vectors, without)
        assert_allclose(and_back(with_relevance, vectors, without), expected, atol=1e-8)
    monkeypatch.setattr(row_span, "_N_COLUMNS", 4)
    assert_allclose(span_of(rows, relevance).coordinates, of_multiplied.coordinates, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_may_depend_on_each_other(rows, dtype):
    dependent = np.vstack([rows, rows[:2], np.zeros((1, 15)), 1e4 * rows[2:3]]).astype(dtype)
    span, vectors = span_of(dependent), vectors_beside(dependent)
    assert span.coordinates.numpy().dtype == dtype
    tolerance = 0.02 if dtype == np.float32 else 1e-4
    assert_allclose(and_back(span, vectors), vectors @ np.linalg.pinv(rows) @ rows, atol=tolerance)


def test_products_are_summed_over_many_parts():
    rows = np.random.default_rng(0).normal(size=(1100, 4200))  # more rows and columns than are multiplied at one time
    span, vectors = span_of(rows), vectors_beside(rows)
    assert_allclose(span.coordinates @ span.coordinates.T, rows @ rows.T, atol=1e-6)
    assert_allclose(and_back(span, vectors), vectors @ np.linalg.pinv(rows) @ rows, atol=1e-8)


def test_float32_is_enough_to_sum_over_very_many_columns():
    rows = np.random.default_rng(0).normal(size=(40, 200_000)).astype(np.float32)
    rows -= rows.mean(axis=0)  # so that they depend on each other
    span, of_rows = span_of(rows), rows.astype(np.float64) @ rows.T.astype(np.float64)
    coordinates = span.coordinates.numpy()
    assert coordinates.dtype == np.float32
    # the ridge, 1e-5 of a squared length, and no more
    assert_allclose(coordinates.astype(np.float64) @ coordinates.T, of_rows, atol=2e-5 * of_rows.max())
    assert_allclose(and_back(span, rows), rows, atol=1e-3)


def test_coordinates_of_one_row_are_spread_over_all():
    coordinates = span_of(np.eye(64, 100)).coordinates
    assert coordinates.abs().max() < 0.2  # 1 / 8 each if all were alike


def test_rounding_does_not_spoil_rows_that_are_much_alike():
    # products in float32 have no Cholesky factor here: the rounding of 2,500 equal rows adds up
    rows = np.repeat(np.random.default_rng(1).normal(size=(2, 2000)), 2500, axis=0).astype(np.float32)
    coordinates = span_of(rows).coordinates[::500]
    assert_allclose(coordinates @ coordinates.T, rows[::500] @ rows[::500].T, rtol=1e-3, atol=0.3)
