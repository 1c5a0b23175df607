"""The firewall around sensitive interests, keyed on taxonomy ids (data: ``sensitive.json``)."""

from __future__ import annotations

from collections.abc import Callable

from shared.policy.listed import falls_under


def is_sensitive(category_id: str, ancestors: Callable[[str], list[str]]) -> bool:
    """Whether a category or any of its ancestors is listed. `ancestors` gives a category's ancestors' ids."""
    return falls_under("sensitive", category_id, ancestors)
