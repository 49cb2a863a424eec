import pytest
from skorch.callbacks import Callback
from wide_blocks import N_ROWS, PLAIN, WIDTHS

from skdual import DualBranchClassifier
from skdual.training.span import choice
from skdual.training.span.row_span import RowSpan


def width_in_training(wide, **params):
    """How many columns, or coordinates, branch A is trained in."""
    widths = []

    class Watch(Callback):
        def on_epoch_end(self, net, **kwargs):
            widths.append(net.module_.branch_a.shortcut.weight.shape[2])

    DualBranchClassifier(**PLAIN | {"max_epochs": 1}, **params, callbacks=[Watch()]).fit(*wide)
    return widths[0]


@pytest.mark.parametrize(
    ("max_epochs", "batch_size", "early_stopping", "in_span"),
    [(20, 8, False, False), (21, 8, False, True), (6, 2, False, True), (5, 2, False, False), (21, 8, True, False)],
)
def test_a_fit_of_few_steps_stays_in_the_columns(wide, monkeypatch, max_epochs, batch_size, early_stopping, in_span):
    # 24 rows: 61.2 steps, which are 20.4 epochs of 3 steps, or 5.1 of 12; 18 rows need 70.7 steps, or 31.4 epochs
    monkeypatch.setattr(choice, "MIN_STEPS_TIMES_ROOT_ROWS", 300)
    widths = []

    class Stop(Callback):
        def on_epoch_end(self, net, **kwargs):
            widths.append(net.module_.branch_a.shortcut.weight.shape[2])
            raise KeyboardInterrupt

    settings = {"max_epochs": max_epochs, "batch_size": batch_size, "early_stopping": early_stopping}
    model = DualBranchClassifier(**PLAIN | settings, n_members=1, callbacks=[Stop()])
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(*wide)
    assert widths == [(18 if early_stopping else N_ROWS) if in_span else WIDTHS[0]]


@pytest.mark.parametrize(("n_members", "in_span"), [(1, True), (2, True), (8, False)])
def test_coordinates_count_as_values_where_they_are_more(wide, monkeypatch, n_members, in_span):
    # eight members have five spans of 24 coordinates for 60 columns and as many for 40; two have two
    monkeypatch.setattr(choice, "MAX_VALUES", N_ROWS * (60 + 48))
    assert width_in_training(wide, n_members=n_members) == (N_ROWS if in_span else WIDTHS[0])


@pytest.mark.parametrize(("max_weights", "in_span"), [(690, True), (691, False), (2000, False)])
def test_as_much_may_be_copied_as_weights_of_the_columns_take(wide, monkeypatch, max_weights, in_span):
    # 60 x (9 + 6) + 40 x (7 + 5) weights are twice 690, and so many times MAX_VALUES may be copied; fewer are no loss
    monkeypatch.setattr(choice, "MAX_VALUES", N_ROWS * 50)
    monkeypatch.setattr(choice, "_MAX_WEIGHTS", max_weights)
    assert width_in_training(wide, n_members=1) == (N_ROWS if in_span else WIDTHS[0])


@pytest.mark.parametrize(("max_weights", "in_span"), [(1379, True), (1380, False)])
def test_a_short_fit_of_very_many_weights_is_trained_in_the_span(wide, monkeypatch, max_weights, in_span):
    monkeypatch.setattr(choice, "MIN_STEPS_TIMES_ROOT_ROWS", 1e9)
    monkeypatch.setattr(choice, "_MAX_SHORT_WEIGHTS", max_weights)
    assert width_in_training(wide, n_members=1) == (N_ROWS if in_span else WIDTHS[0])


@pytest.mark.parametrize("batch_size", [8, 10])  # of 10 rows: the last has 4
def test_no_fit_of_many_steps_is_short(wide, monkeypatch, batch_size):
    monkeypatch.setattr(choice, "MIN_STEPS_TIMES_ROOT_ROWS", 1e9)
    n_spans, original = [], RowSpan.__init__

    def note(span, *arguments):
        n_spans.append(1)
        original(span, *arguments)

    monkeypatch.setattr(RowSpan, "__init__", note)
    for max_epochs in (33, 34):  # of 3 steps
        DualBranchClassifier(**PLAIN | {"max_epochs": max_epochs, "batch_size": batch_size}, n_members=1).fit(*wide)
        assert len(n_spans) == (0 if max_epochs == 33 else 2)
