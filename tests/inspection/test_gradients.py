"""The three methods against gradients by hand, differences of scores, sums along the path, and completeness."""

import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.exceptions import ConvergenceWarning

from skdual import DualBranchClassifier
from skdual.inspection import attributions, class_attributions, gradients
from skdual.network import DualBranchNetwork

VARIANTS = [
    {},
    # with 0 a place on a path is so sharp that columns are up to .6 % off while the sums fit already
    {"fusion": "attention", "random_state": 1},
    {"head": "linear", "normalization": "batch"},
    {"block_dropout": 0},
    {"n_members": 1, "activation": "gelu_tanh"},
]


@pytest.fixture(scope="module", params=VARIANTS, ids=str)
def exact(request, planted, unnamed, settings):
    """A model that computes in float64, and its rows."""
    X = planted[0].to_numpy(np.float64)
    blocks = [list(index) for index in unnamed.block_indices_]
    return DualBranchClassifier(blocks, **(settings | {"max_epochs": 4} | request.param)).fit(X, planted[1]), X


def column_order(model):
    return np.concatenate(model.block_indices_)


def slopes(model, rows, code, nudge):
    """Differences of the class's score when a column of a row is nudged up and down, in its own units."""
    nudges = np.diag(nudge)
    higher, lower = (
        model.decision_function((rows[:, None] + sign * nudges).reshape(-1, len(nudge)))[:, code] for sign in (1, -1)
    )
    return (higher - lower).reshape(rows.shape) / (2 * nudge)


def completeness_gap(model, X, found, baseline, codes):
    """Distance of the rows' sums from score(x) - score(baseline), and how far it may be."""
    scores, start = (model.decision_function(rows) for rows in (X, np.atleast_2d(baseline).astype(X.dtype)))
    rows = np.arange(len(X))
    gap = found.to_numpy(np.float64).sum(axis=1) - (scores[rows, codes] - start[0, codes])
    return np.abs(gap), 1e-3 * np.maximum(np.abs(scores).max(axis=1), np.abs(start).max())


def test_gradient_x_input_is_the_slope_of_the_score(exact):
    model, X = exact
    expected = (X[:8] - X.mean(axis=0)) * slopes(model, X[:8], code=1, nudge=1e-4 * X.std(axis=0))
    found = attributions(model, X[:8], target="two", method="gradient_x_input")
    assert_allclose(found, expected[:, column_order(model)], rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_integrated_gradients_are_the_sum_of_slopes_along_the_path(exact):
    model, X = exact
    start, end = X[0], X[1]
    path = start + (np.arange(3000)[:, None] + 0.5) / 3000 * (end - start)
    expected = (end - start) * slopes(model, path, code=0, nudge=1e-4 * X.std(axis=0)).mean(axis=0)
    found = attributions(model, end[None], target="one", baseline=start).to_numpy()[0]
    assert_allclose(found, expected[column_order(model)], atol=2e-3 * np.abs(expected).max())


def test_gradient_x_input_is_what_autograd_gives_by_hand(unnamed, planted):
    X = planted[0][300:310].to_numpy()
    network, baseline = unnamed.network_, np.linspace(-1, 1, 16, dtype=np.float32)
    found = attributions(unnamed, X, target="zero", method="gradient_x_input", baseline=baseline)
    for row in range(len(X)):
        x = [torch.tensor(X[row : row + 1, index], requires_grad=True) for index in unnamed.block_indices_]
        network.scores(*x)[0, 2].backward()
        slopes = np.concatenate([block.grad.numpy()[0] for block in x])
        expected = slopes * (X[row] - baseline)[column_order(unnamed)]
        assert_allclose(found.iloc[row], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    network.zero_grad(set_to_none=True)


def test_smooth_grad_is_the_mean_slope_among_noisy_rows(unnamed, planted, monkeypatch):
    monkeypatch.setattr(gradients, "N_SAMPLES", 2000)
    train, X = planted[0][:300].to_numpy(np.float64), planted[0][300:303].to_numpy()
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    rng = np.random.default_rng(1)
    order, expected = column_order(unnamed), []
    for row in X:
        noisy = (row + 0.5 * deviation * rng.normal(size=(2000, 16))).astype(np.float32)
        products = attributions(unnamed, noisy, target="one", method="gradient_x_input", baseline=row - 9 * deviation)
        gradient = (products.to_numpy() / (noisy - row + 9 * deviation)[:, order]).mean(axis=0)
        expected.append(gradient * (row - mean)[order])
    found = attributions(unnamed, X, target="one", method="smooth_grad", random_state=0)
    assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())
    without_noise = attributions(unnamed, X, target="one", method="gradient_x_input").to_numpy()
    assert np.abs(without_noise - expected).max() > 0.1 * np.abs(expected).max()


def test_smooth_grad_with_hardly_any_noise_is_gradient_x_input(unnamed, planted, monkeypatch):
    monkeypatch.setattr(gradients, "NOISE", 1e-6)
    X = planted[0][:20].to_numpy()
    expected = attributions(unnamed, X, method="gradient_x_input").to_numpy()
    found = attributions(unnamed, X, method="smooth_grad", random_state=0)
    assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("method", gradients.METHODS)
def test_units_of_the_columns_do_not_matter_to_attributions(planted, blocks, settings, method):
    X, y = planted[0][:80].astype(np.float64), planted[1][:80]
    rng = np.random.default_rng(0)
    rescaled = X * 10 ** rng.uniform(-2, 2, 16) + rng.normal(size=16)
    here, there = (
        attributions(
            DualBranchClassifier(blocks, **(settings | {"max_epochs": 2})).fit(rows, y),
            rows[:10],
            method=method,
            random_state=0,
        )
        for rows in (X, rescaled)
    )
    assert_allclose(there, here, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("target", ["one", None])
def test_integrated_gradients_are_complete(planted, blocks, settings, dtype, target):
    X, y = planted[0].astype(dtype), planted[1]
    model = DualBranchClassifier(blocks, **settings).fit(X, y)
    mean = X.astype(np.float64).mean().to_frame().T.astype(dtype)
    X = X[::8]
    codes = model.decision_function(X).argmax(axis=1) if target is None else np.zeros(len(X), dtype=int)
    scores, start = model.decision_function(X), model.decision_function(mean)
    found = attributions(model, X, target=target)
    gap = found.to_numpy(np.float64).sum(axis=1) - (scores - start)[np.arange(len(X)), codes]
    allowed = 1e-3 * np.maximum(np.abs(scores).max(axis=1), np.abs(start).max())
    assert (np.abs(gap) <= 1.01 * allowed).all()
    assert np.abs(scores - start).max() > 100 * allowed.max()  # there is something to add up


def test_integrated_gradients_are_complete_where_columns_have_splines(planted, settings):
    X = planted[0].to_numpy().copy()
    X[:, 3] = np.random.default_rng(0).integers(0, 6, len(X))
    model = DualBranchClassifier(10, **settings).fit(X, np.array([0, 1, 2, 0, 1, 2])[X[:, 3].astype(int)])
    assert model.settings_["splines"] == (True, False)
    centre, X = X.mean(axis=0), X[:40]
    found = attributions(model, X, target=1)
    gap, allowed = completeness_gap(model, X, found, centre, np.ones(40, dtype=int))
    assert (gap <= 1.01 * allowed).all()
    assert found.abs().mean().idxmax() == ("a", "x3")


def test_integrated_gradients_are_complete_over_both_branches_where_both_read_all_columns(planted, settings):
    X, y = planted[0].to_numpy(), planted[1]
    model = DualBranchClassifier(**settings).fit(X, y)
    X = X[:40]
    found = attributions(model, X, target="two", baseline=X[0])
    assert list(found.columns) == [(branch, f"x{column}") for branch in "ab" for column in range(16)]
    gap, allowed = completeness_gap(model, X, found, X[0], np.ones(len(X), dtype=int))
    assert (gap <= 1.01 * allowed).all()
    assert found["a"].abs().to_numpy().max() > 0
    assert found["b"].abs().to_numpy().max() > 0


CENTRES = {
    False: np.zeros_like,
    "standard": lambda X: X.mean(axis=0),
    "robust": lambda X: np.median(X, axis=0),
    "log1p": lambda X: np.expm1(np.log1p(X).mean(axis=0)),
    "minmax": lambda X: X.min(axis=0),
    "maxabs": lambda X: np.zeros(X.shape[1]),
}


@pytest.mark.parametrize("standardize", CENTRES)
def test_default_baseline_is_what_the_scaling_centres_at(planted, settings, standardize):
    X, y = planted[0].to_numpy(np.float64), planted[1]
    X = np.expm1(2 + 0.2 * (X - X.mean(axis=0)) / X.std(axis=0))  # positive
    model = DualBranchClassifier(10, standardize=standardize, **(settings | {"max_epochs": 5})).fit(X, y)
    centre = np.broadcast_to(CENTRES[standardize](X), X.shape)[0]
    assert np.abs(attributions(model, centre[None], target="one")).max(axis=None) < 1e-6
    X = X[:40]
    gap, allowed = completeness_gap(model, X, attributions(model, X, target="one"), centre, np.zeros(40, dtype=int))
    assert (gap <= 1.01 * allowed).all()


def test_a_block_scaled_by_its_logarithm_is_explained_in_it(planted, settings):
    X, y = planted[0].to_numpy(np.float64), planted[1]
    X = np.round(np.expm1(1.5 + (X - X.mean(axis=0)) / X.std(axis=0)).clip(1))
    model = DualBranchClassifier(10, standardize=("log1p", "standard"), **settings).fit(X, y)
    rows, u = X[:8], np.log1p(X[:8, :10])
    centre = np.log1p(X[:, :10]).mean(axis=0)
    expected = (u - centre) * slopes(model, rows, code=1, nudge=np.full(16, 1e-5))[:, :10] * (1 + rows[:, :10])
    found = attributions(model, rows, target="two", method="gradient_x_input")["a"]
    assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    noisy = attributions(model, rows, target="two", method="smooth_grad", random_state=0)
    assert np.isfinite(noisy).all(axis=None)
    with pytest.raises(ValueError, match=r"X has 1 negative value\(s\) in block 'a', in column 3 first"):
        attributions(model, np.where(np.arange(16) == 3, -1, X[:1]), target="two")
    with pytest.raises(ValueError, match=r"baseline has 1 negative value\(s\) in block 'a', in column 3 first"):
        attributions(model, rows, baseline=np.where(np.arange(16) == 3, -1, 0))


def test_columns_of_a_long_tail_are_explained_by_their_logarithms(planted, settings):
    X, y = planted[0].to_numpy(np.float64), planted[1]
    X = np.exp(1.5 * (X - X.mean(axis=0)) / X.std(axis=0))
    X[:, 12:] = np.log(X[:, 12:])
    model = DualBranchClassifier(10, **settings).fit(X, y)
    rows = X[:8]
    has_tail, unit = np.arange(16) < 12, np.abs(np.quantile(X, 0.1, axis=0))
    of_all, of_rows = (np.where(has_tail, np.log1p(np.abs(x) / unit), x) for x in (X, rows))
    derivative = np.where(has_tail, unit + rows, 1)  # of x by its logarithm
    nudge = np.where(has_tail, 1e-5 * unit, 1e-5)
    expected = (of_rows - of_all.mean(axis=0)) * slopes(model, rows, code=1, nudge=nudge) * derivative
    found = attributions(model, rows, target="two", method="gradient_x_input")
    assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
    centre = np.where(has_tail, unit * np.expm1(of_all.mean(axis=0)), X.mean(axis=0))
    gap, allowed = completeness_gap(
        model, rows, attributions(model, rows, target="one"), centre, np.zeros(8, dtype=int)
    )
    assert (gap <= 1.01 * allowed).all()


@pytest.mark.parametrize("method", ["gradient_x_input", "smooth_grad", "integrated_gradients"])
def test_codes_for_what_is_missing_are_explained_as_their_stand_ins(planted, settings, method):
    X, y = planted[0].to_numpy(np.float64), planted[1]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    is_missing = np.random.default_rng(0).random(X.shape) < 0.2
    model = DualBranchClassifier(10, **settings).fit(np.where(is_missing, -99, X), y)
    stand_in = np.concatenate([scaler.stand_in for scaler in model.network_.scalers])
    assert (stand_in > -10).all()
    coded, replaced = (
        attributions(model, np.where(is_missing, of, X)[:8], target="two", method=method, random_state=0)
        for of in (-99, stand_in)
    )
    assert_allclose(coded, replaced, rtol=1e-6, atol=1e-9)
    assert coded.abs().max(axis=None) > 0.1


def test_with_two_classes_a_class_has_a_score_of_its_own(planted, blocks, settings):
    X, y = planted[0], planted[1] == "one"
    model = DualBranchClassifier(blocks, **settings).fit(X[:300], y[:300])
    found = {label: attributions(model, X[300:], target=label) for label in (False, True)}
    difference = model.decision_function(X[300:]) - model.decision_function(X[:300].mean().to_frame().T)
    # the means of the frame are rounded otherwise than those of the scaler
    assert_allclose((found[True] - found[False]).sum(axis=1), difference, atol=5e-3 * np.abs(difference).max())
    assert found[True][y[300:]].mean().idxmax() == ("rna", "rna2")


def test_rows_far_out_get_more_steps_of_integrated_gradients(unnamed, planted):
    X = planted[0][:300].to_numpy(np.float64)
    mean, codes = X.mean(axis=0), np.arange(6) % 3
    rows = np.concatenate([X[:3], mean + 30 * (X[3:6] - mean)])[[0, 3, 1, 4, 2, 5]].astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = attributions(unnamed, rows, target=unnamed.classes_[codes])
    gap, allowed = completeness_gap(unnamed, rows, found, mean, codes)
    assert (gap <= 1.05 * allowed).all()


def test_rows_whose_integrated_gradients_stay_incomplete_are_counted(unnamed, planted, monkeypatch):
    X = planted[0][:300].to_numpy(np.float64)
    rows = np.concatenate([X[:4], X.mean(axis=0) + 1e6 * (X[:2] - X.mean(axis=0))]).astype(np.float32)
    for explain in (attributions, class_attributions):
        message = r"of 2 of 6 rows .* within 0\.001 of .* after 1600 steps"
        with pytest.warns(ConvergenceWarning, match=message) as caught:
            explain(unnamed, rows)
        assert caught[0].filename == __file__


@pytest.mark.parametrize("method", gradients.METHODS)
def test_memory_of_attributions_is_bounded_by_a_few_rows(unnamed, planted, monkeypatch, method):
    X = planted[0][:50].to_numpy()
    at_once = attributions(unnamed, X, target="one", method=method, random_state=0)
    seen = []
    scores = DualBranchNetwork.scores

    def counted_scores(network, x_a, x_b):
        seen.append(len(x_a))
        return scores(network, x_a, x_b)

    monkeypatch.setattr(gradients, "_POINTS", 8)
    monkeypatch.setattr(DualBranchNetwork, "scores", counted_scores)
    found = attributions(unnamed, X, target="one", method=method, random_state=0)
    assert max(seen) == 8
    if method != "smooth_grad":  # whose noise is drawn part by part
        assert_allclose(found, at_once, rtol=1e-3, atol=1e-4)
