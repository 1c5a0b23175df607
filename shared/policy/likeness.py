"""What reads like lines that break a rule, though none of its words stand in it.

A linear model over the n-grams that a sentence has (``packs/likeness.json``, trained on labelled lines), one for
Chinese and one for English. Each n-gram has a weight and the rule that lines with it broke most; the sentence is held
against the rule that most of its weight speaks for. Weights count for less the more n-grams a sentence has that the
model does not know, so that text unlike all that it was trained on passes.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

from shared.policy.english_quotes import only_calls

_HAN = re.compile(r"[\u3400-\u9fff]")
_ALL = re.compile(r".+", re.S)
_SENTENCE = re.compile(r"[^。！？!?\n]+[。！？!?\n]?")
_PART = re.compile(r"[^.!?]+[.!?]*\s*")
_CLAUSE = re.compile(r"[^，；：,;:]+[，；：,;:]?")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|[0-9][0-9.,]*|[%$€£#]")
_ENDINGS = ("ing", "ed", "es", "s")
SHORT = 80  # characters of a text that is looked at as a whole, however many sentences it has


@dataclass(frozen=True, slots=True)
class Like:
    """The part of a text that speaks most for the rule."""

    start: int
    end: int
    rule: str


@dataclass(frozen=True, slots=True)
class _Model:
    bias: float
    threshold: float
    weights: dict[str, float]
    rules: dict[str, str]


def version() -> str:
    """The version of the models."""
    return str(_document()["version"])


def likeness(text: str, rules: Container[str], *, english: bool, margin: float = 0.0) -> Iterator[Like]:
    """Sentences of a folded text that read like a violation of one of the rules.

    english: whether to look at sentences without Chinese characters. margin: how much nearer than usual (log-odds) a
    sentence is stopped.
    """
    for match in (_ALL if len(text) <= SHORT else _SENTENCE).finditer(text):
        sentence = match[0]
        chinese = bool(_HAN.search(sentence))
        if not chinese and not english:
            continue
        model = _models()["zh" if chinese else "en"]
        present = grams(sentence if chinese else _PART.sub(_unless_plain, sentence), chinese)
        weights = {gram: model.weights[gram] for gram in present if gram in model.weights}
        if not weights or model.bias + sum(weights.values()) / math.sqrt(len(present)) < model.threshold - margin:
            continue
        votes: dict[str, float] = defaultdict(float)
        for gram, weight in weights.items():
            if weight > 0 and model.rules[gram] in rules:
                votes[model.rules[gram]] += weight
        if votes:
            start, end = _heaviest(sentence, weights, chinese)
            yield Like(match.start() + start, match.start() + end, max(votes, key=votes.__getitem__))


def _unless_plain(part: re.Match[str]) -> str:
    """The part of a text unless it is a call or a greeting that states nothing ("Get in touch with us today.")."""
    return "" if len(part[0]) <= SHORT and only_calls(part[0]) else part[0]


def grams(text: str, chinese: bool) -> set[str]:
    """The n-grams of a text: one to three Chinese characters, or one and two English words without their endings.

    Of English the kinds of its words (``packs/en/classes.json``: a disease, an effect) and each two of them are n-grams
    as well, so that what is said of one disease is known of the others.
    """
    if chinese:
        plain = re.sub(r"\s+", " ", text)
        return {plain[start : start + length] for length in (1, 2, 3) for start in range(len(plain) - length + 1)}
    words = [_stem(word) for word in _WORD.findall(text)]
    kinds = sorted({kind for word in words for kind in _kinds().get(word, ())})
    return {*words, *map(" ".join, pairwise(words)), *kinds, *map("".join, combinations(kinds, 2))}


def _stem(word: str) -> str:
    """All numbers are one word; an ending goes where four letters are left."""
    if word[0].isdigit():
        return "0"
    for ending in _ENDINGS:
        if len(word) - len(ending) >= 4 and word.endswith(ending) and not word.endswith("ss"):
            return word[: -len(ending)]
    return word[:-1] if len(word) > 4 and word.endswith("e") else word


def _heaviest(sentence: str, weights: dict[str, float], chinese: bool) -> tuple[int, int]:
    """The clause whose n-grams weigh most."""
    clauses = [(match.start(), match.end()) for match in _CLAUSE.finditer(sentence) if match[0].strip()]
    if not clauses:
        return 0, len(sentence)

    def weight(clause: tuple[int, int]) -> float:
        return sum(weights.get(gram, 0.0) for gram in grams(sentence[slice(*clause)], chinese))

    start, end = max(clauses, key=weight)
    return start + len(sentence[start:end]) - len(sentence[start:end].lstrip()), start + len(
        sentence[start:end].rstrip()
    )


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(
        (Path(__file__).with_name("packs") / "likeness.json").read_text(encoding="utf-8")
    )
    return document


@cache
def _kinds() -> dict[str, tuple[str, ...]]:
    """Kinds by the words that are of them."""
    path = Path(__file__).with_name("packs") / "en" / "classes.json"
    kinds: dict[str, list[str]] = defaultdict(list)
    for kind, words in json.loads(path.read_text(encoding="utf-8"))["classes"].items():
        for word in {_stem(word) for word in words}:
            kinds[word].append(f"<{kind}>")
    return {word: tuple(names) for word, names in kinds.items()}


@cache
def _models() -> dict[str, _Model]:
    return {language: _model(_document()[language]) for language in ("zh", "en")}


def _model(row: dict[str, Any]) -> _Model:
    """`grams` is by rule: {n-gram: weight in thousandths}."""
    weights = {gram: weight / 1000 for grams in row["grams"].values() for gram, weight in grams.items()}
    rules = {gram: rule for rule, grams in row["grams"].items() for gram in grams}
    threshold = math.log(row["probability"] / (1 - row["probability"]))
    return _Model(row["bias"], threshold, weights, rules)
