"""Reads dates in Chinese and English text, as far as they are given.

``2025年3月1日``, ``1 March`` and ``the first of March`` are dates; the parts that a text leaves out are None.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.policy.characters import CJK, DIGITS, fold, read_chinese
from shared.policy.units import match_unit


@dataclass(frozen=True, slots=True)
class Day:
    """A date at ``[start, end)``, as far as it is given: None for the parts that are not."""

    start: int
    end: int
    year: int | None
    month: int | None
    day: int | None

    def within(self, other: Day) -> bool:
        """Whether `other` says at least what this date says."""
        pairs = ((self.year, other.year), (self.month, other.month), (self.day, other.day))
        return all(mine is None or mine == theirs for mine, theirs in pairs)


_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: place for place, name in enumerate(_MONTH_NAMES, start=1)}
_MONTH = (
    r"(?P<mon>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)"
)
_N = r"(\d{1,2}|[一二三四五六七八九十]{1,3})"
_DATES = (
    re.compile(r"(?<!\d)(?P<y>(?:19|20)\d{2})\s?[年/\-.]\s?(?P<m>\d{1,2})\s?[月/\-.]\s?(?P<d>\d{1,2})(?!\d)\s?[日号]?"),
    re.compile(r"(?<!\d)(?P<y>(?:19|20)\d{2})\s?年\s?(?P<m>\d{1,2})\s?月"),
    re.compile(rf"(?<![\d{CJK}])(?P<m>{_N})\s?月\s?(?P<d>{_N})\s?[日号]?(?![\d{CJK}])"),
    re.compile(r"(?<![\d.])(?P<y>(?:19|20)\d{2})\s?年(?!限|间)"),
    re.compile(r"(?<![一二三四五六七八九十])(?P<m>[一二三四五六七八九])[二三四五六七八九十]月(?![份饼])"),
    re.compile(rf"(?<![\d{CJK}])[二2](?P<twenties>[〇零一二三四五六七八九\d])年(?:(?P<m>{_N})月)?(?![^，。]{{0,1}}[里内])"),
    re.compile(r"(?<![一二三四五六七八九十\d])(?P<decade>[五六七八九])[零〇0]年(?!代)"),
    re.compile(r"(?P<zy>[一二][零〇九][零〇一二三四五六七八九]{2})年"),
    re.compile(
        rf"(?<![\d{CJK}])(?<![^整这那]个)(?P<m>{_N})\s?月(?!(?<!十一月)(?<=一月)[晒换洗一两三四五六七八九十只才就不仅学读交花省到用喝吃]|份?(?:的)?(?:[亮光饼球老色票租薪费嫂子经卡付刊销龄季见]|末末))(?!\d)"
    ),
    re.compile(rf"(?:每个?月(?:的)?\s?(?P<d>{_N})\s?[日号]|(?<![\d月{CJK}第])(?<![大小加中特])(?P<d2>{_N})号(?![线楼店馆门口电机球字码院桌厅铁]))"),
    re.compile(rf"\b{_MONTH}\.?\s(?P<d>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s(?P<y>20\d\d))?", re.I),
    re.compile(rf"\b(?P<d>\d{{1,2}})(?:st|nd|rd|th)?\s(?:of\s)?{_MONTH}\b(?:,?\s(?P<y>20\d\d))?", re.I),
)  # fmt: skip
_NTH = [
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh"),
    *("twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth"),
    "twentieth",
]
_DAY_WORDS = {name: place for place, name in enumerate(_NTH, start=1)}
_DAY_WORDS |= {f"twenty-{name}": 20 + place for place, name in enumerate(_NTH[:9], start=1)}
_DAY_WORDS |= {"thirtieth": 30, "thirty-first": 31}
_DAY_NAMES = "|".join(sorted(_DAY_WORDS, key=len, reverse=True))
_SPELLED = re.compile(
    rf"\b(?:(?P<d>{_DAY_NAMES}) of {_MONTH}|{_MONTH.replace('<mon>', '<mon2>')} (?:the )?(?P<d2>{_DAY_NAMES}))\b", re.I
)
_ANOTHER_DAY = re.compile(
    rf"\s?[、,和及与至到\-–—~]?\s?(?:(?P<d>{_N})\s?[日号]|(?P<d2>[一二三四五六七八九十]{{1,3}})(?=两[天日]|[，。]))"
)


def find_dates(text: str) -> list[Day]:
    """Dates in the order of the text; the longest reading of a place wins."""
    plain = fold(text)
    found: list[Day] = []
    for pattern in _DATES:
        for match in pattern.finditer(plain):
            if any(match.start() < day.end and day.start < match.end() for day in found):
                continue
            parts = match.groupdict()
            if plain[match.end() - 1] not in "日号" and parts.get("d") and not parts.get("mon") and not parts.get("y"):
                counted = match_unit(plain[match.end() :].lstrip(), starts=True)
                if counted is not None and counted[0].dimension.startswith("count"):
                    continue  # 一月30瓶
            month = _MONTHS[parts["mon"][:3].lower()] if parts.get("mon") else _small(parts.get("m"))
            day = _small(parts.get("d") or parts.get("d2"))
            if (month is not None and not 1 <= month <= 12) or (day is not None and not 1 <= day <= 31):
                continue
            year = int(parts["y"]) if parts.get("y") else _small(parts.get("zy"))
            if parts.get("twenties"):
                if month is None:
                    continue  # 二十年 is a span
                tens = parts["twenties"]
                year = 2020 + (int(tens) if tens.isdigit() else DIGITS[tens])
            if parts.get("decade"):
                year = 1900 + 10 * DIGITS[parts["decade"]]
            found.append(Day(match.start(), match.end(), year, month, day))
            last = match.end()
            while day is not None and not parts.get("mon") and (more := _ANOTHER_DAY.match(plain, last)) is not None:
                following = _small(more["d"] or more["d2"])
                if following is None or not 1 <= following <= 31:
                    break
                start = more.start("d") if more["d"] else more.start("d2")
                found.append(Day(start, more.end(), year, month, following))
                last = more.end()
    for match in _SPELLED.finditer(plain):
        month = _MONTHS[(match["mon"] or match["mon2"])[:3].lower()]
        found.append(Day(match.start(), match.end(), None, month, _DAY_WORDS[(match["d"] or match["d2"]).lower()]))
    return sorted(found, key=lambda day: day.start)


def _small(text: str | None) -> int | None:
    if text is None:
        return None
    value = int(text) if text.isdigit() else read_chinese(text)
    return None if value is None else int(value)
