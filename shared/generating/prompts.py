"""The prompt: worked examples, then the ad's facts. Versioned data (``copy-prompt.json``); nothing personal but the
names of general interests ever enters it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from shared.domain import Ad, Language
from shared.generating.templates import attribute_facts
from shared.generating.width import display_width

SHORT = 50  # columns under which the short examples are shown
FACTS = 4
FACT_WIDTH = 44


@dataclass(frozen=True, slots=True)
class Prompt:
    """Chat messages with the sampling that belongs to them."""

    messages: tuple[dict[str, str], ...]
    version: str
    temperature: float
    max_tokens: int
    stop: tuple[str, ...]


@cache
def _document() -> dict[str, Any]:
    path = Path(__file__).with_name("copy-prompt.json")
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def prompt_version() -> str:
    return str(_document()["version"])


def may_generate(ad: Ad) -> bool:
    """Whether a model may write for this ad's domain. In health nothing is generated freely: vetted text only."""
    return ad.domain in _document()["write_for"]


def build_prompt(ad: Ad, language: Language, *, interests: Sequence[str] = (), width: int = 120) -> Prompt:
    """Examples and request as chat turns; they also read as plain text to be continued, for models without a chat
    format.

    interests: names of general interests to write for. width: columns that the channel has.
    """
    document = _document()
    part = document[language]
    short = width < SHORT
    messages: list[dict[str, str]] = []
    for example in part["examples"]:
        audience = part["audience"].format(interests=example["interests"]) if interests else ""
        request = part["request"].format(title=example["title"], facts=example["facts"], audience=audience)
        messages.append({"role": "user", "content": request})
        messages.append({"role": "assistant", "content": example["short" if short else "copy"]})
    audience = part["audience"].format(interests=_joined(interests[:2], language)) if interests else ""
    facts = _joined(facts_of(ad, language), language) or ad.title
    messages.append({"role": "user", "content": part["request"].format(title=ad.title, facts=facts, audience=audience)})
    tokens = min(document["max_tokens"], 24 if short else document["max_tokens"])
    return Prompt(tuple(messages), document["version"], document["temperature"], tokens, tuple(document["stop"]))


def repeats_example(text: str, ad: Ad, language: Language) -> bool:
    """Whether a text says what a worked example says and the ad does not: small models mix the two up."""
    return bool(_shingles(text, language) & _example_shingles(language) - _shingles(_everything(ad), language))


@cache
def _example_shingles(language: Language) -> frozenset[str]:
    examples = _document()[language]["examples"]
    return frozenset().union(*(_shingles(text, language) for example in examples for text in example.values()))


def _shingles(text: str, language: Language) -> frozenset[str]:
    """Runs of four Chinese characters or three English words."""
    if language == "zh":
        runs = re.findall(r"[\u3400-\u9fff]+", text)
        return frozenset(run[place : place + 4] for run in runs for place in range(len(run) - 3))
    words = re.findall(r"[a-z0-9']+", text.lower())
    return frozenset(" ".join(words[place : place + 3]) for place in range(len(words) - 2))


def _everything(ad: Ad) -> str:
    return "\n".join([ad.title, ad.description, ad.brand or "", *(str(value) for value in ad.attributes.values())])


def facts_of(ad: Ad, language: Language) -> list[str]:
    """Up to four short facts in the advertiser's words: clauses of the description, then attributes."""
    clauses = [clause.strip() for clause in re.split(r"[。；！？;!?，]|, |\.(?:\s|$)", ad.description)]
    facts = [clause for clause in clauses if clause and display_width(clause) <= FACT_WIDTH]
    if len(facts) < 2:
        facts += [fact for fact in attribute_facts(ad, language) if fact not in facts]
    return facts[:FACTS]


def _joined(parts: Sequence[str], language: Language) -> str:
    return ("，" if language == "zh" else ", ").join(parts)
