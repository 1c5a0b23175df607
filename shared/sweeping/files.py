"""One object without what goes of it: looked through first, and written anew only where something does.

Both can be cut off and go on in another process, the writing by its parts. An object that is replaced meanwhile is
begun anew.
"""

from __future__ import annotations

import io
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

from shared.errors import Conflict, NotFound
from shared.stores.objects import Objects, OpenObject
from shared.stores.rewriting import PART_BYTES
from shared.sweeping.stretches import Data, Stretch, Stretches
from shared.uploads import Place
from shared.uploads.lines import LARGEST_RATIO, RATIO_FROM

Counts = Counter[tuple[str, str]]  # by the erasure that something goes by, and `Stretch.what`

_LEVEL = 6  # of zlib
_ATTEMPTS = 5  # at an object that is being replaced
_SPACES = bytes(1 << 16).replace(b"\0", b" ")


@dataclass(frozen=True, slots=True)
class State:
    """How far one object has got. etag: of the content it holds for; empty: the object is to be begun anew. writing: it
    is being written anew, `upload` and `parts` say where to. found: what has gone so far, or would go: erasure,
    what, how much."""

    etag: str
    place: Place | None = None
    writing: bool = False
    upload: str = ""
    parts: int = 0
    found: tuple[tuple[str, str, int], ...] = ()

    def row(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> State:
        if isinstance(row["found"], Mapping):  # of a release that did not say whose: this object is begun anew
            return cls("", writing=bool(row["writing"]), upload=row["upload"])
        place = row["place"]
        if place is not None:
            number, offset = int(place["line"]), int(place["offset"])
            place = Place(number, offset, tuple(place["columns"]), bool(place["packed"]))
        found = tuple((str(name), str(what), int(count)) for name, what, count in row["found"])
        return cls(row["etag"], place, bool(row["writing"]), row["upload"], int(row["parts"]), found)


def clean(
    objects: Objects,
    key: str,
    stretches: Stretches,
    *,
    write: bool,
    over: Callable[[], bool],
    state: State | None = None,
    expired: Callable[[OpenObject], bool] = lambda opened: False,
) -> tuple[Counts, State | None]:
    """Takes out of an object what goes, or with `write` false only counts it; an object that is no more has nothing.

    over: whether to stop, asked about every megabyte. Returns what went, by erasure and `Stretch.what`, and where to go
    on; None where it is done. expired: an object that has had its days is left empty.

    Raises:
        Conflict: somebody keeps replacing the object. Closed: it may not be read.
    """
    for _ in range(_ATTEMPTS):
        try:
            if state is None or not state.writing:
                state, counts = _look(objects, key, stretches, write, over, state, expired)
                if state is None or not state.writing:
                    return counts, state
            return _write(objects, key, stretches, over, state, expired)
        except NotFound:
            return Counter(), None
        except Conflict:
            if state is not None and state.upload:
                objects.give_up(key, state.upload)
            state = None
    raise Conflict(f"the object {key} is replaced again and again", retry_after=5)


def _look(
    objects: Objects,
    key: str,
    stretches: Stretches,
    write: bool,
    over: Callable[[], bool],
    state: State | None,
    expired: Callable[[OpenObject], bool],
) -> tuple[State | None, Counts]:
    """The state to go on with (None: nothing goes, or it was only counted), and the counts of one that is over."""
    opened = _open(objects, key, state)
    counts = _counted(state)
    with closing(opened.reader):
        if write and expired(opened):
            return State(opened.etag, writing=True), Counter()
        for stretch in stretches(opened, state.place if state else None, False):
            if stretch.what is not None:
                if write:
                    return State(opened.etag, writing=True), Counter()
                _count(counts, stretch)
            if stretch.end is not None and over():
                return State(opened.etag, stretch.end, found=_told(counts)), Counter()
    return None, counts


def _write(
    objects: Objects,
    key: str,
    stretches: Stretches,
    over: Callable[[], bool],
    state: State,
    expired: Callable[[OpenObject], bool],
) -> tuple[Counts, State | None]:
    opened = _open(objects, key, state)
    with closing(opened.reader):
        rewrite = objects.rewrite(key, opened, upload=state.upload, parts=state.parts)
        if expired(opened):
            gone: Counts = Counter()
            for stretch in stretches(opened, None, False):
                _count(gone, stretch)
            rewrite.finish(b"")
            return gone, None
        counts = _counted(state)
        out = Output(state.place.packed if state.place else _is_packed(opened))
        try:
            for stretch in stretches(opened, state.place, True):
                for data in plain_data(stretch.data):
                    out.add(data)
                    if out.size >= 2 * PART_BYTES:  # of one stretch, which nobody can go on within
                        rewrite.add(out.take())
                _count(counts, stretch)
                if out.size >= PART_BYTES and stretch.end is not None:
                    rewrite.add(out.take())
                    if over():
                        where = State(opened.etag, stretch.end, True, rewrite.upload, rewrite.parts)
                        return Counter(), replace(where, found=_told(counts))
            rewrite.finish(out.take())
        except (Conflict, NotFound):
            rewrite.give_up()
            raise
    return counts, None


def _count(counts: Counts, stretch: Stretch) -> None:
    if stretch.what is not None:
        counts.update((name, stretch.what) for name in stretch.whose)


def _counted(state: State | None) -> Counts:
    return Counter({(name, what): count for name, what, count in state.found} if state else {})


def _told(counts: Counts) -> tuple[tuple[str, str, int], ...]:
    return tuple((name, what, count) for (name, what), count in sorted(counts.items()))


def _open(objects: Objects, key: str, state: State | None) -> OpenObject:
    place = state.place if state else None
    offset = 0 if place is None or place.packed else place.offset
    opened = objects.open(key, offset=offset, fingerprint=state.etag if state else None)
    if state is not None and opened.etag != state.etag:  # also where it has none
        opened.reader.close()
        raise Conflict(f"the object {key} has been replaced")
    return opened


def _is_packed(opened: OpenObject) -> bool:
    return cast("io.BufferedReader", opened.reader).peek(2)[:2] == b"\x1f\x8b"


def plain_data(data: Data) -> Iterator[bytes]:
    """The bytes themselves."""
    for piece in data:
        if isinstance(piece, int):
            for start in range(0, piece, len(_SPACES)):
                yield _SPACES[: piece - start]
        else:
            yield piece


class Output:
    """What was written and not taken yet; where it is packed, each part ends a gzip member, so that another process can
    write the next. size: bytes, of a packed one those that are sure.

    Spaces pack a thousand times, and what inflates like that is taken for an attack (`shared.uploads.lines`): where a
    file is little else, they are stored as they are.
    """

    def __init__(self, packed: bool) -> None:
        self._packed = packed
        self._packer: Any = None
        self._level = _LEVEL
        self._parts: list[bytes] = []
        self._plain_bytes = 0
        self._packed_bytes = 0
        self.size = 0

    def add(self, data: bytes) -> None:
        if self._packed:
            self._plain_bytes += len(data)
            dense = self._plain_bytes > max(RATIO_FROM, LARGEST_RATIO * self._packed_bytes) // 2
            self._pack(0 if dense and not data.strip(b' "\n') else _LEVEL)
            data = self._packer.compress(data)
        self._keep(data)

    def take(self) -> bytes:
        self._end_member()
        found = b"".join(self._parts)
        self._parts, self.size = [], 0
        return found

    def _pack(self, level: int) -> None:
        if self._packer is not None and self._level != level:
            self._end_member()
        if self._packer is None:
            self._packer, self._level = zlib.compressobj(level, zlib.DEFLATED, 31), level

    def _end_member(self) -> None:
        if self._packer is not None:
            self._keep(self._packer.flush())
            self._packer = None

    def _keep(self, data: bytes) -> None:
        if data:
            self._parts.append(data)
            self.size += len(data)
            self._packed_bytes += len(data)
