"""The words that the claim ledger knows, in Chinese and English, read once from ``lexicon/``.

``neutral.*.txt`` holds words that state nothing checkable about a product; ``scenes.txt`` words that set a scene and
state something only where the ad is in their field; ``bound.zh.txt`` Chinese words that neutral ones would compose.
``concepts.txt``, ``goods.txt``, ``services.txt`` and ``claims.en.txt`` hold one concept a line, ``zh terms | en
terms``: terms of one line support each other; ``narrow`` after ``<`` supports the terms before it, but not the other
way round; the two sides of ``><`` are opposites; a term after ``-`` is the concept's negation (``fragrance,
-unscented``); a line that begins with ``~`` is of everyday things, which a Chinese copy claims only where it says that
the product has them; ``[kind]`` lines name the kind of claim that the following concepts make, ``[kind!]`` that their
terms are no scenes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path

VERSION = "words-2"
FOLDER = Path(__file__).with_name("lexicon")
CONCEPTS = ("concepts.txt", "goods.txt", "services.txt", "claims.en.txt")  # every one opens with a [kind] line
LONGEST = 8  # characters of a Chinese term, words of an English one at most: see PHRASE
PHRASE = 5

_SECTIONS: dict[str, tuple[str, ...]] = {
    "thing": (),
    "part": (),
    "wear": ("clothes",),
    "food": ("edible",),
    "person": ("people",),
    "verb": ("verb",),
}  # of scenes.{zh,en}.txt, as fields
_ENGLISH = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿ0-9][A-Za-zÀ-ÖØ-öø-ÿ0-9']*")
_VOWEL = re.compile(r"[aeiouy]")


@dataclass(slots=True)
class Vocabulary:
    """Terms by spelling (English ones by stems, parted by spaces) to what they mean.

    `concepts`: term -> the (concept, negated) pairs that a copy claims with it; `evidence`: those that an ad bears
    with it; `broader`: concept -> the concepts that it bears out as well; `everyday`: English words that state a fact
    only where the copy says it of the product.
    """

    neutral: set[str] = field(default_factory=set)
    concepts: dict[str, tuple[tuple[int, bool], ...]] = field(default_factory=dict)
    evidence: dict[str, tuple[tuple[int, bool], ...]] = field(default_factory=dict)
    broader: dict[int, set[int]] = field(default_factory=dict)
    opposites: dict[int, set[int]] = field(default_factory=dict)
    kinds: list[str] = field(default_factory=list)
    scenes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    triggers: dict[str, tuple[frozenset[str], frozenset[str]]] = field(default_factory=dict)
    bound: set[str] = field(default_factory=set)
    everyday: set[str] = field(default_factory=set)
    heads: dict[str, int] = field(default_factory=dict)  # first words of English phrases, to the longest one's words
    soft: set[int] = field(default_factory=set)  # concepts of everyday things
    common: set[str] = field(default_factory=set)  # Chinese terms of other concepts that everyday speech has
    people: set[str] = field(default_factory=set)  # Chinese terms for whom something may be

    def knows(self, term: str) -> bool:
        """Whether the term is listed at all."""
        return term in self.neutral or term in self.concepts or term in self.scenes or term in self.bound


@cache
def vocabulary() -> Vocabulary:
    """The words of ``lexicon/``; reads them on the first call."""
    known = Vocabulary()
    for line in lines("neutral.zh.txt"):
        known.neutral.update(line.split())
    for line in lines("neutral.en.txt"):
        known.neutral.update(stems(term) for term in line.split(","))
    known.neutral.discard("")
    kind, sticky = "feature", False
    stuck: set[str] = set()
    narrow: list[tuple[int, str]] = []
    for row in (line for name in CONCEPTS for line in lines(name)):
        if row.startswith("["):
            kind, sticky = row.strip("[]! "), "!" in row
            continue
        soft = row.startswith("~ ")
        line = row.removeprefix("~ ")
        first = len(known.kinds)
        if sticky:
            stuck.update(term for term, _ in _terms(line.replace("<", " ")))
        if "><" in line:
            left, right = (_concept(known, side, kind) for side in line.split("><"))
            known.opposites.setdefault(left, set()).add(right)
            known.opposites.setdefault(right, set()).add(left)
        else:
            broad, *rest = line.split("<")
            concept = _concept(known, broad, kind)
            narrow += [(concept, side) for side in rest]
        if soft:
            known.soft.update(range(first, len(known.kinds)))
    for concept, side in narrow:
        for term, negative in _terms(side):
            known.evidence[term] = (*known.evidence.get(term, ()), (concept, negative))
            for other, turned in known.concepts.get(term, ()):
                if not turned and not negative and other != concept:
                    known.broader.setdefault(other, set()).add(concept)
    _read_scenes(known)
    _read_open_scenes(known)
    for line in lines("bound.zh.txt"):
        known.bound.update(line.split())
    part = known.common
    for line in lines("everyday.zh.txt"):
        if line.startswith("["):
            part = known.people
            continue
        part.update(word for word in line.split() if not word.isascii())
    known.neutral -= stuck | known.people
    stated = {stems(term) for line in lines("stated.en.txt") for term in line.split(",")}
    known.everyday = (
        {
            term
            for term, pairs in known.concepts.items()
            if term.isascii() and " " not in term and known.kinds[pairs[0][0]] == "feature"
        }
        - stuck
        - stated
    )
    for line in lines("everyday.en.txt"):
        listed = {term for word in line.split(",") if (term := stems(word)) in known.concepts}
        known.everyday |= listed
        known.neutral -= listed
    for term in stuck:
        known.scenes.pop(term, None)
    for term in (*known.neutral, *known.concepts, *known.scenes):
        if " " in term:
            head, size = term.partition(" ")[0], term.count(" ") + 1
            known.heads[head] = max(size, known.heads.get(head, 0))
    return known


def _read_scenes(known: Vocabulary) -> None:
    scene = ""
    for line in lines("scenes.txt"):
        if line.startswith("["):
            scene, _, rest = line[1:].partition("]")
            chinese, _, english = rest.partition("|")
            known.triggers[scene] = (frozenset(chinese.split()), frozenset(map(stems, english.split(","))))
            continue
        words = map(stems, line[1:].split(",")) if line.startswith("|") else line.split()
        for word in words:
            if word and scene not in known.scenes.get(word, ()):
                known.scenes[word] = (*known.scenes.get(word, ()), scene)


def _read_open_scenes(known: Vocabulary) -> None:
    """The scene words of no field (``thing``) and of those that claim more easily (``[field] triggers``)."""
    for name in ("scenes.zh.txt", "scenes.en.txt"):
        section = ""
        fields: tuple[str, ...] = ()
        for line in lines(name):
            if line.startswith("["):
                section, _, rest = line[1:].partition("]")
                fields = _SECTIONS[section]
                if rest:
                    chinese, _, english = rest.partition("|")
                    known.triggers[fields[0]] = (frozenset(chinese.split()), frozenset(map(stems, english.split(","))))
                continue
            words = line.split() if name == "scenes.zh.txt" else [stems(word) for word in line.split(",")]
            if section == "part":
                known.bound.update(words if name == "scenes.zh.txt" else ())
                known.neutral.difference_update(words)
                for word in words:
                    known.scenes.pop(word, None)
                continue
            for word in words:
                if section in ("thing", "food") or word not in known.scenes:
                    known.scenes[word] = fields
                if len(word) > 1:
                    known.neutral.discard(word)


def _terms(text: str) -> Iterator[tuple[str, bool]]:
    """The terms of one side of a line, and whether each is the negation."""
    chinese, _, english = text.partition("|")
    for term in [*chinese.split(), *(name.strip() for name in english.split(","))]:
        negative = term.startswith("-") and len(term) > 1
        spelling = term[1:] if negative else term
        spelling = stems(spelling) if spelling.isascii() else spelling
        if spelling:
            yield spelling, negative


def _concept(known: Vocabulary, text: str, kind: str) -> int:
    concept = len(known.kinds)
    known.kinds.append(kind)
    for term, negative in _terms(text):
        pair = (concept, negative)
        known.concepts[term] = (*known.concepts.get(term, ()), pair)
        known.evidence[term] = (*known.evidence.get(term, ()), pair)
    return concept


def lines(name: str) -> Iterator[str]:
    """The lines of a file of ``lexicon/`` but comments and blank ones."""
    for line in (FOLDER / name).read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if name == "claims.en.txt" and line.lstrip("~").startswith(("= ", "| ")):
            soft = "~ " if line.startswith("~") else ""
            yield from (soft + part for part in _parts(line.lstrip("~")))
        else:
            yield line


def _parts(line: str) -> Iterator[str]:
    """The concepts of a line of claims.en.txt: one a term, or after "=" one in all."""
    if line.startswith("= "):
        yield line[2:] if "|" in line.split("<")[0] else "|" + line[1:]
    else:
        yield from (f"| {term}" for term in line[2:].split(", "))


@cache
def frame(name: str) -> frozenset[str]:
    """The words of a section of ``lexicon/frames.en.txt``.

    Raises:
        KeyError: there is no such section.
    """
    return _frames()[name]


@cache
def _frames() -> dict[str, frozenset[str]]:
    found: dict[str, list[str]] = {}
    section = ""
    for line in lines("frames.en.txt"):
        if line.startswith("["):
            section = line.strip("[]")
            found[section] = []
        else:
            found[section] += line.split()
    return {name: frozenset(words) for name, words in found.items()}


@cache
def _forms() -> dict[str, str]:
    """The irregular forms of ``lexicon/forms.en.txt`` to their words."""
    pairs = (line.partition(": ") for line in lines("forms.en.txt"))
    return {form: word for form, _, word in pairs}


@lru_cache(maxsize=32768)
def stem(word: str) -> str:
    """A crude stem that inflections of one English word share (``carries``, ``carrying`` -> ``carri``).

    >>> stem("making") == stem("makes") == stem("make")
    True
    """
    forms = _forms()
    if forms.get(word) == word:
        return word
    word = forms.get(word, word)
    if word.endswith("'s"):
        word = word[:-2]
    word = word.replace("'", "")
    word = forms.get(word, word)
    if len(word) <= 3 or not word.isalpha():
        return word
    if word.endswith("ies"):
        word = word[:-3] + "y"
    elif word.endswith(("sses", "shes", "ches", "xes", "zes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for suffix in ("ingly", "edly", "ing", "ied", "ed", "ly"):
        if not word.endswith(suffix) or word.endswith("eed"):
            continue
        root = word[: -len(suffix)] + ("y" if suffix == "ied" else "")
        if len(root) >= 2 and _VOWEL.search(root) and (len(root) > 2 or suffix != "ly"):
            word = root
            break
    if len(word) > 3 and word.endswith("e"):
        word = word[:-1]
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiou":
        word = word[:-1]
    return word[:-1] + "i" if len(word) > 2 and word.endswith("y") and word[-2] not in "aeou" else word


def stems(text: str) -> str:
    """The stems of a text's English words, parted by spaces."""
    return " ".join(stem(word.lower()) for word in _ENGLISH.findall(text.replace("’", "'")))
