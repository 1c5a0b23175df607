"""People: pseudonyms, consent, event rows (the truth) and the profile (a versioned cache of their fold).

Rows of one person share the partition ``t/{tenant}/p/{uid}``::

    meta            head (number of the last event), consent and how often it changed, disabled interests
    e/{event_id}    one event, with its number `seq`
    profile, state  the fold up to event number `folded`: what is served, and what the next fold starts from
    f/{ad_id}       times of the ad's impressions to this person
    d/{decision_id} pointer to a decision

An event row and the person's `head` change in one transaction, so a fold up to `head` has seen exactly the rows that
exist: writers may race, crash and repeat, and nothing is lost or counted twice.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from shared.domain import Consent, Event, Interest, Profile
from shared.errors import Conflict, Unprocessable
from shared.stores.faults import give_way
from shared.stores.table import TRANSACTION_LIMIT, ConditionFailed, Key, Row, Table

if TYPE_CHECKING:
    import numpy as np

_ATTEMPTS = 30
_MOST_DISABLED = 500


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event with its number within the person and, where it stands for no known item, its own vector."""

    event: Event
    seq: int = 0
    vector: bytes = b""  # float16, (384,)


@dataclass(frozen=True, slots=True)
class Person:
    """What is known of a person at one moment. `profile` is None before the first fold.

    head: number of the last event; folded: that of the last one in the profile. changes: how often consent has changed;
    folded_changes: how often it had when the profile was made.
    """

    uid: str
    head: int
    consent: Consent | None
    disabled: frozenset[str]
    profile: Profile | None
    folded: int
    changes: int = 0
    folded_changes: int = 0

    @property
    def stale(self) -> bool:
        return self.folded < self.head or self.folded_changes < self.changes


class People:
    """Store of people. `key` is the deployment's pseudonym key (HMAC-SHA256)."""

    def __init__(self, table: Table, key: bytes) -> None:
        self._table = table
        self._key = key

    # Pseudonyms -------------------------------------------------------------------------------------------------

    def _mapping_key(self, tenant: str, user_id: str) -> Key:
        message = f"{tenant}\x00{user_id.strip()}".encode()  # as events have it, whose ids are cleaned
        return f"t/{tenant}/id/{hmac.new(self._key, message, hashlib.sha256).hexdigest()}", "id"

    def uid(self, tenant: str, user_id: str, *, create: bool = False) -> str | None:
        """The random uid behind an external id; None where there is none and `create` is false."""
        if create:
            return self.uids(tenant, [user_id])[user_id]
        row = self._table.get(*self._mapping_key(tenant, user_id))
        return row["uid"] if row else None

    def known_uids(self, tenant: str, user_ids: Iterable[str]) -> dict[str, str]:
        """uids of those external ids that have one."""
        keys = {self._mapping_key(tenant, user_id): user_id for user_id in user_ids}
        return {keys[key]: row["uid"] for key, row in self._table.get_many(keys).items()}

    def uids(self, tenant: str, user_ids: Iterable[str]) -> dict[str, str]:
        """uids of external ids, made where they do not exist yet; racing writers agree on one."""
        keys = {self._mapping_key(tenant, user_id): user_id for user_id in dict.fromkeys(user_ids)}
        found = {keys[key]: row["uid"] for key, row in self._table.get_many(keys).items()}
        missing = [key for key, user_id in keys.items() if user_id not in found]
        for start in range(0, len(missing), TRANSACTION_LIMIT):
            pending = missing[start : start + TRANSACTION_LIMIT]
            for attempt in range(_ATTEMPTS):
                made = {key: secrets.token_hex(12) for key in pending}
                try:
                    self._table.transact(
                        [
                            self._table.put_action(
                                {"pk": key[0], "sk": key[1], "uid": uid}, condition="attribute_not_exists(pk)"
                            )
                            for key, uid in made.items()
                        ]
                    )
                    found |= {keys[key]: uid for key, uid in made.items()}
                    break
                except ConditionFailed:
                    there = self._table.get_many(pending)
                    found |= {keys[key]: row["uid"] for key, row in there.items()}
                    pending = [key for key in pending if key not in there]
                    if not pending:
                        break
                    give_way(attempt)
            else:
                raise Conflict("too many writers at the same new people", retry_after=1)
        return found

    # Events -----------------------------------------------------------------------------------------------------

    def append_events(
        self, tenant: str, events: Mapping[str, Sequence[StoredEvent]], *, source: str | None = None
    ) -> dict[str, set[str]]:
        """Adds events by uid; one that is there already (same person and event id) is left alone.

        Returns the ids of those that were new, by uid. Each transaction is all or nothing; after an error a repeat is
        safe. source: name of the piece of work that they come from. It is kept with them, and what the same piece has
        written before is new again: so a piece that was cut off and comes back counts what the first try wrote.
        """
        todo = {uid: list({stored.event.event_id: stored for stored in many}.values()) for uid, many in events.items()}
        accepted: dict[str, set[str]] = {uid: set() for uid in todo}
        for attempt in range(_ATTEMPTS):
            heads, new, written = self._unseen(tenant, todo, source)
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
        """The people's heads, those of their events that have no row yet, and the ids of those that `source` wrote."""
        keys: list[Key] = []
        for uid, many in events.items():
            pk = person_key(tenant, uid)
            keys += [(pk, "meta"), *((pk, f"e/{stored.event.event_id}") for stored in many)]
        rows = self._table.get_many(keys, attributes=["head", "src"])
        heads = {uid: rows.get((person_key(tenant, uid), "meta"), {}).get("head", 0) for uid in events}
        written: dict[str, set[str]] = {}
        if source is not None:
            for uid, many in events.items():
                found = (rows.get((person_key(tenant, uid), f"e/{s.event.event_id}"), {}) for s in many)
                written[uid] = {row["sk"].removeprefix("e/") for row in found if row.get("src") == source}
        new = {
            uid: [s for s in many if (person_key(tenant, uid), f"e/{s.event.event_id}") not in rows]
            for uid, many in events.items()
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
                condition="head = :old" if head else "attribute_not_exists(head) OR head = :old",
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
        """The person as of now (consistent read)."""
        pk = person_key(tenant, uid)
        rows = self._table.get_many([(pk, "meta"), (pk, "profile")])
        meta = rows.get((pk, "meta"), {})
        stored = rows.get((pk, "profile"))
        disabled = frozenset(meta.get("disabled", ()))
        return Person(
            uid=uid,
            head=meta.get("head", 0),
            consent=Consent(**meta["consent"]) if "consent" in meta else None,
            disabled=disabled,
            profile=_row_profile(stored, user_id, disabled) if stored else None,
            folded=stored["folded"] if stored else 0,
            changes=meta.get("changes", 0),
            folded_changes=stored["changes"] if stored else 0,
        )

    def consents(self, tenant: str, uids: Iterable[str]) -> dict[str, Consent]:
        """What these people have said, where they have."""
        keys = {(person_key(tenant, uid), "meta"): uid for uid in uids}
        rows = self._table.get_many(keys, attributes=["consent"])
        return {keys[key]: Consent(**row["consent"]) for key, row in rows.items() if "consent" in row}

    def set_consent(self, tenant: str, uid: str, consent: Consent) -> None:
        """Puts `consent` in force; the next read makes the profile anew under it."""
        value = {name: field for name, field in asdict(consent).items() if field is not None}
        self._table.update(
            (person_key(tenant, uid), "meta"),
            "SET consent = :consent ADD changes :one",
            {":consent": value, ":one": 1},
        )

    def edit_interests(self, tenant: str, uid: str, *, disable: Iterable[str], enable: Iterable[str]) -> None:
        """Adds to and takes from the person's disabled interests, atomically.

        Raises:
            Unprocessable: more than 500 would be disabled.
        """
        key = (person_key(tenant, uid), "meta")
        for attempt in range(_ATTEMPTS):
            row = self._table.get(*key) or {}
            before = row.get("disabled")
            after = sorted((set(before or ()) | set(disable)) - set(enable))
            if len(after) > _MOST_DISABLED:
                raise Unprocessable(f"more than {_MOST_DISABLED} interests would be disabled", field="disable")
            try:
                self._table.update(
                    key,
                    "SET disabled = :after",
                    {":after": after} | ({":before": before} if before is not None else {}),
                    condition="attribute_not_exists(disabled)" if before is None else "disabled = :before",
                )
                return
            except ConditionFailed:
                give_way(attempt)
        raise Conflict("too many writers at the same person", retry_after=1)

    def state(self, tenant: str, uid: str) -> bytes:
        """What the next fold starts from (opaque here); empty before the first."""
        row = self._table.get(person_key(tenant, uid), "state")
        return row["state"] if row else b""

    def save_profile(self, tenant: str, person: Person, profile: Profile, state: bytes, folded: int) -> bool:
        """Replaces `person`'s profile if nobody else has since; False where somebody has.

        The counts of who holds which interest change in the same transaction, so they stay exact.
        """
        pk = person_key(tenant, person.uid)
        version = person.profile.version if person.profile else 0
        before = _held(person.profile)
        after = _held(profile)
        actions = [
            self._table.put_action(
                _profile_row(pk, replace(profile, version=version + 1), folded, person.changes),
                condition="version = :version" if version else "attribute_not_exists(pk)",
                values={":version": version} if version else None,
            ),
            self._table.put_action({"pk": pk, "sk": "state", "state": state}),
        ]
        for interest_id in sorted(before ^ after):
            actions.append(
                self._table.update_action(
                    (f"t/{tenant}/holders", interest_id), "ADD holders :n", {":n": 1 if interest_id in after else -1}
                )
            )
        try:
            self._table.transact(actions[:TRANSACTION_LIMIT])
        except ConditionFailed:
            return False
        return True

    def holders(self, tenant: str, interest_ids: Iterable[str]) -> dict[str, int]:
        """How many people hold each interest (long-term, not sensitive): what the k-floor asks."""
        keys = {(f"t/{tenant}/holders", interest_id): interest_id for interest_id in interest_ids}
        rows = self._table.get_many(keys)
        return {interest_id: rows.get(key, {}).get("holders", 0) for key, interest_id in keys.items()}

    def interest_holders(self, tenant: str, interest_id: str) -> int:
        return self.holders(tenant, [interest_id])[interest_id]


def person_key(tenant: str, uid: str) -> str:
    """Partition key of everything about one person."""
    return f"t/{tenant}/p/{uid}"


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


def _held(profile: Profile | None) -> set[str]:
    if profile is None:
        return set()
    return {interest.id for interest in profile.interests if interest.term == "long" and not interest.sensitive}


def _profile_row(pk: str, profile: Profile, folded: int, changes: int) -> Row:
    interests = [
        {
            "id": interest.id,
            "name": interest.name,
            "weight": interest.weight,
            "term": interest.term,
            "evidence": interest.evidence,
            "sensitive": interest.sensitive,
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
        "vectors": b"".join(interest.vector for interest in profile.interests),
    }


def _row_profile(row: Row, user_id: str, disabled: frozenset[str]) -> Profile:
    interests = orjson.loads(row["interests"])
    width = len(row["vectors"]) // len(interests) if interests else 0
    return Profile(
        user_id=user_id,
        interests=tuple(
            Interest(
                **entry | {"evidence": tuple(entry["evidence"])},
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
