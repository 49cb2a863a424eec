"""Familiarity of rows, and the label for rows that are none of the known classes."""

import enum
import re

import joblib
import numpy as np
import pytest
from naive import extended, subspace_error
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from skdual import DualBranchClassifier
from skdual.datasets import load_htad
from skdual.parameters import _rejection


@pytest.fixture(scope="module")
def rows(two_blocks):
    return train_test_split(*two_blocks, test_size=0.4, random_state=0)


def rejecting(quick, **changed):
    return DualBranchClassifier(**{**quick, "rejection_quantile": 0.2, "rejection_label": "neither", **changed})


@pytest.mark.parametrize("n_members", [1, 2])
@pytest.mark.parametrize("block_dropout", [0.5, 0])
def test_score_samples_is_the_distance_to_the_nearest_subspace(two_blocks, quick, n_members, block_dropout):
    X, y = two_blocks
    changed = {"n_members": n_members, "block_dropout": block_dropout, "precision": "float64"}
    model = DualBranchClassifier(**{**quick, **changed}).fit(X, y)
    network = model.network_
    blocks = network.encode_members(
        *(network.ensemble.weights.new_tensor(X[:, index]) for index in model.block_indices_)
    )
    h_a, h_b = blocks
    last = [n_members - 1]
    groups = [(last, (h_a, h_b))]
    if block_dropout:  # of two members the second scores by single blocks too
        groups += [(last, (h_a, 0 * h_b)), (last, (0 * h_a, h_b))]
    groups = [([0], (h_a, h_b)), *groups] if n_members == 2 else groups
    scale = np.exp(network.head.log_scale.detach().numpy())
    errors = 0
    weights = network.ensemble.weights.numpy() / network.ensemble.weights.sum().item() / 2 + 1 / (2 * len(groups))
    for (members, group), weight in zip(groups, weights, strict=True):
        z = network.fusion(*group).detach().numpy()
        for m in members:
            share = scale[m] / scale[members].sum()
            errors += (
                weight * share * subspace_error(extended(z[m], m, n_members), network.head.bases[m].detach().numpy())
            )
    np.testing.assert_allclose(model.score_samples(X), -errors.min(axis=1), rtol=1e-8, atol=1e-10)


def test_rejection_threshold_is_the_quantile_of_the_validation_rows(rows, quick):
    X, X_val, y, y_val = rows
    model = rejecting(quick).fit(X, y, X_val=X_val, y_val=y_val)
    plain = DualBranchClassifier(**quick).fit(X, y, X_val=X_val, y_val=y_val)
    familiarity = model.score_samples(X_val)
    assert model.rejection_threshold_ == pytest.approx(np.quantile(familiarity, 0.2))
    labels = model.predict(X_val)
    rejected = labels == "neither"
    np.testing.assert_array_equal(rejected, familiarity < model.rejection_threshold_)
    assert rejected.sum() == 12  # of 60
    np.testing.assert_array_equal(labels[~rejected], plain.predict(X_val)[~rejected])
    np.testing.assert_allclose(model.predict_proba(X_val), plain.predict_proba(X_val))
    assert list(model.classes_) == list(plain.classes_)
    assert not hasattr(plain, "rejection_threshold_")


def test_early_stopping_gives_the_rows_for_the_rejection_threshold_too(rows, quick, rows_seen):
    X, _, y, _ = rows
    model = rejecting(quick, early_stopping=True).fit(X, y)
    familiarity = model.score_samples(X[rows_seen["valid"]])
    assert model.rejection_threshold_ == pytest.approx(np.quantile(familiarity, 0.2), rel=1e-4)
    assert np.ptp(familiarity) > 1e-3


@pytest.mark.parametrize(
    ("y_of", "label"),
    [
        (lambda y: np.unique(y, return_inverse=True)[1], -1),
        (lambda y: np.unique(y, return_inverse=True)[1].astype(np.uint8), -1),
        (lambda y: np.unique(y, return_inverse=True)[1].astype(np.int8), 10**18),
        (lambda y: np.unique(y, return_inverse=True)[1].astype(np.uint8), np.int8(-1)),
        (lambda y: np.unique(y, return_inverse=True)[1] > 0, -1),
        (lambda y: np.unique(y, return_inverse=True)[1] + 1.0, -1.0),
        (lambda y: (np.unique(y, return_inverse=True)[1] + 1).astype(np.float32), 2.0**24 + 1),
        (lambda y: y, "none of the known classes"),  # longer than any of them
        (lambda y: y.astype(object), "unknown"),
    ],
)
def test_rejection_labels_of_every_kind(rows, quick, y_of, label):
    X, X_val, y, y_val = rows
    model = rejecting(quick, rejection_label=label).fit(X, y_of(y), X_val=X_val, y_val=y_of(y_val))
    labels = model.predict(X_val)
    assert set(labels.tolist()) <= {label, *model.classes_.tolist()}
    assert label in labels.tolist()
    plain = label.item() if isinstance(label, np.generic) else label
    assert labels.dtype == np.result_type(model.classes_.dtype, np.asarray(plain).dtype)


def test_rejection_label_of_an_enumeration_is_its_string(rows, quick):
    X, X_val, y, y_val = rows
    label = enum.Enum("Label", {"UNKNOWN": "unknown"}, type=str).UNKNOWN
    labels = rejecting(quick, rejection_label=label).fit(X, y, X_val=X_val, y_val=y_val).predict(X_val)
    assert "unknown" in labels.tolist()
    assert set(labels.tolist()) <= {"unknown", *y}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_of_numpy_are_rejection_labels_too(kind):
    params = {"rejection_quantile": 0.2, "rejection_label": kind(-2), "head": "subspace"}
    label = _rejection(params, np.array([0.0, 1.0]), has_validation=True)["label"]
    assert (label, type(label)) == (-2.0, float)


def test_rejection_keeps_labels_of_uint64_integers(rows, quick):
    X, X_val, y, y_val = rows
    first = 2**62 + 1  # which float64 does not hold
    large = dict(zip(np.unique(y), np.arange(first, first + 3, dtype=np.uint64), strict=True))
    y, y_val = (np.array([large[label] for label in labels]) for labels in (y, y_val))
    labels = rejecting(quick, rejection_label=-1).fit(X, y, X_val=X_val, y_val=y_val).predict(X_val)
    assert labels.dtype == np.int64
    assert set(labels.tolist()) <= {-1, first, first + 1, first + 2}
    assert -1 in labels
    assert max(labels) >= first


INTEGERS = (np.array([0, 1, 2], dtype=np.uint8), "an integer within int64")
FLOATS = (np.array([0.0, 1.0]), "a whole number that float64 holds")
STRINGS = (np.array(["a", "b"]), "a str")


@pytest.mark.parametrize(
    ("classes", "label"),
    [(INTEGERS, label) for label in (-0.5, -1.0, np.nan, 2**63, 10**30, True, np.True_, "a", None, 1, [-1])]
    + [(FLOATS, label) for label in (-0.5, np.nan, -np.inf, 10**30, 10**400, False, "a", None, 1, 1.0, -1j)]
    + [(STRINGS, label) for label in (-1, np.nan, b"c", None, "b", ["c"])]
    + [((np.array([False, True]), INTEGERS[1]), label) for label in (True, 1, -0.5)],
    ids=lambda value: str(value)[:40],
)
def test_rejection_label_that_predict_could_not_give_unchanged_is_refused(classes, label):
    params = {"rejection_quantile": 0.2, "rejection_label": label, "head": "subspace"}
    classes, wanted = classes
    with pytest.raises(ValueError, match="rejection_label") as caught:
        _rejection(params, classes, has_validation=True)
    assert f"must be {wanted}, like labels of y such as {classes.tolist()[0]!r}, but none of them; " in str(
        caught.value
    )
    assert f"got {label!r}. With rejection_quantile predict gives it to rejected rows." in str(caught.value)


@pytest.mark.parametrize("classes", [np.array([0, 2**63], dtype=np.uint64), np.array([0, 1], dtype="M8[D]")], ids=str)
def test_rejection_refuses_labels_that_no_other_can_stand_beside(classes):
    params = {"rejection_quantile": 0.2, "rejection_label": -1, "head": "subspace"}
    message = f"rejection_label can't stand beside labels of {classes.dtype};"
    with pytest.raises(ValueError, match=re.escape(message)):
        _rejection(params, classes, has_validation=True)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"rejection_label": None}, ["rejection_label", "None"]),
        ({"rejection_label": "left"}, ["rejection_label", "none of them", "'left'"]),
        ({"rejection_label": -1}, ["rejection_label", "such as 'left'", "-1"]),
        ({"rejection_quantile": None}, ["rejection_label='neither'", "rejection_quantile"]),
        ({"rejection_quantile": 1.0}, ["rejection_quantile", "1.0"]),
        ({"rejection_quantile": 0}, ["rejection_quantile", "Got 0 instead"]),
        ({"head": "linear"}, ["rejection_quantile=0.2", "head='subspace'", "head='linear'"]),
    ],
)
def test_rejection_parameters_that_are_refused(rows, quick, changed, expected):
    X, X_val, y, y_val = rows
    with pytest.raises(ValueError, match="rejection") as caught:
        rejecting(quick, **changed).fit(X, y, X_val=X_val, y_val=y_val)
    assert all(words in str(caught.value) for words in expected)


def test_rejection_without_validation_rows_is_refused_and_changes_nothing(rows, quick):
    X, X_val, y, y_val = rows
    model = rejecting(quick).fit(X, y, X_val=X_val, y_val=y_val)
    before, threshold = model.predict(X_val), model.rejection_threshold_
    with pytest.raises(ValueError, match=r"rejection_quantile=0.2 needs validation rows.*X_val.*early_stopping=True"):
        model.fit(X, y)
    assert model.rejection_threshold_ == threshold
    np.testing.assert_array_equal(model.predict(X_val), before)


def test_fit_without_rejection_forgets_the_threshold(rows, quick):
    X, X_val, y, y_val = rows
    model = rejecting(quick).fit(X, y, X_val=X_val, y_val=y_val)
    model.set_params(rejection_quantile=None, rejection_label=None).fit(X, y)
    assert not hasattr(model, "rejection_threshold_")
    assert set(model.predict(X_val)) <= set(model.classes_)


def test_rejection_is_kept_with_the_model(rows, quick, tmp_path):
    X, X_val, y, y_val = rows
    model = rejecting(quick).fit(X, y, X_val=X_val, y_val=y_val)
    joblib.dump(model, tmp_path / "model.joblib")
    loaded = joblib.load(tmp_path / "model.joblib")
    clone(loaded)
    np.testing.assert_array_equal(loaded.predict(X_val), model.predict(X_val))
    np.testing.assert_array_equal(loaded.score_samples(X_val), model.score_samples(X_val))


def test_a_task_that_was_not_learnt_is_less_familiar_on_htad():
    htad = load_htad()
    X, X_test, y, y_test = train_test_split(htad.data, htad.target, stratify=htad.target, random_state=0)
    new = htad.target_names[0]
    known = y != new
    model = DualBranchClassifier(36, max_epochs=15, n_members=2, random_state=0).fit(X[known], y[known])
    assert roc_auc_score(y_test != new, model.score_samples(X_test)) > 0.8
