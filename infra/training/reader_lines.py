"""Labelled ad lines as the claim reader learns from them: an ad, texts, and where each states what the ad does not say.

Two kinds of rows are read: ``{"ad", "true": [line, …], "planted": [{"text", "span", …}, …]}``, and two ads of one kind
of thing, ``{"ads": [ad, ad], "lines": [{"text", "unsupported": [words, words]}, …]}``, where the words are those of the
line that the one and the other ad do not support, or nothing. The latter keep a line's look from telling its label.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from infra.evaluate.rows import read_jsonl
from shared.domain import Ad
from shared.models.reader import AD_TOKENS, TEXT_TOKENS, told

Span = tuple[int, int]
_SENTENCE_ENDS = re.compile(r"(?<=[。！？；])|(?<=[.!?;])\s+")
_HAN = re.compile(r"[\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class Labelled:
    """An ad and lines about it. spans: what of each line the ad does not support; None: it supports all of it.

    group: the same for ads that share lines, so that a split keeps them together.
    """

    ad: Ad
    lines: tuple[str, ...]
    spans: tuple[Span | None, ...]
    group: int


@dataclass(frozen=True, slots=True)
class Ids:
    """The token ids of an ad and of its lines, and of each line's token whether it is within the span (1.0)."""

    ad: list[int]
    lines: list[list[int]]
    doubtful: list[list[float]]
    planted: list[float]

    @property
    def tokens(self) -> int:
        """Of the ad and all of its lines."""
        return len(self.ad) + sum(map(len, self.lines))


def read_labelled(path: Path) -> Iterator[Labelled]:
    """The ads of a file.

    Raises:
        ValueError: a row lacks a field, or its words do not stand in the line; the message names file and row.
    """
    for number, row in enumerate(read_jsonl(path), start=1):
        try:
            yield from _twins(row) if "ads" in row else [_single(row)]
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{path.name}, row {number}: {error}") from error


def _single(row: dict[str, Any]) -> Labelled:
    lines = [*row["true"], *(line["text"] for line in row["planted"])]
    spans = [*(None for _ in row["true"]), *(_span(line["text"], line["span"]) for line in row["planted"])]
    return _labelled(row["ad"], lines, spans, row["ad"]["title"])


def _twins(row: dict[str, Any]) -> Iterator[Labelled]:
    for place, ad in enumerate(row["ads"]):
        lines = [line["text"] for line in row["lines"]]
        spans = [_span(line["text"], line["unsupported"][place]) for line in row["lines"]]
        yield _labelled(ad, lines, spans, row["ads"][0]["title"])


def _span(text: str, words: str) -> Span | None:
    if not words:
        return None
    start = text.index(words)
    return start, start + len(words)


def _labelled(ad: dict[str, Any], lines: Sequence[str], spans: Sequence[Span | None], group: str) -> Labelled:
    fields = {"ad_id": "-", "landing_url": "https://example.com/"} | ad
    return Labelled(Ad(**fields), tuple(lines), tuple(spans), zlib.crc32(group.encode()))


def with_longer(labelled: Labelled, seed: int) -> Labelled:
    """The ad with longer texts besides, so that length and many facts are no sign of an untrue text: two of what
    it says itself, one of two of its true lines, and two that hold a line which is not true."""
    chosen = random.Random(seed)  # nosec B311
    true = [text for text, span in zip(labelled.lines, labelled.spans, strict=True) if span is None]
    untrue = [(text, span) for text, span in zip(labelled.lines, labelled.spans, strict=True) if span is not None]
    own = [part for part in _SENTENCE_ENDS.split(labelled.ad.description) if len(part) > 1]
    own += [f"{name}: {value}" for name, value in labelled.ad.attributes.items()]
    texts: list[tuple[str, Span | None]] = []
    for _ in range(2 if own else 0):
        texts.append(_joined([(part, None) for part in chosen.sample(own, min(len(own), chosen.randint(1, 3)))]))
    if len(true) > 1:
        texts.append(_joined([(text, None) for text in chosen.sample(true, 2)]))
    for others in (own, true):
        if untrue and others:
            texts.append(_joined(chosen.sample([chosen.choice(untrue), (chosen.choice(others), None)], 2)))
    known = set(labelled.lines)
    texts = [(text, span) for text, span in texts if text not in known]
    return replace(
        labelled,
        lines=(*labelled.lines, *(text for text, _ in texts)),
        spans=(*labelled.spans, *(span for _, span in texts)),
    )


def _joined(pieces: Sequence[tuple[str, Span | None]]) -> tuple[str, Span | None]:
    """Texts as one, and the span of the one that is not true."""
    whole, found = "", None
    for text, span in pieces:
        if whole:
            bare = whole.rstrip("。.，,；; ")
            whole = bare + ("，" if _HAN.search(bare[-1:] + text[:1]) else ", ")
        if span is not None:
            found = len(whole) + span[0], len(whole) + span[1]
        whole += text
    return whole, found


def encode(labelled: Labelled, tokenizer: Tokenizer) -> Ids:
    """The ids of an ad and its lines, cut to what the reader takes."""
    lines, doubtful = [], []
    for text, span in zip(labelled.lines, labelled.spans, strict=True):
        encoding = tokenizer.encode(text)
        lines.append(encoding.ids[:TEXT_TOKENS])
        offsets = encoding.offsets[:TEXT_TOKENS]
        doubtful.append(
            [float(span is not None and low < high and low < span[1] and span[0] < high) for low, high in offsets]
        )
    ad = tokenizer.encode(told(labelled.ad)).ids[:AD_TOKENS]
    return Ids(ad, lines, doubtful, [float(span is not None) for span in labelled.spans])
