"""How a fit shows that it goes on: one bar where a bar can be drawn, and a few whole lines elsewhere."""

import contextlib
import functools
import multiprocessing
import shutil
import sys
import threading
import time
import warnings

from skorch.callbacks import Callback, PrintLog
from tqdm import TqdmWarning, tqdm

_N_LINES = 10
_BAR = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]{postfix}"  # fits in 80 columns


class FitProgress(Callback):
    """One tqdm bar over the epochs, with the losses of the last epoch and the time left.

    It goes to the standard error stream. In notebooks (with ipywidgets) and terminals it is a bar; elsewhere, as in
    log files, a line after every tenth of the epochs. A fit that is one of several at a time, see :func:`is_parallel`,
    prints one line at its end. Shown are the weighted training loss and, of validation rows, the classification loss
    and the accuracy by both blocks.
    """

    def initialize(self):
        self._bar = None
        self._n_shown = self._n_finished = 0
        self._n_right = self._n_valid = 0
        return self

    def on_epoch_begin(self, net, **kwargs):
        if not self._n_finished:
            self._started = time.perf_counter()
            self._n_epochs = net.max_epochs
            self._parallel = is_parallel()
            self._bar = None if self._parallel else _new_bar(net.max_epochs)

    def on_batch_end(self, net, batch=None, training=None, y_pred=None, **kwargs):
        if not training:  # the counts stay on the device until the epoch ends
            self._n_right += (y_pred.argmax(dim=1) == batch.target).sum()
            self._n_valid += len(batch.target)

    def on_epoch_end(self, net, **kwargs):
        self._n_finished += 1
        self._text = self._describe(net.history[-1])
        self._n_right = self._n_valid = 0
        if self._bar is not None:
            self._bar.set_postfix_str(self._text, refresh=False)
            self._bar.update()
        elif not self._parallel and self._tenths(self._n_finished) > self._tenths(self._n_shown):
            self._print_line(self._n_epochs - self._n_finished)

    def _describe(self, epoch):
        text = f"loss {epoch['train_loss']:.3f}"
        if self._n_valid:
            accuracy = float(self._n_right) / self._n_valid
            text += f", validation loss {epoch['valid_classification_loss']:.3f}, accuracy {accuracy:.3f}"
        return text

    def close(self, complete):
        """End the bar or the lines; ``complete`` is whether the fit came to its own end, early or not."""
        if self._bar is not None:
            if complete:
                self._bar.total = self._bar.n  # an early stop is no failure, which notebooks would show in red
            self._bar.close()
            self._bar = None
        elif self._n_finished > self._n_shown:
            self._print_line(0)

    def _tenths(self, n_epochs):
        return n_epochs * _N_LINES // self._n_epochs

    def _print_line(self, n_left):
        self._n_shown = self._n_finished
        elapsed = time.perf_counter() - self._started
        passed, left = map(tqdm.format_interval, (elapsed, elapsed / self._n_finished * n_left))
        line = f"epoch {self._n_finished}/{self._n_epochs} [{passed}<{left}] {self._text}\n"
        print(line, end="", file=sys.stderr, flush=True)  # in one piece, so that other processes cannot cut in


class FitTable(PrintLog):
    """skorch's table of the epochs, with the best values coloured in terminals only, not in log files."""

    def __init__(self):
        super().__init__(sink=functools.partial(print, flush=True))  # which a missing stream does not stop

    def format_row(self, row, key, color):
        if not _is_terminal(sys.stdout):
            row = {key: row[key]}
        return super().format_row(row, key, color)


def is_parallel():
    """Whether this is a worker process, or a thread beside the main one, as joblib starts them for ``n_jobs``."""
    return multiprocessing.parent_process() is not None or threading.current_thread() is not threading.main_thread()


@contextlib.contextmanager
def closing_progress(callbacks):
    """Close what the FitProgress among pairs (name, callback) has open, however the fit inside ends."""
    complete = False
    try:
        yield
        complete = True
    finally:
        for _, callback in callbacks:
            if isinstance(callback, FitProgress):
                callback.close(complete)


def _is_terminal(stream):
    return getattr(stream, "isatty", bool)()  # there may be no stream at all


def _new_bar(n_epochs):
    """A tqdm bar, or None where neither a notebook nor a terminal can draw one."""
    with warnings.catch_warnings():  # of a notebook without ipywidgets, which gets lines
        warnings.simplefilter("ignore", TqdmWarning)
        from tqdm import auto, notebook

    arguments = {"total": n_epochs, "miniters": 1, "file": sys.stderr, "bar_format": _BAR}
    if issubclass(auto.tqdm, notebook.tqdm_notebook):
        return auto.tqdm(**arguments)
    if _is_terminal(sys.stderr):
        columns, lines = shutil.get_terminal_size()  # 80 by 24 where the terminal has no size, where tqdm draws nothing
        return tqdm(**arguments, ncols=columns, nrows=lines)
    return None
