"""Weekdays and how often something happens, as an ad has them and as an English copy says them.

A weekday in a copy claims where the ad has days of its own and the copy says when (``on Friday``); ``a rainy Sunday``
is a scene. ``every Friday`` contradicts every other Friday, the first Tuesday the last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from shared.policy.evidence import Evidence, Word

_NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = re.compile(r"\b(mon|tue|tues|wed|weds|wednes|thu|thur|thurs|fri|sat|satur|sun)(day)?(s)?\b(?:['’]s)?", re.I)
_RANGE = re.compile(
    r"\b(mon|tue|wed|thu|fri|sat|sun)[a-z]*\s?(?:-|–|—|to|through|till|until)\s?(mon|tue|wed|thu|fri|sat|sun)[a-z]*\b",
    re.I,
)
_ZH = "一二三四五六日"
_ZH_DAYS = re.compile(
    r"(?:周|星期|礼拜)([一二三四五六日天末](?:[、，,和及/至到\-~](?:周|星期|礼拜)?[一二三四五六日天末])*)"
)
_ALL = re.compile(
    r"\b(?:daily|every day|seven days|24/7|nightly|every (?:night|morning|evening))\b|每天|每日|每晚|天天|全年", re.I
)
_NOT = re.compile(r"\b(?:not|no|except|excluding|closed)(?: on)? (mon|tues|wednes|thurs|fri|satur|sun)days?\b", re.I)
_WEEKDAYS = re.compile(r"\bweekdays?\b|工作日", re.I)
_WEEKENDS = re.compile(r"\bweekends?\b|周末", re.I)

_SAID = re.compile(
    r"\b(?:on|every|each|until|till|by|this|next|last|first|second|third|fourth|open|opens|closed|closes|ends?"
    r"|starts?|begins?|from"
    r"|meets?|meet|gather|live|come|free|drops?|lands?|airs?|out|order|delivered|arrives?|to|other|run|runs"
    r"|and) (?:early |late )?$",
    re.I,
)
_SCENE = re.compile(
    r"\b(?:rainy|lazy|grey|gray|quiet|slow|long|wet|sleepy|dull|your|my|an?|one|some|cold|windy|sunny|bad|good|empty"
    r"|any|most|person's|of|like|than)\s$",
    re.I,
)
_CLOSED = re.compile(r"\b(?:closed|not|never|except|no|off)(?: on)? $", re.I)
_HABIT = re.compile(
    r"^(?:['’]s\b|s?(?: morning)? (?:soup|roast|blues|feeling|mood|lunch|lunches|dinner|supper|papers?|scaries|best"
    r"|self|jumper|socks|cake|face|brain"
    r"|smells?|tastes?|feels?|needed|deserves?|was|were|is|are|just|never|won|knows?|had|has|update|meeting|call"
    r"|email|commute|laundry|pancakes?))",
    re.I,
)
_TIMED = re.compile(
    r"^(?:s|['’]s)?(?: (?:evenings?|mornings?|nights?|afternoons?|at|from|in|on|and|or|to|till|until|for|we|you|with"
    r"|by)\b|\s*[,.;:!?)–-]|$)",
    re.I,
)
_PROMISED = re.compile(
    r"\b(?:order(?:ed)?|deliver\w*|arriv\w+|sale|ends?|new episode|drops?|lands?|airs?|doors)\b", re.I
)
_DAYNAME = r"(?:mon|tues|wednes|thurs|fri|satur|sun)days?"
_HOW_OFTEN = (
    (
        "fortnightly",
        re.compile(
            rf"\bevery (?:other|second|two|2) (?:{_DAYNAME}|weeks?)\b|\bfortnightly\b|\bevery fortnight\b"
            rf"|\bbi-?weekly\b|\balternate {_DAYNAME}\b|隔周|双周|每两周",
            re.I,
        ),
    ),
    (
        "monthly",
        re.compile(
            rf"\b(?:first|second|third|fourth|last) {_DAYNAME}\b|\bmonthly\b|\bevery month\b|\beach month\b"
            rf"|\bonce a month\b|每月|月刊",
            re.I,
        ),
    ),
    (
        "weekly",
        re.compile(
            rf"\b(?:every|each|any) (?:single )?(?:{_DAYNAME}|week)\b|\bweekly\b|\bonce a week\b|每周|周刊",
            re.I,
        ),
    ),
    (
        "quarterly",
        re.compile(r"\bquarterly\b|\bevery quarter\b|\bevery three months\b|\bfour times a year\b|每季", re.I),
    ),
    ("yearly", re.compile(r"\b(?:annual|annually|yearly|once a year)\b|每年|年度", re.I)),
    (
        "daily",
        re.compile(r"\b(?:daily|every day|each day|nightly|every (?:morning|evening|night))\b|每天|每日|每晚", re.I),
    ),
)
_EDITIONS = re.compile(
    r"\b(?:episodes?|issues?|posts?|newsletters?|films?|videos?|lessons?|class(?:es)?|sessions?|live|walks?|run"
    r"|meet\w*|emails?|updates?"
    r"|letters?|drops?|lands?|new|fresh|another|streams?|clubs?|gather\w*|events?|workshops?|call\w*|deliver\w*"
    r"|box(?:es)?|we|come|join|drop|show|turn|tips?|inbox|advice|stories|story|puzzles?|doormat|doorstep|letterbox"
    r"|post|recipes?|questions?)\b",
    re.I,
)
_TIMES = re.compile(
    r"\b(?:on|at|slots?|open|every|sessions?|class(?:es)?|lessons?|appointments?|delivered|available|run|runs|meet"
    r"|meets)(?: on| at)? $",
    re.I,
)
_NTH = re.compile(rf"\b(first|second|third|fourth|last) (?=({_DAYNAME})\b)", re.I)


@lru_cache(maxsize=512)
def days_of(texts: tuple[str, ...]) -> frozenset[int]:
    """The weekdays (0 is Monday) that an ad's texts name, ranges and weekends included."""
    found: set[int] = set()
    never: set[int] = set()
    for text in texts:
        if _ALL.search(text):
            found.update(range(7))
        if _WEEKDAYS.search(text):
            found.update(range(5))
        if _WEEKENDS.search(text):
            found.update((5, 6))
        for match in _RANGE.finditer(text):
            first, last = (_NAMES.index(match[n].lower()) for n in (1, 2))
            found.update((first + step) % 7 for step in range((last - first) % 7 + 1))
        barred = {_NAMES.index(match[1].lower()[:3]) for match in _NOT.finditer(text)}
        found.update(
            _NAMES.index(match[1].lower()[:3]) for match in _DAY.finditer(text) if match[2] or match[1][0].isupper()
        )
        never |= barred
        for match in _ZH_DAYS.finditer(text):
            found.update(_chinese(match[1]))
    return frozenset(found - never)


def _chinese(names: str) -> Iterator[int]:
    last = -1
    for place, char in enumerate(names):
        if char == "末":
            yield from (5, 6)
        index = _ZH.find("日" if char == "天" else char)
        if index < 0:
            continue
        yield index
        if last >= 0 and names[place - 1 : place] and any(mark in names[:place] for mark in "至到-~"):
            yield from range(last, index)
        last = index


def day_word(plain: str, start: int, end: int, evidence: Evidence) -> Word | None:
    """What a weekday's name at ``[start, end)`` of a folded copy states; None where it sets a scene."""
    match = _DAY.match(plain, start)
    if match is None:
        return None
    texts = tuple(text for name, text, _ in evidence.texts if name != "audience")
    days = days_of(texts)
    if _NAMES.index(match[1].lower()[:3]) in days:
        return Word(start, end, "schedule", "description")
    before, after = plain[max(0, start - 24) : start], plain[match.end() :]
    if days:
        if _CLOSED.search(before):
            return Word(start, end, "schedule", "description")  # closed on a day that the ad does not name
        if not _SCENE.search(before) and (_TIMED.match(after) or not _HABIT.match(after)):
            return Word(start, end, "schedule", None)
        return None
    sentence = plain[max(plain.rfind(mark, 0, start) for mark in ".!?") + 1 :].split(". ")[0]
    if _SAID.search(before) is not None and _PROMISED.search(sentence):
        return Word(start, end, "schedule", None)
    return None


@lru_cache(maxsize=512)
def _rhythm(texts: tuple[str, ...]) -> tuple[frozenset[str], frozenset[str]]:
    """How often things happen in an ad, and on which of a month's weekdays (``first``)."""
    whole = "\n".join(texts)
    theirs = {name for name, pattern in _HOW_OFTEN if pattern.search(whole)}
    if "fortnightly" in theirs or "monthly" in theirs:
        theirs.discard("yearly")
    return frozenset(theirs), frozenset(match[1].lower() for match in _NTH.finditer(whole))


def how_often(plain: str, evidence: Evidence) -> list[Word]:
    """The phrases of a copy that say how often, or which weekday of the month, otherwise than the ad."""
    texts = tuple(text for name, text, _ in evidence.texts if name != "audience")
    theirs, nth = _rhythm(texts)
    found = []
    days = days_of(texts)
    for pattern, theirs_of in ((_WEEKDAYS, range(5)), (_WEEKENDS, (5, 6))):
        for match in pattern.finditer(plain):
            if days and days.isdisjoint(theirs_of) and _TIMES.search(plain[max(0, match.start() - 24) : match.start()]):
                found.append(Word(*match.span(), "schedule", None))
    for match in _NTH.finditer(plain):
        if nth and match[1].lower() not in nth:
            found.append(Word(match.start(1), match.end(1), "date", None))
    spans: list[tuple[int, int]] = []
    for name, pattern in _HOW_OFTEN:
        for match in pattern.finditer(plain):
            if any(match.start() < end and start < match.end() for start, end in spans):
                continue
            spans.append(match.span())
            if (
                theirs
                and name not in theirs
                and (_DAY.search(match[0]) or _EDITIONS.search(plain))
                and not (name == "daily" and "weekly" not in theirs)
            ):
                if name == "yearly" or (name == "monthly" and _NTH.match(plain, match.start())):
                    continue
                found.append(Word(*match.span(), "date", None))
    return found
