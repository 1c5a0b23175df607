"""Which words of a copy the ad accounts for: every word must stand in the ad, mean what stands there, or state nothing.

Chinese is segmented into the fewest words of the vocabulary and of the ad; English is matched by stems and phrases.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from shared.policy.chinese_frames import find_stretched
from shared.policy.chinese_names import EVERYDAY_LETTERS, find_extras, find_names
from shared.policy.chinese_segments import HAN, gather_chinese
from shared.policy.chinese_words import cover_chinese
from shared.policy.english_context import weighed
from shared.policy.english_words import cover_english
from shared.policy.evidence import UNLISTED, Evidence, Word, bear, meaning, stem_support
from shared.policy.polarity import NEGATORS, negated
from shared.policy.vocabulary import PHRASE, Vocabulary, stem, stems

_DIGIT, _NUMERALS = re.compile(r"(?<![\d.])\d(?=[\u4e00-\u9fff])"), "零一二三四五六七八九"
_NO = re.compile(
    r"(?:否|无|没有|不[含带可附送配]|不支持|不提供|未配|no|none|not included|n/a)(?:$|[，,;；(（])", re.I
)  # what an attribute is not
_YES = re.compile(r"(?:是|有|支持|含|可|附|带|yes|true|included)(?:$|[，,;；(（])", re.I)
_MARKED = re.compile(rb"\x01+")
_WEEKDAYS = "一二三四五六日"
_WEEK = re.compile(
    r"(?:周|星期|礼拜)(?P<first>[一二三四五六日天])(?:\s?[至到\-~—–]\s?(?:周|星期"
    r"|礼拜)?(?P<last>[一二三四五六日天])"
    r"|(?P<more>(?:[、,，和及]\s?[一二三四五六日天](?![\u4e00-\u9fff]?[个次人份])){1,4}))"
    r"|(?P<name>周末|工作日|每天|每日|天天|每晚|全年无休)"
)
_RUNS = re.compile(r"[\u3400-\u9fff]+|[A-Za-zÀ-ÖØ-öø-ÿ0-9]+(?:['’][A-Za-z]+)?")


def gather(texts: Iterable[tuple[str, str]], known: Vocabulary) -> Evidence:
    """The evidence in an ad's (field, folded text) pairs."""
    evidence = Evidence()
    for name, plain in _spelled_out(texts):
        marks = negated(plain, known, terse=True)
        key, _, value = plain.partition(" ") if name.startswith("attributes.") else ("", "", plain)
        if _NO.match(value):
            marks[: len(key)] = b"\x01" * len(key)
        elif _YES.match(value):
            key = ""  # 防水: 是
        evidence.texts.append((name, plain, marks))
        words: list[tuple[str, bool]] = []
        starts: set[int] = set()
        for match in _RUNS.finditer(plain):
            if HAN.match(match[0]):
                starts.update(gather_chinese(name, plain, match.span(), marks, known, evidence, len(key)))
            else:
                words.append((stem(match[0].lower().replace("’", "'")), bool(marks[match.start()])))
        evidence.starts.append(frozenset(starts))
        evidence.denied += _denied(plain, marks) + "\n"
        for day in _days(plain):
            bear(name, day, False, known, evidence)
        _gather_english(name, words, known, evidence)
    whole = "\n".join(text for name, text, _ in evidence.texts if name != "audience")
    own = {word for word, held in evidence.stems.items() if any(name != "audience" for name in held.values())}
    for scene, (chinese, english) in known.triggers.items():
        if any(term in whole for term in chinese) or not english.isdisjoint(own):
            evidence.fields.add(scene)
    return evidence


def _denied(plain: str, marks: bytearray) -> str:
    """What is negated, with a line's end for every other character."""
    pieces, end = [], 0
    for match in _MARKED.finditer(marks):
        start, last = match.span()
        pieces += ["\n" * (start - end), plain[start:last]]
        end = last
    return "".join(pieces) + "\n" * (len(plain) - end)


def _days(plain: str) -> Iterator[str]:
    """The days that a range or a list of the week has: 周一至周四, 周二、四, 周末."""
    for match in _WEEK.finditer(plain):
        if match["last"]:
            first, last = _WEEKDAYS.find(match["first"]), _WEEKDAYS.find(match["last"].replace("天", "日"))
            yield from (
                "周" + day for day in (_WEEKDAYS + _WEEKDAYS)[first : (last if last >= first else last + 7) + 1]
            )
        elif match["more"]:
            yield from (
                "周" + day.replace("天", "日") for day in match["first"] + match["more"] if day in _WEEKDAYS + "天"
            )
        elif match["name"]:
            yield from ("周" + day for day in {"周末": "六日", "工作日": "一二三四五"}.get(match["name"], _WEEKDAYS))


def _spelled_out(texts: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The texts, and those with digits once more with Chinese numerals: 7号电池 is 七号电池."""
    for name, plain in texts:
        yield name, plain
        spelled = _DIGIT.sub(lambda match: _NUMERALS[int(match[0])], plain)
        if spelled != plain:
            yield name, spelled


def _gather_english(name: str, words: Sequence[tuple[str, bool]], known: Vocabulary, evidence: Evidence) -> None:
    for place, (word, negative) in enumerate(words):
        evidence.stems.setdefault(word, {}).setdefault(negative, name)
        if place + 1 < len(words):
            evidence.stems.setdefault(word + words[place + 1][0], {}).setdefault(words[place + 1][1], name)
        phrase = ""
        for length, (one, turned) in enumerate(words[place : place + PHRASE], start=1):
            phrase = f"{phrase} {one}" if phrase else one
            if phrase in known.evidence:
                bear(name, phrase, turned and not (length > 1 and word in NEGATORS), known, evidence)


def cover(plain: str, taken: bytearray, evidence: Evidence, known: Vocabulary) -> list[Word]:
    """The words of a folded copy that state something, outside the characters that are `taken` (1)."""
    found = ruled(plain, taken, evidence, known)
    if HAN.search(plain) is None:
        found = weighed(found, plain, taken, negated(plain, known), evidence, known)
    return found


def ruled(plain: str, taken: bytearray, evidence: Evidence, known: Vocabulary) -> list[Word]:
    """What the rules of words find, before an English copy's are weighed."""
    marks = negated(plain, known)
    chinese = HAN.search(plain) is not None
    found = cover_chinese(plain, taken, marks, evidence, known)
    latin = [
        (*match.span(), stem(match[0].lower().replace("’", "'")))
        for match in _RUNS.finditer(plain)
        if not HAN.match(match[0])
        and not any(taken[match.start() : match.end()])
        and not (chinese and match[0] in EVERYDAY_LETTERS)
    ]
    if chinese:
        covered = [word for word in found if word.support is None]
        found += [
            name
            for name in (*find_names(plain, evidence, known), *find_extras(plain, evidence, known))
            if not any(word.start < name.end and name.start < word.end for word in covered)
            and not any(taken[name.start : name.end])
        ]
        found += [
            word
            for word in find_stretched(plain, evidence, known)
            if not any(other.start < word.end and word.start < other.end for other in covered)
        ]
    found += cover_english(plain, latin, taken, marks, evidence, known)
    return [
        replace(word, kind="feature") if word.kind == UNLISTED else word
        for word in sorted(found, key=lambda word: word.start)
    ]


def means(term: str, evidence: Evidence, known: Vocabulary, *, negative: bool = False) -> str | None:
    """The field that bears out one term, or (`negative`) its negation: ``per month``, ``月费``."""
    if not term.isascii():
        return meaning(term, negative, evidence, known)
    return stem_support(stems(term), negative, evidence, known)
