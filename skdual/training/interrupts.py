"""Delaying Ctrl-C over code that must not stop half-way."""

import contextlib
import signal
import threading


@contextlib.contextmanager
def held_interrupts():
    """Let a Ctrl-C within the block wait for its end; a second one does not wait.

    In the main thread of a process, the only one that Ctrl-C comes to; and only where it is to raise something.

    Yields
    ------
    held : list
        What is waiting, if anything. It is answered at the end of the block as it would have been at once, unless the
        block has cleared the list.
    """
    answer = signal.getsignal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else None
    held: list = []
    if not callable(answer):
        yield held
        return

    def hold(*interrupt):
        held.append(interrupt)
        signal.signal(signal.SIGINT, answer)

    signal.signal(signal.SIGINT, hold)
    try:
        yield held
    finally:
        signal.signal(signal.SIGINT, answer)
    for interrupt in held:
        answer(*interrupt)
