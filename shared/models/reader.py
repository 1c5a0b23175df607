"""Reads a copy beside its ad and says how likely it states something that the ad does not say.

A cross-encoder (infra/training/train_reader.py trains it, infra/training/build_reader.py builds it): an encoder with an
adapter, over one row of tokens that holds the ad and after it each text. A token of a text attends to the ad and to its
own text, one of the ad to the ad alone, so that a text costs its own tokens only. Of each text comes a logit, and of
each of its tokens. `onnxruntime` and `tokenizers` are imported when a reader is loaded, never before.
"""

from __future__ import annotations

import gzip
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shared.domain import Ad, Language
from shared.errors import ArtifactError
from shared.models.artifacts import Manifest, verify
from shared.models.sessions import open_session
from shared.policy.reading import SIGNS

if TYPE_CHECKING:
    import onnxruntime
    import tokenizers

KIND = "reader"
# Gzipped: a layer has little room, and they are only unpacked where copy is judged.
MODEL, TOKENIZER = "model.onnx.gz", "tokenizer.json.gz"
AD_TOKENS = 384  # of an ad; of a longer one nothing is said
TEXT_TOKENS = 96  # of a text; a longer one is read in parts
ROW_TOKENS = 1536  # of an ad and texts together
ADAPTER_PARTS = (".down", ".up")  # ends of the names of the graph's inputs that an adapter is

_HAN = re.compile(r"[\u3400-\u9fff]")
_SENTENCE = re.compile(r"(?<=[。！？；!?;\n])|(?<=\.)\s+")


@dataclass(frozen=True, slots=True)
class Doubt:
    """What the reader makes of a text. logit: from below 0, the ad says it, to above 0, it does not. span: characters
    of the text that it doubts most."""

    logit: float
    span: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Pack:
    """An ad and texts as one row of tokens. kinds: 0 of the ad, else the number of the text from 1 on.

    starts: the place of each text's first token.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    kinds: NDArray[np.int64]
    starts: tuple[int, ...]

    def mask(self) -> NDArray[np.bool_]:
        """Which token may attend to which, (tokens, tokens)."""
        own, other = self.kinds[:, None], self.kinds[None, :]
        return np.asarray((own == other) | (other == 0))

    def inputs(self) -> dict[str, NDArray[Any]]:
        """The graph's inputs: `input_ids`, `positions`, `kinds` (1, tokens), and `mask` (1, tokens, tokens)."""
        return {
            "input_ids": self.ids[None],
            "positions": self.positions[None],
            "kinds": np.minimum(self.kinds, 1)[None],
            "mask": self.mask()[None].astype(np.int32),
        }


def pack(ad: Sequence[int], texts: Sequence[Sequence[int]]) -> Pack:
    """The row of an ad's token ids and those of texts; a text's positions go on from the ad's end."""
    rows = [ad, *texts]
    starts = np.cumsum([len(row) for row in rows])
    return Pack(
        np.concatenate([np.asarray(row, np.int64) for row in rows]),
        np.concatenate([np.arange(len(row)) + (len(ad) if number else 0) for number, row in enumerate(rows)]),
        np.repeat(np.arange(len(rows)), [len(row) for row in rows]),
        tuple(int(start) for start in starts[:-1]),
    )


def reader_for(text: str, ad: Ad) -> Language:
    """Which reader reads the text: the Chinese one knows Chinese alone, the other one both languages."""
    return "zh" if ad.language == "zh" and _HAN.search(text) else "en"


def told(ad: Ad, audience: Sequence[str] = ()) -> str:
    """What an ad says of itself, as the reader reads it, from when until when it runs, and for whom the copy is."""
    also = {"for": ", ".join(audience), "from": ad.start, "until": ad.end}
    said = ad.attributes | {name: value for name, value in also.items() if value}
    attributes = "; ".join(f"{name}: {value}" for name, value in said.items())
    return "\n".join(part for part in (ad.title, ad.description, ad.brand, attributes) if part)


def parts(text: str, tokenizer: tokenizers.Tokenizer) -> list[tuple[int, str]]:
    """The text, or sentences of it of at most `TEXT_TOKENS` together, each with the place where it starts. A sentence
    that is longer alone is cut, so that nothing stays unread."""
    if len(tokenizer.encode(text).ids) <= TEXT_TOKENS:
        return [(0, text)]
    bounds = [0, *(match.end() for match in _SENTENCE.finditer(text) if 0 < match.end() < len(text)), len(text)]
    for low, high in pairwise(tuple(bounds)):
        offsets = tokenizer.encode(text[low:high]).offsets
        if len(offsets) > TEXT_TOKENS:
            step = TEXT_TOKENS // 2
            bounds += [low + offsets[place][0] for place in range(step, len(offsets) - 1, step)]
    bounds = sorted(set(bounds))
    found: list[tuple[int, str]] = []
    start = 0
    for place, end in enumerate(bounds[1:], start=1):
        following = bounds[place + 1] if place + 1 < len(bounds) else end
        whole = len(tokenizer.encode(text[start:following]).ids) > TEXT_TOKENS
        if (end == following or whole) and text[start:end].strip():
            found.append((start, text[start:end]))
            start = end
    return found


class ClaimReader:
    """Says of texts how likely they state what their ad does not say."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        tokenizer: tokenizers.Tokenizer,
        metadata: dict[str, Any],
        version: str,
    ) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self.metadata = metadata
        self.version = version
        # Of rank 0: the claims are read without an adapter.
        self._unadapted = {
            one.name: np.zeros([0 if isinstance(size, str) else size for size in one.shape], np.float32)
            for one in session.get_inputs()
            if one.name.endswith(ADAPTER_PARTS)
        }

    @classmethod
    def load(cls, folder: Path, threads: int = 0) -> ClaimReader:
        """Loads the artefact in `folder` after verifying it.

        Raises:
            ArtifactError: it is absent, changed, of another kind or of another preprocessing version.
        """
        from tokenizers import Tokenizer

        manifest = verify(folder, KIND)
        check_worth(manifest)
        session = open_session(folder / MODEL, threads)
        tokenizer = Tokenizer.from_buffer(gzip.decompress((folder / TOKENIZER).read_bytes()))
        return cls(session, tokenizer, manifest.metadata, manifest.version)

    def read(self, ad: Ad, texts: Sequence[str], audience: Sequence[str] = ()) -> list[Doubt | None]:
        """What it makes of each text; None for all of them where the ad is too long for it (`AD_TOKENS`).

        audience: names of the interests that the texts are for, which they may name.
        A text without a letter or a figure is not doubted. The same text may get another logit beside others, by the
        rounding of their batch: activations are quantised row by row.
        """
        facts = self._tokenizer.encode(told(ad, audience)).ids
        if len(facts) > AD_TOKENS:
            return [None] * len(texts)
        pieces = [
            (number, start, self._tokenizer.encode(piece))
            for number, text in enumerate(texts)
            for start, piece in parts(text, self._tokenizer)
            if any(map(str.isalnum, piece))
        ]
        found: list[Doubt | None] = [Doubt(-math.inf, (0, 0)) for _ in texts]
        waiting: list[Any] = []
        room = ROW_TOKENS - len(facts)
        for piece in [*pieces, None]:
            if piece is None or sum(len(one[2].ids[:TEXT_TOKENS]) for one in [*waiting, piece]) > room:
                for (number, start, encoding), doubt in zip(waiting, self._run(facts, waiting), strict=True):
                    known = found[number]
                    less = known is not None and (doubt[0] <= known.logit or math.isnan(known.logit))
                    if not less:  # what is no number is a doubt
                        low, high = _doubted(encoding, doubt[1])
                        found[number] = Doubt(doubt[0], (start + low, start + high))
                waiting = []
            if piece is not None:
                waiting.append(piece)
        return found

    def _run(self, facts: list[int], waiting: list[Any]) -> list[tuple[float, NDArray[np.float32]]]:
        """The logit of each piece, and those of its tokens."""
        if not waiting:
            return []
        row = pack(facts, [one[2].ids[:TEXT_TOKENS] for one in waiting])
        texts, tokens = self._session.run(["text", "token"], row.inputs() | self._unadapted)
        ends = [*row.starts[1:], len(row.ids)]
        return [(float(texts[0, start]), tokens[0, start:end]) for start, end in zip(row.starts, ends, strict=True)]

    def ids(self, text: str) -> list[int]:
        """Token ids of a text, from the first to the last special token."""
        found: list[int] = self._tokenizer.encode(text).ids
        return found

    def parts(self, text: str) -> list[tuple[int, str]]:
        """See `parts`."""
        return parts(text, self._tokenizer)

    def states(
        self, head: Sequence[int], rows: Sequence[Sequence[int]], adapter: Mapping[str, NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """What the last layer makes of the first token of each row after `head`, (rows, hidden), with another adapter
        than that for claims. Together at most `ROW_TOKENS`."""
        row = pack(head, [list(one[:TEXT_TOKENS]) for one in rows])
        (hidden,) = self._session.run(["hidden"], row.inputs() | dict(adapter))
        return np.asarray(hidden[0, list(row.starts)])


def check_worth(manifest: Manifest) -> None:
    """Whether a reader's manifest says what the reader is worth beside the ledger's rules.

    Raises:
        ArtifactError: it does not.
    """
    if not {*SIGNS, "bias", "threshold", "strict"} <= set(manifest.metadata.get("weights", ())):
        raise ArtifactError(
            f"artefact {manifest.name} does not say what it is worth: build it again (`make models`), after "
            "`python -m infra.training.train_reader LANGUAGE --keep` where the adapter is your own"
        )


def _doubted(encoding: Any, logits: NDArray[np.float32]) -> tuple[int, int]:
    """The characters around the most doubted token, as far as its neighbours are doubted too."""
    offsets = encoding.offsets[: len(logits)]
    real = [place for place, (start, end) in enumerate(offsets) if end > start]
    if not real:
        return 0, 0
    worst = max(real, key=lambda place: logits[place])
    least = min(0.0, float(logits[worst]) - 2.0)
    low = high = real.index(worst)
    while low > 0 and logits[real[low - 1]] > least:
        low -= 1
    while high + 1 < len(real) and logits[real[high + 1]] > least:
        high += 1
    return offsets[real[low]][0], offsets[real[high]][1]
