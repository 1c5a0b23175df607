"""A literal reading of a copy: what it adds to the ad's own words, and quantities that it says of something else.

The ledger lets a copy set scenes, persuade, and say things by another name, as a person would. What a model writes of
its own is as likely to be invented, and another line is cheap; so this reading leaves a line only the ad's words, names
of the audience, and the words of ``lexicon/plain.*.txt``, which state nothing. A quantity has to stand with a word that
the ad says it of, and what the ad is against with a word that is against it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache

from shared.domain import Ad, Claim
from shared.policy.characters import fold
from shared.policy.facts import AUDIENCE, Facts, prepare
from shared.policy.legible import illegible
from shared.policy.numerals import Quantity, find_quantities
from shared.policy.plain import plain_words
from shared.policy.vocabulary import lines, stem, stems

_HAN = re.compile(r"[\u3400-\u9fff]")
_HAN_RUN = re.compile(r"[\u3400-\u9fff]+")
_WORD = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿ]+(?:['’-][A-Za-zÀ-ÖØ-öø-ÿ]+)*")
_SENTENCE_END = re.compile(r"[。!！?？;；\n]|\.(?!\d)")
_CLAUSE_END = re.compile(r"[，、:：。!！?？;；\n]|[.,](?!\d)")
_LONGEST = 6  # characters of a plain Chinese word
_LETTER = 0.4  # what a reading pays for a single character of the ad, where a strange one costs 1
_NEAR = 2  # words within which one is against another
_BETWEEN = re.compile(r"[、,，/;；\s]+")
_COPULA = re.compile(r"^[是为有选\s：:]{0,2}")
_RANKED = frozenset({"comparison", "superlative", "rank"})
_CURRENCY = "currency"
_NUMERALS = frozenset("零一二三四五六七八九十百千万亿两半")


def literal(text: str, ad: Ad, claims: Sequence[Claim], *, audience: Sequence[str] = ()) -> list[Claim]:
    """The pieces of a copy that the ad does not say, beside those that its `claims` (`trace_claims`) hold already."""
    plain = fold(text)
    if broken := illegible(plain):
        return [Claim((start, end), text[start:end], "illegible", None) for start, end in broken]
    facts = prepare(ad, audience)
    borne = bytearray(len(plain))
    for quantity in find_quantities(plain):
        borne[quantity.start : quantity.end] = b"\x01" * (quantity.end - quantity.start)
    for claim in claims:
        if claim.kind == "date":
            start, end = claim.span
            borne[start:end] = b"\x01" * (end - start)
    spans = [
        *_english(plain, borne, facts),
        *_chinese(plain, borne, [*(text for _, text in facts.texts), *map(fold, audience)]),
        *_displaced(plain, facts),
        *_unguarded(plain, facts),
        *_misnamed(plain, ad),
    ]
    said = [text.lower() for _, text in facts.texts]
    for claim in claims:  # what is said to be better has to be said so word for word
        start, end = claim.span
        if (
            claim.kind in _RANKED
            and claim.support != AUDIENCE
            and not any(plain[start:end].lower() in text for text in said)
        ):
            spans.append((start, end, claim.kind))
    return [Claim((start, end), text[start:end], kind, None) for start, end, kind in sorted(spans)]


def _english(plain: str, borne: bytearray, facts: Facts) -> Iterator[tuple[int, int, str]]:
    words, held = plain_words()[0], facts.words.stems
    for match in _WORD.finditer(plain):
        start, end = match.span()
        spelling = match[0].lower().replace("’", "'")
        if all(borne[start:end]) or stem(spelling) in words or stem(spelling) in held:
            continue
        if not all(piece in words or piece in held for piece in map(stem, spelling.split("-"))):
            yield start, end, "wording"


def _unguarded(plain: str, facts: Facts) -> Iterator[tuple[int, int, str]]:
    """English words that the ad only has beside one that is against them: the drug of a drug prevention program."""
    spoken = {stem(match[0].lower()) for match in _WORD.finditer(plain)}
    if spoken & _against():
        return
    guarded: dict[str, bool] = {}
    for _, text in facts.texts:
        words = [stem(match[0].lower()) for match in _WORD.finditer(text)]
        for place, word in enumerate(words):
            near = _against().intersection(words[max(0, place - _NEAR) : place + _NEAR + 1])
            guarded[word] = guarded.get(word, True) and bool(near)
    joins = plain_words(joining=True)[0]
    for match in _WORD.finditer(plain):
        word = stem(match[0].lower())
        if guarded.get(word) and word not in joins:
            yield *match.span(), "wording"


def _misnamed(plain: str, ad: Ad) -> Iterator[tuple[int, int, str]]:
    """Chinese names of attributes that no value of theirs stands beside: 款式是绿色 where green is the colour."""
    own = fold(f"{ad.title} {ad.description}")
    values: dict[str, set[str]] = {}
    for key, value in ad.attributes.items():
        name = fold(key)
        parts = {part for part in _BETWEEN.split(fold(str(value))) if part}
        for spelling in {name, name[1:]} if len(name) > 2 else {name}:  # 裤腰型, and 腰型 for short
            if len(spelling) > 1 and _HAN.match(spelling) and spelling not in own:
                values.setdefault(spelling, set()).update(parts)
    longest = sorted(values, key=len, reverse=True)
    for match in re.finditer("|".join(map(re.escape, longest)), plain) if longest else ():
        known, said = tuple(values[match[0]]), _COPULA.sub("", plain[match.end() :])
        if not (said.startswith(known) or plain[: match.start()].rstrip("的").endswith(known)):
            yield *match.span(), "displaced"


@cache
def _against() -> frozenset[str]:
    return frozenset(stems(word) for line in lines("against.en.txt") for word in line.split(","))


def _chinese(plain: str, borne: bytearray, texts: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Characters that are of no claim, plain word or piece of the `texts`, by the reading that leaves fewest of them.

    A single character of the ad stands for what it was part of; two in a row would be a word of the copy's own.
    """
    words = plain_words()[1]
    letters = set("".join(texts))
    for run in _HAN_RUN.finditer(plain):
        first, last = run.span()
        best: list[tuple[float, int]] = [(0.0, last)] * (last - first + 1)
        for place in range(last - 1, first - 1, -1):
            alone = 0.0 if borne[place] else _LETTER if plain[place] in letters else 1.0
            options = [(best[place + 1 - first][0] + alone, place + 1)]
            for length in range(1, min(_LONGEST, last - place) + 1):
                term = plain[place : place + length]
                if term in words or (length > 1 and any(term in text for text in texts)):
                    options.append((best[place + length - first][0], place + length))
            best[place - first] = min(options)
        loose: list[tuple[int, float]] = []  # characters that stand alone, and what each pays
        place = first
        while place <= last:
            cost, following = best[place - first] if place < last else (0.0, last + 1)
            pays = cost - best[following - first][0] if place < last else 0.0
            if pays > 0:
                loose.append((place, pays))
            elif loose:
                if len(loose) > 1 or loose[0][1] == 1.0:
                    yield loose[0][0], loose[-1][0] + 1, "wording"
                loose = []
            place = following


def _displaced(plain: str, facts: Facts) -> Iterator[tuple[int, int, str]]:
    """Quantities that the ad says of something that the copy does not name beside them."""
    for quantity in find_quantities(plain, every=True):
        if quantity.unit.dimension.startswith(_CURRENCY) or quantity.literal:
            continue
        places = [
            (field, fact)
            for field, fact, _ in facts.quantities
            if fact.value == quantity.value and fact.unit.dimension == quantity.unit.dimension
        ]
        if not places:
            yield quantity.start, quantity.end, "derived"
        elif not any(_beside(plain, quantity, field, fact, facts) for field, fact in places):
            yield quantity.start, quantity.end, "displaced"


def _beside(plain: str, quantity: Quantity, field: str, fact: Quantity, facts: Facts) -> bool:
    """Whether the copy's sentence has a word of what the ad says the quantity of; a title says it of the product."""
    if field in ("title", "brand"):
        return True
    texts = dict(facts.texts)
    told = texts.get(field, "")
    clause = _without_figures(_around(told, fact.start, fact.end, clauses=True)) if fact.end else told
    title = texts.get("title", "")
    wanted = _keys(clause) - _keys(title)
    return not wanted or bool(wanted & _keys(_without_figures(_around(plain, quantity.start, quantity.end))))


def _around(text: str, start: int, end: int, *, clauses: bool = False) -> str:
    """The sentence, or the clause, that holds ``[start, end)``."""
    low, high = 0, len(text)
    for match in (_CLAUSE_END if clauses else _SENTENCE_END).finditer(text):
        if match.end() <= start:
            low = match.end()
        elif match.start() >= end:
            high = match.start()
            break
    return text[low:high]


def _without_figures(text: str) -> str:
    for quantity in reversed(find_quantities(text)):
        text = f"{text[: quantity.start]} {text[quantity.end :]}"
    return text


def _keys(text: str) -> set[str]:
    """What a clause is about: stems of English words, Chinese characters; without numbers and what joins words."""
    english, chinese = plain_words(joining=True)
    keys = {stem(word.lower()) for match in _WORD.finditer(text) for word in match[0].split("-")} - english
    keys.update(char for char in text if _HAN.match(char) and char not in chinese and char not in _NUMERALS)
    return keys
