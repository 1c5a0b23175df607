"""Which of an ad's quantities bears out one of a Chinese copy, as it stands, compared by value, or worked out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise

from shared.policy.chinese_arithmetic import follows
from shared.policy.chinese_numbers import ANY, THING, Implied, compatible, number_of, rivalled
from shared.policy.counting import Keys
from shared.policy.derived import Fact, bears, converted, equals
from shared.policy.numerals import Quantity, find_quantities, read_chinese
from shared.policy.polarity import keeps
from shared.policy.units import BARE, Unit

_MANY = re.compile(r"(?P<n>[两二三四五六]|(?<!\d)[2-6])\s?[箱瓶盒件包袋个只双支块条张份套罐人节次][^。！？]{0,10}$")
_TIMES = {"两": 2, "二": 2, "三": 3, "四": 4, "五": 5, "六": 6}
_EVERY_OTHER = re.compile(r"隔[天日一]")
_KINDS_OF = re.compile(r"[色款种味样选]")
_RATE = re.compile(r"(?:[一每][天周日月年晚季]|[一每](?:个?星期|个?礼拜|个月))\s?$")
_PRICED = re.compile(
    r"(?:[一每][节堂次件个份年月天周期袋瓶包盒课杯斤人位晚](?:课)?|平均|到手|算下来|折下来|摊到每[年天月]|只要|才"
    r"|仅|花|省下?|贵|多收|多付|加收|便宜|少花|多花|立减|退|不到|还不到|不足|学费|票价|价|也就)[^，。！？；]{0,4}$"
)
_PRICED_AFTER = re.compile(r"就能|就够|就行|拿下|带走|到手|搞定|[，。]?买一")
_MEASURED = re.compile(
    r"\s?[个只条件张本支瓶盒包袋片粒颗节课次位人名天日年月周岁场道篇页字款种样类项组套份双对台部把根层级集期章分秒米克斤升里度折成倍%]"
)
_THINGS = re.compile(r"[道颗盏座面处幅株棵所间辆栋顿趟幕轮场项门首]")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
_ENDS = re.compile(
    r"\s?(?:[，。！？、；…]|$|起|就|管|带|能|够|换|入|住|玩|学|到手|拿|买|一[节次晚天月年斤包盒瓶]|左右|出头|不到|多|整|全|包)"
)
_DAYS = re.compile(r"^(?:夜晚|白天|日夜|昼夜|晚上|通宵|日子)")
_WEEKS = re.compile(r"^(?:周末|星期[一二三四五六日天]|周[一二三四五六日]|礼拜[一二三四五六日天])")
_BREAK = re.compile(r"[，。！？；：,!?;:\n]")
_AND = re.compile(r"[、和与及加跟]|还有")
_OPEN_AT = re.compile(r"也|都|还|来|能|可|开着|照样|到|随|想|走|约|去|过")
_STARTS = re.compile(r"开(?!着|门)|始|集合|截止|关|结束|打烊|停|播|上课|发")
_DAY, _WEEK = Decimal(86400), Decimal(7 * 86400)


@dataclass(frozen=True, slots=True)
class Stated:
    """What an ad says in numbers. allowed: the values that it gives for what the claim counts; None: it gives none."""

    quantities: tuple[Fact, ...]
    implied: Implied
    lists: tuple[tuple[Decimal, str, Keys], ...]
    spans: tuple[tuple[Fact, Fact], ...]
    allowed: set[Decimal] | None
    named: Keys
    texts: tuple[tuple[str, str], ...] = ()


def chinese_support(plain: str, quantity: Quantity, limit: str, facts: Stated) -> str | None:
    """The field that says the quantity of a Chinese copy, bounded by `limit` or more tightly; None where none does."""
    if (field := _of_so_many(plain, quantity, facts)) is not None:
        return field
    if (field := _as_often(plain, quantity, facts)) is not None:
        return field
    if quantity.unit.dimension == "ordinal" and quantity.value <= len(_ORDINALS):
        word = _ORDINALS[int(quantity.value) - 1]
        if (
            field := next((field for field, text in facts.texts if re.search(rf"\b{word}\b", text, re.I)), None)
        ) is not None:
            return field
    if (field := _counted_here(plain, quantity, facts) or _clock(plain, quantity, facts)) is not None:
        return field
    for value, field, of in facts.lists:
        is_kind = not facts.named and _KINDS_OF.search(plain[quantity.start : quantity.end + 1])
        if value == quantity.value and (is_kind or not facts.named.isdisjoint(of)):
            return field
    mine = number_of(plain, quantity)
    if limit in _TURNED and _said_otherwise(quantity, limit, facts):
        return None
    apart = mine is None or mine.key not in facts.implied.keys
    money = {fact.unit for _, fact, _ in facts.quantities if fact.unit.dimension.startswith("currency")}
    foreign = next(iter(money)) if len({unit.dimension for unit in money}) == 1 else None
    foreign = None if foreign is None or foreign.dimension == "currency:CNY" else foreign
    vague = mine is None or mine.key in (ANY, THING) or mine.key not in facts.implied.keys
    for one in _readings(plain, quantity, apart=apart, foreign=foreign):
        price = one.unit.dimension.startswith("currency")
        counts = one.unit.dimension.partition(":")[0] in ("", "count")
        rated = one is not quantity
        for number, (field, fact, told) in zip(facts.implied.every, facts.quantities, strict=True):
            if counts and not rated and vague and facts.allowed is not None and fact.value not in facts.allowed:
                continue
            if not rated and not compatible(mine, number, facts.implied):
                continue
            found = converted(one, fact)
            if one.unit.dimension == "clock" and fact.value != one.value and plain[one.start] in "早上凌清":
                continue
            rounded = one
            if price and one.value >= 100 and one.value == int(one.value) == int(fact.value) and one.unit == fact.unit:
                rounded = replace(one, value=fact.value)  # 八百零九块, of 809.1
            same = equals(rounded, fact) or (found is not None and not found[1] and found[0] == one.value)
            beyond = (
                same
                and limit == "over"
                and told in ("max", "under")
                and _BEYOND.search(dict(facts.texts).get(field, ""))
            )
            if (same and keeps(limit, told, price=price)) or beyond or bears(one, limit, fact, told):
                return field
        for (field, low, _), (_, high, _) in () if rivalled(mine, facts.implied) else facts.spans:
            same = low.unit.dimension == one.unit.dimension
            if limit in ("", "approx") and same and low.value <= one.value <= high.value:
                return field
        if (field := follows(plain, one, limit, facts.implied)) is not None:
            return field
        if limit in ("", "some", "approx") and (field := _of_water(one, limit, facts)) is not None:
            return field
    return _shared(plain, quantity, limit, facts) or _face(plain, quantity, limit, facts)


_TURNED = {
    "min": frozenset({"max", "under", "reach"}), "over": frozenset({"max", "under", "reach"}),
    "max": frozenset({"min", "over", "lowest"}), "under": frozenset({"min", "over", "lowest"}),
}  # fmt: skip


def _said_otherwise(quantity: Quantity, limit: str, facts: Stated) -> bool:
    """Whether the ad bounds the same number on the other side: 最多 8 人 of the ad, 至少八个人 of the copy."""
    told = [bounds for _, fact, bounds in facts.quantities if equals(quantity, fact)]
    beyond = limit == "over" and any(_BEYOND.search(text) for _, text in facts.texts)
    return bool(told) and all(bounds in _TURNED[limit] for bounds in told) and not beyond


def _as_often(plain: str, quantity: Quantity, facts: Stated) -> str | None:
    """The field of what is done once in a period: 一个月晒一回, of 每月 1 次."""
    once = _ONCE.match(plain[quantity.end :])
    if plain[: quantity.start].endswith("隔") and plain[quantity.start : quantity.end] == "一周":
        return next((field for field, text in facts.texts if re.search(r"每?[两二2]\s?周一?|隔周|双周", text)), None)
    if plain[quantity.start : quantity.end] in ("一半", "减半"):
        return next((field for field, text in facts.texts if re.search(r"减半|各半|一半|对半|半量", text)), None)
    if once is not None and plain[quantity.start : quantity.end] == "半个月":
        return next(
            (field for field, text in facts.texts if re.search(r"每?[两二2]\s?周|隔周|双周|15\s?天", text)), None
        )
    if _ONE_UNIT.search(plain[quantity.start : quantity.end]):
        near = _PRICE_NEAR.search(plain[max(0, quantity.start - 8) : quantity.start]) or _PRICE_AFTER.match(
            plain[quantity.end :]
        )
        if near or re.search(
            r"\d|[一二三四五六七八九十百][公里米度转克]{0,2}$", plain[max(0, quantity.start - 3) : quantity.start]
        ):
            money = next(
                (field for field, fact, _ in facts.quantities if fact.unit.dimension.startswith("currency")), None
            )
            said = next(
                (field for field, text in facts.texts if re.search(rf"[每/一]\s?{plain[quantity.end - 1]}", text)), None
            )
            return said or money
    if quantity.value in (1, _DAY, _WEEK, 12) and _ONE_PERIOD.search(plain[quantity.start : quantity.end]):
        period = plain[quantity.end - 1]
        if _NUMBERED.search(plain[quantity.end : quantity.end + 10]):
            each = re.compile(rf"每个?{period}|/\s?{period}")
            return next((field for field, text in facts.texts if each.search(text)), None)
    if once is None or quantity.unit.dimension not in ("time", "months"):
        return None
    period = plain[quantity.end - 1]
    often = re.compile(
        rf"每个?{period}[^，。；]{{0,4}}(?:[1一]\s?[次回遍]|$)|[1一]\s?[次回]/{period}|{period}[一1]\s?次"
    )
    return next((field for field, text in facts.texts if often.search(text)), None)


_ONE_UNIT = re.compile(r"^一(?:百毫升|百克|公?斤|两|升|毫升|克|米|里|公里|个?小时|个?钟头|分钟|立方|平方?米?)$")
_PRICE_NEAR = re.compile(r"[元块钱镑角]\s?$")
_PRICE_AFTER = re.compile(
    r"\s?(?:只要|不到|才|就|仅|也就|卖|要)?\s?[\d一二两三四五六七八九十百]+\s?(?:[元块镑]|[，。！？]|$|[百千])|(?:不到|才|只要)"
)
_ONE_PERIOD = re.compile(r"^一个?(?:天|周|月|年)$")
_NUMBERED = re.compile(r"^[^，。；！？]{0,6}?[\d一二两三四五六七八九十]")


def _listed_of(quantity: Quantity, facts: Stated) -> str | None:
    """The field whose text lists as many things, where the ad states no number of them."""
    if not facts.implied.keys.isdisjoint({"色", "颜色", "种", "款"}) or quantity.value < 2:
        return None
    for field, text in facts.texts:
        for run in _RUN.findall(text):
            if len(_AND.split(run)) == quantity.value:
                return field
    return None


_RUN = re.compile(
    r"(?:[\u4e00-\u9fffA-Za-z]{1,8}[、])+[\u4e00-\u9fffA-Za-z]{1,8}(?:[和与及或][\u4e00-\u9fffA-Za-z]{1,6})?"
)
_BEYOND = re.compile(r"超出|超过|超时|逾")
_ONCE = re.compile(r"[^，。；]{0,3}一[次回遍]")


def _of_so_many(plain: str, quantity: Quantity, facts: Stated) -> str | None:
    """The field of a part that the copy says of so many: 十件里有七件, of 71 %."""
    for match in _OUT_OF.finditer(plain):
        if not match.start() <= quantity.start < match.end():
            continue
        whole, part = read_chinese(match["whole"]), read_chinese(match["part"])
        if not whole or part is None or part >= whole:
            continue
        share = part / whole * 100 if "成" not in match[0] else part * 10
        for field, fact, _ in facts.quantities:
            if fact.unit.dimension == "percent" and 0 <= fact.value - share < (10 if match["more"] else 1):
                return field
    return None


_OUT_OF = re.compile(
    r"(?P<whole>[一二两三四五六七八九十百]+)[\u4e00-\u9fff]{0,2}?(?:里头?|当中|中)(?:有"
    r"|就有)?(?P<part>[一二两三四五六七八九十百]+)(?P<m>[\u4e00-\u9fff]|成)(?P<more>多)?"
)


def _counted_here(plain: str, quantity: Quantity, facts: Stated) -> str | None:
    """The field of the first of the things that the copy itself has just listed: 洗、抛、查三样."""
    if not quantity.unit.dimension.startswith("count") and quantity.unit != BARE:
        return None
    before = _BREAK.split(plain[: quantity.start])[-1]
    if (
        _KINDS_OF.search(plain[quantity.start : quantity.end + 1])
        and (field := _listed_of(quantity, facts)) is not None
    ):
        return field
    if (
        "、" not in before
        and "、" in plain[: quantity.start]
        and _KINDS_OF.search(plain[quantity.start : quantity.end + 1])
    ):
        before = next(part for part in reversed(_BREAK.split(plain[: quantity.start])) if "、" in part)
    things = [thing for thing in _AND.split(before) if thing]
    if len(things) < 2 or len(things) != quantity.value or before.endswith(("等", "等等")):
        return None
    first = things[0][-2:]
    foreign = not any("\u4e00" <= char <= "\u9fff" for _, text in facts.texts for char in text)
    return next((field for field, text in facts.texts if foreign or any(char in text for char in first)), None)


def _clock(plain: str, quantity: Quantity, facts: Stated) -> str | None:
    """The field of an hour within those that the ad is open at, or so long before another as the ad says."""
    if quantity.unit.dimension != "clock":
        return None
    hours = {quantity.value} | ({quantity.value + 720} if quantity.value < 720 else set())
    if quantity.value == 0:
        return next(
            (field for field, fact, _ in facts.quantities if fact.unit.dimension == "clock" and fact.value == 1440),
            None,
        )
    after, before = plain[quantity.end : quantity.end + 6], plain[max(0, quantity.start - 6) : quantity.start]
    told = [(field, fact) for field, fact, _ in facts.quantities if fact.unit.dimension == "clock"]
    if _OPEN_AT.match(after) and not _STARTS.search(before + "|" + after):
        for (field, low), (_, high) in pairwise(told):
            if any(low.value <= hour <= high.value for hour in hours) and high.value - low.value >= 180:
                return field
    spans = [fact for _, fact, _ in facts.quantities if fact.unit.dimension == "time" and fact.value < _DAY]
    if any("提前" in text for _, text in facts.texts):
        for field, fact in told:
            if any(fact.value - span.value / 60 in hours for span in spans):
                return field
    for other in find_quantities(plain):  # 七点装的饭，一点打开, of six hours
        if other.unit.dimension == "clock" and other.start != quantity.start:
            gap = abs(other.value - quantity.value) * 60
            if any(span.value in (gap, 43200 - gap) for span in spans):
                return next(field for field, fact, _ in facts.quantities if fact.unit.dimension == "time")
    return None


def _of_water(quantity: Quantity, limit: str, facts: Stated) -> str | None:
    """The field of a volume that 斤 and 两 are said of, as of water."""
    if quantity.unit.dimension != "mass" or quantity.unit.factor not in (50, 500, 1_000_000):
        return None
    for field, fact, told in facts.quantities:
        if fact.unit.dimension == "volume" and bears(
            quantity, limit, replace(fact, value=fact.value * 1000, unit=quantity.unit), told
        ):
            return field
    return None


def _readings(plain: str, quantity: Quantity, *, apart: bool, foreign: Unit | None) -> Iterator[Quantity]:
    """The quantity, and what else its words may measure: 一周两堂 counts anything, 五个夜晚 are days."""
    yield quantity
    dimension = quantity.unit.dimension
    after = plain[quantity.end : quantity.end + 4]
    if dimension.startswith("count") and _RATE.search(plain[max(0, quantity.start - 5) : quantity.start]):
        yield replace(quantity, unit=Unit("count"))
    if plain[quantity.start : quantity.end].endswith("块") and quantity.value < 20:  # of soap, or of money
        yield replace(quantity, unit=Unit("currency:CNY" if dimension.startswith("count") else "count:pack"))
    if (
        dimension in ("count:pack", "count:seat")
        and quantity.value >= 10
        and "多" not in plain[quantity.start : quantity.end]
        and apart
    ):
        yield replace(quantity, unit=Unit("count"))  # 二十四把椅子, of 24 seats
    if (
        dimension == "currency:CNY"
        and foreign is not None
        and plain[quantity.start : quantity.end].endswith(("块", "块钱"))
    ):
        yield replace(quantity, unit=foreign)  # 省六块, of dollars
    if dimension == "workdays":
        yield replace(quantity, value=quantity.value * _DAY, unit=Unit("time"))
    if dimension == "percent" and plain[quantity.start : quantity.end] == "一半":
        yield replace(quantity, value=Decimal("0.5"), unit=Unit("left"))
    if dimension in ("", "count"):
        if _DAYS.match(after):
            yield replace(quantity, value=quantity.value * _DAY, unit=Unit("time"), kind="duration")
        elif _WEEKS.match(after):
            yield replace(quantity, value=quantity.value * _WEEK, unit=Unit("time"), kind="duration")


def _shared(plain: str, quantity: Quantity, limit: str, facts: Stated) -> str | None:
    """The field of a span that is spent every other day."""
    if quantity.kind != "duration" or not _EVERY_OTHER.search(plain):
        return None
    if plain[max(0, quantity.start - 1) : quantity.start] == "隔":
        return next((field for field, text in facts.texts if re.search(r"隔[天日]|次日|第二天", text)), None)
    one = replace(quantity, value=quantity.value / 2)
    for field, fact, told in facts.quantities:
        if bears(one, limit, fact, told, rounded=True):
            return field
        days = replace(fact, value=fact.value * _DAY, unit=Unit("time"))
        if fact.unit.dimension.startswith("count") and bears(one, limit, days, told):
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
    if quantity.unit != BARE or quantity.value < 10 or quantity.literal or _THINGS.match(plain[quantity.end :]):
        return None
    priced = (
        _PRICED_AFTER.match(plain[quantity.end :]) is not None
        or _PRICED.search(plain[max(0, quantity.start - 14) : quantity.start]) is not None
    )
    mine = number_of(plain, quantity)
    for number, (field, fact, told) in zip(facts.implied.every, facts.quantities, strict=True):
        if not compatible(mine, number, facts.implied):
            continue
        if fact.literal and re.sub(r"\D", "", fact.literal) == str(quantity.value):
            return field
        if fact.unit.dimension.startswith(
            ("currency", "mass", "volume", "calories", "power", "length", "age", "temperature", "sound")
        ):
            value = fact.value if fact.unit.dimension.startswith("currency") else fact.value / fact.unit.factor
            price = fact.unit.dimension.startswith("currency")
            same = value == quantity.value and keeps(limit, told, price=price)
            if same or bears(replace(quantity, unit=fact.unit), limit, replace(fact, value=value), told):
                return field
    money = next((fact.unit for _, fact, _ in facts.quantities if fact.unit.dimension.startswith("currency")), None)
    ends = _ENDS.match(plain[quantity.end :]) is not None or not _MEASURED.match(plain[quantity.end :])
    if money is not None and (priced or ends):
        return follows(plain, replace(quantity, kind="price", unit=money), limit, facts.implied)
    return None
