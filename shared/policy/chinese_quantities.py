"""Which of an ad's quantities bears out one of a Chinese copy, as it stands, compared by value, or worked out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from shared.policy.counting import Keys
from shared.policy.derived import Fact, bears, converted, equals
from shared.policy.numerals import Quantity
from shared.policy.polarity import keeps
from shared.policy.units import BARE, Unit

_MANY = re.compile(r"(?P<n>[两二三四五六]|(?<!\d)[2-6])\s?[箱瓶盒件包袋个只双支块条张份套罐人节次][^。！？]{0,10}$")
_TIMES = {"两": 2, "二": 2, "三": 3, "四": 4, "五": 5, "六": 6}
_EVERY_OTHER = re.compile(r"隔[天日]")
_KINDS_OF = re.compile(r"[色款种味样选]")
_RATE = re.compile(r"(?:[一每][天周日月年晚季]|[一每](?:个?星期|个?礼拜|个月))\s?$")
_PRICED = re.compile(
    r"(?:[一每][节堂次件个份年月天周期袋瓶包盒课杯斤人位晚](?:课)?|平均|到手|算下来|折下来|摊到每[年天月]|只要|才"
    r"|仅|花|省下?|贵|多收|多付|加收|便宜|少花|多花|立减|退|不到|还不到|不足|学费|票价|价|也就)[^，。！？；]{0,4}$"
)
_PRICED_AFTER = re.compile(r"就能|就够|就行|拿下|带走|到手|搞定|[，。]?买一")
_SPOKEN = re.compile(r"^[一二两三四五六七八九]百[一二三四五六七八九](?:十[一二三四五六七八九]?)?$|^\d")
_DAYS = re.compile(r"^(?:夜晚|白天|日夜|昼夜|晚上|通宵|日子)")
_WEEKS = re.compile(r"^(?:周末|星期[一二三四五六日天]|周[一二三四五六日]|礼拜[一二三四五六日天])")
_DAY, _WEEK = Decimal(86400), Decimal(7 * 86400)


@dataclass(frozen=True, slots=True)
class Stated:
    """What an ad says in numbers. allowed: the values that it gives for what the claim counts; None: it gives none."""

    quantities: tuple[Fact, ...]
    derived: tuple[Fact, ...]
    lists: tuple[tuple[Decimal, str, Keys], ...]
    spans: tuple[tuple[Fact, Fact], ...]
    allowed: set[Decimal] | None
    named: Keys


def chinese_support(plain: str, quantity: Quantity, limit: str, facts: Stated) -> str | None:
    """The field that says the quantity of a Chinese copy, bounded by `limit` or more tightly; None where none does."""
    for value, field, of in facts.lists:
        is_kind = not facts.named and _KINDS_OF.search(plain[quantity.start : quantity.end + 1])
        if value == quantity.value and (is_kind or not facts.named.isdisjoint(of)):
            return field
    for one in _readings(plain, quantity):
        price = one.unit.dimension.startswith("currency")
        counts = one.unit.dimension.partition(":")[0] in ("", "count")
        rated = one is not quantity
        for field, fact, told in facts.quantities:
            if counts and not rated and facts.allowed is not None and fact.value not in facts.allowed:
                continue
            found = converted(one, fact)
            same = equals(one, fact) or (found is not None and not found[1] and found[0] == one.value)
            if (same and keeps(limit, told, price=price)) or bears(one, limit, fact, told):
                return field
        for (field, low, _), (_, high, _) in facts.spans:
            same = low.unit.dimension == one.unit.dimension
            if limit in ("", "approx") and same and low.value <= one.value <= high.value:
                return field
        for field, fact, told in facts.derived:
            if bears(one, limit, fact, told, rounded=True):
                return field
    return _shared(plain, quantity, limit, facts) or _face(plain, quantity, limit, facts)


def _readings(plain: str, quantity: Quantity) -> Iterator[Quantity]:
    """The quantity, and what else its words may measure: 一周两堂 counts anything, 五个夜晚 are days."""
    yield quantity
    dimension = quantity.unit.dimension
    after = plain[quantity.end : quantity.end + 4]
    if dimension.startswith("count") and _RATE.search(plain[max(0, quantity.start - 5) : quantity.start]):
        yield replace(quantity, unit=Unit("count"))
    if plain[quantity.start : quantity.end].endswith("块") and quantity.value < 20:  # of soap, or of money
        yield replace(quantity, unit=Unit("currency:CNY" if dimension.startswith("count") else "count:pack"))
    if dimension == "percent" and plain[quantity.start : quantity.end] == "一半":
        yield replace(quantity, value=Decimal("0.5"), unit=Unit("left"))
    if dimension in ("", "count"):
        if _DAYS.match(after):
            yield replace(quantity, value=quantity.value * _DAY, unit=Unit("time"), kind="duration")
        elif _WEEKS.match(after):
            yield replace(quantity, value=quantity.value * _WEEK, unit=Unit("time"), kind="duration")


def _shared(plain: str, quantity: Quantity, limit: str, facts: Stated) -> str | None:
    """The field of a price that is paid several times (两箱192元), or of a span that is spent every other day."""
    shared = []
    if quantity.unit == BARE and quantity.value >= 20:
        money = next((fact.unit for _, fact, _ in facts.quantities if fact.unit.dimension.startswith("currency")), None)
        if money is not None:
            quantity = replace(quantity, kind="price", unit=money)
    if quantity.kind == "price" and (many := _MANY.search(plain[max(0, quantity.start - 16) : quantity.start])):
        times = _TIMES.get(many["n"]) or int(many["n"])
        shared.append(replace(quantity, value=quantity.value / times))
    if quantity.kind == "duration" and _EVERY_OTHER.search(plain):
        shared.append(replace(quantity, value=quantity.value / 2))
    for one in shared:
        for field, fact, told in (*facts.quantities, *facts.derived):
            if bears(one, limit, fact, told, rounded=True):
                return field
            days = replace(fact, value=fact.value * _DAY, unit=Unit("time"))
            if one.kind == "duration" and fact.unit.dimension.startswith("count") and bears(one, limit, days, told):
                return field
    return None


def _face(plain: str, quantity: Quantity, limit: str, facts: Stated) -> str | None:
    """The field whose number a bare number is, the unit being understood: 一节课一百五, 九十七的显色."""
    if quantity.unit.dimension == "length" and quantity.value < 3:  # 一米五, of sizes 100 to 150
        for field, fact, told in facts.quantities:
            if fact.unit == BARE and bears(
                quantity, limit, replace(fact, value=fact.value / 100, unit=quantity.unit), told
            ):
                return field
    if quantity.unit != BARE or quantity.value < 10 or quantity.literal:
        return None
    priced = (
        _PRICED_AFTER.match(plain[quantity.end :]) is not None
        or _PRICED.search(plain[max(0, quantity.start - 14) : quantity.start]) is not None
    )
    for field, fact, told in facts.quantities:
        if fact.literal and re.sub(r"\D", "", fact.literal) == str(quantity.value):
            return field
        if fact.unit.dimension.startswith(("currency", "mass", "volume", "calories", "power")):
            value = fact.value if fact.unit.dimension.startswith("currency") else fact.value / fact.unit.factor
            if bears(replace(quantity, unit=fact.unit), limit, replace(fact, value=value), told):
                return field
    for field, fact, told in facts.derived if priced else ():
        if fact.unit.dimension.startswith("currency") and bears(
            replace(quantity, unit=fact.unit), limit, fact, told, rounded=True
        ):
            return field
    return None
