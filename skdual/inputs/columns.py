"""Which columns feed which branch: the grammar of ``blocks`` and what it resolves to."""

import numbers
import operator
import reprlib
from dataclasses import dataclass

import numpy as np

from .frames import column_label, column_names

_GRAMMAR = (
    "None, an int k (the first k columns | the rest; -k: the rest | the last k), a pair or a dict name -> "
    "selector of two selectors (slice, indices, boolean mask, names or callable), or from_prefix(...)"
)
_NAME_KINDS = "UOT"  # kinds of numpy's dtypes that names come in


class Prefix:
    """Callable selector of the columns whose name starts with ``prefix``."""

    def __init__(self, prefix):
        self.prefix = prefix

    def __call__(self, X):
        all_names = column_names(X)
        names = [name for name in all_names if isinstance(name, str)]
        if len(all_names) and not names:
            raise ValueError(
                f"blocks=from_prefix({self.prefix!r}, ...) picks columns whose names are strings, but those of X are "
                f"of {type(all_names[0]).__name__}, {all_names[0]!r} first; rename them, or give blocks=k for the "
                f"first k columns."
            )
        if not names:
            raise ValueError(
                f"blocks=from_prefix({self.prefix!r}, ...) picks columns by name, but X is a "
                f"{type(X).__name__} without column names; give a DataFrame (in a pipeline: "
                f"set_output(transform='pandas')), or blocks=k for the first k columns, as in ensembles and selectors "
                f"that hand on an array."
            )
        return [name for name in names if name.startswith(self.prefix)]

    def __repr__(self):
        return f"Prefix({self.prefix!r})"

    def __eq__(self, other):
        return isinstance(other, Prefix) and self.prefix == other.prefix

    def __hash__(self):
        return hash(self.prefix)


def from_prefix(prefix_a, prefix_b):
    """Blocks by column name, for names such as ColumnTransformer writes them.

    Parameters
    ----------
    prefix_a, prefix_b : str
        What the names of the columns of block A and of block B start with. The blocks are called by the
        prefixes without the underscores or colons that they end in.

    Returns
    -------
    blocks : dict
        To be given as ``blocks`` to :class:`~skdual.DualBranchClassifier`.

    Raises
    ------
    TypeError
        If a prefix is not a string.
    ValueError
        If a prefix is empty, if one starts with the other, so that columns would be in both blocks, or if the blocks
        would be called the same.

    Examples
    --------
    >>> from skdual import from_prefix
    >>> from_prefix("rna__", "protein__")
    {'rna': Prefix('rna__'), 'protein': Prefix('protein__')}
    """
    for name, prefix in (("prefix_a", prefix_a), ("prefix_b", prefix_b)):
        if not isinstance(prefix, str):
            raise TypeError(f"{name} must be a string, got {type(prefix).__name__}.")
    names = [prefix.rstrip("_:") or prefix for prefix in (prefix_a, prefix_b)]
    if prefix_a.startswith(prefix_b) or prefix_b.startswith(prefix_a) or names[0] == names[1]:
        raise ValueError(f"the prefixes must tell two blocks apart, got {prefix_a!r} and {prefix_b!r}.")
    return dict(zip(names, (Prefix(prefix_a), Prefix(prefix_b)), strict=True))


@dataclass(frozen=True, eq=False)
class ColumnBlocks:
    """The columns of both blocks, by position in X.

    Attributes
    ----------
    names : tuple of two str
    indices : tuple of two ndarray of int64
        Positions of the columns of block A and of block B.
    """

    names: tuple
    indices: tuple

    @property
    def n_columns(self):
        return tuple(len(index) for index in self.indices)

    def same_as(self, other):
        return all(np.array_equal(mine, theirs) for mine, theirs in zip(self.indices, other.indices, strict=True))


def resolve_blocks(blocks, X, n_features, feature_names):
    """Turn the ``blocks`` parameter into column positions.

    Parameters
    ----------
    blocks : see DualBranchClassifier
    X : the matrix as the user gave it, handed to callable selectors
    n_features : int
    feature_names : ndarray of str or None

    Returns
    -------
    ColumnBlocks

    Raises
    ------
    TypeError, ValueError
        If ``blocks`` is not of the grammar, or the blocks are empty, overlap or leave columns out.
    """
    everything = np.arange(n_features)
    if blocks is None:
        return ColumnBlocks(("a", "b"), (everything, everything))
    if _is_integer(blocks):
        _check_width(blocks, n_features)
        if not 0 < abs(int(blocks)) < n_features:
            raise ValueError(
                f"blocks={blocks} must leave at least one column in each block; X has n_features = {n_features} "
                f"columns, so its size must be between 1 and {n_features - 1} or between {1 - n_features} and -1."
            )
        return ColumnBlocks(("a", "b"), (everything[:blocks], everything[blocks:]))
    if isinstance(blocks, dict):
        names, selectors = tuple(blocks), tuple(blocks.values())
    elif isinstance(blocks, (tuple, list)):
        names, selectors = ("a", "b"), tuple(blocks)
    else:
        raise TypeError(f"blocks must be {_GRAMMAR}; got {blocks!r}.")
    if len(selectors) == 2 and len(getattr(selectors[0], "shape", ())) == 2:
        raise TypeError("blocks holds a matrix, as what join_blocks gives: X, blocks = skdual.join_blocks(A, B).")
    if len(selectors) != 2:
        raise ValueError(f"blocks must name two blocks, got {len(selectors)}: {blocks!r}.")
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"the names of blocks must be strings, got {names!r}.")
    _check_width(blocks, n_features)
    indices = tuple(
        _resolve_selector(name, selector, X, everything, feature_names)
        for name, selector in zip(names, selectors, strict=True)
    )
    for name, selector, index in zip(names, selectors, indices, strict=True):
        if not len(index):
            raise ValueError(
                f"blocks: block {name!r} has no columns (X has {n_features}); it must have at least one, got "
                f"{selector!r}."
            )
    are_widths = all(map(_is_integer, selectors)) and sum(selectors) == n_features
    hint = f"; two numbers are two columns, the first {selectors[0]} are blocks={selectors[0]}" if are_widths else ""
    _check_partition(names, indices, n_features, feature_names, hint)
    return ColumnBlocks(names, indices)


def _is_integer(selector):
    return isinstance(selector, numbers.Integral) and not isinstance(selector, (bool, np.bool_))


def _check_width(blocks, n_features):
    if n_features < 2:
        raise ValueError(
            f"blocks={blocks!r} needs a column of X for each of two blocks, but X has n_features = {n_features}; with "
            f"blocks=None both branches read every column."
        )


def _resolve_selector(block, selector, X, everything, feature_names):
    """Column positions of one selector of ColumnTransformer's grammar."""
    if callable(selector):
        selector = _selected_by(block, selector, X)
    if isinstance(selector, slice):
        return _resolve_slice(block, _slice_of_numbers(block, selector, X, feature_names), everything)
    wanted = _checked_entries(block, selector)
    if wanted.dtype.kind in _NAME_KINDS:
        return np.array([_position(block, name, X, feature_names) for name in wanted.tolist()], dtype=np.int64)
    if wanted.dtype.kind == "b":
        return _resolve_mask(block, wanted, everything)
    return _resolve_numbers(block, wanted, everything)


def _selected_by(block, selector, X):
    """The selector that a callable gives for X."""
    if isinstance(selector, Prefix):  # whose errors say themselves what they are about
        return selector(X)
    try:
        return selector(X)
    except Exception as error:
        raise ValueError(
            f"blocks: the callable of block {block!r} failed on X, of {type(X).__name__}: {error!r}."
        ) from error


def _slice_of_numbers(block, selector, X, feature_names):
    """A slice of numbers in place of one of names, which includes its end, as in pandas."""
    ends = [end for end in (selector.start, selector.stop) if end is not None]
    if not any(isinstance(end, str) for end in ends):
        return selector
    if not all(isinstance(end, str) for end in ends):
        raise TypeError(f"blocks: the slice of block {block!r} mixes names and numbers; got {selector!r}.")
    if isinstance(selector.step, numbers.Integral) and selector.step < 0:
        raise ValueError(f"blocks: the slice of block {block!r} goes backwards; got {selector!r}. List the names.")
    start = None if selector.start is None else _position(block, selector.start, X, feature_names)
    stop = None if selector.stop is None else _position(block, selector.stop, X, feature_names) + 1
    return slice(start, stop, selector.step)


def _checked_entries(block, selector):
    """What a selector lists, or the one thing that it is: a 1-D array of names, of booleans or of numbers."""
    if isinstance(selector, str):
        selector = [selector]
    wanted = np.asarray(selector if np.ndim(selector) else [selector])
    if wanted.size == 0:
        return np.empty(0, dtype=np.int64)
    # numpy makes strings of numbers beside strings
    given = selector if isinstance(selector, (list, tuple)) else wanted.flat
    if wanted.dtype.kind in "iuf" and any(isinstance(entry, (bool, np.bool_)) for entry in given):
        raise TypeError(f"blocks: the selector of block {block!r} mixes booleans and numbers; got {selector!r}.")
    not_names = wanted.dtype.kind in _NAME_KINDS and not all(isinstance(name, str) for name in given)
    if wanted.ndim != 1 or wanted.dtype.kind not in "biu" + _NAME_KINDS or not_names:
        raise TypeError(
            f"blocks: the selector of block {block!r} must be a slice, column numbers, a boolean mask, names or a "
            f"callable; got {selector!r}."
        )
    return wanted


def _resolve_mask(block, mask, everything):
    if len(mask) != len(everything):
        raise ValueError(
            f"blocks: the boolean mask of block {block!r} has {len(mask)} entries, X has {len(everything)} columns."
        )
    return everything[mask]


def _resolve_numbers(block, columns, everything):
    try:
        return everything[columns]
    except IndexError as error:
        raise ValueError(
            f"blocks: block {block!r} of an X with {len(everything)} columns: {error}; "
            f"{reprlib.repr(columns.tolist())} are column numbers, a range of them is slice(start, stop)."
        ) from error


def _resolve_slice(block, selector, everything):
    """Column positions of a slice, none of whose ends may lie outside of X: Python would cut it without a word."""
    n_features = len(everything)
    try:
        ends = [operator.index(end) for end in (selector.start, selector.stop) if end is not None]
        index = everything[selector].copy()  # torch makes no tensor of a view that runs backwards
    except (TypeError, ValueError) as error:
        raise type(error)(f"blocks: block {block!r} is {selector!r}: {error}.") from error
    if any(abs(end) > n_features for end in ends):
        raise ValueError(
            f"blocks: block {block!r} is {selector!r}, but X has {n_features} columns; the ends of a slice must lie "
            f"between {-n_features} and {n_features}."
        )
    return index


def _position(block, name, X, feature_names):
    if feature_names is None:
        names = column_names(X)
        why = "X has none; give a DataFrame, or column numbers, as in ensembles and selectors that hand on an array."
        if names:
            kind = type(names[0]).__name__
            why = f"those of X are of {kind}, {names[0]!r} first; rename them to str, or give column numbers."
        raise ValueError(f"blocks: block {block!r} is given by column names, but {why}")
    found = np.flatnonzero(feature_names == name)
    if not len(found):
        starts = [column for column in feature_names if column.startswith(name)]
        hint = (
            f"; {len(starts)} start with it, for which there is from_prefix"
            if starts
            else f", which are {reprlib.repr(feature_names.tolist())}"
        )
        raise ValueError(f"blocks: column {name!r} of block {block!r} is not among the columns of X{hint}.")
    return int(found[0])


def _check_partition(names, indices, n_features, feature_names, hint):
    """Refuse blocks that overlap, repeat or leave out columns; of the latter the message ends with a hint."""
    uses = np.bincount(np.concatenate(indices), minlength=n_features)
    if (uses > 1).any():
        twice = np.flatnonzero(uses > 1)
        raise ValueError(
            f"blocks: {len(twice)} of {n_features} columns are in both blocks or twice in one, "
            f"{column_label(twice[0], feature_names)} first."
        )
    if (uses == 0).any():
        missing = np.flatnonzero(uses == 0)
        raise ValueError(
            f"blocks: {len(missing)} of {n_features} columns are in neither block (block {names[0]!r} has "
            f"{len(indices[0])}, block {names[1]!r} has {len(indices[1])}), {column_label(missing[0], feature_names)} "
            f"first; leave columns out of X that no branch should read{hint}."
        )
