"""Decisions: what was shown to whom and why, kept for a week, and found by the time at which they were made.

An id says where its row lies: ten-minute bucket (5 digits of base 36), shard (a hexadecimal digit), 72 random bits::

    t/{tenant}/d/{bucket}{shard}   {decision_id}       doc, budget, `fb` (feedback counted so far: time by mark);
                                                       lost/{ad_id}: when its reservation was given back;
                                                       out/{n}: when the n-th of its bids was told to have lost
    t/{tenant}/d/{bucket}{shard}   {decision_id}/log   log
    t/{tenant}/p/{uid}             d/{decision_id}     pointer, for whoever erases the person

So all decisions of ten minutes are `SHARDS` queries and no index, and their writes spread over as many partitions. The
log, by far the largest part, has a row of its own, and `doc` is compressed: a write of feedback pays for the whole row.
"""

from __future__ import annotations

import re
import secrets
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson

from shared.domain import Decision, FrequencyCap, RankedAd, Reason
from shared.stores.people import person_key
from shared.stores.spend import BUCKET_SECONDS
from shared.stores.table import Key, Row, Table

DECISION_DAYS = 7
SHARDS = "0123456789abcdef"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_BUCKET_DIGITS = 5  # enough until the year 3119
_LOG = "/log"
_LOST = "lost/"
_OUT = "out/"
_ID = re.compile(r"[0-9a-z]{5}[0-9a-f]{19}")


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms an ad is shown: cost of one impression, and of the day's budget and the cap what there is.

    cost, daily_limit: in the advertiser's currency, the limit for a UTC day.
    """

    cost: float = 0.0
    daily_limit: float | None = None
    cap: FrequencyCap | None = None


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """A decision, without its log, with what feedback on it needs.

    budget: by ad cost and daily limit in units of money (`shared.stores.spend`), of those that have a limit.
    marks: time by ``kind/ad_id`` of the feedback that has been counted. lost: ads whose reservation was given back
    (`shared.stores.losses`). out: bids with the decision that have lost, by their place among them.
    """

    decision: Decision
    budget: Mapping[str, tuple[int, int]]
    marks: Mapping[str, float]
    lost: frozenset[str] = frozenset()
    out: frozenset[int] = frozenset()


def new_decision_id(at: float) -> str:
    """An id for a decision made at epoch second `at`: 24 characters, not to be guessed."""
    return bucket_of(at) + secrets.choice(SHARDS) + secrets.token_hex(9)


def bucket_of(at: float) -> str:
    """The ten minutes around epoch second `at`, as ids carry them."""
    number = int(max(at, 0.0) // BUCKET_SECONDS)
    digits = ""
    for _ in range(_BUCKET_DIGITS):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits


def decision_key(tenant: str, decision_id: str) -> Key | None:
    """Where the decision's row lies; None where this is no decision's id."""
    if _ID.fullmatch(decision_id) is None:
        return None
    return f"t/{tenant}/d/{decision_id[: _BUCKET_DIGITS + 1]}", decision_id


def lost_name(ad_id: str) -> str:
    """The attribute of a decision's row that says since when its ad's reservation is given back."""
    return f"{_LOST}{ad_id}"


def out_name(place: int) -> str:
    """The attribute of a decision's row that says since when this one of its bids has lost."""
    return f"{_OUT}{place}"


class Decisions:
    """Store of decisions."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def put_actions(
        self, tenant: str, decision: Decision, budget: Mapping[str, tuple[int, int]]
    ) -> list[dict[str, Any]]:
        """Parts of the transaction that stores a decision. Raises ValueError where its id is not of `new_decision_id`.

        budget: as in `StoredDecision`.
        """
        key = decision_key(tenant, decision.decision_id)
        if key is None:
            raise ValueError(f"{decision.decision_id!r} is no decision's id")
        document = asdict(decision)
        del document["log"]
        expires_at = int(decision.at) + DECISION_DAYS * 86400
        row: Row = {
            "pk": key[0],
            "sk": key[1],
            "uid": decision.uid,
            "at": decision.at,
            "doc": zlib.compress(orjson.dumps(document), 1),
            "budget": dict(budget),
            "fb": {},
            "expires_at": expires_at,
        }
        rows = [row]
        if decision.log:
            rows.append({"pk": key[0], "sk": key[1] + _LOG, "log": decision.log, "expires_at": expires_at})
        if decision.uid is not None:
            pk = person_key(tenant, decision.uid)
            rows.append({"pk": pk, "sk": f"d/{decision.decision_id}", "at": decision.at, "expires_at": expires_at})
        return [self._table.put_action(one) for one in rows]

    def get(self, tenant: str, decision_id: str, now: float | None = None) -> Decision | None:
        """A decision with its log; None where this tenant has none of this id. now: as of then."""
        key = decision_key(tenant, decision_id)
        if key is None:
            return None
        rows = self._table.get_many([key, (key[0], key[1] + _LOG)])
        row = rows.get(key)
        if row is None or _over(row, now):
            return None
        return replace(_stored(row).decision, log=rows.get((key[0], key[1] + _LOG), {}).get("log", b""))

    def get_many(self, tenant: str, decision_ids: Iterable[str], now: float | None = None) -> dict[str, StoredDecision]:
        """Decisions by id without their logs, those that there are in this tenant. now: those whose time is over by
        then count as gone, also where DynamoDB has not deleted them yet."""
        keys = [key for one in decision_ids if (key := decision_key(tenant, one)) is not None]
        rows = self._table.get_many(keys) if keys else {}
        return {row["sk"]: _stored(row) for row in rows.values() if not _over(row, now)}

    def there(self, tenant: str, decision_ids: Iterable[str]) -> int:
        """How many rows there are of these decisions, their logs' included."""
        keys = [key for one in decision_ids if (key := decision_key(tenant, one)) is not None]
        keys += [(pk, sk + _LOG) for pk, sk in keys]
        return len(self._table.get_many(keys, attributes=["pk"])) if keys else 0

    def erase_actions(
        self, tenant: str, uid: str, decision_id: str, stored: StoredDecision | None, marks: Collection[str]
    ) -> list[dict[str, Any]]:
        """Parts of a transaction: takes these marks off a decision of this person; where they are all that it has,
        deletes it with its log and its pointer. It holds only where the decision is as it was read.

        stored: None where the decision is there no more (its time was over): then its pointer goes.
        """
        pointer = self._table.delete_action((person_key(tenant, uid), f"d/{decision_id}"))
        key = decision_key(tenant, decision_id)
        if key is None:
            return [pointer]
        log = self._table.delete_action((key[0], key[1] + _LOG))
        if stored is None:
            return [log, pointer]
        if len(marks) == len(stored.marks):
            # Marks only ever come: as many as before are the same ones.
            count = {":marks": len(stored.marks)}
            row = self._table.delete_action(key, condition="size(fb) = :marks", values=count)
            return [row, log, pointer]
        names = {f"#m{place}": mark for place, mark in enumerate(marks)}
        return [
            self._table.update_action(
                key,
                f"REMOVE {', '.join(f'fb.{name}' for name in names)}",
                {},
                names=names,
                condition=" AND ".join(f"attribute_exists(fb.{name})" for name in names),
            )
        ]

    def decisions_of(
        self, tenant: str, bucket: str, shard: str
    ) -> Iterator[tuple[str, float, bytes, dict[str, float]]]:
        """Every decision of a bucket (`bucket_of`) in one of `SHARDS`: id, time, `Decision.log`, and the time of each
        feedback that was counted by ``kind/ad_id``. In the order of their ids, which is none in time."""
        found: tuple[str, float, dict[str, float]] | None = None
        for row in self._table.query(f"t/{tenant}/d/{bucket}{shard}"):
            log = row["sk"].endswith(_LOG)
            if found is not None:  # a decision's log comes right behind it
                yield found[0], found[1], row["log"] if log else b"", found[2]
            found = None if log else (row["sk"], float(row["at"]), _marks(row))
        if found is not None:
            yield found[0], found[1], b"", found[2]


def _over(row: Row, now: float | None) -> bool:
    return now is not None and float(row["expires_at"]) <= now


def _marks(row: Row) -> dict[str, float]:
    return {mark: float(at) for mark, at in row["fb"].items()}


def _stored(row: Row) -> StoredDecision:
    document = orjson.loads(zlib.decompress(row["doc"]))
    ads = tuple(
        RankedAd(**ad | {"reasons": tuple(Reason(**reason) for reason in ad["reasons"])}) for ad in document["ads"]
    )
    return StoredDecision(
        decision=Decision(**document | {"ads": ads}),
        budget={ad_id: (cost, limit) for ad_id, (cost, limit) in row["budget"].items()},
        marks=_marks(row),
        lost=frozenset(name.removeprefix(_LOST) for name in row if name.startswith(_LOST)),
        out=frozenset(int(name.removeprefix(_OUT)) for name in row if name.startswith(_OUT)),
    )
