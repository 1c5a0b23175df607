"""Reads quantities and dates in Chinese and English text, in any script, with their units.

``1.2万``, ``12,000``, ``一万二千`` and ``twelve thousand`` are one value, ``八折`` and ``20% off`` one discount. Every
match keeps its span in the text as it stands: folding is one character to one character.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from shared.policy.units import BARE, CALENDAR_NUMBERS, Unit, match_unit


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number at ``[start, end)``. `value` is in the unit's own base (seconds, grams, price left over of one…);
    `literal` quantities (``几十``, ``5G``) can only be compared as they are written."""

    start: int
    end: int
    kind: str
    value: Decimal
    unit: Unit
    literal: str = ""


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


_DIGITS = {c: i for i, c in enumerate("零一二三四五六七八九")}
_DIGITS |= {c: i for i, c in enumerate("〇壹贰叁肆伍陆柒捌玖")} | {"两": 2, "俩": 2, "貳": 2, "參": 3, "陸": 6, "兩": 2}
_SMALL = {"十": 10, "百": 100, "千": 1000, "拾": 10, "佰": 100, "仟": 1000}
_LARGE = {"万": 10_000, "亿": 100_000_000, "萬": 10_000, "億": 100_000_000}
_CJK = "".join([*_DIGITS, *_SMALL, *_LARGE])
_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ENGLISH = {word: value for value, word in enumerate(_ONES)} | {w: 10 * v for v, w in enumerate(_TENS, start=2)}
_ENGLISH_SCALE = {"hundred": 100, "thousand": 1000, "million": 1_000_000, "billion": 1_000_000_000, "dozen": 12}
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: place for place, name in enumerate(_MONTH_NAMES, start=1)}
_MULTIPLIER = {
    "万亿": 10**12, "千亿": 10**11, "亿": 10**8, "千万": 10**7, "百万": 10**6, "十万": 10**5, "万": 10**4, "千": 10**3,
    "百": 100, "萬": 10**4, "億": 10**8, "k": 1000, "m": 10**6, "thousand": 1000, "million": 10**6, "billion": 10**9,
    "hundred": 100, "bn": 10**9,
}  # fmt: skip

# Words with a numeral in them that count nothing.
_IDIOMS = re.compile(
    "(?<![0-9零〇一二两三四五六七八九十百千万亿之第点])(?:"
    "统一|万一(?![二两三四五六七八九十百千])|唯一|独一无二|万能|万物|万千|万象|万家|万里|千万别|千变万化|千姿百态|千家万户|千言万语|千里"
    "|十分(?!钟|之)|十足|十全十美|百搭|百变|百货|百姓|百科|百看不厌|百般|七夕|五彩|五颜六色|七彩|四季|四溢|四射|四肢|五官|三餐|四面八方"
    "|四海|八方|三明治|三思|两全其美|两不误|一年四季|每一天|每一年|新的一天|一天的|一日三餐|一日之计|有朝一日|三三两两|接二连三"
    "|第一(?:次|步|时间|眼|口|印象|人称)|[周星期礼拜]{1,2}[一二三四五六日]"
    "|一(?!点|半|十|百|千|万|亿|[零〇二两三四五六七八九]|整?天|日|年|个?月|周|个?星期|个?礼拜|个?小时|分钟|秒|季|元|块|折|成|倍|期|对一"
    "|岁|公?斤|公里|升|毫|厘米|公分|英寸|吨|赫|分贝|米|克|瓦))"
)
_ARABIC = re.compile(r"\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?")
_MULTIPLIERS = re.compile(
    r"(?:万亿|千亿|百万|千万|十万|亿|万|萬|億|千(?![克米瓦卡赫])|百(?!分)|\s?(?:thousand|million|billion|hundred|bn)\b|[kK](?![A-Za-z])|M(?![A-Za-z]))"
)
_CHINESE = re.compile(
    rf"百分百|半价|半折|一半|半(?=个?月|年|天|日|小时|个小时|公?斤)|[{_CJK}]+(?:点[{''.join(_DIGITS)}]+)?(?:分之[{_CJK}]+)?"
)
_WORD_NUMBER = "|".join(sorted([*_ENGLISH, *_ENGLISH_SCALE], key=len, reverse=True))
_WORDS = re.compile(rf"\b(?:{_WORD_NUMBER})(?:(?:[ -]|[ -]and[ -])(?:{_WORD_NUMBER}))*\b", re.I)
_SPECIAL = re.compile(r"\b(half[- ](?:price|off)|twice|double[sd]?|triple[sd]?|thrice)\b", re.I)
_SYMBOL = {"¥": "元", "$": "$", "€": "€", "£": "£"}
_BEFORE = re.compile(r"(?:(US\$|HK\$|RMB|CNY|USD|EUR|GBP|[¥$€£])\s?)$", re.I)
_OFF_AFTER = re.compile(r"^\s?(?:off\b|折扣|优惠|discount)", re.I)
_OFF_BEFORE = re.compile(r"(?:立减|直降|降价|省|减|save|discount of)\s?$", re.I)
_RANGE = re.compile(r"^\s?(?:[-~–—至到]|to)\s?(?=[\d" + _CJK + "])")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9\-]*\d[A-Za-z0-9\-]*|\d+(?:\.\d+)?[A-Za-z][A-Za-z0-9]*")
_ORDINAL = re.compile(r"\b(\d+)(?:st|nd|rd|th)\b", re.I)
_MONTH = rf"(?P<mon>{'|'.join(_MONTHS)})[a-z]*"
_N = r"(\d{1,2}|[一二三四五六七八九十]{1,3})"
_DATES = (
    re.compile(r"(?<!\d)(?P<y>(?:19|20)\d{2})\s?[年/\-.]\s?(?P<m>\d{1,2})\s?[月/\-.]\s?(?P<d>\d{1,2})(?!\d)\s?[日号]?"),
    re.compile(r"(?<!\d)(?P<y>(?:19|20)\d{2})\s?年\s?(?P<m>\d{1,2})\s?月"),
    re.compile(rf"(?<![\d{_CJK}])(?P<m>{_N})\s?月\s?(?P<d>{_N})\s?[日号]?(?![\d{_CJK}])"),
    re.compile(r"(?<![\d.])(?P<y>(?:19|20)\d{2})\s?年(?!限|间)"),
    re.compile(rf"(?<![\d{_CJK}个])(?P<m>{_N})\s?月(?![\w])"),
    re.compile(rf"\b{_MONTH}\.?\s(?P<d>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s(?P<y>20\d\d))?", re.I),
    re.compile(rf"\b(?P<d>\d{{1,2}})(?:st|nd|rd|th)?\s(?:of\s)?{_MONTH}\b(?:,?\s(?P<y>20\d\d))?", re.I),
)  # fmt: skip
_CLOCK = re.compile(r"(?<!\d)([01]?\d|2[0-3]):([0-5]\d)(?!\d)")


def fold(text: str) -> str:
    """Width, digit and letter variants to plain ones, one character to one character (spans stay true)."""
    return "".join(map(_fold, text))


def _fold(char: str) -> str:
    if char < "\x80" or char in "，。":  # a full-width comma parts clauses, never thousands
        return char
    digit = unicodedata.decimal(char, None)
    if digit is not None:
        return str(digit)
    plain = unicodedata.normalize("NFKC", char)
    return plain if len(plain) == 1 else char


def read_chinese(text: str) -> Decimal | None:
    """The value of a Chinese numeral (``两千``, ``一万二``, ``二〇二五``, ``三点五``); None where it is none.

    >>> read_chinese("一万二千三百")
    Decimal('12300')
    """
    whole, _, fraction = text.partition("点")
    if not whole or any(c not in _CJK for c in whole):
        return None
    if len(whole) > 1 and all(c in _DIGITS for c in whole):
        value = Decimal(int("".join(str(_DIGITS[c]) for c in whole)))
    else:
        total = section = number = 0
        last = 0
        for char in whole:
            if char in _DIGITS:
                number = _DIGITS[char]
            elif char in _SMALL:
                last = _SMALL[char]
                section += (number or 1) * last
                number = 0
            else:
                last = _LARGE[char]
                total = (total + section + number or 1) * last
                section = number = 0
        if number and last >= 100 and whole[-2] not in "零〇":
            number *= last // 10  # 一万二 is 12,000; 三百五 is 350
        value = Decimal(total + section + number)
    if fraction:
        if any(c not in _DIGITS for c in fraction):
            return None
        value += Decimal("0." + "".join(str(_DIGITS[c]) for c in fraction))
    return value


def read_english(text: str) -> Decimal:
    """The value of English number words (``twenty-five``, ``two hundred and ten``, ``a dozen``)."""
    total = current = 0
    for word in re.split(r"[ -]+", text.lower()):
        if word in _ENGLISH:
            current += _ENGLISH[word]
        elif word in ("hundred", "dozen"):
            current = (current or 1) * _ENGLISH_SCALE[word]
        elif word in _ENGLISH_SCALE:
            total += (current or 1) * _ENGLISH_SCALE[word]
            current = 0
    return Decimal(total + current)


def find_dates(text: str) -> list[Day]:
    """Dates in the order of the text; the longest reading of a place wins."""
    plain = fold(text)
    found: list[Day] = []
    for pattern in _DATES:
        for match in pattern.finditer(plain):
            if any(match.start() < day.end and day.start < match.end() for day in found):
                continue
            parts = match.groupdict()
            month = _MONTHS[parts["mon"][:3].lower()] if parts.get("mon") else _small(parts.get("m"))
            day = _small(parts.get("d"))
            if (month is not None and not 1 <= month <= 12) or (day is not None and not 1 <= day <= 31):
                continue
            year = int(parts["y"]) if parts.get("y") else None
            found.append(Day(match.start(), match.end(), year, month, day))
    return sorted(found, key=lambda day: day.start)


def _small(text: str | None) -> int | None:
    if text is None:
        return None
    value = int(text) if text.isdigit() else read_chinese(text)
    return None if value is None else int(value)


def find_quantities(text: str) -> list[Quantity]:
    """Every number of the text that says something, dates excepted, in the order of the text."""
    plain = fold(text)
    taken = [(day.start, day.end) for day in find_dates(text)]
    found: list[Quantity] = []
    for quantity in _scan(plain, taken):
        if not any(quantity.start < end and start < quantity.end for start, end in taken):
            found.append(quantity)
            taken.append((quantity.start, quantity.end))
    return sorted(found, key=lambda quantity: quantity.start)


def _scan(plain: str, taken: list[tuple[int, int]]) -> Iterator[Quantity]:
    for match in _CLOCK.finditer(plain):
        minutes = int(match[1]) * 60 + int(match[2])
        yield Quantity(match.start(), match.end(), "time", Decimal(minutes), Unit("clock"))
    for match in _NAME.finditer(plain):
        quantity = _name(plain, match)
        if quantity is not None:
            yield quantity
    for match in _ORDINAL.finditer(plain):
        yield Quantity(match.start(), match.end(), "ordinal", Decimal(match[1]), Unit("ordinal"))
    for match in _ARABIC.finditer(plain):
        value = Decimal(match[0].replace(",", ""))
        end = match.end()
        if (scale := _MULTIPLIERS.match(plain, end)) is not None:
            value *= _MULTIPLIER[scale[0].strip().lower()]
            end = scale.end()
        yield _with_unit(plain, match.start(), end, value)
    idioms = [match.span() for match in _IDIOMS.finditer(plain)]
    for match in _CHINESE.finditer(plain):
        if any(match.start() < end and start < match.end() for start, end in idioms):
            continue
        quantity = _chinese(plain, match)
        if quantity is not None:
            yield quantity
    for match in _SPECIAL.finditer(plain):
        word = match[0].lower()
        if word.startswith("half"):
            yield Quantity(match.start(), match.end(), "discount", Decimal("0.5"), Unit("left"))
        else:
            times = Decimal(3 if word[:2] in ("tr", "th") else 2)
            yield Quantity(match.start(), match.end(), "multiple", times, Unit("multiple"))
    for match in _WORDS.finditer(plain):
        quantity = _with_unit(plain, match.start(), match.end(), read_english(match[0]))
        if match[0].lower() not in ("one", "zero") or quantity.unit.dimension not in ("", "count"):
            yield quantity
    for place, char in enumerate(plain):
        if ord(char) < 0x80 or "\u3007" <= char <= "\u9fff":  # ideographs are read above
            continue
        if (fraction := unicodedata.numeric(char, -1.0)) >= 0:
            yield _with_unit(plain, place, place + 1, Decimal(str(fraction)))


def _name(plain: str, match: re.Match[str]) -> Quantity | None:
    """A word of letters and digits (5G, L9, H265); None where it is a number with a unit."""
    if match[0][0].isdigit():
        digits = _ARABIC.match(match[0])
        rest = match[0][digits.end() :] if digits else ""
        if match_unit(rest) is not None or re.fullmatch(r"(?i)st|nd|rd|th|bn", rest):
            return None
        if rest in ("k", "M"):
            return None
    elif _BEFORE.search(match[0].rstrip("0123456789.-")):
        return None
    return Quantity(match.start(), match.end(), "model", Decimal(0), Unit("name"), match[0].lower().replace("-", ""))


def _chinese(plain: str, match: re.Match[str]) -> Quantity | None:
    word, start, end = match[0], match.start(), match.end()
    if word == "百分百":
        return Quantity(start, end, "percent", Decimal(100), Unit("percent"))
    if word in ("半价", "半折"):
        return Quantity(start, end, "discount", Decimal("0.5"), Unit("left"))
    if word == "一半":
        return Quantity(start, end, "percent", Decimal(50), Unit("percent"))
    if word == "半":
        return _with_unit(plain, start, end, Decimal("0.5"))
    if start and plain[start - 1] in "几数上" and word[0] in "十百千万亿":
        return Quantity(start - 1, end, "number", Decimal(0), BARE, plain[start - 1 : end])
    if "分之" in word:
        under, _, over = word.partition("分之")
        below, above = read_chinese(under), read_chinese(over)
        if not below or above is None:
            return None
        return Quantity(start, end, "percent", above / below * 100, Unit("percent"))
    value = read_chinese(word)
    if value is None:
        return None
    if start and plain[start - 1] == "第":
        return Quantity(start - 1, end, "ordinal", value, Unit("ordinal"))
    quantity = _with_unit(plain, start, end, value)
    lone_scale = len(word) == 1 and word in "十百千万亿"
    return None if lone_scale and quantity.unit.dimension == "" else quantity


def _with_unit(plain: str, start: int, end: int, value: Decimal) -> Quantity:
    before, after = plain[:start], plain[end:]
    if (symbol := _BEFORE.search(before)) is not None:
        money = match_unit(_SYMBOL.get(symbol[1], symbol[1].upper()))
        if money is not None:
            return Quantity(start - len(symbol[0]), end, "price", value * money[0].factor, money[0])
    if before.endswith("第"):
        return Quantity(start - 1, end, "ordinal", value, Unit("ordinal"))
    found = match_unit(after.lstrip(" -"), starts=True)
    if found is None:
        if (gap := _RANGE.match(after)) is not None and (other := _ARABIC.match(plain, end + gap.end())) is not None:
            inherited = _with_unit(plain, other.start(), other.end(), value)
            return Quantity(start, end, inherited.kind, inherited.value, inherited.unit)
        return Quantity(start, end, "number", value, BARE)
    unit, length = found
    end += len(after) - len(after.lstrip(" -")) + length
    if unit.dimension == "left":  # 折: 8 and 85 are written without the point
        return Quantity(start, end, "discount", value / (10 if value < 10 else 100), unit)
    value *= unit.factor
    if unit.dimension == "percent" and (_OFF_AFTER.match(plain[end:]) or _OFF_BEFORE.search(before)):
        return Quantity(start, end, "discount", 1 - value / 100, Unit("left"))
    kind = {"currency": "price", "percent": "percent", "": "number", "count": "number"}.get(
        unit.dimension.split(":")[0]
    )
    if kind is None:
        kind = "duration" if unit.dimension in CALENDAR_NUMBERS else "measure"
    return Quantity(start, end, kind, value, unit)
