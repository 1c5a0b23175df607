"""Answers that were given about a person, kept for a second copy of the request (`shared.idempotency`)::

    t/{tenant}/p/{uid}   a/{name of the request}   body (packed), at, expires_at

They lie with the person, and not with the request's record, so that whoever erases the person finds them.
"""

from __future__ import annotations

from collections.abc import Callable

from shared.errors import Forbidden
from shared.policy.consent import in_force
from shared.stores.people import People, person_key
from shared.stores.table import Table


class Answers:
    """Store of answers. name: of the request, the same for its second copy."""

    def __init__(self, table: Table, people: People, *, consent_basis: Callable[[str], str]) -> None:
        self._table = table
        self._people = people
        self._consent_basis = consent_basis

    def keep(self, tenant: str, user_id: str, name: str, body: bytes, *, now: float, seconds: int) -> bool:
        """Keeps an answer with the person of that external id; False where nobody is known as that (any more).

        Raises:
            Forbidden: nothing may be kept about the person.
        """
        uid = self._people.uid(tenant, user_id)
        if uid is None:
            return False
        if not self._may_be_kept(tenant, uid):
            raise Forbidden("nothing may be kept about this person")
        row = {"pk": person_key(tenant, uid), "sk": f"a/{name}", "body": body, "at": now}
        put = self._table.put_action(row | {"expires_at": int(now) + seconds})
        return self._table.transact_in_turn([self._people.there_action(tenant, uid), put], "person")

    def find(self, tenant: str, user_id: str, name: str, *, now: float) -> bytes | None:
        """An answer that was kept; None where it is there no more, or nothing may be kept about the person any more:
        what it says of them is not told again."""
        uid = self._people.uid(tenant, user_id)
        row = self._table.get(person_key(tenant, uid), f"a/{name}") if uid is not None else None
        if uid is None or row is None or row["expires_at"] <= now or not self._may_be_kept(tenant, uid):
            return None
        body: bytes = row["body"]
        return body

    def _may_be_kept(self, tenant: str, uid: str) -> bool:
        said = self._people.consents(tenant, [uid]).get(uid)
        return in_force(said, self._consent_basis(tenant)).personalisation
