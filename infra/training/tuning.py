"""The project's own ads, posts and texts about nothing, with the categories that are right: `taxonomy/tuning.jsonl`.

A row: ``{"kind": "ad"|"item"|"none", "domain", "language", "title", "description", "adproduct": [bare ids], "content":
[bare ids]}``, where any of the ids is right, and an empty list leaves the row out of that taxonomy. The zero-shot
classifier is calibrated on the `fit` half and looked at on the `check` half; its examples are both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from shared.models.classifier import Vectors, unit
from shared.models.taxonomy import Taxonomy, TaxonomyName

FILE = Path(__file__).parent / "taxonomy" / "tuning.jsonl"
KINDS = ("ad", "item", "none")
Encode = Callable[[list[str]], Vectors]


@dataclass(frozen=True, slots=True)
class Row:
    """`accepted` holds prefixed ids by taxonomy; an ad's `text` is what the catalogue embeds."""

    kind: Literal["ad", "item", "none"]
    domain: str
    title: str
    text: str
    accepted: dict[TaxonomyName, frozenset[str]]


def read_rows(path: Path = FILE) -> list[Row]:
    """The rows of a file.

    Raises:
        ValueError: a row is no object of this shape; the message names file and line.
    """
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            row = orjson.loads(line)
            title, description = str(row["title"]), str(row.get("description") or "")
            accepted: dict[TaxonomyName, frozenset[str]] = {
                "adproduct": frozenset(f"adproduct:{bare}" for bare in row["adproduct"]),
                "content": frozenset(f"content:{bare}" for bare in row["content"]),
            }
            if row["kind"] not in KINDS:
                raise ValueError(f"kind is one of {', '.join(KINDS)}, not {row['kind']!r}")
            text = f"{title}. {description}".strip(". ") if description else title
            found.append(Row(row["kind"], str(row["domain"]), title, text, accepted))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path.name}, line {number}: {error!r}") from error
    return found


def of_taxonomy(rows: Sequence[Row], taxonomy: Taxonomy) -> list[Row]:
    """The rows that have a category of this taxonomy, or are about nothing.

    Raises:
        ValueError: an id is none of its.
    """
    name: TaxonomyName = "adproduct" if taxonomy.name == "adproduct" else "content"
    for row in rows:
        if unknown := sorted(key for key in row.accepted[name] if key not in taxonomy):
            raise ValueError(f"{row.title!r}: there is no category {unknown[0]!r}")
    return [row for row in rows if row.kind == "none" or row.accepted[name]]


def share(row: Row, parts: int, salt: str = "") -> int:
    """Which of `parts` the row falls into, by a hash of how its title begins: a series of courses stays together."""
    return int(hashlib.sha256((salt + row.title[:2].lower()).encode()).hexdigest(), 16) % parts


def is_fit(row: Row) -> bool:
    """Whether the row is of the half that the calibration is found on."""
    return share(row, 2) == 0


def query_vectors(rows: Sequence[Row], encode: Encode) -> Vectors:
    """What is classified, (n, 384): an ad's title and text as the catalogue combines them, else the text."""
    titles = encode([row.title for row in rows])
    texts = encode([row.text for row in rows])
    ads = np.array([row.kind == "ad" for row in rows])
    return np.where(ads[:, None], unit(titles + texts), texts).astype(np.float32)


def accepted_table(rows: Sequence[Row], taxonomy: Taxonomy) -> NDArray[np.bool_]:
    """Which categories, in the taxonomy's order, are right for each row; (n, categories)."""
    name: TaxonomyName = "adproduct" if taxonomy.name == "adproduct" else "content"
    return np.array([[key in row.accepted[name] for key in taxonomy] for row in rows], bool)
