"""The ad's facts as a prompt may quote them: short, one line each, and data only.

A product text may hold what a model would take for a command ("ignore the above and …", a chat template's role marks,
the end of our own delimiter). None of it gets as far as the prompt; what remains is judged by the gate like any text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from shared.domain import Ad, Language
from shared.generating.orders import commands
from shared.generating.templates import attribute_facts
from shared.generating.width import display_width
from shared.policy.quoting import Quotations, offered_by, quotable, shortened, thing_of, topics_of
from shared.preprocess import clean_text
from shared.preprocess.text import visible

READ = 4000  # characters of a description that are looked at
TITLE_WIDTH = 120  # columns
LONG = 72  # columns of a sentence that leaves little room beside it: what it offers is told without who does
TOPICS_BELOW = 2  # facts from which on a prompt needs no topics beside them

# Control marks of the common chat templates, fences of code, and what our own request calls its answer: no product text
# holds one, and what comes after it is no fact.
_CONTROL = re.compile(
    r"<\|[\w\s.:-]{1,40}\|?>?|<\s*/?(?:start|end)_of_\w{1,10}\s*>|\[/?(?:INST|SYS|AVAILABLE_TOOLS|TOOL_CALLS)\]"
    r"|<{2}/?SYS>{2}|</s>|`{3,}"
    r"|(?:^|(?<=[\s。.!！?？；;>]))(?:(?:Ad|Readers like|Assistant|User|Human)\s?[:：]|(?:广告文案|读者喜欢)[:：])",
    re.I,
)
# Tags that could close a delimiter, and marks of headings and code.
_MARKS = re.compile(r"</?[\w\u3400-\u9fff][\w\s.:-]{0,40}>|^[^\S\n]*#{1,6}\s", re.M)
_LINKS = re.compile(r"!?\s?\[[^\[\]\n]{0,100}\]\s?\([^()\n]{0,300}\)|\b(?:https?://|www\.)\S{1,300}", re.I)
_ROLES = re.compile(
    r"(?:^|(?<=[\s。.!！?？；;]))(?:system|assistant|user|model|human|developer|系统|助手|用户)\s*[:：]", re.I
)
_SENTENCES = re.compile(r"(?<=[。！？!?\n])|(?<=\.)\s")
_CLAUSES = re.compile(r"[。；！？;!?，\n]|, |\.(?:\s|$)")
_BRACKETS = str.maketrans({"<": "＜", ">": "＞", "{": "（", "}": "）", "`": "'"})


def quoted(text: str, limit: int = READ) -> str:
    """`text` as data for a prompt: one line without role marks and links, and only as far as it does not command."""
    text = _LINKS.sub(" ", _MARKS.sub(" ", _CONTROL.split(visible(text[:limit]), maxsplit=1)[0]))
    kept: list[str] = []
    for sentence in _SENTENCES.split(text):
        if commands(sentence):
            break
        kept.append(sentence)
    text = _ROLES.sub(" ", clean_text(" ".join(kept), limit))
    return " ".join(text.translate(_BRACKETS).split())


def quoted_title(ad: Ad) -> str:
    """The title as a prompt quotes it, or what it is about where it is cut off from the description; the brand, or
    nothing, where the title itself is a command."""
    title = quoted(ad.title) or quoted(ad.brand or "")
    title = quoted(thing_of(title, quoted(ad.description), ad.language)) or title
    while display_width(title) > TITLE_WIDTH:
        title = title[:-1]
    return title


def facts_of(
    ad: Ad,
    language: Language,
    *,
    most: int = 4,
    width: int = 44,
    attributes_below: int = 2,
    brand: bool = False,
    sentences: bool = False,
) -> list[str]:
    """Up to `most` facts of at most `width` columns in the advertiser's words: clauses of the description, or its
    quotable `sentences`, and, where these are fewer than `attributes_below`, attributes; first the brand, if asked for
    and not in the title."""
    description = quoted(ad.description)
    parts = _CLAUSES.split(description)
    if sentences:
        offered = offered_by(replace(ad, description=description), language)
        told = {
            one: said for one, said in offered.items() if display_width(one) > LONG and display_width(said) <= width
        }
        parts = [
            told.get(one) or shortened(one, language, lambda text: display_width(text) <= width)
            for one in quotable(description, language)
        ]
    facts = _within([part.strip() for part in parts], width)
    if len(facts) < attributes_below:
        said = [quoted(fact) for fact in attribute_facts(ad, language)]
        facts += [fact for fact in _within(said, width) if fact not in facts]
    if sentences and len(facts) < TOPICS_BELOW:
        named = _within(topics_of(replace(ad, description=description), language), width)
        new = [one for one in named if not any(_bare(one) in fact.lower() for fact in facts)]
        facts += new[: TOPICS_BELOW - len(facts)]
    if brand and ad.brand and ad.brand.lower() not in ad.title.lower():
        facts.insert(0, ("品牌" if language == "zh" else "brand ") + quoted(ad.brand))
    return _without_orders(facts[:most])


def quotations_of(ad: Ad, language: Language) -> Quotations:
    """What of the ad copy may quote, its attributes as the prompt says them among it."""
    return Quotations(ad, language, attribute_facts(ad, language))


def _without_orders(facts: Sequence[str]) -> list[str]:
    """The facts up to the one that makes an order of them as the prompt joins them: none may be one by itself."""
    kept: list[str] = []
    for fact in facts:
        if any(commands(joint.join([*kept, fact])) for joint in (", ", " ", "，")):
            break
        kept.append(fact)
    return kept


def _bare(topic: str) -> str:
    return topic.lower().removeprefix("a ").removeprefix("an ")


def _within(texts: Sequence[str], width: int) -> list[str]:
    return [text for text in dict.fromkeys(texts) if text and display_width(text) <= width]
