"""Where load goes: a local system that runs already, or one that is started for it and thrown away."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from infra.local import resources
from infra.local import sample as samples
from infra.local.processes import StartError
from infra.local.stack import TENANT, Options, Stack
from shared.stores.people import People
from shared.stores.table import Table


@dataclass(frozen=True, slots=True)
class Place:
    """A local system: the API's URL, that of its AWS services, and the folder of its state."""

    url: str
    aws: str
    state: Path

    def table(self) -> Table:
        """The table itself, past the API."""
        return Table(resources.client("dynamodb", self.aws), resources.NAME)

    def people(self) -> People:
        return People(self.table(), (self.state / "pseudonym.key").read_bytes())


def wide_console() -> Console:
    """The terminal; where the output goes into a file, one whose tables are not cut."""
    return Console(soft_wrap=True, width=None if sys.stdout.isatty() else 140)


@contextmanager
def started(state: Path, *, sample: bool = False) -> Iterator[Place]:
    """A local system of its own, without a language model, for as long as the block runs.

    A part that cannot start ends the command with what it said.
    """
    stack = Stack(Options(state, port=0, aws_port=0, llm="none", sample=sample))
    try:
        stack.start()
        stack.wait()
        if stack.resources is None:
            raise RuntimeError("the local system has no resources")
        if sample:
            for _ in samples.Sample(stack.resources, stack.url, TENANT, stack.failed).load():
                pass
            stack.sample_ready.touch()
        yield Place(stack.url, stack.resources.endpoint_url, state)
    except StartError as error:
        raise SystemExit(str(error)) from error
    finally:
        stack.stop()
