"""The claim ledger: what a copy states that can be checked, and the fact of the ad that supports it.

A claim is a number, price, percentage, date or duration in any script, a superlative, a comparison, an offer, an
origin, a certification, a material or a named feature (term groups: ``packs/claims.json``), or a name in Latin letters
within Chinese text. A claim whose `support` is None is not to be shown.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from shared.domain import Ad, Claim
from shared.policy.numerals import Day, Quantity, find_dates, find_quantities, fold
from shared.policy.units import BARE, Unit, key_unit, match_unit

_PRICE_KEYS = re.compile(r"price|cost|fee|tuition|价|费|金额", re.I)
_CHINA = timezone(timedelta(hours=8))
_TOLERANCE = Decimal("0.001")  # of converted units only: 7.6 inches are 19.3 cm
_LATIN_NAME = re.compile(r"[A-Za-z][A-Za-z'&-]*[A-Za-z]")
_COMMON_LATIN = frozenset({"diy", "ok", "vs", "and", "the", "wow", "no", "app", "pro"})


@dataclass(frozen=True, slots=True)
class _Group:
    id: str
    kind: str
    pattern: re.Pattern[str]
    each: bool  # every term stands for itself, rather than any for all


@dataclass(frozen=True, slots=True)
class _Facts:
    """The ad as evidence: (field, folded text), its quantities and its dates by field."""

    texts: tuple[tuple[str, str], ...]
    quantities: tuple[tuple[str, Quantity], ...]
    days: tuple[tuple[str, Day], ...]
    free: str | None
    ends: bool


def claims_version() -> str:
    """Version of the term groups."""
    return str(_document()["version"])


@cache
def _document() -> dict[str, Any]:
    path = Path(__file__).with_name("packs") / "claims.json"
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


@cache
def _groups() -> tuple[_Group, ...]:
    rows = _document()["terms"]
    return tuple(
        _Group(row["id"], row["kind"], re.compile("|".join(row["patterns"]), re.I), bool(row.get("each")))
        for row in rows
    )


def trace_claims(text: str, ad: Ad) -> list[Claim]:
    """Every checkable statement of `text` with the field of `ad` that supports it, in the order of the text."""
    plain = fold(text)
    facts = _facts(ad)
    claims = [_quantity_claim(text, quantity, facts) for quantity in find_quantities(text)]
    claims += [_day_claim(text, day, facts) for day in find_dates(text)]
    for group in _groups():
        claims += _term_claims(text, plain, group, facts)
    claims += _name_claims(text, plain, facts, claims)
    return sorted(claims, key=lambda claim: claim.span)


def unsupported(claims: list[Claim]) -> list[Claim]:
    """The claims that nothing in the ad supports."""
    return [claim for claim in claims if claim.support is None]


def _facts(ad: Ad) -> _Facts:
    texts = [("title", ad.title), ("description", ad.description), ("brand", ad.brand or "")]
    quantities: list[tuple[str, Quantity]] = []
    free = None
    for key, value in ad.attributes.items():
        field = f"attributes.{key}"
        is_price = bool(_PRICE_KEYS.search(key))
        number = _number(value)
        if number is None:
            texts.append((field, f"{key} {value}"))
            continue
        texts.append((field, key))
        if is_price and number == 0:
            free = field
        unit = _currency(ad) if is_price else key_unit(key)
        quantities.append((field, _as_quantity(number, unit or BARE)))
    folded = tuple((field, fold(text)) for field, text in texts if text)
    for field, text in folded:
        hint = key_unit(field.removeprefix("attributes.")) if field.startswith("attributes.") else None
        for quantity in find_quantities(text):
            quantities.append((field, quantity))
            if hint is not None and quantity.unit == BARE:
                quantities.append((field, _as_quantity(quantity.value, hint)))
    days = [(field, day) for field, text in folded for day in find_dates(text)]
    for field, moment in (("start", ad.start), ("end", ad.end)):
        if moment is not None:
            for zone in (UTC, _CHINA):
                at = datetime.fromtimestamp(moment, zone)
                days.append((field, Day(0, 0, at.year, at.month, at.day)))
    return _Facts(folded, tuple(quantities), tuple(days), free, ad.end is not None)


def _number(value: str | float) -> Decimal | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return Decimal(str(value))
    return Decimal(value.replace(",", "")) if re.fullmatch(r"\s*\d[\d,]*(?:\.\d+)?\s*", value) else None


def _as_quantity(value: Decimal, unit: Unit) -> Quantity:
    if unit.dimension == "left":
        return Quantity(0, 0, "discount", value / (10 if value < 10 else 100), unit)
    return Quantity(0, 0, "attribute", value * unit.factor, unit)


def _currency(ad: Ad) -> Unit:
    named = match_unit(str(ad.attributes.get("currency", "")).upper())
    if named is not None and named[0].dimension.startswith("currency"):
        return named[0]
    return Unit("currency:CNY" if ad.language == "zh" else "currency:USD")


def _quantity_claim(text: str, quantity: Quantity, facts: _Facts) -> Claim:
    support = next((field for field, fact in facts.quantities if _same(quantity, fact)), None)
    if support is None and quantity.literal:
        literal = quantity.literal.lower()
        support = next((field for field, fact in facts.texts if _has_token(fact.lower(), literal)), None)
    return Claim((quantity.start, quantity.end), text[quantity.start : quantity.end], quantity.kind, support)


def _has_token(fact: str, literal: str) -> bool:
    if not literal.isascii():
        return literal in fact
    return re.search(rf"(?<![a-z0-9]){re.escape(literal)}(?![a-z0-9])", fact.replace("-", "")) is not None


def _same(claim: Quantity, fact: Quantity) -> bool:
    """Whether a fact says what the claim says: the same value in the same dimension."""
    if claim.literal or fact.literal:
        return claim.literal == fact.literal and claim.literal != ""
    converted = claim.unit.factor != fact.unit.factor and not claim.unit.dimension.startswith("currency")
    if abs(claim.value - fact.value) > (_TOLERANCE * abs(fact.value) if converted else 0):
        return False
    mine, theirs = claim.unit.dimension, fact.unit.dimension
    if mine == theirs:
        return True
    counts = {mine.partition(":")[0], theirs.partition(":")[0]} <= {"count", ""}
    return counts and (mine in ("count", "") or theirs in ("count", "", "count:pack"))


def _day_claim(text: str, day: Day, facts: _Facts) -> Claim:
    support = next((field for field, fact in facts.days if day.within(fact)), None)
    return Claim((day.start, day.end), text[day.start : day.end], "date", support)


def _term_claims(text: str, plain: str, group: _Group, facts: _Facts) -> list[Claim]:
    claims = []
    for match in group.pattern.finditer(plain):
        support = _term_support(match[0], group, facts)
        claims.append(Claim(match.span(), text[match.start() : match.end()], group.kind, support))
    return claims


def _term_support(term: str, group: _Group, facts: _Facts) -> str | None:
    if group.id == "free" and facts.free is not None:
        return facts.free
    wanted = _squeezed(term)
    for field, fact in facts.texts:
        if wanted in _squeezed(fact) if group.each else group.pattern.search(fact):
            return field
    return "end" if group.id == "limited-time" and facts.ends and "限时" in term else None


def _squeezed(text: str) -> str:
    return re.sub(r"[\s\-]", "", text).lower()


def _name_claims(text: str, plain: str, facts: _Facts, known: list[Claim]) -> list[Claim]:
    """Names in Latin letters within Chinese text: a brand or technology that the ad must know of."""
    if sum("\u4e00" <= char <= "\u9fff" for char in plain) < 2:
        return []
    everything = " ".join(fact for _, fact in facts.texts).lower()
    claims = []
    for match in _LATIN_NAME.finditer(plain):
        word = match[0].lower()
        if word in _COMMON_LATIN or any(match.start() < c.span[1] and c.span[0] < match.end() for c in known):
            continue
        if not _has_token(everything, word.replace("-", "")):
            claims.append(Claim(match.span(), text[match.start() : match.end()], "name", None))
    return claims
