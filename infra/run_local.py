"""The whole system on one machine: ``make run``, or ``python -m infra.run_local --help``."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from infra.local import llm_server, sample
from infra.local.processes import StartError
from infra.local.stack import AWS_PORT, ROOT, TENANT, Options, Stack

console = Console(highlight=False, soft_wrap=True)


class Stopped(BaseException):
    """Ctrl-C, SIGTERM or SIGHUP."""


def run(
    port: Annotated[int, typer.Option(envvar="PORT", help="Port of the API; 0 chooses a free one.")] = 8080,
    aws_port: Annotated[
        int, typer.Option(envvar="AWS_PORT", help="Port of the local AWS services; a free one where it is taken.")
    ] = AWS_PORT,
    llm: Annotated[
        str, typer.Option(envvar="LLM", help="gemma, smollm2, none, a .gguf file, or an OpenAI-compatible URL (…/v1).")
    ] = "gemma",
    state: Annotated[Path, typer.Option(help="Folder that keeps data and logs.")] = ROOT / ".local" / "state",
    with_sample: Annotated[bool, typer.Option("--sample/--no-sample", help="Load the sample data.")] = True,
) -> None:
    """Runs AdTailor with everything it needs on 127.0.0.1 until Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    state.mkdir(parents=True, exist_ok=True)
    stack: Stack | None = None
    code = 0
    try:
        llm = _licence(llm, state)
        stack = Stack(Options(state.resolve(), port=port, aws_port=aws_port, llm=llm or "none", sample=with_sample))
        _start(stack)
        _watch(stack)
    except Stopped:
        console.print()
    except StartError as error:
        console.print(f"[red]✗[/] {escape(str(error))}")
        code = 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not cut the saving short
        if stack is not None and stack.pids():
            with _step("Stopping and saving the data", "Stopped; the data is kept"):
                stack.stop()
    raise typer.Exit(code)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise Stopped


@contextmanager
def _step(doing: str, done: str) -> Iterator[None]:
    """Shows a spinner while the block runs and a line with its time afterwards."""
    start = time.monotonic()
    with console.status(f"{doing} …"):
        yield
    console.print(f"[green]✓[/] {done} [dim]{time.monotonic() - start:.1f} s[/]")


def _licence(llm: str, state: Path) -> str:
    """Shows a bundled model's terms the first time; returns the model to use."""
    notice = llm_server.NOTICES.get(llm)
    shown = state / f"licence-{llm}"
    if notice is None or shown.exists():
        return llm
    console.print(f"[yellow]The language model's licence ({llm})[/]\n{escape(notice)}\n")
    if sys.stdin.isatty() and console.input("Use it? \\[Y/n] ").strip().lower().startswith("n"):
        console.print("Going on without a language model: copy comes from templates.")
        return "none"
    shown.touch()
    return llm


def _start(stack: Stack) -> None:
    begun = time.monotonic()
    with _step("Starting the local AWS services", "Local AWS services: DynamoDB, S3, SQS"):
        stack.start()
    parts = "API, worker" + (" and language model" if stack.llm_url else "; no language model")
    with _step(f"Starting {parts}", parts):
        stack.wait()
    if stack.options.sample and stack.resources is not None:
        loader = sample.Sample(stack.resources, stack.url, TENANT, stack.failed)
        if not loader.complete():
            with _step("Uploading the sample to S3 and taking it in", "Sample data"):
                for upload in loader.load():
                    console.print(
                        f"  {upload.name}: {upload.accepted:,} in, {upload.duplicates:,} duplicates, "
                        f"{upload.rejected:,} rejected"
                    )
        stack.sample_ready.touch()
    console.print(_ready(stack, time.monotonic() - begun))


def _ready(stack: Stack, seconds: float) -> str:
    """The block that ends the start: what is where, and lines to try."""
    url = stack.url
    json_header = "-H 'content-type: application/json'"
    person = sample.people()[0]["user_id"] if stack.options.sample else "ann"
    aws = stack.resources.endpoint_url if stack.resources else ""
    lines = [
        f"[bold green]Ready[/] after {seconds:.1f} s. Console [bold]{url}/console/[/]",
        f"API [bold]{url}[/], documentation [bold]{url}/docs[/]",
        f"S3, DynamoDB and SQS {aws}, language model {stack.llm_url or 'none'}",
        f"Data and logs {stack.options.state}. Ctrl-C stops everything.",
        "",
        "[dim]# what is known of a person, and the ads for them[/]",
        f"curl -s {url}/v1/users/{person}/profile",
        f'curl -s {url}/v1/recommendations {json_header} -d \'{{"user_id": "{person}", "n": 3}}\'',
        "[dim]# categories of a text[/]",
        f'curl -s {url}/v1/classify {json_header} -d \'{{"texts": ["商品A：最新款智能手机，限时优惠！"]}}\'',
        "[dim]# copy for an ad[/]",
        f'curl -s {url}/v1/copy {json_header} -d \'{{"ad_id": "ec-zh-phone-a", "language": "zh"}}\'',
        "[dim]# behaviour by upload[/]",
        "export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_DEFAULT_REGION=us-east-1",
        f"aws --endpoint-url {aws} s3 cp events.jsonl s3://{stack.resources.bucket if stack.resources else ''}"
        f"/events/{TENANT}/events.jsonl",
    ]
    # Only lines that begin with markup are markup: the brackets of the others are JSON's.
    return "\n" + "\n".join(line if line.startswith("[") else line.replace("[", "\\[") for line in lines)


def _watch(stack: Stack) -> None:
    """Returns never; raises when a part ends or a signal comes."""
    warned = False
    while True:
        if problem := stack.failed():
            raise StartError(problem)
        if not warned and (lines := stack.llm_failed()):
            console.print(f"[yellow]![/] The language model ended; copy comes from templates.\n{escape(lines)}")
            warned = True
        time.sleep(0.5)


if __name__ == "__main__":
    typer.run(run)
