"""What a fit prints: nothing, one bar, a few lines or a table."""

import io
import re
import sys
import threading
import warnings

import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from tqdm import auto, notebook

from skdual import DualBranchClassifier

LINE = re.compile(r"epoch (\d+)/(\d+) \[\d\d:\d\d<\d\d:\d\d\] loss (\S+?)(?:, validation loss (\S+), accuracy (\S+))?")


class Terminal(io.StringIO):
    def isatty(self):
        return True


class RaiseAfter(Callback):
    def __init__(self, n_epochs, error):
        self.n_epochs = n_epochs
        self.error = error

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.n_epochs:
            raise self.error


@pytest.fixture
def open_terminal(monkeypatch):
    """Makes the error stream a terminal; to be called within the test, for pytest sets streams before it."""

    def replace():
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        return terminal

    return replace


@pytest.fixture
def fresh_workers():
    """joblib's worker processes outlive a test, with the error stream that they were born with."""
    get_reusable_executor().shutdown()
    yield
    get_reusable_executor().shutdown()


def states(terminal):
    """What a bar showed, one text for each time it was drawn."""
    assert terminal.getvalue().endswith("\n")
    return [text for text in terminal.getvalue().replace("\n", "\r").split("\r") if text.strip()]


def lines(text):
    return [LINE.fullmatch(line).groups() for line in text.splitlines()]


def model_of(quick, **params):
    return DualBranchClassifier(**(quick | params))


def test_progress_is_silent_by_default(two_blocks, quick, capfd):
    model_of(quick).fit(*two_blocks)
    assert capfd.readouterr() == ("", "")


def test_verbose_2_prints_a_table_with_a_row_an_epoch(two_blocks, quick, capsys):
    model_of(quick, verbose=2).fit(*two_blocks)
    printed = capsys.readouterr()
    assert len(printed.out.strip().splitlines()) == 2 + 4
    assert printed.err == ""


@pytest.mark.parametrize("verbose", [1, 2])
def test_a_fit_without_streams_prints_nothing_and_goes_on(two_blocks, quick, monkeypatch, verbose):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert model_of(quick, verbose=verbose).fit(*two_blocks).n_epochs_ == 4


def test_the_table_has_colors_in_terminals_only(two_blocks, quick, capsys, monkeypatch):
    model_of(quick, verbose=2).fit(*two_blocks)
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdout", Terminal())
    model_of(quick, verbose=2).fit(*two_blocks)
    assert "\x1b" in sys.stdout.getvalue()


def test_a_log_gets_a_line_every_tenth_with_the_numbers_of_history(two_blocks, quick, capsys):
    X, y = two_blocks
    model = model_of(quick, verbose=1, max_epochs=25).fit(X, y, X_val=X[:40], y_val=y[:40])
    printed = capsys.readouterr()
    assert printed.out == ""
    shown = lines(printed.err)
    assert [int(epoch) for epoch, *_ in shown] == [3, 5, 8, 10, 13, 15, 18, 20, 23, 25]
    for epoch, total, loss, valid_loss, _ in shown:
        row = model.history_[int(epoch) - 1]
        assert total == "25"
        assert loss == f"{row['train_loss']:.3f}"
        assert valid_loss == f"{row['valid_classification_loss']:.3f}"


def test_the_accuracy_is_that_of_the_validation_rows(two_blocks, quick, capsys):
    X, y = two_blocks
    model = model_of(quick, verbose=1, block_dropout=0, n_members=1).fit(X, y, X_val=X[:40], y_val=y[:40])
    accuracy = np.mean(model.predict(X[:40]) == y[:40])
    assert 1 / 3 < accuracy < 1
    assert lines(capsys.readouterr().err)[-1][-1] == f"{accuracy:.3f}"


def test_a_terminal_gets_one_bar_within_its_width(two_blocks, quick, open_terminal, monkeypatch):
    terminal = open_terminal()
    X, y = two_blocks
    monkeypatch.setenv("COLUMNS", "80")
    model = model_of(quick, verbose=1).fit(X, y, X_val=X[:40], y_val=y[:40])
    drawn = states(terminal)
    assert terminal.getvalue().count("\n") == 1
    assert drawn[0].startswith("  0%|")
    assert re.match(r"100%\|[█#]+\| 4/4 \[\d\d:\d\d<00:00\], ", drawn[-1])
    assert f"loss {model.history_[-1]['train_loss']:.3f}, validation loss" in drawn[-1]
    assert re.search(r"accuracy \d\.\d{3}$", drawn[-1])
    assert max(map(len, drawn)) <= 80


def test_a_notebook_gets_the_bar_of_notebooks(two_blocks, quick, capsys, monkeypatch):
    """There tqdm.auto is a subclass of tqdm.notebook's bar, and the error stream is not a terminal."""
    made = []

    class NotebookBar(notebook.tqdm_notebook):
        def __new__(cls, **kwargs):
            return object.__new__(cls)

        def __init__(self, total, **kwargs):
            self.total, self.n, self.closed = total, 0, False
            made.append(self)

        def set_postfix_str(self, text, refresh):
            self.text = text

        def update(self):
            self.n += 1

        def close(self):
            self.closed = True

        def __del__(self):
            pass

    monkeypatch.setattr(auto, "tqdm", NotebookBar)
    model_of(quick, verbose=1).fit(*two_blocks)
    [bar] = made
    assert (bar.n, bar.total, bar.closed) == (4, 4, True)
    assert bar.text.startswith("loss ")
    assert capsys.readouterr() == ("", "")


def test_early_stopping_ends_the_bar_as_complete(two_blocks, quick, open_terminal):
    terminal = open_terminal()
    stopping = {"early_stopping": True, "patience": 1, "learning_rate": 0.5, "max_epochs": 50}
    model = model_of(quick, verbose=1, **stopping).fit(*two_blocks)
    assert model.n_epochs_ < 50
    assert f" {model.n_epochs_}/{model.n_epochs_} " in states(terminal)[-1]


def test_ctrl_c_ends_the_bar_before_the_warning(two_blocks, quick, open_terminal):
    terminal = open_terminal()
    model = model_of(quick, verbose=1, callbacks=[RaiseAfter(2, KeyboardInterrupt())])
    told_after = []
    with warnings.catch_warnings():
        warnings.showwarning = lambda *args: told_after.append(terminal.getvalue())
        model.fit(*two_blocks)
    [before_the_warning] = told_after
    assert before_the_warning.endswith("\n")
    assert " 2/4 " in states(terminal)[-1]


@pytest.mark.parametrize("n_epochs", [1, 3])
def test_an_error_ends_the_bar_and_passes_through_a_fit_that_changes_nothing(
    two_blocks, quick, open_terminal, n_epochs
):
    terminal = open_terminal()
    X, y = two_blocks
    model = model_of(quick, verbose=1).fit(X, y)
    before = dict(vars(model))
    model.callbacks = before["callbacks"] = [RaiseAfter(n_epochs, RuntimeError("of a callback"))]
    with pytest.raises(RuntimeError, match=r"^of a callback$"):
        model.fit(X, y)
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())
    assert f" {n_epochs}/4 " in states(terminal)[-1]


def test_lines_end_with_the_last_epoch_of_a_fit_that_stops_early(two_blocks, quick, capsys):
    with pytest.warns(UserWarning, match="interrupted after 4 of 100"):
        model_of(quick, verbose=1, max_epochs=100, callbacks=[RaiseAfter(4, KeyboardInterrupt())]).fit(*two_blocks)
    assert [line[:2] for line in lines(capsys.readouterr().err)] == [("4", "100")]


def test_processes_side_by_side_print_one_whole_line_a_fit(two_blocks, quick, capfd, fresh_workers):
    grid = {"verbose": [1, 2], "max_epochs": [4, 6]}
    GridSearchCV(model_of(quick), grid, cv=2, n_jobs=2, refit=False).fit(*two_blocks)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert sorted(line[:2] for line in lines(printed.err)) == 4 * [("4", "4")] + 4 * [("6", "6")]


@pytest.mark.parametrize("verbose", [1, 2])
def test_a_thread_beside_the_main_one_prints_one_line(two_blocks, quick, open_terminal, verbose, capsys):
    terminal = open_terminal()
    thread = threading.Thread(target=model_of(quick, verbose=verbose).fit, args=two_blocks)
    thread.start()
    thread.join()
    assert [line[:2] for line in lines(terminal.getvalue())] == [("4", "4")]
    assert capsys.readouterr().out == ""
