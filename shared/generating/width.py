"""How many columns a text takes, and how many a channel has."""

from __future__ import annotations

from shared.domain import Language
from shared.policy.editorial import columns as display_width
from shared.policy.rules import channels

__all__ = ["display_width", "room_in"]


def room_in(channel: str, language: Language) -> int:
    """Columns that a text of the language may take in the channel.

    A limit in characters is one in columns for letters, and in half as many Chinese characters.
    """
    place = channels()[channel]
    if place.limit is None:
        return place.width
    limit = place.limit * 2 if place.unit == "characters" and language == "zh" else place.limit
    return min(place.width, limit)
