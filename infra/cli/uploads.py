"""``adtailor upload``: files into the bucket, and what became of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from infra.cli.place import Report, until
from infra.cli.session import REJECTED, Failed, Session, cell, command

if TYPE_CHECKING:
    from infra.reports import Kind, UploadAnswer

KINDS = ("events", "ads", "labels")
SHOWN = 20  # rejected lines in the terminal
KEPT = 1000  # of them in the JSON
_TELLS = (("events", "user_id"), ("ads", "ad_id"), ("labels", "label"))
_SUFFIX = re.compile(r"\.(jsonl|ndjson|csv)(\.gz)?$")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    command(app, "upload", rich_help_panel="Data")(upload)


def upload(
    session: Session,
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help=".jsonl or .csv, gzipped or not.")],
    kind: Annotated[str | None, typer.Option(help="events, ads or labels; told by the first row.")] = None,
    name: Annotated[str | None, typer.Option(help="In the bucket, instead of the file's own.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the report.")] = True,
    strict: Annotated[bool, typer.Option("--strict", help="Exit status 4 where a line is rejected.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for each report.")] = 900,
) -> None:
    """Uploads events, ads or labels, and shows which lines were rejected and why."""
    if name is not None and len(files) > 1:
        raise Failed("--name is for one file", 2)
    bodies: list[dict[str, Any]] = []
    for path in files:
        bodies.append(send(session, path, kind or kind_of(path), name, wait=wait, timeout=timeout))
        session.so_far["uploads"] = bodies
    session.answer({"uploads": bodies}, lambda: None)
    if strict and any(body.get("rejected") or body.get("problem") for body in bodies):
        raise typer.Exit(REJECTED)


def kind_of(path: Path) -> str:
    """What a file holds, by the fields of its first row.

    Raises:
        Failed: they tell nothing.
    """
    from shared.uploads import Row, read_rows

    with path.open("rb") as stream:
        first = next((row for row in islice(read_rows(stream, path.name), 20) if isinstance(row, Row)), None)
    if first is not None:
        for kind, field in _TELLS:
            if field in first.value:
                return kind
    raise Failed(
        f"{path.name}: neither user_id, ad_id nor label is among its fields; give --kind, or `adtailor import` it first"
    )


def send(
    session: Session, path: Path, kind: str, name: str | None = None, *, wait: bool = True, timeout: float = 900
) -> dict[str, Any]:
    """Uploads one file and follows it; prints what became of it and returns the same as JSON."""
    if kind not in KINDS:
        raise Failed(f"--kind: use {', '.join(KINDS)}, not {kind}", 2)
    named = name or path.name
    if _SUFFIX.search(named.lower()) is None:
        raise Failed(
            f"{named} must end in .jsonl or .csv, or in one of these and .gz; `adtailor import` reads others", 2
        )
    if session.by_token:
        return _by_api(session, path, kind, named, wait=wait, timeout=timeout)
    place = session.place
    key = f"{kind}/{place.tenant}/{named}"
    before = place.report(key) if wait and kind != "labels" else None
    etag = _put(session, path, key)
    if not wait or kind == "labels":
        body: dict[str, Any] = {"key": key, "state": "uploaded"}
        if not session.json:
            session.print(f"s3://{place.bucket}/{key}")
        return body
    with session.err.status(f"{named}: being taken in"):
        report: Report = until(lambda: place.report(key, etag), timeout, f"{key}: no report")
        if kind == "ads":
            until(place.published, timeout, "the catalogue was not published")
    rejections = list(islice(place.rejected(key), KEPT)) if report.rejected or report.problem else []
    again = before is not None and before.at == report.at
    if not session.json:
        _show(session, named, report, rejections)
        if again:
            session.print("the very same file was in already: nothing has changed")
    return report.body() | {"again": again, "rejections": rejections}


def _by_api(session: Session, path: Path, kind: str, name: str, *, wait: bool, timeout: float) -> dict[str, Any]:
    """The same without any key of AWS: to an address that the API signs, whose report it gives as well."""
    client, folder = session.client, cast("Kind", kind)
    with _progress(session) as progress:
        task = progress.add_task(name, total=path.stat().st_size)
        key = client.upload(path, folder, name, progress=lambda sent: progress.advance(task, sent))
    if not wait:
        session.note(f"sent: {key}")
        return {"key": key, "state": "uploaded"}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("chunks"))
    with Progress(*columns, console=session.err, disable=session.json or not session.err.is_terminal) as progress:
        task = progress.add_task(f"{name}: being taken in", total=None)

        def ended() -> UploadAnswer | None:
            found = client.uploaded(folder, name)
            if chunks := found["chunks"]:
                progress.update(task, completed=chunks["done"], total=chunks["total"])
            return found if found["state"] in ("done", "failed") else None

        found: UploadAnswer = until(ended, timeout, f"{key}: no report")
    if found["state"] == "failed":
        raise Failed(f"{key}: {found['problem']}", 3)
    accepted, duplicates, rejected = found["accepted"] or 0, found["duplicates"] or 0, found["rejected"] or 0
    report = Report(key, accepted, duplicates, rejected, found["problem"], at=0.0)
    rejections = [dict(one) for one in found["lines"]]
    if not session.json:
        _show(session, name, report, rejections)
    return report.body() | {"rejections": rejections}


def _put(session: Session, path: Path, key: str) -> str:
    with _progress(session) as progress:
        task = progress.add_task(path.name, total=path.stat().st_size)
        return session.place.put(path, key, lambda sent: progress.advance(task, sent))


def _progress(session: Session) -> Progress:
    """Of bytes that go."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=session.err, disable=session.json or not session.err.is_terminal)


def _show(session: Session, name: str, report: Report, rejections: Sequence[dict[str, Any]]) -> None:
    session.print(f"{name}: {report.accepted:,} in, {report.duplicates:,} duplicates, {report.rejected:,} rejected")
    if report.problem:
        session.print(report.problem, style="red")
    lines = [one for one in rejections if one["line"] is not None]
    if lines:
        table = session.table("#line", "field", "reason")
        for one in lines[:SHOWN]:
            table.add_row(cell(one["line"]), cell(one["field"]), cell(one["reason"]))
        session.out.print(table)
    if report.rejected > SHOWN:
        session.print(f"… and {report.rejected - SHOWN:,} more (--json has up to {KEPT:,})")
