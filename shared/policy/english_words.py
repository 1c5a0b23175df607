"""What the English words of a copy state: matched with the ad's by stems and phrases, the longest phrase first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from shared.policy.english_adjectives import VAGUE, said_of_it
from shared.policy.english_claims import turned_round
from shared.policy.english_days import day_word, how_often
from shared.policy.english_exclusive import neighbours
from shared.policy.english_modes import modes
from shared.policy.english_names import enumerated, names
from shared.policy.english_owned import asked, said_to_have
from shared.policy.evidence import (
    SCENE,
    UNLISTED,
    Evidence,
    Word,
    in_ad,
    kind_of,
    meaning,
    merged,
    sets_scene,
    stem_support,
)
from shared.policy.polarity import NEGATORS
from shared.policy.said_of import said_of_product
from shared.policy.scenes import owned, told_of_reader
from shared.policy.vocabulary import PHRASE, Vocabulary, frame, stem, stems

_HAN = re.compile(r"[\u3400-\u9fff]")
SCENTS = frozenset(map(stem, frame("words.scents")))
_SUFFIXES = ("est", "er", "ness", "ment", "able", "ful", "ish", "like", "y", "or", "ion", "al", "ity", "ic")


_TECHNICAL = re.compile(
    r"-(?:proof|free|resistant|grade|friendly|coated|lined|infused|powered|tested|certified|based|enriched|treated"
    r"|plated|safe)\b"
    r"|\b(?:non|anti|ultra|micro|nano|bio|multi|thermo|hydro)-?\w*$|\b(?:technology|system|formula|engine|sensor|chip"
    r"|coating|alloy"
    r"|fibre|fiber|fabric|material|mode|certified|patented|extract)\b",
    re.I,
)
_AND = re.compile(
    r"\s*(?:,|,?\s*(?:and|or|&|plus)(?:\s(?:an?|some|more|its|(?!the\b|your\b|then\b|put\b|you\b)[a-z]{3,7}))?)\s*"
)
_DENIED = re.compile(
    r"\b(?:no|without|zero|not|never|minus|lacks?|skips?|bring your own|bring their own)(?: (?:an?|any|the|added"
    r"|extra|more|single))?(?: \w+)? $",
    re.I,
)
_A = re.compile(r"\b(?:an?|our)\s$", re.I)
_FOR_WHOM = re.compile(r"\bfor (?:the |your |all )?$", re.I)
_SENTENCE = re.compile(r"[^.!?;\n]+")
_TOKEN = re.compile(r"[A-Za-z][A-Za-z'’]{2,}")
_READER = re.compile(
    r"\b(?:you|your|yours|you['’]\w+|i|my|me|us|let|don['’]t|nobody|somebody|someone|everyone)\b", re.I
)
_BACKED, _SHARE = 3, 0.7  # words of a sentence that the ad has, at least, and their part of all
_LIGHT = frame("words.light")
_PLACED = re.compile(
    r"\b(?:for|on|in|at|after|before|by|to|over|under|into|your|my|from|through|of|than|like|as|up)(?: (?:the|an?"
    r"|your|my))?(?: \w+)? $",
    re.I,
)
_TAKES = re.compile(r" (?:the|an?|your|its|them|it|all)\b")
_CONNECTED = re.compile(r"\b(?:and|or|plus)\b|&")
_OPEN_LIST = re.compile(r"(?:^|, |[.:;] |\band )(?:(?:an?|the|its|some|one|two|three) )?(?:\w+ )?$", re.I)
_GOES_ON = re.compile(r"^(?:, | and | or )")
_ARTICLE = re.compile(r"\b(?:an?|the|some|more|its)\b", re.I)
_TIME = re.compile(
    r"(?:(?:onc|once|twice|three time) (?:a|per) (?:day|week|month|year)|(?:(?:an?|per|each|every|this) )?(?:day"
    r"|night|week|month|year"
    r"|hour|minut|second|season|quarter|dai|daili|daily|weekly|weekli|monthly|monthli|yearly|yearli|hourly|nightli"
    r"|annual|annually))$"
)
_NEXT, _LAST = re.compile(r"^[ -]([A-Za-z]+)"), re.compile(r"([A-Za-z]+)[ -]$")


def cover_english(
    plain: str,
    words: Sequence[tuple[int, int, str]],
    taken: bytearray,
    marks: bytearray,
    evidence: Evidence,
    known: Vocabulary,
) -> list[Word]:
    """What the (start, end, stem) `words` of a copy state beside what is `taken`; `marks`: negated characters."""
    if not words:
        return []
    ours = _Ad(evidence, known)
    ad = "\n".join(text for name, text, _ in evidence.texts if name not in ("audience", "domain"))
    named = {word.start: word for word in names(plain, ad, ours.has, ours.means) if not taken[word.start]}
    found = [word for word in how_often(plain, evidence) if not any(taken[word.start : word.end])]
    found += [word for word in enumerated(plain, ours.has, ours.means) if not any(taken[word.start : word.end])]
    found += [
        word
        for word in (
            *turned_round(plain, evidence, ours.has, ours.means, known.concepts),
            *modes(plain, evidence),
            *neighbours(plain, evidence, ours.has, ours.means),
        )
        if not any(word.start < other.end and other.start < word.end for other in found)
    ]
    skipped = {place for word in found for place in range(word.start, word.end)}
    place = 0
    while place < len(words):
        start, end, stemmed = words[place]
        length, word = 1, named.get(start)
        if word is None and start not in skipped:
            if kind_of(stemmed, known) == "schedule":
                word = day_word(plain, start, end, evidence)
            else:
                length, word = _phrase(plain, words, place, marks, evidence, known)
        if word is not None:
            found.append(word)
        place += length
    found = [word for word in found if word.support or not _of_scene(word, plain, evidence, known)]
    dense = _dense(plain, taken, ours)
    found = _listed(sorted(found, key=lambda word: word.start), plain, dense, known)
    starts = {word.start for word in found if word.support and word.kind != "comparison"}
    ends = {word.end for word in found} | {place + 1 for place in range(len(plain)) if taken[place]}
    found = [
        word
        for word in found
        if word.support
        or not _is_adjective(word, plain, known)
        or (said_of_product if word.kind == "negation" else said_of_it)(
            plain, word.start, word.end, starts, ends, ours.akin
        )
    ]
    return [
        word
        for word in merged(found, plain)
        if word.kind != UNLISTED or (dense[word.start] and _in_list(plain, word)) or _states(plain, word, evidence)
    ]


def _dense(plain: str, taken: bytearray, ours: _Ad) -> bytearray:
    """1 where a sentence only names the ad's facts, as headlines do: whatever else such a sentence names is a claim."""
    marks = bytearray(len(plain))
    for sentence in _SENTENCE.finditer(plain):
        if _READER.search(sentence[0]):
            continue
        words = [
            word
            for word in _TOKEN.finditer(plain, sentence.start(), sentence.end())
            if word[0].lower() not in _LIGHT and not taken[word.start()]
        ]
        backed = sum(ours.has(word[0]) or ours.means(word[0]) for word in words)
        if backed >= _BACKED and backed >= _SHARE * len(words):
            marks[sentence.start() : sentence.end()] = b"\x01" * len(sentence[0])
    return marks


@dataclass(frozen=True, slots=True)
class _Ad:
    """Whether an ad has a word, or one that means the same."""

    evidence: Evidence
    known: Vocabulary

    def has(self, word: str) -> bool:
        return in_ad(word, self.evidence)

    def akin(self, word: str) -> bool:
        """Whether the ad has a word that begins like this one: installers, of installs."""
        if self.has(word):
            return True
        if len(word) < 6:
            return False
        return any(theirs.startswith(word[:6].lower()) for theirs in self.evidence.stems)

    def means(self, word: str) -> bool:
        term = stems(word)
        held = (stem_support(term, negative, self.evidence, self.known) for negative in (False, True))
        return any(field not in (None, "audience", "domain") for field in held)


def _of_scene(word: Word, plain: str, evidence: Evidence, known: Vocabulary) -> bool:
    """Whether an adjective is said of a word beside it that sets a scene: wet leaves, lights low."""
    if word.kind != "comparison":
        return False
    for pattern, text, offset in ((_NEXT, plain[word.end :], word.end), (_LAST, plain[: word.start], 0)):
        beside = pattern.search(text)
        if beside is None:
            continue
        start, end = (offset + place for place in beside.span(1))
        term = stems(beside[1])
        if stem_support(term, False, evidence, known) is None and sets_scene(term, plain, start, end, evidence, known):
            return True
    return False


def _listed(words: Sequence[Word], plain: str, dense: bytearray, known: Vocabulary) -> list[Word]:
    """A scene word in a list with what the ad has, or in a sentence of facts, is a claim; the others are left out."""
    out: list[Word] = []
    for place, word in enumerate(words):
        if word.kind != SCENE:
            out.append(word)
            continue
        if dense[word.start] and _names_fact(plain[word.start : word.end], known):
            out.append(Word(word.start, word.end, "feature", None))
            continue
        beside = [(words[place - 1], words[place - 1].end, word.start)] if place else []
        if place + 1 < len(words):
            beside.append((words[place + 1], word.end, words[place + 1].start))
        backed = [
            _CONNECTED.search(plain[start:end]) is not None
            for other, start, end in beside
            if other.kind != SCENE and other.support not in (None, "audience", "domain")
        ]
        if not any(backed) and len(backed) < 2:
            continue
        if any(
            other.kind != SCENE
            and other.support not in (None, "audience", "domain")
            and _AND.fullmatch(plain, start, end)
            and _is_item(plain, start, end, word)
            for other, start, end in beside
        ):
            out.append(Word(word.start, word.end, "feature", None))
    return out


def _names_fact(text: str, known: Vocabulary) -> bool:
    term = stems(text)
    return term in known.everyday and term not in known.scenes


def _in_list(plain: str, word: Word) -> bool:
    """Whether commas or conjunctions part a word from the rest: payroll and tax advice."""
    return (
        re.search(r"(?:, |\band |& |\bor |\bplus )$", plain[: word.start]) is not None
        and re.match(r"(?: (?:and|or|plus|&)\b|,)", plain[word.end :]) is not None
    )


def _is_item(plain: str, start: int, end: int, word: Word) -> bool:
    """Whether what parts two words is a list's: a comma, an article, or before a plural."""
    gap = plain[start:end]
    if _TAKES.match(plain[word.end :]):
        return False  # holds 80 kg and hides the wires
    if _PLACED.search(plain[max(0, word.start - 24) : word.start]):
        return False
    if word.end <= start and _OPEN_LIST.search(plain[max(0, word.start - 24) : word.start]) is None:
        return False  # Grab a cuppa and
    if not _CONNECTED.search(gap):  # a comma alone: of a list only where another stands on its other side
        other = plain[max(0, word.start - 16) : word.start] if word.end <= start else plain[word.end : word.end + 6]
        return (_OPEN_LIST if word.end <= start else _GOES_ON).search(other) is not None
    return "," in gap or _ARTICLE.search(gap) is not None or plain[word.start : word.end].lower().endswith("s")


def _is_adjective(word: Word, plain: str, known: Vocabulary) -> bool:
    """Whether a word is one that everyday speech says of many things: light, long, quiet."""
    if word.kind not in ("comparison", "negation"):
        return False
    text = plain[word.start : word.end]
    term = stems(text)
    if "people" in known.scenes.get(term, ()):
        return False
    if text.lower() in VAGUE and known.concepts.get(term):
        return True
    return kind_of(term, known) == "comparison" and any(concept in known.soft for concept, _ in known.concepts[term])


def _states(plain: str, word: Word, evidence: Evidence) -> bool:
    """Whether a word that no list has is the product's, or a technical term by its form."""
    start, end = word.start, word.end
    return (
        owned(plain, start, end, (), lambda text: in_ad(text, evidence))
        or _TECHNICAL.search(plain[max(0, start - 12) : end + 12]) is not None
    )


def _phrase(
    plain: str,
    words: Sequence[tuple[int, int, str]],
    place: int,
    marks: bytearray,
    evidence: Evidence,
    known: Vocabulary,
) -> tuple[int, Word | None]:
    """How many words the longest listed phrase from `place` has, and what it states."""
    for length in range(min(PHRASE, len(words) - place, known.heads.get(words[place][2], 1)), 0, -1):
        start, end = words[place][0], words[place + length - 1][1]
        if length > 1 and re.search(r"[.!?;:]", plain[start:end]):
            continue
        term = " ".join(word for _, _, word in words[place : place + length])
        if term in known.neutral or _TIME.match(term):
            if (
                length == 1
                and set(evidence.stems.get(term, ())) == {True}
                and _A.search(plain[max(0, start - 6) : start])
            ):
                return 1, Word(start, end, "negation", None)  # a lift, where there is none
            return length, None
        if term not in known.concepts:
            if (
                length > 1
                and not any(_stated(word, evidence, known) for _, _, word in words[place : place + length])
                and sets_scene(term, plain, start, end, evidence, known)
            ):
                return length, Word(start, end, SCENE, SCENE)
            continue
        negative = bool(marks[words[place + length - 1][0]]) and not (length > 1 and words[place][2] in NEGATORS)
        kind = kind_of(term, known)
        support = meaning(term, negative, evidence, known)
        if support is None and length == 1:
            return 1, _single(plain, words, place, negative, evidence, known)
        if support is None:
            parts = [
                evidence.stems.get(stem_, {}).get(bool(marks[start_]))
                for start_, _, stem_ in words[place : place + length]
            ]
            support = parts[-1] if None not in parts else None
        if support is None and sets_scene(term, plain, start, end, evidence, known):
            return length, Word(start, end, SCENE, SCENE)
        if (
            support is None
            and term in known.everyday
            and not said_to_have(plain, start, end, lambda text: in_ad(text, evidence))
        ):
            return length, Word(start, end, SCENE, SCENE)
        if support is None and meaning(term, not negative, evidence, known) is not None:
            kind = "negation"
        return length, Word(start, end, kind, support)
    return 1, _single(plain, words, place, bool(marks[words[place][0]]), evidence, known)


def _stated(word: str, evidence: Evidence, known: Vocabulary) -> bool:
    """Whether a word of a phrase is a fact of the ad or a day of the week, so that the phrase is no mere scene."""
    return kind_of(word, known) == "schedule" or stem_support(word, False, evidence, known) is not None


def _single(
    plain: str,
    words: Sequence[tuple[int, int, str]],
    place: int,
    negative: bool,
    evidence: Evidence,
    known: Vocabulary,
) -> Word | None:
    """What one word states: a fact, a claim, something of the reader's scene, or nothing."""
    start, end, word = words[place]
    support = stem_support(word, negative, evidence, known)
    if support is None and place + 1 < len(words):
        support = evidence.stems.get(word + words[place + 1][2], {}).get(negative)
    if support is None and place:
        support = evidence.stems.get(words[place - 1][2] + word, {}).get(negative)
    if support is None:
        neutral, support = _root_support(plain[start:end].lower(), word, negative, evidence, known)
        if neutral:
            return None
    if support is not None:
        return Word(start, end, kind_of(word, known), support)
    return _unsupported(plain, words[place], negative, evidence, known)


def _root_support(
    text: str, word: str, negative: bool, evidence: Evidence, known: Vocabulary
) -> tuple[bool, str | None]:
    """Whether the word a suffix was put to is neutral (tireder), and the field that bears it out (sweetness)."""
    listed = word in known.scenes or word in known.concepts
    for suffix in _SUFFIXES:
        if not text.endswith(suffix) or len(text) - len(suffix) < 3:
            continue
        root = text[: -len(suffix)]
        roots = {stem(root), stem(root + "e"), stem(root[:-1] + "y")}
        if root[-1] == root[-2]:
            roots.add(stem(root[:-1]))
        if suffix in ("er", "est", "ness") and not listed and not roots.isdisjoint(known.neutral):
            return True, None
        support = next((s for r in roots if (s := stem_support(r, negative, evidence, known))), None)
        if support is not None:
            return False, support
    return False, None


def _unsupported(
    plain: str, piece: tuple[int, int, str], negative: bool, evidence: Evidence, known: Vocabulary
) -> Word | None:
    """What a word states that the ad does not have as it stands."""
    start, end, word = piece
    kind = kind_of(word, known)
    if not negative:
        if len(word) > 4 and any(prefix + word in evidence.stems for prefix in ("un", "non", "dis", "in", "im")):
            return Word(start, end, "negation", None)  # solved, of unsolved cases
        if kind not in ("comparison", "material") and (support := _compound(word, evidence)) is not None:
            return Word(start, end, kind, support)
    scenes = known.scenes.get(word)
    common = word in known.everyday
    if stem_support(word, not negative, evidence, known) is not None:
        if negative and (
            asked(plain, end)
            or ((common or scenes is not None) and not _DENIED.search(plain[max(0, start - 24) : start]))
        ):
            return None  # No shoes? Bills don't count as post
        told = "people" in (scenes or ()) and not _FOR_WHOM.search(plain[max(0, start - 12) : start])
        if told and sets_scene(word, plain, start, end, evidence, known):
            return Word(start, end, SCENE, SCENE)  # once the kids are asleep
        return Word(start, end, "negation", None)
    if scenes is not None and "people" not in scenes:
        yours = told_of_reader(plain, start, end)
        if word in SCENTS and "scent" in evidence.fields and not yours:
            return Word(start, end, kind, None)
        if common and "body" in scenes and "body" in evidence.fields and not yours:
            return Word(start, end, kind, None)  # knees, where it is for backs
    has = common and said_to_have(plain, start, end, lambda text: in_ad(text, evidence))
    if has and scenes is not None and "people" not in scenes:
        return Word(start, end, kind, None)
    if sets_scene(word, plain, start, end, evidence, known) or (common and not has):
        return Word(start, end, SCENE, SCENE)
    if word not in known.concepts:
        kind = "name" if _HAN.search(plain) else UNLISTED
    return Word(start, end, kind, None)


def _compound(word: str, evidence: Evidence) -> str | None:
    """The field whose longer word has this one in it: seal of resealable, wash of stonewashed, novel of novelist."""
    if len(word) < 4 or word in evidence.stems:
        return None
    for theirs, held in evidence.stems.items():
        rest = len(theirs) - len(word)
        if rest >= 2 and (
            theirs.startswith(word) or (rest >= 3 and theirs.endswith(word)) or theirs.startswith("re" + word)
        ):
            field = next(iter(held.values()))
            if field not in ("audience", "domain"):
                return field
    return None
