"""The text that rules are matched on: what only hides a word from a filter is undone, and every place is kept.

Width, case, styled letters, accents, traditional characters and invisible characters make no difference anywhere.
Fillers between Chinese characters go. Homophones, pinyin, leet, letters spaced out and punctuation inside a word are
undone only where a risky word (``packs/variants.json``) comes out, so that 醉蟹, 兄弟一生 and "m4 screws" stay as
they are.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import ahocorasick

from shared.preprocess import to_simplified

HAN = "\u3400-\u9fff"
_MOST_SPELLINGS = 4_000  # of one risky word
_FILLER = re.compile(
    rf"(?<=[{HAN}a-z0-9%])[^{HAN}a-z0-9%，。！？；：、（）,.!?;:()\[\]【】《》\n—…\"'「」°/&<>$¥@#]+(?=[{HAN}a-z0-9])"
)
_SOFT = re.compile(rf"(?<=[{HAN}])[.·•/'@#&<>]{{1,3}}(?=[{HAN}])")
_NOT_HAN = re.compile(rf"[^{HAN}]+")
_TOKEN = re.compile(r"[a-z0-9@$!][a-z0-9@$!.*_'|+\-]{2,30}")
_SPACED = re.compile(r"(?<![a-z0-9])(?:[a-z0-9@$][ .\-_*·/|~]{1,3}){2,40}[a-z0-9@$](?![a-z0-9])")
# A syllable of pinyin with its letters apart, beside a Chinese character: "z u i 便宜".
_SYLLABLE = re.compile(rf"(?<![a-z])(?:[a-z][ .\-_*]{{1,2}}){{1,5}}[a-z](?=[ ]?[{HAN}])")
_BOTH = frozenset("像覆著俱")  # simplified characters that are traditional ones of another, too
_DASH = re.compile(r"(?<=[a-z0-9 ])—(?=[a-z0-9 ])")  # between English words it parts clauses as a comma does
_STRETCHED = re.compile(r"([a-z])\1{2,}")
_LEET = str.maketrans("013457@$!|+", "oieastasiit")
_LEET_L = str.maketrans("013457@$!|+", "oleastaslit")
_CYRILLIC = str.maketrans("авсеіјкмонрѕтухԁ", "abceijkmohpstyxd")
_MIXED = re.compile(r"[a-z\u0430-\u0501]*(?:[a-z][\u0430-\u0501]|[\u0430-\u0501][a-z])[a-z\u0430-\u0501]*")
_PLAIN = {
    "ㄧ": "一",
    "’": "'",
    "‘": "'",
    "“": '"',
    "”": '"',
    "‐": "-",
    "‑": "-",
    "‒": "-",
    "–": "-",
    "№": "no.",
    "\u2028": "\n",
}

Edit = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class Folded:
    """`text` for matching; its character k stands for ``[starts[k], ends[k])`` of the text as given."""

    text: str
    starts: list[int]
    ends: list[int]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where ``text[start:end]``, not empty, stands in the text as given."""
        return self.starts[start], max(self.ends[start:end])

    def edited(self, edits: list[Edit]) -> Folded:
        """With the spans replaced; the characters of a replacement share the places of what they replace."""
        if not edits:
            return self
        parts: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        done = 0
        for start, end, new in edits:
            parts += [self.text[done:start], new]
            starts += self.starts[done:start]
            ends += self.ends[done:start]
            if len(new) == end - start:
                starts += self.starts[start:end]
                ends += self.ends[start:end]
            else:
                low, high = self.span(start, end)
                starts += [low] * len(new)
                ends += [high] * len(new)
            done = end
        parts.append(self.text[done:])
        return Folded("".join(parts), starts + self.starts[done:], ends + self.ends[done:])


def fold_text(text: str) -> Folded:
    """The text for matching. Linear in its length."""
    parts = list(map(_CHARACTERS.__getitem__, text))
    plain = _DASH.sub(",", "".join(parts))
    places = list(range(len(text)))
    if len(plain) != len(text) or "" in parts:
        places = [place for place, part in enumerate(parts) for _ in part]
    folded = Folded(plain, places, [place + 1 for place in places])
    if not plain.isascii():
        folded = folded.edited([(m.start(), m.end(), m[0].translate(_CYRILLIC)) for m in _MIXED.finditer(folded.text)])
        folded = folded.edited(
            [(m.start(), m.end(), "") for m in _FILLER.finditer(folded.text) if _parts_han(folded, m)]
        )
        folded = folded.edited([(m.start(), m.end(), "") for m in _SOFT.finditer(folded.text)])
        folded = folded.edited(
            [(m.start(), m.end(), re.sub("[^a-z]", "", m[0])) for m in _SYLLABLE.finditer(folded.text)]
        )
        folded = folded.edited(list(_respelled(folded.text)))
        folded = folded.edited(list(_taken_apart(folded.text)))
    folded = folded.edited(list(_spaced(folded.text)))
    return folded.edited(list(_leet(folded.text)))


class _Characters(dict[str, str]):
    """What one character becomes: none, one or several."""

    def __missing__(self, char: str) -> str:
        plain = _PLAIN.get(char) or unicodedata.normalize("NFKC", char)
        if char in "，！？；：（）":  # wide punctuation parts clauses
            plain = char
        kept = []
        for one in plain:
            if unicodedata.category(one) in ("Cf", "Cc", "Mn", "Me", "Cs", "Co") and one not in "\n\t\r":
                continue
            base = unicodedata.normalize("NFD", one)
            bare = base[0] if len(base) > 1 and base[0].isascii() else one
            digit = unicodedata.digit(bare, None)
            kept.append(
                str(digit) if digit is not None else bare.lower() if bare in _BOTH else to_simplified(bare).lower()
            )
        self[char] = value = "".join(kept)
        return value


_CHARACTERS = _Characters()


def _parts_han(folded: Folded, match: re.Match[str]) -> bool:
    """Whether a filler has a Chinese character on one side at least."""
    return any("\u3400" <= char <= "\u9fff" for char in (folded.text[match.start() - 1], folded.text[match.end()]))


def _respelled(text: str) -> Iterator[Edit]:
    """Risky words written with homophones, look-alikes or pinyin."""
    done = 0
    for last, (length, word) in _variants().iter_long(text):
        start = last - length + 1
        # Not pinyin where it is the end or the beginning of a longer Latin word.
        clash = (text[start].isascii() and text[start - 1 : start].isascii() and text[start - 1 : start].isalpha()) or (
            text[last].isascii() and text[last + 1 : last + 2].isascii() and text[last + 1 : last + 2].isalnum()
        )
        if word and start >= done and not clash:
            yield start, last + 1, word
            done = last + 1


def _taken_apart(text: str) -> Iterator[Edit]:
    """Risky Chinese words with punctuation between all of their characters (``国、家、级``)."""
    places = [place for place, char in enumerate(text) if "\u3400" <= char <= "\u9fff"]
    done = 0
    for last, word in _risky().iter("".join(text[place] for place in places)):
        inner = places[last - len(word) + 1 : last + 1]
        if inner[0] >= done and all(1 < after - before <= 4 for before, after in pairwise(inner)):
            yield inner[0], inner[-1] + 1, word
            done = inner[-1] + 1


def _spaced(text: str) -> Iterator[Edit]:
    """Risky English words with their letters apart (``c u r e``), leet or not."""
    for match in _SPACED.finditer(text):
        places = [place for place in range(match.start(), match.end()) if text[place] not in " .-_*·/|~"]
        letters = "".join(text[place] for place in places).translate(_LEET)
        low = 0
        while low < len(letters):
            word = next(
                (letters[low:high] for high in range(len(letters), low + 3, -1) if letters[low:high] in _english()), ""
            )
            if word:
                end = places[low + len(word) - 1] + 1
                yield places[low], end, word
            low += len(word) or 1


def _leet(text: str) -> Iterator[Edit]:
    """Risky English words with digits or signs for letters, signs inside, or letters drawn out."""
    for match in _TOKEN.finditer(text):
        token = match[0].rstrip("!.'-*_")
        if token.isalpha() and not _STRETCHED.search(token):
            continue
        for table in (_LEET, _LEET_L):
            bare = re.sub(r"[.*_'\-]", "", token).translate(table)
            word = next(
                (
                    form
                    for form in (bare, _STRETCHED.sub(r"\1", bare), _STRETCHED.sub(r"\1\1", bare))
                    if form in _english()
                ),
                "",
            )
            if word and word != token:
                yield match.start(), match.start() + len(token), word
                break


@cache
def _document() -> dict[str, Any]:
    path = Path(__file__).with_name("packs") / "variants.json"
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


@cache
def _english() -> frozenset[str]:
    return frozenset(_document()["english"])


@cache
def _risky() -> Any:
    automaton = ahocorasick.Automaton()
    for word in _document()["chinese"]:
        automaton.add_word(word, word)
    automaton.make_automaton()
    return automaton


@cache
def _variants() -> Any:
    """Every other spelling of a risky word, and what is spelled like one but is none (empty)."""
    document = _document()
    spellings: dict[str, str] = dict(document["characters"])
    for word in document["chinese"]:
        written = [[char, *document["sounds"].get(char, ())] for char in word]
        for count, parts in enumerate(product(*written)):
            if count and count < _MOST_SPELLINGS:
                spellings.setdefault("".join(parts), word)
    spellings |= document["spellings"] | dict.fromkeys(document["keep"], "")
    automaton = ahocorasick.Automaton()
    for spelling, word in spellings.items():
        automaton.add_word(spelling, (len(spelling), word))
    automaton.make_automaton()
    return automaton
