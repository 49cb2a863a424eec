import math

import numpy as np
import pytest
import torch

from skdual.scaling.clipping import LIMIT
from skdual.scaling.column_scaler import ColumnScaler
from skdual.scaling.statistics import ColumnStatistics

MEAN, SCALE = np.array([1.0, -2, 0]), np.array([2.0, 0.5, 1])


ZERO = (0, 0, 0)


def statistics_of(center=ZERO, scale=(1, 1, 1), log_zero=ZERO, unit=ZERO, sentinel=ZERO, stand_in=ZERO):
    of_columns = (center, scale, log_zero, unit, sentinel, stand_in)
    return ColumnStatistics(*(np.array(values[: len(center)], dtype=float) for values in of_columns))


@pytest.fixture
def scaler():
    scaler = ColumnScaler(3, "standard").double()
    scaler.set_statistics(statistics_of(MEAN, SCALE))
    return scaler


def test_column_scaler_equals_the_formula_value_by_value(scaler):
    x = np.random.default_rng(0).normal(MEAN, 3 * SCALE, (50, 3))
    expected = np.empty_like(x)
    for i, j in np.ndindex(x.shape):
        z = (x[i, j] - MEAN[j]) / SCALE[j]
        expected[i, j] = z / math.sqrt(1 + (z / LIMIT) ** 2)
    np.testing.assert_allclose(scaler(torch.from_numpy(x)), expected, rtol=1e-14)


def test_values_near_the_mean_stay_and_far_ones_end_at_the_limit(scaler):
    mean, scale = torch.from_numpy(MEAN), torch.from_numpy(SCALE)
    deviations = torch.tensor([[0.0], [0.1], [-0.1], [1e4], [-1e4]])
    scaled = scaler(mean + deviations * scale)
    assert not scaled[0].any()
    torch.testing.assert_close(scaled[1:3], deviations[1:3].double().expand(2, 3), rtol=1e-3, atol=0)
    torch.testing.assert_close(scaled[3:], LIMIT * deviations[3:].sign().double().expand(2, 3), rtol=1e-6, atol=0)
    assert scaled.abs().max() <= LIMIT


@pytest.mark.parametrize(
    ("scaling", "logarithm", "clipped"),
    [
        ("standard", False, True),
        ("robust", False, True),
        ("log1p", True, True),
        ("minmax", False, False),
        ("maxabs", False, False),
    ],
)
def test_scalings_take_logarithms_and_clip_as_they_say(scaling, logarithm, clipped):
    layer = ColumnScaler(3, scaling).double()
    layer.set_statistics(statistics_of(MEAN, SCALE))
    x = np.random.default_rng(0).gamma(1, 20, (50, 3))
    expected = np.empty_like(x)
    for i, j in np.ndindex(x.shape):
        z = ((math.log(1 + x[i, j]) if logarithm else x[i, j]) - MEAN[j]) / SCALE[j]
        expected[i, j] = z / math.sqrt(1 + (z / LIMIT) ** 2) if clipped else z
    np.testing.assert_allclose(layer(torch.from_numpy(x)), expected, rtol=1e-13)


@pytest.mark.parametrize("log_zero", [[0, 0, 0], [0, 2.5, -1]], ids=str)
@pytest.mark.parametrize("unit", [[0, 0.5, 0], [2, 0, 10], [0.1, 0.2, 0.3]], ids=str)
def test_columns_with_a_unit_are_scaled_by_their_logarithms(unit, log_zero):
    layer = ColumnScaler(3, "standard").double()
    layer.set_statistics(statistics_of(MEAN, SCALE, log_zero, unit))
    x = np.random.default_rng(0).normal(2, 5, (50, 3))
    expected = np.empty_like(x)
    for i, j in np.ndindex(x.shape):
        u, value = unit[j], x[i, j]
        if u:
            distance = value - log_zero[j]
            value = math.copysign(math.log(1 + abs(distance) / u), distance)
        z = (value - MEAN[j]) / SCALE[j]
        expected[i, j] = z / math.sqrt(1 + (z / LIMIT) ** 2)
    rows = torch.from_numpy(x)
    before = rows.clone()
    np.testing.assert_allclose(layer(rows), expected, rtol=1e-12)
    assert torch.equal(rows, before)
    torch.testing.assert_close(layer.expand(layer.compress(rows)), rows, rtol=1e-10, atol=1e-12)
    assert layer(layer.origin[None]).abs().max() < 1e-12
    loaded = ColumnScaler(3, "standard").double()
    loaded.load_state_dict(layer.state_dict())
    assert torch.equal(loaded(rows), layer(rows))


def test_sentinels_are_scaled_as_their_stand_ins():
    layer = ColumnScaler(3, "standard").double()
    sentinel, stand_in, log_zero, unit = [-1, 1e20, 7], [1.5, 3, 7], [0, 0, 2], [2, 0, 0]
    layer.set_statistics(statistics_of(MEAN, SCALE, log_zero, unit, sentinel, stand_in))
    x = np.array([[-1, 1, 2], [0.51, 1e20, 7], [1.5, 1e19, -7], [60, 1e20 * (1 + 1e-9), -999]])
    compressed, expected = np.empty_like(x), np.empty_like(x)
    for i, j in np.ndindex(x.shape):
        value = x[i, j]
        if np.float32(value) == np.float32(sentinel[j]):  # the third has none
            value = stand_in[j]
        value = compressed[i, j] = math.log(1 + value / 2) if j == 0 else value
        z = (value - MEAN[j]) / SCALE[j]
        expected[i, j] = z / math.sqrt(1 + (z / LIMIT) ** 2)
    rows = torch.from_numpy(x)
    np.testing.assert_allclose(layer.compress(rows), compressed, rtol=1e-12)
    np.testing.assert_allclose(layer(rows), expected, rtol=1e-12)
    torch.testing.assert_close(layer(layer.expand(layer.compress(rows))), layer(rows))  # as gradients are taken
    loaded = ColumnScaler(3, "standard").double()
    loaded.load_state_dict(layer.state_dict())
    assert torch.equal(loaded(rows), layer(rows))


def test_logarithms_have_their_gradients_at_0():
    layer = ColumnScaler(3, "standard").double()
    layer.set_statistics(statistics_of(unit=[4, 0, 2], log_zero=[0, 0, 5]))
    x = torch.tensor([[0, 0, 5]], dtype=torch.float64, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.tolist() == [[1 / 4, 1, 1 / 2]]
    logarithm = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    layer.expand(logarithm).sum().backward()
    assert logarithm.grad.tolist() == [[4, 1, 2]]


def test_values_too_large_to_divide_end_at_the_limit():
    layer = ColumnScaler(1, "standard")
    layer.set_statistics(statistics_of([0], [1], unit=[1e-10]))
    x = torch.tensor([[3e38], [-3e38], [1]], requires_grad=True)
    z = layer(x)
    assert z.ravel().tolist()[:2] == pytest.approx([LIMIT, -LIMIT], rel=1e-3)
    z.sum().backward()
    assert x.grad.isfinite().all()


def test_what_the_limit_leaves_of_the_mean_is_subtracted_last(scaler):
    x = torch.from_numpy(np.random.default_rng(0).exponential(8, (50, 3)))
    clipped = scaler(x)
    assert clipped.mean(dim=0).abs().min() > 0.5
    scaler.set_clipped_mean(clipped.mean(dim=0).numpy())
    torch.testing.assert_close(scaler(x), clipped - clipped.mean(dim=0))


def test_column_scaler_has_mean_0_and_scale_1_until_statistics_are_set():
    unset, zero_one = ColumnScaler(3, "standard"), ColumnScaler(3, "standard")
    zero_one.set_statistics(statistics_of())
    x = torch.randn(4, 3)
    assert torch.equal(unset(x), zero_one(x))


def test_a_scale_that_float32_rounds_to_0_is_none():
    scaler = ColumnScaler(2, "maxabs")
    scaler.set_statistics(statistics_of([0, 0], [1e-60, 2]))
    assert scaler(torch.tensor([[0.0, 4.0]])).tolist() == [[0.0, 2.0]]


def test_statistics_are_saved_but_not_trained(scaler):
    assert set(scaler.state_dict()) == {"center", "scale", "log_zero", "unit", "sentinel", "stand_in", "clipped_mean"}
    assert not list(scaler.parameters())


def test_statistics_are_copies(scaler):
    statistics, x = statistics_of(), torch.ones(1, 3).double()
    scaler.set_statistics(statistics)
    before = scaler(x)
    for values in statistics:
        values[:] = 7
    assert torch.equal(scaler(x), before)
