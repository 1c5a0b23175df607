"""Words that a copy may use of its own without stating anything (``lexicon/plain.*.txt``), and what may stand beside a
quotation of the ad (``lexicon/quoting.*.txt``)."""

from __future__ import annotations

from functools import cache

from shared.domain import Language
from shared.policy.vocabulary import lines, stems

_JOINS = "[joins]"


@cache
def plain_words(joining: bool = False) -> tuple[frozenset[str], frozenset[str]]:
    """Plain words, English ones by their stems and Chinese ones as they are written; or those that join words."""
    english: set[str] = set()
    chinese: set[str] = set()
    for name, words in (("plain.en.txt", english), ("plain.zh.txt", chinese)):
        section = ""
        for line in lines(name):
            if line.startswith("["):
                section = line
            elif not joining or section == _JOINS:
                words.update(line.split() if words is chinese else map(stems, line.split(",")))
    return frozenset(english - {""}), frozenset(chinese)


@cache
def beside(language: Language, section: str, file: str = "quoting") -> frozenset[str]:
    """What stands in a section of ``lexicon/quoting.*.txt``, or of another such `file`."""
    found: set[str] = set()
    current = ""
    for line in lines(f"{file}.{language}.txt"):
        if line.startswith("["):
            current = line.strip("[]")
        elif current == section:
            found.update(line.split() if language == "zh" else (one.strip() for one in line.split(",")))
    return frozenset(found)
