"""Approved copy as training rows: read, checked against what its own prompt shows, and split by ad.

Two kinds of rows, mixed freely: an ad with its copies (``{"ad": {"title", "description"?, "brand"?, "attributes"?,
"domain", "language"}, "copies": [{"copy", "audience"?: [names], "channel"?}]}``), or one copy a row
(``{"ad_id" or "ad", "copy", "audience"?, "channel"?}``), where `ad_id` names an ad of the catalogue given beside it.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from infra.evaluate.rows import read_jsonl
from shared.domain import Ad, Rejection, Wording
from shared.generating.facts import quotations_of
from shared.generating.prompts import build_prompt
from shared.generating.width import room_in
from shared.policy.claims import trace_claims, unsupported
from shared.policy.literal import literal
from shared.policy.rules import blocking, channels, check
from shared.preprocess import clean_text, match_key, parse_ad

STYLE = "tuned"
CHANNEL = "feed"
DROPPED = 0.4  # of a variant's unmentioned attributes
Message = Mapping[str, str]


@dataclass(frozen=True)
class Pair:
    """One approved copy of an ad. `audience`: names of interests, none for everybody; `channel`: an id of the
    policy packs."""

    ad: Ad
    copy: str
    audience: tuple[str, ...] = ()
    channel: str = CHANNEL

    @property
    def width(self) -> int:
        """Columns that the copy may take in its channel."""
        return room_in(self.channel, self.ad.language)

    def messages(self) -> tuple[Message, ...]:
        """The request as serving makes it for a model with the adapter."""
        made = build_prompt(self.ad, self.ad.language, style=STYLE, interests=self.audience, width=self.width)
        return made.messages


def read_pairs(paths: Sequence[Path], catalogue: Mapping[str, Ad] | None = None) -> list[Pair]:
    """The pairs of JSON Lines files, gzipped or not, without repeats.

    Raises:
        ValueError: a row lacks a field, or names an unknown ad or channel; the message names file and row.
    """
    pairs: dict[tuple[str, str, tuple[str, ...], str], Pair] = {}
    for path in paths:
        for number, row in enumerate(read_jsonl(path), start=1):
            try:
                made = list(_pairs(row, catalogue or {}))
            except ValueError as error:
                raise ValueError(f"{path.name}, row {number}: {error}") from None
            for pair in made:
                pairs.setdefault((pair.ad.ad_id, pair.copy, pair.audience, pair.channel), pair)
    if not pairs:
        raise ValueError("no rows")
    return list(pairs.values())


def read_catalogue(paths: Iterable[Path]) -> dict[str, Ad]:
    """Ads by their id, from files in the format of an upload.

    Raises:
        ValueError: a row is no ad; the message names file and row.
    """
    ads = {}
    for path in paths:
        for number, row in enumerate(read_jsonl(path), start=1):
            ad = parse_ad(row, index=number)
            if isinstance(ad, Rejection):
                raise ValueError(f"{path.name}, row {number}: {ad.field}: {ad.reason}")
            ads[ad.ad_id] = ad
    return ads


def _pairs(row: Mapping[str, Any], catalogue: Mapping[str, Ad]) -> Iterable[Pair]:
    if "ad" in row:
        ad = _ad(row["ad"])
    elif (known := catalogue.get(str(row.get("ad_id")))) is not None:
        ad = known
    else:
        raise ValueError(f"needs ad, or the ad_id of an ad in --ads (ad_id: {row.get('ad_id')!r})")
    copies = row.get("copies", [row])
    if not isinstance(copies, list) or not copies:
        raise ValueError("copies: not a list of copies")
    for copy in copies:
        text = copy.get("copy") if isinstance(copy, dict) else None
        if not isinstance(text, str) or not (text := clean_text(text)):
            raise ValueError("copy: needs a text")
        audience = copy.get("audience") or ()
        if isinstance(audience, str):
            audience = (audience,)
        channel = copy.get("channel") or CHANNEL
        if channel not in channels():
            raise ValueError(f"channel: {channel!r} is none of {', '.join(channels())}")
        yield Pair(ad, text, tuple(clean_text(str(name)) for name in audience), channel)


def _ad(row: object) -> Ad:
    """The row's ad; what training does not need may be missing. Ads of equal facts are one ad."""
    if not isinstance(row, dict):
        raise ValueError("ad: not an object")
    facts = repr([row.get(key) for key in ("title", "description", "brand", "attributes", "language")])
    made = {"ad_id": hashlib.sha256(facts.encode()).hexdigest()[:16], "landing_url": "https://example.com/", **row}
    ad = parse_ad(made, index=0)
    if isinstance(ad, Rejection):
        raise ValueError(f"ad.{ad.field}: {ad.reason}")
    return ad


def teachable(pairs: Sequence[Pair], wording: Wording = "quoted") -> tuple[list[Pair], list[tuple[Pair, str]]]:
    """The pairs to learn from, and the others with the reason. wording: what may be shown of a model's text.

    A copy that says what its own prompt does not show would teach the model to invent, even where the rest of the ad
    supports it; an unlawful one would teach that; and one that is worded otherwise, to write what is not shown.
    """
    kept: list[Pair] = []
    left: list[tuple[Pair, str]] = []
    for pair in pairs:
        reason = _objection(pair, wording)
        if reason:
            left.append((pair, reason))
        else:
            kept.append(pair)
    return kept, left


def _objection(pair: Pair, wording: Wording) -> str | None:
    findings = blocking(check(pair.copy, pair.ad.domain))
    if findings:
        return f"unlawful: {findings[0].rule}"
    for name, ad in (("the ad", pair.ad), ("the prompt", _as_prompted(pair))):
        claims = unsupported(trace_claims(pair.copy, ad, audience=pair.audience))
        if claims:
            return f"not in {name}: {claims[0].text}"
    if wording == "literal":
        claims = trace_claims(pair.copy, pair.ad, audience=pair.audience)
        added = literal(pair.copy, pair.ad, claims, audience=pair.audience)
        return f"not in the ad's words: {added[0].text}" if added else None
    if wording == "quoted":
        loose = quotations_of(pair.ad, pair.ad.language).unquoted(pair.copy, pair.audience)
        return f"not quoted from the ad: {pair.copy[slice(*loose[0])]}" if loose else None
    return None


def _as_prompted(pair: Pair) -> Ad:
    """The ad with nothing but the facts that the prompt shows."""
    shown = build_prompt(pair.ad, pair.ad.language, style=STYLE, width=pair.width).messages[-1]["content"]
    return replace(pair.ad, description=shown, brand=None, attributes={}, start=None, end=None)


def varied(pairs: Sequence[Pair], times: int, seed: int) -> list[Pair]:
    """The pairs, and `times - 1` variants of each: its ad's attributes in another order, without some of those that the
    copy does not mention. So the model learns to look for a fact wherever it stands, not to recite."""
    generator = random.Random(seed)
    made = list(pairs)
    for _ in range(times - 1):
        for pair in pairs:
            said = match_key(pair.copy)
            items = [
                (key, value)
                for key, value in pair.ad.attributes.items()
                if generator.random() > DROPPED or _mentioned(f"{key} {value}", said)
            ]
            generator.shuffle(items)
            made.append(replace(pair, ad=replace(pair.ad, attributes=dict(items))))
    return made


def _mentioned(fact: str, said: str) -> bool:
    """Whether the folded copy shares a number, a word or two neighbouring Chinese characters with the fact."""
    words = re.findall(r"[a-z]{3,}|\d+|[\u3400-\u9fff]+", match_key(fact))
    parts = [word[place : place + 2] if word[0] > "\u3400" else word for word in words for place in range(len(word))]
    return any(part in said for part in parts)


def split(pairs: Sequence[Pair], share: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Training and held-out pairs: a `share` of each language's ads goes to the second, with all of their copies.

    Ads of one title and brand stay on one side.

    Raises:
        ValueError: there are too few ads to hold any out.
    """
    generator = random.Random(seed)
    held: set[str] = set()
    for language in sorted({pair.ad.language for pair in pairs}):
        names = sorted({_name(pair.ad) for pair in pairs if pair.ad.language == language})
        generator.shuffle(names)
        held.update(names[: min(round(share * len(names)) or 1, len(names) - 1)])
    first = [pair for pair in pairs if _name(pair.ad) not in held]
    second = [pair for pair in pairs if _name(pair.ad) in held]
    if not second:
        raise ValueError("too few ads to hold any out: at least two of a language are needed")
    return first, second


def _name(ad: Ad) -> str:
    return f"{ad.language} {match_key(ad.brand or '')} {match_key(ad.title)}"


def counts(pairs: Sequence[Pair]) -> dict[str, dict[str, int]]:
    """Copies and ads by language."""
    copies = Counter(pair.ad.language for pair in pairs)
    ads = Counter(language for language, _ in {(pair.ad.language, pair.ad.ad_id) for pair in pairs})
    return {language: {"ads": ads[language], "copies": copies[language]} for language in sorted(copies)}
