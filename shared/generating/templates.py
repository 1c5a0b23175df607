"""Copy without a model: sentences filled from the ad's title, brand and attributes only (``copy-templates.json``)."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from shared.domain import Ad, Language
from shared.generating.width import display_width
from shared.policy.quoting import ended, is_cut, quotable, shortened, topics_of
from shared.policy.units import key_unit

_SKIPPED = frozenset({"currency", "model", "series", "level", "sku", "id"})
_MONEY = re.compile(r"price|cost|fee|tuition|价|费", re.I)
_SAYS = 4  # words of a sentence that says something by itself, and is no call
_SYMBOLS = {"USD": "${v}", "EUR": "€{v}", "GBP": "£{v}", "CNY": "{v} CNY"}


@cache
def _document() -> dict[str, Any]:
    path = Path(__file__).with_name("copy-templates.json")
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def templates_version() -> str:
    return str(_document()["version"])


def attribute_facts(ad: Ad, language: Language, *, named: bool = False) -> list[str]:
    """The attributes as phrases of that language; those that cannot be said in it are left out.

    named: an English word or two stand with the attribute's name, since *on street* says nothing without *parking*.
    """
    facts = []
    for key, value in ad.attributes.items():
        if key.lower() in _SKIPPED or value in ("", None):
            continue
        phrase = _phrase(ad, key, value, language)
        if phrase and named and language == "en" and phrase == value:
            phrase = f"{key.replace('_', ' ')}: {value}"
        if phrase and display_width(phrase) <= 40:
            facts.append(phrase)
    return facts


def _phrase(ad: Ad, key: str, value: str | float, language: Language) -> str | None:
    shown = f"{value:.15g}" if isinstance(value, float) else str(value)
    if _MONEY.search(key):
        if _number(value) is None or _number(value) == 0:
            return None
        currency = str(ad.attributes.get("currency", "CNY" if language == "zh" else "")).upper()
        if language == "zh":
            return f"{shown} 元" if currency == "CNY" else None
        return _SYMBOLS[currency].format(v=shown) if currency in _SYMBOLS else None
    label = _document()[language]["labels"].get(key)
    fits = _number(value) is not None or _is_chinese(shown) == (language == "zh")
    if label is not None:
        return str(label).format(v=shown) if fits else None
    if language == "zh":
        if _is_chinese(key):
            return f"{key}{shown}" if _number(value) is not None or not shown.isascii() else None
        return shown if _is_chinese(shown) else None
    if _is_chinese(key) or _is_chinese(shown):
        return None
    if _number(value) is None:
        return shown if not key_unit(key) else None
    *words, last = key.split("_")
    unit = key_unit(last)
    if unit is None:
        return None
    return f"{shown} {last} {' '.join(words)}".strip() if words else f"{shown} {last}"


def _number(value: str | float) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _is_chinese(text: str) -> bool:
    return any("\u4e00" <= char <= "\u9fff" for char in text)


def fill_templates(ad: Ad, language: Language, n: int, *, width: int = 120) -> list[str]:
    """Up to n different sentences that fit `width` columns, the fuller ones first.

    The order of frames and facts turns with the ad, so that neighbouring ads do not all read the same. Where the
    title is a piece of the description, cut off, what the description names and its sentences come first.
    """
    frames = _document()[language]["frames"]
    turn = zlib.crc32(f"{ad.ad_id}{ad.title}".encode())
    cut = is_cut(ad.title, ad.description, language)
    title = (ended(ad.title) if cut else ad.title).rstrip("。.！!，, ")
    short_title = re.split(r"[，：:｜|]|, ", title)[0]
    if cut and len(title.split(" - ")[0].split()) >= _SAYS:
        title = title.split(" - ")[0]
    titles = (title,) if cut and len(short_title.split()) < _SAYS else (title, short_title)
    facts = [fact for fact in attribute_facts(ad, language) if fact not in title]
    facts = facts[turn % len(facts) :] + facts[: turn % len(facts)] if facts else []
    brand = ad.brand if ad.brand and ad.brand.lower() not in title.lower() else None
    alone = frames["asking" if title.endswith(("?", "？")) else "cut" if cut else "none"]
    made = _of_description(ad, language, n, facts, turn, width) if cut else []
    for place in range(n * 3):
        group = "two" if len(facts) > 1 else "one" if facts else "none"
        if brand and place % 3 == 2:
            group = "brand"
        elif place % 4 == 3:
            group = "one" if facts else "none"
        options = alone if group == "none" else frames[group]
        frame: str = options[(turn + place) % len(options)]
        if "{f}" in frame and not facts:
            continue
        first = facts[place % len(facts)] if facts else ""
        second = facts[(place + 1) % len(facts)] if facts else ""
        for name in titles:
            values = {"t": name, "b": brand or "", "f": first, "g": second, "F": first[:1].upper() + first[1:]}
            text = frame.format(**values)
            if text not in made and display_width(text) <= width:
                made.append(text)
                break
    for frame in (*alone, "{t}"):
        for name in titles:
            text = frame.format(t=name)
            if len(made) < n and text not in made and display_width(text) <= width:
                made.append(text)
    return made[:n]


def _of_description(ad: Ad, language: Language, n: int, facts: Sequence[str], turn: int, width: int) -> list[str]:
    """Up to n sentences that ask after the things which a description names, or quote it, by turns."""
    frames = _document()[language]["frames"]
    topics = topics_of(ad, language)
    sentences = [one for one in quotable(ad.description, language) if len(one.split()) >= _SAYS]
    made: list[str] = []
    for place in range(n * 2):
        fact = facts[place % len(facts)] if facts else ""
        told = frames["told" if facts and place % 2 == 0 else "sentence"]
        frame: str = told[(turn + place) % len(told)]
        fill = partial(frame.format, F=fact[:1].upper() + fact[1:])
        texts = [fill(s=_fitting(one, language, fill, width)) for one in sentences[place % 2 : place % 2 + 1]]
        if topics:
            asking = frames["topic"]
            texts.append(asking[(turn + place) % len(asking)].format(t=topics[place % len(topics)]))
        made += [text for text in texts if text not in made and display_width(text) <= width]
    return made[:n]


def _fitting(sentence: str, language: Language, fill: Callable[..., str], width: int) -> str:
    """As much of a sentence as may be quoted by itself and fits the frame that `fill` fills."""
    bare = shortened(sentence, language, lambda text: display_width(fill(s=text.rstrip(".!"))) <= width)
    return bare[:1].upper() + bare[1:].rstrip(".!")
