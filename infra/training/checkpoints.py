"""The state of a training that is under way, on disk, so that one that was killed goes on where it was.

A folder holds `training.json`, which says of what rows, settings and versions it is and what was decided at the start
(the recipe), and one folder a stage with its last two states. A state is written under another name and renamed: a kill
leaves the former or the new one, whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle  # nosec B403 # for the name of an error; nothing is unpickled but tensors
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch

from infra.training import distributed

NAME = "training.json"
FORMAT = 1
KEPT = 2
EVERY_SECONDS = 60.0


def digest(parts: Iterable[str]) -> str:
    """A short hash of texts in this order."""
    made = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogatepass")
        made.update(len(content).to_bytes(8, "little") + content)
    return made.hexdigest()[:16]


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes `path`'s place once it is all on disk."""
    arriving = path.with_name(f".{path.name}.arriving")
    with arriving.open("wb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())
    arriving.replace(path)


class Stage:
    """The states of one part of a training; only the first process reads and writes them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether the last state was written so long ago that another should be."""
        return time.monotonic() - self._last >= EVERY_SECONDS

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Writes the state after `step` steps and keeps the one before it."""
        if distributed.is_first():
            self._folder.mkdir(parents=True, exist_ok=True)
            with _whole(self._folder / f"step-{step:09d}.pt") as stream:
                torch.save(state, stream)
            for old in self._states()[:-KEPT]:
                old.unlink()
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The latest state that can be read, in every process; none where there is none."""
        return distributed.on_first(self._load)

    def _load(self) -> dict[str, Any] | None:
        states = self._states()
        for path in reversed(states):
            try:
                return dict(torch.load(path, map_location="cpu", weights_only=True))
            except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError):
                continue  # a broken disk; the state before it is as good
        if states:
            print(f"none of the states in {self._folder} can be read: this part begins anew", file=sys.stderr)
        return None

    def _states(self) -> list[Path]:
        return sorted(self._folder.glob("step-*.pt"))


class Checkpoints:
    """The checkpoints of one training in `folder`.

    Args:
        fingerprint: what the training's course depends on, each part as a short text.
        restart: throws away what is there.

    Raises:
        ValueError: `folder` holds another training's; the message says in what they differ.
    """

    def __init__(self, folder: Path, fingerprint: dict[str, str], *, restart: bool = False) -> None:
        self._folder = folder
        self._fingerprint = fingerprint | {"format": str(FORMAT)}
        self._document: dict[str, Any] = distributed.on_first(lambda: self._open(restart))
        self._began = time.monotonic()
        self._before = self.seconds_used

    def _open(self, restart: bool) -> dict[str, Any]:
        path = self._folder / NAME
        if path.is_file() and not restart:
            try:
                document = dict(json.loads(path.read_text(encoding="utf-8")))
                theirs = dict(document["fingerprint"])
            except (ValueError, KeyError, TypeError):
                raise ValueError(f"{path} is not a training's: name another folder, or --restart") from None
            if theirs != self._fingerprint:
                names = sorted(set(theirs) | set(self._fingerprint))
                differ = [name for name in names if theirs.get(name) != self._fingerprint.get(name)]
                raise ValueError(
                    f"the checkpoints in {self._folder} are of another training (not the same: {', '.join(differ)}): "
                    "name another folder, or --restart to throw them away"
                )
            return document
        # Nothing but what this module wrote: the folder may hold others' files.
        for old in self._folder.glob("*/step-*.pt"):
            old.unlink()
        self._folder.mkdir(parents=True, exist_ok=True)
        document = {"fingerprint": self._fingerprint, "seconds": 0.0, "decided": {}}
        with _whole(path) as stream:
            stream.write(json.dumps(document).encode())
        return document

    @property
    def seconds_used(self) -> float:
        """Seconds that the training took before this start of it."""
        return float(self._document["seconds"])

    def decided(self, name: str) -> Any:
        """What `decide` noted; None where it has not."""
        return self._document["decided"].get(name)

    def decide(self, name: str, value: Any) -> None:
        """Notes something that a resumed training must not decide otherwise; JSON's types."""
        self._document["decided"][name] = value
        self.note_time()

    def note_time(self) -> None:
        """Notes the seconds used so far."""
        self._document["seconds"] = self._before + time.monotonic() - self._began
        if distributed.is_first():
            with _whole(self._folder / NAME) as stream:
                stream.write(json.dumps(self._document).encode())

    def stage(self, name: str) -> Stage:
        """The states of the part called `name`."""
        return _Timed(self._folder / name, self)


class _Timed(Stage):
    """A stage whose states also note the time used."""

    def __init__(self, folder: Path, owner: Checkpoints) -> None:
        super().__init__(folder)
        self._owner = owner

    def save(self, step: int, state: dict[str, Any]) -> None:
        super().save(step, state)
        self._owner.note_time()
