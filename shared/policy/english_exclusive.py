"""Options that exclude each other: wrist for upper arm, live lessons for recorded ones, by phone for by video.

An ad that names one option of a set (``lexicon/exclusive.en.txt``) is not for another that it nowhere names; and where
it names both, each goes with the noun that it stands before in the ad.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

from shared.policy.evidence import Evidence, Word
from shared.policy.scenes import told_of_reader
from shared.policy.vocabulary import frame, lines, stem

InAd = Callable[[str], bool]

_TOKEN = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*")
_PIECE = re.compile(r"[A-Za-z]+(?:['’][A-Za-z]+)?")
_LIKENED = re.compile(r"\b(?:like|as|than|not|no|never|without|isn't|nor|instead of|rather than) (?:\w+ ){0,3}$", re.I)
_OFFERED = re.compile(
    r"\b(?:for|with|by|via|over|on|to|our|and|or|plus|of|any|in|at|take|takes|bring|brings|fits?|suits?|welcome|free"
    r"|from|including|the|a|all|every|both) (?:\w+ )?$"
    r"|(?:^|[.!?:;,—] )$",
    re.I,
)
_FOLLOWED = re.compile(
    r"^ (?:welcome|included|provided|allowed|accepted|too|also|alike|or|and|are|is|can|will)\b", re.I
)
_FUNCTION = frame("context.function")
_NEAR = 3  # words of an ad before a noun that may go with it


@dataclass(frozen=True, slots=True)
class _Option:
    """An option: its set, its place there, and whether it is also said of a reader's life."""

    group: int
    place: int
    common: bool


@cache
def _options() -> dict[str, tuple[_Option, ...]]:
    found: dict[str, tuple[_Option, ...]] = {}
    for number, line in enumerate(lines("exclusive.en.txt")):
        for place, names in enumerate(line.removeprefix("*").split(",")):
            for name in names.split("/"):
                term = _stems(name)
                found[term] = (*found.get(term, ()), _Option(number, place, line.startswith("*")))
    return found


def _stems(text: str) -> str:
    return " ".join(stem(piece.lower().replace("’", "'")) for piece in _PIECE.findall(text))


def _named(plain: str) -> Iterator[tuple[int, int, str, tuple[_Option, ...]]]:
    """Where a text names an option of a set: the longest of one, two or three words from each place."""
    options = _options()
    words = list(_PIECE.finditer(plain))
    place = 0
    while place < len(words):
        for size in (3, 2, 1):
            if place + size > len(words):
                continue
            start, end = words[place].start(), words[place + size - 1].end()
            term = " ".join(stem(word[0].lower().replace("’", "'")) for word in words[place : place + size])
            if term in options:
                yield start, end, term, options[term]
                place += size - 1
                break
        place += 1


@lru_cache(maxsize=512)
def _of_ad(texts: tuple[str, ...]) -> tuple[dict[int, frozenset[int]], frozenset[str]]:
    """The options of an ad by set, and its ``option noun`` pairs of stems."""
    found: dict[int, set[int]] = {}
    pairs: set[str] = set()
    for text in texts:
        for _, end, term, options in _named(text):
            for option in options:
                found.setdefault(option.group, set()).add(option.place)
            following = [stem(word.lower()) for word in _TOKEN.findall(re.split(r"[.;:!?,]", text[end : end + 48])[0])]
            pairs.update(f"{term} {noun}" for noun in following[:_NEAR])
    return {group: frozenset(places) for group, places in found.items()}, frozenset(pairs)


def neighbours(plain: str, evidence: Evidence, in_ad: InAd, means: InAd) -> list[Word]:
    """The options that a folded copy names where the ad names others of the same set."""
    texts = tuple(text for name, text, _ in evidence.texts if name not in ("audience", "domain"))
    told, pairs = _of_ad(texts)
    out: list[Word] = []
    for start, end, term, options in _named(plain):
        if _LIKENED.search(plain[max(0, start - 24) : start]) or told_of_reader(plain, start, end):
            continue
        named = [option for option in options if option.group in told]
        if any(option.place in told[option.group] for option in named):
            following = _TOKEN.match(plain, end + 1)
            noun = stem(following[0].lower()) if following and plain[end : end + 1] in (" ", "-") else ""
            if not noun or noun in _FUNCTION or f"{term} {noun}" in pairs or not in_ad(noun):
                continue
            others = {other for other, held in _options().items() if {o.group for o in held} & {o.group for o in named}}
            mine = {(option.group, option.place) for option in options}
            if any(
                f"{other} {noun}" in pairs
                for other in others
                if not any((option.group, option.place) in mine for option in _options()[other])
            ):
                out.append(Word(start, end + 1 + len(following[0]) if following else end, "option", None))
            continue
        if not named or in_ad(plain[start:end]) or means(plain[start:end]):
            continue
        if all(option.common for option in named) and not (
            _OFFERED.search(plain[max(0, start - 20) : start]) and _FOLLOWED.match(plain[end:])
        ):
            continue
        out.append(Word(start, end, "option", None))
    return out
