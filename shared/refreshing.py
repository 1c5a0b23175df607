"""Reading something large behind the requests that go on with what they have.

A function's process is frozen between its events, and its reader with it: the reader goes on with the next event, and
whoever cannot do without what it reads waits for it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

_NICENESS = 10  # of a reader: a tenth of the processor beside a request that computes, all of it otherwise
_STEP_SECONDS = 0.0005  # that a reader stands back between two pieces of its work
_LOOK_SECONDS = 0.5  # between two looks at whether a reader is still there


class Reading:
    """One reading: by its maker (`run`) or by a thread (`start`). work: reports its own failures."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def run(self) -> None:
        try:
            self._work()
        finally:
            self._done.set()

    def start(self) -> None:
        """Raises `RuntimeError` where the process can have no more threads."""
        self._thread = threading.Thread(target=self._behind, name="snapshot", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until it is over, or its thread is gone."""
        while not self._done.wait(_LOOK_SECONDS):
            if self._thread is not None and not self._thread.is_alive():
                return

    def _behind(self) -> None:
        if sys.platform == "linux":  # elsewhere niceness is the whole process's
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        self.run()


def step_back() -> None:
    """Lets the other threads have the interpreter: one that computes keeps it for 5 ms each time it is asked for."""
    time.sleep(_STEP_SECONDS)
