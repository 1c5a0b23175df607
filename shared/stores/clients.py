"""A client of an AWS service that is made at its first call: making one takes up to 60 ms, and few events use all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


def signing(*, emulated: bool) -> dict[str, Any]:
    """Of a client of S3: how addresses of objects are signed and written. By default boto3 signs them as S3 no longer
    takes for objects under a KMS key, and for the host of no region, which sends those of a new bucket elsewhere, with
    a signature that does not hold there; and no browser follows where it asks beforehand. An emulator has no host a
    bucket."""
    return {"signature_version": "s3v4", "s3": {"addressing_style": "auto" if emulated else "virtual"}}


class Deferred:
    """Stands for the client that `make` makes, at its first use and after `drop` anew."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: Any = None
        self._lock = threading.Lock()
        self._watchers: list[Callable[[Any], None]] = []

    def when_made(self, watcher: Callable[[Any], None]) -> None:
        """Has `watcher` called with every client that is made from now on."""
        self._watchers.append(watcher)

    def drop(self) -> None:
        """Closes the client with its connections, where there is one."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.close()

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._make()
                for watcher in self._watchers:
                    watcher(self._made)
            made = self._made
        return getattr(made, name)
