"""Quantities that people say rather than write: ``an hour and a half``, ``两个半小时``, ``晚七点半``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal

from shared.policy.english_numbers import find_english
from shared.policy.units import BARE, Unit, match_unit

_HALF = Decimal("0.5")
_CJK = "零〇一二三四五六七八九两十百千\\d"
_ZH_HALF = re.compile(
    rf"(?P<n>[{_CJK}]+)\s?(?:(?:个半|个又半)(?P<a>小时|钟头|月|星期)|(?P<b>小时|天|年|周|公斤|斤|米|公里|升|元|块"
    rf"|镑|岁|分|倍)半(?![价折天年小]))"
)
_ZH_CLOCK = re.compile(
    rf"(?P<when>早上|上午|清晨|早晨|中午|下午|傍晚|晚上|晚间|夜里|凌晨|[早晚])?(?P<h>[{_CJK}]{{1,3}})[点時时](?![一二三"
    rf"四五六七八九\d]*[倍%％元万])"
    rf"(?:(?P<half>半)|(?P<quarter>一刻|三刻)|(?P<m>[{_CJK}]{{1,3}})分?(?!钟)|(?=钟|整|[前后开上起到至集见准的下放还才就"
    rf"都睡醒关出回发吃喝打赶加收抵达翻约闭停熄直~～—\-，。、！？\s]|$))"
)
_ABOUT = frozenset(("一二", "两三", "二三", "三四", "四五", "五六", "六七", "七八", "八九"))  # 六七点: between them
Reader = Callable[[str], Decimal | None]


def find_spoken(plain: str, read: Reader) -> Iterator[tuple[int, int, str, Decimal, Unit]]:
    """(start, end, kind, value, unit) of each; `read` gives the value of a numeral or number word."""
    yield from _clocks(plain, read)
    yield from find_english(plain)
    for match in _ZH_HALF.finditer(plain):
        value = read(match["n"])
        if value is not None:
            yield _measured(match, value + _HALF, match["a"] or match["b"])


def _measured(match: re.Match[str], value: Decimal, name: str) -> tuple[int, int, str, Decimal, Unit]:
    if name == "月":
        name = "个月"
    found = match_unit(name)
    unit = found[0] if found else BARE
    return (
        match.start(),
        match.end(),
        "duration" if unit.dimension in ("time", "months") else "measure",
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
