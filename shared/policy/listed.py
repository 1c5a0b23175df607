"""Lists of taxonomy categories as data: each entry stands for the category and for all below it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path


@cache
def roots(name: str) -> frozenset[str]:
    """The ids (``adproduct:1001``) that the list ``{name}.json`` names."""
    document = json.loads(Path(__file__).with_name(f"{name}.json").read_text(encoding="utf-8"))
    return frozenset(f"{taxonomy}:{one['id']}" for taxonomy, listed in document["roots"].items() for one in listed)


def falls_under(name: str, category_id: str, ancestors: Callable[[str], list[str]]) -> bool:
    """Whether the list `name` names a category or any ancestor of it. ancestors: gives a category's ancestors' ids."""
    named = roots(name)
    return category_id in named or any(ancestor in named for ancestor in ancestors(category_id))
