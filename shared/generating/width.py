"""How many columns a text takes: wide (East Asian) characters two, combining ones none."""

from __future__ import annotations

import unicodedata


def display_width(text: str) -> int:
    """Columns of `text`.

    >>> display_width("手机 A1")
    7
    """
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )
