"""The two category trees of AdTailor, read from the tables in `taxonomy_data`.

Ads are filed under the IAB Ad Product Taxonomy 2.0 (ids ``adproduct:1551``), items and interests also under the IAB
Content Taxonomy 3.1 (ids ``content:52``).

Attribution: Ad Product Taxonomy 2.0 and Content Taxonomy 3.1 by IAB Tech Lab, licensed under CC BY 3.0
(https://iabtechlab.com/standards/content-taxonomy/, https://creativecommons.org/licenses/by/3.0/). The Chinese names
and the hints are the project's own. Changes to the published tables: a parent follows from the tier columns where it
contradicts them (Ad Product 1000, 1037 to 1041 and 1426; Content 376 and 497), and a name is the one in the tier
columns where the two differ.

Table columns (tab separated, UTF-8, no quoting): id, parent, name_en, name_zh, hint_en, hint_zh. A root has an empty
parent. A hint is a short list of products or phrases that an ad or a post of the category would mention.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal

from shared.errors import ArtifactError

TaxonomyName = Literal["adproduct", "content"]

_TABLES: dict[str, tuple[str, str]] = {
    "adproduct": ("ad_product_2.0.tsv", "2.0"),
    "content": ("content_3.1.tsv", "3.1"),
}
_COLUMNS = ["id", "parent", "name_en", "name_zh", "hint_en", "hint_zh"]


@dataclass(frozen=True, slots=True)
class Category:
    """One node. `id` and `parent` carry the taxonomy as a prefix; `tier` is 1 at a root; an absent hint is ""."""

    id: str
    parent: str | None
    name: Mapping[str, str] = field(compare=False)
    hint: Mapping[str, str] = field(compare=False)
    tier: int


class Taxonomy(Mapping[str, Category]):
    """Read-only mapping of prefixed id to `Category`, in the order of the table. An unknown id raises `KeyError`."""

    def __init__(self, name: str, version: str, rows: list[tuple[str, str, str, str, str, str]]) -> None:
        """Build the tree from `(id, parent, name_en, name_zh, hint_en, hint_zh)` rows with bare ids.

        Raises `ArtifactError` for a repeated id, an unknown parent or a cycle.
        """
        self.name = name
        self.version = version
        parents = {row[0]: row[1] for row in rows}
        if len(parents) != len(rows):
            raise ArtifactError(f"taxonomy {name}: an id is repeated")
        self._categories: dict[str, Category] = {}
        self._children: dict[str | None, list[str]] = {None: []}
        for bare, parent, name_en, name_zh, hint_en, hint_zh in rows:
            key = f"{name}:{bare}"
            parent_key = f"{name}:{parent}" if parent else None
            self._categories[key] = Category(
                id=key,
                parent=parent_key,
                name=MappingProxyType({"zh": name_zh, "en": name_en}),
                hint=MappingProxyType({"zh": hint_zh, "en": hint_en}),
                tier=_tier(name, bare, parents),
            )
            self._children.setdefault(key, [])
            self._children.setdefault(parent_key, []).append(key)

    def __getitem__(self, key: str) -> Category:
        return self._categories[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._categories)

    def __len__(self) -> int:
        return len(self._categories)

    def __repr__(self) -> str:
        return f"Taxonomy({self.name!r}, version={self.version!r}, {len(self)} categories)"

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    @property
    def roots(self) -> tuple[Category, ...]:
        """The categories of tier 1."""
        return tuple(self._categories[key] for key in self._children[None])

    @property
    def leaves(self) -> tuple[Category, ...]:
        """The categories without children, roots without children included."""
        return tuple(category for category in self._categories.values() if not self._children[category.id])

    def children(self, key: str) -> tuple[Category, ...]:
        """The direct children of `key`; empty for a leaf. Raises `KeyError` for an unknown id."""
        return tuple(self._categories[child] for child in self._children[self._categories[key].id])

    def ancestors(self, key: str) -> tuple[Category, ...]:
        """The categories above `key`, nearest first; empty for a root. Raises `KeyError` for an unknown id."""
        found: list[Category] = []
        parent = self._categories[key].parent
        while parent is not None:
            found.append(self._categories[parent])
            parent = found[-1].parent
        return tuple(found)

    def path(self, key: str) -> tuple[Category, ...]:
        """The categories from the root down to `key` itself. Raises `KeyError` for an unknown id."""
        return (*reversed(self.ancestors(key)), self._categories[key])


@cache
def load_taxonomy(name: TaxonomyName) -> Taxonomy:
    """The taxonomy `name`, read once per process. Raises `ArtifactError` when its table is absent or malformed."""
    if name not in _TABLES:
        raise ArtifactError(f"no taxonomy is named {name!r}; known: {', '.join(_TABLES)}")
    file, version = _TABLES[name]
    try:
        text = (files("shared.models") / "taxonomy_data" / file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"taxonomy table {file} cannot be read: {error}") from error
    header, *lines = text.removesuffix("\n").split("\n")
    if header.split("\t") != _COLUMNS:
        raise ArtifactError(f"taxonomy table {file}: the header must be {_COLUMNS}")
    rows: list[tuple[str, str, str, str, str, str]] = []
    for number, line in enumerate(lines, start=2):
        cells = line.split("\t")
        if len(cells) != len(_COLUMNS):
            raise ArtifactError(f"taxonomy table {file}, line {number}: {len(cells)} columns, not {len(_COLUMNS)}")
        rows.append((cells[0], cells[1], cells[2], cells[3], cells[4], cells[5]))
    return Taxonomy(name, version, rows)


def _tier(name: str, bare: str, parents: dict[str, str]) -> int:
    """Depth of `bare`, 1 at a root; refuses an unknown parent and a cycle."""
    seen = [bare]
    while parent := parents[seen[-1]]:
        if parent not in parents:
            raise ArtifactError(f"taxonomy {name}: {seen[-1]} has the unknown parent {parent}")
        if parent in seen:
            raise ArtifactError(f"taxonomy {name}: {parent} is its own ancestor")
        seen.append(parent)
    return len(seen)
