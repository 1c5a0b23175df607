"""The claim ledger: what a copy states that can be checked, and the fact of the ad that supports it.

Quantities, prices and dates are compared by value and bound (``numerals``, ``facts``); superlatives, comparisons and
offers by the patterns of ``packs/claims.json``; and every other word of the copy must stand in the ad, mean what stands
there, name the audience, or state nothing (``words``). A claim whose `support` is None is not to be shown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from shared.domain import Ad, Claim
from shared.policy.characters import fold
from shared.policy.chinese_moments import tells_of_day
from shared.policy.chinese_scope import overreach
from shared.policy.claim_terms import term_claims, term_groups
from shared.policy.dates import find_dates
from shared.policy.english_arithmetic import follows
from shared.policy.english_bills import misrated, rated_otherwise
from shared.policy.english_bounds import said_bound
from shared.policy.english_counts import counts_life
from shared.policy.english_terms import terms
from shared.policy.facts import Facts, day_support, prepare, quantity_support, rated_support
from shared.policy.legible import illegible
from shared.policy.numerals import Quantity, find_quantities
from shared.policy.polarity import bound
from shared.policy.units import BARE
from shared.policy.vocabulary import vocabulary
from shared.policy.words import cover, means

_HAN = re.compile(r"[\u3400-\u9fff]")
_UP_TO = re.compile(
    (
        r"\b(?:up to|as (?:much|many|long|far|wide|tall|big|high|heavy) as)[^\d.!?,]{0,8}$|(?:可达"
        r"|长达|高达|多达|可至)\s?$"
    ),
    re.I,
)
_OF_THINGS = re.compile(
    r"^ (?!and |or |to |can |may |will |on |in |at |if |with |years?|is |are |do |get |pay |so )[a-z]{4,}", re.I
)
_RATE = re.compile(
    r"^\s?(?:(?:a|per|each|every|/|每)\s?(?P<en>day|night|week|month|mo|year|yr|hour|lesson|class|session|visit)\b"
    r"|[/每]\s?(?P<zh>天|日|晚|周|星期|月|年|小时|节|课时|次))",
    re.I,
)
_RATE_BEFORE = re.compile(
    r"(?P<zh>每天|每日|每晚|每周|每月|每年|每小时|每节|每课时|每次|月费|年费|周费|日租)(?:只要|仅|才|低至)?\s?$"
)
_LONG_NUMERAL = re.compile(r"[\d一二三四五六七八九十百千万]{2}")


def trace_claims(text: str, ad: Ad, *, audience: Sequence[str] = ()) -> list[Claim]:
    """Every checkable statement of `text` with the field of `ad` that supports it, in the order of the text.

    audience: names of the general interests that the copy is written for; words that only name them claim nothing.
    A text that is not `shared.policy.legible` is one unsupported claim for each reason.
    """
    if broken := illegible(fold(text)):
        return [Claim((start, end), text[start:end], "illegible", None) for start, end in broken]
    reading = read(text, ad, audience=audience)
    claims = reading.claims
    for word in cover(reading.plain, reading.taken, reading.facts.words, vocabulary()):
        claims.append(Claim((word.start, word.end), text[word.start : word.end], word.kind, word.support))
    return sorted(claims, key=lambda claim: claim.span)


@dataclass(frozen=True, slots=True)
class Reading:
    """A copy folded, its ad's facts, the claims of its figures and terms, and the characters that those took (1)."""

    plain: str
    facts: Facts
    claims: list[Claim]
    taken: bytearray


def read(text: str, ad: Ad, *, audience: Sequence[str] = ()) -> Reading:
    """The claims of `text` in figures and fixed terms, before its words are looked at."""
    plain = fold(text)
    facts = prepare(ad, audience)
    chinese = _HAN.search(plain) is not None
    quantities = [quantity for quantity in find_quantities(text) if not _within_word(plain, quantity)]
    claims = [
        claim
        for quantity in quantities
        if (claim := _quantity_claim(text, plain, quantity, facts)).support is not None
        or not (
            tells_of_day(plain, quantity, facts)
            if _HAN.search(plain)
            else counts_life(plain, quantity, facts.words, vocabulary())
        )
    ]
    claims += [
        Claim((day.start, day.end), text[day.start : day.end], "date", day_support(day, facts))
        for day in find_dates(text)
    ]
    for quantity in quantities:
        if quantity.kind == "price":
            rates = _rate_claims(text, plain, quantity, facts)
            limit = bound(plain, quantity.start, quantity.end)
            worked_out = (
                rated_support(plain, quantity, limit, facts) if chinese else follows(plain, quantity, limit, facts)
            )
            if rates and worked_out is None and not _HAN.search(plain) and misrated(plain, quantity, facts):
                rates = [replace(rate, support=None) for rate in rates]
            claims += [replace(rate, support=rate.support or worked_out) for rate in rates]
    taken = bytearray(len(plain))
    if chinese:
        claimed = {claim.span for claim in claims}
        for quantity in quantities:  # two sentences more, said of the reader
            if (quantity.start, quantity.end) not in claimed:
                taken[quantity.start : quantity.end] = b"\x01" * (quantity.end - quantity.start)
    for group in term_groups():
        if group.chinese and not chinese:
            continue
        claims += term_claims(text, plain, group, facts, quantities, taken)
    if chinese:
        claims += [
            Claim((start, end), text[start:end], kind, None) for start, end, kind in overreach(plain, quantities, facts)
        ]
    for claim in claims:
        start, end = claim.span
        taken[start:end] = b"\x01" * (end - start)
    if not chinese:
        claims += [
            Claim((one.start, one.end), text[one.start : one.end], one.kind, None) for one in terms(plain, facts)
        ]
    return Reading(plain, facts, claims, taken)


def _within_word(plain: str, quantity: Quantity) -> bool:
    """Whether a Chinese numeral is part of a listed word (周五, 一整天) and counts nothing."""
    start, end = quantity.start, quantity.end
    if plain[start:end].isascii() or quantity.kind in ("price", "percent", "discount"):
        return False
    if _LONG_NUMERAL.match(plain, start) or quantity.unit.dimension == "grade":
        return False
    known = vocabulary()
    for first in range(max(0, start - 2), start + 1):
        for last in range(max(end, first + 2), min(len(plain), end + 3) + 1):
            term = plain[first:last]
            if last - first > end - start and (term in known.neutral or term in known.concepts):
                return True
    return False


def unsupported(claims: list[Claim]) -> list[Claim]:
    """The claims that nothing in the ad supports."""
    return [claim for claim in claims if claim.support is None]


def _quantity_claim(text: str, plain: str, quantity: Quantity, facts: Facts) -> Claim:
    limit = bound(plain, quantity.start, quantity.end)
    if _HAN.search(plain) is None:
        limit = said_bound(plain, quantity.start, quantity.end, limit)
    elif limit == "max" and _UP_TO.search(plain[: quantity.start]):
        limit = "reach"
    if (
        quantity.unit.dimension == "age"
        and "year" not in plain[quantity.start : quantity.end]
        and _OF_THINGS.match(plain[quantity.end :])
    ):
        quantity = replace(quantity, kind="number", unit=BARE)  # over four payments
    support = quantity_support(plain, quantity, limit, facts)
    if _HAN.search(plain) is None:
        support = support or follows(plain, quantity, limit, facts)
        support = None if rated_otherwise(plain, quantity, facts) else support
    return Claim((quantity.start, quantity.end), text[quantity.start : quantity.end], quantity.kind, support)


def _rate_claims(text: str, plain: str, price: Quantity, facts: Facts) -> list[Claim]:
    """What a price is paid for: a month, a lesson."""
    after = _RATE.match(plain[price.end :])
    if after is not None:
        start, end = price.end + after.start(), price.end + after.end()
        name = f"per {after['en'].lower()}" if after["en"] else f"每{after['zh']}"
    elif (before := _RATE_BEFORE.search(plain[: price.start])) is not None:
        start, end = before.span("zh")
        name = before["zh"]
    else:
        return []
    start += len(text[start:end]) - len(text[start:end].lstrip())
    return [Claim((start, end), text[start:end], "price", means(name, facts.words, vocabulary()))]
