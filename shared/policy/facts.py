"""An ad as evidence: its texts, quantities with their bounds, dates and words, prepared once for all of its copies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise

from shared.domain import Ad
from shared.policy.attributes import costing, currency_of, is_amount, is_price, number_of
from shared.policy.characters import fold
from shared.policy.chinese_implied import imply
from shared.policy.chinese_numbers import Implied
from shared.policy.chinese_quantities import Stated, chinese_support
from shared.policy.counting import Keys, counted, keys
from shared.policy.dates import Day, find_dates
from shared.policy.derived import Fact, equals, has_token, listed
from shared.policy.english_figures import Figure, figures
from shared.policy.evidence import Evidence
from shared.policy.legible import readable
from shared.policy.numerals import Quantity, find_quantities
from shared.policy.polarity import bound, keeps
from shared.policy.units import BARE, Unit, key_unit, match_unit
from shared.policy.vocabulary import vocabulary
from shared.policy.words import gather

AUDIENCE = "audience"
_CHINA = timezone(timedelta(hours=8))
_REACHED = re.compile(r"(?:可达|长达|高达|多达|可至)\s?$")  # said of what is reached, not of a bound
_HAN = re.compile(r"[\u3400-\u9fff]")
_TO = frozenset({"-", "~", "–", "—", "至", "到", "to", "～"})
_DOMAIN = {
    "ecommerce": "",
    "social": "内容 社区 content community",
    "education": "课程 学习 课 course lesson class learn study",
    "health": "健康 health",
}

_FIELDS = {"education": ("work", "arts"), "social": ("tech", "arts"), "health": ("body",)}  # of scenes, claims there


@dataclass(frozen=True, slots=True)
class Facts:
    """(field, folded text), quantities with their bounds and dates by field, and the words as evidence."""

    texts: tuple[tuple[str, str], ...]
    quantities: tuple[tuple[str, Quantity, str], ...]
    days: tuple[tuple[str, Day], ...]
    words: Evidence
    counts: tuple[tuple[Decimal, Keys], ...]
    implied: Implied
    lists: tuple[tuple[Decimal, str, Keys], ...]  # how many things a field lists, the field, what they are
    figures: tuple[Figure, ...]
    spans: tuple[tuple[Fact, Fact], ...]  # from which to which quantity: ages, grades, temperatures
    free: str | None
    ends: bool
    beside: Mapping[str, tuple[str, Keys]]  # amounts that are not the ad's price: what they are paid for


def prepare(ad: Ad, audience: Sequence[str] = ()) -> Facts:
    """The ad's facts; those of the last ads asked for are kept."""
    attributes = tuple(sorted(ad.attributes.items()))
    return _prepare(
        (("title", ad.title), ("description", ad.description), ("brand", ad.brand or "")),
        attributes, ad.language, ad.domain, ad.start, ad.end, tuple(audience),
    )  # fmt: skip


@lru_cache(maxsize=512)
def _prepare(
    texts: tuple[tuple[str, str], ...],
    attributes: tuple[tuple[str, str | float], ...],
    language: str,
    domain: str,
    start: float | None,
    end: float | None,
    audience: tuple[str, ...],
) -> Facts:
    named = dict(attributes)
    written = list(texts)
    quantities: list[tuple[str, Quantity, str]] = []
    numbers: list[tuple[str, Quantity]] = []
    free = None
    beside: dict[str, tuple[str, Keys]] = {}
    for key, value in attributes:
        field = f"attributes.{key}"
        amount = is_amount(key)
        number = number_of(value)
        if number is None:
            written.append((field, f"{key} {value}"))
            continue
        written.append((field, key))
        if not amount:
            unit = key_unit(key)
        else:
            unit = _currency(currency_of(key, named), language)
            if not is_price(key):
                beside[field] = costing(key), keys(costing(key), vocabulary())
            elif number == 0:
                free = field
        numbers.append((field, _as_quantity(number, unit or BARE)))
    folded = tuple(readable((field, fold(text)) for field, text in written if text))
    for field, text in folded:
        hint = key_unit(field.removeprefix("attributes.")) if field.startswith("attributes.") else None
        for quantity in find_quantities(text, every=True):
            limit = bound(text, quantity.start, quantity.end)
            if limit == "max" and _REACHED.search(text[max(0, quantity.start - 8) : quantity.start]):
                limit = ""
            quantities.append((field, quantity, limit))
            if hint is not None and quantity.unit == BARE:
                quantities.append((field, _as_quantity(quantity.value, hint), limit))
    stated: list[tuple[str, Quantity, str]] = []
    # A number of an attribute is bounded where the text bounds the same number: 99 元起 with price=99.
    for field, quantity in numbers:
        told = [limit for _, fact, limit in quantities if fact.value == quantity.value and equals(quantity, fact)]
        stated.append((field, quantity, told[0] if told and all(told) else ""))
    known_words = vocabulary()
    counts = [
        (quantity.value, counted(text, quantity, known_words))
        for field, text in folded
        for quantity in find_quantities(text)
        if _counts(quantity)
    ]
    counts += [
        (
            quantity.value,
            keys(field.removeprefix("attributes."), known_words) | {quantity.unit.dimension} - {"", "count"},
        )
        for field, quantity in numbers
        if _counts(quantity)
    ]
    days = [(field, day) for field, text in folded for day in find_dates(text)]
    for field, moment in (("start", start), ("end", end)):
        if moment is not None:
            for zone in (UTC, _CHINA):
                at = datetime.fromtimestamp(moment, zone)
                days.append((field, Day(0, 0, at.year, at.month, at.day)))
    known = [(field, _spaced(field, text)) for field, text in folded]
    known += [(AUDIENCE, fold(name)) for name in audience]
    known.append(("domain", _DOMAIN.get(domain, "")))
    evidence = gather(known, vocabulary())
    evidence.fields.update(_FIELDS.get(domain, ()))
    # What is paid for something beside the ad comes last: where its text has the same amount, that is the evidence.
    found = tuple(sorted(stated + quantities, key=lambda fact: fact[0] in beside))
    lists = [
        (Decimal(size), field, keys(field.removeprefix("attributes."), known_words))
        for field, text in folded
        if field.startswith("attributes.") and (size := listed(text.partition(" ")[2]))
    ]
    return Facts(
        folded, found, tuple(days), evidence, tuple(counts), imply(found, folded), tuple(lists),
        figures(folded, found, known_words), tuple(_spans(found, folded)),
        free, end is not None, beside,
    )  # fmt: skip


def _spans(facts: Sequence[Fact], folded: Sequence[tuple[str, str]]) -> Iterator[tuple[Fact, Fact]]:
    texts = dict(folded)
    for one, other in pairwise(facts):
        if one[0] == other[0] and one[1].unit.dimension == other[1].unit.dimension and one[1].end:
            between = texts.get(one[0], "")[one[1].end : other[1].start].strip()
            if between in _TO and one[1].value < other[1].value:
                yield one, other


def _spaced(field: str, text: str) -> str:
    return text.replace("_", " ") if field.startswith("attributes.") else text


def _as_quantity(value: Decimal, unit: Unit) -> Quantity:
    if unit.dimension == "left":
        return Quantity(0, 0, "discount", value / (10 if value < 10 else 100), unit)
    return Quantity(0, 0, "attribute", value * unit.factor, unit)


def _currency(name: str, language: str) -> Unit:
    named = match_unit(name.upper())
    if named is not None and named[0].dimension.startswith("currency"):
        return named[0]
    return Unit("currency:CNY" if language == "zh" else "currency:USD")


def _counts(quantity: Quantity) -> bool:
    return not quantity.literal and quantity.unit.dimension.partition(":")[0] in ("", "count")


def quantity_support(plain: str, quantity: Quantity, limit: str, facts: Facts) -> str | None:
    """The field that says the quantity of a copy, bounded by `limit` or more tightly."""
    allowed: set[Decimal] | None = None
    named: Keys = frozenset()
    if _counts(quantity):
        named = counted(plain, quantity, vocabulary())
        allowed = {value for value, of in facts.counts if not named.isdisjoint(of)} or None
    if _HAN.search(plain):
        stated = Stated(facts.quantities, facts.implied, facts.lists, facts.spans, allowed, named, facts.texts)
        support = chinese_support(plain, quantity, limit, stated)
    else:
        if allowed is not None and quantity.value not in allowed:
            return None
        price = quantity.unit.dimension.startswith("currency")
        support = next(
            (
                field
                for field, fact, told in facts.quantities
                if equals(quantity, fact) and keeps(limit, told, price=price)
            ),
            None,
        )
    if support is None and quantity.literal:
        literal = quantity.literal.lower()
        return next((field for field, text in facts.texts if has_token(text.lower(), literal)), None)
    if support is not None and support in facts.beside and not _paid_for(plain, *facts.beside[support]):
        return None
    return support


def _paid_for(plain: str, what: str, named: Keys) -> bool:
    """Whether a copy names what an amount is paid for that is not the ad's price."""
    return bool(what) and (what in plain.lower() or not named.isdisjoint(keys(plain, vocabulary())))


def rated_support(plain: str, quantity: Quantity, limit: str, facts: Facts) -> str | None:
    """The field from which a price of a Chinese copy follows as what is paid a time; None where the ad has it so."""
    if any(equals(quantity, fact) for _, fact, _ in facts.quantities):
        return None
    return quantity_support(plain, quantity, limit, facts)


def day_support(day: Day, facts: Facts) -> str | None:
    """The field that says the date."""
    told = next((field for field, fact in facts.days if day.within(fact)), None)
    return told or next((field for field, text in facts.texts if _named_in(day, text)), None)


def _named_in(day: Day, text: str) -> bool:
    """Whether an English text names every part of a date, apart from each other: Saturdays in July, on the 11th."""
    parts = []
    if day.month is not None:
        parts.append(rf"\b(?:{_ENGLISH_MONTHS[day.month - 1]})\b")
    if day.day is not None:
        parts.append(
            rf"\b{day.day}(?:st|nd|rd|th)\b"
            if day.month is None
            else rf"(?<![\d.:]){day.day}(?:st|nd|rd|th)?\b(?![:.\d])"
        )
    if day.year is not None:
        parts.append(rf"\b{day.year}\b")
    return bool(parts) and all(re.search(part, text) for part in parts)


_ENGLISH_MONTHS = (
    "January|Jan", "February|Feb", "March|Mar", "April|Apr", "May", "June|Jun", "July|Jul", "August|Aug",
    "September|Sept?", "October|Oct", "November|Nov", "December|Dec",
)  # fmt: skip
