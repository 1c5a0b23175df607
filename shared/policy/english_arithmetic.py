"""Quantities that follow from an ad's by rounding or by simple arithmetic: what is saved, one of fifty, two for less.

A copy says ``a quarter off`` of 180 and 135, and counts three colours that are only listed. Nothing is derived from
more than two of the ad's numbers and one of the copy's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from itertools import combinations

from shared.policy.counting import counted
from shared.policy.english_bills import elliptical, price_terms
from shared.policy.english_bounds import EACH, EXACT, IN_ALL, Stated, bears, counts_in, stated_in, times_in
from shared.policy.english_rates import count, duration
from shared.policy.english_reckoning import works_out
from shared.policy.facts import Facts
from shared.policy.numerals import Quantity
from shared.policy.units import Unit
from shared.policy.vocabulary import vocabulary

_NOT_OVER = re.compile(
    r"(?:no more than|not more than|at most|within|never more than|maximum(?: of)?|不超过|不多于|至多|最多)\s*$", re.I
)
_KINDS = re.compile(
    r"\b(?:colou?rs|shades|flavou?rs|kinds|styles|options|scents|sizes|designs|ways|finishes|varieties)\b", re.I
)
_MORE = re.compile(r"\b(?:extra|more|bonus|on top|free)\b", re.I)
_FREE_ONE = re.compile(r"\b(?:free|on the house|on us|for nothing)\b", re.I)
_PARTS = re.compile(r"\b(?:payments?|instal?lments?|parts|ways|split)\b", re.I)
_SAVED = re.compile(
    r"\b(?:keep|kept|sav(?:e|es|ed|ing)|off|better off|less|knocks?|leaves?|left|cheaper|back in|kinder|lighter|spare"
    r"|change"
    r"|pocket|up|spend|spent|goes|richer|hold on to|hang on to|in hand|extra for)\b",
    re.I,
)


def follows(plain: str, claim: Quantity, limit: str, known: Facts) -> str | None:
    """The field from which a claim of a folded copy follows; None where it does not."""
    support = _follows(plain, claim, limit, known) or works_out(plain, claim, limit, known)
    if support is None:
        for whole in elliptical(plain, claim):
            told = (
                field
                for field, fact, bound in known.quantities
                if bound in ("", "approx") and fact.unit.dimension == whole.unit.dimension and fact.value == whole.value
            )
            support = next(told, None) or _follows(plain, whole, limit, known) or works_out(plain, whole, limit, known)
            if support is not None:
                return support
    return support


def _follows(plain: str, claim: Quantity, limit: str, known: Facts) -> str | None:
    facts = known.quantities
    named = counted(plain, claim, vocabulary()) if claim.unit.dimension in ("", "count") else frozenset()
    if limit in ("", "approx") and all(named.isdisjoint(of) for _, of in known.counts):
        for (field, low, _), (_, high, _) in known.spans:
            if low.unit.dimension == claim.unit.dimension != "clock" and low.value <= claim.value <= high.value:
                return field
    if claim.unit.dimension in ("", "count"):
        named = counted(plain, claim, vocabulary())
        for value, field, of in known.lists:
            if value == claim.value and (
                not named.isdisjoint(of) or _KINDS.search(plain[claim.start : claim.end + 14])
            ):
                return field
    loose = limit == "max" and _NOT_OVER.search(plain[: claim.start]) is not None
    if loose:
        limit = "under"
    dimension = claim.unit.dimension
    if dimension == "mass" and "pound" in plain[claim.start : claim.end].lower():
        return _pounds(plain, claim, limit, known)
    if dimension.startswith("currency"):
        found = _price(plain, claim, limit, known)
        return found or _monthly(plain, claim, limit, facts)
    if dimension in ("time", "months"):
        return duration(plain, claim, limit, known)
    if dimension == "percent":
        for field, fact, told in stated_in(facts, "percent"):
            if bears(claim.value, limit or "approx", fact.value, told) and " " in plain[claim.start : claim.end]:
                return field
    if dimension in ("left", "percent"):
        return _discount(plain, claim, facts)
    if dimension == "clock":
        return None
    if dimension == "" or dimension.startswith("count"):
        return count(plain, claim, limit, known)
    return _measure(plain, claim, limit, known)


def _price(plain: str, claim: Quantity, limit: str, known: Facts) -> str | None:
    facts = known.quantities
    prices = stated_in(facts, claim.unit.dimension)
    values = [(field, fact.value) for field, fact, _ in prices]
    derived: list[tuple[str, Decimal]] = []
    for (field, one), (_, other) in combinations(values, 2):
        derived += [(field, one + other), (field, abs(one - other))]
    for field, one in values:
        times = times_in(plain, claim)
        derived += [(field, one * many) for many in times]
        if _FREE_ONE.search(plain):
            derived += [(field, one * (many - 1)) for many in times]
        if _PARTS.search(plain):
            derived += [(field, one / many) for many in times]
        for _, fact, _ in stated_in(facts, "time"):
            if 3600 < fact.value <= 43200:
                derived.append((field, one * fact.value / 3600))  # two hours at so much an hour
        for _, fact, _ in stated_in(facts, "percent"):
            derived += [(field, one * fact.value / 100), (field, one * (1 - fact.value / 100))]
        for _, fact, _ in stated_in(facts, "left"):
            derived += [(field, one * fact.value), (field, one * (1 - fact.value)), (field, one * (1 + fact.value))]
    if EACH.search(plain[claim.end : claim.end + 30]) or EACH.search(plain[: claim.start]):
        weeks = {fact.value / 604800 for _, fact, _ in stated_in(facts, "time") if fact.value % 604800 == 0}
        counts = (
            weeks
            | {count for _, count in counts_in(facts)}
            | {fact.value for _, fact, _ in stated_in(facts, "volume", "count:pack")}
        )
        derived += [(field, one / count) for field, one in values for count in counts | times_in(plain, claim)]
    if _SAVED.search(plain):
        derived += [(field, abs(one * 12 - other)) for field, one in values for _, other in values if one * 12 > other]
        times = times_in(plain, claim) | {count for _, count in counts_in(facts) if count <= 60} | {Decimal(2)}
        derived += [
            (field, abs(one * many - other))
            for field, one in values
            for _, other in values
            for many in times
            if one != other
        ]
    derived += price_terms(plain, claim, known)
    for field, value in derived:
        exact = value.quantize(Decimal("0.01")) == claim.value
        if (exact and (limit == "approx" or limit in EXACT)) or (
            limit not in EXACT and bears(claim.value, limit, value, "")
        ):
            return field
    for field, fact, told in prices:
        if limit not in EXACT and bears(claim.value, limit, fact.value, told):
            return field
    return None


def _pounds(plain: str, claim: Quantity, limit: str, known: Facts) -> str | None:
    """Pounds of money where the ad has prices in pounds."""
    value = (claim.value / Decimal("453.59237")).quantize(Decimal("0.01"))
    money = Quantity(claim.start, claim.end, "price", value, Unit("currency:GBP"))
    for field, fact, told in stated_in(known.quantities, "currency:GBP"):
        same = ("", limit, "approx", "max" if limit == "reach" else "")
        if fact.value == value and told in same:
            return field
    return _price(plain, money, limit, known) or _monthly(plain, money, limit, known.quantities)


def _monthly(plain: str, claim: Quantity, limit: str, facts: Sequence[Stated]) -> str | None:
    """A price of a month as one of a year, and the other way round."""
    period = re.match(r"^\s?(?:an?|per|each|every|/)\s?(day|week|month|year)", plain[claim.end :], re.I)
    if period is None or not claim.value:
        return None
    mine = {"day": 365, "week": 52, "month": 12, "year": 1}[period[1].lower()]
    for field, fact, _ in stated_in(facts, claim.unit.dimension):
        for theirs in (1, 12, 52, 365):
            value = fact.value * theirs / mine
            if theirs == mine or value <= 0:
                continue
            exact = value.quantize(Decimal("0.01")) == claim.value
            if (
                exact
                or (limit and bears(claim.value, limit, value, ""))
                or abs(value / claim.value - 1) < Decimal("0.01")
            ):
                return field
    return None


def _discount(plain: str, claim: Quantity, facts: Sequence[Stated]) -> str | None:
    """A part off, of two prices or as a percentage."""
    mine = claim.value if claim.unit.dimension == "left" else 1 - claim.value / 100
    for field, fact, _ in stated_in(facts, "left"):
        if abs(fact.value - mine) < Decimal("0.005"):
            return field
    if claim.unit.dimension == "percent" and _MORE.search(plain):  # 25 buys 27.50: ten per cent extra
        amounts = [(field, fact) for field, fact, _ in facts if fact.unit.dimension.startswith("currency")]
        for (field, one), (_, other) in combinations(amounts, 2):
            low, high = sorted((one.value, other.value))
            if low > 0 and high - low == low * claim.value / 100:
                return field
    if claim.unit.dimension == "left":
        for field, fact, _ in stated_in(facts, "percent"):
            if abs(1 - fact.value / 100 - mine) < Decimal("0.005"):
                return field
    for dimension in {fact.unit.dimension for _, fact, _ in facts if fact.unit.dimension.startswith("currency")}:
        for (field, one, _), (_, other, _) in combinations(stated_in(facts, dimension), 2):
            low, high = sorted((one.value, other.value))
            if low > 0 and abs(low / high - mine) < Decimal("0.006"):
                return field
            for many in times_in(plain, claim):  # five at once for less than five times one
                if low > 0 and abs(high / (low * many) - mine) < Decimal("0.006"):
                    return field
    return None


def _measure(plain: str, claim: Quantity, limit: str, known: Facts) -> str | None:
    facts = known.quantities
    same = stated_in(facts, claim.unit.dimension)
    for field, fact, told in same:
        said = fact.unit.factor != claim.unit.factor and limit == "" and told in ("", "approx")
        if said and fact.value and abs(claim.value / fact.value - 1) <= Decimal("0.015"):
            return field  # seven and a half miles, of 12 km
        if bears(claim.value, limit, fact.value, told):
            return field
    if claim.unit.dimension == "age" and len(same) >= 2 and limit in ("", "approx"):
        ages = [fact.value for _, fact, _ in same]
        if min(ages) <= claim.value <= max(ages):
            return same[0][0]
    if claim.unit.dimension == "age":
        oldest = max((fact.value for _, fact, _ in same), default=claim.value)
        for field, fact, told in same:
            if told in ("min", "over") and claim.value > oldest > fact.value:
                continue  # ages 4 to 6
            if (told == "under" and claim.value < fact.value) or (
                told in ("min", "over") and claim.value >= fact.value
            ):
                return field
    for (field, one, _), (other_field, other, _) in combinations(same, 2):
        if (
            claim.unit.dimension != "age"
            and field == other_field
            and bears(claim.value, limit, abs(one.value - other.value), "")
        ):
            return field
    if EACH.search(plain[claim.end : claim.end + 30]):
        for field, fact, told in same:
            if any(
                bears(claim.value, limit, fact.value / count, told)
                for count in {
                    *times_in(plain, claim),
                    *(figure.value for figure in known.figures if figure.is_count and 1 < figure.value <= 500),
                }
            ):
                return field
    for field, fact, told in same:
        if any(
            bears(claim.value, limit, fact.value * times, told)
            and abs(fact.value * times / claim.value - 1) <= Decimal("0.12")
            for times in times_in(plain, claim)
        ):
            return field
        if IN_ALL.search(plain) and any(
            bears(claim.value, limit, fact.value * count, told) for _, count in counts_in(facts)
        ):
            return field
    return None
