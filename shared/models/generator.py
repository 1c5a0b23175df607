"""Asking a language model for n completions of a chat: the request, the answer, and what each engine's body looks like.

`chat.py` asks, over HTTP (`openai.py`) or through SageMaker (`sagemaker.py`); `answers.py` reads what comes back. Every
client raises `ModelUnavailable` and nothing else when the model is down, slow, broken or answers nonsense, so that the
caller goes down its ladder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from shared.errors import ModelUnavailable

Message = Mapping[str, str]
Engine = Literal["vllm", "llama.cpp", "openai"]
TOP_P = 0.95


class Constraint(Protocol):
    """What a completion may consist of, for engines that decode under a constraint."""

    def gbnf(self) -> str:
        """As a grammar of llama.cpp."""
        ...

    def regex(self) -> str:
        """As a regular expression that the whole completion matches."""
        ...


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """n completions of one chat.

    max_tokens: of each completion. stop: texts that end one. adapter: name of a LoRA adapter that the endpoint serves.
    constraint: left out where the engine cannot decode under one; the answer has to be checked anyway.
    """

    messages: Sequence[Message]
    n: int = 1
    temperature: float = 0.7
    max_tokens: int = 64
    stop: Sequence[str] = ()
    seed: int | None = None
    adapter: str | None = None
    constraint: Constraint | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a request took. prompt_tokens: of each prompt once, `cached_tokens` of them reused. completion_tokens: of
    all completions; where a stream was cut before the engine told, their pieces. seconds: from request to answer."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        """Both; the seconds are those of whoever waited longer."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            max(self.seconds, other.seconds),
        )


@dataclass(frozen=True, slots=True)
class Completions:
    """What the model wrote.

    texts: whole sentences, none empty. finished: completions that came to their end. cut: those that did not, because
    the deadline came or the connection broke; what they had in whole sentences is among the texts. notice: why they
    were cut, else "".
    """

    texts: tuple[str, ...]
    usage: Usage = field(default_factory=Usage)
    finished: int = 0
    cut: int = 0
    notice: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text of completion `index`. finish: why it ended (``stop``, ``length``), None while it goes on."""

    index: int
    text: str
    finish: str | None = None


class TextGenerator(Protocol):
    """Whatever completes a chat n times."""

    @property
    def name(self) -> str:
        """What provenance calls the model."""
        ...

    def complete(self, request: ChatRequest, *, timeout: float) -> Completions:
        """Up to n completions within `timeout` seconds; at the deadline, those that are there.

        Raises:
            ModelUnavailable: there is not a single one.
        """
        ...


class StreamingGenerator(TextGenerator, Protocol):
    """A text generator that also tells while it writes."""

    def stream(self, request: ChatRequest, *, timeout: float) -> Iterator[Piece]:
        """The completions in pieces as they are written, interleaved.

        Raises:
            ModelUnavailable: nothing came, or the stream broke, or `timeout` seconds passed.
        """
        ...


def chat_body(
    request: ChatRequest,
    *,
    engine: Engine,
    model: str | None = None,
    stream: bool = False,
    adapters: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """The request as an OpenAI chat completion in the engine's dialect.

    model: the name that the engine serves; None leaves it out (vLLM then takes its first). adapters: llama.cpp's
        numbers of the adapters by name.

    Raises:
        ModelUnavailable: the adapter has no number.

    Sources: vLLM's "LoRA Adapters" and "Structured Outputs" (``guided_*`` is gone since 0.12), the README of
    llama.cpp's server (``lora``, ``grammar``).
    """
    body: dict[str, Any] = {
        "messages": [dict(message) for message in request.messages],
        "n": request.n,
        "temperature": request.temperature,
        "top_p": TOP_P,
        "max_tokens": request.max_tokens,
        "stream": stream,
    }
    if stream:
        body["stream_options"] = {"include_usage": True}
    if request.seed is not None:
        body["seed"] = request.seed
    if request.stop:
        body["stop"] = list(request.stop)
    if engine == "llama.cpp":
        if model:
            body["model"] = model
        if request.adapter is not None:
            if adapters is None or request.adapter not in adapters:
                raise ModelUnavailable(f"the endpoint serves no adapter {request.adapter!r}")
            body["lora"] = [{"id": adapters[request.adapter], "scale": 1.0}]  # the others then have no say
        if request.constraint is not None:
            body["grammar"] = request.constraint.gbnf()
        return body
    if served := request.adapter or model:
        body["model"] = served
    if engine == "vllm" and request.constraint is not None:
        body["structured_outputs"] = {"regex": request.constraint.regex()}
    return body
