"""What characters stand for: their variants folded to plain ones, Chinese numerals to their values.

Folding is one character to one character, so that the spans of matches stay true.
"""

from __future__ import annotations

import unicodedata
from decimal import Decimal

DIGITS = {c: i for i, c in enumerate("零一二三四五六七八九")}
DIGITS |= {c: i for i, c in enumerate("〇壹贰叁肆伍陆柒捌玖")} | {
    "两": 2,
    "俩": 2,
    "仨": 3,
    "貳": 2,
    "參": 3,
    "陸": 6,
    "兩": 2,
}
_SCORES = {"廿": "二十", "卅": "三十"}
_SMALL = {"十": 10, "百": 100, "千": 1000, "拾": 10, "佰": 100, "仟": 1000}
_LARGE = {"万": 10_000, "亿": 100_000_000, "萬": 10_000, "億": 100_000_000}
CJK = "".join([*DIGITS, *_SMALL, *_LARGE, *_SCORES])


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
    for score, spelled in _SCORES.items():
        text = text.replace(score, spelled)
    whole, _, fraction = text.partition("点")
    if not whole or any(c not in CJK for c in whole):
        return None
    if len(whole) > 1 and all(c in DIGITS for c in whole):
        value = Decimal(int("".join(str(DIGITS[c]) for c in whole)))
    else:
        total = section = number = 0
        last = largest = 0
        for char in whole:
            if char in DIGITS:
                number = DIGITS[char]
            elif char in _SMALL:
                last = _SMALL[char]
                section += (number or 1) * last
                number = 0
            else:
                last = _LARGE[char]
                if largest > last:  # 一亿二千万
                    total += (section + number) * last
                else:
                    total = (total + section + number or 1) * last
                largest = max(largest, last)
                section = number = 0
        if number and last >= 100 and whole[-2] not in "零〇":
            number *= last // 10  # 一万二 is 12,000; 三百五 is 350
        value = Decimal(total + section + number)
    if fraction:
        if any(c not in DIGITS for c in fraction):
            return None
        value += Decimal("0." + "".join(str(DIGITS[c]) for c in fraction))
    return value
