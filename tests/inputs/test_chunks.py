import numpy as np
import pytest
from stored_rows import COLUMNS, chosen, data_set, every_value_twice, of_rows, stored_as

from skdual.inputs import chunks
from skdual.inputs.chunks import zero_shares


def test_duplicates_stay_unsummed_in_the_matrix(X, tmp_path):
    doubled = every_value_twice(X, tmp_path)
    data_set(doubled).fetch(np.array([3, 0, 3]))
    zero_shares(data_set(doubled))
    assert doubled.nnz == 2 * X.size


@stored_as
@of_rows
@pytest.mark.parametrize("values", [1, 2**24], ids=["many chunks", "one chunk"])
def test_the_shares_of_zeros_are_counted_in_the_dense_rows(X, stored, subset, values, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "_PART_VALUES", values)
    dense, matrix = chosen(X, subset), stored(X, tmp_path)
    expected = [np.mean([row[column] == 0 for row in dense.tolist() for column in index]) for index in COLUMNS.indices]
    assert zero_shares(data_set(matrix, subset=subset)) == pytest.approx(expected, rel=1e-12)
    assert 0.3 < min(expected) < max(expected) < 0.8
