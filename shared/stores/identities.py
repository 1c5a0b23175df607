"""Pseudonyms: from a person's external id to a random uid. The mapping is keyed by an HMAC; no external id is kept.

::

    t/{tenant}/id/{hmac}   id   uid

External ids are the tenant's own and taken as they come: where two platforms may give the same id to different people,
the sender prefixes them (``wechat:o123``).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable

from shared.errors import Conflict
from shared.stores.faults import give_way
from shared.stores.table import TRANSACTION_LIMIT, ConditionFailed, Key, Table

REF_DIGITS = 12
_ATTEMPTS = 30


class Identities:
    """Store of pseudonyms. `key` is the deployment's pseudonym key (HMAC-SHA256)."""

    def __init__(self, table: Table, key: bytes) -> None:
        self._table = table
        self._key = key

    def _digest(self, tenant: str, user_id: str) -> str:
        message = f"{tenant}\x00{user_id.strip()}".encode()  # as events have it, whose ids are cleaned
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()

    def _mapping_key(self, tenant: str, user_id: str) -> Key:
        return f"t/{tenant}/id/{self._digest(tenant, user_id)}", "id"

    def ref(self, tenant: str, user_id: str) -> str:
        """A name for the external id that tells nobody what it is: the first 12 hex digits of its HMAC."""
        return self._digest(tenant, user_id)[:REF_DIGITS]

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
