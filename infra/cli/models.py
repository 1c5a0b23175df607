"""Commands about trained models: labels and rankers in, figures out, promotion."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TextIO, cast

import typer

from infra.cli.session import UNREACHABLE, Failed, Session, cell, command, print_problem
from infra.client import ApiError

_PANEL = "Models"
_THROUGH = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
_HEARD = 50  # writes of a command
_FRAMES = re.compile(r"\x1b\[[0-9;]*m|[─-╿]+")  # colours and boxes
_BEGIN_SECONDS = 60.0  # in which an upload of labels starts a training

train = typer.Typer(name="train", no_args_is_help=True, help="Train heads and rankers, and follow their training.")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(train, name="train", rich_help_panel=_PANEL)
    command(train, "head")(head)
    command(train, "status")(status)
    train.command("ranker", context_settings=_THROUGH)(ranker)
    app.command("evaluate", rich_help_panel=_PANEL, context_settings=_THROUGH)(evaluate)
    command(app, "promote", rich_help_panel=_PANEL, context_settings={**_THROUGH, "help_option_names": ["--help"]})(
        promote
    )


def head(
    session: Session,
    labels: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Rows of text and label (.jsonl, .csv).")],
    name: Annotated[str, typer.Option(help="Of the head, for `adtailor classify --head`.")],
    dev: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Rows to choose on.")] = None,
    unlabelled: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="More texts, which help few labels.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the training.")] = True,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait.")] = 7200,
) -> None:
    """Uploads labels, which trains a head, and follows it until it serves."""
    from infra.cli.uploads import send

    before = _head(session, name)
    for part, path in (("dev", dev), ("unlabelled", unlabelled), ("", labels)):  # what lies beside comes first
        if path is not None:
            suffix = "".join(one for one in path.suffixes[-2:] if one in (".jsonl", ".ndjson", ".csv", ".gz"))
            send(session, path, "labels", f"{name}{'.' * bool(part)}{part}{suffix}", wait=False)
    found = _follow(session, name, before, timeout) if wait else dict[str, Any](name=name, state="uploaded")

    def show() -> None:
        session.print(f"{name}: {found['state']}" + (f" ({found['reason']})" if found.get("reason") else ""))
        figures = found.get("metrics") or {}
        for row, values in {"ours": figures, **figures.get("baselines", {})}.items():
            measured = ", ".join(f"{key} {value:.3f}" for key, value in values.items() if isinstance(value, float))
            if measured:
                session.print(f"  {row}: {measured}")
        if figures.get("warning"):
            session.print(figures["warning"], style="yellow")

    session.answer(found, show)
    if found["state"] == "failed":
        raise typer.Exit(1)


def _head(session: Session, name: str) -> dict[str, Any] | None:
    try:
        return dict(session.client.head(name))
    except ApiError as error:
        if error.status == 404:
            return None
        raise


def _follow(session: Session, name: str, before: dict[str, Any] | None, timeout: float) -> dict[str, Any]:
    """The head once its training has ended. The labels that it was trained on already start nothing."""
    begun = time.monotonic()
    with session.err.status(f"{name}: waiting for the training"):
        while True:
            now = _head(session, name)
            spent = time.monotonic() - begun
            new = now is not None and (before is None or now["updated_at"] != before["updated_at"])
            if now is not None and now["state"] != "training" and (new or spent > _BEGIN_SECONDS):
                return now
            if now is None and spent > _BEGIN_SECONDS:
                raise Failed(f"{name}: no training began within {_BEGIN_SECONDS:.0f} s", UNREACHABLE)
            if spent > timeout:
                raise Failed(
                    f"{name}: still training after {timeout:,.0f} s; `adtailor train status` says more", UNREACHABLE
                )
            time.sleep(0.5)


def status(session: Session) -> None:
    """How the heads and the ranker stand."""
    heads, ranked = session.client.heads()["heads"], session.client.ranker()

    def show() -> None:
        table = session.table("model", "state", "version", "changed", "reason")
        for one in heads:
            table.add_row(
                cell(one["name"]), one["state"], cell(one["version"]), cell(one["updated_at"]), cell(one["reason"])
            )
        table.add_row(
            "(ranker)", ranked["state"], cell(ranked["version"]), cell(ranked["updated_at"]), cell(ranked["reason"])
        )
        session.out.print(table)

    session.answer({"heads": heads, "ranker": ranked}, show)


def ranker(context: typer.Context) -> None:
    """Train a ranker on this machine, from a decision log or a history (adtailor train ranker --help)."""
    from infra.training import train_ranker

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    written: list[Path] = []

    @app.command()
    @wraps(train_ranker.command)
    def train(**given: Any) -> None:
        train_ranker.command(**given)
        written.append(given["out"])

    def told() -> dict[str, Any]:
        from shared.models.artifacts import load_manifest

        manifest = load_manifest(written[0])
        return {"out": str(written[0]), "version": manifest.version, "metadata": manifest.metadata}

    _through(app, context.args, "adtailor train ranker", told)


def evaluate(context: typer.Context) -> None:
    """Measure on your files, beside baselines (adtailor evaluate --help)."""
    from infra.evaluate.__main__ import app

    _through(app, context.args, "adtailor evaluate")


def _through(
    app: typer.Typer,
    arguments: Sequence[str],
    name: str,
    told: Callable[[], dict[str, Any]] | None = None,
    *,
    wants_json: bool = False,
) -> None:
    """Runs a command that has a line of its own. With ``--json`` there is an object on stdout whatever becomes of it:
    its own, else what `told` answers, else what it said last on stderr."""
    rest = [one for one in arguments if one != "--json"]
    if not wants_json and len(rest) == len(arguments):
        app(args=rest or ["--help"], prog_name=name)
        return
    if not rest:
        raise typer.BadParameter(f"what shall be done? {name} --help says what there is")
    said, heard = _Heard(sys.stdout), _Heard(sys.stderr)
    try:
        with redirect_stdout(cast("TextIO", said)), redirect_stderr(cast("TextIO", heard)):
            app(args=rest, prog_name=name)
    except SystemExit as ended:
        if not said.last:
            if ended.code in (0, None) and told is not None:
                sys.stdout.write(json.dumps(told(), ensure_ascii=False, default=str) + "\n")
            else:
                print_problem({"title": heard.last or f"{name} ended with status {ended.code}"})
        raise


class _Heard:
    """A stream that remembers its last words: the last paragraph without frames."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._words: deque[str] = deque(maxlen=_HEARD)

    def write(self, text: str) -> int:
        self._words.append(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def last(self) -> str:
        plain = _FRAMES.sub(" ", "".join(self._words))
        return " ".join(plain.strip().rpartition("\n\n")[2].split())


def promote(
    session: Session,
    context: typer.Context,
    candidate: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder of the ranker.")],
    judge_only: Annotated[bool, typer.Option("--judge-only", help="Do not put it into service.")] = False,
) -> None:
    """Judges a ranker by the decision log, and puts it into service where the verdict lets it.

    Exit status 3: not known yet; 4: refused. Other options go to the gate: python -m infra.gate --help
    """
    from infra import gate

    place = session.place
    os.environ["BUCKET_NAME"], os.environ["TABLE_NAME"] = place.bucket, place.table
    if place.aws is not None:
        from infra.local.resources import CREDENTIALS

        os.environ.update(CREDENTIALS)
        os.environ["AWS_ENDPOINT_URL"] = place.aws
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(gate.main)
    arguments = ["--tenant", place.tenant, "--candidate", str(candidate), *([] if judge_only else ["--promote"])]
    _through(app, [*arguments, *context.args], "adtailor promote", wants_json=session.json)
