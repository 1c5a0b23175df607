"""Reading something large behind the requests that go on with what they have.

A function's process is frozen between its events, and its reader with it: the reader goes on with the next event, and
whoever cannot do without what it reads waits for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_WORK_SECONDS = 0.003  # that a reader keeps the interpreter, and
_STEP_SECONDS = 0.0005  # that it stands back then
_LOOK_SECONDS = 0.5  # between two looks at whether a reader is still there


class Reading:
    """One reading: by its maker (`run`) or by a thread (`start`). work: reports its own failures."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._done = threading.Event()
        self._awaited = False
        self._stood_back = 0.0
        self._thread: threading.Thread | None = None

    def run(self) -> None:
        try:
            self._work()
        finally:
            self._done.set()

    def start(self) -> None:
        """Raises `RuntimeError` where the process can have no more threads."""
        self._thread = threading.Thread(target=self.run, name="snapshot", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Until it is over or its thread is gone, for so long; whether it is."""
        self._awaited = True
        until = time.monotonic() + seconds
        while not self._done.wait(min(_LOOK_SECONDS, max(until - time.monotonic(), 0.0))):
            if self._thread is not None and not self._thread.is_alive():
                return True
            if time.monotonic() >= until:
                return False
        return True

    def give_way(self) -> None:
        """Called by the work, between pieces of it: lets requests have the interpreter, until one waits for the work
        itself. A thread that computes would keep it for 5 ms each time that another asks for it."""
        if self._awaited or time.monotonic() - self._stood_back < _WORK_SECONDS:
            return
        time.sleep(_STEP_SECONDS)
        self._stood_back = time.monotonic()
