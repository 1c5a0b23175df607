"""The category tables are complete, bilingual trees, and agree with the published taxonomies."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ArtifactError
from shared.models.taxonomy import Taxonomy, TaxonomyName, load_taxonomy
from tests.data import shared_data

CHINESE = re.compile(r"[\u4e00-\u9fff]")
NAMES: list[TaxonomyName] = ["adproduct", "content"]
# id -> the parent that the published tier columns give where the published parent column contradicts them
CORRECTED: dict[str, dict[str, str | None]] = {
    "adproduct": {
        "1000": None,
        "1037": "1036",
        "1038": "1036",
        "1039": "1036",
        "1040": "1036",
        "1041": "1036",
        "1426": "1425",
    },
    "content": {"376": "371", "497": "496"},
}
SOURCES = {"adproduct": ("Ad_Product_Taxonomy_2.0.tsv", 1, 3), "content": ("Content_Taxonomy_3.1.tsv", 2, 4)}


def published(path: Path, header_lines: int, tiers: int) -> dict[str, tuple[str, tuple[str, ...]]]:
    """id -> (parent column, tier names) of an IAB file."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.reader(stream, delimiter="\t"))[header_lines:]
    return {
        row[0]: (row[1].strip(), tuple(cell.strip() for cell in row[3 : 3 + tiers] if cell.strip()))
        for row in rows
        if row and row[0].strip()
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_category_has_both_names(name: TaxonomyName) -> None:
    for category in load_taxonomy(name).values():
        assert category.name["en"].strip() == category.name["en"] != "", category.id
        assert CHINESE.search(category.name["zh"]), category.id
        assert category.name["zh"].strip() == category.name["zh"], category.id


@pytest.mark.parametrize(("name", "least"), [("adproduct", 4), ("content", 2)])
def test_every_category_has_hints_in_both_languages(name: TaxonomyName, least: int) -> None:
    for category in load_taxonomy(name).values():
        assert len(category.hint["en"].split()) >= least, category.id
        assert CHINESE.search(category.hint["zh"]) or category.hint["zh"].isascii(), category.id
        assert len(category.hint["zh"].split()) >= least, category.id


@pytest.mark.parametrize("name", NAMES)
def test_siblings_are_told_apart(name: TaxonomyName) -> None:
    taxonomy = load_taxonomy(name)
    groups = [taxonomy.roots, *(taxonomy.children(key) for key in taxonomy)]
    for group in groups:
        for language in ("zh", "en"):
            names = [category.name[language] for category in group]
            assert len(set(names)) == len(names), names
            hints = [category.hint[language] for category in group if category.hint[language]]
            assert len(set(hints)) == len(hints), hints


@pytest.mark.parametrize("name", NAMES)
def test_the_tree_is_consistent(name: TaxonomyName) -> None:
    taxonomy = load_taxonomy(name)
    for key, category in taxonomy.items():
        assert key == category.id
        path = taxonomy.path(key)
        assert path[0].parent is None
        assert path[-1] == category
        assert [step.tier for step in path] == list(range(1, category.tier + 1))
        assert path == (*reversed(taxonomy.ancestors(key)), category)
        assert (category in taxonomy.leaves) == (not taxonomy.children(key))
        for child in taxonomy.children(key):
            assert child.parent == key
            assert child.tier == category.tier + 1
    below = sum(len(taxonomy.children(key)) for key in taxonomy)
    assert len(taxonomy.roots) + below == len(taxonomy)


def test_known_categories() -> None:
    ads = load_taxonomy("adproduct")
    assert (ads.version, len(ads), len(ads.roots)) == ("2.0", 583, 45)
    assert [step.id for step in ads.path("adproduct:1571")] == ["adproduct:1551", "adproduct:1568", "adproduct:1571"]
    assert ads["adproduct:1114"].name == {"zh": "手机及配件", "en": "Mobile Phones and Accessories"}
    content = load_taxonomy("content")
    assert (content.version, len(content)) == ("3.1", 704)
    assert [step.name["en"] for step in content.path("content:497")] == ["Sports", "Equine Sports", "Horse Racing"]
    assert content["content:v9i3On"].name["zh"] == "敏感话题"


@pytest.mark.parametrize("name", NAMES)
def test_the_table_agrees_with_the_published_taxonomy(name: TaxonomyName) -> None:
    file, header_lines, tiers = SOURCES[name]
    source = published(shared_data(f"taxonomy/{file}"), header_lines, tiers)
    taxonomy = load_taxonomy(name)
    assert set(taxonomy) == {f"{name}:{bare}" for bare in source}
    corrected: dict[str, str | None] = {}
    for bare, (parent, names) in source.items():
        category = taxonomy[f"{name}:{bare}"]
        assert tuple(step.name["en"] for step in taxonomy.path(category.id)) == names
        ours = category.parent.partition(":")[2] if category.parent else None
        if ours != (parent or None):
            corrected[bare] = ours
    assert corrected == CORRECTED[name]


def test_the_table_is_read_once() -> None:
    assert load_taxonomy("adproduct") is load_taxonomy("adproduct")


def test_unknown_names_and_ids_are_refused() -> None:
    unknown: Any = "audience"
    with pytest.raises(ArtifactError, match="no taxonomy"):
        load_taxonomy(unknown)
    taxonomy = load_taxonomy("content")
    for lookup in (taxonomy.__getitem__, taxonomy.children, taxonomy.ancestors, taxonomy.path):
        with pytest.raises(KeyError):
            lookup("adproduct:1551")
    assert taxonomy.get("content:absent") is None


def row(bare: str, parent: str) -> tuple[str, str, str, str, str, str]:
    return (bare, parent, f"name {bare}", f"名称{bare}", "", "")


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([row("1", "1")], "own ancestor"),
        ([row("1", "2"), row("2", "3"), row("3", "2")], "own ancestor"),
        ([row("1", "9")], "unknown parent"),
        ([row("1", ""), row("1", "")], "repeated"),
    ],
)
def test_a_broken_tree_is_refused(rows: list[tuple[str, str, str, str, str, str]], reason: str) -> None:
    with pytest.raises(ArtifactError, match=reason):
        Taxonomy("content", "0", rows)


@given(st.lists(st.integers(min_value=-1, max_value=60), max_size=40), st.randoms(use_true_random=False))
def test_any_forest_in_any_order_is_read(draws: list[int], random: Random) -> None:
    """Node i hangs below some earlier node or is a root; the order of the rows must not matter."""
    parents = [-1 if draw < 0 or place == 0 else draw % place for place, draw in enumerate(draws)]
    rows = [row(str(place), "" if parent < 0 else str(parent)) for place, parent in enumerate(parents)]
    random.shuffle(rows)
    taxonomy = Taxonomy("content", "0", rows)
    for place, parent in enumerate(parents):
        above = [] if parent < 0 else [f"content:{parent}", *(a.id for a in taxonomy.ancestors(f"content:{parent}"))]
        assert [category.id for category in taxonomy.ancestors(f"content:{place}")] == above
    assert {leaf.id for leaf in taxonomy.leaves} == {f"content:{i}" for i in range(len(parents)) if i not in parents}
