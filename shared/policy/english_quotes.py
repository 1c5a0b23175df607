"""An English copy as quotations of its ad (`shared.policy.english_passages`) and what may stand beside them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache

from shared.domain import Ad
from shared.policy.english_offers import offers
from shared.policy.english_passages import (
    ARTICLES,
    BREAK,
    LONGEST,
    MONEY,
    Passage,
    denied_by,
    limits,
    passage_of,
    passages,
    sentences,
    words_of,
)
from shared.policy.english_topics import topics
from shared.policy.plain import beside, plain_words
from shared.policy.vocabulary import stem

_PART = re.compile(r"[^.!?;—–]*(?:\.(?=\S)[^.!?;—–]*)*[.!?;—–]?")
_COLON = re.compile(r"[^:]*(?::(?=\S)[^:]*)*:?")
_LATER = re.compile(
    r"\b(?:starts?|opens?|opening|pre-?order|waiting list|coming|planned|made to order|full|closed|postponed|paused"
    r"|(?:mon|tues|wednes|thurs|fri|satur|sun)days?|january|february|march|april|june|july|august|september|october"
    r"|november|december)\b"
)
_REMOTE = re.compile(r"\b(?:online|video|zoom|from home|by post|by email|by phone|closed|app)\b")
_SKILLED = re.compile(r"\b(?:advanced|intermediate|experienced?|refresher|assumed|fluent)\b")
_NUMBER = re.compile(r"[\d.,:/+–-]+")
_PIECES = re.compile(r"(,(?=\s)|[()])")
_BREAKS = 40  # and its commas
_LEADS = 3
_ASKED = 6  # words of a question that uses the ad's words as it likes


def plain_english(text: str) -> bool:
    """Whether a text is of words that state nothing."""
    plain, spoken = plain_words()[0], beside("en", "spoken")
    return all(word in spoken or stem(word) in plain for word, _, _ in words_of(text))


@cache
def _frames() -> frozenset[str]:
    """The clauses that say nothing of the product, without articles."""
    return frozenset(" ".join(word for word in one.split() if word not in ARTICLES) for one in beside("en", "frames"))


def _calls(words: Sequence[str]) -> set[str]:
    """A clause without articles, and what it is without a tail."""
    said = " ".join(words)
    return {said.removesuffix(tail).rstrip() for tail in ("", *beside("en", "tails"))}


def only_calls(text: str) -> bool:
    """Whether a sentence is a call or a greeting from the list."""
    return not _calls([word for word, _, _ in words_of(text) if word not in ARTICLES]).isdisjoint(_frames())


def offered(ad: Ad) -> dict[str, str]:
    """The quotable sentences of a description that say what its firm offers or is, and the endings that do."""
    found = {sentence: offers(sentence, ad.title) for sentence in sentences(ad.description)}
    return {sentence: told for sentence, told in found.items() if told}


def asked_after(ad: Ad) -> list[str]:
    """What a question may ask after, as it stands in the description."""
    attributes = [f"{name} {value}" for name, value in ad.attributes.items()]
    named = topics(ad.description, f"{ad.title} {ad.brand or ''}", attributes)
    denied = denied_by(ad) if named else frozenset()
    return [one for one in named if denied.isdisjoint(stem(word) for word, _, _ in words_of(one)[:-1])]


class EnglishQuotations:
    """What of an English ad copy may quote. phrases: the ad's attributes as they are said."""

    def __init__(self, ad: Ad, phrases: Iterable[str]) -> None:
        said = (replace(passage_of(phrase, whole=True), limited=limits(phrase)) for phrase in phrases)
        after = (replace(passage_of(topic, whole=True), limited=True, asked=True) for topic in asked_after(ad))
        ends = (replace(passage_of(told, whole=True), limited=True) for told in offered(ad).values())
        self._passages = (*passages(ad), *said, *after, *ends)
        told = " ".join([ad.title, ad.description, *map(str, ad.attributes.values())]).lower()
        self._refused = frozenset(
            name
            for name, reason in (("later", _LATER), ("visiting", _REMOTE), ("beginning", _SKILLED))
            if reason.search(told)
            for name in beside("en", name)
        )
        self._denied = denied_by(ad) - {stem(word) for word, _, _ in words_of(ad.title)}

    def unquoted(self, text: str, audience: Sequence[str]) -> Iterator[tuple[int, int]]:
        """The parts of a text that are no quotation and may state something."""
        names = frozenset(word for name in audience for word, _, _ in words_of(name) if stem(word) not in self._denied)
        for sentence in _PART.finditer(text):
            if self._holds(sentence[0], names):
                continue
            for part in _COLON.finditer(sentence[0]):
                if not self._holds(part[0], names):
                    start = sentence.start() + part.start()
                    yield start + len(part[0]) - len(part[0].lstrip()), start + len(part[0].rstrip())

    def _holds(self, text: str, audience: frozenset[str]) -> bool:
        if len(text) > LONGEST or len(BREAK.findall(text)) > _BREAKS:
            return False
        return not text.strip() or _Sentence(text, self._passages, audience, self._refused, self._denied).holds()


class _Sentence:
    """A sentence of an English copy, as words and commas, and whether it is made of quotations and what may stand
    beside them."""

    def __init__(
        self,
        text: str,
        passages: Sequence[Passage],
        audience: frozenset[str],
        refused: frozenset[str],
        denied: frozenset[str],
    ) -> None:
        self._refused, self._denied = refused, denied
        self._units: list[str] = []
        for piece in _PIECES.split(text):
            if piece in (",", "(", ")"):
                self._units.append(",")
            else:
                self._units += [word for word, _, _ in words_of(piece) if word not in ARTICLES]
        self._passages, self._audience = passages, audience
        self._question = text.rstrip().endswith("?")
        self._known: dict[int, bool] = {}
        self._followed: dict[tuple[int, int], bool] = {}

    def holds(self) -> bool:
        return self._clause(0)

    def _clause(self, place: int) -> bool:
        """Whether what begins at a clause's start holds to the end."""
        if place >= len(self._units):
            return True
        if place not in self._known:
            self._known[place] = False
            self._known[place] = self._holds(place)
        return self._known[place]

    def _holds(self, place: int) -> bool:
        units = self._units
        if units[place] == ",":
            return self._clause(place + 1)
        end = self._comma(place)
        if self._states_nothing(units[place:end], self._question and end == len(units)) and self._clause(end):
            return True
        joined = self._after({place}, "joints")
        asking = self._after(joined, "asking")
        return any(
            self._goes_on(stop, passage)
            for starts, led in ((joined, False), (self._after(joined, "leads") - joined, True))
            for start in sorted(starts)
            if start < end
            for passage in self._passages
            if not passage.asked or (self._question and start in asking)
            for stop in self._quoted(start, passage, led=led)
        )

    def _after(self, starts: set[int], section: str) -> set[int]:
        """Where a quotation may start, up to `_LEADS` leads of a section after one of the `starts`."""
        found = set(starts)
        for _ in range(_LEADS):
            found |= {
                start + len(lead)
                for start in found
                for lead in _leads(section)
                if tuple(self._units[start : start + len(lead)]) == lead
            }
        return found

    def _comma(self, place: int) -> int:
        while place < len(self._units) and self._units[place] != ",":
            place += 1
        return place

    def _quoted(self, place: int, passage: Passage, *, led: bool = False) -> Iterator[int]:
        """Where quotations of the passage that start here end; commas do not count where the ad has a break.

        led: by a word that wants a thing and no statement; after ``with`` the thing is not the sentence's own.
        """
        beside_it = place > 0 and self._units[place - 1] == "with"
        if passage.value and (led or beside_it):  # *Meet the ring with silver*
            return
        for start in passage.starts:
            if beside_it and passage.sentence and not start:
                continue
            if led and (passage.words[start].startswith(MONEY) or (not start and passage.orders())):
                continue
            at, word = place, start
            while word < len(passage.words) and at < len(self._units):
                if self._units[at] == ",":
                    if word not in passage.breaks:
                        break
                    at += 1
                    continue
                if self._units[at] != passage.words[word] or (led and passage.states(word)):
                    break
                at, word = at + 1, word + 1
                alone = word - start == len(passage.words) and not _NUMBER.fullmatch("".join(passage.words))
                if word in passage.ends and (word - start > 1 or alone or passage.name):
                    yield at

    def _goes_on(self, place: int, passage: Passage) -> bool:
        """Whether what comes after a quotation of the passage holds."""
        key = place, id(passage)
        if key not in self._followed:
            self._followed[key] = False
            self._followed[key] = self._follows(place, passage)
        return self._followed[key]

    def _follows(self, place: int, passage: Passage) -> bool:
        units = self._units
        if place >= len(units):
            return True
        if passage.asked:  # it ends the question: *Here are law firms, sound good?*
            tail = " ".join(units[place:])
            return tail in beside("en", "tails") and tail not in self._refused
        if units[place] == ",":
            return self._clause(place + 1)
        joint = units[place]
        if joint in ("and", "with") or (passage.name and joint in ("by", "from")):
            others = [one for one in self._passages if not one.asked] if joint == "with" or passage.name else [passage]
            for other in others:
                if joint in ("by", "from") and not other.name:
                    continue
                for stop in self._quoted(place + 1, other, led=joint != "and"):
                    if self._goes_on(stop, other):
                        return True
        end = self._comma(place)
        tail = " ".join(units[place:end])
        return tail in beside("en", "tails") and tail not in self._refused and self._clause(end)

    def _named(self, words: Sequence[str], strange: Sequence[str]) -> bool:
        """Whether all words of a question that are not plain are the ad's, and what they name is whole there: *legal
        malpractice* is not what sells *legal malpractice insurance*."""
        groups: list[list[str]] = [[]]
        for word in words:
            if word in strange:
                groups[-1].append(word)
            elif groups[-1]:
                groups.append([])
        said = [group for group in groups if group]
        # *Dogs are not allowed* is no *Got dogs?*
        if any(stem(word) in self._denied for group in said for word in group):
            return False
        return any(not one.limited and all(map(one.names, said)) for one in self._passages)

    def _states_nothing(self, words: Sequence[str], asked: bool) -> bool:
        """Whether they are a question, a call, or an address to the audience, in plain words."""
        plain, spoken = plain_words()[0], beside("en", "spoken")
        calls = _calls(words)
        if not {*calls, *(call.removeprefix("come and ") for call in calls)}.isdisjoint(self._refused):
            return False
        if not calls.isdisjoint(_frames()):
            return True
        if not self._audience.isdisjoint(words) and all(
            word in self._audience or word in beside("en", "addressing") for word in words
        ):
            return True
        if any(word in beside("en", "stating") for word in words):
            return False
        strange = [word for word in words if not (word in self._audience or word in spoken or stem(word) in plain)]
        if asked:
            if len(words) <= _ASKED and not any(map(limits, strange)) and self._named(words, strange):
                strange = []
            return not strange
        asks_for = words[0] in beside("en", "calls") and beside("en", "promising").isdisjoint(words)
        return asks_for and not strange and self._audience.isdisjoint(words)


@cache
def _leads(section: str) -> tuple[tuple[str, ...], ...]:
    return tuple(
        sorted({tuple(word for word in lead.split() if word not in ARTICLES) for lead in beside("en", section)})
    )
