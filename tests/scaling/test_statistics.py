import math
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm
from sklearn.preprocessing import StandardScaler
from stored_rows import N, P, chosen, every_value_twice, of_rows, stored_as
from stored_rows import data_set as rows_of

from skdual.inputs import chunks
from skdual.inputs.columns import ColumnBlocks
from skdual.inputs.rows import Rows
from skdual.scaling import statistics
from skdual.scaling.statistics import column_statistics


def data_set(X, **options):
    return rows_of(X, y=np.arange(X.shape[0]) % 3, **options)


def statistics_of(rows):
    return column_statistics(rows, "standard", np.arange(P), torch.float64)


def test_duplicates_stay_unsummed_in_the_matrix(X, tmp_path):
    doubled = every_value_twice(X, tmp_path)
    statistics_of(data_set(doubled))
    assert doubled.nnz == 2 * X.size


def test_statistics_make_no_more_than_a_chunk_dense(X, monkeypatch):
    shapes, toarray = [], sp.csr_matrix.toarray
    monkeypatch.setattr(sp.csr_matrix, "toarray", lambda part: shapes.append(part.shape) or toarray(part))
    monkeypatch.setattr(chunks, "_PART_VALUES", 20 * P)
    monkeypatch.setattr(statistics, "_SAMPLE", (20, 20))
    statistics_of(data_set(sp.csr_matrix(X)))
    assert shapes == [(20, P)] * 4  # a sample of the rows, and all of them in three parts


@stored_as
@of_rows
@pytest.mark.parametrize("values", [1, 2**24], ids=["many chunks", "one chunk"])
def test_statistics_are_those_of_standard_scaler(X, stored, subset, values, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "_PART_VALUES", values)
    mean, scale, *_ = statistics_of(data_set(stored(X, tmp_path), subset=subset))
    oracle = StandardScaler().fit(chosen(X, subset).astype(np.float64))
    assert mean.dtype == scale.dtype == np.float64
    assert_allclose(mean, oracle.mean_, rtol=1e-10)
    assert_allclose(scale, oracle.scale_, rtol=1e-10)


@pytest.mark.parametrize("values", [1, 2**24], ids=["many chunks", "one chunk"])
def test_constant_columns_have_scale_one(X, values, monkeypatch):
    monkeypatch.setattr(chunks, "_PART_VALUES", values)
    _, scale, *_ = statistics_of(data_set(X))
    assert_array_equal(scale == 1, np.ptp(X, axis=0) == 0)


@stored_as
@of_rows
def test_statistics_do_not_depend_on_how_the_rows_are_stored(X, stored, subset, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "_PART_VALUES", 1)
    expected = statistics_of(data_set(X, subset=subset))
    assert_array_equal(statistics_of(data_set(stored(X, tmp_path), subset=subset)), expected)


def by_quartiles(column):
    lower, median, upper = np.percentile(column, [25, 50, 75])
    return median, (upper - lower) / (2 * norm.ppf(0.75))


@stored_as
@of_rows
def test_a_column_of_few_values_far_astray_is_scaled_by_its_quartiles(X, stored, subset, tmp_path):
    X = X.copy()
    X[:, [2, 5]] = np.random.default_rng(0).normal(size=(len(X), 2))
    X[::7, 2] = -999 - np.arange(len(X[::7]))  # not one value, which would be a sentinel
    rows = chosen(X, subset).astype(np.float64)
    expected = StandardScaler().fit(rows)
    center, scale = expected.mean_, expected.scale_
    center[2], scale[2] = by_quartiles(rows[:, 2])
    got = statistics_of(data_set(stored(X, tmp_path), subset=subset))
    assert_allclose(got, (center, scale, *np.zeros((4, P))), rtol=1e-10)


@pytest.mark.parametrize("deviations", [99, 101])
def test_a_column_is_scaled_by_its_quartiles_from_a_hundred_of_them_on(deviations):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5000, P))
    is_far = rng.random(5000) < 0.05
    apart = rng.uniform(0.9, 1.1, 5000)  # one value would be a sentinel
    _, spread = by_quartiles(np.where(is_far, -1e9, X[:, 3]))
    # a value that is far enough for the deviation to be what is asked for
    low, high = 1.0, 1e6
    for _ in range(100):
        middle = (low + high) / 2
        far_enough = np.where(is_far, -middle * apart, X[:, 3]).std() > deviations * spread
        low, high = (low, middle) if far_enough else (middle, high)
    X[is_far, 3] = -low * apart[is_far]
    center, scale, *_ = statistics_of(data_set(X))
    expected = by_quartiles(X[:, 3]) if deviations > 100 else (X[:, 3].mean(), X[:, 3].std())
    assert_allclose((center[3], scale[3]), expected, rtol=1e-6)
    others = np.arange(P) != 3
    assert_allclose(scale[others], X[:, others].std(axis=0), rtol=1e-10)


@pytest.fixture
def tails():
    """Columns of a long tail, the first of mostly zeros; one of two tails, and three of none."""
    rng = np.random.default_rng(0)
    tails = rng.exponential(np.logspace(-3, 3, P), (N, P)) ** 1.5
    tails[rng.random(N) < 0.6, 0] = 0
    tails[:, 2] = rng.random(N)
    tails[:, 3] = 5 + rng.standard_t(1, N)
    tails[:, 4] = rng.normal(5, 1, N)
    tails[9:, 5] = 0  # nine values
    tails[7, 3:5] = -1
    return tails


def with_logarithms(column):
    """A column and the value whose logarithm is 0 and the unit of it, all by the words of the documentation."""
    zero = np.median(column) if min(column) < 0 else 0
    distances = abs(column - zero)
    tenth, median, ninth, last = np.quantile(distances[distances > 0], [0.1, 0.5, 0.9, 0.98])
    is_long = ninth > 3 * median
    if min(column) < 0:
        is_long &= last > 1.5 * ninth and np.sqrt(np.mean(distances[distances > 0] ** 2)) > 3 * median
    if not is_long or np.count_nonzero(distances) < (50 if min(column) < 0 else 10):
        return column, 0, 0
    return [math.copysign(math.log(1 + abs(x - zero) / tenth), x - zero) for x in column], zero, tenth


@stored_as
@of_rows
def test_columns_of_long_tails_are_scaled_by_their_logarithms(tails, stored, subset, tmp_path):
    rows = chosen(tails, subset)
    columns, log_zero, unit = zip(*map(with_logarithms, rows.T), strict=True)
    expected = StandardScaler().fit(np.transpose(columns))
    got = statistics_of(data_set(stored(tails, tmp_path), subset=subset))
    assert_allclose(got, (expected.mean_, expected.scale_, log_zero, unit, *np.zeros((2, P))), rtol=1e-9)
    assert set(np.flatnonzero(unit)) <= {0, 1, 3, 6}
    assert ({1, 6} if len(rows) < 50 else {1, 3, 6}) <= set(np.flatnonzero(unit))


@pytest.mark.parametrize("ratio", [2.99, 3.01])
def test_a_tail_is_long_from_three_times_the_median_on(ratio):
    X = np.random.default_rng(0).normal(size=(101, P))
    X[:, 1] = np.random.default_rng(1).permutation(np.interp(np.arange(101), [0, 50, 90, 100], [0.5, 1, ratio, 5]))
    unit = statistics_of(data_set(X)).unit
    assert_allclose(unit, np.where(np.arange(P) == 1, 0.6, 0) if ratio > 3 else 0)


@pytest.mark.parametrize("store", [np.asarray, sp.csr_matrix])
@pytest.mark.parametrize(
    ("ninth", "last", "farthest", "are_long"),
    [
        (2.99, 9, 50, False),
        (3.01, 9, 50, True),
        (4, 5.99, 50, False),
        (4, 6.01, 50, True),
        (3.1, 4.8, "too near", False),
        (3.1, 4.8, "far enough", True),
    ],
)
def test_two_tails_are_long_by_three_quotients(ninth, last, farthest, are_long, store):
    """3 medians of distances at the ninth decile and the root mean square, 1.5 of these at the 98th percentile."""
    places = [0, 98, 103, 178, 183, 194, 198]
    distances = np.interp(np.arange(201), places, [0, 1, 1, ninth, ninth, last, last])
    if isinstance(farthest, str):  # by what makes a mean square of 9
        farthest = np.sqrt(9 * 200 - np.sum(distances[:-1] ** 2)) * (0.999 if farthest == "too near" else 1.001)
    distances[-1] = farthest
    rng = np.random.default_rng(0)
    X = rng.normal(size=(403, P))
    X[:, 1] = rng.permutation([7, *(7 + distances), *(7 - distances)])
    _, _, log_zero, unit, *_ = statistics_of(data_set(store(X)))
    assert_array_equal(log_zero, np.where(np.arange(P) == 1, 7 * are_long, 0))
    assert_array_equal(unit > 0, (np.arange(P) == 1) & are_long)


def test_two_tails_are_those_of_the_same_values_elsewhere_and_in_other_units():
    X = np.random.default_rng(0).standard_t(1, (N, P))
    center, scale, log_zero, unit, *_ = statistics_of(data_set(X))
    factor, shift = np.logspace(-3, 3, P), np.linspace(-5, 5, P)
    assert (unit > 0).sum() > P / 2
    moved = statistics_of(data_set(factor * (X + shift)))[:4]
    is_long = (unit > 0) & (factor * (X + shift) < 0).any(axis=0)
    expected = (center, scale, factor * (log_zero + shift), factor * unit)
    assert_allclose([of[is_long] for of in moved], [of[is_long] for of in expected], rtol=1e-9, atol=1e-12)


def test_many_rows_tell_their_tails_by_a_sample():
    X = np.random.default_rng(0).exponential(size=(10_000, P)) ** 2
    sample = np.random.default_rng(0).permutation(10_000)[:4_096]
    expected = [np.quantile(X[sample, j], 0.1) for j in range(P)]
    center, scale, _, unit, *_ = statistics_of(data_set(X))
    assert_allclose(unit, expected)
    logarithms = np.log1p(X / unit)
    assert_allclose((center, scale), (logarithms.mean(axis=0), logarithms.std(axis=0)), rtol=1e-9)


def test_rows_in_pairs_tell_by_a_sample_of_both_classes():
    """Every second row, of one class, would say nothing of what a code for what is missing tells."""
    random_generator = np.random.default_rng(0)
    for n in (8_190, 8_191):  # 4,095 pairs, and a row
        y = np.arange(n) % 2
        X = random_generator.normal(size=(n, P)) + 0.3 * y[:, None]
        X[random_generator.random(n) < np.where(y, 0.3, 0.05), 0] = -999
        order = random_generator.permutation(n)
        pairs, shuffled = (
            column_statistics(rows_of(X[some], y=y[some]), "standard", np.arange(P), torch.float64).stand_in[0]
            for some in (np.arange(n), order)
        )
        assert pairs == pytest.approx(shuffled, rel=0.25)


def test_values_below_0_outside_the_sample_have_logarithms_too():
    X = np.random.default_rng(0).exponential(size=(10_000, P)) ** 2
    sample = np.random.default_rng(0).permutation(10_000)[:4_096]
    X[np.setdiff1d(np.arange(10_000), sample)[:200], 1] = -999
    center, scale, log_zero, unit, *_ = statistics_of(data_set(X))
    assert (unit > 0).all()
    assert not log_zero.any()
    logarithms = np.copysign(np.log1p(abs(X) / unit), X)
    assert_allclose((center, scale), (logarithms.mean(axis=0), logarithms.std(axis=0)), rtol=1e-9)


def test_values_far_astray_in_a_column_of_a_long_tail_are_left_to_its_logarithm(tails):
    tails[::50, 1] = 1e9
    center, scale, _, unit, *_ = statistics_of(data_set(tails))
    assert unit[1] > 0
    logarithms = np.log1p(tails[:, 1] / unit[1])
    assert_allclose((center[1], scale[1]), (logarithms.mean(), logarithms.std()), rtol=1e-9)


@stored_as
@of_rows
def test_few_values_far_astray_in_a_column_of_mostly_one_value(X, stored, subset, tmp_path):
    """Where the quartiles are one value, what differs from it says how the column is scaled."""
    X, random_generator = X.copy(), np.random.default_rng(0)
    X[:, 2] = random_generator.random(len(X)) < 0.2
    X[:, 5] = np.where(random_generator.random(len(X)) < 0.2, random_generator.normal(7, 4, len(X)), 7)
    X[3::25, 2], X[5::25, 5] = -9999, 1e6
    rows = chosen(X, subset).astype(np.float64)
    expected = StandardScaler().fit(rows)
    center, scale = expected.mean_, expected.scale_
    for j, value in ((2, 0), (5, 7)):
        distances = sorted(abs(x - value) for x in rows[:, j] if x != value)
        center[j], scale[j] = value, distances[(len(distances) - 1) // 2] * math.sqrt(len(distances) / len(rows))
    got = statistics_of(data_set(stored(X, tmp_path), subset=subset))
    assert_allclose(got, (center, scale, *np.zeros((4, P))), rtol=1e-10)
    assert 0.3 < scale[2] < 0.7


def test_a_column_of_mostly_one_value_keeps_its_deviation():
    X = np.random.default_rng(0).normal(size=(200, P))
    X[:, 4] = 0
    X[::50, 4] = 1e6
    assert_allclose(statistics_of(data_set(X))[1], X.std(axis=0), rtol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_logarithm_is_beyond_the_dtype(dtype):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, P))
    X[:, 1] = 10.0 ** rng.uniform(-100, 0, N)  # such as p-values: float32 ends at 1e-38
    X[:, 4] = 10.0 ** rng.uniform(-30, 30, N)  # of which the largest is 1e57 units
    center, scale, _, unit, *_ = column_statistics(data_set(X), "standard", np.arange(P), dtype)
    tenths = np.quantile(X[:, [1, 4]], 0.1, axis=0)
    if dtype == torch.float64:
        assert_allclose(unit[[1, 4]], tenths)
    else:
        assert_allclose(unit[[1, 4]], np.maximum([np.finfo("f4").tiny, 2 * X[:, 4].max() / np.finfo("f4").max], tenths))
    with torch.no_grad():
        values, unit = torch.from_numpy(X[:, [1, 4]]).to(dtype), torch.from_numpy(unit[[1, 4]]).to(dtype)
        z = (torch.log1p(values / unit).double().numpy() - center[[1, 4]]) / scale[[1, 4]]
    assert_allclose(z.mean(axis=0), 0, atol=1e-5)
    assert_allclose(z.std(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("store", [np.asarray, sp.csr_matrix])
def test_a_sample_of_some_columns_copies_no_others(store):
    wide = store(sp.random(600, 20_000, density=0.05, format="csr", random_state=0).toarray())
    columns = ColumnBlocks(("a", "b"), (np.arange(5), np.arange(5, 20_000)))
    rows = Rows(wide, columns, torch.device("cpu"), torch.float64, np.arange(600) % 3)
    tracemalloc.start()
    column_statistics(rows, "standard", np.arange(5), torch.float64)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6  # bytes: a part of all rows has 8 million, the dense sample would have 82
