"""The fewest-words reading of a Chinese run, and what the ad has of each of its pieces.

A run of the ad gives the terms and characters that it bears; a run of the copy is cut into words of the vocabulary and
quotations of the ad, each with the field that bears it out, or as unsupported.
"""

from __future__ import annotations

import re

from shared.policy.evidence import SCENE, UNLISTED, Evidence, Word, bear, in_ad, kind_of, meaning
from shared.policy.polarity import NEGATOR_STARTS
from shared.policy.scenes import owned
from shared.policy.vocabulary import LONGEST, Vocabulary

HAN = re.compile(r"[\u3400-\u9fff]")
_QUOTED = 12  # characters of the ad that may stand for one word
_WORD, _CLAIM, _LETTER, _UNKNOWN = 1.0, 1.05, 1.15, 1.6  # what a segmentation pays for a piece
_MISALIGNED = 0.4  # what it pays more for a quotation that begins within a word of the ad
_BOTH = frozenset(
    ("大小", "长短", "高低", "深浅", "轻重", "快慢", "冷热", "厚薄", "软硬", "粗细", "宽窄", "早晚", "新旧")
)
_COUNTERS = frozenset("个次节回堂百千万十元块")
WEEKDAY = re.compile(r"[周期拜][一二三四五六日天末]")


def gather_chinese(
    name: str,
    plain: str,
    span: tuple[int, int],
    marks: bytearray,
    known: Vocabulary,
    evidence: Evidence,
    key: int = 0,
) -> list[int]:
    """Adds what a Chinese run of the ad bears: every listed term in it, and its single characters.

    key: characters of an attribute's name at the head of `plain`, which names a quality without saying it (软硬度).
    Returns where the words of the run begin.
    """
    start, end = span
    for place in range(start, end):
        if place >= key:
            evidence.letters.setdefault(plain[place], name)
        for length in range(2, min(LONGEST, end - place) + 1):
            term = plain[place : place + length]
            if place >= key or not any(concept in known.opposites for concept, _ in known.evidence.get(term, ())):
                bear(name, term, _turned(plain, place, place + length, marks), known, evidence)
    words = _words_of(plain, start, end, known)
    for _, last in words:
        if last > key:
            bear(name, plain[last - 1], bool(marks[last - 1]), known, evidence)
    return [first for first, _ in words]


def _turned(plain: str, start: int, end: int, marks: bytearray) -> bool:
    """Whether a term is negated from outside: the 不 of 不粘 is its own."""
    return bool(marks[end - 1]) and (bool(marks[start]) or plain[start] not in NEGATOR_STARTS)


def _words_of(plain: str, start: int, end: int, known: Vocabulary) -> list[tuple[int, int]]:
    """The fewest listed words of a run; characters in none stand alone."""
    best: list[tuple[float, int]] = [(0.0, end)] * (end - start + 1)
    for place in range(end - 1, start - 1, -1):
        options = [(_UNKNOWN + best[place + 1 - start][0], place + 1)]
        for length in range(1, min(LONGEST, end - place) + 1):
            if known.knows(plain[place : place + length]):
                options.append((_WORD + best[place + length - start][0], place + length))
        best[place - start] = min(options)
    words, place = [], start
    while place < end:
        words.append((place, best[place - start][1]))
        place = best[place - start][1]
    return words


def is_soft(term: str, known: Vocabulary) -> bool:
    """Whether a term is listed as an everyday thing or quality only."""
    pairs = known.concepts.get(term)
    if pairs is None:
        return term in known.scenes
    return term in known.common or all(concept in known.soft for concept, _ in pairs)


def denied_whole(term: str, evidence: Evidence) -> bool:
    """Whether all that a negation of the ad covers is the term: 不提供代写."""
    return (
        re.search(rf"(?:^|\n)(?:提供|支持|承接|接受|参与|使用|含)?{re.escape(term)}(?:\n|$)", evidence.denied)
        is not None
    )


def read_run(plain: str, start: int, end: int, marks: bytearray, evidence: Evidence, known: Vocabulary) -> list[Word]:
    """The cheapest segmentation of a run; its pieces that are not neutral."""
    size = end - start
    best: list[tuple[float, int, Word | None]] = [(0.0, end, None)] * (size + 1)
    for place in range(end - 1, start - 1, -1):
        chosen: tuple[float, int, Word | None] | None = None
        for length in range(1, min(_QUOTED, end - place) + 1):
            stop = place + length
            option = _piece(plain, place, stop, marks, evidence, known)
            if option is None:
                continue
            cost = option[0] + best[stop - start][0]
            if chosen is None or cost < chosen[0]:
                chosen = (cost, stop, option[1])
        best[place - start] = chosen or (0.0, place + 1, None)  # a single character is always a piece
    found, place = [], start
    while place < end:
        _, stop, word = best[place - start]
        if word is not None:
            found.append(word)
        place = stop
    return found


def _piece(
    plain: str, start: int, end: int, marks: bytearray, evidence: Evidence, known: Vocabulary
) -> tuple[float, Word | None] | None:
    term = plain[start:end]
    single = end - start == 1
    if term in known.neutral:
        if not single and term not in _BOTH and _opposed(term, _turned(plain, start, end, marks), evidence, known):
            return _WORD, Word(start, end, "negation", None)
        return _WORD, None
    if not single and WEEKDAY.match(term[-2:]) and plain[end : end + 1] in _COUNTERS:
        return None  # 每周三个晚上, 每周一百八
    if end - start == 4 and term[0] == term[1] and term[2] == term[3]:
        return _WORD, None  # 轻轻巧巧
    if end - start == 2 and term[0] == term[1] and term not in known.concepts:
        return _WORD, None  # 薄薄一片
    listed = term in known.concepts
    negative = _turned(plain, start, end, marks)
    if listed and (support := meaning(term, negative, evidence, known)) is not None:
        return _WORD, Word(start, end, kind_of(term, known), support)
    opposed = False
    if not single:
        support, opposed, aligned = _quoted(term, marks[start:end], evidence)
        if support is not None:
            return _WORD + _MISALIGNED * (not aligned), Word(start, end, kind_of(term, known), support)
    if listed and not (single and kind_of(term, known) != "comparison"):
        opposed = opposed or meaning(term, not negative, evidence, known) is not None
    if opposed and (listed or _content(term, evidence, known)):
        return _WORD, Word(start, end, "negation", None)
    if (
        end - start == 2
        and term[1] in "子儿"
        and not negative
        and (support := evidence.letters.get(term[0])) is not None
    ):
        return _WORD, Word(start, end, kind_of(term, known), support)  # 刷子 of 毛刷
    if listed:
        kind = kind_of(term, known)
        if single and kind != "comparison":
            kind = UNLISTED
        elif (support := _by_parts(term, marks[start:end], negative, evidence, known)) is not None or (
            not single
            and kind != "schedule"
            and term[0] != "防"
            and (support := _abridged(term, negative, evidence)) is not None
        ):
            return _WORD, Word(start, end, kind, support)
        specific = end - start > 2 and not is_soft(term, known)  # 樱桃木, before 樱桃 and a quoted 木手柄
        return _CLAIM + 0.25 * single - 0.2 * specific, Word(start, end, kind, None)
    if term in known.people:
        return _CLAIM, Word(start, end, "audience", None)
    if term in known.scenes:
        if not owned(plain, start, end, known.scenes[term], lambda word: in_ad(word, evidence)):
            return _WORD + 0.02, Word(start, end, SCENE, SCENE)
        return _CLAIM, Word(start, end, UNLISTED, None)
    if not single:
        return (_CLAIM, Word(start, end, UNLISTED, None)) if term in known.bound else None
    if not negative and (support := evidence.letters.get(term)) is not None:
        return _LETTER, Word(start, end, "feature", support)
    return _UNKNOWN, Word(start, end, UNLISTED, None)


def _opposed(term: str, negative: bool, evidence: Evidence, known: Vocabulary) -> bool:
    """Whether a term that states little by itself stands against the ad: 风雨无阻 where rain puts it off."""
    pairs = known.concepts.get(term, ())
    if not any(concept in known.opposites and concept not in known.soft for concept, _ in pairs):
        return False
    return meaning(term, negative, evidence, known) is None and meaning(term, not negative, evidence, known) is not None


def _content(term: str, evidence: Evidence, known: Vocabulary) -> bool:
    """Whether a quoted term of two characters or more is a word of its own, rather than a seam of two."""
    if len(term) > 4 or term[0] in NEGATOR_STARTS:
        return False
    if denied_whole(term, evidence):
        return True
    if not all(char in known.neutral for char in term):
        return True
    return len(term) == 2 and any(re.search(f"[可需须得]{term}", text) for _, text, _ in evidence.texts)


def _quoted(term: str, marks: bytearray, evidence: Evidence) -> tuple[str | None, bool, bool]:
    """The field that says the term with the same negations, whether one says it with the opposite ones only, and
    whether the term begins where a word of the ad does."""
    opposed, support = False, None
    for (name, text, theirs), starts in zip(evidence.texts, evidence.starts, strict=True):
        place = text.find(term)
        while place >= 0:
            found = theirs[place : place + len(term)]
            if found == marks:
                if place in starts or not HAN.match(term):
                    return name, False, True
                support = support or name
            opposed = opposed or (name != "audience" and bool(found[-1]) != bool(marks[-1]))
            place = text.find(term, place + 1)
    return support, opposed and support is None, False


def _by_parts(term: str, marks: bytearray, negative: bool, evidence: Evidence, known: Vocabulary) -> str | None:
    """The field that says both halves of a longer term: 坚果过敏 where the ad has 坚果 and 过敏."""
    for cut in range(2, len(term) - 1):
        fields = [
            meaning(part, negative, evidence, known) or _quoted(part, piece, evidence)[0]
            for part, piece in ((term[:cut], marks[:cut]), (term[cut:], marks[cut:]))
        ]
        opposed = any(concept in known.opposites for concept, _ in known.concepts.get(term, ()))
        plain_half = [
            not opposed and (part in known.neutral or part in known.people or known.scenes.get(part) == ())
            for part in (term[:cut], term[cut:])
        ]
        fields = [field or ("" if easy else None) for field, easy in zip(fields, plain_half, strict=True)]
        if None not in fields and any(fields) and "audience" not in fields and "domain" not in fields:
            return fields[-1] or fields[0]
    return None


def _abridged(term: str, negative: bool, evidence: Evidence) -> str | None:
    """The field that has the term's characters in order close together (快充 of 快速充电)."""
    if any(char not in evidence.letters for char in term):
        return None
    for name, text, theirs in evidence.texts:
        first = text.find(term[0])
        while first >= 0:
            place = first
            for char in term[1:]:
                place = text.find(char, place + 1, place + 4)
                if place < 0:
                    break
            if place > 0 and bool(theirs[place]) == negative:
                return name
            first = text.find(term[0], first + 1)
    return None
