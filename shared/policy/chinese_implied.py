"""The numbers that an ad's own numbers imply: 每袋24只，共8袋 is 192 只; 36 节 for 1,980 元 are 55 元 a lesson."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from datetime import date
from decimal import Decimal

from shared.policy.chinese_numbers import (
    ANY,
    DAYS,
    PAIR,
    RANGE_AFTER,
    RANGE_BEFORE,
    RENEWED,
    SPAN_CARD,
    THING,
    TIMES,
    WHOLE,
    Implied,
    Number,
    is_count,
    name_of,
    read_number,
)
from shared.policy.derived import Fact, clock_spans
from shared.policy.numerals import Quantity
from shared.policy.units import Unit

SLOT = "slot"  # from one hour of the day to another
_PERIODS = {
    ("day", "week"): 7, ("day", "month"): 30, ("day", "year"): 365, ("week", "month"): 4, ("week", "year"): 52,
    ("month", "quarter"): 3, ("month", "year"): 12, ("quarter", "year"): 4, ("minute", "hour"): 60,
}  # fmt: skip
DAY_SECONDS = Decimal(86400)
SENTENCE = re.compile(r"[。；！？;!?\n]|\.(?!\d)")
NUMERALS = {"一": 1, "两": 2, "二": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9}
_REDUCED = re.compile(
    r"原价|标价|市场?价|门市价|划线|吊牌|定价|平[日时]价|会员|早鸟|学生|首[单次件杯]|第二[件双张台只套]|subscri|套餐|套装|限时|直播价|活动价|券后|到手|新品|首发|现价|优惠|特价|特惠"
    r"|老学员|团购"
    r"|半价|was\b|down from|regular|full price|early bird|members?\b|押金|\bnow\b",
    re.I,
)
_SINGLE = re.compile(r"(?<![简孤])(单|双)([瓶支盒包袋只份杯件条罐片块饼卷本])(?!独|身|纯|元)")
SIZED = frozenset({"mass", "volume", "time", "length", "calories", "energy", "months"})
_SHORT = Decimal(6 * 3600)
_MOST = 60  # numbers that are worked out for an ad at most
_LODGING = re.compile(r"退房|入住|民宿|床位|客栈|酒店|客房|退帐|\bnights?\b|check-?in", re.I)
_ONE_OF = re.compile(
    r"(?<![统唯专第万之十百千零〇每另任])一(?=([只个支张份套次片瓶盒本条枚颗袋包件把台部双顶块方])([\u4e00-\u9fff]{2}))"
)
_EACH_ONE = re.compile(
    r"(?P<list>[\u4e00-\u9fffA-Za-z]{1,8}(?:[、/][\u4e00-\u9fffA-Za-z]{1,8})*[、/和与及][\u4e00-\u9fffA-Za-z]"
    r"{1,8}?)各(?:附|带|有)?一?(?P<m>[只个支张份套次片瓶盒本条枚颗袋包])"
)
_DEAL = re.compile(r"买\s?([一二两三四五六\d])\s?[件份盒袋杯瓶]?\s?([送赠付得])\s?([一二两三四五六\d])")
_DATED = re.compile(
    r"(?P<m>\d{1,2})\s?月\s?(?P<d>\d{1,2})\s?[日号]?\s?(?:至|到|[-~—–])\s?(?:(?P<m2>\d{1,2})\s?月\s?)?(?P<d2>\d{1,2})\s?[日号]"
)
_CLOSED = re.compile(r"(?:周|星期)[一二三四五六日天][^，。；]{0,3}[休停闭歇]|[休停闭歇][^，。；]{0,3}周")
_DAY_LIST = re.compile(
    r"(?:周|星期|礼拜)[一二三四五六日天](?:[早上下中午晚\s]{0,3}[、，,和与及/]\s?[一二三四五六日天](?![个次点节款种人十百]))*"
)
_RANGE_OF_DAYS = re.compile(r"(?:周|星期)([一二三四五六日天])\s?(?:至|到|[-~—–])\s?(?:周|星期)?([一二三四五六日天])")
_MONTHLY, _WHICH = (
    re.compile(r"每个?月(?=[^，。]{0,3}第)|每个?月(?=\d|[一二三四末]个?周)"),
    re.compile(r"第?[一二三四末](?=[、和个,])"),
)
_OFTEN = re.compile(r"\b(once|twice)(?: a| per| every|-a-) ?(week|month|day)", re.I)
_WEEKLY = re.compile(r"每周|每星期|周更|\bweekly\b|\bevery (?:mon|tues|wednes|thurs|fri|satur|sun)day", re.I)
BY_MEASURE = (
    ("斤", "mass", Decimal(500)), ("公斤", "mass", Decimal(1000)), ("克", "mass", Decimal(1)),
    ("两", "mass", Decimal(50)), ("升", "volume", Decimal(1)), ("毫升", "volume", Decimal("0.001")),
    ("米", "length", Decimal(1)), ("平", "area", Decimal(1)),
)  # fmt: skip


def imply(facts: Sequence[Fact], texts: Iterable[tuple[str, str]]) -> Implied:
    """What an ad's own numbers, given with their fields and bounds, imply."""
    written = dict(texts)
    every = [read_number(fact, written.get(fact[0], ""), facts) for fact in facts]
    stated = [one for one in every if not one.quantity.literal and one.value > 0]
    stated += [
        replace(one, per=WHOLE)
        for one in stated
        if one.per in DAYS and one.dimension.startswith("currency") and one.quantity.end
        and SPAN_CARD.search(written.get(one.field, "")[: one.quantity.start])
    ]  # fmt: skip
    distinct: dict[tuple[object, ...], Number] = {}
    for one in stated:
        distinct.setdefault((one.value, one.dimension, one.key, one.per), one)
    numbers = list(distinct.values())[:_MOST]
    spans = [replace(read_number(fact, "", ()), per=SLOT, made="clock") for fact in clock_spans(facts)]
    extra = [
        *spans,
        *_paces_of(written),
        *_singles(written),
        *_each_one(written),
        *_renewals(numbers, written),
        *_deals(written),
    ]
    worked = [*spans, *_dated(written), *(one for one in extra if one.made in ("listed", "single"))]
    first = list(_products([*numbers, *extra], numbers)) + list(_shares(numbers))
    first += list(_products([one for one in numbers if one.per == "day"], list(_dated(written))))
    slots = [one for one in extra if one.per == SLOT]
    taking = [one for one in first if one.key == "session" and one.made == "product" and one.per == WHOLE]
    taking += [one for one in numbers if one.key == "session" and one.per == WHOLE and one.value > 1]
    lengths = {
        one.value: one
        for one in numbers
        if one.dimension == "time"
        and one.value < _SHORT
        and one.per == WHOLE
        and not re.search("共|总|合计|续航|充", one.said)
    }
    for one in numbers:
        if one.dimension.startswith("currency") and one.per == "week":
            for pace in extra:
                if pace.made == "listed" and pace.per == "week" and pace.value > 1:
                    first += [_like(one, one.value / pace.value, key, "share") for key in ("session", "day")]
    if len(lengths) == 1:
        first += [_like(one, one.value * times.value, WHOLE, "product") for one in lengths.values() for times in taking]
    for one in numbers:
        if one.dimension.startswith("currency") and one.per == WHOLE and not one.saved:
            first += [_like(one, one.value / times.value, "session", "share") for times in taking if times.made]
    first += list(
        _products(slots, [one for one in first if one.key == "session" and one.made == "product" and one.per == WHOLE])
    )
    first += list(
        _shares(
            [
                *numbers,
                *(
                    one
                    for one in first
                    if one.made == "product" and one.per == WHOLE and one.dimension in ("mass", "volume")
                ),
            ],
            again=True,
        )
    )
    first += list(_courses([*numbers, *extra], written))
    worked += [*first, *_products([one for one in first if one.made == "product"][:_MOST], [*numbers, *extra])]
    for one in [one for one in first if one.made == "share" and one.dimension.startswith("currency")]:
        for other in numbers:
            if other.per == one.per and is_count(other.quantity) and other.value > 1:
                worked.append(_like(one, one.value / other.value, other.key, "share"))
    rates = [one for one in (*numbers, *extra) if one.per in DAYS]
    worked += list(_products([one for one in first if one.made == "share"][:_MOST], rates))
    worked += list(_periods([*numbers, *worked[: 2 * _MOST]]))
    counted = frozenset(one.key for one in (*numbers, *extra) if is_count(one.quantity) and one.key not in (ANY, THING))
    return Implied(
        tuple(every),
        tuple(numbers),
        tuple(worked[: 8 * _MOST]),
        counted,
        frozenset(_contents(numbers)),
        _ones(written),
        _LODGING.search("\n".join(written.values())) is not None,
        _ranged(numbers, written),
        _reduced(written),
    )


def _ones(texts: Mapping[str, str]) -> frozenset[str]:
    return frozenset(match[1] + match[2] for text in texts.values() for match in _ONE_OF.finditer(text))


def _ranged(numbers: Sequence[Number], texts: Mapping[str, str]) -> frozenset[int]:
    """The numbers, by place, that are an end of a range: 8-14 人."""
    found = set()
    for place, one in enumerate(numbers):
        text, start, end = texts.get(one.field, ""), one.quantity.start, one.quantity.end
        if end and (RANGE_AFTER.match(text[end:]) or RANGE_BEFORE.search(text[:start])):
            found.add(place)
    return frozenset(found)


def _reduced(texts: Mapping[str, str]) -> bool:
    """Whether an ad gives a price beside the one that it was, or is for others."""
    return any(_REDUCED.search(text) for text in texts.values())


def _each_one(texts: Mapping[str, str]) -> Iterator[Number]:
    """How many there are where there is one of each: 扩散风嘴与集风嘴各一只."""
    for field, text in texts.items():
        for match in _EACH_ONE.finditer(text):
            size = len(re.split(r"[、/和与及]", match["list"]))
            yield Number(
                field,
                Quantity(0, 0, "number", Decimal(size), Unit("count")),
                "",
                name_of(match["m"], ""),
                made="single",
            )


def _deals(texts: Mapping[str, str]) -> Iterator[Number]:
    """How many are paid for and how many come home: 买二送一."""
    for field, text in texts.items():
        for match in _DEAL.finditer(text):
            paid, more = (int(char) if char.isdigit() else NUMERALS[char] for char in (match[1], match[3]))
            for count in {paid, more, paid + more} if match[2] in "送赠" else {paid, more}:
                yield Number(field, Quantity(0, 0, "number", Decimal(count), Unit("count")), "", ANY, made="single")


def _singles(texts: Mapping[str, str]) -> Iterator[Number]:
    """What there is one or a pair of, by its measure word: 单支装, 双瓶装."""
    for field, text in texts.items():
        for _ in PAIR.finditer(text):
            yield Number(field, Quantity(0, 0, "number", Decimal(2), Unit("count")), "", ANY, made="single")
        for match in _SINGLE.finditer(text):
            value = Decimal(1 if match[1] == "单" else 2)
            yield Number(
                field, Quantity(0, 0, "number", value, Unit("count:pack")), "", name_of(match[2], ""), made="single"
            )


def _paces_of(texts: Mapping[str, str]) -> Iterator[Number]:
    """How often a week, a month, an ad says that something takes place by naming the days, or in a word."""
    whole = "\n".join(texts.values())
    named = 0
    for field, text in texts.items():
        for sentence in SENTENCE.split(text):
            if (ranged := _RANGE_OF_DAYS.search(sentence)) is not None and not _CLOSED.search(sentence):
                first, last = ("一二三四五六日天".index(char) for char in (ranged[1], ranged[2]))
                if min(last, 6) > first:
                    yield _pace(field, min(last, 6) - first + 1, "week")
            if ranged is not None or _CLOSED.search(sentence):
                continue
            lists = "".join(match[0] for match in _DAY_LIST.finditer(sentence))
            days = {"日" if day == "天" else day for day in re.findall(r"[一二三四五六日天]", lists)}
            if len(days) >= 2:
                named = len(days)
                yield _pace(field, named, "week")
        if (month := _MONTHLY.search(text)) is not None:
            yield _pace(field, max(len(_WHICH.findall(text[month.end() : month.end() + 14])), 1), "month")
        for match in _OFTEN.finditer(text):
            yield _pace(field, 2 if match[1].lower() in ("twice", "bi") else 1, TIMES.get(match[2].lower(), "week"))
    if not named and _WEEKLY.search(whole) and not _MONTHLY.search(whole):
        yield _pace("description", 1, "week")


def _dated(texts: Mapping[str, str]) -> Iterator[Number]:
    """How many days there are from one date to another, both counted: 1 月 24 至 26 日."""
    for field, text in texts.items():
        for match in _DATED.finditer(text):
            try:
                first = date(2023, int(match["m"]), int(match["d"]))
                last = date(2023, int(match["m2"] or match["m"]), int(match["d2"]))
            except ValueError:
                continue
            days = (last - first).days + 1
            if 1 < days < 120:
                span = Quantity(0, 0, "duration", days * DAY_SECONDS, Unit("time"))
                yield Number(field, span, "", "day", made="course")


def _renewals(numbers: Sequence[Number], texts: Mapping[str, str]) -> Iterator[Number]:
    """How often a year, or a month, what is replaced after so long is replaced."""
    for one in numbers:
        if one.quantity.end and RENEWED.match(texts.get(one.field, "")[one.quantity.end :]):
            if one.dimension == "months" and 12 % one.value == 0:
                yield _pace(one.field, int(12 / one.value), "year")
            elif one.dimension == "time" and one.value >= DAY_SECONDS and 30 * DAY_SECONDS % one.value == 0:
                yield _pace(one.field, int(30 * DAY_SECONDS / one.value), "month")


def _pace(field: str, times: int, period: str) -> Number:
    return Number(field, Quantity(0, 0, "number", Decimal(times), Unit("count")), "", "session", period, made="listed")


def _like(one: Number, value: Decimal, per: str, made: str, *, told: str | None = None) -> Number:
    quantity = Quantity(0, 0, one.quantity.kind, value, one.quantity.unit)
    return Number(one.field, quantity, one.told if told is None else told, one.key, per, one.clause, made=made)


def _products(rates: Sequence[Number], counts: Sequence[Number]) -> Iterator[Number]:
    """So much of each, times how many there are."""
    for one in rates:
        if one.per in (WHOLE,) or one.dimension in ("clock", "left", "percent", "ordinal", "rating", "grade", "age"):
            continue
        for other in counts:
            if other is one or other.value <= 1 or other.quantity == one.quantity:
                continue
            times = None
            if one.per == SLOT:
                if other.dimension == "time" and other.value % (7 * DAY_SECONDS) == 0 and other.per == WHOLE:
                    yield _like(one, one.value * other.value / (7 * DAY_SECONDS), WHOLE, "product")
                elif other.key == "session" and other.per in (WHOLE, "week", "month"):
                    yield _like(one, one.value * other.value, other.per, "product")
                continue
            if one.per in DAYS and other.dimension in ("time", "months"):
                days = other.value / DAY_SECONDS if other.dimension == "time" else None
                if days is not None and days >= 1 and other.per == WHOLE and one.per in ("day", "week"):
                    times = days / DAYS[one.per]
                elif other.dimension == "months" and other.per == WHOLE:
                    ratio = {
                        "month": Decimal(1),
                        "year": Decimal(1) / 12,
                        "week": Decimal(4),
                        "day": Decimal(30),
                        "quarter": Decimal(1) / 3,
                    }
                    times = other.value * ratio[one.per]
                if times is not None and times > 1:
                    yield _like(one, one.value * times, WHOLE, "product")
                continue
            if is_count(other.quantity) and same_kind(one.per, other.key) and other.dimension != "clock":
                yield _like(one, one.value * other.value, other.per if other.per != one.per else WHOLE, "product")


def same_kind(one: str, other: str) -> bool:
    if one in DAYS or other in DAYS:
        return False
    return (
        one == other
        or (ANY in (one, other) and not {"person"} & {one, other})
        or (THING in (one, other) and not {"person", "session"} & {one, other})
    )


def _contents(numbers: Sequence[Number]) -> set[str]:
    """What there are several of in the product, rather than what is bought of it."""
    return {one.key for one in numbers if is_count(one.quantity) and one.value > 1 and not one.bought}


def _whole(per: str, counted: Set[str]) -> bool:
    """Whether a number of so much is of the whole product: of it, or of what it comes in (96 元/箱)."""
    return per == WHOLE or (per not in (ANY, THING, SLOT, "session", "person", *DAYS) and per not in counted)


def _shares(numbers: Sequence[Number], *, again: bool = False) -> Iterator[Number]:
    """A whole, divided by how many there are. again: only by the weight or the volume that was worked out."""
    if again:
        for one in numbers:
            if one.dimension.startswith("currency") and one.made == "":
                for other in numbers:
                    for name, dimension, size in BY_MEASURE:
                        if other.made and other.dimension == dimension and other.value > 0:
                            yield _like(one, one.value / (other.value / size), name, "share")
        return
    counted = _contents(numbers)
    for one in numbers:
        price = one.dimension.startswith("currency")
        if price and one.per in DAYS and not one.saved:
            for other in numbers:
                held = other.per == one.per or (_whole(other.per, counted) and other.key not in (*DAYS, "person"))
                if held and is_count(other.quantity) and other.value > 1 and other.made == "":
                    yield _like(one, one.value / other.value, other.key, "share")
        if (
            not _whole(one.per, counted)
            or not (price or one.dimension in SIZED or is_count(one.quantity))
            or one.saved
            or one.value <= 0
        ):
            continue
        others = [
            other for other in numbers
            if is_count(other.quantity) and other.value > 1 and other.quantity != one.quantity and other.key != one.key
            and other.made == ""
            and (
                _whole(other.per, counted) or other.per == one.per
                or (price and other.per in DAYS and other.clause == one.clause)
            )
        ]  # fmt: skip
        near = {other.key for other in others if other.field == one.field and other.clause == one.clause}
        for other in others:
            if price and other.key in near and (other.field, other.clause) != (one.field, one.clause):
                continue
            if not price and is_count(one.quantity) and one.value % other.value:
                continue
            if price and other.key == "person" and other.value > 10:
                continue
            yield _like(one, one.value / other.value, other.key, "share")
        if price:
            for other in numbers:
                for name, dimension, size in BY_MEASURE:
                    if other.dimension == dimension and _whole(other.per, counted) and other.value > 0:
                        yield _like(one, one.value / (other.value / size), name, "share")
        if one.dimension in ("mass", "volume"):
            for other in numbers:
                part = (
                    other.dimension == one.dimension and other.per not in (WHOLE, ANY) and 0 < other.value < one.value
                )
                if part and one.value % other.value == 0:
                    many = Quantity(0, 0, "number", one.value / other.value, Unit("count"))
                    yield Number(one.field, many, one.told, other.per, made="share")
        if is_count(one.quantity):
            for other in numbers:
                part = (
                    other.key == one.key and other.per not in (WHOLE, ANY, THING, *DAYS) and 1 < other.value < one.value
                )
                if part and is_count(other.quantity) and one.value % other.value == 0:
                    many = Quantity(0, 0, "number", one.value / other.value, Unit("count"))
                    yield Number(one.field, many, one.told, other.per, made="share")
        if one.dimension == "time" and one.value < DAY_SECONDS:
            for other in numbers:
                if other.dimension == "time" and 0 < other.value < one.value and one.value % other.value == 0:
                    times = Quantity(0, 0, "number", one.value / other.value, Unit("count"))
                    yield Number(one.field, times, one.told, "session", made="share")
        if price or is_count(one.quantity) or one.dimension in ("calories", "volume", "mass"):
            for other in numbers:
                if other.per != WHOLE:
                    continue
                if other.dimension == "time" and other.value >= 2 * DAY_SECONDS:
                    days = other.value / DAY_SECONDS
                    yield _like(one, one.value / days, "day", "share")
                    if days % 7 == 0 and days > 7:
                        yield _like(one, one.value / (days / 7), "week", "share")
                elif other.dimension == "months":
                    yield _like(one, one.value / other.value, "month", "share")
                    yield _like(one, one.value / (other.value * 365 / 12), "day", "share")
                    if other.value >= 24:
                        yield _like(one, one.value / other.value * 12, "year", "share")
                elif other.dimension == "time" and price and 7200 <= other.value < DAY_SECONDS:
                    yield _like(one, one.value / (other.value / 3600), "hour", "share")


def _courses(numbers: Sequence[Number], texts: Mapping[str, str]) -> Iterator[Number]:
    """How long so many take at so many a week; how many days packs last, at one a day."""
    counted = _contents(numbers)
    for one in numbers:
        if not is_count(one.quantity) or not _whole(one.per, counted) or one.value < 2:
            continue
        for rate in numbers:
            if rate.per not in ("day", "week", "month") or not is_count(rate.quantity) or rate.value <= 0:
                continue
            if not same_kind(one.key, rate.key) and not {one.key, rate.key} <= {"session", ANY, THING}:
                continue
            if one.value > rate.value and one.value % rate.value == 0:
                yield from _lasting(one.field, one.value / rate.value, rate.per, one.told)
        if one.dimension == "count:pack" and one.value >= 5:
            yield Number(
                one.field,
                Quantity(0, 0, "duration", one.value * DAY_SECONDS, Unit("time")),
                one.told,
                "day",
                made="course",
            )


def _lasting(field: str, spans: Decimal, period: str, told: str) -> Iterator[Number]:
    if period == "month":
        yield Number(field, Quantity(0, 0, "duration", spans, Unit("months")), told, "month", made="course")
        return
    days = spans * DAYS[period]
    yield Number(field, Quantity(0, 0, "duration", days * DAY_SECONDS, Unit("time")), told, "day", made="course")
    if period == "week" and spans % 2 == 0:
        yield Number(field, Quantity(0, 0, "duration", spans / 4, Unit("months")), told, "month", made="course")


def _periods(numbers: Sequence[Number]) -> Iterator[Number]:
    """What is said of a day, of a month; what is said of a year, of a month."""
    for one in numbers:
        if one.per not in DAYS or one.dimension == "clock":
            continue
        for (short, long), times in _PERIODS.items():
            if one.per == short:
                yield _like(one, one.value * times, long, "period")
            elif one.per == long and (one.dimension.startswith("currency") or one.value % times == 0):
                yield _like(one, one.value / times, short, "period")
