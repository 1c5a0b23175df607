"""Pseudonyms: from a person's external id to a random uid. The mapping is keyed by an HMAC; no external id is kept.

::

    t/{tenant}/id/{hmac}   id     uid; of an id that was erased at the person's request erased (time) and erasure, and
                                  as long as nobody has it again refused and minor, where they held of the person
    t/{tenant}/p/{uid}     meta   id: the HMAC that leads here; head: 0. The person's first row (`shared.stores.people`)

External ids are the tenant's own and taken as they come: where two platforms may give the same id to different people,
the sender prefixes them (``wechat:o123``).

Mapping and `meta` come and go together, each in one transaction, and whoever writes about a person does it on condition
that `meta` is there. So nobody who has read a uid before an erasure can write under it afterwards. What an erasure
leaves of an id is its tombstone: `erased` in place of the uid, for `TOMBSTONE_DAYS`. It stays beside the uid where the
person comes back: what is older than the erasure is not taken in again, whenever it arrives. Who had refused, or was
under age, comes back as that (`Known.said`): else an erasure would undo their refusal where the tenant asserts consent.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from shared.domain import Consent
from shared.errors import Conflict
from shared.stores.faults import give_way
from shared.stores.statements import begun
from shared.stores.table import TRANSACTION_LIMIT, ConditionFailed, Key, Row, Table

REF_DIGITS = 12
# Longer than history may come back by our own ways (an upload lies 7 days, a dead letter 14) and than a sender is
# likely to send a year's export again.
TOMBSTONE_DAYS = 400
BEFORE_ERASURE = "before erasure"  # source of a refusal that an erasure left
_ATTEMPTS = 30


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an external id: nothing, where all is None.

    uid: of who has it. erased_at: epoch seconds when it was last erased at the person's request. erasure: which did.
    refused, minor: of an id that nobody has since, whether the person had said no, or was under age.
    """

    uid: str | None = None
    erased_at: float | None = None
    erasure: str | None = None
    refused: bool = False
    minor: bool = False

    @property
    def said(self) -> Consent | None:
        """What holds of whoever has the id next, until they say otherwise; None: nothing does."""
        if self.erased_at is None or not (self.refused or self.minor):
            return None
        return Consent(False, False, source=BEFORE_ERASURE, at=self.erased_at, minor=self.minor)

    def erased(self, timestamp: float, came: float | None = None) -> bool:
        """Whether what happened then is no longer to be known. came: when the upload came that says so (whole seconds),
        None where it has only just come."""
        if self.erased_at is None:
            return False
        return timestamp <= self.erased_at or (came is not None and was_known(timestamp, came, self.erased_at))


class Identities:
    """Store of pseudonyms. `key` is the deployment's pseudonym key (HMAC-SHA256)."""

    def __init__(self, table: Table, key: bytes) -> None:
        self._table = table
        self._key = key

    def digest(self, tenant: str, user_id: str) -> str:
        """The HMAC of an external id within its tenant, in hexadecimal: what the id is kept as."""
        message = f"{tenant}\x00{user_id.strip()}".encode()  # as events have it, whose ids are cleaned
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()

    def keyed_event_id(self, tenant: str, event_id: str) -> str:
        """What an event's id becomes where it is made of contact data: 32 hexadecimal digits, always the same, which
        nobody can tell anything from without the key, and which no external id's `digest` begins with."""
        message = f"event\x00{tenant}\x00{event_id}".encode()
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()[:32]

    def ref(self, tenant: str, user_id: str) -> str:
        """A name for the external id that tells nobody what it is: the first 12 hex digits of its HMAC."""
        return self.digest(tenant, user_id)[:REF_DIGITS]

    def uid(self, tenant: str, user_id: str, *, create: bool = False) -> str | None:
        """The random uid behind an external id; None where there is none and `create` is false."""
        if create:
            return self.uids(tenant, [user_id])[user_id]
        return self.look_up(tenant, [user_id])[user_id].uid

    def known_uids(self, tenant: str, user_ids: Iterable[str]) -> dict[str, str]:
        """uids of those external ids that have one."""
        return {user_id: one.uid for user_id, one in self.look_up(tenant, user_ids).items() if one.uid is not None}

    def erased(self, tenant: str, user_ids: Iterable[str]) -> dict[str, float]:
        """Of those external ids that were erased the time (epoch seconds) of the last erasure."""
        found = self.look_up(tenant, user_ids)
        return {user_id: one.erased_at for user_id, one in found.items() if one.erased_at is not None}

    def look_up(self, tenant: str, user_ids: Iterable[str]) -> dict[str, Known]:
        """What is known of each of these external ids."""
        digests = {user_id: self.digest(tenant, user_id) for user_id in user_ids}
        by_digest = self.look_up_digests(tenant, digests.values())
        return {user_id: by_digest[digest] for user_id, digest in digests.items()}

    def look_up_digests(self, tenant: str, digests: Iterable[str]) -> dict[str, Known]:
        """`look_up` by `digest`."""
        keys = {_mapping_key(tenant, digest): digest for digest in digests}
        rows = self._table.get_many(keys)
        return {digest: _known(rows.get(key)) for key, digest in keys.items()}

    def uids(self, tenant: str, user_ids: Iterable[str]) -> dict[str, str]:
        """uids of external ids, made where they do not exist yet; racing writers agree on one."""
        wanted = list(dict.fromkeys(user_ids))
        for attempt in range(_ATTEMPTS):
            found = self.make(tenant, self.look_up(tenant, wanted))
            uids = {user_id: one.uid for user_id, one in found.items() if one.uid is not None}
            if len(uids) == len(wanted):
                return uids
            give_way(attempt)  # one was erased at this very moment
        raise Conflict("too many writers at the same new people", retry_after=1)

    def make(self, tenant: str, known: Mapping[str, Known]) -> dict[str, Known]:
        """Gives those of these external ids a uid that have none, each on condition that it is still as it was looked
        up. Returns the ids as they are then: one that somebody else has made or erased meanwhile, as they left it."""
        digests = {user_id: self.digest(tenant, user_id) for user_id in known}
        found = {digests[user_id]: one for user_id, one in known.items()}
        missing = [digest for digest, one in found.items() if one.uid is None]
        some = TRANSACTION_LIMIT // 2
        for start in range(0, len(missing), some):
            found |= self._make(tenant, {digest: found[digest] for digest in missing[start : start + some]})
        return {user_id: found[digest] for user_id, digest in digests.items()}

    def _make(self, tenant: str, known: Mapping[str, Known]) -> dict[str, Known]:
        """By digest, as many as one transaction takes."""
        found: dict[str, Known] = {}
        for attempt in range(_ATTEMPTS):
            made = {d: replace(one, uid=secrets.token_hex(12)) for d, one in known.items() if d not in found}
            try:
                self._table.transact(
                    [part for digest, one in made.items() for part in self._begin(tenant, digest, one)]
                )
                return found | made
            except ConditionFailed:
                now = self.look_up_digests(tenant, made)
                found |= {digest: one for digest, one in now.items() if one != known[digest]}
                if len(found) == len(known):
                    return found
                give_way(attempt)
        raise Conflict("too many writers at the same new people", retry_after=1)

    def _begin(self, tenant: str, digest: str, one: Known) -> list[dict[str, Any]]:
        """The parts of a transaction that make a person: the mapping and their first row."""
        pk, sk = _mapping_key(tenant, digest)
        row: Row = {"pk": pk, "sk": sk, "uid": one.uid, "erased": one.erased_at, "erasure": one.erasure}
        condition, values = _as_it_was(replace(one, uid=None))
        first: Row = {"pk": person_key(tenant, one.uid or ""), "sk": "meta", "id": digest, "head": 0}
        if one.said is not None:
            first |= begun(one.said)
        return [
            self._table.put_action(row, condition=condition, values=values or None),
            self._table.put_action(first, condition="attribute_not_exists(pk)"),
        ]

    def erased_later_action(self, tenant: str, digest: str, known: Known, at: float) -> dict[str, Any]:
        """Part of a transaction: moves the time of a tombstone, on condition that it is still `known`."""
        condition, values = _as_it_was(known)
        return self._table.update_action(
            _mapping_key(tenant, digest),
            "SET erased = :at, expires_at = :ttl",
            values | {":at": at, ":ttl": int(at) + TOMBSTONE_DAYS * 86400},
            condition=condition,
        )

    def erase_action(self, tenant: str, digest: str, known: Known, erased: Known) -> dict[str, Any]:
        """Part of a transaction: leaves nothing of an id but its tombstone, on condition that it is still `known`.

        erased: when, and by which erasure; and what holds of whoever has the id next.
        """
        pk, sk = _mapping_key(tenant, digest)
        at = erased.erased_at or 0.0
        row: Row = {"pk": pk, "sk": sk, "erased": at, "erasure": erased.erasure}
        row |= {name: True for name in ("refused", "minor") if getattr(erased, name)}
        condition, values = _as_it_was(known)
        return self._table.put_action(
            row | {"expires_at": int(at) + TOMBSTONE_DAYS * 86400}, condition=condition, values=values or None
        )


def was_known(timestamp: float, came: float, before: float) -> bool:
    """Whether what came at one time, and says of itself that it happened at another, was here `before`, whatever it
    says: clocks are wrong.

    came: in whole seconds, as S3 has it. What came within the second of `before` may have come behind it, and is taken
    to have, where it says so and that second was not over yet.
    """
    return came <= before and not (before < came + 1 and before < timestamp < came + 1)


def person_key(tenant: str, uid: str) -> str:
    """Partition key of everything about one person."""
    return f"t/{tenant}/p/{uid}"


def _mapping_key(tenant: str, digest: str) -> Key:
    return f"t/{tenant}/id/{digest}", "id"


def _known(row: Row | None) -> Known:
    if row is None:
        return Known()
    erased_at = float(row["erased"]) if "erased" in row else None
    return Known(row.get("uid"), erased_at, row.get("erasure"), row.get("refused", False), row.get("minor", False))


def _as_it_was(known: Known) -> tuple[str, dict[str, Any]]:
    """Condition under which a mapping is as it was looked up, and its values."""
    if known.uid is not None:
        return "uid = :uid", {":uid": known.uid}
    if known.erasure is not None:
        return "attribute_not_exists(uid) AND erasure = :erasure", {":erasure": known.erasure}
    return "attribute_not_exists(pk)", {}
