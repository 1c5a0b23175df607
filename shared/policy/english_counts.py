"""Which English numbers count something of the reader's life (``four walls``, ``the 97 bus``), not of the product."""

from __future__ import annotations

import re

from shared.policy.english_numbers import NUMBER_WORDS
from shared.policy.evidence import Evidence, in_ad, stem_support
from shared.policy.numerals import Quantity
from shared.policy.scenes import owned
from shared.policy.vocabulary import Vocabulary, frame, stem

_WORD = re.compile(r"[A-Za-z][A-Za-z'’]*|[.,;:!?()\n—]")
_FUNCTION = frame("counts.function")
_LIFE = re.compile(
    r"[ -](?:naps?|lie-ins?|commutes?|meetings?|calls?|drives?|queues?|wait|shifts?|scroll|journeys?|flights?|train"
    r"|bus|traffic|walk to work"
    r"|of (?:bliss|pleasure|joy|fun|effort|fuss|therapy|happiness|rest|peace|quiet|silence|sleep|calm|scrolling"
    r"|traffic|meetings|emails|arguing|rain|winter"
    r"|questions you))\b",
    re.I,
)
_ALONE = re.compile(
    r"\b(?:nobody|no one) (?:needs|wants|asks|calls|finds|bothers)\b|\bto yourself\b|\bleave(?:s)? you alone\b", re.I
)
_PREPOSED = re.compile(r"\b(?:by|at|for|until|till|before|past|after)\s$", re.I)
_GROUP_OF = re.compile(r"\b([a-z]+) of (?:up to |about |only |just )?$", re.I)
_MEETING = re.compile(
    r"\b(?:meeting|call|train|bus|flight|shift|interview|exam|dentist|school|stand-up) (?:at|is at|until) $", re.I
)
_YOU_WILL = re.compile(r"\byou(?:['’]ll| will| may| might)(?: only| probably)? \w+ $", re.I)
_CROWD = re.compile(r"[ -](?:\w+ )?(?:strangers|guests|faces|diners|souls|classmates|pupils|heads|newcomers)\b", re.I)
_CROWDED = re.compile(
    rf"(?:\b\d+|\b(?:{NUMBER_WORDS})) (?:\w+ )?(?:guests|people|seats|places|learners|players|pupils|riders|students"
    r"|singers|diners|members)\b|\b(?:seats|places|guests|group|class size)\b",
    re.I,
)
_ALL_OF_THEM = re.compile(r"\ball $", re.I)
_LIMITED = re.compile(r"\b(?:(?:no|never|not) more than|at most|up to|maximum(?: of)?|limited to|at least) $", re.I)
_OF_DAY = re.compile(r"^ (?:in the (?:morning|afternoon|evening)|at night)\b", re.I)
_LABEL = re.compile(  # chapter two, day one
    r"\b(chapter|act|round|part|page|plan|step|gate|platform|lane|row|verse|bus|route|take|draft|episode|scene|aisle"
    r"|door|exit|junction)\s$",
    re.I,
)
_DESK = re.compile(
    r"\b(?:your|the) (?:desk|day job|job|shift|office|bed|train|alarm|school run|boss|meeting|inbox|commute)\b"
    r"|\bhome by\b",
    re.I,
)
_AHEAD = 3  # words after a number that may be what it counts
_PROOF = frozenset(map(stem, frame("counts.proof")))
_SLIGHT = frame("counts.slight")
_ASKING = re.compile(
    r"\b(?:got|have|only|just|spare|spared?|another|those|these|your|my|my own|after|every|another)\s$", re.I
)


def counts_life(plain: str, quantity: Quantity, evidence: Evidence, known: Vocabulary) -> bool:
    """Whether nothing that the quantity of a copy counts is the ad's, a fact of any product, or said to be in it."""
    if quantity.unit.dimension == "clock":
        return _readers_clock(plain, quantity, evidence)
    if quantity.unit.dimension in ("time", "months"):
        if (
            quantity.unit.dimension == "months"
            and quantity.value >= 36
            and plain[: quantity.start].lower().endswith((" in ", "in "))
            and not plain[: quantity.start].lower().endswith("within ")
        ):
            return True  # better in ten years
        return _LIFE.match(plain[quantity.end :]) is not None or _ALONE.search(plain) is not None
    if quantity.unit.dimension == "" and (label := _LABEL.search(plain[: quantity.start])) is not None:
        return stem_support(stem(label[1].lower()), False, evidence, known) is None
    if quantity.unit.dimension == "" and _MEETING.search(plain[: quantity.start]):
        return True
    if quantity.unit.dimension == "" and _OF_DAY.match(plain[quantity.end :]) and not _OPENS.search(plain):
        return True
    if quantity.unit.dimension == "" and _PREPOSED.search(plain[: quantity.start]) and _DESK.search(plain):
        return True  # be at your desk by nine
    if (
        quantity.literal
        or quantity.unit.dimension not in ("", "count", "count:person")
        or quantity.kind not in ("number", "ordinal")
    ):
        return False
    if _YOU_WILL.search(plain[: quantity.start]) and re.match(r"\s*(?:[.,;:!?]|$)", plain[quantity.end :]):
        return True  # and you will cook twelve
    if _CROWD.match(plain[quantity.end :]) and any(
        _CROWDED.search(text) for name, text, _ in evidence.texts if name not in ("audience", "domain")
    ):
        return False
    if _ALL_OF_THEM.search(plain[: quantity.start]) and re.match(r"\s*(?:[.,;:!?]|$)", plain[quantity.end :]):
        return True  # off you go, all three
    if _LIMITED.search(plain[: quantity.start]) and any(
        re.search(r"\b(?:up to|max\w*|at most|no more than|groups? of|limited to)\b|最多|不超过|以内", text, re.I)
        for name, text, _ in evidence.texts
        if name not in ("audience", "domain")
    ):
        return False
    group = _GROUP_OF.search(plain[: quantity.start])
    if group is not None and stem_support(stem(group[1].lower()), False, evidence, known) is not None:
        return False
    words: list[tuple[int, int, str]] = []
    place = quantity.end
    while len(words) < _AHEAD and (match := _WORD.search(plain, place)) is not None:
        if plain[place : match.start()].strip(" -–") or not match[0][0].isalpha() or match[0].lower() in _FUNCTION:
            break
        words.append((match.start(), match.end(), stem(match[0].lower().replace("’", "'"))))
        place = match.end()
    if not words:
        return False
    for start, end, word in words:
        if (word in _PROOF and not (word == "person" and quantity.value < 10)) or (
            word not in _SLIGHT and stem_support(word, False, evidence, known) is not None
        ):
            return False
        if word in known.neutral:
            continue
        if word in known.concepts and word not in known.scenes:
            return False
        if owned(plain, start, end, (), lambda text: in_ad(text, evidence)):
            return False
    return True


_OPENS = re.compile(
    r"\b(?:open|opens|opening|close|closes|until|till|from|start|starts|meet|meets|doors|class|lesson|session|live"
    r"|deliver\w*|order|ring|as late as|call|join|book|run|runs"
    r"|finish|finishes|kick|begins?|gather|every|slots?|appointments?|check[- ]?in|stream|air|airs|post|posted|out)\b",
    re.I,
)
_CLOCK = re.compile(r"\d ?[ap]\.?m|\d:\d\d|点|时|o'clock|noon", re.I)
_AWAKE = re.compile(
    r"\b(?:awake|alarm|asleep|bed|stare|staring|awaken|up at|snooze|sleepless|insomnia|mind|brain|worry|texts?"
    r"|emails?|words)\b",
    re.I,
)


def _readers_clock(plain: str, quantity: Quantity, evidence: Evidence) -> bool:
    """Whether an hour is one of the reader's: awake at 3 am."""
    if _AWAKE.search(plain):
        return True
    spelled = plain[quantity.start : quantity.end].isalpha()  # noon, midnight
    timed = any(_CLOCK.search(text) for name, text, _ in evidence.texts if name != "audience")
    return not (_OPENS.search(plain) if spelled or not timed else True)
