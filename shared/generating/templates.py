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
from shared.generating.width import display_width, room_in
from shared.policy.attributes import currency_of, is_amount, is_limiting, is_none, is_some, number_of, price_name
from shared.policy.quoting import beginning_of, ended, is_cut, quotable, shortened, topics_of
from shared.policy.rules import channels
from shared.policy.units import key_unit

_SKIPPED = frozenset({"currency", "model", "series", "level", "sku", "id", "unit", "stock", "单位", "库存"})
# Attributes with English names whose Chinese values say by themselves what they are.
_SPEAK = frozenset({
    "aroma", "bezel", "case_material", "charging", "colours", "construction", "craft", "delivery", "feature",
    "features", "finish", "flavour", "format", "glass", "grade", "highlights", "network", "packaging", "pattern",
    "process", "schedule", "season", "selling_points", "service", "services", "shipping", "sizes", "storage",
    "strap", "style", "warranty",
})  # fmt: skip
_MOST = 64  # sentences of an ad: more than anybody may ask for
_ASKED = re.compile(r"([?？])(?:[。，：]|\.(?=\s|$))")  # what a frame sets after a title that asks
_SAYS = 4  # words of a sentence that says something by itself, and is no call
_SYMBOLS = {"USD": "${v}", "EUR": "€{v}", "GBP": "£{v}", "CNY": "{v} CNY"}


@cache
def _document() -> dict[str, Any]:
    path = Path(__file__).with_name("copy-templates.json")
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def templates_version() -> str:
    return str(_document()["version"])


def attribute_facts(ad: Ad, language: Language) -> list[str]:
    """The attributes as phrases of that language; those that cannot be said in it are left out, amounts of money but
    the ad's own price among them."""
    facts = []
    for name, value in ad.attributes.items():
        if name.lower() in _SKIPPED or value in ("", None) or is_none(value):
            continue
        phrase = _price(ad, name, language) if is_amount(name) else _phrase(name, value, language)
        if phrase and display_width(phrase) <= 40:
            facts.append(phrase)
    return facts


def _price(ad: Ad, name: str, language: Language) -> str | None:
    amount = number_of(ad.attributes[name])
    if name != price_name(ad.attributes) or not amount:
        return None
    currency = currency_of(name, ad.attributes) or ("CNY" if language == "zh" else "")
    if language == "zh":
        return f"{_shown(ad.attributes[name])} 元" if currency == "CNY" else None
    shown = f"{amount:.2f}" if amount % 1 and amount * 100 % 1 == 0 else _shown(ad.attributes[name])
    return _SYMBOLS[currency].format(v=shown) if currency in _SYMBOLS else None


def _phrase(name: str, value: str | float, language: Language) -> str | None:
    shown = _shown(value)
    label = _document()[language]["labels"].get(name)
    number = number_of(value)
    fits = number is not None or _is_chinese(shown) == (language == "zh")
    if label is not None:
        return str(label).format(v=shown) if fits else None
    if is_some(value) and fits and _is_chinese(name) == (language == "zh"):
        return name.replace("_", " ") if not is_limiting(name) else None
    if language == "zh":
        if _is_chinese(name):
            return f"{name}{shown}" if number is not None or not shown.isascii() else None
        return shown if _is_chinese(shown) and name in _SPEAK else None
    if _is_chinese(name) or _is_chinese(shown):
        return None
    *words, last = name.split("_")
    if number is None:  # *on street* says nothing without *parking*, and *gluten* the reverse without *free from*
        return f"{name.replace('_', ' ')}: {shown}" if not key_unit(name) else None
    if key_unit(last) is None or key_unit(name) is None or is_limiting(name):
        return None
    return f"{shown} {last} {' '.join(words)}".strip() if words else f"{shown} {last}"


def _shown(value: str | float) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value).strip()


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
    short_title = beginning_of(title, language)
    if cut and len(title.split(" - ")[0].split()) >= _SAYS:
        title = title.split(" - ")[0]
    titles = (title,) if cut and len(short_title.split()) < _SAYS else (title, short_title)
    facts = [one for one in attribute_facts(ad, language) if one.replace(": ", " ").lower() not in title.lower()]
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
            text = _filled(frame, **values)
            if text not in made and display_width(text) <= width:
                made.append(text)
                break
    for frame in (*alone, "{t}"):
        for name in titles:
            text = _filled(frame, t=name)
            if len(made) < n and text not in made and display_width(text) <= width:
                made.append(text)
    return made[:n]


def _filled(frame: str, **values: str) -> str:
    """A frame with its values, without the punctuation that a title has already."""
    if "：" in values["t"]:
        frame = frame.replace("{t}：", "{t}，")
    return _ASKED.sub(r"\1", frame.format(**values))


def every_template(ad: Ad, language: Language) -> set[str]:
    """All that `fill_templates` may say of the ad in some channel."""
    widths = {room_in(channel, language) for channel in channels()}
    return {text for width in widths for text in fill_templates(ad, language, _MOST, width=width)}


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
