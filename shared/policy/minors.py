"""What minors are never shown, keyed on taxonomy ids (data: ``minors.json``, with what each entry rests on)."""

from __future__ import annotations

from collections.abc import Callable

from shared.policy.listed import falls_under


def is_restricted(category_id: str, ancestors: Callable[[str], list[str]]) -> bool:
    """Whether a category or any of its ancestors is listed. `ancestors` gives a category's ancestors' ids."""
    return falls_under("minors", category_id, ancestors)
