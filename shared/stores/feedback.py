"""Feedback: what happened to a decision's ads, each thing counted once::

    t/{tenant}/stats   {ad_id}   impressions, clicks, conversions, dismissals

All that one request tells of one decision is one transaction (`_ADS_AT_ONCE` ads at a time): it marks each thing as
counted, on the condition that it was not, and moves every counter. So a repeat or a crash counts nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from shared.errors import Conflict
from shared.stores.decisions import Decisions, StoredDecision, decision_key, lost_name
from shared.stores.faults import give_way
from shared.stores.frequency import Frequency
from shared.stores.spend import Spend
from shared.stores.table import TRANSACTION_LIMIT, ConditionFailed, Table
from shared.stores.variants import Variants

COUNTERS = {"impression": "impressions", "click": "clicks", "conversion": "conversions", "dismiss": "dismissals"}
_TURNS = 30
_ADS_AT_ONCE = (TRANSACTION_LIMIT - 1) // 4  # the decision; and of each ad its stats, variant, frequency and budget


@dataclass(frozen=True, slots=True)
class Act:
    """Something that happened to an ad of a decision: `kind` is one of `shared.domain.FEEDBACK_TYPES`."""

    decision_id: str
    ad_id: str
    kind: str
    at: float


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of an act.

    counted: now; not where it was before, or `known` is False: no such decision of this tenant (any more), or the
        decision did not show this ad.
    charged: whether its impression was taken from the ad's daily budget; None where there was nothing to take. False
        only where the budget had no room for an impression whose reservation had been released.
    implied_impression: the impression was counted with it, since nobody had told of it.
    """

    counted: bool
    charged: bool | None = None
    implied_impression: bool = False
    known: bool = True


# Where the money for an impression comes from.
_Source = Literal["reservation", "budget", "nowhere"]


@dataclass(slots=True)
class _Ad:
    """What is new about one ad of a decision."""

    acts: dict[str, float] = field(default_factory=dict)  # time by kind
    implied: bool = False
    source: _Source = "reservation"


class Feedback:
    """Store of what happened to ads."""

    def __init__(
        self, table: Table, decisions: Decisions, spend: Spend, frequency: Frequency, variants: Variants
    ) -> None:
        self._table = table
        self._decisions = decisions
        self._spend = spend
        self._frequency = frequency
        self._variants = variants

    def record_many(
        self,
        tenant: str,
        acts: Sequence[Act],
        now: float,
        *,
        decisions: Mapping[str, StoredDecision] | None = None,
        nobody: Collection[str] = (),
    ) -> list[Recorded]:
        """Counts acts, and says what became of each.

        decisions: those of the acts, where they have been read already. nobody: uids for whom nothing is counted since
        they have refused; the ads' own counters move all the same.
        """
        if decisions is None:
            decisions = self._decisions.get_many(tenant, {act.decision_id for act in acts}, now)
        found: list[Recorded] = [Recorded(False, known=False)] * len(acts)
        places: dict[str, dict[str, list[int]]] = {}
        for place, act in enumerate(acts):
            stored = decisions.get(act.decision_id)
            if stored is not None and any(ad.ad_id == act.ad_id for ad in stored.decision.ads):
                places.setdefault(act.decision_id, {}).setdefault(act.ad_id, []).append(place)
        for decision_id, by_ad in places.items():
            ad_ids = list(by_ad)
            for start in range(0, len(ad_ids), _ADS_AT_ONCE):
                some = [place for ad_id in ad_ids[start : start + _ADS_AT_ONCE] for place in by_ad[ad_id]]
                told = self._record(tenant, decisions[decision_id], [acts[place] for place in some], now, nobody)
                for place, recorded in zip(some, told, strict=True):
                    found[place] = recorded
        return found

    def _record(
        self, tenant: str, stored: StoredDecision, acts: Sequence[Act], now: float, nobody: Collection[str]
    ) -> list[Recorded]:
        """Of one decision."""
        known: StoredDecision | None = stored
        sources: dict[str, _Source] = {}
        for attempt in range(_TURNS):
            if known is None:
                return [Recorded(False, known=False)] * len(acts)
            new = _new(acts, known, sources)
            actions, payers = self._actions(tenant, known, new, nobody, now)
            try:
                self._table.transact(actions)
            except ConditionFailed as error:
                if 0 in error.failed:
                    known = self._decisions.get_many(tenant, [stored.decision.decision_id], now).get(
                        stored.decision.decision_id
                    )
                for ad_id in {payers[place] for place in error.failed if place in payers}:
                    sources[ad_id] = self._next_source(tenant, stored, ad_id, new[ad_id].source, now)
                if not error.failed:
                    give_way(attempt)
                continue
            for ad_id in payers.values():
                self._spend.forget(tenant, ad_id, stored.decision.at)
            return _told(acts, known, new)
        raise Conflict("too many writers at the same counters", retry_after=1)

    def _next_source(self, tenant: str, stored: StoredDecision, ad_id: str, failed: _Source, now: float) -> _Source:
        if failed == "reservation":
            return "budget"
        cost, limit = stored.budget[ad_id]
        return "budget" if self._spend.make_room(tenant, ad_id, stored.decision.at, cost, limit, now) else "nowhere"

    def _actions(
        self, tenant: str, stored: StoredDecision, new: Mapping[str, _Ad], nobody: Collection[str], now: float
    ) -> tuple[list[dict[str, Any]], dict[int, str]]:
        """The transaction's parts, the decision's mark first; and by their place the ads whose charge a part is."""
        if not new:
            return [], {}
        decision = stored.decision
        uid = decision.uid if decision.uid not in nobody else None
        marks = {f"{kind}/{ad_id}": at for ad_id, ad in new.items() for kind, at in ad.acts.items()}
        reserved = [ad_id for ad_id, ad in new.items() if ad.source == "reservation" and ad_id in stored.budget]
        actions = [self._mark_action(tenant, decision.decision_id, marks, reserved)]
        payers: dict[int, str] = {}
        variants = {ad.ad_id: ad.variant for ad in decision.ads}
        for ad_id, ad in new.items():
            counts = {COUNTERS[kind]: 1 for kind in ad.acts}
            actions.append(
                self._table.update_action(
                    (f"t/{tenant}/stats", ad_id),
                    f"ADD {', '.join(f'{name} :one' for name in counts)}",
                    {":one": 1},
                )
            )
            shown, clicked = "impression" in ad.acts, "click" in ad.acts
            variant = variants[ad_id]
            if variant is not None and (shown or clicked):
                actions.append(
                    self._variants.count_action(tenant, ad_id, variant, decision.at, int(shown), int(clicked))
                )
            if shown and uid is not None:
                # Never later than it came: what was here before a withdrawal of consent is known by this time.
                at = min(ad.acts["impression"], now)
                actions.append(self._frequency.shown_action(tenant, uid, ad_id, decision.decision_id, at))
            if shown and ad_id in stored.budget and ad.source != "nowhere":
                cost, limit = stored.budget[ad_id]
                payers[len(actions)] = ad_id
                actions.append(
                    self._spend.charge_reserved_action(tenant, ad_id, decision.at, cost)
                    if ad.source == "reservation"
                    else self._spend.charge_action(tenant, ad_id, decision.at, cost, limit)
                )
        return actions, payers

    def _mark_action(
        self, tenant: str, decision_id: str, marks: Mapping[str, float], reserved: Sequence[str]
    ) -> dict[str, Any]:
        """reserved: ads whose reservation is to be charged, and so must not have been given back."""
        key = decision_key(tenant, decision_id)
        if key is None:
            raise ValueError(f"{decision_id!r} is no decision's id")
        names = {f"#m{place}": mark for place, mark in enumerate(marks)}
        lost = {f"#l{place}": lost_name(ad_id) for place, ad_id in enumerate(reserved)}
        absent = [*(f"fb.{name}" for name in names), *lost]
        return self._table.update_action(
            key,
            f"SET {', '.join(f'fb.{name} = :{name[1:]}' for name in names)}",
            {f":m{place}": at for place, at in enumerate(marks.values())},
            names=names | lost,
            condition=" AND ".join(["attribute_exists(pk)", *(f"attribute_not_exists({name})" for name in absent)]),
        )

    def erase(
        self,
        tenant: str,
        uid: str,
        decision_id: str,
        told: Callable[[Mapping[str, int]], list[dict[str, Any]]],
    ) -> None:
        """Deletes a decision of this person with its log and pointer, and takes off the ads' and variants' counters
        what its feedback added to them; money that was spent stays. Whoever is cut off leaves a decision whose marks
        say what is still counted, so a repeat takes nothing off twice; a counter never falls below nothing.

        told: what to add to each transaction, by what it does: ``decisions`` deleted, ``feedback`` taken back.
        """
        kept: set[tuple[str, str]] = set()  # counters from which nothing can be taken: (kind of counter, ad)
        for attempt in range(_TURNS):
            stored = self._decisions.get_many(tenant, [decision_id]).get(decision_id)
            marks = _some_marks(stored) if stored is not None else []
            actions = self._decisions.erase_actions(tenant, uid, decision_id, stored, marks)
            whole = stored is None or len(marks) == len(stored.marks)
            places: dict[int, tuple[str, str]] = {}
            if stored is not None:
                for counter, action in self._taking_back(tenant, stored, marks):
                    if counter not in kept:
                        places[len(actions)] = counter
                        actions.append(action)
            actions += told({"decisions": int(stored is not None and whole), "feedback": len(marks)})
            try:
                self._table.transact(actions)
            except ConditionFailed as error:
                kept |= {places[place] for place in error.failed if place in places}
                if not error.failed:
                    give_way(attempt)
                continue
            if whole:
                return
        raise Conflict("too many writers at the same counters", retry_after=1)

    def _taking_back(
        self, tenant: str, stored: StoredDecision, marks: Collection[str]
    ) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
        """The parts of a transaction that take off what these marks added, each with the counter that it is at."""
        kinds: dict[str, set[str]] = {}
        for mark in marks:
            kind, _, ad_id = mark.partition("/")
            kinds.setdefault(ad_id, set()).add(kind)
        variants = {ad.ad_id: ad.variant for ad in stored.decision.ads}
        for ad_id, own in kinds.items():
            names = [COUNTERS[kind] for kind in sorted(own)]
            yield (
                ("stats", ad_id),
                self._table.update_action(
                    (f"t/{tenant}/stats", ad_id),
                    f"ADD {', '.join(f'{name} :less' for name in names)}",
                    {":less": -1, ":one": 1},
                    condition=" AND ".join(f"{name} >= :one" for name in names),
                ),
            )
            variant = variants.get(ad_id)
            shown, clicked = int("impression" in own), int("click" in own)
            if variant is not None and (shown or clicked):
                at = stored.decision.at
                yield (
                    ("variants", ad_id),
                    self._variants.take_back_action(tenant, ad_id, variant, at, shown, clicked),
                )

    def stats(self, tenant: str) -> dict[str, dict[str, int]]:
        """Impressions, clicks, conversions and dismissals by ad, since the beginning."""
        return {
            row["sk"]: {name: int(row.get(name, 0)) for name in COUNTERS.values()}
            for row in self._table.query(f"t/{tenant}/stats", consistent=False)
        }

    def stats_of(self, tenant: str, ad_ids: Iterable[str]) -> dict[str, dict[str, int]]:
        """The same of these ads alone: those that something was counted of."""
        rows = self._table.get_many([(f"t/{tenant}/stats", ad_id) for ad_id in ad_ids], consistent=False)
        return {sk: {name: int(row.get(name, 0)) for name in COUNTERS.values()} for (_, sk), row in rows.items()}


def _some_marks(stored: StoredDecision) -> list[str]:
    """The marks of as many ads as one transaction can take back."""
    ads = dict.fromkeys(mark.partition("/")[2] for mark in stored.marks)
    some = set(list(ads)[:_ADS_AT_ONCE])
    return [mark for mark in stored.marks if mark.partition("/")[2] in some]


def _new(acts: Iterable[Act], stored: StoredDecision, sources: Mapping[str, _Source]) -> dict[str, _Ad]:
    """What has not been counted yet, by ad, with the impressions that it implies."""
    new: dict[str, _Ad] = {}
    for act in acts:
        if f"{act.kind}/{act.ad_id}" not in stored.marks:
            first: _Source = "budget" if act.ad_id in stored.lost else "reservation"
            ad = new.setdefault(act.ad_id, _Ad(source=sources.get(act.ad_id, first)))
            ad.acts.setdefault(act.kind, act.at)
    for ad_id, ad in new.items():
        if "impression" not in ad.acts and f"impression/{ad_id}" not in stored.marks:
            ad.acts["impression"] = min(ad.acts.values())
            ad.implied = True
    return new


def _told(acts: Sequence[Act], stored: StoredDecision, new: Mapping[str, _Ad]) -> list[Recorded]:
    """For each act what became of it: of those that are the same the first counts."""
    found: list[Recorded] = []
    done: set[tuple[str, str]] = set()
    implied: set[str] = set()
    for act in acts:
        ad = new.get(act.ad_id)
        if ad is None or act.kind not in ad.acts or (act.ad_id, act.kind) in done:
            found.append(Recorded(False))
            continue
        done.add((act.ad_id, act.kind))
        first = ad.implied and act.ad_id not in implied
        if first:
            implied.add(act.ad_id)
        paid = act.kind == "impression" or first
        charged = ad.source != "nowhere" if paid and act.ad_id in stored.budget else None
        found.append(Recorded(True, charged, first))
    return found
