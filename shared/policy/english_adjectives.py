"""What an English adjective of a copy is said of: the product (``a light case``), or life (``long days``)."""

from __future__ import annotations

import re
from collections.abc import Callable, Container

from shared.policy.english_owned import asked
from shared.policy.vocabulary import frame

InAd = Callable[[str], bool]

_NEXT = re.compile(r"[\s,-]*([A-Za-z][A-Za-z'’]*)")
_THINGS = frame("adjectives.things")
_COLOURS = frame("adjectives.colours")
VAGUE = frame("adjectives.vague")
_ENDS = frame("adjectives.ends")
_OF_IT = re.compile(
    r"\b(?P<subject>it|this|that|they|these|those|which|[a-z'’]+)(?:['’]s|['’]re| is| are| stays?| feels?| runs?"
    r"| keeps?| sits?| looks?"
    r"| remains?| gets?| tastes?| smells?| sounds?| wears?| rides?| sleeps?| weighs in| comes?| dries)"
    r"(?: (?:fully|completely|totally|100%|entirely|properly|so|very|always|still|really|more|extra|super|wonderfully"
    r"|just|quite|as|too|not|never|also|remarkably|surprisingly|nice and))?\s$",
    re.I,
)
_FEELS = re.compile(
    r"(?:^|[.!?;:,—] ?)(?:feels?|looks?|stays?|runs?|sounds?|tastes?|smells?|wears?|sleeps?|built|made|kept"
    r"|cut)(?: so| very)?\s$",
    re.I,
)
_OPENS = re.compile(
    r"(?:^|[.!?;:—\n] ?)(?:so|very|beautifully|wonderfully|extra|super|seriously|truly|really)?\s?$", re.I
)
_ON = re.compile(r"^(?:,| and\b| enough\b| on\b| in\b| to\b| for\b| as\b| but\b| yet\b|\.)", re.I)
_ITSELF = frame("adjectives.itself")


def said_of_it(plain: str, start: int, end: int, starts: Container[int], ends: Container[int], in_ad: InAd) -> bool:
    """Whether the adjective at ``[start, end)`` is said of the product.

    starts, ends: where the copy's words that are facts or claims begin and end; in_ad: whether the ad has a word.
    """
    if plain[start:end].lower() in VAGUE:
        return False
    place = end
    for _ in range(3):
        match = _NEXT.match(plain, place)
        if match is None:
            break
        word = match[1].lower()
        between = plain[place : match.start(1)]
        if word in _COLOURS:
            return False
        if match.start(1) in starts or word in _THINGS or (in_ad(word) and word not in _ENDS):
            return True
        if word in _ENDS:
            break
        if word.endswith(("y", "ish")) or word == "and" or "," in between:
            place = match.end()  # quiet, muddy joy
            continue
        return False
    if asked(plain, end):
        return False
    before = plain[max(0, start - 40) : start]
    copula = _OF_IT.search(before)
    if copula is not None:
        subject = copula["subject"].lower()
        return subject in _ITSELF or in_ad(subject)
    if _FEELS.search(before):
        return True
    trimmed = before.rstrip(" ,").removesuffix(" and").rstrip(" ,")
    if start - len(before) + len(trimmed) in ends and trimmed != before.rstrip():
        return True
    return _OPENS.search(before) is not None and _ON.match(plain[end:]) is not None
