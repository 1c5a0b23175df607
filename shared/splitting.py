"""The one resumable splitter: cuts large work into chunks that a queue hands out, so that no invocation must live
through it.

Whoever is killed, and wherever, leaves a run that goes on: the splitter moves its cursor only when a chunk is stored
and queued, and a chunk counts once, in the transaction that says it is done (`shared.stores.runs`). A chunk that was
queued twice, or taken in by two at once, changes nothing the second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from shared.errors import NotFound
from shared.stores import Stores
from shared.stores.queues import QueueName
from shared.stores.runs import Counts, Run
from shared.telemetry import logger

MARGIN_SECONDS = 30.0  # an invocation with less than this left hands its work on
Remaining = Callable[[], float]  # seconds until the invocation is cut off


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of work, and where the source goes on behind it. `last`: there is nothing behind it; `problem`: why."""

    body: bytes
    cursor: Mapping[str, Any]
    last: bool = False
    problem: str | None = None


class Work(Protocol):
    """What is split."""

    def chunks(self, run: Run) -> Iterator[Chunk]:
        """The chunks behind ``run.cursor``: the same ones whenever it is asked."""

    def take(self, run: Run, chunk: int, body: bytes) -> Counts:
        """Does a chunk's work. It may be done again, also by two at once, and must then count the same."""

    def finish(self, run: Run) -> None:
        """Writes the result of a run whose chunks are all done. It may be called again."""

    def clean(self, run: Run) -> None:
        """Deletes what the result was made of, once it is sure."""


class Splitter:
    """Splits runs into the chunks of one queue."""

    def __init__(self, stores: Stores, queue: QueueName) -> None:
        self._stores = stores
        self._queue: QueueName = queue

    def split(self, run: Run, work: Work, remaining: Remaining) -> Run:
        """Hands out what is left of the run, for as long as the time allows, and queues the rest as a message.

        Returns the run as it is then; where somebody else is splitting it, it is left to them.
        """
        pending = work.chunks(run) if not run.whole else iter(())
        for chunk in pending:
            if chunk.body:
                self._stores.objects.put(chunk_key(run, run.emitted), chunk.body, "application/x-ndjson")
                self._send(run, chunk=run.emitted)
            emitted = run.emitted + bool(chunk.body)
            moved = self._stores.runs.advance(
                run, cursor=chunk.cursor, emitted=emitted, whole=chunk.last, problem=chunk.problem
            )
            if moved is None:
                logger.info("another invocation splits this run", extra={"run": run.run_id})
                return self._stores.runs.get(run.tenant, run.run_id) or run
            run = moved
            if not run.whole and remaining() < MARGIN_SECONDS:
                self._send(run)
                return run
        if not run.whole:
            run = self._stores.runs.advance(run, cursor=run.cursor, emitted=run.emitted, whole=True) or run
        run = self._stores.runs.get(run.tenant, run.run_id) or run
        self._finish_if_complete(run, work)
        return run

    def go_on(self, run: Run, chunk: int | None, work: Work, remaining: Remaining) -> None:
        """Does what a message of the queue asks for: a chunk's work, or (None) to split on. Raises as `take` does."""
        if chunk is None:
            self.split(run, work, remaining)
        else:
            self.take(run, chunk, work)

    def take(self, run: Run, chunk: int, work: Work) -> None:
        """Does one chunk's work, and the run's last step after the last chunk.

        Raises:
            NotFound: the chunk is not there, and was never done.
        """
        runs = self._stores.runs
        if not runs.has_finished(run.tenant, run.run_id, chunk):
            try:
                body = self._stores.objects.get(chunk_key(run, chunk))
            except NotFound:
                if not runs.has_finished(run.tenant, run.run_id, chunk):
                    raise
            else:
                runs.finish_chunk(run, chunk, work.take(run, chunk, body))
        self._stores.objects.delete([chunk_key(run, chunk)])
        self._finish_if_complete(runs.get(run.tenant, run.run_id) or run, work)

    def _finish_if_complete(self, run: Run, work: Work) -> None:
        if not run.complete or run.done:
            return
        try:
            work.finish(run)
        except NotFound:  # another invocation finished it, and cleaned up what this one was about to read
            if not self._stores.runs.find(run.tenant, run.run_id).done:
                raise
            logger.info("another invocation finished this run", extra={"run": run.run_id})
            return
        if self._stores.runs.close(run):
            work.clean(run)

    def _send(self, run: Run, *, chunk: int | None = None) -> None:
        body: dict[str, Any] = {"action": "split", "tenant": run.tenant, "run": run.run_id}
        if chunk is not None:
            body |= {"action": "chunk", "chunk": chunk}
        self._stores.queues.send(self._queue, body)


def chunk_key(run: Run, chunk: int) -> str:
    return f"chunks/{run.tenant}/{run.run_id}/{chunk:08d}.jsonl"


def rejections_key(run: Run, chunk: int) -> str:
    """Where the rejected lines of a chunk wait for the others'."""
    return f"chunks/{run.tenant}/{run.run_id}/{chunk:08d}.rejected.jsonl"
