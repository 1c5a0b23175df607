"""Quantities that people say rather than write: ``an hour and a half``, ``两个半小时``, ``晚七点半``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal

from shared.policy.english_quantities import find_english
from shared.policy.units import BARE, Unit, match_unit

_HALF = Decimal("0.5")
_CJK = "零〇一二三四五六七八九两俩仨廿卅十百千\\d"
_ZH_HALF = re.compile(
    rf"(?P<n>[{_CJK}]+)\s?(?:(?:个半|个又半)(?P<a>小时|钟头|月|星期)|(?P<b>小时|钟头|天|年|周|公斤|斤|两|厘米|公分|寸"
    rf"|毫米|米|公里|里|升|元|块|镑|岁|分|成|倍)半(?![价折天年小]))"
)
_COMPOUNDS: tuple[tuple[re.Pattern[str], str, tuple[tuple[str, Decimal], ...]], ...] = (
    (
        re.compile(
            rf"(?P<a>[{_CJK}]+)\s?个?(?:小时|钟头|钟)\s?[又零加]?\s?(?:(?P<q>[一二两三])刻钟?|(?P<b>[{_CJK}]+)\s?分钟?(?![之成]))"
        ),
        "time",
        (("a", Decimal(3600)), ("q", Decimal(900)), ("b", Decimal(60))),
    ),
    (
        re.compile(
            rf"(?P<a>[{_CJK}]+)(?:元|块钱?)(?:(?P<b>[{_CJK}])[毛角](?:(?P<c>[{_CJK}])分?)?|(?P<d>\d{{1,2}})(?![\d.]"
            rf"|\s?[个只件%]))"
        ),
        "currency:CNY",
        (("a", Decimal(1)), ("b", Decimal("0.1")), ("c", Decimal("0.01")), ("d", Decimal(0))),
    ),
    (
        re.compile(rf"(?<![{_CJK}块元])(?P<b>[{_CJK}])[毛角](?P<c>[{_CJK}])分?(?![{_CJK}])"),
        "currency:CNY",
        (("b", Decimal("0.1")), ("c", Decimal("0.01"))),
    ),
    (
        re.compile(
            rf"(?:(?P<a>[{_CJK}]+)斤)?(?P<b>半|[一二三四五六七八九]?十[一二三四五六七八九]?|(?<![一二三四五六七八九两十百千万])[一二三四五六七八九]"
            rf"|\d+)两(?:(?P<c>[一二三四五六七八九])(?=钱|[，。！？、\s的]|$)钱?|半)?"
            r"(?![个天人位年月周晚件只次种款岁节千百万])"
        ),
        "mass",
        (("a", Decimal(500)), ("b", Decimal(50)), ("c", Decimal(5))),
    ),
)  # fmt: skip
_DOZEN = re.compile(rf"(?P<n>[半{_CJK}]+)\s?打(?P<half>半(?!价))?(?![开包折样算底磨扰坐发工架赏球理字印动断听烊个卡])")
_ZH_CLOCK = re.compile(
    rf"(?P<when>早上|上午|清晨|早晨|中午|下午|傍晚|晚上|晚间|夜里|凌晨|[早晚])?\s?(?<![周期拜])(?P<h>[{_CJK}]{{1,3}})\s?(?:[点時]"
    rf"|时(?![间候刻尚差段光髦常装令辰]))(?![一二三"
    rf"四五六七八九\d]*[倍%％元万])"
    rf"(?:(?P<half>半)|(?P<quarter>一刻|三刻)|(?P<m>[{_CJK}]{{1,3}})(?!\s?(?:公里|米|厘米|毫米|升|毫升|公斤|斤|克|万|亿|倍|元|块|寸|英寸"
    rf"|[%％]|个百分))分?(?!钟)"
    rf"|(?(when)|(?<![下有这那几差]点)(?![建要理意内好优特心注提原忠亮评]|一线)))"
)
_TALLY = re.compile(
    r"(?<![A-Za-z\d])双\s?(?:11|12|十一|十二)(?!\d)|(?<![A-Za-z\d,.，])(?:618|六一八)(?=大促|活动|价|期间|狂欢|当天|节|年中|[前后不来也])"
)  # sales, by their days
_ABOUT = frozenset(("一二", "两三", "二三", "三四", "四五", "五六", "六七", "七八", "八九"))  # 六七点: between them
Reader = Callable[[str], Decimal | None]


def find_spoken(plain: str, read: Reader) -> Iterator[tuple[int, int, str, Decimal, Unit]]:
    """(start, end, kind, value, unit) of each; `read` gives the value of a numeral or number word."""
    yield from _clocks(plain, read)
    yield from find_english(plain)
    yield from _compounds(plain, read)
    for match in _ZH_HALF.finditer(plain):
        value = read(match["n"])
        if value is not None:
            yield _measured(match, value + _HALF, match["a"] or match["b"])


def sales_days(plain: str) -> list[tuple[int, int]]:
    """Where a folded text names a day of sales by its number: 双11, 618."""
    return [match.span() for match in _TALLY.finditer(plain)]


def _compounds(plain: str, read: Reader) -> Iterator[tuple[int, int, str, Decimal, Unit]]:
    """Quantities in two units: 一小时一刻钟, 一块三毛三, 七两二."""
    for pattern, dimension, parts in _COMPOUNDS:
        for match in pattern.finditer(plain):
            total = Decimal(0)
            for name, factor in parts:
                if not match[name]:
                    continue
                value = _HALF if match[name] == "半" else read(match[name])
                if value is None:
                    break
                total += value / 10 ** len(match[name]) if name == "d" else value * factor
            else:
                kind = {"time": "duration", "mass": "measure"}.get(dimension, "price")
                extra = Decimal(25) if dimension == "mass" and match[0].endswith("两半") else Decimal(0)
                if total and not (dimension == "mass" and match["b"].endswith("半") and match["a"]):
                    yield (
                        match.start(),
                        match.end(),
                        kind,
                        total + extra,
                        Unit(dimension, Decimal(1) if dimension != "mass" else parts[1][1]),
                    )
    for match in _DOZEN.finditer(plain):
        value = _HALF if match["n"] == "半" else read(match["n"])
        if value is not None:
            yield match.start(), match.end(), "number", value * 12 + (6 if match["half"] else 0), Unit("count")


def _measured(match: re.Match[str], value: Decimal, name: str) -> tuple[int, int, str, Decimal, Unit]:
    if name == "月":
        name = "个月"
    if name == "分" and match.string.startswith("钟", match.end()):
        name = "分钟"
    found = match_unit(name)
    unit = found[0] if found else BARE
    return (
        match.start(),
        match.end(),
        "duration" if unit.dimension in ("time", "months") else "price" if ":" in unit.dimension else "measure",
        value * unit.factor,
        unit,
    )


def _clocks(plain: str, read: Reader) -> Iterator[tuple[int, int, str, Decimal, Unit]]:
    late = -1  # where a clock time of an evening ended: 晚 7 点到 11 点
    for match in _ZH_CLOCK.finditer(plain):
        about = match["h"] in _ABOUT
        hour = read(match["h"][:1] if about else match["h"])
        if hour is None or hour > 24 or (match["h"] == "一" and match[0] == "一点"):
            continue
        minute = Decimal(30) if match["half"] else Decimal(0)
        if match["quarter"]:
            minute = Decimal(15 if match["quarter"] == "一刻" else 45)
        elif match["m"]:
            minute = read(match["m"]) or Decimal(0)
        if match["when"] and match["when"][0] == "晚" and hour == 12:
            hour = Decimal(24)
        evening = match["when"][0] in "下傍晚夜" if match["when"] else 0 <= late == match.start() - 1
        if evening and hour < 12:
            hour += 12
        late = match.end() if evening else -1
        if about:
            minute = Decimal(30)
        yield match.start(), match.end(), "time", hour * 60 + minute, Unit("clock")
