"""Ending a program by a signal as Ctrl-C ends it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ENDING_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Ctrl-C, and those by which schedulers and logouts end a program."""


@contextmanager
def ended_as_by_ctrl_c() -> Iterator[None]:
    """Have every one of `ENDING_SIGNALS` raise a KeyboardInterrupt, as Ctrl-C does."""
    is_main = threading.current_thread() is threading.main_thread()
    # Not those that are ignored, as `nohup` has it.
    taken = [number for number in ENDING_SIGNALS if is_main and signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
