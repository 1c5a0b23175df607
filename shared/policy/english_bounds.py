"""How English copy bounds and rounds a quantity, and whether a fact bears that out: ``nearly half a metre``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

from shared.policy.english_numbers import NUMBER, read_any
from shared.policy.numerals import Quantity

Stated = tuple[str, Quantity, str]  # field, quantity, bound
MONTH = Decimal("30.4375") * 86400  # seconds
_LOOSE = Decimal("0.09")  # of months in days, of fractions
EXACT = ("", "max", "min", "reach")
_UP_TO = re.compile(r"\b(?:up to|as (?:much|many|long|far|wide|tall|big|high|heavy) as)[^\d.!?,]{0,8}$", re.I)
_COURSE = re.compile(
    r"\b(?:spread|strung|stretch\w*|taught|held|paid|split|runs?|ran|told|learn\w*|built|builds?|paced|unfolds?"
    r"|delivered|across|all|happens?|served|spaced)(?: it| them| that| this)?"
    r" over (?:the )?$",
    re.I,
)
_SPAN = re.compile(r"\b(?:days|weeks|months|evenings|nights|terms|weekends)$", re.I)
_OVER = re.compile(
    r"\b(?!(?:for|lasts?|is|of|in|takes?|with|just|well|bit|has|at|been|after|went|goes|and|or|get|gets"
    r"|have)\b)(?:[a-z]+|[£$€\d][\d.,]*),? over "
    r"(?:just |only |the )?$",
    re.I,
)
_HANDED = re.compile(r"\b(?:hand|hands|turn|take|takes|start|left|all|ask|fork|mull|pick) over (?:just |only )?$", re.I)
_AND_MORE = re.compile(
    r"^,? and (?:a (?:bit|half|splash|little|touch|hair)|change|then some|some)\b|^[ -]odd\b|^ or more\b", re.I
)
_AT_MOST = re.compile(r"^,?[^.,;!?]{0,28}\b(?:at (?:the )?(?:very )?(?:most|latest|best)|tops|max(?:imum)?)\b", re.I)
_INSIDE = re.compile(r"\b(?:inside|in the space of)\s$", re.I)
_OR_SO = re.compile(r"^,? (?:or (?:so|thereabouts|two)|ish|give or take|-ish)\b|^-?ish\b", re.I)
_TIMES_WORDS = re.compile(
    rf"\b(?:(?P<both>both|pair|couple|twice|double|duo|between you)|(?P<trio>trio)|(?P<n>\d{{1,3}}|{NUMBER}))\b",
    re.I,
)
_NO_TIMES = re.compile(
    r"(?:[.:]\d|%| ?(?:[ap]\.?m\b|per ?cent|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|minutes?|mins?\b"
    r"|years? old)|[- ]year-old)",
    re.I,
)
_PRICED = re.compile(
    r"[£$€¥.:]\s?$|\b(?:january|february|march|april|may|june|july|august|september|october|november|december) $", re.I
)
EACH = re.compile(
    r"^[^.;!?]{0,10}?(?:\b(?:an?|per|each|every|apiece)\b|[/每])|\b(?:each|apiece|every|per|works? out|that['’]s|平均"
    r"|每)\b[^.;!?]{0,24}$",
    re.I,
)
IN_ALL = re.compile(
    r"\b(?:ways|combinations?|combos?|mix(?:es)?|in all|altogether|all in|total|all told|together|adds? up|worth)\b"
    r"|一共|总共|共|合计|加起来",
    re.I,
)


def said_bound(plain: str, start: int, end: int, limit: str) -> str:
    """The bound on the quantity at ``[start, end)`` of an English copy; `limit`: what ``bound`` reads around it."""
    after = plain[end : end + 48]
    if _AND_MORE.match(after):
        return "over"
    if limit == "over" and _HANDED.search(plain[:start]):
        return ""
    if _OR_SO.match(after):
        return "approx"
    if _AT_MOST.match(after) or (limit == "" and _INSIDE.search(plain[:start])):
        return "max"
    if limit == "over" and (
        _COURSE.search(plain[:start]) or (_SPAN.search(plain[start:end]) and _OVER.search(plain[:start]))
    ):
        return ""  # spread over ten weeks
    return "reach" if limit == "max" and _UP_TO.search(plain[:start]) else limit


def bears(value: Decimal, limit: str, fact: Decimal, told: str, *, loose: bool = False) -> bool:
    """Whether `fact`, bounded as `told`, says what a copy says with `value` bounded by `limit`."""
    if fact <= 0 or value <= 0:
        return False
    ratio = value / fact
    if limit in EXACT:
        allowed = ("", "approx", "near") if limit == "" else ("", "max" if limit == "reach" else limit)
        return told in allowed and abs(ratio - 1) <= (_LOOSE if loose else Decimal("0.0005"))
    if limit == "under":
        return (
            told not in ("over", "min")
            and Decimal("0.98") < ratio <= Decimal("1.35")
            and (ratio > 1 or told in ("under", "max"))
        )
    if limit == "over":
        return told not in ("under", "max") and Decimal("0.65") <= ratio < 1
    if limit == "near":
        return told not in ("over", "min") and 1 <= ratio <= Decimal("1.18")
    if limit == "approx":
        return told not in ("over",) and abs(ratio - 1) <= Decimal("0.12")
    return False


def stated_in(facts: Sequence[Stated], *dimensions: str) -> list[Stated]:
    """The facts of these dimensions, each once; nothing is worked out with nought."""
    seen: set[tuple[Decimal, str, str]] = set()
    found = []
    for field, fact, told in facts:
        key = (fact.value, fact.unit.dimension, told)
        if fact.unit.dimension in dimensions and fact.value and not fact.literal and key not in seen:
            seen.add(key)
            found.append((field, fact, told))
    return found


def counts_in(facts: Sequence[Stated]) -> list[tuple[str, Decimal]]:
    return [
        (field, fact.value)
        for field, fact, _ in facts
        if not fact.literal
        and (fact.unit.dimension == "" or fact.unit.dimension.startswith("count"))
        and 1 < fact.value <= 5000
    ]


def times_in(plain: str, claim: Quantity) -> set[Decimal]:
    """The small numbers of a copy beside the claim, by which something may be multiplied."""
    found = set()
    for match in _TIMES_WORDS.finditer(plain):
        if claim.start <= match.start() < claim.end or (match["n"] and _NO_TIMES.match(plain, match.end())):
            continue
        if match["n"] and _PRICED.search(plain[: match.start()]):
            continue
        value = Decimal(2) if match["both"] else Decimal(3) if match["trio"] else read_any(match["n"])
        if 2 <= value <= 100:
            found.add(value)
    return found


def seconds(quantity: Quantity) -> Decimal:
    return quantity.value * MONTH if quantity.unit.dimension == "months" else quantity.value
