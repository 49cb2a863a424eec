import datetime
import math
import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from skdual import DualBranchClassifier
from skdual.inputs.batches import ClassAwareBatches, ShuffledBatches
from skdual.network import DualBranchNetwork
from skdual.network.members import MemberDropout
from skdual.parameters import resolve_settings
from skdual.training.loop.schedule import WarmupCosine

OTHERS = {"min_bfloat16_weights": math.inf, "block_names": ("a", "b"), "has_validation": False}
CLASSES = np.array(["ant", "bee", "cat", "dog"])
CODES = np.repeat([0, 1, 2, 3], [50, 5, 30, 15])


def settled(widths=(40, 20), classes=CLASSES, codes=CODES, n_train=100, zero_shares=(0.0, 0.0), **changed):
    return resolve_settings(
        DualBranchClassifier(**changed).get_params(deep=False),
        n_columns=widths,
        codes=codes,
        classes=classes,
        n_train=n_train,
        zero_shares=lambda: zero_shares,
        **OTHERS,
    )


# precision


@pytest.mark.parametrize(
    ("precision", "n_members", "n_train", "least", "expected"),
    [
        # 3 members, each with 40 x (9 + 5) + 20 x (6 + 6) weights on the columns, and 9 x 7 + 7 x 5 others
        ("auto", 3, 100, 2694, True),
        ("auto", 3, 100, 2695, False),
        # in the span of 30 rows there are 30 x (9 + 5) + 20 x (6 + 6) on the columns
        ("auto", 3, 30, 2274, True),
        ("auto", 3, 30, 2275, False),
        ("auto", 1, 100, math.inf, False),
        ("bfloat16", 1, 100, math.inf, True),
        ("float32", 1, 100, 0, False),
        ("float64", 1, 100, 0, False),
    ],
)
def test_auto_rounds_products_to_bfloat16_from_so_many_weights_on(precision, n_members, n_train, least, expected):
    sizes = ((9, 7, 5), (6,))
    estimator = DualBranchClassifier(precision=precision, hidden_layer_sizes=sizes, n_members=n_members)
    params = estimator.get_params(deep=False)
    others = OTHERS | {"min_bfloat16_weights": least}
    settings = resolve_settings(
        params,
        n_columns=(40, 20),
        codes=CODES,
        classes=CLASSES,
        n_train=n_train,
        zero_shares=lambda: (0.0, 0.0),
        **others,
    )
    assert settings["module"]["bfloat16"] == expected


# widths and dropout


@pytest.mark.parametrize("n_train", [8192, 100_000])
def test_wide_blocks_of_many_rows_get_the_widths_and_rates_of_the_method(n_train):
    module = settled(widths=(10_000, 3_000), n_train=n_train)["module"]
    assert module["in_features"] == (10_000, 3_000)
    assert module["hidden_layer_sizes"] == ((2048, 1024, 512, 256), (512, 256))
    assert module["dropout"] == (0.5, 0.2)
    assert module["activation"] == "gelu"


def test_network_of_wide_blocks():
    with torch.device("meta"):  # shapes only
        network = DualBranchNetwork(**settled(widths=(10_000, 3_000), n_train=10_000)["module"])
    for branch, widths, rate in (
        (network.branch_a, [10_000, 2048, 1024, 512, 256], 0.5),
        (network.branch_b, [3_000, 512, 256], 0.2),
    ):
        weights = [tuple(p.shape) for p in branch.layers.parameters() if p.ndim == 3]
        assert weights == [(1, n_out, n_in) for n_in, n_out in pairwise(widths)]
        assert [m.rate for m in branch.modules() if isinstance(m, MemberDropout)] == [rate] * len(weights)
        assert [m.approximate for m in branch.modules() if isinstance(m, nn.GELU)] == ["none"] * len(weights)
        assert branch.shortcut.weight.shape == (1, widths[-1], widths[0])


@pytest.mark.parametrize(
    ("side", "n_columns", "sizes", "rate"),
    [
        *((0, n, (256, 128), 0.2) for n in (16, 36, 512, 2047, 2048, 4096, 8191)),
        *((0, n, (2048, 1024, 512, 256), 0.5) for n in (8192, 8193, 10**6)),
        *((1, n, (256, 128), 0.2) for n in (16, 17, 512, 2047)),
        *((side, n, (32, 16), 0.2) for side in (0, 1) for n in (1, 2, 3)),
        *((side, n, (64, 32), 0.2) for side in (0, 1) for n in (4, 7)),
        *((side, n, (128, 64), 0.2) for side in (0, 1) for n in (8, 10, 15)),
        *((1, n, (512, 256), 0.2) for n in (2048, 2049, 8191, 8192, 10**6)),
    ],
)
@pytest.mark.parametrize("n_other", [3, 10_000])
def test_automatic_widths_and_rate_of_a_branch_go_by_its_own_block(side, n_columns, sizes, rate, n_other):
    widths = (n_columns, n_other) if side == 0 else (n_other, n_columns)
    module = settled(widths=widths, n_train=10**6)["module"]
    assert module["hidden_layer_sizes"][side] == sizes
    assert module["dropout"][side] == rate


@pytest.mark.parametrize(
    ("n_train", "sizes", "dropout"),
    [
        (10, ((256, 128), (256, 128)), (0.2, 0.2)),
        (2047, ((256, 128), (256, 128)), (0.2, 0.2)),
        (2048, ((256, 128), (512, 256)), (0.2, 0.2)),
        (8191, ((256, 128), (512, 256)), (0.2, 0.2)),
        (8192, ((2048, 1024, 512, 256), (512, 256)), (0.5, 0.2)),
    ],
)
def test_few_rows_get_narrow_branches_however_many_columns_they_have(n_train, sizes, dropout):
    module = settled(widths=(20_000, 5_000), n_train=n_train)["module"]
    assert module["hidden_layer_sizes"] == sizes
    assert module["dropout"] == dropout


def test_automatic_rates_go_by_the_blocks_whatever_the_widths():
    for widths, sizes, rates in (((10_000, 5), ((8,), (8,)), (0.5, 0.2)), ((50, 3_000), ((2048, 8), (8,)), (0.2, 0.2))):
        assert settled(widths=widths, n_train=9_000, hidden_layer_sizes=sizes)["module"]["dropout"] == rates


@pytest.mark.parametrize("block_dropout", [0, 0.3, 0.5])
@pytest.mark.parametrize(("n_members", "n_plain"), [(1, 0), (3, 1), (4, 2)])
def test_the_regularised_members_lose_the_blocks_of_all(block_dropout, n_members, n_plain):
    network = DualBranchNetwork(**settled(block_dropout=block_dropout, n_members=n_members)["module"])
    rates = network.block_dropout_rates.flatten().tolist()
    assert np.mean(rates) == pytest.approx(block_dropout)
    assert rates[:n_plain] == [0] * n_plain
    assert len(set(rates[n_plain:])) == 1
    assert settled()["module"]["block_dropout"] == 0.25


# members


def weights_of_encoders(n_members, **changed):
    """Of all members, counted in the network."""
    with torch.device("meta"):
        network = DualBranchNetwork(**settled(n_members=n_members, **changed)["module"])
    layers = [*network.branch_a.layers.parameters(), *network.branch_b.layers.parameters()]
    return sum(weight.numel() for weight in layers if weight.ndim == 3)


@pytest.mark.parametrize(
    ("n_train", "expected"),
    [(10, 8), (12_500, 8), (12_501, 4), (25_000, 4), (25_001, 2), (50_000, 2), (50_001, 1), (10**6, 1)],
)
def test_automatic_members_by_rows(n_train, expected):
    assert settled(n_train=n_train)["module"]["n_members"] == expected


@pytest.mark.parametrize(
    ("widths", "sizes", "expected"),
    [
        ((2000, 2000), ((1000,), (1000,)), 8),  # 8 x 4 million is not above 32 million
        ((2000, 2001), ((1000,), (1000,)), 4),
        ((4000, 4000), ((1000,), (1000,)), 4),
        ((4000, 4001), ((1000,), (1000,)), 2),
        ((8000, 8000), ((1000,), (1000,)), 2),
        ((8000, 8001), ((1000,), (1000,)), 1),
        ((10**6, 10**6), ((1000,), (1000,)), 1),
        ((10, 10), ((2000, 1989, 1), (1,)), 8),  # inner layers count too: 2,000 x (10 + 1,989) + 1,989 + 10
        ((10, 10), ((2000, 1990, 1), (1,)), 4),
        ((10_000, 3_000), "auto", 8),
        ((20_000, 5_000), "auto", 4),
        ((200_000, 50_000), "auto", 1),
        ((3, 2), "auto", 8),
    ],
)
def test_automatic_members_by_weights(widths, sizes, expected):
    changed = {"widths": widths, "hidden_layer_sizes": sizes, "subspace_dim": 1, "n_train": 2001}
    n_members = settled(**changed)["module"]["n_members"]
    assert n_members == expected
    if n_members > 1:
        assert weights_of_encoders(n_members, **changed) <= 32_000_000
    if n_members < 8:
        assert weights_of_encoders(2 * n_members, **changed) > 32_000_000


@pytest.mark.parametrize(
    ("widths", "sizes", "n_train", "expected"),
    [
        ((100_000, 20_000), "auto", 2000, 8),  # 8 x 30.8 million is not above 256 million
        ((100_000, 25_000), "auto", 2000, 4),
        ((400_000, 50_000), "auto", 100, 2),
        ((500_000, 500), "auto", 100, 1),
        ((100_000, 20_000), ((1000,), (1000,)), 2000, 2),
        ((100_000, 20_000), ((1000,), (2001,)), 2000, 1),  # 1,000 x 100,000 + 2,001 x 20,000 is above 128 million
        ((20_000, 2000), ((2000,), (2000,)), 2000, 4),  # 8 x 2,000 x 4,000 is 64 million
        ((20_000, 2000), ((2000,), (2000,)), 1000, 4),
        ((20_000, 10), ((2000,), (2000,)), 1000, 4),  # 8 x 2,000 x 20,010 is above 256 million
        ((10_000, 10), ((2000,), (2000,)), 1000, 8),
    ],
)
def test_few_rows_train_few_weights_of_wide_blocks(widths, sizes, n_train, expected):
    """Up to 2,000 rows, those of all columns may be 256 million, and those of as many columns as rows 32 million."""
    changed = {"widths": widths, "hidden_layer_sizes": sizes, "subspace_dim": 1, "n_train": n_train}
    n_members = settled(**changed)["module"]["n_members"]
    assert n_members == expected

    def within(n_members):
        by_rows = changed | {"widths": tuple(min(p, n_train) for p in widths)}
        return (
            weights_of_encoders(n_members, **changed) <= 256_000_000
            and weights_of_encoders(n_members, **by_rows) <= 32_000_000
        )

    assert n_members == 1 or within(n_members)
    assert n_members == 8 or not within(2 * n_members)


@pytest.mark.parametrize("n_members", [1, 2, 7, np.int64(13)])
def test_explicit_members_are_taken_as_given(n_members):
    for changed in ({}, {"n_train": 10**6}, {"widths": (10_000, 3_000)}):
        assert settled(n_members=n_members, **changed)["module"]["n_members"] == n_members


@pytest.mark.parametrize("widths", [(3, 2), (10_000, 3_000)])
def test_explicit_widths_and_dropout_are_taken_as_given(widths):
    module = settled(widths=widths, hidden_layer_sizes=[[300, 7], (np.int64(11),)], dropout=[0, 0.75])["module"]
    assert module["hidden_layer_sizes"] == ((300, 7), (11,))
    assert module["dropout"] == (0.0, 0.75)
    assert settled(widths=widths, dropout=0.3)["module"]["dropout"] == (0.3, 0.3)
    network = DualBranchNetwork(**settled(widths=(3, 2), hidden_layer_sizes=((300, 7), (11,)))["module"])
    assert network.scores(torch.randn(5, 3), torch.randn(5, 2)).shape == (5, 4)


BY_BLOCK = [
    ("standardize", {"b": "robust", "a": True}, (True, "robust")),
    ("hidden_layer_sizes", {"b": (8,), "a": [9, 7]}, ([9, 7], (8,))),
    ("dropout", {"b": 0.3, "a": 0}, (0, 0.3)),
]


@pytest.mark.parametrize(("name", "by_name", "pair"), BY_BLOCK)
def test_a_dict_goes_by_the_names_of_the_blocks(name, by_name, pair):
    expected = settled(**{name: pair})["module"]
    assert settled(**{name: by_name})["module"] == expected != settled(**{name: pair[::-1]})["module"]
    for wrong in ({**by_name, "c": by_name["a"]}, {"a": by_name["a"]}, {"a": by_name["a"], "B": by_name["b"]}, {}):
        with pytest.raises(ValueError, match=rf"^{name}={re.escape(repr(wrong))} must name both blocks, 'a' and 'b', "):
            settled(**{name: wrong})


# mixing


@pytest.mark.parametrize(
    ("zero_shares", "expected"),
    [((0.0, 0.0), 0.4), ((0.5, 0.5), 0.4), ((0.501, 0.0), 0.0), ((0.1, 0.6), 0.0), ((1.0, 1.0), 0.0)],
)
def test_automatic_mixing_spares_blocks_that_are_mostly_zeros(zero_shares, expected):
    assert settled(zero_shares=zero_shares)["net"]["mixup_alpha"] == expected
    for alpha in (0, 0.2, 3):
        assert settled(zero_shares=zero_shares, mixup_alpha=alpha)["net"]["mixup_alpha"] == alpha


# contradictions


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"memory_bank_size": 8, "contrastive": None}, ["memory_bank_size=8", "contrastive=None"]),
        ({"memory_bank_size": 8, "contrastive_weight": 0}, ["memory_bank_size=8", "contrastive_weight=0"]),
        ({"fusion": "attention", "token_dim": 8, "attention_heads": 3}, ["attention_heads=3", "token_dim=8"]),
        ({"fusion": "attention", "token_dim": 2, "attention_heads": 4}, ["attention_heads=4", "token_dim=2"]),
        (
            {"subspace_dim": 9, "hidden_layer_sizes": ((9, 5), (9, 3))},
            ["subspace_dim=9", "embedding, 8", "hidden_layer_sizes"],
        ),
        ({"classes_per_batch": 2}, ["classes_per_batch=2", "sampling='class_aware'", "sampling='shuffle'"]),
        ({"samples_per_class": 2}, ["samples_per_class=2", "sampling='class_aware'", "sampling='shuffle'"]),
        (
            {"sampling": "class_aware", "classes_per_batch": 4, "samples_per_class": 4, "batch_size": 17},
            ["classes_per_batch=4", "samples_per_class=4", "16 rows", "batch_size=17"],
        ),
        ({"sampling": "class_aware", "classes_per_batch": 5}, ["classes_per_batch=5", "4 classes"]),
        (
            {"sampling": "class_aware", "classes_per_batch": 1, "samples_per_class": 1},
            ["classes_per_batch=1", "samples_per_class=1", "one row", "2 are the least"],
        ),
        ({"class_weight": {"ant": 1, "eel": 2}}, ["class_weight", "'eel'"]),
        ({"class_weight": {**dict.fromkeys(CLASSES.tolist()[1:], 1), "eel": 2}}, ["class_weight", "'eel'"]),
        ({"class_weight": {"ant": -1}}, ["class_weight", "-1"]),
        ({"class_weight": {"ant": math.inf}}, ["class_weight", "inf"]),
        ({"class_weight": dict.fromkeys(CLASSES.tolist(), 1e308)}, ["class_weight", "too large"]),
        ({"class_weight": {"ant": math.nan}}, ["class_weight", "nan"]),
        ({"class_weight": {"ant": "heavy"}}, ["class_weight", "'heavy'"]),
        ({"class_weight": dict.fromkeys(CLASSES.tolist(), 0)}, ["class_weight", "weight 0"]),
        *(
            ({"hidden_layer_sizes": sizes}, ["hidden_layer_sizes", repr(sizes)])
            for sizes in [
                (),
                (64,),
                (64, 32),
                ((64,), ()),
                ((64,), (0,)),
                ((64,), (-8,)),
                ((64.0,), (32,)),
                ((True,), (32,)),
                ((64,), "32"),
                ((64,), (32,), (16,)),
            ]
        ),
        *(
            ({"dropout": rates}, ["dropout", repr(rates)])
            for rates in [(), (0.1,), (0.1, 0.2, 0.3), (0.1, 1.0), (-0.1, 0.2), (0.1, math.nan), (0.1, "a"), (True, 0)]
        ),
    ],
    ids=str,
)
def test_contradictions_are_errors_that_name_the_parameters(changed, named):
    with pytest.raises(ValueError, match=re.escape(named[0])) as caught:
        settled(**changed)
    assert [words for words in named if words not in str(caught.value)] == []


@pytest.mark.parametrize(
    "changed",
    [
        {"fusion": "concat", "token_dim": 8, "attention_heads": 3},  # attention is not used
        {"head": "linear", "subspace_dim": 9, "hidden_layer_sizes": ((9, 5), (9, 3))},
        {"head": "subspace", "subspace_dim": 8, "hidden_layer_sizes": ((9, 5), (9, 3))},
        {"sampling": "class_aware", "classes_per_batch": 4, "samples_per_class": 4, "batch_size": 16},
        {"class_weight": {"ant": 0, "bee": 1}},
        {"memory_bank_size": 8, "contrastive": "self_supervised"},
    ],
    ids=str,
)
def test_what_does_not_contradict_is_accepted(changed):
    assert set(settled(**changed)) == {"module", "criterion", "net", "rejection"}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"n_train": 99, "batch_size": 99}, None),
        ({"n_train": 100, "batch_size": 100}, 43),
        ({"n_train": 10**6}, 10),
        ({"n_train": 10**6, "max_epochs": 40}, None),
        ({"n_train": 10**6, "early_stopping": True}, None),
    ],
    ids=str,
)
def test_a_quarter_of_the_epochs_is_a_first_cycle_where_neither_rows_nor_user_say_otherwise(changed, expected):
    assert settled(**changed)["net"]["first_cycle"] == expected


# what a weight of 0 takes away


@pytest.mark.parametrize("changed", [{"contrastive": None}, {"contrastive_weight": 0}], ids=str)
def test_contrastive_loss_off_builds_no_projection_heads(changed):
    assert settled(projection_dim=32)["module"]["projection_dim"] == 32
    settings = settled(projection_dim=32, **changed)
    assert settings["module"]["projection_dim"] == 0
    assert settings["criterion"]["contrastive"] is None


# class weights


@pytest.mark.parametrize(
    "class_weight",
    [
        "balanced",
        {"ant": 1, "bee": 10, "cat": 0.5, "dog": 2},
        {"ant": 1, "bee": 10, "cat": 0.5, "dog": 2, "of rows left out here": 3},
        {"bee": 3},
        {"dog": 0, "cat": 1e-3},
        None,
    ],
)
def test_class_weights_have_mean_1_and_the_ratios_of_sklearn(class_weight):
    weight = settled(class_weight=class_weight)["criterion"]["class_weight"]
    assert weight[CODES].mean() == pytest.approx(1, rel=1e-12)
    expected = compute_class_weight(class_weight, classes=CLASSES, y=CLASSES[CODES])
    np.testing.assert_allclose(weight / weight[0], expected / expected[0], rtol=1e-12)


@pytest.mark.parametrize("labels", [[-1, 0, 1, 7], [False, True]])
def test_class_weights_of_other_labels(labels):
    codes = CODES % len(labels)
    weighted = {label: number + 1 for number, label in enumerate(labels)}
    weight = settled(classes=np.array(labels), codes=codes, class_weight=weighted)["criterion"]["class_weight"]
    np.testing.assert_allclose(weight / weight[0], range(1, len(labels) + 1), rtol=1e-12)


@pytest.mark.parametrize("unit", ["D", "s", "ns"])
@pytest.mark.parametrize(
    "key", [datetime.date(2020, 1, 2), np.datetime64("2020-01-02", "us"), pd.Timestamp("2020-01-02"), "same"], ids=str
)
def test_class_weights_of_dates(unit, key):
    dates = np.array(["2020-01-01", "2020-01-02", "2020-01-03"], dtype=f"M8[{unit}]")
    arguments = {"classes": dates, "codes": CODES % 3}
    key = dates[1] if key == "same" else key
    weight = settled(**arguments, class_weight={key: 3})["criterion"]["class_weight"]
    np.testing.assert_allclose(weight / weight[0], [1, 3, 1], rtol=1e-12)
    others = datetime.date(2020, 1, 4), pd.Timestamp("2020-01-02", tz="UTC"), pd.NaT, "2020-01-02", 18263
    for other in (*others, pd.Timestamp("2020-01-02 00:00:00.000000001")):
        with pytest.raises(ValueError, match=r"class_weight must map labels of y .* which does not occur in y"):
            settled(**arguments, class_weight={other: 3})


def test_class_weights_of_durations():
    hours = np.array([1, 2, 3], dtype="m8[h]").astype("m8[ns]")
    for key in (datetime.timedelta(hours=2), np.timedelta64(120, "m"), pd.Timedelta("2h"), hours[1]):
        weight = settled(classes=hours, codes=CODES % 3, class_weight={key: 3})["criterion"]["class_weight"]
        np.testing.assert_allclose(weight / weight[0], [1, 3, 1], rtol=1e-12)


# batches and epochs


@pytest.mark.parametrize("n_train", [2, 10, 32, 33, 63, 64])
def test_automatic_batch_of_few_rows_has_all(n_train):
    assert settled(n_train=n_train)["net"]["batch_size"] == n_train


@pytest.mark.parametrize("n_train", [65, 100, 300, 600, 900, 1000, 2000, 2500, 3500, 5000, 10**4, 10**6])
def test_automatic_batch_size(n_train):
    nearest = min([32, 64, 128, 256], key=lambda size: abs(math.log2(size) - math.log2(n_train / 16)))
    assert settled(n_train=n_train)["net"]["batch_size"] == nearest


@pytest.mark.parametrize(
    ("n_classes", "n_train", "size"),
    [
        (16, 160, 32),
        (40, 400, 64),
        (40, 401, 32),
        (68, 544, 128),
        (100, 400, 256),
        (100, 200, 200),
        (100, 1280, 64),
        (1000, 10**4, 256),
        (9, 3000, 256),
    ],
)
def test_batches_have_two_rows_of_each_class_where_these_have_few(n_classes, n_train, size):
    classes = np.arange(n_classes)
    net = settled(classes=classes, codes=classes, n_train=n_train)["net"]
    assert net["batch_size"] == size


def test_explicit_batch_size_ends_at_the_number_of_rows():
    assert settled(n_train=100, batch_size=7)["net"]["batch_size"] == 7
    assert settled(n_train=100, batch_size=512)["net"]["batch_size"] == 100


@pytest.mark.parametrize(
    ("changed", "k", "m"),
    [
        ({"batch_size": 32}, 4, 8),
        ({"batch_size": 8}, 2, 4),
        ({"batch_size": 32, "classes_per_batch": 2}, 2, 16),
        ({"batch_size": 32, "samples_per_class": 16}, 2, 16),
        ({"classes_per_batch": 3, "samples_per_class": 5}, 3, 5),
        ({"classes_per_batch": 3, "samples_per_class": 5, "batch_size": 15}, 3, 5),
        ({"batch_size": 512}, 4, 25),  # no more than the rows
        ({}, 4, 8),  # 32 rows for 100
        ({"samples_per_class": 33}, 2, 33),  # two classes at least: every anchor has negatives
        ({"n_train": 6, "classes_per_batch": 4}, 4, 2),  # two rows at least: every anchor has a positive
    ],
    ids=str,
)
def test_class_aware_batches_fit_together(changed, k, m):
    net = settled(sampling="class_aware", **changed)["net"]
    assert (net["classes_per_batch"], net["samples_per_class"], net["batch_size"]) == (k, m, k * m)


def test_numbers_are_taken_for_what_the_parameter_holds():
    """True for 1, as scikit-learn takes it, and integers that torch takes for no float."""
    of_one = settled(n_members=True, token_dim=True, fusion="attention", temperature=10**30, gradient_clip=10**30)
    assert repr(of_one) == repr(
        settled(n_members=1, token_dim=1, fusion="attention", temperature=1e30, gradient_clip=1e30)
    )


def test_small_integers_of_numpy_are_numbers_like_others():
    small = {"classes_per_batch": np.uint8(4), "samples_per_class": np.uint8(100), "sampling": "class_aware"}
    small |= {"token_dim": np.uint8(16), "projection_dim": np.int8(127), "memory_bank_size": np.int8(100)}
    plain = {name: value if isinstance(value, str) else int(value) for name, value in small.items()}
    assert settled(**small)["net"]["batch_size"] == 400
    for part, expected in settled(**plain).items():
        assert repr(settled(**small)[part]) == repr(expected)


@pytest.mark.parametrize("sampling", ["shuffle", "class_aware"])
@pytest.mark.parametrize("batch_size", ["auto", 2, 25, 33, 64])
@pytest.mark.parametrize("n_train", [2, 3, 20, 65, 129, 1000, 10**5])
def test_automatic_epochs_make_enough_steps(n_train, batch_size, sampling):
    codes = np.arange(n_train) % 2
    net = settled(
        n_train=n_train, batch_size=batch_size, sampling=sampling, classes=CLASSES[:2], codes=codes, subspace_dim=1
    )["net"]
    rng = np.random.default_rng(0)
    if sampling == "shuffle":
        steps = len(ShuffledBatches(n_train, net["batch_size"], rng))
    else:
        steps = len(ClassAwareBatches(codes, net["classes_per_batch"], net["samples_per_class"], rng))
    assert net["max_epochs"] >= 40
    least = 350 if steps > 1 else 175
    assert net["max_epochs"] * steps >= least
    # and no more than that takes
    fewer = net["max_epochs"] - 1
    assert fewer < 40 or fewer * steps < least


@pytest.mark.parametrize(
    ("n_train", "widths", "rate"),
    [
        (10, (9, 7), 2e-3),
        (400, (9, 7), 2e-3),
        (600, (9, 7), 3e-3),
        (1600, (9, 7), 8e-3),
        (10**6, (9, 7), 8e-3),
        (600, (60, 4), 2e-3),
        (4000, (300, 100), 4e-3),
        (10**6, (300, 100), 4.096e-3),
        (10**6, (10_000, 3_000), 2e-3),
    ],
)
def test_automatic_learning_rate_is_higher_for_many_rows_of_few_columns(n_train, widths, rate):
    found = settled(n_train=n_train, widths=widths, learning_rate="auto")["net"]["lr"]
    assert found == pytest.approx(rate, rel=1e-3)
    assert settled(n_train=n_train, widths=widths, learning_rate=0.5)["net"]["lr"] == 0.5


@pytest.mark.parametrize(
    ("n_train", "changed", "decay", "left"),
    [
        (200, {}, 1.0, None),
        (200, {"max_epochs": 1}, 1.0, None),
        (10**5, {}, None, np.exp(-2)),
        (10**5, {"learning_rate": 1e-3}, None, np.exp(-2)),
        (200, {"learning_rate": 0.1}, None, np.exp(-2)),
        (10**5, {"weight_decay": 0.3}, 0.3, None),
    ],
    ids=str,
)
def test_automatic_weight_decay_leaves_a_share_of_the_weights(n_train, changed, decay, left):
    net = settled(n_train=n_train, **changed)["net"]
    if decay is not None:
        assert net["optimizer__weight_decay"] == decay
    if left is not None:  # by the steps of AdamW one by one
        n_steps = net["max_epochs"] * -(-n_train // net["batch_size"])
        schedule = WarmupCosine(n_steps, net["warmup"])
        rates = net["lr"] * np.array([schedule(step) for step in range(n_steps)])
        assert np.prod(1 - rates * net["optimizer__weight_decay"]) == pytest.approx(left, rel=0.02)


@pytest.mark.parametrize(
    "net_params",
    [
        {"optimizer": torch.optim.SGD},
        {"optimizer__param_groups": [("head.*", {})]},
    ],
    ids=str,
)
def test_automatic_weight_decay_is_for_our_own_optimizer(net_params):
    assert "optimizer__weight_decay" not in settled(net_params=net_params)["net"]
    assert settled(net_params=net_params, weight_decay=0.3)["net"]["optimizer__weight_decay"] == 0.3
    assert settled(net_params={"optimizer__betas": (0.5, 0.9)})["net"]["optimizer__weight_decay"] == 1


@pytest.mark.parametrize("max_epochs", [1, 7, 1000])
def test_explicit_epochs_are_exact(max_epochs):
    assert settled(max_epochs=max_epochs)["net"]["max_epochs"] == max_epochs


def test_patience_counts_with_early_stopping_only():
    assert settled(early_stopping=True, patience=3)["net"]["patience"] == 3
    assert settled(early_stopping=False, patience=3)["net"]["patience"] is None
