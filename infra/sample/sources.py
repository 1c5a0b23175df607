"""The hand-written parts of the sample: who there is, what there is to meet, what people say."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent

Row = dict[str, Any]


def _read(name: str) -> list[Row]:
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]


def people() -> list[Row]:
    """The sample's people: who they are, their interests, rhythm and consent."""
    return _read("people.jsonl")


def items() -> list[Row]:
    """The sample's items that are no ads."""
    return _read("items.jsonl")


@cache
def things() -> dict[str, Row]:
    """Items and ads by id, all in the shape of an item. An ad stands here for the product or course it is about."""
    known = {item["item_id"]: item for item in items()}
    for name in sorted(path.name for path in FOLDER.glob("ads_*.jsonl")):
        for ad in _read(name):
            known[ad["ad_id"]] = {
                "item_id": ad["ad_id"],
                "domain": ad["domain"],
                "language": ad["language"],
                "text": ad["title"],
                "tags": lessons()[ad["ad_id"]][0]["tags"][:2] if ad["ad_id"] in lessons() else [],
                "price": ad.get("attributes", {}).get("price"),
            }
    return known


@cache
def lessons() -> dict[str, list[Row]]:
    """The lessons of each course, in order."""
    courses: dict[str, list[Row]] = {}
    for item in items():
        if "course" in item:
            courses.setdefault(item["course"], []).append(item)
    return courses


@cache
def texts() -> dict[tuple[str, str, str], list[str]]:
    """What people write, by (kind, language, subject).

    The subject of a search or a consult is ``domain/tag``, of a comment the `item_id` it is about, of a remark (which
    may stand under anything) the domain.
    """
    found: dict[tuple[str, str, str], list[str]] = {}
    for row in _read("texts.jsonl"):
        subject = row.get("item_id") or (f"{row['domain']}/{row['tag']}" if "tag" in row else row["domain"])
        found.setdefault((row["kind"], row["language"], subject), []).append(row["text"])
    return found


@cache
def items_of(language: str) -> tuple[Row, ...]:
    """The items in a language."""
    return tuple(item for item in items() if item["language"] == language)
