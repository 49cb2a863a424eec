"""What "auto" stands for by columns and rows: widths, dropout, members, batches, epochs, rates, decay and mixing."""

import math
from itertools import pairwise

import numpy as np

WIDE_SIZES = ((2048, 1024, 512, 256), (512, 256))
"""Widths of branch A and branch B for wide blocks of as many rows (see :func:`hidden_layer_sizes`)."""

WIDE_DROPOUT = (0.5, 0.2)
"""Dropout rates that go with them."""

NARROW_SIZES = (256, 128)
"""Widths of other branches, halved for fewer than 16 columns."""

NARROW_DROPOUT = 0.2

MAX_MEMBERS = 8
"""Halved where they would be too large, or see too many rows an epoch."""

MIN_EPOCHS = 40
MIN_STEPS = 350
"""Least optimizer steps of a fit, for which there are more epochs where rows are few."""

MIN_FULL_BATCH_STEPS = 175
"""Least steps where one batch holds all rows."""

MIN_CYCLE_ROWS = 100
"""Training rows from which on the learning rate falls in two cycles; of fewer, too few are held out to choose by."""

_MIN_WIDTH = 32
_MAX_UNITS_PER_COLUMN = 16
_MAX_WEIGHTS = 32_000_000  # of the branches' hidden layers that are trained, all members together
_MAX_WIDENED_WEIGHTS = 256_000_000  # of them after the fit, where rows are few
_MAX_WIDENED_ROWS = 2000
_MAX_MEMBER_ROWS = 100_000  # rows times members
_FEW_ROWS_PER_CLASS = 10  # on the mean
_MAX_FULL_BATCH = 64
_MIXUP_ALPHA = 0.4
_MAX_ZERO_SHARE = 0.5
_LEARNING_RATE = 2e-3
_MAX_LEARNING_RATE = 8e-3
_RATE_ROWS = 100  # rows to the root of columns from which on the rate rises
_MAX_RATE_ROWS = 4096
_MAX_WEIGHT_DECAY = 1.0
_MAX_SHRINKAGE = 4.0  # twice the exponent, for the mean of the learning rate is half its peak


def hidden_layer_sizes(n_columns, max_ranks):
    """Widths of both branches.

    Parameters
    ----------
    n_columns : pair of int
        Of block A and of block B.
    max_ranks : pair of int
        Largest rank that the training rows of either block can have: its columns, or the rows where these are fewer.
    """
    return tuple(
        wide if _is_wide(max_rank, wide) else _narrow_sizes(p)
        for wide, p, max_rank in zip(WIDE_SIZES, n_columns, max_ranks, strict=True)
    )


def dropout(max_ranks):
    """A rate for each branch, which goes with its widths."""
    return tuple(
        rate if _is_wide(max_rank, sizes) else NARROW_DROPOUT
        for rate, sizes, max_rank in zip(WIDE_DROPOUT, WIDE_SIZES, max_ranks, strict=True)
    )


def _is_wide(max_rank, sizes):
    """Whether a block has at least 4 columns, and training rows, for each unit that wide widths start with."""
    return max_rank >= 4 * sizes[0]


def _narrow_sizes(n_columns):
    """Halved until they start with at most 16 units a column, or with 32."""
    sizes: tuple[int, ...] = NARROW_SIZES
    while sizes[0] > max(_MIN_WIDTH, _MAX_UNITS_PER_COLUMN * n_columns):
        sizes = tuple(size // 2 for size in sizes)
    return sizes


def n_members(n_columns, max_ranks, sizes, n_train):
    """8, halved until the members have few enough weights in their encoders, of widths ``sizes``, and rows to see.

    Few rows train no more weights of a unit than there are rows (see ``training/span``).
    """
    few_rows = n_train <= _MAX_WIDENED_ROWS
    n_trained = _n_hidden_weights(max_ranks if few_rows else n_columns, sizes)
    n_widened = _n_hidden_weights(n_columns, sizes) if few_rows else 0
    n = MAX_MEMBERS
    while n > 1 and (
        n * n_trained > _MAX_WEIGHTS or n * n_widened > _MAX_WIDENED_WEIGHTS or n * n_train > _MAX_MEMBER_ROWS
    ):
        n //= 2
    return n


def n_branch_weights(max_ranks, sizes, n_members):
    """How many weights the branches of all members have in training, those of the shortcuts among them."""
    of_shortcuts = sum(n * of_branch[-1] for n, of_branch in zip(max_ranks, sizes, strict=True))
    return n_members * (_n_hidden_weights(max_ranks, sizes) + of_shortcuts)


def _n_hidden_weights(n_columns, sizes):
    """Those of the hidden layers of both branches."""
    return sum(
        n_in * n_out for p, of_branch in zip(n_columns, sizes, strict=True) for n_in, n_out in pairwise([p, *of_branch])
    )


def allows_row_norms(n_rows, n_columns):
    """Whether a block of so many training rows and columns lets branches see the norm of a row.

    With fewer than two rows a column, new rows are shorter than training rows in the directions that these tell
    anything about.
    """
    return n_rows >= 2 * n_columns


def mixup_alpha(zero_shares):
    """No mixing of rows that are mostly zeros in either block: the mean of two of them is not a likely third."""
    return _MIXUP_ALPHA if max(zero_shares) <= _MAX_ZERO_SHARE else 0.0


def batch_size(n_train, n_classes):
    """All rows where there are few; else the power of two nearest to a sixteenth of them, 32 to 256.

    Where a class has few rows, to two of each: with fewer, most rows would have no other of their class beside them,
    which the contrastive loss needs.
    """
    if n_train <= _MAX_FULL_BATCH:
        return n_train
    n_rows = n_train / 16
    if n_train <= _FEW_ROWS_PER_CLASS * n_classes:
        n_rows = max(n_rows, 2 * n_classes)
    return min(n_train, int(np.clip(2 ** round(math.log2(n_rows)), 32, 256)))


def max_epochs(steps):
    """At least 40 epochs of so many steps, and as many as make 350 steps, or 175 where one batch holds all rows."""
    return max(MIN_EPOCHS, math.ceil((MIN_STEPS if steps > 1 else MIN_FULL_BATCH_STEPS) / steps))


def first_cycle(epochs, n_train):
    """Epochs of a first cycle of the learning rate, a quarter of all; None where rows are few and there is one cycle.

    Noisy classes are best after a quarter of the epochs that intricate borders take. Which it is, the rows that members
    hold out can tell, where they are enough.
    """
    return epochs // 4 if n_train >= MIN_CYCLE_ROWS else None


def learning_rate(n_columns, n_train):
    """2e-5 n / sqrt(p), from 0.002 to 0.008: higher for many rows of few columns, which allow more curved borders."""
    rate = _LEARNING_RATE * min(n_train, _MAX_RATE_ROWS) / (_RATE_ROWS * math.sqrt(n_columns))
    return min(max(rate, _LEARNING_RATE), _MAX_LEARNING_RATE)


def weight_decay(learning_rate, n_steps):
    """1, and less in long fits, so that weights are shrunk no more than to exp(-2) over all of a fit.

    That is exp(-weight_decay x mean learning rate x steps), where the mean is half the peak (Wang & Aitchison, 2025).
    """
    return min(_MAX_WEIGHT_DECAY, _MAX_SHRINKAGE / (learning_rate * n_steps))
