"""Commands about one person: what is known, what they allow, what leaves and what is erased."""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
import time
import zlib
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.cli.session import UNREACHABLE, Failed, Session, cell, command, name_of

User = Annotated[str, typer.Argument(help="The person's id, as in your events.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    options = {"rich_help_panel": "People"}
    command(app, "profile", **options)(profile)
    command(app, "consent", **options)(consent)
    command(app, "export", **options)(export)
    command(app, "erase", **options)(erase)


def profile(session: Session, user_id: User) -> None:
    """What a person is interested in, with evidence."""
    found = session.client.profile(user_id)

    def show() -> None:
        said = found["consent"]
        session.print(f"{found['user_id']}: {found['events']:,} events, last changed {found['updated_at']}")
        session.print(
            f"personalisation {_yes(said['personalisation'])} ({said['basis']}), sensitive {_yes(said['sensitive'])}"
        )
        if not found["interests"]:
            session.print("no interest yet")
            if found["events"] and not said["sensitive"]:  # said of everybody alike: it tells nothing of this person
                session.note("(what is about health counts with consent to it alone: adtailor consent … --sensitive)")
            return
        table = session.table("interest", "#weight", "term", "id", "latest evidence")
        for one in found["interests"]:
            off = "" if one["enabled"] else " (off)"
            evidence = ", ".join(one["evidence"][:3])
            table.add_row(
                cell(name_of(one["name"]) + off), cell(one["weight"]), one["term"], cell(one["id"]), cell(evidence)
            )
        session.out.print(table)

    session.answer(found, show)


def consent(
    session: Session,
    user_id: User,
    personalisation: Annotated[
        bool, typer.Option("--personalisation/--no-personalisation", help="May ads be chosen for them?")
    ],
    source: Annotated[str, typer.Option(help="Where they said so, such as a form.")],
    sensitive: Annotated[bool, typer.Option("--sensitive/--no-sensitive", help="Health interests too?")] = False,
    at: Annotated[datetime | None, typer.Option(help="When (UTC); now by default.")] = None,
    version: Annotated[str | None, typer.Option(help="Of the notice that they were shown.")] = None,
    tcf: Annotated[str | None, typer.Option(help="An IAB TCF v2 string.")] = None,
    minor: Annotated[bool | None, typer.Option("--minor/--adult", help="Are they under age?")] = None,
) -> None:
    """Tells what a person allows; the answer is what is in force."""
    when = at.isoformat() + "Z" if at is not None and at.tzinfo is None else at.isoformat() if at is not None else None
    found = session.client.set_consent(
        user_id,
        personalisation=personalisation,
        sensitive=sensitive,
        source=source,
        at=datetime.fromisoformat(when) if when else None,
        version=version,
        tcf=tcf,
        minor=minor,
    )

    def show() -> None:
        session.print(
            f"{user_id}: personalisation {_yes(found['personalisation'])}, sensitive {_yes(found['sensitive'])}, "
            f"minor {_yes(found['minor'])}; said in {found['source']} at {found['at']}"
        )
        if found.get("superseded"):
            session.print("a later statement was there already, and still holds")

    session.answer(found, show)


def export(
    session: Session,
    user_id: User,
    out: Annotated[Path | None, typer.Option("--out", "-o", dir_okay=False, help="Write it there.")] = None,
) -> None:
    """All that is kept of a person, as JSON."""
    found: Any = session.client.export(user_id)
    if not found["complete"] and out is None:
        session.answer(
            found, lambda: session.print(f"{found['size']:,} bytes, until {found['expires_at']}: {found['url']}")
        )
        return
    if out is not None:
        if not found["complete"]:
            _fetched(session, found["url"], out)
        else:
            out.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        told = {"user_id": user_id, "file": str(out), "bytes": out.stat().st_size}
        session.answer(told, lambda: session.print(f"{out}: {told['bytes']:,} bytes"))
        return
    session.answer(found, lambda: session.out.print_json(json.dumps(found, ensure_ascii=False)))


def _fetched(session: Session, url: str, out: Path) -> None:
    """Writes an export that lies gzipped at a signed address; unpacked, unless the file's name ends in .gz."""
    if out.suffix == ".gz":
        session.client.download(url, out)
        return
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        packed, plain = Path(folder) / "export.json.gz", Path(folder) / out.name
        session.client.download(url, packed)
        try:
            with gzip.open(packed) as source, plain.open("wb") as target:
                shutil.copyfileobj(source, target)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise Failed(f"what lies there is no whole export: {error}", UNREACHABLE) from None
        plain.replace(out)


def erase(
    session: Session,
    user_id: User,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow the receipt until a second scan has found nothing.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait.")] = 900,
) -> None:
    """Erases a person with all linked ids; the receipt says what was removed where."""
    if not yes and not session.json and not typer.confirm(f"Erase {user_id} for good, in every linked id?"):
        raise Failed("nothing was erased")
    if not yes and session.json:
        raise Failed("erasing without being asked needs --yes", 2)
    receipt: Any = session.client.erase(user_id)
    deadline = time.monotonic() + timeout
    if wait and receipt["state"] != "done":
        with session.err.status("erasing"):
            while receipt["state"] != "done":
                if time.monotonic() > deadline:
                    raise Failed(
                        f"erasure {receipt['erasure_id']} is {receipt['state']} after {timeout:,.0f} s",
                        3,
                        receipt=receipt,
                    )
                time.sleep(0.5)
                receipt = session.client.erasure(receipt["erasure_id"])

    def show() -> None:
        session.print(f"erasure {receipt['erasure_id']}: {receipt['state']}")
        table = session.table("place", "what", "#removed")
        for place, counts in receipt["removed"].items():
            for what, count in dict(counts).items():
                table.add_row(place, cell(what), f"{count:,}")
        if table.row_count:
            session.out.print(table)
        if receipt["state"] != "done":
            session.print("they are unknown from now on; the rest goes on in the background (--wait follows it)")

    session.answer(receipt, show)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
