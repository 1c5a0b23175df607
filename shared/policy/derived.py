"""Whether a quantity of an ad bears out one of a Chinese copy: of the same value, or within a bound.

``bears`` compares a bounded claim with a fact by value (``under a kilo`` of 780 g), across units that differ only by
convention (30 days and a month).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise

from shared.policy.numerals import Quantity
from shared.policy.units import Unit

Fact = tuple[str, Quantity, str]  # field, quantity, bound

_DAY = Decimal(86400)
_MONTH_DAYS = Decimal(365) / 12
_NUMBERED = re.compile(r"\d|[一二两三四五六七八九十百]")
_LIST = re.compile(r"[、，,/；;]|(?<=[\u4e00-\u9fff])[和与及](?=[\u4e00-\u9fff])|\s(?:and|or)\s")
_TOLERANCE = Decimal("0.001")  # of converted units only: 7.6 inches are 19.3 cm
_LOOSE = Decimal("0.04")  # of a month against its days
_BOUNDS: dict[
    str, tuple[Decimal, Decimal, frozenset[str]]
] = {  # of the fact in the claim's value; told bounds that allow it
    "under": (Decimal("0.74"), Decimal("0.9999"), frozenset({"", "approx", "near", "max", "under"})),
    "max": (Decimal("0.9"), Decimal(1), frozenset({"", "approx", "near", "max", "under"})),
    "reach": (Decimal(1), Decimal(1), frozenset({"", "approx", "near", "max", "under"})),
    "some": (Decimal("0.9"), Decimal("1.4"), frozenset({"", "approx", "near", "max"})),
    "over": (Decimal("1.0001"), Decimal("1.6"), frozenset({"", "approx", "min", "over"})),
    "min": (Decimal(1), Decimal("1.1"), frozenset({"", "approx", "min", "over", "lowest"})),
    "lowest": (Decimal(1), Decimal(1), frozenset({"", "approx", "min", "lowest"})),
    "near": (Decimal("0.85"), Decimal(1), frozenset({"", "approx", "near"})),
    "approx": (Decimal("0.9"), Decimal("1.1"), frozenset({"", "approx", "near"})),
}


def clock_spans(facts: Sequence[Fact]) -> Iterator[Fact]:
    clocks = [fact for fact in facts if fact[1].unit.dimension == "clock"]
    for (field, one, _), (where, other, _) in pairwise(clocks):
        if field == where and other.value > one.value:
            yield field, Quantity(0, 0, "duration", (other.value - one.value) * 60, Unit("time")), ""


def listed(text: str) -> int:
    """How many things an attribute's value lists (``雾蓝、樱粉、草绿``: 3); 0 where it is no list."""
    parts = [part.strip() for part in _LIST.split(text)]
    if any(_NUMBERED.search(part) for part in parts):
        return 0
    return len(parts) if 2 <= len(parts) <= 12 and all(0 < len(part) <= 16 for part in parts) else 0


def converted(claim: Quantity, fact: Quantity) -> tuple[Decimal, bool] | None:
    """The fact's value in the claim's dimension, and whether they agree by convention only; None where they do not."""
    mine, theirs = claim.unit.dimension, fact.unit.dimension
    if claim.literal or fact.literal:
        return None
    if mine == theirs:
        return fact.value, False
    if mine == "time" and theirs == "months":
        return fact.value * _MONTH_DAYS * _DAY, True
    if mine == "months" and theirs == "time" and fact.value >= 7 * _DAY:
        return fact.value / _DAY / _MONTH_DAYS, True
    if mine == "age" and theirs == "months":
        return fact.value / 12, False
    if {mine, theirs} == {"rating", ""}:
        return fact.value, False
    kinds = {mine.partition(":")[0], theirs.partition(":")[0]}
    if kinds <= {"count", ""} and (mine in ("count", "") or theirs in ("count", "", "count:pack")):
        return fact.value, False
    return None


def bears(claim: Quantity, limit: str, fact: Quantity, told: str, *, rounded: bool = False) -> bool:
    """Whether a fact told with the bound `told` bears out a claim bounded by `limit`, compared by value.

    rounded: the fact is worked out, and the claim may round it.
    """
    found = converted(claim, fact)
    if found is None or claim.value <= 0 or claim.unit.dimension == "clock":
        return False
    value, loose = found
    if limit == "":
        slack = _LOOSE if loose else Decimal("0.004") if rounded else Decimal(0)
        return told in ("", "approx", "near") and abs(value - claim.value) <= slack * claim.value
    low, high, allowed = _BOUNDS[limit]
    if limit == "min" and claim.kind == "price":
        high = Decimal(1)  # from 29 is no 38
    if claim.unit.dimension == "age":
        low = high = Decimal(1)  # for those of 30 and up is more than for those of 45
    return told in allowed and low * claim.value <= value <= high * claim.value


def has_token(fact: str, literal: str) -> bool:
    """Whether a lowercase text has the literal as a whole word."""
    if not literal.isascii():
        return literal in fact
    return re.search(rf"(?<![a-z0-9]){re.escape(literal)}(?![a-z0-9])", fact.replace("-", "")) is not None


def equals(claim: Quantity, fact: Quantity) -> bool:
    """Whether a fact says what the claim says: the same value in the same dimension."""
    if claim.literal or fact.literal:
        return claim.literal == fact.literal and claim.literal != ""
    if claim.unit.dimension == fact.unit.dimension == "clock" and claim.value + 720 == fact.value:
        return True  # half past seven of an evening
    converted = claim.unit.factor != fact.unit.factor and not claim.unit.dimension.startswith("currency")
    if abs(claim.value - fact.value) > (_TOLERANCE * abs(fact.value) if converted else 0):
        return False
    mine, theirs = claim.unit.dimension, fact.unit.dimension
    if mine == theirs:
        return True
    if {mine, theirs} == {"time", "clock"}:
        return False
    counts = {mine.partition(":")[0], theirs.partition(":")[0]} <= {"count", ""}
    return counts and (mine in ("count", "") or theirs in ("count", "", "count:pack"))
