"""Who counts as holding which interest, and interests that people switch off.

Counted are long-term interests that are not sensitive and not switched off. A profile's row says itself which of its
interests do not count (`uncounted`) and under what everybody's switches were (`edited`, their digest), so that what is
counted of a version of it never depends on rows that may have changed since. Every edit makes a new version of it, with
the counters, in one transaction: so of a save and an edit that race, one has to look again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from shared.domain import Profile
from shared.errors import Conflict, NotFound, Unprocessable
from shared.stores.faults import give_way
from shared.stores.identities import person_key
from shared.stores.person import Member
from shared.stores.table import ConditionFailed, Row, Table

if TYPE_CHECKING:
    from shared.stores.people import People

MOST_DISABLED = 500  # interests through one id
_ATTEMPTS = 30


def held(profile: Profile | None, disabled: Collection[str] = ()) -> set[str]:
    """Ids of the interests that the person is counted as a holder of, with these switched off."""
    if profile is None:
        return set()
    long = {interest.id for interest in profile.interests if interest.term == "long" and not interest.sensitive}
    return long.difference(disabled)


def counting(profile: Profile, disabled: Collection[str]) -> Row:
    """What a profile's row says of what is counted of it."""
    uncounted = sorted(held(profile) - held(profile, disabled))
    return {"edited": digest(disabled) or None, "uncounted": uncounted or None}


def digest(disabled: Collection[str]) -> str:
    """Names a set of interests that are switched off; empty of none."""
    if not disabled:
        return ""
    return hashlib.blake2b("\n".join(sorted(disabled)).encode(), digest_size=8).hexdigest()


def as_read(member: Member) -> tuple[str, dict[str, Any]]:
    """Condition under which an id is there and has these interests switched off, with its values."""
    values: dict[str, Any] = {":disabled": sorted(member.disabled)}
    none = "attribute_not_exists(disabled) OR " if not member.disabled else ""
    return f"attribute_exists(pk) AND ({none}disabled = :disabled)", values


def edit(table: Table, people: People, tenant: str, uid: str, *, disable: Iterable[str], enable: Iterable[str]) -> None:
    """See `People.edit_interests`."""
    disable, enable = set(disable), set(enable)
    for attempt in range(_ATTEMPTS):
        person = people.load(tenant, uid, "")
        if not person.there:
            raise NotFound("nobody is known by this id any more", field="user_id")
        actions = []
        switched: set[str] = set()
        for member in person.members:
            after = (member.disabled | (disable if member.uid == uid else set())) - enable
            if len(after) > MOST_DISABLED:
                raise Unprocessable(f"more than {MOST_DISABLED} interests would be disabled", field="disable")
            switched |= after
            if member.uid != uid and after == member.disabled:
                continue
            condition, values = as_read(member)
            if person.group:  # one that has left since keeps its own
                condition, values = f"{condition} AND gid = :group", values | {":group": person.group}
            key = (person_key(tenant, member.uid), "meta")
            values[":after"] = sorted(after)
            actions.append(table.update_action(key, "SET disabled = :after", values, condition=condition))
        actions.append(people.profile_edited_action(tenant, person, switched))
        after_ids = held(person.profile, switched)
        actions += [
            people.holders_action(tenant, one, 1 if one in after_ids else -1)
            for one in sorted(person.counted ^ after_ids)
        ]
        try:
            table.transact(actions)
            return
        except ConditionFailed:
            give_way(attempt)
    raise Conflict("too many writers at the same person", retry_after=1)
