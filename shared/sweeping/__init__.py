"""Erasure in S3: takes what is about some people, of as many erasures as are due, out of every object of a tenant's.

====================================  ==========================================================================
objects                               what becomes of them
====================================  ==========================================================================
``events/{tenant}/``                  raw uploads: rows of an erased id, and lines that cannot be read and name
                                      one, become spaces, so that every other row keeps its line, its byte and
                                      with them its derived id; what nobody can read at all is cut off
``chunks/{tenant}/``                  pieces of uploads and of rebuilds under way: their rows and uids go
``rejected/{tenant}/``                lines of why a row was rejected: what they quote goes, whoever it is of
``logs/{tenant}/decisions/``          lines of their decisions go
``exports/{tenant}/``                 an export that has any of their ids in it is deleted
``erasures/{tenant}/``                keyed hashes of the ids that were erased, and when: stay as long as their
                                      tombstones, for whoever restores the table (`shared.erasing`)
``ads/``, ``labels/``, ``catalogue/`` the advertiser's own, of nobody
``jobs/``                             prompts and answers for a person's copy: names of interests that at least
                                      k people hold, never whose (`shared.generating.briefs`)
``artifacts/``, ``candidates/``,      weights, and ids and vectors of ads and items; people are numbers within
``checkpoints/``                      one training, of whom nothing is written
====================================  ==========================================================================

An object is written anew only where something of it goes, under its key, with its headers and metadata, and only if
it still is what was read (`shared.stores.rewriting`). It stays the same upload to whoever takes it in
(`shared.stores.objects`): the notification of its writing changes nothing, and a splitter that is half way through goes
on. Its lifecycle begins anew with the writing; hence one that has had its days, counted from the upload or, of the log,
from the day in its key, is emptied by the next walk that comes by.

An object that its owner has closed to us (a storage class to restore from, a key of theirs) is passed over, logged, and
counted: whoever asked for the erasure is told that there is one.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from math import inf
from typing import Any

from shared.errors import Closed, Conflict, NotFound, Unavailable
from shared.splitting import MARGIN_SECONDS, Remaining
from shared.stores.objects import Listed, Objects, OpenObject
from shared.sweeping.files import State, clean
from shared.sweeping.rows import Erased, Gone
from shared.sweeping.stretches import Stretches, lines
from shared.telemetry import logger

__all__ = ["PLACES", "UPLOAD_DAYS", "Erased", "Swept", "export_key", "sweep"]

PLACES = ("uploads", "chunks", "rejected", "decision_log", "exports")
UNREADABLE = "unreadable"  # lines, ends of files and files that nobody can read
UPLOAD_DAYS = 7  # as the bucket's lifecycle has it
OWNERS = "adtailor-uids"  # metadata of an export: whose data are in it


@dataclass(frozen=True, slots=True)
class Swept:
    """What one call did. removed: by erasure and place how many rows, lines, quotes or exports went (or would), and
    under ``unreadable`` lines and files; those of an object that is not done yet come with the call that ends it, also
    for an erasure that had begun it and is no longer among the call's, and what is of nobody in particular counts for
    every erasure that it goes by. looked_at: objects by place. cursor: where
    the next call goes on; None: everything has been looked at. closed: how many objects could not be read.
    """

    removed: dict[str, dict[str, int]]
    looked_at: dict[str, int]
    cursor: dict[str, Any] | None
    closed: int = 0


def export_key(tenant: str, digest: str, name: str) -> str:
    """Where an export of a person lies. digest: of the id that was asked for."""
    return f"exports/{tenant}/{digest}/{name}.json.gz"


def sweep(
    objects: Objects,
    tenant: str,
    erased: Sequence[Erased],
    *,
    digest: Callable[[str], str],
    remaining: Remaining,
    write: bool = True,
    cursor: Mapping[str, Any] | None = None,
    log_days: float = inf,
) -> Swept:
    """Takes these people out of the tenant's objects, for as long as the time allows; again and again until there is no
    cursor. A repeat is safe.

    Args:
        digest: of an external id of the tenant's.
        write: else nothing is removed, and what would be is counted; of rejected lines only those written before the
            erasure, since those of others come all the time.
        cursor: of the call before, for the same people or some of them: it has passed what others have left.
        log_days: that the decision log is kept.

    Raises:
        Conflict: the first object is replaced again and again; go on with the same cursor later. Unavailable.
    """
    return _Walk(objects, tenant, Gone(erased, digest), remaining, log_days, write=write).go(cursor)


class _Walk:
    """One call's way through the objects."""

    def __init__(
        self, objects: Objects, tenant: str, gone: Gone, remaining: Remaining, log_days: float, *, write: bool
    ) -> None:
        self._objects = objects
        self._tenant = tenant
        self._gone = gone
        self._remaining = remaining
        self._write = write
        self._log_days = log_days
        self._closed = 0
        # By those too who have left since the walk was cut off within an object (`State.found`).
        self._removed: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._looked_at: Counter[str] = Counter()

    def go(self, cursor: Mapping[str, Any] | None) -> Swept:
        begin = PLACES.index(cursor["place"]) if cursor else 0
        place = PLACES[begin]
        after = str(cursor["after"]) if cursor else ""
        within = cursor.get("within") if cursor else None
        try:
            for place in PLACES[begin:]:
                if within is not None:
                    left = self._object(place, Listed(within["key"], 1, within["modified"]), State.from_row(within))
                    if left is not None:
                        return self._swept(place, after, left, within)
                    after, within = within["key"], None
                for found in self._objects.listed(self._prefix(place), after):
                    if self._over():
                        return self._swept(place, after)
                    left = self._object(place, found, None)
                    if left is not None:
                        return self._swept(place, after, left, {"key": found.key, "modified": found.modified})
                    after = found.key
                after = ""
        except (Conflict, Unavailable):
            if not self._looked_at:
                raise
            return self._swept(place, after)  # what has gone is told of; the next call meets the same again
        return self._told(None)

    def _swept(self, place: str, after: str, left: State | None = None, key: Mapping[str, Any] | None = None) -> Swept:
        cursor: dict[str, Any] = {"place": place, "after": after}
        if left is not None and key is not None:
            cursor["within"] = left.row() | {"key": key["key"], "modified": key["modified"]}
        return self._told(cursor)

    def _told(self, cursor: dict[str, Any] | None) -> Swept:
        names = dict.fromkeys((*self._gone.everybody, *self._removed))
        removed = {name: dict(self._removed[name]) for name in names}
        return Swept(removed, dict(self._looked_at), cursor, self._closed)

    def _over(self) -> bool:
        return self._remaining() < MARGIN_SECONDS

    def _prefix(self, place: str) -> str:
        folder = {"uploads": "events", "decision_log": "logs"}.get(place, place)
        return f"{folder}/{self._tenant}/" + ("decisions/" if place == "decision_log" else "")

    def _object(self, place: str, found: Listed, state: State | None) -> State | None:
        """Cleans one object; where to go on with it, None where it is done."""
        if place == "exports":
            self._looked_at[place] += 1
            for name in self._export(found):
                self._removed[name][place] += 1
            return None
        stretches = self._stretches(place, found)
        if stretches is None or not found.size:
            return None
        try:
            counts, left = clean(
                self._objects,
                found.key,
                stretches,
                write=self._write,
                over=self._over,
                state=state,
                expired=partial(self._expired, place, found.key),
            )
        except Closed as error:
            self._closed += 1
            logger.warning(
                "an object cannot be read, and is passed over", extra={"key": found.key, "why": error.detail}
            )
            return None
        if left is None:
            self._looked_at[place] += 1
            for (name, what), count in counts.items():
                self._removed[name][place if what == "rows" else UNREADABLE] += count
        return left

    def _stretches(self, place: str, found: Listed) -> Stretches | None:
        gone, key = self._gone, found.key
        if place == "uploads":
            return gone.of_upload(key.rsplit("/", 1)[-1])
        if place == "chunks":
            return partial(lines, partial(gone.of_chunk, came=found.modified), gone.everybody)
        if place == "decision_log":
            return partial(lines, gone.of_log, gone.everybody, packed=True)
        whose = gone.everybody if self._write else gone.before(found.modified)
        if not key.endswith(".events.jsonl") or not whose:
            return None
        return partial(lines, partial(gone.of_rejected, whose), whose)

    def _expired(self, place: str, key: str, opened: OpenObject) -> bool:
        """Whether an object has had its days."""
        if place == "uploads":
            return time.time() - opened.modified > UPLOAD_DAYS * 86400
        if place == "decision_log" and self._log_days < inf:
            day = f"{datetime.fromtimestamp(time.time() - (self._log_days + 1) * 86400, UTC):%Y-%m-%d}"
            return key.removeprefix(self._prefix(place)).partition("/")[0] < day
        return False

    def _export(self, found: Listed) -> list[str]:
        """The erasures that an export goes by; none: it stays."""
        gone, key = self._gone, found.key
        may = [one for one in gone.erased if not (one.stay and found.modified > one.before)]
        parts = key.split("/")
        theirs = list(gone.by_digest.get(parts[2], ())) if len(parts) > 2 else []
        if len(theirs) < len(may):
            try:
                owners = self._objects.metadata(key).get(OWNERS, "")
            except NotFound:
                return []
            theirs += [one for uid in owners.split(",") for one in gone.by_uid.get(uid, ())]
        whose = [one.name for one in may if one in theirs]
        if whose and self._write:
            self._objects.delete([key])
        return whose
