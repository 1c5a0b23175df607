"""English number words: their values, and the idioms in which a number counts nothing.

``two hundred and ten`` is 210; the number of ``first things first`` counts nothing.
"""

from __future__ import annotations

import re
from decimal import Decimal

_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
UNDER_HUNDRED = {word: value for value, word in enumerate(_ONES)} | {w: 10 * v for v, w in enumerate(TENS, start=2)}
_SCALE = {"hundred": 100, "thousand": 1000, "million": 1_000_000, "billion": 1_000_000_000, "dozen": 12}
NUMBER_WORDS = "|".join(sorted([*UNDER_HUNDRED, *_SCALE], key=len, reverse=True))
UNITS = "|".join(sorted(_ONES[1:10], key=len, reverse=True))
_SMALL = "|".join(sorted(_ONES, key=len, reverse=True))
UNDER = rf"(?:(?:{'|'.join(TENS)})(?:[ -](?:{UNITS})\b)?|(?:{_SMALL}))"  # twenty-one, but not four and two
_HUNDREDS = rf"(?:(?:{UNDER}[ -])?hundred(?:(?:[ -]and)?[ -]{UNDER}\b)?|{UNDER})"
NUMBER = (
    rf"(?:{UNDER}[ -]dozen|dozen|(?:{_HUNDREDS}[ -])?(?:thousand|million|billion)"
    rf"(?:(?:,| and)?[ -]{_HUNDREDS}(?:[ -]thousand(?:(?: and)?[ -]{_HUNDREDS})?)?\b)?|{_HUNDREDS})"
)
_NUMBER = re.compile(rf"\b{NUMBER}\b", re.I)
ANY = rf"(?:\d[\d,]*(?:\.\d+)?|{NUMBER})"
_LIFE = (
    "things|reasons|ways to say|excuses|minds?|worlds|thoughts?|words|eyes|birds|cents|legs|paws|feet|hands|heads|walls"
    "|corners|winds"
)
_IDIOMS = re.compile(
    r"\b(?:"
    r"first things first|one (?:of (?:those|these|us|you|them)|by one|at a time|another|more|or (?:two|the other)"
    r"|on one)|no two|two of (?:you|us|them)"
    r"|(?<!-)one(?! (?:hundred|thousand|million|billion|dozen|pounds?|dollars?|euros?|yuan|quid)\b)|the (?:one|ones)"
    r"|the two|you two|us two|just the two"
    r"|the three of (?:you|us)|(?:two|three|four"
    r"|five) of (?:you|us)"
    r"|square one|cloud nine|nine[ -]to[ -]five|9[ -]to[ -]5|ten out of ten|on all fours|at sixes and sevens"
    r"|dressed to the nines|back to zero|from zero"
    r"|zero to hero|a million(?= (?:miles|things|reasons|tiny|little|times|other|and))|one in a million"
    r"|thanks a million"
    r"|a (?:hundred|thousand|million)(?= (?:times|little|tiny|small|other|tabs|things|words|reasons|questions|miles"
    r"|and one|stories|thoughts))"
    r"|(?:two|three|four) (?:left feet|cents)|it takes two|two's company|table for (?:two|four|six)|third wheel"
    r"|sixth sense|seventh heaven"
    r"|own two (?:feet|wheels|legs|hands|eyes)|(?:two|three|four|five|six) of (?:the|them|these|those)"
    r"|year (?:\d{1,2})(?=\?)"
    rf"|(?:{NUMBER}) more(?=\s*[,.;!?]|$)|(?:{NUMBER}) more (?=minutes|hours|days|times|things|pages|rounds|miles"
    rf"|coffees|sleeps)"
    r"|eleventh hour|nine lives|forty winks|five senses|seven seas|four seasons|24/7|two hoots|once or twice|twice"
    rf"|two[ -](?={_LIFE}\b)|four[ -](?:legged|pawed|walls|corners|seasons)|ten (?:little |tiny )?(?:fingers|toes)"
    r"|a second (?:thought|chance|cup|look|helping|glance|life|home|nature|opinion|wind|slice|pair|skin|date|mug|bowl"
    r"|time|shelf|screen)"
    r"|second[ -](?:hand|guess\w*|nature|best|half)|split second|half the (?:battle|fun|work|story|time)"
    r"|third time lucky|hundred per ?cent you|one-(?:to-one|on-one|off)|the (?:third|fourth|fifth) (?:time|coffee|cup"
    r"|email|alarm|draft)"
    r"|fifty-fifty|mid-(?:thirties|forties|twenties|fifties)|three square meals|six[ -]pack|ten a penny"
    r")\b",
    re.I,
)


def read_english(text: str) -> Decimal:
    """The value of English number words (``twenty-five``, ``two hundred and ten``, ``a dozen``)."""
    total = current = 0
    for word in re.split(r"[ ,-]+", text.lower()):
        if word in UNDER_HUNDRED:
            current += UNDER_HUNDRED[word]
        elif word in ("hundred", "dozen"):
            current = (current or 1) * _SCALE[word]
        elif word in _SCALE:
            total += (current or 1) * _SCALE[word]
            current = 0
    return Decimal(total + current)


def read_any(text: str) -> Decimal:
    """The value of digits or of number words."""
    return Decimal(text.replace(",", "")) if text[0].isdigit() else read_english(text)


def idle(plain: str) -> list[tuple[int, int]]:
    """The spans of a folded text whose numbers count nothing."""
    found = [match.span() for match in _IDIOMS.finditer(plain)]
    if not any(plain[start:end].lower() == "one" for start, end in found):
        return found
    numbers = [match.span() for match in _NUMBER.finditer(plain)]
    return [
        (start, end)
        for start, end in found
        if not any(low <= start and end <= high and high - low > end - start for low, high in numbers)
    ]
