"""Use case: everything that is kept of a person, for that person (GDPR Art. 15 and 20), as one JSON document.

Of all ids that are linked: consent and what was said of it, interests with their evidence (sensitive ones too, where
they consented to them), disabled interests, segments, events, impressions, and decisions with what was shown, why, in
which context and what came of it. Ids are named by their references, since no external id is kept. ``not_included``
says what is not in it (`NOT_INCLUDED`): what nobody reads, is the same again, or does not say whose it is.

Of decisions the table holds a week; older ones are lines of the decision log, whose files have to be read for them.
They are, the latest first, for a bounded time: ``decision_log.whole`` says whether that was enough.

A document that fits an answer is the answer. A larger one is written to ``exports/{tenant}/{digest of the id}/…``, and
the answer has an address where it lies for a quarter of an hour; the bucket's lifecycle deletes it, and an erasure does
(`shared.sweeping`).
"""

from __future__ import annotations

import gzip
import secrets
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import orjson

from shared.decision_log import line_of
from shared.domain import Consent, Profile
from shared.errors import NotFound
from shared.exporting.parts import (
    Written,
    consent_part,
    decision_part,
    event_part,
    logged_part,
    profile_part,
    statement_part,
)
from shared.stores import Stores
from shared.stores.decisions import DECISION_DAYS
from shared.stores.linking import Identity, Linking
from shared.stores.people import person_key
from shared.sweeping import OWNERS, export_key

if TYPE_CHECKING:
    from shared.profiles import ProfileReader
    from shared.stores.person import Person

LINK_SECONDS = 900
NOT_INCLUDED = {
    "vectors": "numbers that stand for the texts of events and interests",
    "candidates": "ads that were considered for a decision and not shown",
    "answers": "to requests with a key, for an hour, so that a repeat is answered alike: what they say is here",
    "reservations": "times of decisions whose ads may yet be seen, for half an hour: those of the decisions here",
    "copy": "jobs of copy, which do not say whom they are for",
    "uploads": "the advertiser's own files, for 7 days: what was taken in of them are the events here",
}
_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """inline_bytes: the most that is the answer itself; Lambda's take 6 MB, with every quote escaped. log_seconds: for
    reading the decision log."""

    inline_bytes: int = 4_000_000
    log_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Exported:
    """document: the whole, as JSON; None where it is too large and lies, gzipped, at `url` until `expires_at` (epoch
    seconds). size: bytes of the document."""

    document: bytes | None
    size: int
    url: str = ""
    expires_at: float = 0.0


class Exporting:
    """Exports people."""

    def __init__(self, stores: Stores, profiles: ProfileReader, *, clock: Callable[[], float]) -> None:
        self._stores = stores
        self._profiles = profiles
        self._linking = Linking(stores.table, stores.people)
        self._clock = clock

    def export(
        self,
        tenant: str,
        user_id: str,
        *,
        written: Written,
        versions: Mapping[str, str],
        limits: Limits,
    ) -> Exported:
        """What is kept of the person of this id, as of now.

        Args:
            versions: for the document.

        Raises:
            NotFound: nobody of that id is known.
        """
        people = self._stores.people
        unknown = NotFound(f"nobody is known as {user_id!r}", field="user_id")
        uid = people.uid(tenant, user_id)
        if uid is None:
            raise unknown
        profile, consent, person = self._profiles.read(tenant, user_id, uid)
        if person is None:
            raise unknown
        pieces = self._document(tenant, user_id, person, profile, consent, written, versions, limits)
        kept: list[bytes] = []
        size = 0
        for piece in pieces:
            kept.append(piece)
            size += len(piece)
            if size > limits.inline_bytes:
                break
        else:
            return Exported(b"".join(kept), size)
        counted = _Counted(chain(kept, pieces))
        key = export_key(tenant, people.digest(tenant, user_id), secrets.token_hex(16))
        objects = self._stores.objects
        owners = {OWNERS: ",".join(person.uids)}
        objects.put_pieces(key, _gzipped(counted), "application/gzip", metadata=owners)
        if people.uid(tenant, user_id) != uid:  # erased while this was read: nobody would look for it any more
            objects.delete([key])
            raise unknown
        url = objects.link(key, LINK_SECONDS, "export.json.gz")
        return Exported(None, counted.size, url, self._clock() + LINK_SECONDS)

    def _document(
        self,
        tenant: str,
        user_id: str,
        person: Person,
        profile: Profile,
        consent: Consent,
        written: Written,
        versions: Mapping[str, str],
        limits: Limits,
    ) -> Iterator[bytes]:
        """The JSON in pieces."""
        people, now = self._stores.people, self._clock()
        own = Identity(person.uid, people.ref(tenant, user_id))
        ids = [one for one in self._linking.linked(tenant, own) if one.uid in person.uids]
        refs = {one.uid: one.ref for one in ids}
        head: dict[str, Any] = {
            "user_id": user_id,
            "exported_at": written(now),
            "complete": True,
            "ids": [{"ref": one.ref, "platform": one.platform, "asked": one.uid == person.uid} for one in ids],
            "consent": consent_part(consent, written),
            "statements": [
                {"ref": refs[uid]} | statement_part(said, written)
                for uid in refs
                for said in people.statements(tenant, uid)
            ],
            "profile": profile_part(profile, written),
            "disabled_interests": sorted(person.disabled),
            "impressions": [
                {"ref": refs[uid], "ad_id": ad_id, "at": [written(at) for at in times]}
                for uid in refs
                for ad_id, times in sorted(self._stores.delivery.impressions(tenant, uid).items())
            ],
        }
        yield orjson.dumps(head)[:-1]
        events = (
            event_part(stored.event, ref, written)
            for uid, ref in refs.items()
            for stored in people.events(tenant, uid, user_id)
        )
        yield from _listed("events", events)
        shown: set[str] = set()
        yield from _listed("decisions", self._decisions(tenant, refs, shown, written, now))
        log = _Log(self._stores, tenant, refs, shown, until=time.monotonic() + limits.log_seconds, now=now)
        yield from _listed("older_decisions", (logged_part(line, ref, written) for line, ref in log))
        tail = {
            "decision_log": {"whole": log.whole, "read_back_to": log.reached},
            "not_included": NOT_INCLUDED,
            "versions": dict(versions),
        }
        yield b"," + orjson.dumps(tail)[1:]

    def _decisions(
        self, tenant: str, refs: Mapping[str, str], shown: set[str], written: Written, now: float
    ) -> Iterator[dict[str, Any]]:
        """Those that the table holds; their ids go into `shown`."""
        delivery = self._stores.delivery
        for uid, ref in refs.items():
            pointers = self._stores.table.query(person_key(tenant, uid), prefix="d/")
            ids = (row["sk"].removeprefix("d/") for row in pointers)
            while some := list(islice(ids, _AT_ONCE)):
                stored = delivery.get_decisions(tenant, some, now)
                for decision_id in some:
                    if decision_id not in stored:
                        continue
                    whole = delivery.get_decision(tenant, decision_id, now)
                    log = line_of(whole.log, {}) if whole is not None else None
                    shown.add(decision_id)
                    yield decision_part(stored[decision_id], ref, log or {}, written)


class _Log:
    """Lines of the decision log that are about one of `refs`, with the reference, and are of none of `shown`: those
    older than what the table holds, the latest first. whole: whether every file was read; reached: the day of the last
    one that was."""

    def __init__(
        self, stores: Stores, tenant: str, refs: Mapping[str, str], shown: set[str], *, until: float, now: float
    ) -> None:
        self._objects = stores.objects
        self._prefix = f"logs/{tenant}/decisions/"
        self._refs = refs
        self._shown = shown
        self._until = until
        self._last_day = f"{datetime.fromtimestamp(now - DECISION_DAYS * 86400, UTC):%Y-%m-%d}"
        self.whole = True
        self.reached: str | None = None

    def __iter__(self) -> Iterator[tuple[dict[str, Any], str]]:
        needles = [uid.encode() for uid in self._refs]
        days = sorted((day for day in self._objects.folders(self._prefix) if day <= self._last_day), reverse=True)
        for day in days:
            for key in sorted(self._objects.keys(f"{self._prefix}{day}/"), reverse=True):
                if time.monotonic() > self._until:
                    self.whole = False
                    return
                yield from self._file(key, needles)
            self.reached = day

    def _file(self, key: str, needles: Sequence[bytes]) -> Iterator[tuple[dict[str, Any], str]]:
        """The file's lines, of which memory holds one at a time: ten minutes may be a gigabyte."""
        try:
            with closing(self._objects.stream(key)) as packed, gzip.open(packed) as file:
                for raw in file:
                    if not any(needle in raw for needle in needles):
                        continue
                    line = orjson.loads(raw)
                    ref = self._refs.get(line["person"] or "")
                    if ref is not None and line["decision_id"] not in self._shown:
                        yield line, ref
        except (NotFound, EOFError, gzip.BadGzipFile, zlib.error):
            return  # it has expired, or is damaged


class _Counted:
    """Pieces, and how many bytes they were."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.size += len(piece)
            yield piece


def _gzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    for piece in pieces:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()


def _listed(name: str, entries: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    yield b',"%s":[' % name.encode()
    between = b""
    for entry in entries:
        yield between + orjson.dumps(entry)
        between = b","
    yield b"]"
