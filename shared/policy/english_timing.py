"""When an offer holds and how soon, as an English copy turns it: what is for some months, days or hours is for all.

``All year round`` where it is April to October; ``day and night`` where the ad has hours; ``the same day`` where it
takes a week.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from shared.policy.english_days import days_of
from shared.policy.evidence import Word
from shared.policy.facts import Facts

_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_MONTH = re.compile(
    rf"\b(?P<name>{'|'.join(m.capitalize() for m in _MONTHS if m != 'may')}|(?<=mid-)May|(?<=[a-z] )May(?= (?:\d"
    rf"|weekend|half|sun|bank|day|to\b|and\b|until\b|is\b|or\b)"
    rf"|\s*[,.;:!?]|$)|(?<=\b[Tt]he )May)\b"
)
_DATED = re.compile(
    r"\b(?:in|until|till|since|from|by|of|every|each|this|on|through|to|and|or|the|early|late|mid|before|after)[ -]$",
    re.I,
)
_ASKED = re.compile(r"[^.,;:!]{0,20}\?")
_MONTH_SPAN = re.compile(
    rf"\b({'|'.join(m[:3] for m in _MONTHS)})[a-z]*\.?\s?(?:\d{{1,2}}\s?)?(?:-|–|—|to|until|till|through|and mid-"
    rf"|to mid-|to early |to late |to the end of )\s?"
    rf"(?:mid-|\d{{1,2}}\s)?({'|'.join(m[:3] for m in _MONTHS)})[a-z]*\b",
    re.I,
)
_ANY_MONTH = re.compile(
    rf"\b({'|'.join(m[:3] for m in _MONTHS)})(?:uary|ruary|ch|il|e|y|ust|tember|ober|ember)?\b", re.I
)
_ZH_MONTH = re.compile(r"(\d{1,2})\s?月(?:\d{1,2}[日号]?)?(?:\s?(?:至|到|-|—|~)\s?(\d{1,2})\s?月)?")
_SEASONS = {"spring": (3, 4, 5), "summer": (6, 7, 8), "autumn": (9, 10, 11), "winter": (12, 1, 2)}
_SEASON = re.compile(
    r"\b(?:this|next|in|during|through(?:out)?|every|each|all|the|of|until|till|by) (?:whole |long "
    r"|entire )?(?P<name>spring|summer|autumn|winter)\b"
    r"(?!['’]s| (?:in your|clean|coat|roll|onion|term|school|garden|blues|sun|light|air|evening|morning|day|night))",
    re.I,
)
_FEASTS = {
    "christmas": frozenset((12,)), "new year": frozenset((12, 1)), "easter": frozenset((3, 4)),
    "halloween": frozenset((10,)), "valentine": frozenset((2,)), "boxing": frozenset((12,)),
}  # fmt: skip
_FEAST = re.compile(
    r"\b(?:on|at|until|till|to|by|before|over|through|for) (?P<name>Christmas|New Year|Easter|Halloween|Valentine"
    r"|Boxing)(?:['’]s)?\b"
)
_ALL_YEAR = re.compile(
    r"\ball year(?: (?:round|long))?\b|\byear[- ]round\b|\b(?:any|every) (?:month|season)(?: of the year)?\b"
    r"|\bwhatever the season\b"
    r"|\bin (?:any|every|all) seasons?\b|\b365 days\b|\ball four seasons\b|\bany time of (?:the )?year\b",
    re.I,
)
_YEAR_TOLD = re.compile(
    r"\b(?:all year|year[- ]round|every month|each month|monthly|any (?:month|season)|all seasons)\b"
    r"|全年|四季|每月|每个月",
    re.I,
)
_ALL_WEEK = re.compile(
    r"\b(?:any|every) (?:day|night|evening|morning) of the week\b|\bseven (?:days|nights|evenings) a week\b"
    r"|\b7 days a week\b|\ball week(?: long)?\b"
    r"|\bevery single (?:day|night)\b|\bany day you like\b|\b(?:on )?any day\b(?! (?:now|but))",
    re.I,
)
_EVERY_WEEKDAY = re.compile(r"\b(?:every|any|each) weekday\b|\bMonday to Friday\b", re.I)
_WEEKENDS = re.compile(
    r"\b(?:and|at|on|every|open|even|this|all|plus) (?P<day>weekends?)\b(?! (?:are|is|can|will)\b)", re.I
)
_ALL_DAY = re.compile(
    r"\bday and night\b|\bnight and day\b|\bround the clock\b|\b24/7\b|\b24 hours a day\b|\bat any hour\b"
    r"|\bany (?:hour|time) of (?:the )?(?:day|night)\b"
    r"|\b(?:right |all )?through the night\b|\b(?:till|until|to) (?:dawn|sunrise|the small hours|late)\b",
    re.I,
)
_DAY_TOLD = re.compile(
    r"\b(?:24 hours|24/7|24h|round the clock|day and night|any time|anytime|dawn|sunrise|until late)\b"
    r"|24小时|全天|次日|通宵",
    re.I,
)
_CLOCK_TOLD = re.compile(
    r"\b\d{1,2}(?:[:.]\d\d)? ?(?:[ap]\.?m\b|-|–|to|until)|\d{1,2}[:：点]\d{0,2}|\b\d{1,2}\.\d\d\b", re.I
)
_BARRED = re.compile(r"\b(?:not|no|except|excluding|closed)(?: on)? (mon|tues|wednes|thurs|fri|satur|sun)days?\b", re.I)
_WEEKDAY = re.compile(r"\b(mon|tues|wednes|thurs|fri|satur|sun)days?\b", re.I)
_NOT_SAID = re.compile(r"\b(?:not|no|never|except|but|closed|apart from|skip|off|rest|other than)\b[^.!?]{0,20}$", re.I)
_ALSO = re.compile(
    r"\b(?P<part>mornings|afternoons|evenings|nights|weekends|bank holidays|christmas|easter|sundays|mondays|tuesdays"
    r"|wednesdays|thursdays"
    r"|fridays|saturdays)(?: day)?,? (?:as well|too|included|also)\b",
    re.I,
)
# How soon.
_SOON = re.compile(
    r"\b(?:(?:by )?the (?:very )?next (?:morning|day|afternoon|evening)|(?:the )?same (?:day|afternoon|evening|morning"
    r"|week)|next[- ]day|that (?:very )?(?:same )?"
    r"(?:day|morning|afternoon|evening|night)|within (?:the|an) hour|within (?:days|hours|minutes)\b|overnight"
    r"|by tomorrow"
    r"|tomorrow|(?:straight|right) away|immediately|instantly|on the spot)\b",
    re.I,
)
_PROMISE = re.compile(
    r"\b(?:arriv\w*|deliver\w*|ready|get|gets|see|receive\w*|posted|post|back|refund\w*|collect|results?|ships?"
    r"|shipped|reply|replies|answer\w*|report|review\w*|check\w*|fix\w*|repair\w*|done|mend\w*|finish\w*|dry|dries"
    r"|appointment|lesson|start|begin"
    r"|take (?:it|them|your|home)|sent|send|door\w*|yours|in your hands|words|home)\b",
    re.I,
)
_DURATION = re.compile(r"\b(?:working days?|days?|weeks?|hours?|months?|minutes?)\b|天|日|周|小时|分钟|个月", re.I)
_PRE = re.compile(
    r"\bby \d|\bbook(?:ed|ing)?\b.*\b(?:in advance|ahead|online)\b|\bin advance\b|\border by\b|\bsign up\b"
    r"|\bonline by\b",
    re.I,
)
_DAY_BEFORE = re.compile(
    r"\b(?:cancel|change|book|order|ring|call|tell|refund|move|swap|pull out|mind)\b[^.!?;]{0,24}?\bthe (?P<span>day"
    r"|night|week|morning) before\b",
    re.I,
)
_AHEAD = re.compile(
    r"\b\w+ (?:working )?(?:days|weeks|hours|months)(?:['’])? (?:before|ahead|in advance|notice)\b|提前\d+天|前\d+天",
    re.I,
)
_DAY_AHEAD = re.compile(r"\b(?:the day before|24 hours|one day|a day(?:['’]s)?|1 day)\b|提前一天|前一天|提前1天", re.I)
_ON_THE_DAY = re.compile(
    r"\b(?:sign up|book|register|pay|turn up|order|buy|enrol|enter|join)\b[^.!?]{0,24}\bon the day\b", re.I
)


@lru_cache(maxsize=512)
def _months_of(whole: str) -> frozenset[int]:
    """The months (1 to 12) that an ad names, with those between."""
    found: set[int] = set()
    for match in _MONTH_SPAN.finditer(whole):
        first, last = (
            next(n for n, name in enumerate(_MONTHS, 1) if name.startswith(match[g].lower())) for g in (1, 2)
        )
        found.update((first + step - 1) % 12 + 1 for step in range((last - first) % 12 + 1))
    for match in _ANY_MONTH.finditer(whole):
        name = match[0].lower()
        number = next(
            (n for n, month in enumerate(_MONTHS, 1) if month == name or (len(name) == 3 and month.startswith(name))),
            None,
        )
        if number is not None and match[0][0].isupper():
            found.add(number)
    for match in _ZH_MONTH.finditer(whole):
        first = int(match[1])
        last = int(match[2] or first)
        if 1 <= first <= 12 and 1 <= last <= 12:
            found.update((first + step - 1) % 12 + 1 for step in range((last - first) % 12 + 1))
    if not found:
        for name, months in _SEASONS.items():
            if re.search(rf"\b{name}\b", whole, re.I):
                found.update(months)
    return frozenset(found)


def misplaced_in_time(plain: str, whole: str, facts: Facts) -> Iterator[Word]:
    months = _months_of(whole)
    if months:
        longest = max((f.value for f in facts.figures if f.dimension == "time" and f.value % 604800 == 0), default=0)
        reach = int(longest // (30 * 86400)) + 1 if longest else 0
        later = {(month + step - 1) % 12 + 1 for month in months for step in range(reach + 1)}
        for match in _MONTH.finditer(plain):
            number = _MONTHS.index(match["name"].lower()) + 1
            if (
                number not in later
                and (
                    _DATED.search(plain[: match.start()])
                    or re.match(r" ?(?:to|until|till|through|-|–) ", plain[match.end() :])
                )
                and not _ASKED.match(plain[match.end() :])
            ):
                yield Word(*match.span("name"), "date", None)
        for match in _SEASON.finditer(plain):
            if months.isdisjoint(_SEASONS[match["name"].lower()]) and not re.search(
                rf"\b{match['name']}\b", whole, re.I
            ):
                yield Word(*match.span("name"), "date", None)
        if len(months) < 12 and not _YEAR_TOLD.search(whole):
            for match in _ALL_YEAR.finditer(plain):
                yield Word(*match.span(), "date", None)
        for match in _FEAST.finditer(plain):
            feast = _FEASTS[re.sub(r"['’]s.*| day.*", "", match["name"].lower())]
            if feast.isdisjoint(later):
                yield Word(*match.span("name"), "date", None)
    texts = tuple(text for _, text in facts.texts)
    days = days_of(texts)
    if days and len(days) < 7:
        for match in _EVERY_WEEKDAY.finditer(plain):
            if not days >= {0, 1, 2, 3, 4}:
                yield Word(*match.span(), "date", None)
        for match in _ALL_WEEK.finditer(plain):
            yield Word(*match.span(), "date", None)
        if days.isdisjoint((5, 6)):
            for match in _WEEKENDS.finditer(plain):
                yield Word(*match.span("day"), "date", None)
    barred = {match[1].lower() for match in _BARRED.finditer(whole)}
    for match in _WEEKDAY.finditer(plain):
        if match[1].lower() in barred and not _NOT_SAID.search(plain[: match.start()]):
            yield Word(*match.span(), "date", None)
    hours = any(figure.dimension == "clock" for figure in facts.figures)
    if hours and not _DAY_TOLD.search(whole):
        for match in _ALL_DAY.finditer(plain):
            yield Word(*match.span(), "date", None)
    for match in _ALSO.finditer(plain):
        part = match["part"].lower()
        if (
            len(days) < 7
            and part.removesuffix("s") not in whole.lower()
            and (days or _CLOCK_TOLD.search(whole) or months)
        ):
            yield Word(*match.span(), "date", None)


def too_soon(plain: str, whole: str) -> Iterator[Word]:
    for match in _SOON.finditer(plain):
        if not _PROMISE.search(plain) or not _DURATION.search(whole):
            continue
        words = re.sub(r"^(?:by )?(?:the |that |very )*", "", match[0].lower())
        if words.replace("-", " ") in whole.lower().replace("-", " ") or re.search(
            r"次日|当天|当日|即时|立即|same[- ]day|next[- ]day", whole, re.I
        ):
            continue
        if re.search(r"\b(?:straight|right) away|immediately|instantly|on the spot\b", match[0], re.I) and re.search(
            r"\b(?:at once|straight away|immediate\w*|instant\w*|right away|on the (?:spot|day))\b", whole, re.I
        ):
            continue
        yield Word(*match.span(), "duration", None)
    if (ahead := _AHEAD.search(whole)) is not None and not _DAY_AHEAD.search(whole):
        for match in _DAY_BEFORE.finditer(plain):
            if match["span"].lower() not in ahead[0].lower() or not ahead[0].lower().startswith("one "):
                yield Word(*match.span(), "date", None)
    for match in _ON_THE_DAY.finditer(plain):
        if _PRE.search(whole) and "on the day" not in whole.lower():
            yield Word(*match.span(), "date", None)
