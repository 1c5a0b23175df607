"""What people said of consent, and when: the proof that GDPR Art. 7(1) asks of the advertiser.

Rows of one id of a person, in its partition (`shared.stores.people`)::

    meta              consent: what holds of all statements (`shared.policy.consent.after`); minor_at: when age was last
                      told; said: how often these have changed; changes: how often what is allowed has
    c/{at}-{digest}   one statement: personalisation, sensitive, purposes (granted), source, at, tcf and version (where
                      there are any), minor (where it says something of age), recorded_at

A statement that comes twice is one row. What holds does not depend on the order in which statements arrive: each write
is conditional on what was read before it.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

import orjson

from shared.domain import Consent
from shared.errors import Conflict
from shared.policy.consent import Standing, after, purposes
from shared.stores.faults import give_way
from shared.stores.table import ConditionFailed, Row, Table

KEPT = 50  # statements of an id: the latest ones
PREFIX = "c/"
_ATTEMPTS = 30


class Statements:
    """Store of statements on consent."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def add(self, pk: str, said: Consent, minor: bool | None, recorded_at: float) -> tuple[Standing, Row]:
        """Keeps a statement in the partition of the id that it came through; what holds then, and the id's `meta`.

        minor: what it says of age; None: nothing.

        Raises:
            Conflict: too many writers at the id, or it is being erased.
        """
        statement = _statement(said, minor)
        key = pk, _sort_key(statement)
        for attempt in range(_ATTEMPTS):
            rows = self._table.get_many([(pk, "meta"), key])
            meta = rows.get((pk, "meta"))
            if meta is None:
                raise Conflict("this person is being erased", retry_after=1)
            before = standing(meta)
            now = after(before, said, minor)
            actions: list[dict[str, Any]] = []
            if now != before:
                actions.append(self._change_action(pk, meta, before, now))
            elif key not in rows:  # nothing else says that the person is still there
                actions.append(self._table.check_action((pk, "meta"), "attribute_exists(pk)", {}))
            if key not in rows:
                actions.append(self._table.put_action({"pk": pk, "sk": key[1], "recorded_at": recorded_at} | statement))
            try:
                self._table.transact(actions)
            except ConditionFailed:
                give_way(attempt)
                continue
            if key not in rows:
                self._forget_oldest(pk)
            return now, meta
        raise Conflict("too many writers at the same person", retry_after=1)

    def of(self, pk: str) -> list[dict[str, Any]]:
        """The statements that are kept of an id, oldest first; see the fields above."""
        return [{n: v for n, v in row.items() if n not in ("pk", "sk")} for row in self._table.query(pk, prefix=PREFIX)]

    def _change_action(self, pk: str, meta: Row, before: Standing, now: Standing) -> dict[str, Any]:
        row = _changed(meta, before, now)
        unchanged = "said = :before" if "said" in meta else "attribute_not_exists(said)"
        values = {f":{name}": value for name, value in row.items()}
        return self._table.update_action(
            (pk, "meta"),
            f"SET {', '.join(f'{name} = :{name}' for name in row)}",
            values | ({":before": meta["said"]} if "said" in meta else {}),
            condition=f"attribute_exists(pk) AND {unchanged}",
        )

    def _forget_oldest(self, pk: str) -> None:
        keys = [(pk, row["sk"]) for row in self._table.query(pk, prefix=PREFIX)]
        for key in keys[:-KEPT]:
            self._table.transact([self._table.delete_action(key)])


def standing(meta: Row) -> Standing:
    """What holds of an id, off its `meta`."""
    consent = Consent(**meta["consent"]) if "consent" in meta else None
    return Standing(consent, meta.get("minor_at", consent.at if consent is not None and consent.minor else None))


def begun(said: Consent) -> Row:
    """Fields of the `meta` of an id that begins with a statement in force."""
    return _changed({}, Standing(), after(Standing(), said))


def narrowed(meta: Row, now: Standing) -> bool:
    """Whether `now` allows no sensitive interests where the id may have allowed them. A repeat of what is in force
    does too: who said it first may have been cut off before the profile was made anew.

    meta: of the id, before the statement.
    """
    before = standing(meta)
    if now.consent is None or now.consent.sensitive or before.consent is None:
        return False
    return before.consent.sensitive or (_allowed(before) == _allowed(now) and meta.get("changes", 0) > 1)


def _changed(meta: Row, before: Standing, now: Standing) -> Row:
    row: Row = {"consent": _row(now), "said": meta.get("said", 0) + 1}
    if now.minor_at is not None:
        row["minor_at"] = now.minor_at
    if _allowed(now) != _allowed(before):  # another date alone makes no profile stale
        row["changes"] = meta.get("changes", 0) + 1
    return row


def _allowed(standing: Standing) -> tuple[bool, bool, bool] | None:
    said = standing.consent
    return (said.personalisation, said.sensitive, said.minor) if said is not None else None


def _row(now: Standing) -> dict[str, Any]:
    return {name: value for name, value in asdict(now)["consent"].items() if value is not None}


def _statement(said: Consent, minor: bool | None) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "personalisation": said.personalisation,
        "sensitive": said.sensitive,
        "purposes": list(purposes(said)),
        "source": said.source,
        "at": float(said.at),
        "tcf": said.tcf,
        "version": said.version,
        "minor": True if said.minor else minor,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _sort_key(statement: dict[str, Any]) -> str:
    """In order of time: seconds of twelve digits, to the millisecond."""
    digest = hashlib.blake2b(orjson.dumps(statement, option=orjson.OPT_SORT_KEYS), digest_size=6).hexdigest()
    return f"{PREFIX}{statement['at']:016.3f}-{digest}"
