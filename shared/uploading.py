"""Files sent from where there are no keys of AWS: a signed address to send to, and what became of what was sent.

The address is S3's own, so that a file goes past the API whatever its size: one PUT, of 5 GiB at most (a caller with
keys sends more in parts). It holds for a quarter of an hour and for one key of the tenant. What is sent there is taken
in as every upload is (`shared.ingest`, `shared.training`).

States: ``waiting`` (nothing has come), ``reading``, ``done`` (with its report: read to its end, also where rows of it
were rejected, even all), ``failed`` (nobody goes on with it: what cannot be taken in is set aside after some tries,
which nothing notes but the time that has passed; or it has labels that nothing can be trained on, and says why).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

import orjson

from shared.errors import NotFound, Unprocessable
from shared.ingest import problem_of, rejected_key, run_id_of
from shared.labels import MOST_BYTES as MOST_LABEL_BYTES
from shared.labels import place_of
from shared.preprocess.contact import mask
from shared.stores import Stores
from shared.stores.objects import Stored
from shared.stores.runs import Run

Kind = Literal["events", "ads", "labels"]
State = Literal["waiting", "reading", "done", "failed"]

LINK_SECONDS = 900
MOST_BYTES: dict[Kind, int] = {
    "events": 5 * 2**30,  # S3: of one PUT
    "ads": 5 * 2**30,
    "labels": MOST_LABEL_BYTES,
}
LONGEST_NAME = 200  # characters
# What every name is like, as a contract can say it; not all that are like it are taken.
_NEVER = r"/\\?#%&@:;<>\"'"
NAMES = (
    rf"^[^. {_NEVER}][^{_NEVER}]*"
    r"\.(?:[jJ][sS][oO][nN][lL]|[nN][dD][jJ][sS][oO][nN]|[cC][sS][vV])(?:\.[gG][zZ])?$"
)
SHOWN_LINES = 200  # rejected ones
# A chunk is tried five times, each 1080 s after the one before (the queues of template.yaml), then set aside.
STALLED_SECONDS = 6_000.0
UNREAD_SECONDS = 22_000.0  # Lambda keeps a notice of S3 for six hours
_SIGNS = " ._-(),"
_SUFFIX = re.compile(r"\.(jsonl|ndjson|csv)(\.gz)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """Where one file may be sent to. expires_at: epoch seconds. most_bytes: that are taken of it there."""

    key: str
    url: str
    expires_at: float
    most_bytes: int


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What became of an upload. done, total: chunks of a large one, and how many there are once that is known; None of
    a small one. Counts are None while there are none. lines: the first rejected ones; rejected_url: of all, for so long
    as an address to send to."""

    key: str
    state: State
    done: int | None = None
    total: int | None = None
    accepted: int | None = None
    duplicates: int | None = None
    rejected: int | None = None
    problem: str | None = None
    lines: tuple[dict[str, Any], ...] = ()
    rejected_url: str | None = None


class Uploading:
    """Signs addresses, and tells of uploads. reserved: names that are no heads."""

    def __init__(self, stores: Stores, *, clock: Callable[[], float], reserved: Collection[str] = ()) -> None:
        self._stores = stores
        self._clock = clock
        self._reserved = reserved

    def address(self, tenant: str, kind: Kind, name: str) -> Address:
        """Raises `Unprocessable`: the name cannot be used."""
        key = self._key(tenant, kind, name)
        # Before it is signed: an address never holds for less than it says.
        expires_at = self._clock() + LINK_SECONDS
        return Address(key, self._stores.objects.put_link(key, LINK_SECONDS), expires_at, MOST_BYTES[kind])

    def uploaded(self, tenant: str, kind: Kind, name: str) -> Uploaded:
        """What became of what was last sent under this name. Raises `Unprocessable`: the name cannot be used."""
        key = self._key(tenant, kind, name)
        row = self._stores.catalogue.upload(tenant, key)
        try:
            stored = self._stores.objects.stored(key)
        except NotFound:  # it has not come; or it was taken in so long ago that the file is gone
            if row is None:
                return Uploaded(key, "waiting")
            return _trainable(self._reported(key, row)) if kind == "labels" else self._reported(key, row)
        done = row is not None and row["fingerprint"] == stored.fingerprint and not _once_more(row, stored)
        if kind == "labels":
            return _trainable(self._reported(key, row)) if done and row else self._of_labels(tenant, key, stored)
        run = self._stores.runs.get(tenant, run_id_of(key, stored.version, stored.fingerprint, stored.modified))
        if done and row:
            return self._reported(key, row, run)
        return self._unread(key, stored) if run is None else self._running(key, run)

    def _key(self, tenant: str, kind: Kind, name: str) -> str:
        if problem := _unusable(name):
            raise Unprocessable(problem, field="name")
        key = f"{kind}/{tenant}/{name}"
        if kind == "labels":
            try:
                head = place_of(key).head
            except Unprocessable as error:
                raise Unprocessable(error.detail, field="name") from None
            if head in self._reserved:
                raise Unprocessable(f"{head!r} is the name of a taxonomy: give the head another", field="name")
        return key

    def _reported(self, key: str, row: Mapping[str, Any], run: Run | None = None) -> Uploaded:
        """run: that took it in, where it was large and the very last of its name."""
        counts: dict[str, Any] = {name: int(row[name]) for name in ("accepted", "duplicates", "rejected")}
        if run is not None:
            counts |= {"done": run.finished, "total": run.emitted}
        problem = row.get("problem")
        if not counts["rejected"] and problem is None:
            return Uploaded(key, "done", **counts)
        where = rejected_key(key)
        try:
            opened = self._stores.objects.open(where)
        except NotFound:  # kept for a week
            return Uploaded(key, "done", **counts, problem=problem)
        with closing(opened.reader):
            lines = tuple(orjson.loads(line) for line in islice(opened.reader, SHOWN_LINES))
        named = re.sub(r"[^A-Za-z0-9._-]", "_", where.rsplit("/", 1)[-1])
        url = self._stores.objects.link(where, LINK_SECONDS, named)
        return Uploaded(key, "done", **counts, problem=problem, lines=lines, rejected_url=url)

    def _running(self, key: str, run: Run) -> Uploaded:
        idle = self._clock() - run.moved_at
        state: State = "done" if run.done else "failed" if idle > STALLED_SECONDS else "reading"
        problem = problem_of(run.problem, run.over)
        if state == "failed":
            left = f"{run.emitted - run.finished:,} chunks are not in" if run.whole else "not all of it was split"
            problem = f"Nothing has happened for {idle / 60:,.0f} minutes: {left}. Upload the file again."
        return Uploaded(
            key,
            state,
            done=run.finished,
            total=run.emitted if run.whole else None,
            accepted=run.accepted,
            duplicates=run.duplicates,
            rejected=run.rejected,
            problem=problem,
        )

    def _of_labels(self, tenant: str, key: str, stored: Stored) -> Uploaded:
        place = place_of(key)
        if place.part != "train":
            return Uploaded(key, "done")  # the head's next training reads it
        head = self._stores.heads.get(tenant, place.head)
        if head is not None and head.state == "training" and head.waiting == key:
            return Uploaded(key, "reading")
        return self._unread(key, stored)

    def _unread(self, key: str, stored: Stored) -> Uploaded:
        """Of a small upload, or one that nobody has begun with."""
        if self._clock() - stored.modified <= UNREAD_SECONDS:
            return Uploaded(key, "reading")
        return Uploaded(key, "failed", problem="The file came, but could not be taken in. Upload it again.")


def _unusable(name: str) -> str | None:
    """Why a file cannot have this name; None where it can. Whatever could mean something else in a key, a path or a
    header is refused, and so are the sign of an e-mail address and numbers that lead to somebody (telephone, identity,
    card): names of uploads lie where nobody's erasure reaches."""
    if not 0 < len(name) <= LONGEST_NAME:
        return f"a name has 1 to {LONGEST_NAME} characters"
    if name[0] in " .":
        return "a name begins with a letter, a digit or one of - _ ( ) ,"
    for char in name:
        if char not in _SIGNS and unicodedata.category(char)[0] not in "LMN":
            return f"a name has letters, digits, blanks and . - _ ( ) , and not {char!r}"
    if not any(_SUFFIX.fullmatch(name, place) for place, char in enumerate(name) if char == "."):
        return "a name ends in .jsonl or .csv, or in one of these and .gz"
    if mask(name) != name:
        return "a name says nobody's telephone, identity, card or account number: give the file another"
    return None


def _trainable(found: Uploaded) -> Uploaded:
    """Of labels: failed where there is nothing to train on."""
    return replace(found, state="failed") if found.problem is not None and not found.accepted else found


def _once_more(row: Mapping[str, Any], stored: Stored) -> bool:
    """Whether it was sent again after rows of it had found no room in the day's limit: those go in now."""
    return bool(row.get("over")) and float(row.get("since", 0)) < stored.modified
