"""How likely an English copy says what its ad does not: its words weighed in their places, by a linear model.

Rules decide what words alone can decide. Whether ``with a few taps`` or ``with fluffy towels`` names something of the
offer is seen from their places: what joins them, what stands beside them, whether the sentence is the reader's, what
the nearest sentence of the ad restricts. Every word gives features of its class (the ad's, neutral, scene, claim, in no
list) in its place; the weights come from ``infra/training/train_ledger.py``, a logistic regression over labelled lines,
and stand in ``weights.en.txt``: a feature and its weight a line, the intercept first. A score above 0 is a claim.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import pairwise

from shared.policy.english_owned import given
from shared.policy.evidence import Evidence, Word, in_ad, stem_support
from shared.policy.vocabulary import FOLDER, Vocabulary, frame, stem

WEIGHTS = "weights.en.txt"
_TOKEN = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿ0-9]+(?:['’][A-Za-z]+)?")
_SENTENCE = re.compile(r"[^.!?;。！？；\n]+")
_CLAUSE = re.compile(r"[^,.!?;:—–()\n]+")
_CHUNK = re.compile(r"[^.!?\n]+[.!?\n]*\s*")
_STOP = frozenset(".!?;:—")
_LONG = 28  # words of a copy that are weighed together, in whole sentences: as many as the lines of training have
_LITERAL = frozenset("AMDFQ#")  # classes of words that state nothing of their own: these alone restate the ad
_BACKED = frozenset("ANMO")  # classes of words for which the ad has something
_ELSEWHERE = ("audience", "domain")

# What a sentence of an ad restricts.
_LIMITS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern, re.I))
    for name, pattern in (
        (
            "cost",
            r"[£$€¥]\s?\d|extra|sold separately|not included|charged|costs?\b|fee\b|half[- ]price|\d% off|\d ?元|自备"
            r"|另购|到付|加价",
        ),
        ("not", r"\b(?:no|not|never|without|cannot|don't|only|none|nor)\b|[不无没未非]|禁"),
        (
            "part",
            r"\b(?:only|some|selected|half|first|up to|except|one|most|members?|min(?:imum)?|max(?:imum)?|at least"
            r"|from|over|under|until|before|each|per)\b|最多|仅|限|满|以上|以下|前",
        ),
        (
            "given",
            r"\bfree\b|included?s?\b|supplied|provided|no charge|on loan|lent|免费|含|包|赠|送|提供",
        ),
        ("must", r"\b(?:must|required?|need(?:ed)?|compulsory|bring|please|ask)\b|需|请|必须"),
    )
)
_AGED = re.compile(r"\b(?:ages?|aged|years? old|year-olds?)\b|\d ?岁", re.I)
_KIND = {"feature": "", "comparison": "C", "material": "T", "service": "V"}  # of concepts, in the classes' names
_FUNCTION = frame("context.function")
_SCOPE = frame("context.scope")
_EXTENT = frame("context.extent")
_LEADS = frame("context.leads") | _FUNCTION
_JOINS = frame("context.joins")
_PASSED = frame("context.passed")
_ENDINGS = ("ing", "ed", "ly", "er", "est", "ness", "less", "able", "ful", "s")
_READER = frozenset({"you", "your", "you're", "you'll", "yours", "my", "i", "me"})


@dataclass(frozen=True, slots=True)
class Described:
    """A word ``[start, end)`` of a copy and what its place says. `open`: it may be claimed by what it says itself."""

    start: int
    end: int
    open: bool
    features: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Told:
    """A sentence of an ad: its stems in order, and what it restricts."""

    stems: tuple[str, ...]
    words: frozenset[str]
    limits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Clause:
    """What the words of a clause share: the ad's sentence nearest to it, and how much of the clause that has."""

    limits: tuple[str, ...]
    shared: int
    backed: int
    reader: bool
    asked: bool
    unbacked: int


@lru_cache(maxsize=512)
def _told(texts: tuple[str, ...]) -> tuple[_Told, ...]:
    found = []
    for text in texts:
        for sentence in _SENTENCE.finditer(text):
            words = tuple(stem(word.lower().replace("’", "'")) for word in _TOKEN.findall(sentence[0]))
            limits = tuple(name for name, pattern in _LIMITS if pattern.search(sentence[0]))
            found.append(_Told(words, frozenset(words), limits))
    return tuple(found)


def chunks(plain: str) -> Iterator[tuple[int, int]]:
    """The spans of a copy that are weighed together: whole sentences, as many as a line of training has."""
    start, end, size = 0, 0, 0
    for sentence in _CHUNK.finditer(plain):
        words = len(_TOKEN.findall(sentence[0]))
        if size and size + words > _LONG:
            yield start, end
            start, size = sentence.start(), 0
        end, size = sentence.end(), size + words
    if size:
        yield start, end


def describe(
    plain: str,
    span: tuple[int, int],
    taken: bytearray,
    marks: bytearray,
    found: Sequence[Word],
    evidence: Evidence,
    known: Vocabulary,
) -> list[Described]:
    """The words of ``plain[span]`` with their features.

    taken: 1 where another rule has judged; marks: negated characters; found: what the rules of words have found.
    """
    matches = list(_TOKEN.finditer(plain, *span))
    if not matches:
        return []
    texts = tuple(text for name, text, _ in evidence.texts if name not in _ELSEWHERE)
    line = _Line(plain, matches, taken, marks, evidence, known, _told(texts))
    ruled = {place: word for word in found for place in range(word.start, word.end)}
    return [
        Described(
            match.start(), match.end(), line.is_open(place), tuple(line.features(place, ruled.get(match.start())))
        )
        for place, match in enumerate(matches)
    ]


class _Line:
    """A piece of a copy, word by word."""

    def __init__(
        self,
        plain: str,
        matches: Sequence[re.Match[str]],
        taken: bytearray,
        marks: bytearray,
        evidence: Evidence,
        known: Vocabulary,
        told: Sequence[_Told],
    ) -> None:
        self.plain, self.told, self.marks = plain, told, marks
        self.matches = matches
        self.size = len(matches)
        self.low = [match[0].lower().replace("’", "'") for match in matches]
        self.stems = [stem(word) for word in self.low]
        self.classes = [
            _class(match, low, stemmed, taken, marks, evidence, known, first=match.start() == matches[0].start())
            for match, low, stemmed in zip(matches, self.low, self.stems, strict=True)
        ]
        self.gaps = [plain[one.end() : other.start()] for one, other in pairwise(matches)]
        low, high = matches[0].start(), matches[-1].end()
        spans = [match.span() for match in _CLAUSE.finditer(plain, low, high)]
        self.clause_of = [
            next((number for number, (start, end) in enumerate(spans) if start <= match.start() < end), 0)
            for match in matches
        ]
        self.clauses = [self._clause(number, end) for number, (_, end) in enumerate(spans)]
        self.last = max(self.clause_of)
        self.places = [
            word if kind in ("F", "n") else kind for word, kind in zip(self.low, self.classes, strict=True)
        ]  # what a word is to its neighbours: itself, where it is common

    def _clause(self, number: int, end: int) -> _Clause:
        inside = [place for place in range(self.size) if self.clause_of[place] == number]
        content = {self.stems[place] for place in inside if self.classes[place] in _BACKED}
        nearest = max(self.told, key=lambda sentence: len(sentence.words & content), default=None)
        shared = len(nearest.words & content) if nearest else 0
        following = re.search(r"[.!?]", self.plain[end:])
        return _Clause(
            nearest.limits if nearest and shared else (),
            shared,
            sum(self.classes[place] in _BACKED for place in inside),
            any(self.low[place] in _READER for place in inside),
            following is not None and following[0] == "?",
            sum(self.classes[place] not in ("A", "M", "F", "n", "Q", "#", "D") for place in inside),
        )

    def is_open(self, place: int) -> bool:
        """Whether a word is neither the ad's nor common nor a figure, or says how far something goes: all, too."""
        return self.classes[place] not in _LITERAL or self.low[place] in _EXTENT

    def _at(self, place: int) -> str:
        return "^" if place < 0 else "$" if place >= self.size else self.places[place]

    def _class_at(self, place: int) -> str:
        return "^" if place < 0 else "$" if place >= self.size else self.classes[place]

    def _joined(self, place: int, step: int) -> tuple[str, str]:
        """How a word is joined to the content before (`step` -1) or after it, and that one's class."""
        join = ""
        while 0 <= place + step < self.size:
            gap = self.gaps[place + min(step, 0)]
            if not _STOP.isdisjoint(gap):
                return "stop", ""
            if "," in gap:
                join = join or ","
            if "&" in gap:
                join = join or "and"
            place += step
            if self.low[place] in _JOINS:
                join = self.low[place]
            elif self.classes[place] != "F" and (step > 0 or self.low[place] not in _PASSED):
                return join or "beside", self.classes[place]
        return "edge", ""

    def _lead(self, place: int) -> str:
        """The word before that leads to this one: with, for, includes."""
        for other in range(place - 1, max(-1, place - 6), -1):
            if self.clause_of[other] == self.clause_of[place] and self.low[other] in _LEADS:
                return self.low[other]
        return "^"

    def features(self, place: int, ruled: Word | None) -> Iterator[str]:
        """The features of a word; `ruled`: what the rules of words say of it."""
        kind, word = self.classes[place], self.low[place]
        clause = self.clauses[self.clause_of[place]]
        before, after = self._at(place - 1), self._at(place + 1)
        second, third = self._at(place - 2), self._at(place + 2)
        negated = bool(self.marks[self.matches[place].start()])
        verdict = "-" if ruled is None else "S" if ruled.support else f"R:{ruled.kind}"
        yield f"w={word}"
        if kind != "F":
            yield f"c={kind}"
            yield f"s={self.stems[place]}"
            yield f"r={verdict}"
            yield f"rc={verdict}|{kind}"
        if verdict.startswith("R"):
            yield f"Rw={word}"
            yield f"Rp={verdict}|{before}"
        yield f"pc={before}|{kind}"
        yield f"nc={after}|{kind}"
        yield f"ccc={self._class_at(place - 1)}|{kind}|{self._class_at(place + 1)}"
        yield f"ppc={second}|{before}|{kind}"
        yield f"wp={word}|{before}"
        yield f"wn={word}|{after}"
        if kind == "F" and word not in _SCOPE:
            return
        yield f"you={clause.reader}|{kind}"
        yield f"ask={clause.asked}|{kind}"
        yield f"sh={min(clause.shared, 3)}|{kind}"
        yield f"mix={min(clause.backed - clause.shared, 2)}|{kind}"
        number = self.clause_of[place]
        yield f"at={'first' if number == 0 else 'last' if number == self.last else 'mid'}|{kind}"
        yield f"in={self._lead(place)}|{kind}"
        if kind not in ("F", "Q", "#"):
            (left, beyond), (right, ahead) = self._joined(place, -1), self._joined(place, 1)
            yield f"L={left}|{beyond}|{kind}"
            yield f"R={right}|{ahead}|{kind}"
            yield f"LR={left}|{beyond[:1]}|{kind}|{right}|{ahead[:1]}"
        if kind != "F" or word in _SCOPE:
            yield f"3p={second}|{before}|{word}"
            yield f"3n={word}|{after}|{third}"
        if negated:
            yield f"not={kind}"
        yield f"end={next((ending for ending in _ENDINGS if word.endswith(ending)), '-')}|{kind}"
        if word in _SCOPE:
            yield from (f"al={limit}|{word}" for limit in clause.limits)
            yield f"alsh={min(clause.shared, 3)}|{word}"
            yield f"alun={min(clause.unbacked, 3)}|{word}"
        yield from (f"alc={limit}|{kind}" for limit in clause.limits)
        if kind == "A":
            yield from self._apart(place)

    def _apart(self, place: int) -> Iterator[str]:
        """How far apart the ad has a word of its own and the next one of the clause."""
        following = place + 1
        while following < self.size and self.classes[following] == "F":
            following += 1
        if (
            following == self.size
            or self.classes[following] != "A"
            or self.clause_of[following] != self.clause_of[place]
        ):
            return
        one, other = self.stems[place], self.stems[following]
        nearest = min(
            (
                abs(first - second)
                for sentence in self.told
                if one in sentence.words and other in sentence.words
                for first, this in enumerate(sentence.stems)
                if this == one
                for second, that in enumerate(sentence.stems)
                if that == other
            ),
            default=99,
        )
        name = next(
            text for most, text in ((1, "1"), (3, "3"), (8, "8"), (98, "far"), (99, "apart")) if nearest <= most
        )
        yield f"dist={name}"
        yield f"dist={name}|{following - place}"


def _class(
    match: re.Match[str],
    low: str,
    stemmed: str,
    taken: bytearray,
    marks: bytearray,
    evidence: Evidence,
    known: Vocabulary,
    *,
    first: bool,
) -> str:
    """What a word is to the ad: judged elsewhere (Q), a figure (#), common (F), the ad's (A), there negated (N) …"""
    if any(taken[match.start() : match.end()]):
        return "Q"
    if low[0].isdigit():
        return "#"
    if low in _FUNCTION:
        return "F"
    negative = bool(marks[match.start()])
    held = evidence.stems.get(stemmed)
    if held and any(name not in _ELSEWHERE for name in held.values()):
        return "A" if negative in held else "N"
    support = stem_support(stemmed, negative, evidence, known)
    if support is not None:
        return "D" if support in _ELSEWHERE else "M"
    turned = stem_support(stemmed, not negative, evidence, known)
    if turned is not None and turned not in _ELSEWHERE:
        return "O"
    if stemmed in known.neutral:
        return "n"
    name = ""
    scenes = known.scenes.get(stemmed)
    if scenes is not None:
        name = "sp" if "people" in scenes else "s"
    concepts = known.concepts.get(stemmed)
    if concepts:
        name += "ce" if stemmed in known.everyday else "c"
        name += _KIND.get(known.kinds[concepts[0][0]], "X")
    return name or ("U" if match[0][0].isupper() and not first else "u")


@cache
def weights() -> tuple[float, dict[str, float]]:
    """The intercept and the weights; none where the file is empty."""
    rows = [line.rsplit("\t", 1) for line in (FOLDER / WEIGHTS).read_text(encoding="utf-8").splitlines()]
    found = {name: float(weight) for name, weight in (row for row in rows if len(row) == 2)}
    return found.pop("", 0.0), found


def score(words: Sequence[Described]) -> tuple[float, list[float]]:
    """The score of a piece of a copy, and each word's part in it; above 0 it states what the ad does not."""
    total, known = weights()
    seen: set[str] = set()
    parts = []
    for word in words:
        part = 0.0
        for name in word.features:
            weight = known.get(name)
            if weight is not None:
                part += weight
                if name not in seen:  # a feature counts once in a piece
                    seen.add(name)
                    total += weight
        parts.append(part)
    return total, parts


# Kinds of claims that rules of words find surely: the model neither finds nor drops them.
_SURE = frozenset({"material", "efficacy", "date", "origin", "name"})
_SAID_AS = {"option": "feature", "spelling": "name"}  # kinds that only the rules tell apart
_SHORT, _MARGIN = 6, 0.7  # words of a piece that shows too little of its places, and the score that it needs
_SHARE = 0.5  # of the part that the weightiest word has: the words beside it that have as much are claimed with it


def _is_soft(word: Word) -> bool:
    """Whether a finding is of a kind that rules do not find surely."""
    return word.support is None and word.kind not in _SURE


def open_to_weighing(word: Word, plain: str, evidence: Evidence, known: Vocabulary) -> bool:
    """Whether the model has the last word on what the rules of words found in `plain`.

    It has not where a thing that else sets a scene is plainly given with the product (``includes a small hammock``),
    nor of people where the ad names ages: ``teenagers`` of a course for ages 8 to 12.
    """
    if not _is_soft(word):
        return False
    if word.kind == "audience" and any(
        _AGED.search(text) for name, text, _ in evidence.texts if name not in _ELSEWHERE
    ):
        return False
    tokens = list(_TOKEN.finditer(plain, word.start, word.end))
    scenes = known.scenes.get(stem(tokens[-1][0].lower())) if tokens else None
    if scenes is None or "people" in scenes:
        return True
    return not given(plain, *tokens[-1].span(), lambda other: in_ad(other, evidence))


def weighed(
    found: Sequence[Word],
    plain: str,
    taken: bytearray,
    marks: bytearray,
    evidence: Evidence,
    known: Vocabulary,
) -> list[Word]:
    """What the rules found in an English copy, less what the model takes for no claim, and what it takes for one."""
    if not weights()[1]:
        return list(found)
    out = [word for word in found if not open_to_weighing(word, plain, evidence, known)]
    for start, end in chunks(plain):
        words = describe(plain, (start, end), taken, marks, found, evidence, known)
        total, parts = score(words)
        soft = [word for word in found if _is_soft(word) and start <= word.start < end]
        least = _MARGIN if not soft and len(words) < _SHORT else 0.0
        if total <= least or not any(word.open for word in words):
            continue
        out += [word for word in soft if word not in out] if soft else _weightiest(words, parts, taken, out)
    return [replace(word, kind=_SAID_AS.get(word.kind, word.kind)) for word in sorted(out, key=lambda word: word.start)]


def _weightiest(
    words: Sequence[Described], parts: Sequence[float], taken: bytearray, found: Sequence[Word]
) -> list[Word]:
    """The words of a piece that count most as a claim, where none there is claimed so far."""
    claimed = {place for word in found for place in range(word.start, word.end)}
    free = [n for n, word in enumerate(words) if word.open and not taken[word.start] and word.start not in claimed]
    if not free:
        return []
    top = max(free, key=lambda place: parts[place])
    first = last = top
    while first - 1 in free and parts[first - 1] >= _SHARE * parts[top] > 0:
        first -= 1
    while last + 1 in free and parts[last + 1] >= _SHARE * parts[top] > 0:
        last += 1
    return [Word(words[first].start, words[last].end, "feature", None)]
