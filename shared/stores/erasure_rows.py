"""The row of an erasure: as it is read, and the updates that move it on.

::

    n/{place}, o/{place}   what has gone of the table and of objects: attributes of their own, to be added to
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from shared.stores.table import Row

Kind = Literal["erasure", "withdrawal"]
# The first four in turn, the last at any time: what is looked for is found once more.
Step = Literal["table", "objects", "scan", "scan_objects", "done"]
TABLE, OBJECTS = "n/", "o/"
_FOUND = ("found", "looked_at")


@dataclass(frozen=True, slots=True)
class Erasure:
    """An erasure as it stands.

    kind: withdrawal: of consent, so that the person stays, with what they said of it. digests: of external ids
    (`Identities.digest`). uids, groups: theirs, as long as it is not done. cut: of a withdrawal the number of the last
    event that goes. table, objects: by place what has gone. found, looked_at: of the second scan, so far. round: how
    often it has been begun again because that found something. cursor: where the step goes on. not_before: epoch
    seconds from which on the step may be done. turn: changes with each change of the above.
    """

    erasure_id: str
    kind: Kind
    requested_at: float
    digests: tuple[str, ...]
    uids: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    cut: int = 0
    step: Step = "table"
    not_before: float = 0.0
    cursor: Mapping[str, Any] | None = None
    round: int = 0
    turn: int = 0
    updated_at: float = 0.0
    verified_at: float | None = None
    table: Mapping[str, int] = field(default_factory=dict)
    objects: Mapping[str, int] = field(default_factory=dict)
    found: Mapping[str, int] = field(default_factory=dict)
    looked_at: Mapping[str, int] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        return self.step == "done"


@dataclass(frozen=True, slots=True)
class Move:
    """To the next step of an erasure, or further on in the same.

    again: it begins another round. objects: what has gone of them since. found, looked_at: replace those before; None:
    they stay, and so does not_before.
    """

    step: Step
    not_before: float | None = None
    cursor: Mapping[str, Any] | None = None
    again: bool = False
    objects: Mapping[str, int] = field(default_factory=dict)
    found: Mapping[str, int] | None = None
    looked_at: Mapping[str, int] | None = None


def moving(erasure: Erasure, move: Move, now: float) -> dict[str, Any]:
    """The update of an erasure's row, which holds as long as nobody else has moved it."""
    expression = "SET #step = :step, updated_at = :now, turn = :next, #cursor = :cursor, #round = :round"
    values: dict[str, Any] = {
        ":step": move.step,
        ":now": now,
        ":next": erasure.turn + 1,
        ":turn": erasure.turn,
        ":cursor": orjson.dumps(move.cursor),
        ":round": erasure.round + move.again,
    }
    names = {"#step": "step", "#cursor": "cursor", "#round": "round"}
    if move.not_before is not None:
        expression += ", not_before = :not_before"
        values[":not_before"] = move.not_before
    for name, counts in zip(_FOUND, (move.found, move.looked_at), strict=True):
        if counts is not None:
            expression += f", #{name} = :{name}"
            names[f"#{name}"] = name
            values[f":{name}"] = dict(counts)
    if any(move.objects.values()):
        added = counting(move.objects)
        expression += f" {added['expression']}"
        names |= added["names"]
        values |= added["values"]
    return {"expression": expression, "values": values, "names": names, "condition": "turn = :turn"}


def counting(gone: Mapping[str, int]) -> dict[str, Any]:
    """The update that counts what has gone of objects, by place."""
    added = {name: count for name, count in gone.items() if count}
    return {
        "expression": "ADD " + ", ".join(f"#o{place} :o{place}" for place in range(len(added))),
        "values": {f":o{place}": count for place, count in enumerate(added.values())},
        "names": {f"#o{place}": f"{OBJECTS}{name}" for place, name in enumerate(added)},
        "condition": "attribute_exists(pk)",
    }


def erasure_of(row: Row) -> Erasure:
    """What a row says."""

    def counts(prefix: str) -> dict[str, int]:
        return {name.removeprefix(prefix): int(n) for name, n in sorted(row.items()) if name.startswith(prefix) and n}

    return Erasure(
        erasure_id=row["sk"],
        kind=row["kind"],
        requested_at=float(row["requested_at"]),
        digests=tuple(row["digests"]),
        uids=tuple(row.get("uids", ())),
        groups=tuple(row.get("groups", ())),
        cut=row["cut"],
        step=row["step"],
        not_before=float(row.get("not_before", 0)),
        cursor=orjson.loads(row.get("cursor", b"null")),
        round=row.get("round", 0),
        turn=row["turn"],
        updated_at=float(row["updated_at"]),
        verified_at=float(row["verified_at"]) if "verified_at" in row else None,
        table=counts(TABLE),
        objects=counts(OBJECTS),
        found={name: int(n) for name, n in row.get("found", {}).items()},
        looked_at={name: int(n) for name, n in row.get("looked_at", {}).items()},
    )
