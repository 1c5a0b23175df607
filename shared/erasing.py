"""Erasure of people: at their request, and of what was kept when they withdraw a consent that is required.

The request itself makes the person unknown, in one transaction: from then on nobody finds them, and nobody who had
found them can write about them (`shared.stores.identities`, `shared.stores.erasures`). What is left goes through the
queue, from the erasure's own row: rows of the table, lines of objects (`shared.sweeping`), and then a second scan of
every place. What it finds is removed, and it is scanned again. Between the steps lies a time longer than any request
lives: a decision that was under way when the person became unknown may still be written, and is found. The way through
the objects is one for all erasures that have come as far: each waits a little for others before it, and whoever takes
the lead (`shared.stores.walks`) moves all of them on.

Each of a person's decisions that is still there takes with it what its feedback had added to the ads' and variants'
counters. Whoever is cut off, and wherever, leaves an erasure that goes on: the first message about it is queued before
it begins, and a repeat of any step changes nothing.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import ceil, inf
from typing import Any

import orjson

from shared.errors import Conflict, NotFound, Unavailable
from shared.policy.consent import refused
from shared.splitting import MARGIN_SECONDS, Remaining
from shared.stores import Stores
from shared.stores.erasures import TOGETHER, Erasure, Erasures, Move
from shared.stores.faults import give_way
from shared.stores.identities import TOMBSTONE_DAYS
from shared.stores.table import Row
from shared.stores.walks import Walks
from shared.sweeping import Erased, Swept, sweep
from shared.telemetry import logger

DELAY_SECONDS = 200.0  # longer than any request lives: the longest time-out of our functions is 180 s
GATHERING = 0.25  # of it: how long an erasure waits for others before the objects are looked through
BUSY_SECONDS = 20.0  # until whoever waits for a walk asks again, while there is another
INLINE_SECONDS = 8.0  # that the request itself removes rows for
ROUNDS = 5  # second scans that may find something, before a person has to look
_CLOSED = "could_not_be_read"
_ATTEMPTS = 30
_AT_ONCE = 90
_LEFT = {
    "table": ("table", "objects", "second_scan"),
    "objects": ("objects", "second_scan"),
    "scan": ("second_scan",),
    "scan_objects": ("second_scan",),
    "done": (),
}
KEPT = {
    "tombstone": "a keyed hash of each id and the time, for 400 days: what happened before is not taken in again; and "
    "where the person had refused or was under age, that alone, so that whoever has the id next is not taken for "
    "somebody who never said a word",
    "spend": "what impressions cost, by ad and day: money, of nobody",
    "items": "what an item is about, as a vector: never who acted on it, nor in whose words",
    "copy": "jobs of copy, for 30 days: names of interests that many hold, never for whom it was",
    "unlinked": "what was decided for somebody with whom the person was once linked, as long as decisions and their "
    "log are kept: items that either of them had acted on, never who of them",
    "models": "weights trained before: no rows of people",
    "backups": "the table's point-in-time recovery, for 35 days; whoever restores it has the erasures since repeated, "
    "for which the keyed hashes lie in the bucket too",
}


class Erasing:
    """Erases people.

    delay_seconds: between the steps, see above. log_days: that the decision log is kept.
    """

    def __init__(
        self,
        stores: Stores,
        *,
        clock: Callable[[], float],
        delay_seconds: float = DELAY_SECONDS,
        log_days: float = inf,
    ) -> None:
        self._stores = stores
        self._erasures = Erasures(stores.table, stores.people)
        self._walks = Walks(stores.table)
        self._clock = clock
        self._delay = delay_seconds
        self._log_days = log_days

    def erase(self, tenant: str, user_id: str, *, remaining: Remaining = lambda: inf) -> Erasure:
        """Begins to erase the person of this id, with all ids that are linked with it, and returns how it stands.

        From then on they are unknown. One that is under way begins once more as of now, so that what has happened since
        goes as well; of an id that nobody knows there is one too, since uploads may hold it, and so that the answer
        tells nobody who is known.

        Raises:
            Conflict: too many writers at the person.
        """
        return self._erase(tenant, self._stores.people.digest(tenant, user_id), remaining)

    def erase_again(self, tenant: str, *, remaining: Remaining = lambda: inf) -> dict[str, int]:
        """Erases in a table that was restored to an earlier time whoever has been erased since, by what is kept of that
        in the bucket; a repeat is safe. Returns how many erasures have ``begun`` and ``gone_on``, and how many are
        ``left`` to look at since the time was over."""
        told = Counter({"begun": 0, "gone_on": 0, "left": 0})
        for key in self._stores.objects.keys(_kept_key(tenant, "")):
            if remaining() < MARGIN_SECONDS:
                told["left"] += 1
                continue
            kept = orjson.loads(self._stores.objects.get(key))
            running = self._erasures.get(tenant, kept["erasure_id"])
            if running is not None and not running.done:
                self._send(tenant, running.erasure_id, 0.0)
                told["gone_on"] += 1
            for digest, one in self._stores.people.look_up_digests(tenant, kept["digests"]).items():
                if one.erased_at is None or one.erased_at < kept["requested_at"]:
                    self._erase(tenant, digest, remaining)
                    told["begun"] += 1
        return dict(told)

    def _erase(self, tenant: str, digest: str, remaining: Remaining) -> Erasure:
        people = self._stores.people
        erasure_id = ""
        for attempt in range(_ATTEMPTS):
            known = people.look_up_digests(tenant, [digest])
            one = known[digest]
            running = self._erasures.get(tenant, one.erasure) if one.erasure is not None else None
            if running is not None and not running.done:
                if one.uid is None:
                    if renewed := self._renewed(tenant, running):
                        return renewed
                    give_way(attempt)
                    continue
                if (
                    not erasure_id
                ):  # they have come back; from now on nobody would know of the first, should it be stuck
                    self._send(tenant, running.erasure_id, 0.0)
            person = people.load(tenant, one.uid, "") if one.uid is not None else None
            if person is None or person.there:
                if person is not None:
                    known |= people.look_up_digests(tenant, self._erasures.digests(tenant, person.uids))
                now = self._clock()
                if not erasure_id:  # its message first: whoever is cut off behind the beginning leaves one that goes on
                    erasure_id = secrets.token_hex(12)
                    self._send(tenant, erasure_id, self._delay)
                erasure = Erasure(
                    erasure_id,
                    "erasure",
                    now,
                    digests=tuple(known),
                    uids=person.uids if person is not None else (),
                    groups=(person.group,) if person is not None and person.group else (),
                    updated_at=now,
                )
                if self._erasures.begin(tenant, erasure, known, person):
                    return self._inline(tenant, erasure, remaining)
            give_way(attempt)
        raise Conflict("too many writers at the same person", retry_after=1)

    def withdraw(self, tenant: str, uid: str, *, remaining: Remaining = lambda: inf) -> Erasure | None:
        """Erases what is kept of an id whose consent was withdrawn: events, decisions, impressions, counts, lines of
        objects. What was said of consent stays, with the pseudonym it stands under. None: nothing is kept of it.

        Raises:
            Conflict: too many writers at the id.
        """
        erasure_id = ""
        for attempt in range(_ATTEMPTS):
            meta = self._erasures.meta(tenant, uid)
            if meta is None or not self._withdrawable(tenant, uid, meta):
                return None
            now = self._clock()
            if not erasure_id:
                erasure_id = secrets.token_hex(12)
                self._send(tenant, erasure_id, self._delay)
            head = meta.get("head", 0)
            digests = (meta["id"],) if "id" in meta else ()
            erasure = Erasure(erasure_id, "withdrawal", now, digests, (uid,), cut=head + 1, updated_at=now)
            if self._erasures.begin_withdrawal(tenant, erasure, uid, head, meta.get("changes", 0)):
                return self._inline(tenant, erasure, remaining)
            give_way(attempt)
        raise Conflict("too many writers at the same person", retry_after=1)

    def _withdrawable(self, tenant: str, uid: str, meta: Row) -> bool:
        """Whether anything may have been kept since the last withdrawal: what is there now, or under a consent that
        was given and taken back."""
        if meta.get("head", 0) > meta.get("cut", 0) or "disabled" in meta or self._erasures.kept_of(tenant, uid):
            return True
        return bool(meta.get("changes", 0) - meta.get("withdrawn", 0) >= 2)

    def get(self, tenant: str, erasure_id: str) -> Erasure:
        """Raises `NotFound`."""
        found = self._erasures.get(tenant, erasure_id)
        if found is None:
            raise NotFound(f"no erasure {erasure_id!r}", field="erasure_id")
        return found

    def go_on(self, tenant: str, erasure_id: str, *, remaining: Remaining = lambda: inf) -> None:
        """Does what a message of the queue asks for: all that is left, or as much as the time allows.

        Raises:
            Unavailable: `ROUNDS` second scans in turn have found something; Conflict: an object is being replaced.
        """
        erasure = self._erasures.get(tenant, erasure_id)
        if erasure is None:
            logger.info("an erasure that never began", extra={"erasure": erasure_id})
        while erasure is not None and not erasure.done:
            wait = erasure.not_before - self._clock()
            if wait > 0 or remaining() < MARGIN_SECONDS:
                self._send(tenant, erasure_id, max(wait, 0.0))
                return
            erasure = self._step(tenant, erasure, remaining)

    # Steps ------------------------------------------------------------------------------------------------------

    def _step(self, tenant: str, erasure: Erasure, remaining: Remaining) -> Erasure | None:
        """One step on; None where another worker has moved it, or the rest is queued."""
        now = self._clock()
        if erasure.step == "table":
            if erasure.kind == "erasure":
                self._keep(tenant, erasure)
            if not self._sweep_table(tenant, erasure, lambda: remaining() - MARGIN_SECONDS):
                self._send(tenant, erasure.erasure_id, 0.0)
                return None
            self._walks.enter(tenant, erasure.erasure_id, erasure.requested_at + TOMBSTONE_DAYS * 86400)
            return self._erasures.advance(tenant, erasure, Move("objects", self._gathered(now)), now)
        if erasure.step == "scan":
            found, looked_at = self._scan_table(tenant, erasure)
            move = Move("scan_objects", self._gathered(now), found=found, looked_at=looked_at)
            return self._erasures.advance(tenant, erasure, move, now)
        return self._walk(tenant, erasure, remaining)

    def _gathered(self, now: float) -> float:
        return now + GATHERING * self._delay

    # Walks through the objects ----------------------------------------------------------------------------------

    def _walk(self, tenant: str, erasure: Erasure, remaining: Remaining) -> Erasure | None:
        """Leads a walk through the objects; None where another worker does."""
        now, leader = self._clock(), secrets.token_hex(8)
        if not self._walks.lead(tenant, leader, now, now + min(remaining(), self._delay)):
            self._send(tenant, erasure.erasure_id, min(BUSY_SECONDS, self._delay))
            return None
        try:
            moved = self._walk_together(tenant, erasure.erasure_id, remaining)
        except Exception:
            self._walks.release(tenant, leader)
            raise
        self._walks.release(tenant, leader)
        if moved is None:  # the walk was another's, which had to be ended first
            self._send(tenant, erasure.erasure_id, 0.0)
        elif moved.step == "table" and moved.round > erasure.round and moved.round % ROUNDS == 0:
            raise Unavailable("the second scan found traces again and again", retry_after=60)
        return moved

    def _walk_together(self, tenant: str, erasure_id: str, remaining: Remaining) -> Erasure | None:
        """One call's way for all who are where the leader is, or, before any new walk is begun, for those whose walk
        was cut off. None: the leader's was not among them."""
        waiting = self._erasures.get_many(tenant, {*self._walks.entered(tenant), erasure_id})
        walking = [one for one in waiting if one.step in ("objects", "scan_objects")]
        mine = next(one for one in waiting if one.erasure_id == erasure_id)
        if mine not in walking:
            return mine  # somebody else has led it
        first = next((one for one in walking if one.cursor is not None), mine)
        group = [one for one in walking if (one.step, one.cursor) == (first.step, first.cursor)]
        if first is mine:  # never without the leader, however many there are
            group = [mine, *(one for one in group if one is not mine)]
        group = group[:TOGETHER]
        people = self._stores.people
        swept = sweep(
            self._stores.objects,
            tenant,
            [self._erased(tenant, one) for one in group],
            digest=lambda user_id: people.digest(tenant, user_id),
            remaining=remaining,
            write=first.step == "objects",
            cursor=first.cursor,
            log_days=self._log_days,
        )
        moved = self._swept(tenant, group, swept) if first.step == "objects" else self._seen(tenant, group, swept)
        return next((one for one in moved if one.erasure_id == erasure_id), None)

    def _erased(self, tenant: str, erasure: Erasure) -> Erased:
        return Erased(
            erasure.erasure_id,
            erasure.digests,
            erasure.uids,
            self._erasures.decisions(tenant, erasure.erasure_id),
            erasure.requested_at,
            erasure.kind == "withdrawal",
        )

    def _swept(self, tenant: str, group: list[Erasure], swept: Swept) -> list[Erasure]:
        now = self._clock()
        # What was read before the rows went may be written as long as a request lives: the log's files.
        move = Move("scan", now + self._delay) if swept.cursor is None else Move("objects", cursor=swept.cursor)
        gone = dict(swept.removed)
        moves = [(one, replace(move, objects=gone.pop(one.erasure_id, {}))) for one in group]
        return self._erasures.advance_together(tenant, moves, now, gone)

    def _seen(self, tenant: str, group: list[Erasure], seen: Swept) -> list[Erasure]:
        now = self._clock()
        moves = []
        for one in group:
            found = _sum(one.found, seen.removed.get(one.erasure_id, {}))
            looked_at = _sum(one.looked_at, seen.looked_at, {_CLOSED: seen.closed})
            moves.append((one, Move("scan_objects", None, seen.cursor, found=found, looked_at=looked_at)))
        if seen.cursor is not None:
            return self._erasures.advance_together(tenant, moves, now)
        ended = [self._end(tenant, one, move, now) for one, move in moves]
        return [one for one in ended if one is not None]

    def _end(self, tenant: str, erasure: Erasure, seen: Move, now: float) -> Erasure | None:
        """Done where nothing was found; else once more from the beginning."""
        found, looked_at = dict(seen.found or {}), seen.looked_at or {}
        if not found:
            self._walks.leave(tenant, erasure.erasure_id)
            return self._erasures.finish(tenant, erasure, now=now, looked_at=looked_at)
        logger.warning(
            "the second scan found traces", extra={"erasure": erasure.erasure_id, "round": erasure.round, **found}
        )
        again = Move("table", again=True, found=found, looked_at=looked_at)
        return self._erasures.advance(tenant, erasure, again, now)

    def _inline(self, tenant: str, erasure: Erasure, remaining: Remaining) -> Erasure:
        """What the request itself removes. The step stays: its message does it once more, when no request that knew
        the person lives any more."""
        ends = self._clock() + INLINE_SECONDS
        self._sweep_table(tenant, erasure, lambda: min(remaining() - 2.0, ends - self._clock()))
        return self._erasures.get(tenant, erasure.erasure_id) or erasure

    def _sweep_table(self, tenant: str, erasure: Erasure, remaining: Remaining) -> bool:
        """Removes rows; False where the time was over first."""
        erasure, until = self._of_now(tenant, erasure)
        lot: list[tuple[str, Row]] = []
        for place, row in self._erasures.rows(tenant, erasure, until):
            if place == "decisions":
                self._erase_decision(tenant, erasure, row)
            else:
                lot.append((place, row))
            if len(lot) >= _AT_ONCE:
                self._erasures.delete(tenant, erasure.erasure_id, lot)
                lot = []
            if remaining() <= 0:
                self._erasures.delete(tenant, erasure.erasure_id, lot)
                return False
        self._erasures.delete(tenant, erasure.erasure_id, lot)
        for row in self._erasures.older_impressions(tenant, erasure, until):
            self._erasures.forget_older(tenant, erasure.erasure_id, row, until)
        return True

    def _erase_decision(self, tenant: str, erasure: Erasure, pointer: Row) -> None:
        uid, decision_id = pointer["pk"].rpartition("/")[2], pointer["sk"].removeprefix("d/")
        memory = self._erasures.decision_action(tenant, erasure.erasure_id, decision_id, erasure.requested_at)

        def told(gone: Mapping[str, int]) -> list[dict[str, Any]]:
            counted = {place: count for place, count in gone.items() if count}
            count = [self._erasures.count_action(tenant, erasure.erasure_id, counted)] if counted else []
            return [memory, *count]

        self._stores.delivery.erase_decision(tenant, uid, decision_id, told)

    def _of_now(self, tenant: str, erasure: Erasure) -> tuple[Erasure, float]:
        """The erasure, and until when what there is has to go. Of a withdrawal that still holds that is everything, so
        its cut moves; where consent has been given since, it is what was there before."""
        if erasure.kind == "erasure":
            return erasure, inf
        (uid,) = erasure.uids
        meta = self._erasures.meta(tenant, uid)
        if meta is None:  # erased meanwhile, at the person's request
            return erasure, inf
        said = self._stores.people.consents(tenant, [uid]).get(uid)  # of linked ids one refusal is enough
        if said is None or not refused(said):
            return erasure, erasure.requested_at
        head = meta.get("head", 0)
        if head > erasure.cut and self._erasures.renew_cut(tenant, erasure, uid, head):
            erasure = replace(erasure, cut=head)
        return erasure, inf

    def _scan_table(self, tenant: str, erasure: Erasure) -> tuple[dict[str, int], dict[str, int]]:
        """What is left in the table by place, and how much has been looked at."""
        erasure, until = self._of_now(tenant, erasure)
        found = Counter(place for place, _ in self._erasures.rows(tenant, erasure, until))
        found["impressions"] += sum(1 for _ in self._erasures.older_impressions(tenant, erasure, until))
        decisions = self._erasures.decisions(tenant, erasure.erasure_id)
        found["decisions"] += self._stores.delivery.rows_of_decisions(tenant, decisions)
        found["identities"] += self._erasures.mapped(tenant, erasure)
        looked_at = {
            "partitions": len(erasure.uids) + len(erasure.groups),
            "decisions": len(decisions),
            "identities": len(erasure.digests),
        }
        return {place: count for place, count in found.items() if count}, looked_at

    def _keep(self, tenant: str, erasure: Erasure) -> None:
        """Outside the table, for whoever restores it."""
        kept = {name: getattr(erasure, name) for name in ("erasure_id", "requested_at", "digests")}
        self._stores.objects.put(_kept_key(tenant, erasure.erasure_id), orjson.dumps(kept), "application/json")

    # Messages ---------------------------------------------------------------------------------------------------

    def _renewed(self, tenant: str, erasure: Erasure) -> Erasure | None:
        """An erasure that is asked for again, begun once more as of now; None where another worker has moved it. Its
        messages may have been lost, and the one that is under way finds that it has been moved."""
        now = self._clock()
        if now <= erasure.requested_at:
            return erasure
        self._send(tenant, erasure.erasure_id, self._delay)
        known = self._stores.people.look_up_digests(tenant, erasure.digests)
        if not self._erasures.begin_anew(tenant, erasure, known, now, now + self._delay):
            return None
        return self._erasures.get(tenant, erasure.erasure_id)

    def _send(self, tenant: str, erasure_id: str, delay: float) -> None:
        body = {"action": "erase", "tenant": tenant, "erasure": erasure_id}
        self._stores.queues.send("events", body, delay_seconds=ceil(delay))


def receipt(erasure: Erasure) -> dict[str, Any]:
    """What has been removed where, what is left to do, and what the second scan said (epoch seconds).

    could_not_be_read: objects that their owner has closed to us, so that nobody can say whether they hold anything.
    """
    states = {"table": "running", "objects": "running", "scan": "verifying", "scan_objects": "verifying"}
    scanned = bool(erasure.looked_at)
    looked_at = {place: count for place, count in erasure.looked_at.items() if place != _CLOSED}
    return {
        "erasure_id": erasure.erasure_id,
        "kind": erasure.kind,
        "state": states.get(erasure.step, "done"),
        "requested_at": erasure.requested_at,
        "verified_at": erasure.verified_at,
        "removed": {"table": dict(erasure.table), "objects": dict(erasure.objects)},
        "left": list(_LEFT[erasure.step]),
        _CLOSED: erasure.looked_at.get(_CLOSED, 0),
        "kept": KEPT,
        "second_scan": {"looked_at": looked_at, "found": dict(erasure.found)} if scanned else None,
    }


def _kept_key(tenant: str, erasure_id: str) -> str:
    return f"erasures/{tenant}/{erasure_id}"


def _sum(*parts: Mapping[str, int]) -> dict[str, int]:
    """By place, those where there is something."""
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return {place: count for place, count in total.items() if count}
