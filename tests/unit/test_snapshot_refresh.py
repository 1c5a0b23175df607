"""A large catalogue's new version is read behind the requests: they go on, but never with what is too old."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import orjson
import pytest

from shared import snapshot
from shared.errors import Unavailable
from shared.index import INDEX_FROM
from shared.publishing import BETWEEN, digest
from shared.snapshot import BEHIND_FROM, POINTER_SECONDS, REFUSED_SECONDS, STALE_SECONDS, Snapshots
from shared.stores import Stores
from shared.stores.catalogue import Pointer
from shared.stores.faults import patience

pytestmark = pytest.mark.slow

WAIT = 20.0  # seconds until a test gives up on a thread


class World:
    """One tenant's published snapshots, a clock, and a door that a reading thread waits at while it is shut."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.door = threading.Event()
        self.door.set()
        self.reads: list[str] = []
        self.readers: list[threading.Thread] = []
        self._objects: dict[str, bytes] = {}
        self._pointer: Pointer | None = None
        catalogue = SimpleNamespace(pointer=lambda _: self._pointer)
        stores = SimpleNamespace(objects=SimpleNamespace(get=self._get), catalogue=catalogue)
        self.snapshots = Snapshots(cast("Stores", stores), project=lambda vectors: vectors, clock=lambda: self.now)

    def _get(self, key: str) -> bytes:
        self.reads.append(key)
        if threading.current_thread() is not threading.main_thread():
            self.readers.append(threading.current_thread())
            assert self.door.wait(WAIT)
        return self._objects[key]

    def publish(self, number: int, *, ads: int = 3, sound: bool = True) -> str:
        rows = [
            {
                "ad": {
                    "ad_id": f"ad-{place}",
                    "title": f"Version {number}",
                    "landing_url": "https://example.com",
                    "language": "en",
                    "domain": "social",
                },
                "category": "",
                "prior": 0.01,
            }
            for place in range(ads)
        ]
        body, packed = b"[" + BETWEEN.join(map(orjson.dumps, rows)) + b"]", bytes(768 * ads)
        version = f"{number:08d}-{digest(body, packed)}"
        self._pointer = Pointer(version, f"c/{version}", number)
        self._objects |= {f"c/{version}/ads.json": body if sound else b"[]", f"c/{version}/vectors.f16": packed}
        return version

    def served(self) -> str:
        return self.snapshots.latest("t").version

    def settle(self) -> None:
        """Until no thread reads any more."""
        for thread in {*self.readers, *(one for one in threading.enumerate() if one.name == "snapshot")}:
            thread.join(WAIT)
            assert not thread.is_alive()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(snapshot, "BEHIND_FROM", 0)
    world = World()
    monkeypatch.setattr(Snapshots, "_mend", lambda *_: None)
    yield world
    world.door.set()
    world.settle()


def test_requests_go_on_while_the_next_version_is_read(world: World) -> None:
    old = world.publish(1)
    assert world.served() == old
    new = world.publish(2)
    world.door.clear()
    world.now += POINTER_SECONDS
    assert [world.served() for _ in range(3)] == [old] * 3
    world.now += POINTER_SECONDS  # the pointer is read again, the snapshot is not
    assert world.served() == old
    world.door.set()
    world.settle()
    assert world.served() == new
    assert sum(key.endswith("ads.json") for key in world.reads) == 2


def test_a_request_waits_where_what_is_held_is_too_old(world: World) -> None:
    old = world.publish(1)
    assert world.served() == old
    new = world.publish(2)
    world.door.clear()
    world.now += POINTER_SECONDS
    assert world.served() == old
    world.now += STALE_SECONDS - POINTER_SECONDS
    opening = threading.Timer(0.2, world.door.set)
    opening.start()
    assert world.served() == new
    opening.join()


def test_a_process_that_was_idle_reads_before_it_answers(world: World) -> None:
    """As one does that was frozen: what it holds may have been superseded long ago."""
    world.publish(1)
    world.served()
    new = world.publish(2)
    world.now += STALE_SECONDS
    assert world.served() == new
    assert not world.readers


def test_whoever_waits_keeps_time_for_an_answer(world: World) -> None:
    old = world.publish(1)
    world.served()
    world.publish(2)
    world.door.clear()
    world.now += POINTER_SECONDS
    world.served()
    world.now += STALE_SECONDS
    with patience(1.2):
        assert world.served() == old


def test_versions_that_follow_each_other_are_read_one_after_another(world: World) -> None:
    old = world.publish(1)
    world.served()
    world.publish(2)
    world.door.clear()
    world.now += POINTER_SECONDS
    world.served()
    newest = world.publish(3)
    world.now += POINTER_SECONDS
    assert world.served() == old
    assert len(set(world.readers)) == 1
    world.door.set()
    world.settle()
    world.served()  # that of 2, and the pointer is looked at
    world.settle()
    assert world.served() == newest


def test_many_requests_at_once_have_one_reader_and_never_an_older_version_again(world: World) -> None:
    old = world.publish(1)
    world.served()
    new = world.publish(2)
    world.door.clear()
    world.now += POINTER_SECONDS
    answers: list[list[str]] = [[] for _ in range(8)]
    started = threading.Barrier(len(answers) + 1)

    def ask(mine: list[str]) -> None:
        mine.append(world.served())
        started.wait(WAIT)
        while mine[-1] != new and len(mine) < 1_000_000:
            mine.append(world.served())

    threads = [threading.Thread(target=ask, args=(mine,)) for mine in answers]
    for thread in threads:
        thread.start()
    started.wait(WAIT)
    world.door.set()
    for thread in threads:
        thread.join(WAIT)
    for mine in answers:
        assert mine[0] == old and mine[-1] == new
        assert mine == sorted(mine)
    assert sum(key.endswith("ads.json") for key in world.reads) == 2


def test_what_cannot_be_read_is_refused_and_read_again_behind_the_requests(world: World) -> None:
    old = world.publish(1)
    world.served()
    bad = world.publish(2, sound=False)
    for _ in range(3):
        world.now += REFUSED_SECONDS
        asked = len(world.reads)
        world.served()  # it may itself be the one that waits for the reading
        world.settle()
        assert (world.served(), world.snapshots.refused("t")) == (old, bad)
        assert len(world.reads) > asked
    assert world.readers
    good = world.publish(3)
    world.now += STALE_SECONDS
    assert world.served() == good
    assert world.snapshots.refused("t") is None


def test_a_reader_that_fails_unforeseen_leaves_what_is_held(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    old = world.publish(1)
    world.served()
    new = world.publish(2)

    def fails(*_: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(snapshot, "load", fails)
        world.now += POINTER_SECONDS
        world.served()
        world.settle()
    assert (world.served(), world.snapshots.refused("t")) == (old, new)
    world.now += REFUSED_SECONDS
    world.served()
    world.settle()
    assert world.served() == new


def test_without_a_thread_the_old_one_is_served_until_it_is_too_old(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = world.publish(1)
    world.served()
    new = world.publish(2)

    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    world.now += POINTER_SECONDS
    assert world.served() == old
    world.now += STALE_SECONDS
    assert world.served() == new


def test_a_small_catalogue_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.publish(1)
    world.served()
    new = world.publish(2)
    world.now += POINTER_SECONDS
    assert world.served() == new
    assert not world.readers
    # However small it was: so many writes may have made it large.
    world.publish(2 + BEHIND_FROM, ads=4)
    world.now += POINTER_SECONDS
    assert world.served() == new
    world.settle()
    assert len(world.snapshots.latest("t").ads) == 4


def test_an_index_is_made_behind_the_requests_and_carried_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert INDEX_FROM > BEHIND_FROM
    monkeypatch.setattr(snapshot, "INDEX_FROM", 4)
    world.publish(1)
    assert world.snapshots.latest("t").index is None
    world.settle()
    assert world.snapshots.latest("t").index is None  # three ads need none
    world.publish(2, ads=40)
    world.now += STALE_SECONDS
    world.served()
    world.settle()
    first = world.snapshots.latest("t").index
    assert first is not None and len(first.beside) == 0
    world.publish(3, ads=42)
    world.now += STALE_SECONDS
    second = world.snapshots.latest("t").index
    assert second is not None and second.beside.tolist() == [40, 41]
    world.publish(4, ads=60)  # too many others
    world.now += STALE_SECONDS
    assert world.snapshots.latest("t").index is None
    world.settle()
    third = world.snapshots.latest("t").index
    assert third is not None and len(third.beside) == 0


def test_nothing_can_be_served_before_the_first_is_read(world: World) -> None:
    world.publish(1, sound=False)
    with pytest.raises(Unavailable):
        world.served()


ODD: dict[str, Callable[[list[bytes]], bytes]] = {
    "by line": lambda rows: b"[" + BETWEEN.join(rows) + b"]",
    "in one": lambda rows: b"[" + b",".join(rows) + b"]",  # as older versions wrote it
}


@pytest.mark.parametrize("form", ODD)
def test_rows_are_read_in_pieces_whatever_they_hold(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "_PIECE_BYTES", 20)
    rows = [{"title": f'a,\n"{place}"],[', "n": place} for place in range(25)]
    pauses: list[int] = []
    body = ODD[form]([orjson.dumps(row) for row in rows])
    assert list(snapshot._rows(body, lambda: pauses.append(1))) == rows
    assert (len(pauses) > 20) == (form == "by line")
    assert list(snapshot._rows(b"[]", lambda: None)) == []
    with pytest.raises(ValueError, match="no array"):
        list(snapshot._rows(b'{"a": 1}', lambda: None))


def test_vectors_are_projected_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "_PIECE_VECTORS", 4)
    stored = np.random.default_rng(3).normal(size=(11, 384)).astype(np.float16)
    seen: list[int] = []

    def project(vectors: np.ndarray) -> np.ndarray:
        seen.append(len(vectors))
        return vectors * 2

    result = snapshot._vectors(stored.tobytes(), project, lambda: None)
    assert (result == stored.astype(np.float32) * 2).all()
    assert seen == [4, 4, 3]
    with pytest.raises(ValueError, match="not finite"):
        snapshot._vectors(np.full(384, np.nan, np.float16).tobytes(), project, lambda: None)
