import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from skdual import DualBranchClassifier, join_blocks
from skdual.inputs.columns import resolve_blocks

RNG = np.random.default_rng(0)
A = RNG.integers(0, 3, (5, 3)).astype(np.float32)
B = RNG.integers(0, 3, (5, 2)).astype(np.float32)


@pytest.mark.parametrize("b_as", [np.asarray, np.asfortranarray, sp.csr_matrix, sp.csc_matrix, sp.coo_array])
@pytest.mark.parametrize("a_as", [np.asarray, sp.csr_array, sp.csc_matrix])
def test_join_blocks_puts_matrices_side_by_side(a_as, b_as):
    a, b = a_as(A), b_as(B)
    X, blocks = join_blocks(a, b)
    assert (X.format if sp.issparse(X) else "dense") == ("csr" if sp.issparse(a) or sp.issparse(b) else "dense")
    dense = X.toarray() if sp.issparse(X) else X
    assert dense.dtype == np.float32
    assert_array_equal(dense, np.hstack([A, B]))
    assert_array_equal(dense[:, resolve_blocks(blocks, X, X.shape[1], None).indices[0]], A)


@pytest.mark.parametrize(
    ("a_as", "b_as", "expected"),
    [
        (sp.csr_array, sp.csr_array, sp.csr_array),
        (sp.coo_array, sp.csc_array, sp.csr_array),
        (sp.csr_array, np.asarray, sp.csr_array),
        (np.asarray, sp.csr_array, sp.csr_array),
        (sp.csr_matrix, sp.csr_array, sp.csr_matrix),
        (sp.csr_array, sp.csc_matrix, sp.csr_matrix),
        (np.asarray, sp.csr_matrix, sp.csr_matrix),
    ],
)
def test_join_blocks_gives_a_sparse_array_unless_one_is_a_sparse_matrix(a_as, b_as, expected):
    X, _ = join_blocks(a_as(A), b_as(B))
    assert type(X) is expected
    assert_array_equal(X.toarray(), np.hstack([A, B]))


def test_joined_sparse_arrays_fit_as_dense_ones_do():
    y = np.arange(5) % 2
    quick = {"hidden_layer_sizes": ((4,), (4,)), "n_members": 1, "max_epochs": 2, "random_state": 0}
    sparse, dense = (join_blocks(store(A), store(B)) for store in (sp.csr_array, np.asarray))
    of_sparse, of_dense = (DualBranchClassifier(blocks, **quick).fit(X, y) for X, blocks in (sparse, dense))
    assert_allclose(of_sparse.predict_proba(sparse[0]), of_dense.predict_proba(dense[0]), rtol=1e-5)


def test_join_blocks_makes_numbers_of_objects_and_of_halves():
    X, _ = join_blocks(A.astype(object), B)
    assert X.dtype == np.float64
    assert_array_equal(X, np.hstack([A, B]))
    X, _ = join_blocks(A.astype(np.float16), sp.csr_matrix(B))
    assert X.dtype == np.float32
    assert_array_equal(X.toarray(), np.hstack([A.astype(np.float16), B]))


def test_join_blocks_takes_lists():
    X, blocks = join_blocks(A.tolist(), B.tolist())
    assert_array_equal(X, np.hstack([A, B]))
    assert blocks == 3


@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
def test_join_blocks_gives_a_frame_of_frames(library):
    a = library.DataFrame({f"a{i}": column for i, column in enumerate(A.T)})
    b = library.DataFrame({f"b{i}": column for i, column in enumerate(B.T)})
    X, blocks = join_blocks(a, b)
    assert isinstance(X, library.DataFrame)
    assert list(X.columns) == ["a0", "a1", "a2", "b0", "b1"]
    assert_array_equal(X.to_numpy(), np.hstack([A, B]))
    assert blocks == 3


def test_join_blocks_takes_frames_of_a_users_own_class():
    class Frame(pd.DataFrame):
        pass

    X, blocks = join_blocks(Frame(A, columns=list("abc")), pd.DataFrame(B, columns=list("de")))
    assert_array_equal(X, np.hstack([A, B]))
    assert blocks == 3


@pytest.mark.parametrize(
    ("of_a", "of_b"),
    [
        (pd.Index(list("dbaca"), dtype="string"), pd.Index(list("dbaca"), dtype=object)),
        (pd.Index([3, 1, 4, 1, 5], dtype="Int64"), pd.Index([3, 1, 4, 1, 5])),
        (
            pd.DatetimeIndex(["2020", "2021", "2020", "2024", "2023"]),
            pd.DatetimeIndex(["2020", "2021", "2020", "2024", "2023"]).as_unit("s"),
        ),
    ],
    ids=["string", "Int64", "dates"],
)
def test_join_blocks_goes_by_labels_and_not_by_their_type(of_a, of_b):
    a, b = pd.DataFrame(A, of_a, columns=list("abc")), pd.DataFrame(B, of_b, columns=list("de"))
    for joined, _ in (join_blocks(a, b), join_blocks(b, a)):
        assert_array_equal(joined[list("abcde")], np.hstack([A, B]))
    with pytest.raises(ValueError, match="labelled differently"):
        join_blocks(a, b.set_axis(of_b[::-1]))


def test_join_blocks_keeps_rows_that_share_a_label():
    index = ["r", "s", "r", "r", "t"]
    X, _ = join_blocks(pd.DataFrame(A, index, columns=list("abc")), pd.DataFrame(B, index, columns=list("de")))
    assert list(X.index) == index
    assert_array_equal(X, np.hstack([A, B]))


@pytest.mark.parametrize(
    ("a", "b", "error", "message"),
    [
        (A, B[:4], ValueError, "A has 5, B has 4"),
        (sp.csr_matrix(A), B[:4], ValueError, "A has 5, B has 4"),
        (pl.DataFrame(A), pl.DataFrame(B[:4]), ValueError, "A has 5, B has 4"),
        (A, B[:, 0], ValueError, "B must have 2 dimensions .* got 1"),
        (A[:, :0], B, ValueError, "A must have at least one column, got none"),
        (A, sp.csr_matrix((5, 0)), ValueError, "B must have at least one column, got none"),
        (pd.DataFrame(index=range(5)), pd.DataFrame(B), ValueError, "A must have at least one column, got none"),
        ([[1], [2, 3]], B, ValueError, r"A must be an array, a sparse matrix or a frame; got \[\[1\], \[2, 3\]\]"),
        (A, 1j * B, TypeError, "B must hold numbers, got values of complex64"),
        (A, B.astype("datetime64[D]"), TypeError, r"B must hold numbers, got values of datetime64"),
        (np.full((5, 2), "a", dtype=object), B, TypeError, "A must hold numbers, got could not convert"),
        (pd.DataFrame(A), B, TypeError, "got pandas.DataFrame and numpy.ndarray"),
        (sp.csr_array(A), pl.DataFrame(B), TypeError, "got scipy.csr_array and polars.DataFrame"),
        (
            pd.DataFrame(A),
            pl.DataFrame(B),
            TypeError,
            "got pandas.DataFrame and polars.DataFrame. .* to_frame",
        ),
        (A.astype(str), B, TypeError, "A must hold numbers, got values of <U"),
        (
            pd.DataFrame(A, columns=list("abc")),
            pd.DataFrame(B, columns=list("cd")),
            ValueError,
            r"1 column name\(s\), 'c'",
        ),
        (pl.DataFrame(A), pl.DataFrame(B), ValueError, r"2 column name\(s\), 'column_0'"),
        (
            pd.DataFrame(A, columns=list("abc")),
            pd.DataFrame(B, columns=list("de"), index=[0, 1, 2, 4, 3]),
            ValueError,
            "labelled differently .*not equal, 3 and 4 first",
        ),
    ],
)
def test_join_blocks_refuses_what_does_not_fit_together(a, b, error, message):
    with pytest.raises(error, match=message):
        join_blocks(a, b)


def test_join_blocks_refuses_masked_values():
    masked, block = np.ma.masked_array(np.ones((4, 2)), mask=np.eye(4, 2)), np.ones((4, 1))
    for blocks, name in (((masked, block), "A"), ((block, masked), "B")):
        with pytest.raises(ValueError, match=f"^{name} has 2 masked values; impute them"):
            join_blocks(*blocks)
    assert join_blocks(np.ma.masked_array(block), block)[0].shape == (4, 2)


def test_join_blocks_says_what_to_do_with_other_frames():
    frame = pl.DataFrame(A)
    lazy, table = frame.lazy(), frame.to_arrow()
    with pytest.raises(TypeError, match=r"^B must hold its values, got a LazyFrame; give B\.collect"):
        join_blocks(frame, lazy)
    with pytest.raises(TypeError, match=r"pandas or polars, got pyarrow; give A\.to_pandas\(\)"):
        join_blocks(table, table)
