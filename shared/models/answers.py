"""Reading chat completions, whole or as server-sent events, into whole sentences: as much as came before the end."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from shared.models.generator import Completions, Piece, Usage
from shared.models.resilience import Failure, Malformed

MAX_ANSWER_BYTES = 4 << 20
_SENTENCE_END = re.compile(r"[。！？!?]|\.(?=\s|$)")


def read_pieces(chunks: Iterable[bytes]) -> Iterator[Piece | Usage]:
    """The pieces of an answer as its bytes come, however they are cut; a whole answer has one piece a completion.

    Raises:
        Malformed: this is no chat completion, or too long. Failure: the engine reports an error, or the stream ends
            before its completions do.
    """
    unfinished: set[int] = set()
    empty = True
    for document in _documents(chunks):
        for item in _items(document):
            if isinstance(item, Piece):
                empty = False
                (unfinished.add if item.finish is None else unfinished.discard)(item.index)
            yield item
    if empty:
        raise Malformed("the answer is no chat completion")
    if unfinished:
        raise Failure("the answer was cut off")


def _documents(chunks: Iterable[bytes]) -> Iterator[Any]:
    """The JSON documents of the answer: of each ``data:`` line, or the one that it is."""
    size = 0
    rest = b""
    whole: bool | None = None  # not known before the first byte
    for chunk in chunks:
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            raise Malformed("the answer is too long")
        rest += chunk
        if whole is None and rest.strip():
            whole = rest.lstrip()[:1] == b"{"
        if whole:
            continue
        *lines, rest = rest.split(b"\n")
        for line in lines:
            if (data := _data(line)) == b"[DONE]":
                return
            elif data:
                yield _json(data)
    if whole:
        yield _json(rest)
    elif (data := _data(rest)) and data != b"[DONE]":
        yield _json(data)


def _data(line: bytes) -> bytes:
    name, _, value = line.partition(b":")
    return value.strip() if name == b"data" else b""


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise Malformed("the answer is no chat completion") from error


def _items(document: Any) -> list[Piece | Usage]:
    """What a document says: a chat completion's choices, or a chunk's."""
    try:
        if (problem := document.get("error")) is not None:
            raise Failure(f"the engine reports {str(problem)[:200]}")
        items: list[Piece | Usage] = []
        for place, choice in enumerate(document["choices"]):
            if "message" in choice:
                text, finish = choice["message"]["content"], choice.get("finish_reason") or "stop"
            else:
                text, finish = choice["delta"].get("content"), choice.get("finish_reason")
            if not isinstance(text, str | None):
                raise TypeError
            items.append(Piece(int(choice.get("index", place)), text or "", finish))
        if usage := document.get("usage"):
            cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
            items.append(Usage(int(usage["prompt_tokens"]), int(usage.get("completion_tokens") or 0), int(cached)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Malformed("the answer is no chat completion") from error
    return items


class Assembly:
    """Puts the pieces of one request's completions together."""

    def __init__(self) -> None:
        self._texts: defaultdict[int, list[str]] = defaultdict(list)
        self._finish: dict[int, str] = {}
        self._usages: list[Usage] = []

    def add(self, item: Piece | Usage) -> None:
        """The next piece, or what the engine says the request took."""
        if isinstance(item, Usage):
            self._usages.append(item)
            return
        self._texts[item.index].append(item.text)
        if item.finish is not None:
            self._finish[item.index] = item.finish

    def completions(self, *, asked: int, seconds: float, failure: Failure | None = None) -> Completions:
        """What is there of the `asked` completions; `failure` is what ended it before its time."""
        texts = []
        for index in sorted(self._texts):
            text = "".join(self._texts[index])
            if self._finish.get(index) in (None, "length"):
                text = whole_sentences(text)
            texts.append(text.strip())
        finished = len(self._finish)
        return Completions(
            tuple(text for text in texts if text),
            self._usage(seconds),
            finished,
            max(0, asked - finished) if failure is not None else 0,
            str(failure) if failure is not None else "",
        )

    def _usage(self, seconds: float) -> Usage:
        """llama.cpp tells it for each completion, vLLM once for all; a cut stream not at all."""
        if self._usages:
            return Usage(
                max(usage.prompt_tokens for usage in self._usages),
                sum(usage.completion_tokens for usage in self._usages),
                max(usage.cached_tokens for usage in self._usages),
                seconds,
            )
        return Usage(
            completion_tokens=sum(bool(text) for texts in self._texts.values() for text in texts), seconds=seconds
        )


def whole_sentences(text: str) -> str:
    """The text without a last sentence that was broken off; empty where that was the first one."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]].strip() if ends else ""


def read_completions(answer: bytes, *, asked: int = 0, seconds: float = 0.0) -> Completions:
    """A whole answer.

    Raises:
        Malformed: it is no chat completion. Failure: it reports an error.
    """
    assembly = Assembly()
    for item in read_pieces([answer]):
        assembly.add(item)
    return assembly.completions(asked=asked, seconds=seconds)
