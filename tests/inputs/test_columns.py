import itertools
import pickle

import numpy as np
import pandas as pd
import polars as pl
import polars.selectors as cs
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_selector

from skdual import DualBranchClassifier, from_prefix
from skdual.inputs.columns import resolve_blocks

# every value holds the number of its column, so that whoever selects columns tells which they were
ARRAY = np.tile(np.arange(6.0), (2, 1))
CSR = sp.csr_matrix(ARRAY)
FRAME = pd.DataFrame(ARRAY, columns=list("uvwxyz")).astype({"v": np.float32, "y": np.float32})
MATRICES = {"array": ARRAY, "csr": CSR, "frame": FRAME}

BY_POSITION = {
    "slices": (slice(0, 2), slice(2, None)),
    "slices from the end": (slice(None, -4), slice(-4, None)),
    "slices with steps": (slice(0, None, 2), slice(1, None, 2)),
    "slices that run backwards": (slice(2, None, -1), slice(None, 2, -1)),
    "lists": ([4, 0], [1, 2, 3, 5]),
    "numbers from the end": ([-1, -2], [0, 1, 2, 3]),
    "arrays": (np.array([5, 3], dtype=np.uint8), np.array([0, 1, 2, 4], dtype=np.int32)),
    "masks": ([True, False, True, False, False, True], np.array([False, True, False, True, True, False])),
    "callables": (lambda X: [X.shape[1] - 1], lambda X: slice(0, X.shape[1] - 1)),
}
BY_NAME = {
    "lists of names": (["z", "u"], ["v", "w", "x", "y"]),
    "indexes": (pd.Index(["w"]), FRAME.columns.drop("w")),
    "slices of names": (slice("u", "w"), slice("x", None)),
    "callables with X": (lambda X: list(X.columns[:4]), lambda X: X.columns.isin(["y", "z"])),
    "selectors by dtype": (
        make_column_selector(dtype_include=np.float32),
        make_column_selector(dtype_include="float64"),
    ),
    "selectors by pattern": (make_column_selector("[uz]"), make_column_selector("[^uz]")),
}


def resolve(blocks, X):
    names = np.asarray(X.columns, dtype=object) if hasattr(X, "columns") else None
    return resolve_blocks(blocks, X, X.shape[1], names)


def assert_indices(columns, a, b):
    assert_array_equal(columns.indices[0], a)
    assert_array_equal(columns.indices[1], b)


def chosen_by_column_transformer(selector, X):
    return ColumnTransformer([("block", "passthrough", selector)], sparse_threshold=0).fit_transform(X)[0]


@pytest.mark.parametrize(
    ("X", "pair"),
    [pytest.param(X, pair, id=f"{m}-{p}") for m, X in MATRICES.items() for p, pair in BY_POSITION.items()]
    + [pytest.param(FRAME, pair, id=f"frame-{p}") for p, pair in BY_NAME.items()],
)
def test_a_pair_selects_what_column_transformer_selects(X, pair):
    assert_indices(resolve(pair, X), *(chosen_by_column_transformer(selector, X) for selector in pair))


@pytest.mark.parametrize(
    ("pair", "a", "b"),
    [
        ((0, slice(1, None)), [0], [1, 2, 3, 4, 5]),
        (("x", list("uvwyz")), [3], [0, 1, 2, 4, 5]),
        ((range(1, 6), range(1)), [1, 2, 3, 4, 5], [0]),
        ((slice("u", None, 2), slice("v", "z", 2)), [0, 2, 4], [1, 3, 5]),
    ],
    ids=str,
)
def test_scalars_ranges_and_steps_are_selectors_too(pair, a, b):
    assert_indices(resolve(pair, FRAME), a, b)


@pytest.mark.parametrize("k", [1, 3, 5, -1, -3, -5, np.int8(2), np.uint8(4), np.int64(-2)], ids=repr)
def test_a_number_splits_where_numpy_splits(k):
    assert_indices(resolve(k, ARRAY), *np.split(np.arange(6), [int(k)]))


def test_without_blocks_both_branches_read_every_column():
    assert_indices(resolve(None, ARRAY), np.arange(6), np.arange(6))


def test_a_dict_names_the_blocks_in_its_order():
    columns = resolve({"late": slice(4, None), "early": [0, 1, 2, 3]}, ARRAY)
    assert columns.names == ("late", "early")
    assert columns.n_columns == (2, 4)
    assert_indices(columns, [4, 5], [0, 1, 2, 3])


def test_a_pair_is_named_a_and_b():
    assert resolve(([0], slice(1, None)), ARRAY).names == ("a", "b")


@pytest.mark.parametrize(
    ("blocks", "error", "parts"),
    [
        (0, ValueError, ["blocks=0", "6 columns", "between 1 and 5"]),
        (6, ValueError, ["blocks=6", "6 columns"]),
        (-6, ValueError, ["blocks=-6", "between -5 and -1"]),
        (True, TypeError, ["True"]),
        (
            (lambda X: X.no_such_thing, [3, 4, 5]),
            ValueError,
            ["block 'a'", "failed on X, of DataFrame", "no_such_thing"],
        ),
        (np.True_, TypeError, ["True"]),
        (3.0, TypeError, ["3.0"]),
        ("uv", TypeError, ["'uv'"]),
        (([0], [1], [2, 3, 4, 5]), ValueError, ["two blocks", "got 3"]),
        ({"a": slice(None)}, ValueError, ["two blocks", "got 1"]),
        ({1: [0], 2: slice(1, None)}, TypeError, ["names", "(1, 2)"]),
        (([0, 1, 2, 3], [2, 3, 4, 5]), ValueError, ["2 of 6 columns", "'w' first"]),
        (([0, 1, 1], [2, 3, 4, 5]), ValueError, ["1 of 6 columns", "'v' first"]),
        (([0, -6], slice(1, None)), ValueError, ["1 of 6 columns", "'u' first"]),
        (([0], [1, 3]), ValueError, ["3 of 6 columns", "'a' has 1", "'b' has 2", "'w' first"]),
        ({"p": [], "q": slice(None)}, ValueError, ["'p' has no columns", "6"]),
        (([False] * 6, slice(None)), ValueError, ["'a' has no columns", "6"]),
        (([True] * 4, slice(4, None)), ValueError, ["'a' has 4 entries", "6 columns"]),
        ((True, False), ValueError, ["'a' has 1 entries", "6 columns"]),
        (([0], [1, 2, 3, 4, 6]), ValueError, ["'b'", "6 columns", "index 6"]),
        ((["u", "nope"], slice(2, None)), ValueError, ["column 'nope' of block 'a'"]),
        ((slice("u", "nope"), slice(2, None)), ValueError, ["column 'nope' of block 'a'"]),
        ((slice("u", 3), slice(3, None)), TypeError, ["slice of block 'a'", "mixes names and numbers", "'u', 3"]),
        ((slice("w", "u", -1), slice(3, None)), ValueError, ["slice of block 'a'", "goes backwards", "'w', 'u', -1"]),
        (([0.0], slice(1, None)), TypeError, ["'a'", "[0.0]"]),
        ((slice(0, 3), slice(3, 9)), ValueError, ["'b'", "slice(3, 9, None)", "6 columns", "between -6 and 6"]),
        ((slice(-7, 3), slice(3, 6)), ValueError, ["'a'", "slice(-7, 3, None)", "6 columns", "between -6 and 6"]),
        ((lambda X: slice(9), slice(3, 6)), ValueError, ["'a'", "slice(None, 9, None)", "6 columns"]),
        ((slice(3, 0), slice(3, 6)), ValueError, ["'a' has no columns", "at least one", "slice(3, 0, None)"]),
        ((slice(0, 6), slice(6, None)), ValueError, ["'b' has no columns", "at least one", "slice(6, None, None)"]),
        ((slice(0, 3, 0), slice(3, 6)), ValueError, ["'a'", "slice(0, 3, 0)", "step"]),
        ((slice(0.0, 3), slice(3, 6)), TypeError, ["'a'", "slice(0.0, 3, None)", "integer"]),
        (([[0]], slice(1, None)), TypeError, ["'a'", "[[0]]"]),
        (([FRAME.columns[0], 1], slice(2, None)), TypeError, ["'a'", "column numbers", "names"]),
        (([True, 2], slice(3, None)), TypeError, ["'a'", "booleans and numbers"]),
        ((4, 2), ValueError, ["4 of 6 columns", "two numbers are two columns, the first 4 are blocks=4"]),
        (((0, 4), (4, 6)), ValueError, ["'b'", "index 6", "[4, 6] are column numbers", "slice(start, stop)"]),
        ((ARRAY, 4), TypeError, ["holds a matrix", "X, blocks = skdual.join_blocks(A, B)"]),
        (("u", ["nope"]), ValueError, ["column 'nope' of block 'b'", "which are ['u', 'v', 'w', 'x', 'y', 'z']"]),
    ],
    ids=itertools.count(),
)
def test_blocks_that_make_no_sense_are_refused_with_counts(blocks, error, parts):
    with pytest.raises(error, match="blocks") as caught:
        resolve(blocks, FRAME)
    assert [part for part in parts if part not in str(caught.value)] == []


@pytest.mark.parametrize("blocks", [1, -1, ([0], [1]), {"p": slice(1), "q": slice(1, None)}], ids=str)
def test_two_blocks_need_two_columns(blocks):
    with pytest.raises(ValueError, match=r"^blocks=.* needs a column .* n_features = 1; with blocks=None"):
        resolve(blocks, ARRAY[:, :1])
    assert_indices(resolve(None, ARRAY[:, :1]), [0], [0])


@pytest.mark.parametrize("selector", [["u"], "u", slice("u", "v")], ids=str)
def test_selecting_by_names_needs_a_frame(selector):
    with pytest.raises(
        ValueError, match=r"blocks: block 'a' is given by column names, but X has none; .* that hand on an array"
    ):
        resolve((selector, slice(1, None)), ARRAY)


def test_names_of_a_frame_have_to_be_strings():
    pairs = pd.MultiIndex.from_tuples([("rna", "a"), ("rna", "b"), ("protein", "c")])
    for names, first in ((pairs, r"tuple, \('rna', 'a'\) first"), (range(3), "int, 0 first")):
        frame = pd.DataFrame(ARRAY[:, :3]).set_axis(names, axis=1)
        with pytest.raises(ValueError, match=rf"block 'a' is given by column names, but those of X are of {first}"):
            DualBranchClassifier((["rna"], ["protein"])).fit(frame, [0, 1])


def test_prefixes_in_place_of_names_are_told_of_from_prefix():
    frame = FRAME.set_axis(["a__u", "a__v", "a__w", "b__x", "b__y", "b__z"], axis=1)
    with pytest.raises(ValueError, match=r"column 'a__' of block 'a' is not among .*; 3 start with it, .* from_prefix"):
        resolve(("a__", "b__"), frame)


def test_two_columns_of_two_are_two_numbers():
    assert_indices(resolve((0, 1), ARRAY[:, :2]), [0], [1])


def test_a_prefix_says_by_itself_what_it_needs():
    with pytest.raises(ValueError, match=r"^blocks=from_prefix\('u', \.\.\.\) picks columns by name, but X is a"):
        resolve(from_prefix("u", "v"), ARRAY)


@pytest.mark.parametrize("selector", [{0, 1}, frozenset([0]), cs.first(), [cs.first()], [None]], ids=str)
def test_what_is_no_selector_is_refused_by_its_block(selector):
    for X in (ARRAY, pl.DataFrame(ARRAY)):
        with pytest.raises(TypeError, match=r"blocks: the selector of block 'a' must be a slice, .* got "):
            resolve((selector, slice(1, None)), X)


def test_columns_without_names_are_told_by_number():
    with pytest.raises(ValueError, match=r"blocks: 2 of 6 columns are in neither block .*column 2 first"):
        resolve(([0, 1], [4, 5]), ARRAY)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_from_prefix_finds_the_columns_column_transformer_names(library):
    front = ColumnTransformer([("protein", "passthrough", ["z", "u"]), ("rna", "passthrough", list("vwxy"))])
    X = front.set_output(transform=library).fit_transform(FRAME)
    columns = resolve(from_prefix("rna__", "protein__"), X)
    assert columns.names == ("rna", "protein")
    assert_indices(columns, [2, 3, 4, 5], [0, 1])


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_from_prefix_finds_columns_that_lie_apart(frame):
    X = frame({"a_1": [0.0], "b_a_": [1.0], "a_2": [2.0], "b_1": [3.0]})
    assert_indices(resolve(from_prefix("a_", "b_"), X), [0, 2], [1, 3])


@pytest.mark.parametrize(("prefix", "name"), [("rna__", "rna"), ("rna:", "rna"), ("rna", "rna"), ("_", "_")])
def test_blocks_are_called_by_what_the_prefix_says(prefix, name):
    assert list(from_prefix(prefix, "protein:")) == [name, "protein"]


def test_a_prefix_that_no_column_has_is_an_empty_block():
    with pytest.raises(ValueError, match=r"blocks: block 'rna' has no columns \(X has 6\)"):
        resolve(from_prefix("rna__", "u"), FRAME)


@pytest.mark.parametrize("X", [ARRAY, CSR], ids=["array", "csr"])
def test_from_prefix_needs_column_names(X):
    with pytest.raises(
        ValueError,
        match=r"blocks=from_prefix\('rna__', \.\.\.\) picks columns by name, but X is a .* w.* that hand on an array",
    ):
        resolve(from_prefix("rna__", "protein__"), X)


@pytest.mark.parametrize(
    ("prefixes", "error"),
    [
        (("a", "ab"), ValueError),
        (("ab", "a"), ValueError),
        (("", "b"), ValueError),
        (("x-_", "x-__"), ValueError),
        ((1, "b"), TypeError),
        (("a", None), TypeError),
    ],
)
def test_prefixes_that_do_not_tell_two_blocks_apart_are_refused(prefixes, error):
    with pytest.raises(error, match="prefix"):
        from_prefix(*prefixes)


@pytest.mark.parametrize(
    "copied",
    [
        lambda blocks: pickle.loads(pickle.dumps(blocks)),
        lambda blocks: clone(DualBranchClassifier(blocks)).blocks,
        lambda blocks: pickle.loads(pickle.dumps(DualBranchClassifier(blocks))).get_params()["blocks"],
    ],
    ids=["pickle", "clone", "pickled estimator"],
)
def test_a_copy_of_from_prefix_is_equal_and_picks_the_same(copied):
    blocks = from_prefix("u", "v")
    copy = copied(blocks)
    assert copy == blocks
    assert copy != from_prefix("u", "v_")  # which has the same names
    assert_indices(resolve(copy, FRAME[["v", "u"]]), [1], [0])


def test_prefixes_need_names_that_are_strings():
    with pytest.raises(ValueError, match=r"whose names are strings, but those of X are of int, 0 first"):
        resolve(from_prefix("a_", "b_"), pd.DataFrame(ARRAY))


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ((slice(2), [2, 3, 4, 5]), True),
        ({"p": [0, 1], "q": slice(2, None)}, True),
        (3, False),
        (([1, 0], slice(2, None)), False),
        ((slice(2, None), slice(2)), False),
    ],
    ids=str,
)
def test_the_same_columns_in_the_same_order_are_the_same_blocks(other, same):
    assert resolve(2, ARRAY).same_as(resolve(other, ARRAY)) is same
