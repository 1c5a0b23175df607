"""People: consent, event rows (the truth) and the profile (a versioned cache of their fold).

Rows of one id of a person share the partition ``t/{tenant}/p/{uid}``::

    meta            head (number of the last event), consent and how often it changed (`shared.stores.statements`),
                    disabled interests; id (`shared.stores.identities`); after a withdrawal cut and withdrawn
                    (`shared.stores.erasures`);
                    of a linked id also gid (its group) and uids (the ids of the group, sorted)
    e/{event_id}    one event, with its number `seq`
    profile, state  the fold up to event number `folded`: what is served, and what the next fold starts from;
                    of a linked id empty, and closed by a `gid`
    f/{ad_id}       times of the ad's impressions to this id
    d/{decision_id} pointer to a decision
    c/{statement}   what was said of consent, and when

An event row and the id's `head` change in one transaction, so a fold up to `head` has seen exactly the rows that
exist: writers may race, crash and repeat, and nothing is lost or counted twice.

Ids of one person are linked by a group (`shared.stores.linking`), ``t/{tenant}/g/{gid}``, whose profile is the fold
over all of them; every id keeps its own events, consent, disabled interests and impressions::

    meta            members: by uid the reference to its external id, and its platform
    profile, state  as above; `folds` has the number of the last event that is in it by uid

Who is in a group never changes: a link or its end makes a new one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from shared.domain import Consent, Event, Interest, Profile, RecentItem, turns
from shared.errors import Conflict
from shared.policy.consent import Stated, holds, refused
from shared.stores.faults import give_way
from shared.stores.holding import as_read, counting, digest, edit
from shared.stores.holding import held as held
from shared.stores.identities import Identities
from shared.stores.identities import person_key as person_key
from shared.stores.person import NOT_COUNTED, Member, Person
from shared.stores.statements import Statements, narrowed, standing
from shared.stores.table import TRANSACTION_LIMIT, ConditionFailed, Key, Row

if TYPE_CHECKING:
    import numpy as np

_ATTEMPTS = 30


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event with its number within the person and, where it stands for no known item, its own vector."""

    event: Event
    seq: int = 0
    vector: bytes = b""  # float16, (384,)


class People(Identities):
    """Store of people."""

    # Events -----------------------------------------------------------------------------------------------------

    def append_events(
        self, tenant: str, events: Mapping[str, Sequence[StoredEvent]], *, source: str | None = None
    ) -> dict[str, set[str]]:
        """Adds events by uid; one that is there already (same person and event id) is left alone.

        Returns the ids of those that were new, by uid. Where a uid is not in the answer, the person was erased:
        nothing is written. Each transaction is all or nothing; after an error a repeat is safe.
        source: name of the piece of work that they come from. It is kept with them, and what the same piece has
        written before is new again: so a piece that was cut off and comes back counts what the first try wrote.
        """
        todo = {uid: list({stored.event.event_id: stored for stored in many}.values()) for uid, many in events.items()}
        accepted: dict[str, set[str]] = {uid: set() for uid in todo}
        for attempt in range(_ATTEMPTS):
            heads, new, written = self._unseen(tenant, todo, source)
            for uid in todo.keys() - heads.keys():
                accepted.pop(uid, None)
            for uid, event_ids in written.items():
                accepted[uid] |= event_ids
            todo = {}
            for pack in _packs(new):
                actions: list[dict[str, Any]] = []
                for uid, many in pack:
                    actions += self._append_actions(tenant, uid, heads[uid], many, source)
                try:
                    self._table.transact(actions)
                except ConditionFailed:
                    for uid, many in pack:
                        todo.setdefault(uid, []).extend(many)
                    continue
                for uid, many in pack:
                    heads[uid] += len(many)
                    accepted[uid] |= {stored.event.event_id for stored in many}
            if not todo:
                return accepted
            give_way(attempt)
        raise Conflict("too many writers at the same person", retry_after=1)

    def _unseen(
        self, tenant: str, events: Mapping[str, Sequence[StoredEvent]], source: str | None
    ) -> tuple[dict[str, int], dict[str, list[StoredEvent]], dict[str, set[str]]]:
        """The heads of the people that there are, those of their events that have no row yet, and the ids of those that
        `source` wrote."""
        keys: list[Key] = []
        for uid, many in events.items():
            pk = person_key(tenant, uid)
            keys += [(pk, "meta"), *((pk, f"e/{stored.event.event_id}") for stored in many)]
        rows = self._table.get_many(keys, attributes=["head", "src"])
        metas = {uid: rows.get((person_key(tenant, uid), "meta")) for uid in events}
        heads = {uid: meta.get("head", 0) for uid, meta in metas.items() if meta is not None}
        written: dict[str, set[str]] = {}
        if source is not None:
            for uid, many in ((uid, many) for uid, many in events.items() if uid in heads):
                found = (rows.get((person_key(tenant, uid), f"e/{s.event.event_id}"), {}) for s in many)
                written[uid] = {row["sk"].removeprefix("e/") for row in found if row.get("src") == source}
        new = {
            uid: [s for s in many if (person_key(tenant, uid), f"e/{s.event.event_id}") not in rows]
            for uid, many in events.items()
            if uid in heads
        }
        return heads, {uid: many for uid, many in new.items() if many}, written

    def _append_actions(
        self, tenant: str, uid: str, head: int, events: Sequence[StoredEvent], source: str | None
    ) -> list[dict[str, Any]]:
        pk = person_key(tenant, uid)
        actions = [
            self._table.update_action(
                (pk, "meta"),
                "SET head = :new",
                {":new": head + len(events), ":old": head},
                condition="head = :old",  # and so: the person is there
            )
        ]
        for number, stored in enumerate(events, start=head + 1):
            row = _event_row(pk, replace(stored, seq=number)) | ({"src": source} if source else {})
            actions.append(self._table.put_action(row, condition="attribute_not_exists(pk)"))
        return actions

    def events(self, tenant: str, uid: str, user_id: str, *, after: int = 0) -> Iterator[StoredEvent]:
        """The person's events with ``seq > after``, in the order in which they came."""
        for row in self._table.query(person_key(tenant, uid), after_seq=after):
            yield _row_event(row, user_id)

    def event_vectors(self, tenant: str, uid: str, event_ids: Iterable[str]) -> dict[str, bytes]:
        """The own vectors of these events of the person, where they have one."""
        pk = person_key(tenant, uid)
        rows = self._table.get_many([(pk, f"e/{event_id}") for event_id in event_ids], attributes=["vec"])
        return {sk.removeprefix("e/"): row["vec"] for (_, sk), row in rows.items() if "vec" in row}

    def uid_pages(self, tenant: str, start: Key | None) -> Iterator[tuple[list[str], Key | None]]:
        """uids of everybody of whom there is anything, by pages of a scan of the table; each with the key to go on
        behind, None behind the last."""
        prefix = person_key(tenant, "")
        for found, after in self._table.scan(prefix, "meta", start=start):
            yield [pk.removeprefix(prefix) for pk in found], after

    # Person and profile -----------------------------------------------------------------------------------------

    def load(self, tenant: str, uid: str, user_id: str) -> Person:
        """The person as of now (consistent read); where there is none (any more), one without anything (`there`)."""
        pk = person_key(tenant, uid)
        for attempt in range(_ATTEMPTS):
            rows = self._table.get_many([(pk, "meta"), (pk, "profile")])
            meta = rows.get((pk, "meta"))
            stored = rows.get((pk, "profile"))
            if meta is None:
                return Person(uid, (Member(uid),), None, there=False)
            if "gid" in meta:
                if person := self._load_linked(tenant, uid, user_id, meta):
                    return person
            elif stored is None or "gid" not in stored:
                member = _member(uid, meta, stored["folded"] if stored else 0)
                person = Person(uid, (member,), None, stored["changes"] if stored else 0)
                return _with_profile(person, stored, user_id) if stored else person
            give_way(attempt)  # a link came or went between the reads of two rows
        raise Conflict("too many writers at the same person", retry_after=1)

    def _load_linked(self, tenant: str, uid: str, user_id: str, meta: Row) -> Person | None:
        """None where the group is no more."""
        group, uids = meta["gid"], meta["uids"]
        key = (group_key(tenant, group), "profile")
        rows = self._table.get_many([key, *((person_key(tenant, one), "meta") for one in uids)])
        metas = {one: rows.get((person_key(tenant, one), "meta"), {}) for one in uids}
        stored = rows.get(key)
        if stored is None or any(one.get("gid") != group for one in metas.values()):
            return None
        folds = stored["folds"]
        members = tuple(_member(one, row, folds.get(one, NOT_COUNTED)) for one, row in metas.items())
        return _with_profile(Person(uid, members, None, stored["changes"], group), stored, user_id)

    def consents(self, tenant: str, uids: Iterable[str]) -> dict[str, Consent]:
        """What was said through these ids, where something was; a refusal through one they are linked with wins."""
        wanted = list(uids)
        attributes = ["consent", "gid", "uids"]
        rows = self._metas(tenant, wanted, attributes)
        others = {one for row in rows.values() for one in row.get("uids", ())} - rows.keys()
        if others:
            rows |= self._metas(tenant, others, attributes)
        own = {uid: said for uid, row in rows.items() if (said := standing(row).consent) is not None}
        found = {uid: own[uid] for uid in wanted if uid in own}
        for uid in wanted:
            linked = (own.get(one) for one in rows.get(uid, {}).get("uids", ()))
            refusals = [one for one in linked if one is not None and refused(one)]
            if refusals:
                found[uid] = max(refusals, key=lambda one: one.at)
        return found

    def _metas(self, tenant: str, uids: Iterable[str], attributes: Sequence[str]) -> dict[str, Row]:
        keys = {(person_key(tenant, uid), "meta"): uid for uid in uids}
        return {keys[key]: row for key, row in self._table.get_many(keys, attributes=attributes).items()}

    def set_consent(
        self, tenant: str, uid: str, consent: Consent, *, minor: bool | None = None, now: float | None = None
    ) -> Stated:
        """Keeps what was said through this id, and returns what the person has said with it (`consent.together`); the
        next read makes the profile anew under it.

        minor: what the statement says of age, None: nothing. now: when it is recorded, epoch seconds.

        Raises:
            Conflict: too many writers at the id, or it is being erased.
        """
        recorded_at = consent.at if now is None else now
        now_holds, row = Statements(self._table).add(person_key(tenant, uid), consent, minor, recorded_at)
        said = (self.load(tenant, uid, "").consent if "gid" in row else None) or now_holds.consent or consent
        less = not said.sensitive and (
            "gid" in row or narrowed(row, now_holds)
        )  # of linked ids any may have allowed more
        return Stated.of(said, superseded=not holds(consent, now_holds), narrowed=less)

    def statements(self, tenant: str, uid: str) -> list[dict[str, Any]]:
        """What was said of consent through this id, oldest first, with when (see `shared.stores.statements`)."""
        return Statements(self._table).of(person_key(tenant, uid))

    def edit_interests(self, tenant: str, uid: str, *, disable: Iterable[str], enable: Iterable[str]) -> None:
        """Adds to the interests that were disabled through this id, and takes from those disabled through any id of the
        person, atomically.

        Raises:
            Unprocessable: more than 500 would be disabled. NotFound: there is nobody of that uid.
        """
        edit(self._table, self, tenant, uid, disable=disable, enable=enable)

    def state(self, tenant: str, uid: str, *, group: str = "") -> bytes:
        """What the next fold starts from (opaque here); empty before the first. group: of the person, where linked."""
        row = self._table.get(_profile_key(tenant, uid, group), "state")
        return row["state"] if row else b""

    def save_profile(
        self, tenant: str, person: Person, profile: Profile, state: bytes, folded: int | Mapping[str, int]
    ) -> bool:
        """Replaces `person`'s profile if nobody else has since; False where somebody has, or a link came or went.

        folded: number of the last event that is in it; of linked ids by uid, those left out whose events do not count.
        The counts of who holds which interest change in the same transaction, so they stay exact.
        """
        pk = _profile_key(tenant, person.uid, person.group)
        version = person.profile.version if person.profile else 0
        after = held(profile, person.disabled)
        folds = dict(folded) if isinstance(folded, Mapping) else {}
        number = folded if isinstance(folded, int) else sum(folds.values())
        row = _profile_row(pk, replace(profile, version=version + 1), number, person.changes)
        row |= counting(profile, person.disabled)
        actions = []  # of a later version it says all this itself
        if not version or digest(person.disabled) != person.edited:
            actions = [
                self._table.check_action((person_key(tenant, one.uid), "meta"), *as_read(one)) for one in person.members
            ]
        actions += [
            self._table.put_action(
                row | {"folds": folds} if person.group else row,
                condition="version = :version" if version else "attribute_not_exists(pk)",
                values={":version": version} if version else None,
            ),
            self._table.put_action({"pk": pk, "sk": "state", "state": state}),
        ]
        for interest_id in sorted(person.counted ^ after):
            actions.append(self.holders_action(tenant, interest_id, 1 if interest_id in after else -1))
        try:
            self._table.transact(actions[:TRANSACTION_LIMIT])
        except ConditionFailed:
            return False
        return True

    def profile_edited_action(self, tenant: str, person: Person, disabled: Collection[str]) -> dict[str, Any]:
        """Part of a transaction: a new version of `person`'s profile, in which these interests do not count."""
        key = _profile_key(tenant, person.uid, person.group), "profile"
        if person.profile is None:
            return self._table.check_action(key, "attribute_not_exists(pk)", {})
        version = person.profile.version
        values = {":version": version, ":next": version + 1, ":edited": digest(disabled)}
        values[":uncounted"] = counting(person.profile, disabled)["uncounted"] or []
        edited = "SET version = :next, edited = :edited, uncounted = :uncounted"
        return self._table.update_action(key, edited, values, condition="version = :version")

    def there_action(self, tenant: str, uid: str) -> dict[str, Any]:
        """Part of a transaction: the person has not been erased."""
        return self._table.check_action((person_key(tenant, uid), "meta"), "attribute_exists(pk)", {})

    def holders_action(self, tenant: str, interest_id: str, more: int) -> dict[str, Any]:
        """Part of a transaction: counts people who hold the interest."""
        return self._table.update_action((f"t/{tenant}/holders", interest_id), "ADD holders :n", {":n": more})

    def holders(self, tenant: str, interest_ids: Iterable[str]) -> dict[str, int]:
        """How many people hold each interest (long-term, not sensitive): what the k-floor asks."""
        keys = {(f"t/{tenant}/holders", interest_id): interest_id for interest_id in interest_ids}
        rows = self._table.get_many(keys)
        return {interest_id: rows.get(key, {}).get("holders", 0) for key, interest_id in keys.items()}

    def interest_holders(self, tenant: str, interest_id: str) -> int:
        return self.holders(tenant, [interest_id])[interest_id]


def group_key(tenant: str, group: str) -> str:
    """Partition key of linked ids' common profile."""
    return f"t/{tenant}/g/{group}"


def _profile_key(tenant: str, uid: str, group: str) -> str:
    return group_key(tenant, group) if group else person_key(tenant, uid)


def _member(uid: str, meta: Row, folded: int) -> Member:
    return Member(
        uid=uid,
        head=meta.get("head", 0),
        folded=folded,
        consent=standing(meta).consent,
        disabled=frozenset(meta.get("disabled", ())),
        changes=meta.get("changes", 0),
        cut=meta.get("cut", 0),
    )


def _with_profile(person: Person, stored: Row, user_id: str) -> Person:
    profile = _row_profile(stored, user_id, person.disabled)
    counted = frozenset(held(profile, stored.get("uncounted", ())))
    return replace(person, profile=profile, counted=counted, edited=stored.get("edited", ""))


def _packs(events: Mapping[str, list[StoredEvent]]) -> Iterator[list[tuple[str, list[StoredEvent]]]]:
    """Splits events into transactions; a person's own come in order, their chunks in transactions of their own."""
    pack: list[tuple[str, list[StoredEvent]]] = []
    room = TRANSACTION_LIMIT
    for uid, many in events.items():
        for start in range(0, len(many), TRANSACTION_LIMIT - 1):
            chunk = many[start : start + TRANSACTION_LIMIT - 1]
            if len(chunk) + 1 > room or any(uid == other for other, _ in pack):
                yield pack
                pack, room = [], TRANSACTION_LIMIT
            pack.append((uid, chunk))
            room -= len(chunk) + 1
    if pack:
        yield pack


def _event_row(pk: str, stored: StoredEvent) -> Row:
    event = stored.event
    row: Row = {"pk": pk, "sk": f"e/{event.event_id}", "seq": stored.seq, "ev": event.event, "ts": event.timestamp}
    optional = {
        "item": event.item_id,
        "pf": event.platform,
        "dom": event.domain,
        "text": event.text,
        "tags": list(event.tags) or None,
        "val": event.value,
        "vec": stored.vector or None,
    }
    return row | {name: value for name, value in optional.items() if value is not None}


def _row_event(row: Row, user_id: str) -> StoredEvent:
    return StoredEvent(
        Event(
            user_id=user_id,
            event=row["ev"],
            timestamp=float(row["ts"]),
            event_id=row["sk"].removeprefix("e/"),
            item_id=row.get("item"),
            platform=row.get("pf"),
            domain=row.get("dom"),
            text=row.get("text"),
            tags=tuple(row.get("tags", ())),
            value=row.get("val"),
        ),
        seq=row["seq"],
        vector=row.get("vec", b""),
    )


def empty_profile_row(pk: str, version: int) -> Row:
    """A profile that the next read makes anew from all events."""
    return _profile_row(pk, Profile("", (), (), updated_at=0.0, version=version), 0, 0)


def _profile_row(pk: str, profile: Profile, folded: int, changes: int) -> Row:
    interests = [
        {
            "id": interest.id,
            "name": interest.name,
            "weight": interest.weight,
            "term": interest.term,
            "evidence": interest.evidence,
            "sensitive": interest.sensitive,
            "strength": interest.strength,
            "against": interest.against,
            "categories": interest.categories,
        }
        for interest in profile.interests
    ]
    return {
        "pk": pk,
        "sk": "profile",
        "version": profile.version,
        "folded": folded,
        "changes": changes,
        "events": profile.events,
        "updated_at": profile.updated_at,
        "interests": orjson.dumps(interests),
        "acquired": list(profile.acquired),
        "recent": orjson.dumps([(one.item_id, one.at, one.interest_id) for one in profile.recent]),
        "vectors": b"".join(interest.vector for interest in profile.interests),
    }


def _row_profile(row: Row, user_id: str, disabled: frozenset[str]) -> Profile:
    interests = orjson.loads(row["interests"])
    width = len(row["vectors"]) // len(interests) if interests else 0
    recent = [RecentItem(*one) for one in orjson.loads(row.get("recent", b"[]"))]
    return Profile(
        user_id=user_id,
        interests=tuple(
            Interest(
                **entry | {"evidence": tuple(entry["evidence"]), "against": tuple(entry.get("against", ()))},
                enabled=entry["id"] not in disabled,
                vector=row["vectors"][place * width : (place + 1) * width],
            )
            for place, entry in enumerate(interests)
        ),
        segments=(),
        updated_at=float(row["updated_at"]),
        events=row["events"],
        version=row["version"],
        acquired=tuple(row["acquired"]),
        recent=turns(one for one in recent if one.interest_id not in disabled),
    )


def pack_vector(vector: np.ndarray) -> bytes:
    """A unit vector (384,) as it is kept in rows: float16, 768 bytes; its cosine to the float32 one is > 0.9999."""
    import numpy as np

    return np.asarray(vector, dtype=np.float16).tobytes()


def unpack_vectors(packed: Sequence[bytes]) -> np.ndarray:
    """Stored vectors as float32 (n, 384)."""
    import numpy as np

    if not packed:
        return np.zeros((0, 384), dtype=np.float32)
    return np.frombuffer(b"".join(packed), dtype=np.float16).reshape(len(packed), -1).astype(np.float32)
