"""The form of a line of copy: what is put right in it, and what is wrong with it whatever it says."""

from __future__ import annotations

import re
from collections import Counter

from shared.domain import Ad, Language
from shared.preprocess import clean_text, to_simplified

_LABELS = re.compile(
    r"^(?:\d+[.、)](?!\d)\s*|[-•*]\s*|(?:广告文案|广告语|文案|标语|Ad|Copy|Headline|Slogan)\s*[:：]\s*)+", re.I
)
_LEAKS = re.compile(
    r"(?:商品|卖点|读者喜欢|广告文案)\s*[:：]|\b(?:Product|Features|Readers like)\s*:|<[^>]{1,20}\|?>|https?://", re.I
)
# A web address without its scheme, by the endings that most sites have. *Node.js* and *9.30* are none.
_ADDRESS = re.compile(
    r"\b(?:www\.[a-z0-9-]+|[a-z0-9-]{2,}\.(?:com|net|org|info|biz|cn|hk|tw|eu|uk|us|de|fr|ru|jp|io|co|cc|me|tv|ly|top|xyz"
    r"|app|dev|shop|store|site|online|vip|club|link|live|fun|icu))\b(?:/\S*)?",
    re.I | re.ASCII,
)
_FOREIGN = re.compile(r"[\u3040-\u30ff\uac00-\ud7af\u0400-\u04ff\u0600-\u06ff\u0900-\u0dff\u0e00-\u0e7f\u0590-\u05ff]")
_HAN = re.compile(r"[\u3400-\u9fff]")
_BROKEN = re.compile(r"[,，、:：;；（(\-–—]$|\b(?:and|or|the|a|an|of|with|for|to|in|is|are|by)$", re.I)
_ITSELF = re.compile(r"([\u3400-\u9fff]{2,5})的\1")
_STRAY = re.compile(r"[\ufffd_#{}\[\]<>|\\]")


def tidy(candidate: str, ad: Ad, language: Language) -> str:
    """One clean line: labels, list marks, quotes and half sentences off; simplified where the ad is."""
    text = clean_text(candidate.strip().split("\n")[0], 400)
    text = _LABELS.sub("", text).strip(" \"'“”‘’「」『』*")
    text = re.sub(r"([。！？!?，,~…])\1+", r"\1", text)
    if language == "zh":
        text = re.sub(r"(?<=[\u4e00-\u9fff]),(?=\s?[\u4e00-\u9fff])\s?", "，", text)
        if to_simplified(ad.text) == ad.text:
            text = to_simplified(text)
    return text.strip().rstrip(",，、;；:：-–—").rstrip()


def form_problems(text: str, language: Language) -> list[str]:
    """What is wrong with a text before its meaning is looked at."""
    if not text:
        return ["empty"]
    problems = []
    letters = [char for char in text if char.isalpha()]
    han = len(_HAN.findall(text))
    if language == "zh":
        if han < 4:
            problems.append("too short")
        if _FOREIGN.search(text) or han < 0.6 * len(letters):
            problems.append("not in Chinese")
    else:
        if len(text.split()) < 3:
            problems.append("too short")
        foreign = sum(not char.isascii() for char in letters)
        if han or foreign > 2 or not letters:
            problems.append("not in English")
    if _LEAKS.search(text):
        problems.append("repeats the prompt")
    if _repetitive(text, language):
        problems.append("repetitive")
    if _BROKEN.search(text):
        problems.append("unfinished")
    if _STRAY.search(text) or text.count("(") != text.count(")") or text.count('"') % 2:
        problems.append("stray characters")
    return problems


def strange_addresses(text: str, ad: Ad) -> list[str]:
    """The web addresses in a text that neither the ad's texts have nor its landing page is at."""
    own = f"{ad.text} {ad.brand or ''} {ad.landing_url}".lower()
    return [match[0] for match in _ADDRESS.finditer(text) if match[0].lower().rstrip("/") not in own]


def _repetitive(text: str, language: Language) -> bool:
    """Whether the text goes round in circles, as small models do."""
    if language == "zh":
        units: list[str] = re.findall(r"[\u3400-\u9fffA-Za-z0-9]", text)
        size = 2
        clauses = [clause for clause in re.split(r"[，。！？、；：—\s]", text) if clause]
    else:
        units = re.findall(r"[a-z0-9']+", text.lower())
        size = 2
        clauses = [clause.strip().lower() for clause in re.split(r"[,.!?;:–—]", text) if clause.strip()]
    grams = Counter(tuple(units[place : place + size]) for place in range(len(units) - size + 1))
    if grams and max(grams.values()) >= 3:
        return True
    if len(clauses) > len(set(clauses)) or _ITSELF.search(text):
        return True
    return len(grams) >= 6 and len(grams) < 0.75 * grams.total()
