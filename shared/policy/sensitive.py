"""The firewall around sensitive interests, keyed on taxonomy ids (data: ``sensitive.json``)."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path


@cache
def _roots() -> frozenset[str]:
    document = json.loads(Path(__file__).with_name("sensitive.json").read_text(encoding="utf-8"))
    return frozenset(f"{taxonomy}:{root}" for taxonomy, roots in document["roots"].items() for root in roots)


def is_sensitive(category_id: str, ancestors: Callable[[str], list[str]]) -> bool:
    """Whether a category or any of its ancestors is listed. `ancestors` gives a category's ancestors' ids."""
    roots = _roots()
    return category_id in roots or any(ancestor in roots for ancestor in ancestors(category_id))
