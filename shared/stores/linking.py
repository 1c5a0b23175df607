"""Links between the ids of one person.

A link moves nothing: every id keeps its own rows (`shared.stores.people`). What says who is linked is, of each linked
id, ``gid`` and ``uids`` in its `meta` and the ``gid`` that closes its own `profile`; and the group's rows `meta`,
`profile` and `state`. Whoever erases a person has to look in all of these.

Any change is one transaction that makes a new group of those who are linked afterwards, takes away what was (with what
it counted among the holders of interests) and holds only where everybody concerned is still as they were read: of
racing changes one goes first, and the others see what it did.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from shared.errors import Conflict, NotFound, Unprocessable
from shared.stores.faults import give_way
from shared.stores.people import People, empty_profile_row, group_key, person_key
from shared.stores.person import Person
from shared.stores.table import ConditionFailed, Row, Table

MOST_LINKED = 20  # ids of one person; what a change writes (about 3 rows each and 30 counters) stays one transaction
_ATTEMPTS = 30


@dataclass(frozen=True, slots=True)
class Identity:
    """One id of a person. ref: names its external id without saying it (`Identities.ref`)."""

    uid: str
    ref: str
    platform: str | None = None


class Linking:
    """Store of links."""

    def __init__(self, table: Table, people: People) -> None:
        self._table = table
        self._people = people

    def linked(self, tenant: str, identity: Identity) -> tuple[Identity, ...]:
        """The ids of the person, `identity` itself included, by their references."""
        for attempt in range(_ATTEMPTS):
            found = self._identities(tenant, self._people.load(tenant, identity.uid, ""), identity)
            if found is not None:
                return tuple(sorted(found.values(), key=lambda one: one.ref))
            give_way(attempt)
        raise Conflict("too many writers at the same person", retry_after=1)

    def check(self, tenant: str, uid: str, link: Collection[str], unlink: Iterable[str]) -> None:
        """Raises `Unprocessable` where `uid`, once `unlink` have left it in this order, and then `link`, with whom they
        are linked with, would be too many for one person."""
        mine = set(self._people.load(tenant, uid, "").uids)
        groups = [mine]
        for one in unlink:
            if one in mine and len(mine) > 1:
                mine.remove(one)
                groups.append({one})
                if one == uid:
                    mine = groups[-1]
        for one in set(link):
            if not any(one in group for group in groups):
                groups.append(set(self._people.load(tenant, one, "").uids))
        together = {uid, *link}
        _check(len(set().union(*(group for group in groups if group & together))))

    def link(self, tenant: str, one: Identity, other: Identity) -> bool:
        """Makes two ids, and all that they are linked with, one person; False where they were.

        Raises:
            Unprocessable: they would be more than `MOST_LINKED`. NotFound: one of them is nobody (any more).
        """
        for attempt in range(_ATTEMPTS):
            persons = [self._people.load(tenant, identity.uid, "") for identity in (one, other)]
            if not all(person.there for person in persons):
                raise NotFound("one of these ids was erased meanwhile", field="link")
            mine = self._identities(tenant, persons[0], one)
            theirs = self._identities(tenant, persons[1], other)
            if mine is not None and theirs is not None:
                if other.uid in mine:
                    if self._named(tenant, persons[0].group, mine[other.uid], other.platform):
                        return False
                elif not mine.keys() & theirs.keys():  # else they came together between the two reads
                    members = mine | theirs
                    _check(len(members))
                    if other.platform is not None:
                        members[other.uid] = replace(members[other.uid], platform=other.platform)
                    if self._change(tenant, persons, members, ()):
                        return True
            give_way(attempt)
        raise Conflict("too many writers at the same person", retry_after=1)

    def unlink(self, tenant: str, uid: str, leaving: Identity) -> tuple[str, ...]:
        """Makes `leaving` a person of its own again, and an id that is left alone by it too. Returns the uids that were
        one person; none where `leaving` was not linked with `uid` (or, where it is `uid` itself, with anybody)."""
        for attempt in range(_ATTEMPTS):
            person = self._people.load(tenant, leaving.uid, "")
            if not person.group or uid not in person.uids:
                return ()
            members = self._identities(tenant, person, leaving)
            if members is not None:
                del members[leaving.uid]
                alone = [leaving.uid] if len(members) > 1 else list(person.uids)
                if self._change(tenant, [person], members if len(members) > 1 else {}, alone):
                    return person.uids
            give_way(attempt)
        raise Conflict("too many writers at the same person", retry_after=1)

    # ------------------------------------------------------------------------------------------------------------

    def _identities(self, tenant: str, person: Person, identity: Identity) -> dict[str, Identity] | None:
        """The person's ids; None where their group is no more. identity: the one that they are known by."""
        if not person.group:
            return {identity.uid: identity}
        row = self._table.get(group_key(tenant, person.group), "meta")
        if row is None:
            return None
        return {uid: Identity(uid, one["ref"], one.get("pf")) for uid, one in row["members"].items()}

    def _named(self, tenant: str, group: str, known: Identity, platform: str | None) -> bool:
        """Keeps the platform of an id that is linked already; False where the group is no more."""
        if platform in (None, known.platform) or not group:
            return True
        try:
            self._table.update(
                (group_key(tenant, group), "meta"),
                "SET #members.#uid.pf = :platform",
                {":platform": platform},
                names={"#members": "members", "#uid": known.uid},
                condition="attribute_exists(pk)",
            )
        except ConditionFailed:
            return False
        return True

    def _change(
        self, tenant: str, persons: Iterable[Person], members: Mapping[str, Identity], alone: Iterable[str]
    ) -> bool:
        """Makes `members` one group in place of `persons`, of whose ids `alone` are in none; False where somebody else
        has been at them."""
        alone = list(alone)
        closed = self._table.get_many([(person_key(tenant, uid), "profile") for uid in alone]) if alone else {}
        if len(closed) < len(alone):
            return False
        group = secrets.token_hex(12)
        actions = [action for row in closed.values() for action in self._opened(row)]
        released: Counter[str] = Counter()
        for person in persons:
            actions += self._moved(tenant, person, group, sorted(members))
            actions += self._emptied(tenant, person, group)
            released.update(person.counted)
        actions += [self._people.holders_action(tenant, one, -released[one]) for one in sorted(released)]
        if members:
            key = group_key(tenant, group)
            named: Row = {
                uid: {"ref": one.ref} | ({"pf": one.platform} if one.platform is not None else {})
                for uid, one in members.items()
            }
            actions.append(self._table.put_action({"pk": key, "sk": "meta", "members": named}))
            actions.append(self._table.put_action(empty_profile_row(key, 1) | {"folds": {}}))
        try:
            self._table.transact(actions)
        except ConditionFailed:
            return False
        return True

    def _moved(self, tenant: str, person: Person, group: str, uids: list[str]) -> Iterator[dict[str, Any]]:
        """Its ids into the group, those that are not of `uids` into none."""
        for uid in person.uids:
            key = (person_key(tenant, uid), "meta")
            condition = "gid = :before" if person.group else "attribute_exists(pk) AND attribute_not_exists(gid)"
            before = {":before": person.group} if person.group else {}
            if uid in uids:
                values = {":group": group, ":uids": uids} | before
                yield self._table.update_action(key, "SET gid = :group, uids = :uids", values, condition=condition)
            else:
                yield self._table.update_action(key, "REMOVE gid, uids", before, condition=condition)

    def _emptied(self, tenant: str, person: Person, group: str) -> Iterator[dict[str, Any]]:
        """What was inferred goes. An id's own profile stays empty and closed, so that nobody who has read it before can
        save what they made of it; a group's is deleted, which says the same."""
        version = person.profile.version if person.profile else 0
        unchanged = "version = :version" if version else "attribute_not_exists(pk)"
        values = {":version": version} if version else None
        if person.group:
            pk = group_key(tenant, person.group)
            yield self._table.delete_action((pk, "profile"), condition=unchanged, values=values)
            yield self._table.delete_action((pk, "state"))
            yield self._table.delete_action((pk, "meta"))
            return
        pk = person_key(tenant, person.uid)
        row = {"pk": pk, "sk": "profile", "version": version + 1, "gid": group}
        yield self._table.put_action(row, condition=unchanged, values=values)
        if version:
            yield self._table.put_action({"pk": pk, "sk": "state", "state": b""})

    def _opened(self, row: Row) -> Iterator[dict[str, Any]]:
        """An id's own profile, from here on made of its own events again."""
        version = row["version"]
        yield self._table.put_action(
            empty_profile_row(row["pk"], version + 1), condition="version = :version", values={":version": version}
        )


def _check(ids: int) -> None:
    if ids > MOST_LINKED:
        raise Unprocessable(f"these would be {ids} ids of one person. The limit is {MOST_LINKED}.", field="link")
