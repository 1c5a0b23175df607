"""Quantities that English says in words of its own: fractions and counts, clock times, money in slang, ages.

``a third of a litre`` and ``a quarter off`` are quantities, as are ``half past six`` and ``a fiver``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from shared.policy.english_numbers import (
    ANY,
    NUMBER,
    NUMBER_WORDS,
    TENS,
    UNDER,
    UNDER_HUNDRED,
    UNITS,
    read_any,
    read_english,
)
from shared.policy.units import BARE, CALENDAR_NUMBERS, Unit, match_unit

Spoken = tuple[int, int, str, Decimal, Unit]
_FRACTIONS = {
    "half": Decimal("0.5"), "third": Decimal(1) / 3, "quarter": Decimal("0.25"), "fifth": Decimal("0.2"),
    "sixth": Decimal(1) / 6, "eighth": Decimal("0.125"), "tenth": Decimal("0.1"),
}  # fmt: skip
_FRACTION = (
    r"(?P<n>(?:an?|one|two|three|four)[ -](?:(?:full|whole|good|clear|cool) )?)?"
    r"(?P<f>half|third|quarter|fifth|sixth|eighth|tenth)s?"
)
_UNIT = (
    "hour|minute|day|week|fortnight|month|year|decade|century|litre|liter|kilo|kilogram|metre|meter|mile|pint|ton|tonne"
    "|inch"
)
_PART_OF_UNIT = re.compile(rf"\b{_FRACTION}(?: of)?(?: an?|[ -])\s?(?P<unit>{_UNIT})\b(?! and a half)", re.I)
_TIME_UNIT = "hours?|hrs?|h|minutes?|mins?|min|seconds?|secs?|days?|weeks?|months?|years?"
_COMPOUND = re.compile(  # eleven hours and twenty-five minutes, an hour and twenty, a year and six months
    rf"\b(?P<n>an?|{ANY})[ -]?(?P<unit>{_TIME_UNIT}) ?(?:and )?(?P<m>{ANY})(?:[ -]?(?P<unit2>{_TIME_UNIT})\b"
    rf"|(?=\s*(?:[,.;:!?)]|$)| (?:of|in|at|with|later|from|to)\b))",
    re.I,
)
_IMPLIED = {"h": "minutes", "y": "months"}
_BELOW: dict[str, tuple[str, ...]] = {
    "ho": ("m",), "hr": ("m",), "h": ("m",), "mi": ("s",), "we": ("d",), "da": ("h",), "ye": ("mo",),
}  # fmt: skip
_POINT = re.compile(
    rf"\b(?P<n>{NUMBER}) point (?P<d>(?:{NUMBER_WORDS})(?: (?:{NUMBER_WORDS}))?)(?:[ -](?P<unit>[a-z]+))?\b", re.I
)
_WORTH = re.compile(
    rf"\b(?P<n>an?|{ANY}) (?P<unit>year|month|week|day|hour)s?['’]s? (?:supply|worth|access|cover|warranty|guarantee"
    rf"|membership|subscription|notice|trial|hire|rental|pass|stay|validity)\b",
    re.I,
)
_AND_PART = re.compile(
    rf"\b(?:(?P<one>an?|one)(?: (?!half\b|quarter\b|third\b)[a-z]+)? (?P<unit>{_UNIT})|(?P<n>{ANY})) and (?:a "
    rf"|three )?(?P<f>half"
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
    r"\b(?:(?P<half>half a dozen|half-dozen)|(?P<dozen>a (?P<baker>baker['’]s )?dozen)"
    r"|a (?P<group>trio|quartet|threesome|foursome) of)\b"
    r"(?: (?P<unit>miles|kilometres|hours|minutes|days|weeks|months|years|metres|pounds|dollars|lessons|classes"
    r"|sessions|episodes)\b)?",
    re.I,
)
_PER_CENT = re.compile(rf"\b(?P<n>{ANY}) per cent\b(?P<off>,? (?:off|less|discount|cheaper)\b)?", re.I)
_METRE_AND = re.compile(
    rf"\b(?P<n>an?|{ANY})[ -]met(?:re|er)s?(?: and|-and)?[ -](?P<m>\d\d"
    rf"|(?:{'|'.join(TENS)})(?:-(?:{UNITS}))?|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen)\b"
    r"(?! (?:cm|centi|people))",
    re.I,
)
_FEET_AND = re.compile(  # five foot two
    rf"\b(?P<n>{ANY})[ -](?:foot|feet)(?: and|-and)?[ -](?P<m>1[01]|[1-9]|{UNITS}|ten|eleven)"
    r"(?:(?:-| )inch(?:es)?\b|(?=\s*(?:[,.;:!?)]|$)| (?:tall|high|long|wide|deep|in|and|or|across)\b))",
    re.I,
)
_SCORES = re.compile(rf"\b(?P<n>{UNDER}) score\b(?: and (?P<m>{UNDER})\b)?", re.I)
_PART_OF_MANY = re.compile(
    rf"\b{_FRACTION}(?: of)? an? (?P<many>hundred|thousand|million|billion|dozen)\b(?! (?:pounds|dollars|euros))", re.I
)
_WASHED_AT = re.compile(  # washable at thirty
    rf"\b(?:wash|washed|washes|washable|laundered)\b(?: [a-z]+)? at (?P<n>{ANY})\b"
    r"(?! ?(?:°|[cf]\b|degrees|o['’]clock|[ap]\.?m\b|[a-z]+s\b)|[:.]\d)",
    re.I,
)
_CUT_BY = re.compile(
    r"\b(?:cut|cuts|halv\w+|reduc\w+|slash\w*|drop\w*|lower\w*|shrink\w*|down|up|grow\w*|rise\w*"
    r"|boost\w*)\b[^.!?]{0,30}?"
    r" (?P<by>by (?:a |one )?(?P<f>half|third|quarter|fifth|tenth))\b",
    re.I,
)
_POUNDS_PENCE = re.compile(
    rf"\b(?P<n>(?!eighteen\b|nineteen\b|twenty\b){UNDER}) (?P<m>(?:{'|'.join(TENS)})(?:-(?:{UNITS}))?)"
    r"(?=\s*(?:[.,;:!?]|$)| (?:less|more|off|each|apiece|cheaper|back|change|an?|for|and|per)\b)",
    re.I,
)
_SHARE = re.compile(  # a tenth of each sale, two-thirds of last year's riders
    r"\b(?:(?P<one>an?|one)[ -](?P<f>third|quarter|fifth|sixth|eighth|tenth)|(?P<n>two|three|four"
    r"|nine)[ -](?P<fs>third|quarter|fifth|eighth|tenth)s"
    r"|(?P<half>half)) of (?P<all>(?:each|every|all|our|the|your|last|its|what)\b(?: (?!an?\b)[\w'’]+){1,3})",
    re.I,
)
_MONEYED = re.compile(
    r"\b(?:proceeds|profits?|sales?|price|income|fees?|takings|cost|rent|turnover|money|pound|euro)\b", re.I
)
_OF_EVERY = re.compile(
    rf"\bof (?:every|each) (?P<m>hundred|ten|100|10) (?:pounds?|euros?|dollars?|pence|yuan)?,? ?(?P<n>{UNDER}|\d+)\b",
    re.I,
)
_SPEED = re.compile(rf"\b(?P<n>{ANY}) (?P<unit>miles|kilometres|kilometers) (?:an|per) hour\b", re.I)
_IN_TEN = re.compile(rf"\b(?P<n>{ANY}) [a-z]+ in (?P<m>ten|10|a hundred|100)\b(?! [a-z]+s\b)", re.I)
_AREA = re.compile(rf"\b(?P<n>{ANY}) (?:square|sq\.?) (?P<unit>metres?|meters?|m|feet|foot|ft)\b", re.I)
_CHOICE = re.compile(  # four, five or six weeks
    rf"\b(?P<n>{ANY})(?=(?:, {ANY})+,? (?:or|and) {ANY} (?P<unit>hours|minutes|days|weeks|months|years)\b)", re.I
)
_IN = re.compile(
    rf"\b(?P<n>{NUMBER})(?= in\b)|(?<![$£€¥\d.,])\b(?P<d>\d+)(?= in (?:the|an?|your|every|all|each|one|total|our"
    rf"|my)\b)",
    re.I,
)
_RATIO = re.compile(
    rf"\b(?P<n>{ANY}) (?:in|(?:[a-z]+ )?out of)(?: every| a)? (?P<m>{ANY})\b(?! (?:minutes|hours|days|weeks|months"
    rf"|seconds|years))",
    re.I,
)
_MINUS = re.compile(rf"(?:\bminus |(?<![\w-])-)(?P<n>{ANY})\b(?:\s?(?:°C?|degrees))?(?![%\w])", re.I)
_SHARED = re.compile(  # 100, 140 and 180 mm
    r"(?<![\w.])(?P<n>\d+(?:\.\d+)?)(?=(?:, \d+(?:\.\d+)?)*,? (?:and|or|&) \d+(?:\.\d+)?\s?(?P<unit>[A-Za-z]+)\b)"
    r"|(?<![\w.])(?P<by>\d+(?:\.\d+)?)(?= by \d+(?:\.\d+)?\s?(?P<unit2>[A-Za-z]+)\b)"
)
_FOOT = Decimal("0.3048")
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
_RATED = re.compile(r"(?:[£$€]\d[\d.,]*|\b(?:pounds?|pence|euros?|dollars?|p|yuan|quid|cents?|bucks?)) $", re.I)
_ONE_LONG = re.compile(
    rf"\b(?:one|an?|single)-(?P<unit>{_UNIT})\b|\bone (?P<plain>{_UNIT})\b(?! (?:of|at a time|when|you|we|i|at)\b)",
    re.I,
)
_ONE_OPENS = re.compile(
    r"\b(?:an?|one) (?:whole |full |entire )?(?P<unit>kilo|litre|liter|metre|gram|kilometre|mile)\b(?! away)|\b(?:an?"
    r"|one) (?P<ahead>hour|day|week"
    r"|month) (?:before|ahead|in advance|early|beforehand)\b"
    r"|\ba (?:full|whole) (?P<full>hour|day|week|month|year)\b(?! of (?:rest|sleep|peace))",
    re.I,
)
_NTH = [
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh"),
    *("twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth"),
    "twentieth",
]
_ORDINAL = {name: place for place, name in enumerate(_NTH, start=1) if place > 2} | {"thirtieth": 30, "fiftieth": 50}
_ORDINAL |= {
    f"{ten}-{name}": 10 * tens + place
    for tens, ten in enumerate(TENS, start=2)
    for place, name in enumerate(_NTH[:9], start=1)
}
_ORDINALS = re.compile(rf"\b({'|'.join(sorted(_ORDINAL, key=len, reverse=True))})\b(?! of\b)", re.I)
_CLOCK = re.compile(
    rf"\b(?P<h>\d{{1,2}})(?:[:.](?P<m>[0-5]\d))?\s?(?P<when>[ap])\.?m\b\.?|\bhalf[ -]past (?P<past>\w+)\b"
    rf"|\bhalf (?P<half>six|seven|eight)\b"
    rf"|(?:(?<=\bat )|(?<=\bby )|(?<=\bfrom )|(?<=\bbetween )|(?<=\band )|(?<=\buntil )|(?<=\btill )|(?<=\bto )"
    rf"|(?<=\bbefore )"
    rf"|(?<=\bafter ))half (?P<half2>one|two|three|four|five|nine|ten|eleven|twelve)\b(?! (?:as|of|hours|minutes"
    rf"|dozen))"
    rf"|\bquarter (?P<to>to|past) (?P<quarter>{NUMBER_WORDS})\b|\b(?P<oclock>\w+) o['’]clock\b|\b(?P<noon>noon|midday"
    rf"|midnight)\b",
    re.I,
)
_CLOCK_WORDS = re.compile(  # twenty to nine
    rf"(?:(?<=\bat )|(?<=\bby )|(?<=\btill )|(?<=\buntil )|(?<=\bfrom )|(?<=\bbefore )|(?<=\bafter )|(?<=\babout )"
    rf"|(?<=\baround ))(?P<m>five|ten|twenty-five|twenty) (?P<to>to|past) (?P<h>{NUMBER_WORDS}|\d{{1,2}})\b"
    r"(?=\s*(?:[,.;:!?)–—-]|$)| (?:and|when|with|in the|on|or|for|sharp|every|each|if|you|we|then|so|this|that|as"
    r"|to)\b)",
    re.I,
)
_CLOCK_CUE = (
    r"(?:at|from|to|until|till|by|before|after|around|between|and|weekdays|weekends|daily|arriv\w+|depart\w*|leaves"
    r"|time|start|opens?"
    r"|closes?|doors|meet|hours|train|bus|ferry|boat|flight|coach|(?:mon|tues?|wed|wednes|thurs?|fri|sat|satur"
    r"|sun)(?:days?)?)"
)
_CLOCK_DOT = re.compile(  # 9.30 to 10.30, at 21.15
    rf"(?:(?<![\w.,£$€¥])(?P<h>[01]?\d|2[0-3])\.(?P<m>[0-5]\d)(?= ?(?:-|–|to|until"
    rf"|till) ?\d{{1,2}}(?:\.[0-5]\d)?\b(?!\d| ?(?:%|[a-z]{{1,2}}\b)))"
    rf"|\bfrom (?P<h4>1?\d)(?= (?:to|until|till) \d{{1,2}}\.[0-5]\d)|\b{_CLOCK_CUE}:? ?(?P<h2>(?:[01]?\d"
    rf"|2[0-3]))\.(?P<m2>[0-5]\d)"
    rf"|(?:(?<=\.[0-5]\d-)|(?<=\.[0-5]\d–)|(?<=\.[0-5]\d - )|(?<=\.[0-5]\d – )|(?<=\.[0-5]\d to )"
    rf"|(?<=\.[0-5]\d until ))(?P<h3>[01]?\d|2[0-3])(?:\.(?P<m3>[0-5]\d)\b|\b(?!\.\d)))"
    r"(?!\d| ?(?:%|°|[kcm]?m\b|k?g\b|m?l\b|litres?|inch|inches|miles|hours?|million|stars?|out of|times|points?"
    r"|[ap]\.?m\b)"
    r"| ?(?:to|and|-|–) ?\d+(?:\.\d+)? ?(?:%|°|[kcm]?m\b|k?g\b|m?l\b|litres?|inch|miles|hours?|[kmgwv]+\b))",
    re.I,
)
_CLOCK_BARE = re.compile(  # Saturdays 10 to 1
    r"\b(?:open|(?:mon|tues|wednes|thurs|fri|satur|sun)days?|lessons|mornings|afternoons|evenings|sessions|weekends"
    r"|weekdays|classes"
    r"|holidays only),?(?: from)?:? (?P<h>1?\d) ?(?:-|–|to) ?(?P<h2>1?\d"
    r"|2[0-4])(?:[.:](?P<m2>[0-5]\d))?\b"
    r"(?!\d| ?(?:%|[ap]\.?m\b|years?|weeks?|days?|people|guests|km|miles|minutes|hours?)|[.:]\d)",
    re.I,
)
_CLOCK_RANGE = re.compile(
    r"\b(?P<h>\d{1,2})(?:[:.](?P<m>[0-5]\d))?\s?(?:-|–|—|to|till|until"
    r"|and)\s?(?P<h2>\d{1,2})(?:[:.][0-5]\d)?\s?(?P<when>[ap])\.?m\b",
    re.I,
)
_AGE = re.compile(
    rf"\b(?P<n>{ANY})[ -]years?[ -]olds?\b"
    rf"|\b(?:children|kids|teenagers|youngsters|boys|girls|people|persons|guests|adults|pupils|speakers|players)"
    rf" (?:of|from) (?P<from>{ANY})(?= (?:and|or) (?:over|up|above|older|upwards)\b)"
    rf"|\b(?:under|over)[- ](?P<tens>\d+|tens|elevens|twelves|fives|eights"
    rf"|sixteens|eighteens|sixties|fifties|forties|thirties)s?\b(?![ -]?(?:[%°]|(?:g|kg|mg|ml|cl|l|cm|mm|m|km|w|v"
    rf"|hz|db|mb|gb|oz|lbs?|mph|kcal)\b|years|months|minutes|hours|days"
    rf"|weeks|grams|metres|miles|people|percent|per))",
    re.I,
)
_TENS_OF = {
    "fives": 5, "eights": 8, "tens": 10, "elevens": 11, "twelves": 12, "sixteens": 16, "eighteens": 18, "thirties": 30,
    "forties": 40, "fifties": 50, "sixties": 60,
}  # fmt: skip
_MONEY = re.compile(
    rf"\b(?P<n>{ANY}) ?(?P<unit>quid|bucks?|pence|grand)\b|\b(?P<p>\d{{1,2}})p\b(?!\w)|\ba (?P<note>fiver|tenner)\b",
    re.I,
)
_MIXED = re.compile(
    rf"\b(?P<n>{ANY}) (?P<unit>pounds?|dollars?|euros?|yuan) (?P<m>{NUMBER}|\d\d)\b(?! (?:{NUMBER_WORDS}))", re.I
)
_CURRENCY = {"poun": "currency:GBP", "doll": "currency:USD", "euro": "currency:EUR", "yuan": "currency:CNY"}
_POUNDS = {"quid": ("currency:GBP", "1"), "pence": ("currency:GBP", "0.01"), "grand": ("currency:GBP", "1000")}


def find_english(plain: str) -> Iterator[Spoken]:
    """(start, end, kind, value, unit) of the quantities that English says in words of its own."""
    for match in _OF_EVERY.finditer(plain):
        whole = Decimal(100 if match["m"].lower() in ("hundred", "100") else 10)
        yield match.start(), match.end(), "percent", read_any(match["n"]) / whole * 100, Unit("percent")
    yield from _money(plain)
    yield from _clocks(plain)
    for match in _AGE.finditer(plain):
        if match["n"]:
            yield match.start(), match.end(), "measure", read_any(match["n"]), Unit("age")
        elif match["from"]:
            yield *match.span("from"), "measure", read_any(match["from"]), Unit("age")
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
    for match in _COMPOUND.finditer(plain):
        name, rest = match["unit"].lower(), match["unit2"]
        small = rest.lower() if rest else _IMPLIED.get(name[:1])
        if small is None or not small.startswith(_BELOW.get(name[:2].rstrip("s"), ())):
            continue
        base = Decimal(1) if match["n"].lower() in ("a", "an") else read_any(match["n"])
        large, little = match_unit(name), match_unit(small)
        if large is not None and little is not None:
            value = base * large[0].factor + read_any(match["m"]) * little[0].factor
            yield match.start(), match.end(), "duration", value, large[0]
    for match in _AND_PART.finditer(plain):
        part = Decimal("0.5") if match["f"].lower() == "half" else Decimal("0.75" if " three " in match[0] else "0.25")
        unit = match["unit"] or match["units"]
        if unit is not None and (match["one"] or match_unit(unit.lower()) or unit.lower() in _SPANS):
            yield _measured(match, (Decimal(1) if match["one"] else read_any(match["n"])) + part, unit)
    for match in _PART_OF_UNIT.finditer(plain):
        if (" of " not in match[0].lower() and (match["f"].lower() not in ("half", "quarter") or match["n"])) and (
            match["n"] is None or match["f"].lower() != "quarter"
        ):
            continue  # a third year
        yield _measured(match, _part(match["n"], match["f"]), match["unit"])
    for match in _METRE_AND.finditer(plain):
        whole = Decimal(1) if match["n"].lower() in ("a", "an") else read_any(match["n"])
        yield match.start(), match.end(), "measure", whole + read_any(match["m"]) / 100, Unit("length")
    for match in _FEET_AND.finditer(plain):
        length = read_any(match["n"]) * _FOOT + read_any(match["m"]) * _FOOT / 12
        yield match.start(), match.end(), "measure", length, Unit("length")
    for match in _WASHED_AT.finditer(plain):
        yield *match.span("n"), "measure", read_any(match["n"]), Unit("temperature")
    for match in _SCORES.finditer(plain):
        yield match.start(), match.end(), "number", 20 * read_any(match["n"]) + read_any(match["m"] or "0"), BARE
    for match in _PART_OF_MANY.finditer(plain):
        part = _part(match["n"], match["f"]) * read_english(match["many"])
        if part == part.to_integral_value():
            yield match.start(), match.end(), "number", part.to_integral_value(), BARE
    for match in _COUNT.finditer(plain):
        count = (
            6 if match["half"] else 13 if match["baker"] else 12 if match["dozen"] else _GROUP[match["group"].lower()]
        )
        if match["unit"]:
            yield _measured(match, Decimal(count), match["unit"])
        else:
            yield match.start(), match.end(), "number", Decimal(count), BARE
    for match in _RATIO.finditer(plain):
        whole = read_any(match["m"])
        if "." in match["n"] and "out of" in match[0].lower():
            yield match.start(), match.end(), "measure", read_any(match["n"]), Unit("rating")
        elif 0 < read_any(match["n"]) < whole <= 100:
            yield match.start(), match.end(), "percent", read_any(match["n"]) / whole * 100, Unit("percent")
    for match in _IN.finditer(plain):
        if (match["n"] or "").lower() not in ("one", "zero"):
            yield match.start(), match.end(), "number", read_any(match["n"] or match["d"]), BARE
    for match in _MINUS.finditer(plain):
        yield match.start(), match.end(), "measure", read_any(match["n"]), Unit("temperature")
    for match in _SPEED.finditer(plain):
        factor = Decimal("1.609344") if match["unit"].lower() == "miles" else Decimal(1)
        yield match.start(), match.end(), "measure", read_any(match["n"]) * factor, Unit("velocity", factor)
    for match in _SHARE.finditer(plain):
        if (
            (match["half"] or match["one"])
            and not _MONEYED.search(match["all"])
            and not match["all"].lower().startswith(("each", "every"))
        ):
            continue
        part = _FRACTIONS[(match["half"] or match["f"] or match["fs"]).lower()]
        times = {"two": 2, "three": 3, "four": 4, "nine": 9}.get((match["n"] or "").lower(), 1)
        yield (
            match.start(),
            match.start("all"),
            "percent",
            (part * times * 100).quantize(Decimal("0.01")),
            Unit("percent"),
        )
    for match in _CUT_BY.finditer(plain):
        yield *match.span("by"), "percent", _FRACTIONS[match["f"].lower()] * 100, Unit("percent")
    for match in _PER_CENT.finditer(plain):
        if match["off"]:
            yield match.start(), match.end("n") + 9, "discount", 1 - read_any(match["n"]) / 100, Unit("left")
        else:
            yield match.start(), match.end(), "percent", read_any(match["n"]), Unit("percent")
    for match in _IN_TEN.finditer(plain):
        whole = Decimal(10 if match["m"].lower() in ("ten", "10") else 100)
        if 0 < read_any(match["n"]) < whole:
            yield match.start(), match.end(), "percent", read_any(match["n"]) / whole * 100, Unit("percent")
    for match in _AREA.finditer(plain):
        factor = Decimal("0.09290304") if match["unit"].lower().startswith("f") else Decimal(1)
        yield match.start(), match.end(), "measure", read_any(match["n"]) * factor, Unit("area", factor)
    for match in _CHOICE.finditer(plain):
        yield _measured(match, read_any(match["n"]), match["unit"])
    for match in _SHARED.finditer(plain):
        found = match_unit(match["unit"] or match["unit2"])
        if found is not None:
            value = Decimal(match["n"] or match["by"]) * found[0].factor
            yield match.start(), match.end(), "measure", value, found[0]
    for match in _ONE.finditer(plain):
        yield _measured(match, Decimal(1), match["unit"])
    for match in _ONE_OPENS.finditer(plain):
        if match["unit"] and _RATED.search(plain[: match.start()]):
            continue  # eight pounds a metre
        yield _measured(match, Decimal(1), match["unit"] or match["ahead"] or match["full"])
    for match in _ONE_LONG.finditer(plain):
        yield _measured(match, Decimal(1), match["unit"] or match["plain"])
    for match in _ORDINALS.finditer(plain):
        yield match.start(), match.end(), "ordinal", Decimal(_ORDINAL[match[0].lower()]), Unit("ordinal")


def _part(count: str | None, name: str) -> Decimal:
    times = {"two": 2, "three": 3, "four": 4}.get((count or "a").strip(" -").lower(), 1)
    return times * _FRACTIONS[name.lower()]


def _money(plain: str) -> Iterator[Spoken]:
    symbol = re.search(r"[£$€]|\b(?:pounds?|quid|dollars|euros)\b|\b(?:pay|costs?|price)\b", plain, re.I)
    if symbol is not None:
        unit = Unit(
            {"$": "currency:USD", "d": "currency:USD", "€": "currency:EUR", "e": "currency:EUR"}.get(
                symbol[0][0].lower(), "currency:GBP"
            )
        )
        for match in _POUNDS_PENCE.finditer(plain):
            yield match.start(), match.end(), "price", read_any(match["n"]) + read_any(match["m"]) / 100, unit
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
    for match in _CLOCK_WORDS.finditer(plain):
        minutes = UNDER_HUNDRED[match["m"].lower()] * (1 if match["to"].lower() == "past" else -1)
        yield match.start(), match.end(), "time", read_any(match["h"]) * 60 + minutes, Unit("clock")
    for match in _CLOCK_BARE.finditer(plain):
        first, last = Decimal(match["h"]), Decimal(match["h2"])
        if first <= 12:
            opens = first + 12 if first < 8 and last <= 12 else first
            shuts = last if last > opens else last + 12
            yield *match.span("h"), "time", opens * 60, Unit("clock")
            end = match.end("m2") if match["m2"] else match.end("h2")
            yield match.start("h2"), end, "time", shuts * 60 + int(match["m2"] or 0), Unit("clock")
    for match in _CLOCK_DOT.finditer(plain):
        if match["h4"]:
            yield *match.span("h4"), "time", Decimal(match["h4"]) * 60, Unit("clock")
            continue
        hours, minute = next(name for name in (("h", "m"), ("h2", "m2"), ("h3", "m3")) if match[name[0]])
        value = Decimal(match[hours]) * 60 + int(match[minute] or 0)
        end = match.end(minute) if match[minute] else match.end(hours)
        yield match.start(hours), end, "time", value, Unit("clock")
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
            name = (match["past"] or match["half"] or match["half2"] or match["oclock"]).lower()
            if name in UNDER_HUNDRED or name.isdigit():
                minutes = (UNDER_HUNDRED[name] if name in UNDER_HUNDRED else int(name)) * 60
                yield (
                    match.start(),
                    match.end(),
                    "time",
                    Decimal(minutes + (0 if match["oclock"] else 30)),
                    Unit("clock"),
                )
