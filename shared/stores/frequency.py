"""How often people were shown an ad, for its frequency cap::

    t/{tenant}/p/{uid}   f/{ad_id}   shown: times of its impressions to this id; p/{decision_id}: time of a reservation;
                                     v: changes with each write

A cap holds over all ids of a person and under requests at the same moment: a decision that shows a capped ad reserves a
place on the condition that no row which it counted (one for each id) has changed since. An impression turns the
reservation into a time; one that never comes is forgotten after `RESERVATION_SECONDS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shared.domain import FrequencyCap
from shared.stores.people import person_key
from shared.stores.spend import RESERVATION_SECONDS
from shared.stores.table import Key, Row, Table

IMPRESSION_DAYS = 367  # the longest frequency cap is a leap year
_RESERVED = "p/"


class Frequency:
    """Store of impressions by person."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def impressions(self, tenant: str, *uids: str) -> dict[str, list[float]]:
        """Times of the impressions of each ad to this person, through any of these ids of theirs, oldest first."""
        return self._times(tenant, uids, None)

    def exposures(self, tenant: str, uids: Iterable[str], now: float) -> dict[str, list[float]]:
        """`impressions`, and with them the times of the decisions whose ads may yet be seen: what a cap counts."""
        return self._times(tenant, uids, now)

    def _times(self, tenant: str, uids: Iterable[str], now: float | None) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for uid in uids:
            for row in self._table.query(person_key(tenant, uid), prefix="f/"):
                times = _shown(row) + (list(_reserved(row, now).values()) if now is not None else [])
                if times:
                    found.setdefault(row["sk"].removeprefix("f/"), []).extend(times)
        return {ad_id: sorted(times) for ad_id, times in found.items()}

    def rows(self, tenant: str, uids: Sequence[str], ad_ids: Iterable[str]) -> dict[Key, Row]:
        """What `reached` and `reserve_actions` go by."""
        return self._table.get_many([_key(tenant, uid, ad_id) for ad_id in ad_ids for uid in uids])

    def reached(
        self, tenant: str, uids: Sequence[str], ad_id: str, cap: FrequencyCap, rows: Mapping[Key, Row], now: float
    ) -> bool:
        """Whether the cap leaves no place for one more."""
        count = 0
        for uid in uids:
            row = rows.get(_key(tenant, uid, ad_id), {})
            count += sum(at > now - cap.hours * 3600 for at in _shown(row)) + len(_reserved(row, now))
        return count >= cap.count

    def reserve_actions(
        self,
        tenant: str,
        uids: Sequence[str],
        ad_id: str,
        decision: tuple[str, float],
        rows: Mapping[Key, Row],
        now: float,
    ) -> list[dict[str, Any]]:
        """Parts of a transaction: a place for the first of `uids`, where nothing has changed for any of them.

        decision: its id and time.
        """
        decision_id, at = decision
        own, *others = (_key(tenant, uid, ad_id) for uid in uids)
        row = rows.get(own, {})
        live = _reserved(row, now)
        # An expression has its limit: the next writes take the rest.
        old = [name for name in row if name.startswith(_RESERVED) and name not in live][:100]
        names = {"#mine": f"{_RESERVED}{decision_id}"} | {f"#o{place}": name for place, name in enumerate(old)}
        condition, values = _unchanged(row)
        remove = f" REMOVE {', '.join(name for name in names if name != '#mine')}" if old else ""
        # A row of impressions must stay for as long as they count; one of nothing but reservations need not.
        expires_at = max(int(row.get("expires_at", 0)), int(at) + 2 * RESERVATION_SECONDS)
        return [
            self._table.update_action(
                own,
                f"SET #mine = :at, expires_at = :ttl ADD v :one{remove}",
                {":at": at, ":one": 1, ":ttl": expires_at} | values,
                names=names,
                condition=condition,
            ),
            *(self._table.check_action(key, *_unchanged(rows.get(key, {}))) for key in others),
        ]

    def reserved(self, tenant: str, uid: str, ad_id: str, decision_id: str) -> bool:
        """Whether the decision has a place among what the person may be shown."""
        return f"{_RESERVED}{decision_id}" in (self._table.get(*_key(tenant, uid, ad_id)) or {})

    def give_back_action(self, tenant: str, uid: str, ad_id: str, decision_id: str) -> dict[str, Any]:
        """Part of a transaction: gives back the decision's place, where it still has it."""
        return self._table.update_action(
            _key(tenant, uid, ad_id),
            "ADD v :one REMOVE #reserved",
            {":one": 1},
            names={"#reserved": f"{_RESERVED}{decision_id}"},
            condition="attribute_exists(#reserved)",
        )

    def shown_action(self, tenant: str, uid: str, ad_id: str, decision_id: str, at: float) -> dict[str, Any]:
        """Part of a transaction: an impression at `at`, in place of the decision's reservation if there was one."""
        return self._table.update_action(
            _key(tenant, uid, ad_id),
            "SET shown = list_append(if_not_exists(shown, :none), :at), expires_at = :ttl ADD v :one REMOVE #reserved",
            {":at": [at], ":none": [], ":one": 1, ":ttl": int(at) + IMPRESSION_DAYS * 86400},
            names={"#reserved": f"{_RESERVED}{decision_id}"},
        )


def _key(tenant: str, uid: str, ad_id: str) -> Key:
    return person_key(tenant, uid), f"f/{ad_id}"


def _unchanged(row: Row) -> tuple[str, dict[str, Any]]:
    """Condition under which the row is as it was read, and its values."""
    if "v" in row:
        return "v = :v", {":v": row["v"]}
    return "attribute_not_exists(v)", {}


def _shown(row: Row) -> list[float]:
    return [float(at) for at in row.get("shown", ())]


def _reserved(row: Row, now: float) -> dict[str, float]:
    """The row's reservations that still count."""
    return {
        name: float(at)
        for name, at in row.items()
        if name.startswith(_RESERVED) and float(at) > now - RESERVATION_SECONDS
    }
