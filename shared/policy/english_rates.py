"""Durations and counts that follow from an ad's by simple arithmetic: twelve a year, ten weeks of two hours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import combinations

from shared.policy.counting import counted
from shared.policy.english_bounds import EACH, EXACT, Stated, bears, counts_in, seconds, stated_in, times_in
from shared.policy.english_days import days_of
from shared.policy.english_figures import Figure
from shared.policy.english_numbers import NUMBER_WORDS, read_any
from shared.policy.facts import Facts
from shared.policy.numerals import Quantity, find_quantities
from shared.policy.units import Unit
from shared.policy.vocabulary import stem, vocabulary

_A_PERIOD = re.compile(
    r"^[^.;!?]{0,44}?\b(?:an?|per|each|every|of the) (?P<unit>year|month|week|term|quarter|day|season)\b"
    r"|^[^.;!?]{0,30}? (?P<adv>annually|yearly|weekly|monthly|daily)\b",
    re.I,
)
_FREQUENCY = (
    (
        re.compile(
            r"\b(?:daily|every day|each day|every (?:morning|evening|night)|seven days a week)\b|每天|每日|每晚|天天",
            re.I,
        ),
        365,
    ),
    (
        re.compile(
            r"\b(?:fortnightly|bi-?weekly|every (?:two|2|other|second) (?:weeks?|\w+day)|every fortnight"
            r"|alternate \w+day|twice a month)s?\b|隔周|双周|每两周",
            re.I,
        ),
        26,
    ),
    (
        re.compile(
            r"\b(?:monthly|every month|each month|a month|of (?:the|each|every) month|once a month)\b|每月|月刊|月度",
            re.I,
        ),
        12,
    ),
    (re.compile(r"\b(?:quarterly|every quarter|four times a year|every three months)\b|每季|季刊", re.I), 4),
    (
        re.compile(
            r"\b(?:weekly|every week|each week|once a week|every (?:mon|tues|wednes|thurs|fri|satur|sun)day|(?:mon"
            r"|tues|wednes|thurs|fri|satur|sun)days)\b|每周|周刊",
            re.I,
        ),
        52,
    ),
)
_PERIODS = {
    "year": 1,
    "annually": 1,
    "yearly": 1,
    "quarter": 4,
    "month": 12,
    "monthly": 12,
    "week": 52,
    "weekly": 52,
    "day": 365,
    "daily": 365,
}
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTH_RANGE = re.compile(
    rf"\b({'|'.join(_MONTHS)})[a-z]*\s?(?:-|–|—|to|until|till|through)\s?({'|'.join(_MONTHS)})[a-z]*\b", re.I
)
_RATE = re.compile(
    rf"\b(?P<n>an?|\d+|{NUMBER_WORDS})[ -](?:[a-z]+ )?(?P<what>[a-z]+) (?:a|per|each|every) (?P<unit>day|night"
    rf"|evening|morning|week|month)\b"
    rf"|(?P<often>\bonce|\btwice) (?:a|per|each|every) (?P<unit2>day|night|week|month)\b",
    re.I,
)
_DAILY = re.compile(r"\b(?:mornings?|evenings?|nights?|days?|daily|nightly|breakfasts?|cups|washes|showers)\b", re.I)
_USED = re.compile(r"\b(?:warranty|guarantee|trial|returns?|access)\b", re.I)
_SPAN = {"day": 1, "night": 1, "evening": 1, "morning": 1, "week": 7, "month": 30}
_CLOCK_CUE = re.compile(
    r"(?:\b(?:at|till|until|til|by|from|before|after|around|past|to|and|between|about|for)|['’]til|[-–—]|,)\s?$", re.I
)
_CLOCK_NEXT = re.compile(
    r"^(?:\s*(?:[,.;:!?)]|$)| (?:till|until|to|til|sharp|on the dot|in the|and|every|each|on|at|for|this|tonight"
    r"|or)\b|[-–—])",
    re.I,
)
_AGE_CUE = re.compile(
    r"\b(?:past|passed|turned|turning|turns?|aged?|ages|over|under|above|beyond|from|to|and|or|until|till|at)\s$", re.I
)
_AGE_NEXT = re.compile(
    r"^(?: and (?:up|over|under)| or (?:over|under|older)|\s*(?:[,.;:!?]|$)| (?:to|or|and|can|may|will)\b)", re.I
)
_AS_MUCH = re.compile(r"\b(?:as much as|holds?|fills?|worth of|enough for|equals?|makes?)\b", re.I)
_AFTER_WORD = re.compile(r"(?:\b(?:at|to|of|by|from|than|just|about|only|and|or|the)\s|,\s)$", re.I)
_NO_NOUN = re.compile(
    r"\s*(?:[,.;:!?)]|$| (?:if|for|on|so|and|or|when|while|but|by|at|with|in|to|of|is|are|then|as|the|than)\b)", re.I
)
_PEAK = re.compile(r"\b(?:exactly|every|each|all|always|at least|both)\b", re.I)
_SPENT = re.compile(r"\b(?:spend|pay|over|for|costs?|past|above)\s$", re.I)
_SESSIONS = frozenset(
    map(
        stem,
        [
            "lesson",
            "class",
            "session",
            "episode",
            "workshop",
            "visit",
            "meeting",
            "walk",
            "evening",
            "part",
            "video",
            "seminar",
            "lecture",
        ],
    )
) | {"count:lesson", "count:episode"}
_COMBINED = re.compile(
    r"\b(?:ways|combinations?|combos?|mix(?:es)?|in all|altogether|all in|in total|all told|together|adds? up|worth"
    r"|counting|including|plus)\b",
    re.I,
)
_DEADLINE = re.compile(
    r"\b(?:got|have|take|keep|decide|swap|return|send|change|exchange|back|refund|mind|tell|pass|cancel|transfer"
    r"|notice|try|tried)\b",
    re.I,
)


def duration(plain: str, claim: Quantity, limit: str, known: Facts) -> str | None:
    """The field from which a span of time follows: the length of a course, of each session, of what is used up."""
    facts, texts = known.quantities, known.texts
    mine = seconds(claim)
    week = len(days_of(tuple(text for _, text in texts)))
    if re.match(r" a week\b", plain[claim.end :]) and 0 < week < 7 and mine == week * 86400:
        return "description"
    if re.match(r" a week\b", plain[claim.end :]) and mine == 7 * 86400:
        return next((field for field, each in _frequencies(texts) if each == 365), None)
    spans = stated_in(facts, "time", "months")
    clocks = stated_in(facts, "clock")
    for (field, one, _), (other_field, other, _) in combinations(clocks, 2):
        if field == other_field or len(clocks) == 2:
            length = abs(one.value - other.value) * 60
            spans.append((field, Quantity(0, 0, "duration", length, Unit("time")), ""))
            if bears(mine, limit, length, ""):
                return field
    for field, fact, told in spans:
        if limit == "" and told == "max" and seconds(fact) == mine and _DEADLINE.search(plain):
            return field
        crossed = fact.unit.dimension != claim.unit.dimension or claim.value != claim.value.to_integral_value()
        if (limit not in EXACT or crossed) and bears(mine, limit, seconds(fact), told, loose=crossed):
            return field
    counts = counts_in(facts)
    if EACH.search(plain[claim.end : claim.end + 30]):
        for field, fact, told in spans:
            if any(bears(mine, limit, seconds(fact) / many, told) for _, many in counts):
                return field
    for figure in known.figures:
        if figure.dimension not in ("time", "months"):
            continue
        length = seconds(figure.quantity)
        for many in known.figures:
            if _runs(many, figure) and bears(
                mine, limit, length * _times(many), figure.bound if figure.bound == "approx" else "", loose=False
            ):
                return figure.field
    for field, fact, told in spans:
        length = seconds(fact)
        if length * 60 > mine and any(
            bears(mine, limit, length * times, told, loose=False) for times in times_in(plain, claim)
        ):
            return field
    return _consumed(plain, mine, facts)


def _runs(many: Figure, length: Figure) -> bool:
    """Whether there are so many of what lasts so long: lessons, weeks of a course, things of the same sentence."""
    if many.dimension == "time":
        return many.value > 604800 and many.value % 604800 == 0
    if not many.is_count or not 1 < many.value <= 5000:
        return False
    gap = max(many.quantity.start, length.quantity.start) - min(many.quantity.end, length.quantity.end)
    near = many.field == length.field and bool(many.beside) and gap <= 16
    return near or many.sentence == length.sentence or not _SESSIONS.isdisjoint(many.of)


def _times(many: Figure) -> Decimal:
    return many.value / 604800 if many.dimension == "time" else many.value


def _consumed(plain: str, mine: Decimal, facts: Sequence[Stated]) -> str | None:
    """How long fifty cups last at two a day."""
    if not mine:
        return None
    rate = _RATE.search(plain)
    if rate is None:
        if not _DAILY.search(plain) or _USED.search(plain):
            return None
        for field, fact, _ in facts:  # one a day
            many = fact.unit.dimension in ("", "count", "count:pack") and fact.value >= 10
            if many and abs(fact.value * 86400 / mine - 1) <= Decimal("0.05"):
                return field
        return None
    if rate["often"]:
        number, what, unit = Decimal(2 if rate["often"].lower() == "twice" else 1), "", rate["unit2"]
    else:
        number = Decimal(1) if rate["n"].lower() in ("a", "an") else read_any(rate["n"])
        what, unit = rate["what"].lower(), rate["unit"]
    days = _SPAN[unit.lower()]
    scale = {"hour": Decimal(3600), "minute": Decimal(60)}.get(what.removesuffix("s"))
    for field, fact, _ in facts:
        whole = None
        if scale is not None and fact.unit.dimension == "time":
            whole = fact.value / scale
        elif (
            scale is None
            and (fact.unit.dimension == "" or fact.unit.dimension.startswith("count"))
            and not fact.literal
        ):
            whole = fact.value
        if whole and number and abs(whole / number * days * 86400 / mine - 1) <= Decimal("0.12"):
            return field
    return None


def count(plain: str, claim: Quantity, limit: str, known: Facts) -> str | None:
    """The field from which a number of things follows: twelve a year, the hours of a clock, the two of three."""
    facts, texts = known.quantities, known.texts
    named = counted(plain, claim, vocabulary())
    before, after = plain[: claim.start], plain[claim.end : claim.end + 60]
    if _PEAK.search(plain) is None:
        for field, fact, told in facts:
            same = fact.unit.dimension in ("", claim.unit.dimension) or fact.unit.dimension.startswith("count")
            if limit == "" and told == "max" and same and not fact.literal and fact.value == claim.value:
                return field  # three children, of up to three
    if re.match(r" (?:mon|tues|wednes|thurs|fri|satur|sun)days\b", after, re.I):
        for field, fact, _ in stated_in(facts, "time"):
            if fact.value == claim.value * 604800:
                return field
    if _SPENT.search(before):
        for field, fact, _ in facts:
            if fact.unit.dimension.startswith("currency") and fact.value == claim.value:
                return field
    if claim.unit.dimension == "":
        if (_CLOCK_CUE.search(before) and _CLOCK_NEXT.match(after)) or re.match(
            r"^ (?:(?:till|until|to) \w+|in the (?:morning|afternoon|evening)|at night|sharp|on the dot)\b", after
        ):
            for field, fact, _ in stated_in(facts, "clock"):
                if fact.value in (claim.value * 60, claim.value * 60 + 720):
                    return field
            for field, fact, _ in facts:
                if fact.unit.dimension == "" and not fact.literal and fact.value == claim.value <= 12:
                    return field  # until 4
        if _AGE_CUE.search(before) or _AGE_NEXT.match(after):
            for field, fact, _ in stated_in(facts, "age"):
                if fact.value == claim.value or (_AGE_NEXT.match(after) and claim.value == fact.value + 1):
                    return field
            for field, fact, _ in stated_in(facts, "months"):
                if "age" in field and fact.value == claim.value * 12:
                    return field
    if claim.unit.dimension in ("count:page", "count:lesson", "count:photo", "count:word"):
        for one, other in combinations([figure for figure in known.figures if figure.is_count], 2):
            if one.value * other.value == claim.value and one.sentence == other.sentence:
                return one.field
    if limit in ("", "min") and _NO_NOUN.match(after) and _AFTER_WORD.search(before):
        shared = [other.unit for other in find_quantities(plain) if other.unit.dimension not in ("", "clock")]
        for field, fact, told in facts:
            if fact.unit.factor and told in ("", "approx", "max", "under", "min"):
                if fact.value / fact.unit.factor == claim.value:
                    return field
                if any(
                    unit.dimension == fact.unit.dimension and fact.value == claim.value * unit.factor for unit in shared
                ):
                    return field
    for field, fact, _ in stated_in(facts, "ordinal", "multiple"):
        if fact.value == claim.value:
            return field
    counts = stated_in(
        facts, "", *{fact.unit.dimension for _, fact, _ in facts if fact.unit.dimension.startswith("count")}
    )
    if limit not in EXACT:
        for field, fact, told in counts:
            if bears(claim.value, limit, fact.value, told):
                return field
    if _RATE.match(plain, claim.start) and any(
        _consumed(plain, seconds(other), facts)
        for other in find_quantities(plain)
        if other.unit.dimension in ("time", "months") and other.start != claim.start
    ):
        return "description"  # two treats a day, where the pack then lasts a month
    if (period := _A_PERIOD.match(after)) is not None:
        unit = (period["unit"] or period["adv"]).lower()
        for field, each in _frequencies(texts):
            wanted = Decimal(each) / _PERIODS.get(unit, 1)
            akin = {one.value for one in known.figures if one.is_count and not named.isdisjoint(one.of)}
            for times in {Decimal(1), *(value for value in akin if value <= 31)}:
                if abs(wanted * times - claim.value) <= wanted * Decimal("0.04"):
                    return field
    for field, text in texts:
        for match in _MONTH_RANGE.finditer(text):
            first, last = (_MONTHS.index(match[n].lower()[:3]) for n in (1, 2))
            if (last - first) % 12 + 1 == claim.value:
                return field
    if _AS_MUCH.search(plain):
        sizes = [fact for fact in facts if fact[1].unit.dimension in ("volume", "mass", "length")]
        for (field, size, _), (_, larger, _) in combinations(sizes, 2):
            low, high = sorted((size.value, larger.value))
            if size.unit.dimension == larger.unit.dimension and low > 0 and high / low == claim.value:
                return field
    if _COMBINED.search(plain):
        values = list(dict.fromkeys((field, value) for field, value in counts_in(facts)))
        for (field, small), (_, large) in combinations(values, 2):
            if claim.value in (small * large, small + large):
                return field
        for field, value in values:
            if any(value * repeated == claim.value for repeated in times_in(plain, claim)):
                return field
    return None


def _frequencies(texts: Sequence[tuple[str, str]]) -> Iterator[tuple[str, int]]:
    for field, text in texts:
        for pattern, each in _FREQUENCY:
            if pattern.search(text):
                yield field, each
                break
