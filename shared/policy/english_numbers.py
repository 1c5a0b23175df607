"""English numbers: words for them, fractions and counts that are said, clock times, money in slang, and idioms.

``a third of a litre`` and ``a quarter off`` are quantities; the number of ``first things first`` counts nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from shared.policy.units import BARE, CALENDAR_NUMBERS, Unit, match_unit

Spoken = tuple[int, int, str, Decimal, Unit]

_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
UNDER_HUNDRED = {word: value for value, word in enumerate(_ONES)} | {w: 10 * v for v, w in enumerate(_TENS, start=2)}
_SCALE = {"hundred": 100, "thousand": 1000, "million": 1_000_000, "billion": 1_000_000_000, "dozen": 12}
NUMBER_WORDS = "|".join(sorted([*UNDER_HUNDRED, *_SCALE], key=len, reverse=True))
NUMBER = rf"(?:{NUMBER_WORDS})(?:(?:[ -]|[ -]and[ -])(?:{NUMBER_WORDS}))*"
_ANY = rf"(?:\d[\d,]*(?:\.\d+)?|{NUMBER})"

_FRACTIONS = {
    "half": Decimal("0.5"), "third": Decimal(1) / 3, "quarter": Decimal("0.25"), "fifth": Decimal("0.2"),
    "sixth": Decimal(1) / 6, "eighth": Decimal("0.125"), "tenth": Decimal("0.1"),
}  # fmt: skip
_FRACTION = r"(?P<n>(?:an?|one|two|three|four)[ -])?(?P<f>half|third|quarter|fifth|sixth|eighth|tenth)s?"
_UNIT = (
    "hour|minute|day|week|fortnight|month|year|decade|century|litre|liter|kilo|kilogram|metre|meter|mile|pint|ton|tonne"
    "|inch"
)
_PART_OF_UNIT = re.compile(rf"\b{_FRACTION}(?: of)?(?: an?|[ -])\s?(?P<unit>{_UNIT})\b(?! and a half)", re.I)
_POINT = re.compile(
    rf"\b(?P<n>{NUMBER}) point (?P<d>(?:{NUMBER_WORDS})(?: (?:{NUMBER_WORDS}))?)(?:[ -](?P<unit>[a-z]+))?\b", re.I
)
_WORTH = re.compile(
    rf"\b(?P<n>an?|{_ANY}) (?P<unit>year|month|week|day|hour)s?['’]s? (?:supply|worth|access|cover|warranty|guarantee"
    rf"|membership|subscription)\b",
    re.I,
)
_AND_PART = re.compile(
    rf"\b(?:(?P<one>an?|one) (?P<unit>{_UNIT})|(?P<n>{_ANY})) and (?:a |three )?(?P<f>half"
    rf"|quarters?)(?:[ -](?P<units>[a-z]+))?\b",
    re.I,
)
_PART_OFF = re.compile(
    rf"\b{_FRACTION}(?:[ -](?:off\b|less than\b|cheaper\b|discount\b)| (?:of|off) (?:the|your|its) (?:price|cost|bill"
    rf"|fee|total|usual))"
    rf"|\b(?:save|saves|saving|knocks?|cuts?|shaves?)(?: you"
    rf"| yourself)? {_FRACTION.replace('<n>', '<n2>').replace('<f>', '<f2>')}\b"
    r"(?! (?:of )?(?:an?|the) (?:hour|day|minute))",
    re.I,
)
_COUNT = re.compile(
    r"\b(?:(?P<half>half a dozen|half-dozen)|(?P<dozen>a dozen)|a (?P<group>trio|quartet|threesome|foursome) of)\b"
    r"(?: (?P<unit>miles|kilometres|hours|minutes|days|weeks|months|years|metres|pounds|dollars|lessons|classes"
    r"|sessions|episodes)\b)?",
    re.I,
)
_IN = re.compile(
    rf"\b(?P<n>{NUMBER})(?= in\b)|(?<![$£€¥\d.,])\b(?P<d>\d+)(?= in (?:the|an?|your|every|all|each|one|total|our"
    rf"|my)\b)",
    re.I,
)
_RATIO = re.compile(
    rf"\b(?P<n>{_ANY}) (?:in|out of)(?: every)? (?P<m>{_ANY})\b(?! (?:minutes|hours|days|weeks|months|seconds|years))",
    re.I,
)
_MINUS = re.compile(rf"(?:\bminus |(?<![\w-])-)(?P<n>{_ANY})\b(?:\s?(?:°C?|degrees))?(?![%\w])", re.I)
_SHARED = re.compile(  # 100, 140 and 180 mm
    r"(?<![\w.])(?P<n>\d+(?:\.\d+)?)(?=(?:, \d+(?:\.\d+)?)*,? (?:and|or|&) \d+(?:\.\d+)?\s?(?P<unit>[A-Za-z]+)\b)"
    r"|(?<![\w.])(?P<by>\d+(?:\.\d+)?)(?= by \d+(?:\.\d+)?\s?(?P<unit2>[A-Za-z]+)\b)"
)
_GROUP = {"trio": 3, "threesome": 3, "quartet": 4, "foursome": 4}
_ONE = re.compile(
    r"(?:(?<=\bin )|(?<=\bfor )|(?<=\bwithin )|(?<=\bover )|(?<=\bunder )|(?<=\babout )|(?<=\baround )|(?<=\bnearly )"
    r"|(?<=\balmost )"
    r"|(?<=\bthan )|(?<=\bjust )|(?<=\bonly )|(?<=\blasts )|(?<=\blast )|(?<=\btakes )|(?<=\btake )|(?<=\bus )"
    r"|(?<=\broughly )"
    r"|(?<=\bbarely )|(?<=\bleast )|(?<=\bto )|(?<=\bof )|(?<=\bafter )|(?<=\bhas )|(?<=\bhave )|(?<=\bwith )"
    r"|(?<=\bgives )|(?<=\bfirst ))"
    rf"(?:an?|one|single|a single|a full|a whole|a solid|a good)[ -](?P<unit>(?!pint|ton\b|tonne)(?:{_UNIT})|second)\b"
    r"(?!['’]s\b|[ -](?:ago|or two|and a|later on|off|out|in the|of (?:rest|peace|calm|your|my)|like|when|that|at|by"
    r"|where|with)\b)",
    re.I,
)
_ONE_LONG = re.compile(
    rf"\b(?:one|an?|single)-(?P<unit>{_UNIT})\b|\bone (?P<plain>{_UNIT})\b(?! (?:of|at a time|when|you|we|i|at)\b)",
    re.I,
)
_ONE_OPENS = re.compile(
    r"\b(?:an?|one) (?:whole |full |entire )?(?P<unit>kilo|litre|liter|metre|meter|gram)\b(?! away)|\b(?:an?"
    r"|one) (?P<ahead>hour|day|week"
    r"|month) (?:before|ahead|in advance|early|beforehand)\b"
    r"|\ba (?:full|whole) (?P<full>hour|day|week|month|year)\b(?! of (?:rest|sleep|peace))",
    re.I,
)
_ORDINALS = re.compile(r"\b(third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|twelfth|twentieth)\b(?! of\b)", re.I)
_ORDINAL = {
    "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10, "twelfth": 12,
    "twentieth": 20,
}  # fmt: skip
_CLOCK = re.compile(
    rf"\b(?P<h>\d{{1,2}})(?:[:.](?P<m>[0-5]\d))?\s?(?P<when>[ap])\.?m\b\.?|\bhalf[ -]past (?P<past>\w+)\b"
    rf"|\bhalf (?P<half>six|seven|eight)\b"
    rf"|\bquarter (?P<to>to|past) (?P<quarter>{NUMBER_WORDS})\b|\b(?P<oclock>\w+) o['’]clock\b|\b(?P<noon>noon|midday"
    rf"|midnight)\b",
    re.I,
)
_CLOCK_RANGE = re.compile(
    r"\b(?P<h>\d{1,2})(?:[:.](?P<m>[0-5]\d))?\s?(?:-|–|—|to|till|until"
    r"|and)\s?(?P<h2>\d{1,2})(?:[:.][0-5]\d)?\s?(?P<when>[ap])\.?m\b",
    re.I,
)
_AGE = re.compile(
    rf"\b(?P<n>{_ANY})[ -]years?[ -]olds?\b|\b(?:under|over)[- ](?P<tens>\d+|tens|elevens|twelves|fives|eights"
    rf"|sixteens|eighteens|sixties|fifties|forties|thirties)s?\b(?![ -]?(?:[£$€%°]|(?:g|kg|mg|ml|cl|l|cm|mm|m|km|w|v"
    rf"|hz|db|mb|gb|oz|lbs?|mph|kcal)\b|years|months|minutes|hours|days"
    rf"|weeks|grams|metres|miles|people|percent|per))",
    re.I,
)
_TENS_OF = {
    "fives": 5, "eights": 8, "tens": 10, "elevens": 11, "twelves": 12, "sixteens": 16, "eighteens": 18, "thirties": 30,
    "forties": 40, "fifties": 50, "sixties": 60,
}  # fmt: skip
_MONEY = re.compile(
    rf"\b(?P<n>{_ANY}) ?(?P<unit>quid|bucks?|pence|grand)\b|\b(?P<p>\d{{1,2}})p\b(?!\w)|\ba (?P<note>fiver|tenner)\b",
    re.I,
)
_MIXED = re.compile(
    rf"\b(?P<n>{_ANY}) (?P<unit>pounds?|dollars?|euros?) (?P<m>{NUMBER}|\d\d)\b(?! (?:{NUMBER_WORDS}))", re.I
)
_CURRENCY = {"poun": "currency:GBP", "doll": "currency:USD", "euro": "currency:EUR"}
_POUNDS = {"quid": ("currency:GBP", "1"), "pence": ("currency:GBP", "0.01"), "grand": ("currency:GBP", "1000")}

_LIFE = (
    "things|reasons|ways to say|excuses|minds?|worlds|thoughts?|words|eyes|birds|cents|legs|paws|feet|hands|heads|walls"
    "|corners|winds"
)
_IDIOMS = re.compile(
    r"\b(?:"
    r"first things first|one (?:of (?:those|these|us|you|them)|by one|at a time|another|more|or (?:two|the other)"
    r"|on one)|no two|two of (?:you|us|them)"
    r"|one|the (?:one|ones)|the two|you two|us two|just the two|the three of (?:you|us)|(?:two|three|four"
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
    rf"|(?:{NUMBER}) more (?=minutes|hours|days|times|things|pages|rounds|miles|coffees|sleeps)"
    r"|eleventh hour|nine lives|forty winks|five senses|seven seas|four seasons|24/7|two hoots|once or twice|twice"
    rf"|two[ -](?={_LIFE}\b)|four[ -](?:legged|pawed|walls|corners|seasons)|ten (?:fingers|toes)"
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
    for word in re.split(r"[ -]+", text.lower()):
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
    return [match.span() for match in _IDIOMS.finditer(plain)]


def find_english(plain: str) -> Iterator[Spoken]:
    """(start, end, kind, value, unit) of the quantities that English says in words of its own."""
    yield from _money(plain)
    yield from _clocks(plain)
    for match in _AGE.finditer(plain):
        if match["n"]:
            yield match.start(), match.end(), "measure", read_any(match["n"]), Unit("age")
        else:
            tens = match["tens"].lower()
            value = Decimal(_TENS_OF[tens]) if tens in _TENS_OF else Decimal(tens)
            yield match.start("tens"), match.end(), "measure", value, Unit("age")
    for match in _PART_OFF.finditer(plain):
        part = _part(match["n"] or match["n2"], match["f"] or match["f2"])
        yield match.start(), match.end(), "discount", 1 - part, Unit("left")
    for match in _POINT.finditer(plain):
        digits = "".join(str(read_english(word)) for word in match["d"].split())
        value = Decimal(f"{read_english(match['n'])}.{digits}")
        if match["unit"] and match_unit(match["unit"].lower()):
            yield _measured(match, value, match["unit"])
        else:
            yield match.start(), match.end("d"), "number", value, BARE
    for match in _WORTH.finditer(plain):
        worth = Decimal(1) if match["n"].lower() in ("a", "an") else read_any(match["n"])
        yield _measured(match, worth, match["unit"])
    for match in _AND_PART.finditer(plain):
        part = Decimal("0.5") if match["f"].lower() == "half" else Decimal("0.75" if " three " in match[0] else "0.25")
        unit = match["unit"] or match["units"]
        if unit is not None and (match["one"] or match_unit(unit.lower()) or unit.lower() in _SPANS):
            yield _measured(match, (Decimal(1) if match["one"] else read_any(match["n"])) + part, unit)
    for match in _PART_OF_UNIT.finditer(plain):
        if match["n"] is None and match["f"].lower() != "half" and " of " not in match[0].lower():
            continue
        yield _measured(match, _part(match["n"], match["f"]), match["unit"])
    for match in _COUNT.finditer(plain):
        count = 6 if match["half"] else 12 if match["dozen"] else _GROUP[match["group"].lower()]
        if match["unit"]:
            yield _measured(match, Decimal(count), match["unit"])
        else:
            yield match.start(), match.end(), "number", Decimal(count), BARE
    for match in _RATIO.finditer(plain):
        whole = read_any(match["m"])
        if 0 < read_any(match["n"]) < whole <= 100:
            yield match.start(), match.end(), "percent", read_any(match["n"]) / whole * 100, Unit("percent")
    for match in _IN.finditer(plain):
        if (match["n"] or "").lower() not in ("one", "zero"):
            yield match.start(), match.end(), "number", read_any(match["n"] or match["d"]), BARE
    for match in _MINUS.finditer(plain):
        yield match.start(), match.end(), "measure", read_any(match["n"]), Unit("temperature")
    for match in _SHARED.finditer(plain):
        found = match_unit(match["unit"] or match["unit2"])
        if found is not None:
            value = Decimal(match["n"] or match["by"]) * found[0].factor
            yield match.start(), match.end(), "measure", value, found[0]
    for match in _ONE.finditer(plain):
        yield _measured(match, Decimal(1), match["unit"])
    for match in _ONE_OPENS.finditer(plain):
        yield _measured(match, Decimal(1), match["unit"] or match["ahead"] or match["full"])
    for match in _ONE_LONG.finditer(plain):
        yield _measured(match, Decimal(1), match["unit"] or match["plain"])
    for match in _ORDINALS.finditer(plain):
        yield match.start(), match.end(), "ordinal", Decimal(_ORDINAL[match[0].lower()]), Unit("ordinal")


def _part(count: str | None, name: str) -> Decimal:
    times = {"two": 2, "three": 3, "four": 4}.get((count or "a").strip(" -").lower(), 1)
    return times * _FRACTIONS[name.lower()]


def _money(plain: str) -> Iterator[Spoken]:
    for match in _MIXED.finditer(plain):
        value = read_any(match["n"]) + read_any(match["m"]) / 100
        name = _CURRENCY.get(match["unit"].lower()[:4], "currency:GBP")
        yield match.start(), match.end(), "price", value, Unit(name)
    for match in _MONEY.finditer(plain):
        if match["p"]:
            yield match.start(), match.end(), "price", Decimal(match["p"]) / 100, Unit("currency:GBP")
        elif match["note"]:
            value = Decimal(5 if match["note"].lower() == "fiver" else 10)
            yield match.start(), match.end(), "price", value, Unit("currency:GBP")
        else:
            name, factor = _POUNDS.get(match["unit"].lower(), ("currency:USD", "1"))
            yield match.start(), match.end(), "price", read_any(match["n"]) * Decimal(factor), Unit(name)


_SPANS = {
    "fortnight": (Decimal(14 * 86400), Unit("time")),
    "decade": (Decimal(120), Unit("months")),
    "century": (Decimal(1200), Unit("months")),
    "pint": (Decimal("0.568"), Unit("volume")),
}


def _measured(match: re.Match[str], value: Decimal, name: str) -> Spoken:
    name = name.lower()
    if name.removesuffix("s") in _SPANS:
        factor, unit = _SPANS[name.removesuffix("s")]
    else:
        found = match_unit({"kilo": "kg", "kilos": "kg"}.get(name, name))
        unit = found[0] if found else BARE
        factor = unit.factor
    kind = "duration" if unit.dimension in CALENDAR_NUMBERS else "measure"
    return match.start(), match.end(), kind, (value * factor).quantize(Decimal("0.000001")).normalize() + 0, unit


def _clocks(plain: str) -> Iterator[Spoken]:
    for match in _CLOCK_RANGE.finditer(plain):
        late = int(match["h"]) == 12 or (match["when"].lower() == "p" and int(match["h"]) <= int(match["h2"]) % 12)
        hour = Decimal(match["h"]) % 12 + (12 if late else 0)
        end = match.end("m") if match["m"] else match.end("h")
        yield match.start(), end, "time", hour * 60 + int(match["m"] or 0), Unit("clock")
    for match in _CLOCK.finditer(plain):
        if match["h"]:
            hour = Decimal(match["h"]) % 12 + (12 if match["when"].lower() == "p" else 0)
            yield match.start(), match.end(), "time", hour * 60 + int(match["m"] or 0), Unit("clock")
        elif match["noon"]:
            value = Decimal(1440 if match["noon"].lower() == "midnight" else 720)
            yield match.start(), match.end(), "time", value, Unit("clock")
        elif match["quarter"]:
            value = read_english(match["quarter"]) * 60 + (15 if match["to"].lower() == "past" else -15)
            yield match.start(), match.end(), "time", value, Unit("clock")
        else:
            name = (match["past"] or match["half"] or match["oclock"]).lower()
            if name in UNDER_HUNDRED or name.isdigit():
                minutes = (UNDER_HUNDRED[name] if name in UNDER_HUNDRED else int(name)) * 60
                yield (
                    match.start(),
                    match.end(),
                    "time",
                    Decimal(minutes + (0 if match["oclock"] else 30)),
                    Unit("clock"),
                )
