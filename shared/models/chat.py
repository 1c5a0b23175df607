"""The client of a chat endpoint, whatever carries the bytes: batches, deadline, streaming, retries, circuit breaker."""

from __future__ import annotations

import json
import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from queue import Empty, SimpleQueue

from shared.errors import ModelUnavailable
from shared.models.answers import Assembly, read_pieces
from shared.models.generator import ChatRequest, Completions, Engine, Piece, Usage, chat_body
from shared.models.resilience import PROBE_SECONDS, Failure, Guard, Silent, TimedOut
from shared.telemetry import MetricUnit, logger, metrics

MOST_AT_ONCE = 8  # requests that one call sends at the same time
SILENT_SECONDS = 5.0  # an endpoint that streams and has sent nothing for so long is not just slow
PROBE = ChatRequest(({"role": "user", "content": "."},), temperature=0.0, max_tokens=1)


@dataclass(frozen=True, slots=True)
class Capacity:
    """batch: completions asked for in one request. at_once: whether several requests run at the same time, or one after
    the other because the first fills the engine."""

    batch: int
    at_once: bool


CAPACITY: Mapping[Engine, Capacity] = {
    "llama.cpp": Capacity(8, at_once=False),  # refuses more than it has slots
    "vllm": Capacity(32, at_once=True),
    "openai": Capacity(8, at_once=True),
}


class ChatClient(ABC):
    """See `TextGenerator`. One instance an endpoint: it holds what is known of the endpoint's health.

    model: the name that the engine serves; None: its first. streaming: ask for pieces, so that what is written at the
        deadline is kept; without it an answer comes whole or not at all.
    """

    def __init__(
        self, name: str, *, engine: Engine, model: str | None, streaming: bool = True, guard: Guard | None = None
    ) -> None:
        self.name = name
        self.engine: Engine = engine
        self.guard = guard or Guard(name)
        self.guard.probe = self.guard.probe or self._probe
        self._model = model
        self._streaming = streaming

    @abstractmethod
    def _exchange(self, body: bytes, *, streaming: bool, timeout: float) -> Generator[bytes]:
        """One request: the answer's bytes as they come. May block for about `timeout` seconds.

        Raises:
            Failure: the endpoint is to blame. ModelUnavailable: it refuses the request.
        """

    def adapters(self, name: str, deadline: float) -> Mapping[str, int] | None:
        """The engine's numbers of its adapters by name, `name` among them if it serves it; None where they are not
        known, or it is asked by name.

        Raises:
            ModelUnavailable: it does not tell.
        """
        return None

    def complete(self, request: ChatRequest, *, timeout: float) -> Completions:
        """See `TextGenerator`. An engine that ignores n is asked again, up to twice as often as it should be."""
        started = time.monotonic()
        deadline = started + timeout
        parts: list[Completions] = []
        problem: ModelUnavailable | None = None
        missing, asked = request.n, 0
        while missing > 0 and asked < 2 * request.n and problem is None and not any(part.cut for part in parts):
            batches = list(self._batches(request, missing, asked))
            for answer in self._answers(batches, deadline):
                if isinstance(answer, Completions):
                    parts.append(answer)
                    missing -= max(1, answer.finished)
                else:
                    problem = answer
            asked += sum(batch.n for batch in batches)
        texts = [text for part in parts for text in part.texts][: request.n]
        cut = sum(part.cut for part in parts)
        notice = next((part.notice for part in parts if part.notice), problem.detail if problem else "")
        if not texts:
            raise problem or ModelUnavailable(
                f"{self.guard.name} wrote nothing of use" + (f": {notice}" if notice else "")
            )
        if cut or problem:
            logger.warning(
                "fewer completions than asked for", extra={"endpoint": self.name, "cut": cut, "cause": notice}
            )
            metrics.add_metric(name="CompletionsCut", unit=MetricUnit.Count, value=cut)
        usage = sum((part.usage for part in parts), Usage())
        return Completions(
            tuple(texts),
            replace(usage, seconds=time.monotonic() - started),
            sum(part.finished for part in parts),
            cut,
            notice,
        )

    def stream(self, request: ChatRequest, *, timeout: float) -> Iterator[Piece]:
        """See `StreamingGenerator`. More completions than the engine takes at once come one batch after the other."""
        deadline = time.monotonic() + timeout
        for start in range(0, request.n, CAPACITY[self.engine].batch):
            size = min(CAPACITY[self.engine].batch, request.n - start)
            seed = None if request.seed is None else request.seed + start
            body = self._body(replace(request, n=size, seed=seed), deadline, streaming=True)
            try:
                for item in self.guard.run(lambda body=body: self._begun(body, deadline), deadline):  # type: ignore[misc]
                    if isinstance(item, Piece):
                        yield replace(item, index=start + item.index)
            except Failure as failure:
                raise ModelUnavailable(f"{self.name} stopped: {failure}", retry_after=5) from failure

    def _batches(self, request: ChatRequest, missing: int, asked: int) -> Iterator[ChatRequest]:
        """The next requests that can be made at the same time, each with a seed of its own."""
        capacity = CAPACITY[self.engine]
        for start in range(0, missing if capacity.at_once else min(missing, capacity.batch), capacity.batch):
            seed = None if request.seed is None else request.seed + asked + start
            yield replace(request, n=min(capacity.batch, missing - start), seed=seed)

    def _answers(self, batches: Sequence[ChatRequest], deadline: float) -> Iterable[Completions | ModelUnavailable]:
        if len(batches) == 1:
            return [self._answer(batches[0], deadline)]
        with ThreadPoolExecutor(min(len(batches), MOST_AT_ONCE), "completions") as threads:
            return list(threads.map(lambda batch: self._answer(batch, deadline), batches))

    def _answer(self, batch: ChatRequest, deadline: float) -> Completions | ModelUnavailable:
        try:
            body = self._body(batch, deadline, streaming=self._streaming)
            return self.guard.run(lambda: self._gathered(batch.n, body, deadline), deadline)
        except ModelUnavailable as error:
            return error

    def _body(self, request: ChatRequest, deadline: float, *, streaming: bool) -> bytes:
        adapters = self.adapters(request.adapter, deadline) if request.adapter is not None else None
        body = chat_body(request, engine=self.engine, model=self._model, stream=streaming, adapters=adapters)
        return json.dumps(body).encode()

    def _gathered(self, asked: int, body: bytes, deadline: float) -> Completions:
        """The completions of one request, or what there is of them when it ends early.

        Raises:
            Failure: nothing came, or the connection broke before anything of use did.
        """
        started = time.monotonic()
        assembly = Assembly()
        failure: Failure | None = None
        try:
            for item in self._pieces(body, deadline, streaming=self._streaming):
                assembly.add(item)
        except Failure as error:
            failure = error
        answer = assembly.completions(asked=asked, seconds=time.monotonic() - started, failure=failure)
        if failure is not None and not answer.texts and (failure.repeat or not answer.usage.completion_tokens):
            raise failure
        return answer

    def _begun(self, body: bytes, deadline: float) -> Iterator[Piece | Usage]:
        """The pieces, once the first has come."""
        pieces = self._pieces(body, deadline, streaming=True)
        first = next(pieces)  # an answer without one is malformed
        return chain([first], pieces)

    def _pieces(self, body: bytes, deadline: float, *, streaming: bool) -> Iterator[Piece | Usage]:
        remaining = max(0.001, deadline - time.monotonic())
        yield from read_pieces(
            until(
                deadline,
                lambda: self._exchange(body, streaming=streaming, timeout=remaining),
                silence=SILENT_SECONDS if streaming else math.inf,
            )
        )

    def _probe(self) -> None:
        """Asks for one token. No deadline but the connection's own: of an answer that came while the process was frozen
        nobody could say whether it was late.

        Raises:
            Failure, ModelUnavailable: see `_exchange`.
        """
        body = json.dumps(chat_body(PROBE, engine=self.engine, model=self._model)).encode()
        with closing(self._exchange(body, streaming=False, timeout=PROBE_SECONDS)) as chunks:
            for _ in read_pieces(chunks):
                pass


def until(deadline: float, source: Callable[[], Generator[bytes]], *, silence: float = math.inf) -> Iterator[bytes]:
    """What a blocking source yields, from a thread that is given up at the deadline (of `time.monotonic`).

    Neither urllib3 nor boto3 can bound a whole exchange: their timeouts start again with every read, boto3's are fixed
    for a client, and a name lookup has none.

    Raises:
        TimedOut: the deadline came first. Silent: it did, nothing had come, and that for `silence` seconds or more. Or
            what the source raises.
    """
    began = time.monotonic()
    nothing = True
    arrived: SimpleQueue[bytes | BaseException | None] = SimpleQueue()
    given_up = threading.Event()

    def pump() -> None:
        try:
            with closing(source()) as chunks:
                for chunk in chunks:
                    if given_up.is_set():
                        return
                    arrived.put(chunk)
            arrived.put(None)
        except BaseException as error:  # the consumer raises it
            arrived.put(error)

    threading.Thread(target=pump, name="chat-exchange", daemon=True).start()
    try:
        while True:
            try:
                item = arrived.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                silent = nothing and time.monotonic() - began >= silence
                raise (Silent if silent else TimedOut)("it did not answer in time") from None
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            nothing = False
            yield item
    finally:
        given_up.set()
