"""Delaying Ctrl-C over code that must not stop half-way."""

import contextlib
import signal
import threading


class HeldInterrupts(list):
    """What is waiting to be answered, within :func:`held_interrupts`.

    Parameters
    ----------
    answer : callable or None
        How the process answers a Ctrl-C; None where it does not, and nothing is held.
    """

    def __init__(self, answer):
        super().__init__()
        self._answer = answer

    def hold(self):
        """Note the next Ctrl-C in place of answering it; the one after that does not wait."""
        if self._answer is not None:
            signal.signal(signal.SIGINT, self._note)

    def release(self):
        """Answer the next Ctrl-C at once."""
        if self._answer is not None:
            signal.signal(signal.SIGINT, self._answer)

    def answer(self):
        """Answer what is waiting."""
        waiting = list(self)
        self.clear()
        for interrupt in waiting:
            self._answer(*interrupt)

    @contextlib.contextmanager
    def let_through(self):
        """Hold nothing within the block; what was waiting is answered at its start."""
        try:
            self.release()
            self.answer()
            yield
        finally:
            self.hold()

    def _note(self, *interrupt):
        self.append(interrupt)
        self.release()


@contextlib.contextmanager
def held_interrupts():
    """Let a Ctrl-C within the block wait for its end; a second one does not wait.

    In the main thread of a process, the only one that Ctrl-C comes to; and only where it is to raise something.

    Yields
    ------
    held : HeldInterrupts
        What is waiting, if anything. It is answered at the end of the block as it would have been at once, unless the
        block has cleared the list or raises an error, which stops what was to be interrupted.
    """
    answer = signal.getsignal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else None
    held = HeldInterrupts(answer if callable(answer) else None)
    held.hold()
    try:
        yield held
    finally:
        held.release()
    held.answer()
