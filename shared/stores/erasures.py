"""Erasures: what is to go of whom, how far that has got, and the receipt that stays.

::

    t/{tenant}/erasures   {erasure_id}                   kind, step, requested_at, digests, uids, groups, cursor, round;
                                                         n/{place}, o/{place}: what has gone of the table and of objects
                          {erasure_id}/d/{decision_id}   a decision of theirs that has gone: its log lines may be left

An erasure begins in one transaction in which the person becomes unknown: mappings to tombstones, first rows, profile
and what it counts for. From then on nobody can write under these uids on condition that they are there
(`shared.stores.identities`), and this row says all that is left to do, whoever does it and however often they are cut
off. Rows go in transactions that count them, so that the receipt is exact. When a second scan has found nothing, uids
and decisions are forgotten here too: the digests stay, as long as the tombstones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from math import inf
from typing import Any, TypeVar

from shared.errors import Conflict
from shared.stores.erasure_rows import TABLE, Erasure, Move, counting, erasure_of, moving
from shared.stores.faults import give_way
from shared.stores.identities import TOMBSTONE_DAYS, Known
from shared.stores.people import People, group_key, person_key
from shared.stores.person import Person
from shared.stores.table import ConditionFailed, Key, Row, Table

__all__ = ["TOGETHER", "Erasure", "Erasures", "Move"]

T = TypeVar("T")
_AT_ONCE = 90  # rows in one transaction, with the one that counts them
TOGETHER = 90  # erasures in one
_TURNS = 30
# Places in the receipt by the beginning of a row's sort key.
_PLACES = {"e/": "events", "f/": "impressions", "c/": "consents", "d/": "decisions", "a/": "answers"}
_PLACES |= {"profile": "profiles", "state": "profiles", "meta": "people"}
_STAYING = ("meta", "profile", "state", "c/")  # of somebody who withdraws: the profile is an empty one


class Erasures:
    """Store of erasures."""

    def __init__(self, table: Table, people: People) -> None:
        self._table = table
        self._people = people

    def get(self, tenant: str, erasure_id: str) -> Erasure | None:
        row = self._table.get(*_key(tenant, erasure_id))
        return erasure_of(row) if row is not None and "step" in row else None

    def begin(self, tenant: str, erasure: Erasure, known: Mapping[str, Known], person: Person | None) -> bool:
        """Makes the person unknown and the erasure's row, in one transaction; False where somebody else has been at
        them.

        known: the ids by digest, as they were looked up. person: None where nobody has the id; what an earlier erasure
        left of their refusal stays then.
        """
        said = person.consent if person is not None else None
        actions = []
        for digest, one in known.items():
            stone = Known(None, erasure.requested_at, erasure.erasure_id, one.refused, one.minor)
            if said is not None:
                stone = replace(stone, refused=not said.personalisation, minor=said.minor)
            actions.append(self._people.erase_action(tenant, digest, one, stone))
        gone = {"identities": sum(one.uid is not None for one in known.values())}
        if person is not None:
            actions += self._vanishing(tenant, person)
            interests = sorted(person.counted)
            actions += [self._people.holders_action(tenant, one, -1) for one in interests]
            gone |= {
                "people": len(person.uids),
                "links": len(person.uids) if person.group else 0,
                "interest_counts": len(interests),
            }
        actions.append(self._put_action(tenant, erasure, gone))
        return self._transact(actions)

    def _vanishing(self, tenant: str, person: Person) -> Iterator[dict[str, Any]]:
        """First rows of the ids, as long as they allow what they did when they were read, and the profile; what was
        closed when they were linked has nothing in it."""
        as_read = "gid = :group" if person.group else "attribute_exists(pk) AND attribute_not_exists(gid)"
        group = {":group": person.group} if person.group else {}
        for member in person.members:
            changes = {":changes": member.changes} if member.changes else {}
            said = "changes = :changes" if changes else "attribute_not_exists(changes)"
            yield self._table.delete_action(
                (person_key(tenant, member.uid), "meta"),
                condition=f"{as_read} AND {said}",
                values=group | changes or None,
            )
        pk = group_key(tenant, person.group) if person.group else person_key(tenant, person.uid)
        version = person.profile.version if person.profile else 0
        yield self._table.delete_action(
            (pk, "profile"),
            condition="version = :version" if version else "attribute_not_exists(pk)",
            values={":version": version} if version else None,
        )
        yield self._table.delete_action((pk, "state"))
        if person.group:
            yield self._table.delete_action((pk, "meta"))

    def begin_anew(
        self, tenant: str, erasure: Erasure, known: Mapping[str, Known], now: float, not_before: float
    ) -> bool:
        """Has an erasure that is under way begin once more, as of now; False where somebody else has been at it.

        known: its ids by digest, as they were looked up; who has come back under one is a new person.
        """
        gone = {d: one for d, one in known.items() if one.uid is None and one.erasure == erasure.erasure_id}
        again = self._table.update_action(
            _key(tenant, erasure.erasure_id),
            "SET requested_at = :now, updated_at = :now, turn = :next, #step = :step, not_before = :not_before, "
            "expires_at = :ttl REMOVE #cursor, #found, looked_at",
            {
                ":now": now,
                ":next": erasure.turn + 1,
                ":turn": erasure.turn,
                ":step": "table",
                ":not_before": not_before,
                ":ttl": int(now) + TOMBSTONE_DAYS * 86400,
            },
            names={"#step": "step", "#cursor": "cursor", "#found": "found"},
            condition="turn = :turn",
        )
        return self._transact(
            [again, *(self._people.erased_later_action(tenant, d, one, now) for d, one in gone.items())]
        )

    def begin_withdrawal(self, tenant: str, erasure: Erasure, uid: str, head: int, changes: int) -> bool:
        """Makes the row of a withdrawal, and a cut behind the id's last event; False where one has come since. Which
        interests were switched off through it is forgotten with it.

        head: number of that event. changes: how often its consent has changed. The cut takes a number of its own, so
        that whoever is about to write the next event has to look again.
        """
        cut = self._table.update_action(
            (person_key(tenant, uid), "meta"),
            "SET head = :cut, cut = :cut, withdrawn = :changes REMOVE disabled",
            {":cut": head + 1, ":head": head, ":changes": changes},
            condition="head = :head",
        )
        return self._transact([cut, self._put_action(tenant, erasure, {})])

    def renew_cut(self, tenant: str, erasure: Erasure, uid: str, head: int) -> bool:
        """Moves a withdrawal's cut to behind the id's last event; False where it has moved."""
        number = {":head": head, ":cut": erasure.cut}
        return self._transact(
            [
                self._table.update_action(
                    (person_key(tenant, uid), "meta"),
                    "SET cut = :head",
                    number,
                    condition="head = :head AND cut = :cut",
                ),
                self._table.update_action(
                    _key(tenant, erasure.erasure_id), "SET cut = :head", number, condition="cut = :cut"
                ),
            ]
        )

    def _transact(self, actions: Sequence[dict[str, Any]]) -> bool:
        try:
            self._table.transact(actions)
        except ConditionFailed:
            return False
        return True

    def _put_action(self, tenant: str, erasure: Erasure, gone: Mapping[str, int]) -> dict[str, Any]:
        pk, sk = _key(tenant, erasure.erasure_id)
        row: Row = {
            "pk": pk,
            "sk": sk,
            "kind": erasure.kind,
            "step": erasure.step,
            "requested_at": erasure.requested_at,
            "updated_at": erasure.updated_at,
            "digests": list(erasure.digests),
            "uids": list(erasure.uids),
            "groups": list(erasure.groups),
            "cut": erasure.cut,
            "turn": 0,
            "expires_at": int(erasure.requested_at) + TOMBSTONE_DAYS * 86400,
        }
        row |= {f"{TABLE}{place}": count for place, count in gone.items()}
        return self._table.put_action(row, condition="attribute_not_exists(pk)")

    # What has gone ----------------------------------------------------------------------------------------------

    def count_action(self, tenant: str, erasure_id: str, gone: Mapping[str, int]) -> dict[str, Any]:
        """Part of a transaction: counts what goes with it, by place."""
        names = {f"#n{place}": f"{TABLE}{name}" for place, name in enumerate(gone)}
        return self._table.update_action(
            _key(tenant, erasure_id),
            f"ADD {', '.join(f'{name} :{name[1:]}' for name in names)}",
            {f":n{place}": count for place, count in enumerate(gone.values())},
            names=names,
            condition="attribute_exists(pk)",
        )

    def decision_action(self, tenant: str, erasure_id: str, decision_id: str, at: float) -> dict[str, Any]:
        """Part of a transaction: remembers a decision that goes with it."""
        pk, sk = _key(tenant, erasure_id)
        row = {"pk": pk, "sk": f"{sk}/d/{decision_id}", "expires_at": int(at) + TOMBSTONE_DAYS * 86400}
        return self._table.put_action(row)

    def decisions(self, tenant: str, erasure_id: str) -> list[str]:
        """The decisions that have gone with it, until it is done."""
        pk, sk = _key(tenant, erasure_id)
        prefix = f"{sk}/d/"
        return [row["sk"].removeprefix(prefix) for row in self._table.query(pk, prefix=prefix)]

    def rows(self, tenant: str, erasure: Erasure, until: float = inf) -> Iterator[tuple[str, Row]]:
        """The rows of the table that are to go, of the uids and their groups, each with its place in the receipt.

        Pointers of decisions come first: as long as a decision is there, feedback may write an impression. until: what
        is from later (epoch seconds) stays; of events a withdrawal's cut says it.
        """
        for uid in erasure.uids:
            pk = person_key(tenant, uid)
            yield from (("decisions", row) for row in self._going(erasure, self._table.query(pk, prefix="d/"), until))
            rows = self._going(erasure, self._table.query(pk), until)
            yield from ((_place(row["sk"]), row) for row in rows if not row["sk"].startswith("d/"))
        for group in erasure.groups:
            yield from (("links", row) for row in self._table.query(group_key(tenant, group)))

    def older_impressions(self, tenant: str, erasure: Erasure, until: float) -> Iterator[Row]:
        """Rows of impressions of which some are older than `until` (epoch seconds), and some are not."""
        for uid in erasure.uids if until < inf else ():
            for row in self._table.query(person_key(tenant, uid), prefix="f/"):
                if min(_times(row)) <= until < _last(row):
                    yield row

    def forget_older(self, tenant: str, erasure_id: str, row: Row, until: float) -> None:
        """Takes the older ones out of a row of impressions, where nobody has changed it since (a repeat would)."""
        old = [name for name in row if name[:2] == "p/" and float(row[name]) <= until]
        names = {f"#o{place}": name for place, name in enumerate(old)}
        change = self._table.update_action(
            (row["pk"], row["sk"]),
            f"SET shown = :shown ADD v :one{' REMOVE ' + ', '.join(names) if names else ''}",
            {":shown": [at for at in row.get("shown", ()) if float(at) > until], ":one": 1, ":v": row["v"]},
            names=names or None,
            condition="v = :v",
        )
        self._transact([change, self.count_action(tenant, erasure_id, {"impressions": 1})])

    def _going(self, erasure: Erasure, rows: Iterable[Row], until: float) -> Iterator[Row]:
        for row in rows:
            stays = erasure.kind == "withdrawal" and (
                row["sk"].startswith(_STAYING) or row.get("seq", 0) > erasure.cut or _last(row) > until
            )
            if not stays:
                yield row

    def delete(self, tenant: str, erasure_id: str, rows: Iterable[tuple[str, Row]]) -> None:
        """Deletes rows, each with its place, and counts them."""
        for some in _lots(rows):
            pending = {(row["pk"], row["sk"]): place for place, row in some}
            while pending:
                places = list(pending.values())
                gone = {place: places.count(place) for place in pending.values()}
                actions = [self._table.delete_action(key, condition="attribute_exists(pk)") for key in pending]
                if self._table.transact_in_turn([*actions, self.count_action(tenant, erasure_id, gone)], "person"):
                    break
                # Another worker is at the same rows.
                there = self._table.get_many(pending, attributes=["pk"])
                pending = {key: place for key, place in pending.items() if key in there}

    # How far it has got -----------------------------------------------------------------------------------------

    def advance(self, tenant: str, erasure: Erasure, move: Move, now: float) -> Erasure | None:
        """The erasure as moved; None where another worker has moved it."""
        try:
            row = self._table.update(_key(tenant, erasure.erasure_id), **moving(erasure, move, now))
        except ConditionFailed:
            return None
        return erasure_of(row)

    def advance_together(
        self,
        tenant: str,
        moves: Sequence[tuple[Erasure, Move]],
        now: float,
        gone: Mapping[str, Mapping[str, int]] | None = None,
    ) -> list[Erasure]:
        """`advance` of at most `TOGETHER` erasures, in one transaction: whoever goes on with one of them finds all at
        the same place. Those that another worker has moved are not among what it returns; what has gone of objects
        counts for them all the same, and so does what has `gone` of others who had come a part of the way.

        gone: by erasure and place; with `moves` of at most `TOGETHER` erasures.

        Raises:
            Conflict: too many writers at them.
        """
        left = {one.erasure_id: (one, move) for one, move in moves}
        counted = {erasure_id: counts for erasure_id, counts in (gone or {}).items() if any(counts.values())}
        for attempt in range(_TURNS):
            updates = {name: moving(one, move, now) for name, (one, move) in left.items()}
            updates |= {name: counting(counts) for name, counts in counted.items()}
            try:
                self._table.transact(
                    [self._table.update_action(_key(tenant, name), **update) for name, update in updates.items()]
                )
            except ConditionFailed as error:
                for name in [name for place, name in enumerate(updates) if place in error.failed]:
                    counted.pop(name, None)  # its row is no more
                    if name in left and any((counts := left.pop(name)[1].objects).values()):
                        counted[name] = counts
                if not error.failed:
                    give_way(attempt)
            else:
                return self.get_many(tenant, left)
        raise Conflict("too many writers at the same erasures", retry_after=1)

    def get_many(self, tenant: str, erasure_ids: Iterable[str]) -> list[Erasure]:
        """Those that there are, in the order of their requests."""
        rows = self._table.get_many([_key(tenant, one) for one in erasure_ids]).values()
        return sorted(
            (erasure_of(row) for row in rows if "step" in row), key=lambda one: (one.requested_at, one.erasure_id)
        )

    def finish(self, tenant: str, erasure: Erasure, *, now: float, looked_at: Mapping[str, int]) -> Erasure | None:
        """Done: forgets uids, groups and decisions; None where another worker has moved it."""
        pk, sk = _key(tenant, erasure.erasure_id)
        for some in _lots(self.decisions(tenant, erasure.erasure_id)):
            actions = [self._table.delete_action((pk, f"{sk}/d/{decision_id}")) for decision_id in some]
            self._table.transact_in_turn(actions, "erasure")
        try:
            row = self._table.update(
                (pk, sk),
                "SET #step = :done, verified_at = :now, updated_at = :now, turn = :next, #found = :none, "
                "looked_at = :looked REMOVE uids, #groups, #cursor",
                {
                    ":done": "done",
                    ":now": now,
                    ":next": erasure.turn + 1,
                    ":turn": erasure.turn,
                    ":none": {},
                    ":looked": dict(looked_at),
                },
                names={f"#{name}": name for name in ("step", "found", "groups", "cursor")},
                condition="turn = :turn",
            )
        except ConditionFailed:
            return None
        return erasure_of(row)

    # Whom it is about -------------------------------------------------------------------------------------------

    def digests(self, tenant: str, uids: Sequence[str]) -> list[str]:
        """The HMACs that lead to these uids."""
        rows = self._table.get_many([(person_key(tenant, uid), "meta") for uid in uids], attributes=["id"])
        return [row["id"] for row in rows.values() if "id" in row]

    def meta(self, tenant: str, uid: str) -> Row | None:
        """The first row of an id; after a withdrawal with `cut`, and `withdrawn`: how often consent had changed."""
        return self._table.get(person_key(tenant, uid), "meta")

    def kept_of(self, tenant: str, uid: str) -> bool:
        """Whether there is any decision or impression of the id."""
        pk = person_key(tenant, uid)
        return any(next(self._table.query(pk, prefix=prefix), None) is not None for prefix in ("d/", "f/"))

    def mapped(self, tenant: str, erasure: Erasure) -> int:
        """How many of the ids still lead to one of the uids."""
        known = self._people.look_up_digests(tenant, erasure.digests)
        return sum(one.uid in erasure.uids for one in known.values()) if erasure.kind == "erasure" else 0


def _lots(many: Iterable[T]) -> Iterator[list[T]]:
    """As many at once as one transaction takes."""
    left = iter(many)
    while some := list(islice(left, _AT_ONCE)):
        yield some


def _key(tenant: str, erasure_id: str) -> Key:
    return f"t/{tenant}/erasures", erasure_id


def _place(sk: str) -> str:
    head, slash, _ = sk.partition("/")
    return _PLACES.get(head + slash, "others")


def _last(row: Row) -> float:
    """When the last was that the row tells of (epoch seconds): a decision, or an ad's impressions."""
    return max(_times(row))


def _times(row: Row) -> list[float]:
    times = [row.get("at"), *row.get("shown", ()), *(value for name, value in row.items() if name[:2] == "p/")]
    return [float(at) for at in times if at is not None] or [0.0]
