"""The prompt: rules or worked examples, then the ad's facts. Versioned data (``prompts/{style}.json``); nothing
personal but the names of general interests ever enters it.

Styles: ``few-shot`` (a base model continues worked examples), ``tuned`` (the same request without the built-in
examples, for a model with an adapter that was trained on it), ``instruct`` (rules in a system message, for chat
models).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from shared.domain import Ad, Domain, Language, Wording
from shared.generating.facts import facts_of, quoted, quoted_title
from shared.generating.width import display_width
from shared.policy.quoting import states_nothing

Tone = Literal["plain", "warm", "playful", "formal"]
Style = str  # one of STYLES
STYLES: tuple[Style, ...] = ("few-shot", "tuned", "instruct")
TONES: tuple[Tone, ...] = get_args(Tone)
WRITTEN_DOMAINS: frozenset[Domain] = frozenset({"ecommerce", "social", "education"})

SHORT = 50  # columns under which the short examples are shown
MOST_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Styles:
    """The style for what is asked of the model alone, and for what is asked of one of its adapters, which knows only
    the prompts that it was trained on."""

    alone: Style = "few-shot"
    adapter: Style = "tuned"

    def of(self, adapter: str | None) -> Style:
        """The style of a request for that adapter, or for none."""
        return self.alone if adapter is None else self.adapter


USUAL = Styles()


@dataclass(frozen=True, slots=True)
class Example:
    """A product with copy that the advertiser approved, as the prompt shows it. `audience`: names of interests."""

    title: str
    facts: str
    copy: str
    audience: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prompt:
    """Chat messages with the sampling that belongs to them. `version` names the file and its version."""

    messages: tuple[dict[str, str], ...]
    version: str
    temperature: float
    max_tokens: int
    stop: tuple[str, ...]


@cache
def _document(style: Style) -> dict[str, Any]:
    path = Path(__file__).with_name("prompts") / f"{style}.json"
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def prompt_version(style: Style) -> str:
    """The style's file and its version: ``few-shot-1``."""
    return str(_document(style)["version"])


def may_generate(ad: Ad) -> bool:
    """Whether a model may write for this ad's domain. In health nothing is generated freely: vetted text only."""
    return ad.domain in WRITTEN_DOMAINS


def build_prompt(
    ad: Ad,
    language: Language,
    *,
    style: Style,
    interests: Sequence[str] = (),
    width: int = 120,
    approved: Sequence[Example] = (),
    tone: Tone | None = None,
    wording: Wording = "quoted",
) -> Prompt:
    """The chat turns that ask for one line of copy; without a system message they also read as plain text to be
    continued.

    interests: names of general interests to write for. width: columns that the channel has. approved: the advertiser's
    own copy, the nearest product first; it takes the place of built-in examples. wording: what the copy may consist of,
    for a model that is told.
    """
    document = _document(style)
    part = document[language]
    short = width < document.get("short_below", SHORT)
    request = part["short_request"] if short and "short_request" in part else part["request"]
    messages: list[dict[str, str]] = []
    spoken = part["tone"].format(tone=part["tones"][tone]) if tone else ""
    if "system" in part:
        told = part["wording"].get(wording, "")
        rules = part["system"].format(width=width, characters=width // 2, tone=spoken, wording=told)
        messages.append({"role": "system", "content": rules})
        spoken = ""

    def turn(title: str, facts: str, audience: Sequence[str], said: str = "") -> dict[str, str]:
        named = part["audience"].format(interests=_joined(audience, language)) if audience else ""
        content = request.format(title=title, facts=facts or title, audience=named, tone=said)
        return {"role": "user", "content": content}

    # An approved text that gives orders is none to show; a person may have overlooked them.
    fitting = [one for one in approved if display_width(one.copy) <= width and quoted(one.copy)][:MOST_EXAMPLES]
    for example in part["examples"][: max(0, MOST_EXAMPLES - len(fitting))]:
        audience = (example["interests"],) if interests else ()
        messages.append(turn(example["title"], example["facts"], audience))
        messages.append({"role": "assistant", "content": example["short" if short else "copy"]})
    for one in reversed(fitting):  # the nearest stands next to the request
        messages.append(turn(quoted(one.title), quoted(one.facts), one.audience if interests else ()))
        messages.append({"role": "assistant", "content": quoted(one.copy)})
    found = facts_of(ad, language, **document["facts"])
    facts = part["joint"].join(found) if "joint" in part else _joined(found, language)
    messages.append(turn(quoted_title(ad), facts, interests[:2], spoken))
    tokens = document["short_max_tokens" if short else "max_tokens"]
    return Prompt(tuple(messages), document["version"], document["temperature"], tokens, tuple(document["stop"]))


def repeats_example(text: str, ad: Ad, language: Language) -> bool:
    """Whether a text says what a built-in example says and the ad does not: small models mix the two up."""
    return bool(_shingles(text, language) & _example_shingles(language) - _shingles(_everything(ad), language))


@cache
def _example_shingles(language: Language) -> frozenset[str]:
    examples = [example for style in STYLES for example in _document(style)[language]["examples"]]
    said = frozenset().union(*(_shingles(text, language) for example in examples for text in example.values()))
    return frozenset(shingle for shingle in said if not states_nothing(shingle, language))


def _shingles(text: str, language: Language) -> frozenset[str]:
    """Runs of four Chinese characters or three English words."""
    if language == "zh":
        runs = re.findall(r"[\u3400-\u9fff]+", text)
        return frozenset(run[place : place + 4] for run in runs for place in range(len(run) - 3))
    words = re.findall(r"[a-z0-9']+", text.lower())
    return frozenset(" ".join(words[place : place + 3]) for place in range(len(words) - 2))


def _everything(ad: Ad) -> str:
    return "\n".join([ad.title, ad.description, ad.brand or "", *(str(value) for value in ad.attributes.values())])


def _joined(parts: Sequence[str], language: Language) -> str:
    return ("，" if language == "zh" else ", ").join(parts)
