"""The key that requests to a language model bear: given, or read where it is kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from shared.errors import ModelUnavailable

WAIT_SECONDS = 30.0  # after a reading, before the next one: neither a store of secrets nor a caller is kept busy by it


class ApiKey:
    """`read` gives the key, or raises `ModelUnavailable`. It is asked at the first request, and again after the key was
    refused (it may have been changed) or could not be read; never sooner than `WAIT_SECONDS` after the last time."""

    def __init__(self, read: Callable[[], str], clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._key: str | None = None
        self._read_at = float("-inf")
        self._why = ""

    def current(self) -> str:
        """The key; "" where there is none.

        Raises:
            ModelUnavailable: it cannot be read, or cannot be sent.
        """
        with self._lock:
            if self._key is None:
                if self._clock() - self._read_at < WAIT_SECONDS:
                    raise ModelUnavailable(self._why)
                self._read_at = self._clock()
                try:
                    self._key = sendable(self._read())
                except ModelUnavailable as error:
                    self._why = error.detail
                    raise
            return self._key

    def refused(self, key: str) -> None:
        """The endpoint does not take that key."""
        with self._lock:
            if key == self._key and self._clock() - self._read_at >= WAIT_SECONDS:
                self._key, self._read_at = None, float("-inf")


def sendable(key: str) -> str:
    """The key as a header has it.

    Raises:
        ModelUnavailable: it is none; what is there is not told.
    """
    key = key.strip()
    if not (key.isascii() and key.isprintable()) or key.startswith("{") or " " in key:
        raise ModelUnavailable("the key of the language model is not one that can be sent: it is to be kept alone")
    return key
