"""``adtailor import``: their files into ours, by a mapping that can be guessed and tried first."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from infra.cli.session import REJECTED, Failed, Session, cell, command

if TYPE_CHECKING:
    from infra.importers import Report, Source

_SHOWN = 12  # kinds of reasons in the terminal


def register(app: typer.Typer) -> None:
    """Adds the command."""
    command(app, "import", rich_help_panel="Data")(bring)


def bring(
    session: Session,
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="CSV, Parquet, JSON Lines, or a Google Merchant feed.")
    ],
    guess: Annotated[bool, typer.Option("--guess", help="Write a mapping to edit, guessed from the header.")] = False,
    mapping: Annotated[
        Path | None,
        typer.Option("--mapping", "-m", exists=True, dir_okay=False, help="YAML or JSON: which column is what."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would become of each row.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", dir_okay=False, help="Write there (.jsonl, .jsonl.gz; of --guess: .yaml)."),
    ] = None,
    send: Annotated[bool, typer.Option("--upload", help="Upload what was written.")] = False,
    kind: Annotated[str | None, typer.Option(help="For --guess: events or ads.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="For --guess: names of the columns, by commas, where the file has no header.")
    ] = None,
    domain: Annotated[
        str | None, typer.Option(help="For --guess and feeds: ecommerce, social, education or health.")
    ] = None,
    language: Annotated[str | None, typer.Option(help="For feeds: zh or en; told by each title.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit status 4 where a row is rejected.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for the upload's report.")] = 900,
) -> None:
    """Turns your own file into events or ads: guess a mapping, try it, write, upload."""
    from shared.domain import DOMAINS, LANGUAGES

    _among("--kind", kind, ("events", "ads"))
    _among("--domain", domain, DOMAINS)
    _among("--language", language, LANGUAGES)
    for read in (file, mapping):
        if out is not None and read is not None and out.exists() and out.samefile(read):
            raise Failed(f"--out: {out} is what is read, and would be written over; name another file", 2)
    if guess:
        _guess(session, file, out, cast("Literal['events', 'ads'] | None", kind), domain, columns)
        return
    what, source = _source(file, mapping, domain, language)
    if not dry_run and out is None and not send:
        raise Failed("what shall become of it? Give --dry-run, --out FILE or --upload", 2)
    body = _import(session, what, source, file, None if dry_run else out, send and not dry_run, timeout)
    session.answer(body, lambda: None)
    if strict and (body["rejected"] or body["problem"]):
        raise typer.Exit(REJECTED)


def _among(option: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise Failed(f"{option}: use {', '.join(known)}, not {value}", 2)


def _guess(
    session: Session,
    file: Path,
    out: Path | None,
    kind: Literal["events", "ads"] | None,
    domain: str | None,
    columns: str | None,
) -> None:
    from infra.importers import guess, is_merchant_feed

    if kind is None and columns is None and is_merchant_feed(file):
        raise Failed(f"{file.name} is a Google Merchant feed, which needs no mapping: import it as it is")
    names = [name.strip() for name in columns.split(",")] if columns else None
    found = guess(file, kind, domain=domain, names=names)
    target = out or file.with_name(f"{file.name.split('.')[0]}.mapping.yaml")
    if target.exists() and out is None:
        raise Failed(f"{target} is there already; remove it, or write another with --out")
    target.write_text(found.text, encoding="utf-8")

    def show() -> None:
        session.print(f"{target}: {found.kind}")
        session.print(found.text, style="dim")
        if found.doubts:
            session.print("Look at these before you import:")
            for doubt in found.doubts:
                session.print(f"  {doubt}")
        session.print(f"Then: adtailor import {file} --mapping {target} --dry-run")

    session.answer({"mapping": str(target), "kind": found.kind, "doubts": found.doubts}, show)


def _source(
    file: Path, mapping: Path | None, domain: str | None, language: str | None
) -> tuple[Literal["events", "ads"], Source]:
    from infra.importers import is_merchant_feed, load_mapping, mapped_source, merchant_source

    if mapping is not None:
        loaded = load_mapping(mapping)
        return loaded.kind, mapped_source(file, loaded)
    if not is_merchant_feed(file):
        raise Failed(f"{file.name} needs --mapping; `adtailor import --guess {file}` writes one to begin with", 2)
    return "ads", merchant_source(file, domain=domain or "ecommerce", language=language)


def _import(
    session: Session,
    kind: Literal["events", "ads"],
    source: Source,
    file: Path,
    out: Path | None,
    upload: bool,
    timeout: float,
) -> dict[str, Any]:
    from infra.cli.uploads import send
    from infra.importers import convert

    with tempfile.TemporaryDirectory() as folder:
        target = out or (Path(folder) / f"{file.name.split('.')[0]}.jsonl.gz" if upload else None)
        with session.err.status(f"reading {file.name}"):
            report = convert(kind, source, target)
        if not session.json:
            show(session, report)
        body = report.body()
        if out is not None:
            body["out"] = str(out)
            if not session.json:
                session.print(f"{out}: {out.stat().st_size:,} bytes")
        if upload and target is not None:
            if not report.accepted:
                raise Failed("no row can be uploaded", **body)
            body["upload"] = send(session, target, kind, timeout=timeout)
    return body


def show(session: Session, report: Report) -> None:
    """The report for people."""
    session.print(
        f"{report.rows:,} rows: {report.accepted:,} good, {report.skipped_count:,} left out, "
        f"{report.rejected_count:,} rejected"
    )
    body = report.body()
    if report.kind == "events" and report.accepted:
        kinds = ", ".join(f"{name} {count:,}" for name, count in body["kinds"].items())
        session.print(f"{report.users:,} people, {report.items:,} items, {body['first']} to {body['last']}: {kinds}")
    elif report.accepted:
        languages = ", ".join(f"{name} {count:,}" for name, count in body["kinds"].items())
        session.print(
            f"{report.items:,} ads ({languages})" + (f", {report.repeats:,} rows repeat one" if report.repeats else "")
        )
    if report.masked:
        masked = ", ".join(f"{kind} in {count:,} rows" for kind, count in report.masked.items())
        session.print(f"masked in their text: {masked}")
    if report.named_users:
        session.print(
            f"{report.named_users:,} people have an e-mail address or the like for an id: no more than an HMAC of it "
            "is kept, but a number of your own is better"
        )
    if report.unresolved:
        session.print(f"{report.unresolved:,} events name neither item nor text, and say nothing about interests")
    for why, reason in list(report.skipped.items())[:_SHOWN]:
        session.print(f"left out: {why} ({reason.count:,}, the first on line {reason.examples[0][0]:,})")
    if report.rejected:
        table = session.table("#rows", "field", "#line", "reason")
        for (field, _), reason in sorted(report.rejected.items(), key=lambda one: -one[1].count)[:_SHOWN]:
            for place, (line, sentence) in enumerate(reason.examples):
                table.add_row(
                    "" if place else f"{reason.count:,}", "" if place else cell(field), f"{line:,}", cell(sentence)
                )
        session.out.print(table)
    if report.problem:
        session.print(report.problem, style="red")
