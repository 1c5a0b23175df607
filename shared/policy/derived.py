"""What follows from an ad's numbers by simple arithmetic: four bags of 2.5 kg are ten kilos.

``derive`` gives the quantities that an ad implies; ``bears`` compares a bounded claim with a fact by value (``under a
kilo`` of 780 g), across units that differ only by convention (30 days and a month, a litre and a kilo of water).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise, permutations

from shared.policy.numerals import Quantity
from shared.policy.units import Unit

Fact = tuple[str, Quantity, str]  # field, quantity, bound

_DAY, _WEEK = Decimal(86400), Decimal(7 * 86400)
_MONTH_DAYS = Decimal(365) / 12
_PIECES = 2000  # counts above it divide no price
_SIZED = frozenset({"mass", "volume", "time", "length", "calories", "energy"})
_WEEKDAYS = re.compile(
    r"(?:周|星期|礼拜)?([一二三四五六日天])(?=[、，,和与及/]|周|星期|$)|\b(mon|tues|wednes|thurs|fri|satur|sun)days?\b",
    re.I,
)
_WEEKLY = re.compile(
    r"每周|每星期|一周|周[一二三四五六日]|\bweekly\b|\b(?:a|per|every|each) week\b|\b(?:mon|tues|wednes|thurs|fri"
    r"|satur|sun)days?\b",
    re.I,
)
_MONTHLY, _WHICH = re.compile(r"每个?月"), re.compile(r"第?[一二三四末](?=[、和个,])")
_TWICE = re.compile(r"\btwice\b", re.I)
_DAILY = re.compile(r"每天|每日|每晚|一天|\bdaily\b|\bnightly\b|\b(?:a|per|every|each) (?:day|night)\b", re.I)
_PERIOD = re.compile(r"\s?(?:/|每|一个?)(周|月|季|年)")
_PERIODS = {"周": 7, "月": 30, "季": 90, "年": 365}
_YEARLY = re.compile(r"年费|年卡|包年|[/每一]年|\b(?:a|per) year\b|annual|yearly", re.I)
_NUMBERED = re.compile(r"\d|[一二两三四五六七八九十百]")
_LIST = re.compile(r"[、，,/；;]|(?<=[\u4e00-\u9fff])[和与及](?=[\u4e00-\u9fff])|\s(?:and|or)\s")
_TOLERANCE = Decimal("0.001")  # of converted units only: 7.6 inches are 19.3 cm
_BESIDE = 8  # characters between a size and how many of it there are: 每袋 7 克，共 20 袋
_LOOSE = Decimal("0.04")  # of a month against its days
_BOUNDS: dict[
    str, tuple[Decimal, Decimal, frozenset[str]]
] = {  # of the fact in the claim's value; told bounds that allow it
    "under": (Decimal("0.74"), Decimal("0.9999"), frozenset({"", "approx", "near", "max", "under"})),
    "max": (Decimal("0.9"), Decimal(1), frozenset({"", "approx", "near", "max", "under"})),
    "reach": (Decimal(1), Decimal(1), frozenset({"", "approx", "near", "max", "under"})),
    "some": (Decimal("0.9"), Decimal("1.4"), frozenset({"", "approx", "near", "max"})),
    "over": (Decimal("1.0001"), Decimal("1.6"), frozenset({"", "approx", "min", "over"})),
    "min": (Decimal(1), Decimal("1.1"), frozenset({"", "approx", "min", "over"})),
    "near": (Decimal("0.85"), Decimal(1), frozenset({"", "approx", "near"})),
    "approx": (Decimal("0.9"), Decimal("1.1"), frozenset({"", "approx", "near"})),
}


def derive(facts: Sequence[Fact], written: Iterable[tuple[str, str]]) -> tuple[Fact, ...]:
    """The quantities that an ad's own quantities imply, each with the field that its first part comes from."""
    counts = _distinct(facts, lambda quantity: _is_count(quantity) and 2 <= quantity.value <= _PIECES)
    sized = _distinct(facts, lambda quantity: quantity.unit.dimension in _SIZED and quantity.value > 0)
    months = _distinct(facts, lambda quantity: quantity.unit.dimension == "months" and quantity.value > 0)
    prices = _distinct(
        facts, lambda quantity: quantity.kind == "price" or quantity.unit.dimension.startswith("currency")
    )
    texts = dict(written)
    out: list[Fact] = []
    each: list[Fact] = []
    for field, price, told in prices:
        for _, count, _ in counts:
            each.append((field, _like(price, price.value / count.value), told))
        for _, size, _ in sized:
            if size.unit.dimension == "time" and size.value >= 2 * _DAY:
                each.append((field, _like(price, price.value / (size.value / _DAY)), told))
        for _, span, _ in months:
            each.append((field, _like(price, price.value / span.value), told))
            each.append((field, _like(price, price.value / (span.value * _MONTH_DAYS)), told))
            if span.value >= 24:
                each.append((field, _like(price, price.value / span.value * 12), told))
        period = _PERIOD.match(texts.get(field, "")[price.end :]) if price.end else None
        if period is not None:
            days = _PERIODS[period[1]]
            each += [
                (field, _like(price, price.value / days), told),
                (field, _like(price, price.value / days * 30), told),
            ]
        if _YEARLY.search(_beside(price, texts.get(field, ""))):
            each.append((field, _like(price, price.value / 12), told))
            each.append((field, _like(price, price.value / 365), told))
    out += each
    out += _price_pairs(prices, each, facts)
    lengths = list(_clock_spans(facts))
    for field, size, told in [*sized, *lengths]:
        for where, count, _ in counts:
            beside = field == where and _gap(size, count) <= _BESIDE
            if (size.unit.dimension not in ("time", "length") and beside) or (
                size.unit.dimension == "time" and _is_session(count)
            ):
                out.append((field, _like(size, size.value * count.value), told))
    for field, size, told in sized:
        for _, count, _ in counts:
            if size.unit.dimension in ("mass", "volume") and count.unit.dimension == "count:pack":
                out.append((field, _like(size, size.value / count.value), told))
    for _, span, _ in sized:
        if span.unit.dimension == "time" and span.value >= 2 * _WEEK and span.value % _WEEK == 0:
            out += [(field, _like(length, length.value * span.value / _WEEK), told) for field, length, told in lengths]
    out += _over_days(sized, counts, texts)
    out += _paces(counts, texts)
    out += _courses(sized, counts, texts)
    for (field, one, told), (where, other, _) in pairwise(counts):
        if field == where and one.unit == other.unit and one.unit.dimension == "count:pack":
            out.append((field, _like(one, one.value + other.value), told))
    out += lengths
    for field, text in texts.items():
        if (month := _MONTHLY.search(text)) is not None:
            times = len(_WHICH.findall(text[month.end() : month.end() + 14]))
            out.append((field, Quantity(0, 0, "number", Decimal(max(times, 1)), Unit("count")), ""))
    return tuple(out)


def _beside(quantity: Quantity, text: str) -> str:
    return text[max(0, quantity.start - 9) : quantity.end + 8]


def _distinct(facts: Iterable[Fact], wanted: Callable[[Quantity], bool]) -> list[Fact]:
    seen: set[tuple[Decimal, str]] = set()
    out: list[Fact] = []
    for fact in facts:
        quantity = fact[1]
        key = (quantity.value, quantity.unit.dimension)
        if not quantity.literal and key not in seen and wanted(quantity):
            seen.add(key)
            out.append(fact)
    return out[:12]


def _is_count(quantity: Quantity) -> bool:
    return quantity.unit.dimension.partition(":")[0] in ("", "count") and quantity.value == int(quantity.value)


def _gap(one: Quantity, other: Quantity) -> int:
    """Characters between two quantities of one text."""
    return max(one.start, other.start) - min(one.end, other.end)


def _is_session(quantity: Quantity) -> bool:
    return quantity.unit.dimension in ("count:lesson", "count:episode") or (
        quantity.unit.dimension == "count" and quantity.value >= 5
    )


def _like(quantity: Quantity, value: Decimal) -> Quantity:
    return Quantity(0, 0, quantity.kind, value, quantity.unit)


def _price_pairs(prices: Sequence[Fact], each: Sequence[Fact], facts: Sequence[Fact]) -> Iterator[Fact]:
    """What is saved, the part that is left to pay, and prices at a discount that the ad names."""
    own = [price for _, price, _ in prices]
    lefts = [fact for fact in facts if fact[1].unit.dimension == "left"]
    for field, price, told in prices:
        for _, left, _ in lefts:
            yield field, _like(price, price.value * left.value), told
            yield field, _like(price, price.value * (1 + left.value)), told  # the second one at half price
    for (field, one, _), (_, other, _) in permutations([*prices, *each][:24], 2):
        if one.unit == other.unit and one.value > other.value > 0:
            yield field, _like(one, one.value - other.value), ""
            if one.value < 10 * other.value and one in own and other in own:
                yield field, Quantity(0, 0, "discount", round(other.value / one.value, 2), Unit("left")), ""


def _over_days(sized: Sequence[Fact], counts: Sequence[Fact], texts: Mapping[str, str]) -> Iterator[Fact]:
    """So many pages, or minutes, a day over so many days; a bottle a day."""
    days = [fact for fact in sized if fact[1].unit.dimension == "time" and fact[1].value >= _DAY]
    rated = [fact for fact in (*counts, *sized) if fact[1].unit.dimension != "time" or fact[1].value < _DAY]
    for field, part, told in rated:
        beside = _beside(part, texts.get(field, ""))
        daily, weekly = _DAILY.search(beside) is not None, _WEEKLY.search(beside) is not None
        for _, span, _ in days:
            if daily:
                yield field, _like(part, part.value * span.value / _DAY), told
            if weekly and span.value >= _WEEK:
                yield field, _like(part, part.value * span.value / _WEEK), told
    for field, count, told in counts:
        if count.unit.dimension == "count:pack" and count.value >= 5:
            yield field, Quantity(0, 0, "duration", count.value * _DAY, Unit("time")), told


def _rates(counts: Sequence[Fact], texts: Mapping[str, str], pattern: re.Pattern[str]) -> set[Decimal]:
    """How often a week, or a day, something takes place."""
    found = {
        count.value
        for field, count, _ in counts
        if count.value <= 7 and pattern.search(_beside(count, texts.get(field, "")))
    }
    if _TWICE.search("\n".join(texts.values())):
        found.add(Decimal(2))
    return found


def _paces(counts: Sequence[Fact], texts: Mapping[str, str]) -> Iterator[Fact]:
    """24 lessons, two a week: twelve weeks, three months; once a week: some fifty a year."""
    whole = "\n".join(texts.values())
    weekly = _WEEKLY.search(whole) is not None
    if not weekly and not _DAILY.search(whole):
        return
    days = [len({match[1] or match[2].lower() for match in _WEEKDAYS.finditer(text)}) for text in texts.values()]
    week = max(days, default=0) if weekly else 0
    if week:
        yield "description", Quantity(0, 0, "number", Decimal(week), Unit("count")), ""
    span = _WEEK if weekly else _DAY
    if _TWICE.search(whole):
        yield "description", Quantity(0, 0, "number", Decimal(2), Unit("count")), ""
    rates = _rates(counts, texts, _WEEKLY if weekly else _DAILY) | {Decimal(max(week, 1))}
    for field, count, told in counts:
        for rate in rates:
            if count.value > rate and count.value % rate == 0:
                spans = count.value / rate
                yield field, Quantity(0, 0, "duration", spans * span, Unit("time")), told
                if weekly and spans % 4 == 0:
                    yield field, Quantity(0, 0, "duration", spans / 4, Unit("months")), told
    if weekly and not _MONTHLY.search(whole):
        for rate in rates:
            yield "description", Quantity(0, 0, "number", rate * 52, Unit("count")), "approx"


def _courses(sized: Sequence[Fact], counts: Sequence[Fact], texts: Mapping[str, str]) -> Iterator[Fact]:
    """Six weeks, twice a week: twelve."""
    rates = _rates(counts, texts, _WEEKLY)
    for field, span, told in sized:
        if span.unit.dimension == "time" and span.value >= 2 * _WEEK and span.value % _WEEK == 0:
            for rate in rates:
                yield field, Quantity(0, 0, "number", span.value / _WEEK * rate, Unit("count")), told


def _clock_spans(facts: Sequence[Fact]) -> Iterator[Fact]:
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
    """The fact's value in the claim's dimension, and whether the two agree by convention only; None where they do not."""
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
    if mine == "mass" and theirs == "volume":  # of water
        return fact.value * 1000, True
    if mine == "volume" and theirs == "mass":
        return fact.value / 1000, True
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
