"""Turns data of other formats into AdTailor uploads: ``python -m infra.convert behaviour --help``.

The folder it writes has the layout of the upload bucket, so that one copy of it uploads everything. The same input
gives the same bytes.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote
from zlib import crc32

import orjson
import typer

from shared.domain import DOMAINS, Rejection
from shared.preprocess import clean_text
from shared.uploads import StreamProblem, read_rows

LONGEST_TITLE = 200
LONGEST_TAG = 80
MOST_TAGS = 20
_DAY = 86_400

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


@dataclass(slots=True)
class Converted:
    """What was written: counts, and the files with their sizes in bytes."""

    events: int = 0
    events_with_text: int = 0
    users: int = 0
    items: int = 0
    items_without_title: int = 0
    ads: int = 0
    first: float = 0.0
    last: float = 0.0
    files: dict[Path, int] = field(default_factory=dict)


@app.callback()
def main() -> None:
    """Converts data of other formats into AdTailor uploads."""


@app.command()
def behaviour(
    items: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="item_id, title, categories; .jsonl[.gz]")],
    events: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="user_id, item_id, event, position")],
    out: Annotated[Path, typer.Option(file_okay=False, help="gets events/TENANT/ and ads/TENANT/")],
    tenant: Annotated[str, typer.Option()] = "demo",
    start: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="day (UTC) of the first events")] = datetime(
        2026, 9, 1, tzinfo=UTC
    ),
    days: Annotated[int, typer.Option(min=1, help="over how many days a person's events are spread")] = 60,
    ads: Annotated[int | None, typer.Option(min=0, help="how many of the most popular items; default all")] = None,
    domain: Annotated[str, typer.Option(help="of all events and ads")] = "ecommerce",
) -> None:
    """The data pack's behaviour format: items, and events in each person's order without times."""
    if domain not in DOMAINS:
        raise typer.BadParameter(f"use {', '.join(DOMAINS)}", param_hint="--domain")
    try:
        made = convert_behaviour(
            items, events, out, tenant, start.replace(tzinfo=UTC).timestamp(), days=days, ads=ads, domain=domain
        )
    except ValueError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(
        f"{made.events:,} events of {made.users:,} people, {made.events_with_text:,} of them with an item's text"
    )
    typer.echo(f"{_day(made.first)} to {_day(made.last)}")
    typer.echo(f"{made.items:,} items ({made.items_without_title:,} without a title), {made.ads:,} ads")
    for path, size in made.files.items():
        typer.echo(f"{path}  {size:,} bytes")


def convert_behaviour(
    items: Path,
    events: Path,
    out: Path,
    tenant: str,
    start: float,
    *,
    days: int = 60,
    ads: int | None = None,
    domain: str = "ecommerce",
) -> Converted:
    """Writes ``out/events/{tenant}/behaviour.jsonl.gz`` and ``out/ads/{tenant}/items.jsonl.gz``.

    The first event of an item carries its title as text and its categories as tags. An event's time comes from its
    position: a person's `days` days from `start` (epoch seconds) on are cut into as many parts as the person has
    positions, and the event lies in the part of its own, at a place that its ids fix. An ad's id is its item's.

    Raises:
        ValueError: a row that is not of the format; names the file and the line.
    """
    made = Converted()
    texts: dict[str, tuple[str, list[str]]] = {}
    for line, row in _rows(items):
        item_id = _text(row, "item_id", items, line)
        categories = row.get("categories") or []
        if not isinstance(categories, list):
            raise ValueError(f"{items}, line {line}: categories is not a list.")
        tags = [clean_text(str(category), LONGEST_TAG) for category in categories]
        texts[item_id] = clean_text(str(row.get("title") or "")), list(dict.fromkeys(filter(None, tags)))[:MOST_TAGS]
    made.items = len(texts)
    made.items_without_title = sum(not title for title, _ in texts.values())

    lengths: dict[str, int] = {}
    popularity: Counter[str] = Counter()
    places: set[tuple[str, int]] = set()
    for line, row in _rows(events):
        user_id, item_id = _text(row, "user_id", events, line), _text(row, "item_id", events, line)
        _text(row, "event", events, line)
        position = _position(row, events, line)
        if (user_id, position) in places:
            raise ValueError(f"{events}, line {line}: user {user_id} has position {position} twice.")
        places.add((user_id, position))
        lengths[user_id] = max(lengths.get(user_id, 0), position + 1)
        popularity[item_id] += 1
    made.users = len(lengths)

    told: set[str] = set()

    def event_rows() -> Iterator[dict[str, Any]]:
        for _, row in _rows(events):
            user_id, item_id, position = row["user_id"], row["item_id"], row["position"]
            within = crc32(f"{user_id} {item_id} {position}".encode()) / 2**32 * 0.9  # of the part: never the next one
            timestamp = start + int((position + within) * days * _DAY / lengths[user_id])
            made.first = min(made.first or timestamp, timestamp)
            made.last = max(made.last, timestamp)
            made.events += 1
            event: dict[str, Any] = {
                "user_id": user_id,
                "event_id": f"{user_id}-{position}",
                "event": row["event"],
                "timestamp": int(timestamp),
                "item_id": item_id,
                "domain": domain,
            }
            title, tags = texts.get(item_id, ("", []))
            if item_id not in told and title:
                told.add(item_id)
                made.events_with_text += 1
                event |= {"text": title, "tags": tags}
            yield event

    def ad_rows() -> Iterator[dict[str, Any]]:
        titled = (item_id for item_id, (title, _) in texts.items() if title)
        for item_id in sorted(titled, key=lambda item_id: -popularity[item_id])[:ads]:
            title, tags = texts[item_id]
            made.ads += 1
            yield {
                "ad_id": item_id,
                "title": clean_text(title, LONGEST_TITLE),
                "description": ", ".join(tags),
                "landing_url": f"https://example.com/items/{quote(item_id, safe='')}",
                "language": "en",
                "domain": domain,
            }

    for path, rows in (
        (out / "events" / tenant / "behaviour.jsonl.gz", event_rows()),
        (out / "ads" / tenant / "items.jsonl.gz", ad_rows()),
    ):
        if ads == 0 and path.parent.parent.name == "ads":
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        made.files[path] = _write(path, rows)
    return made


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    with path.open("wb") as raw:
        # Neither the time nor the file's name goes into the header.
        with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as packed:
            for row in rows:
                packed.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        return raw.tell()


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open("rb") as stream:
        for row in read_rows(stream, path.name):
            if isinstance(row, Rejection):
                raise ValueError(f"{path}, line {row.index}: {row.reason}")
            if isinstance(row, StreamProblem):
                raise ValueError(f"{path}, line {row.line}: {row.reason}")
            yield row.line, row.value


def _text(row: dict[str, Any], name: str, path: Path, line: int) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{path}, line {line}: {name} must be text that is not empty.")
    return value


def _position(row: dict[str, Any], path: Path, line: int) -> int:
    value = row.get("position")
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{path}, line {line}: position must be a whole number from 0 on.")
    return value


def _day(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).date().isoformat()


if __name__ == "__main__":
    app()
