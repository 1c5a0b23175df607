"""What a domain means in numbers: event weights, half-lives and the taxonomy its interests are named in (data)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

DEFAULT_DOMAIN = "ecommerce"


@dataclass(frozen=True, slots=True)
class Preset:
    """event_weights: evidence that one event is of an interest (negative: against it); half-lives of that evidence."""

    event_weights: dict[str, float]
    long_half_life_days: float
    session_half_life_minutes: float
    taxonomy: str

    @property
    def long_half_life(self) -> float:
        """Seconds."""
        return self.long_half_life_days * 86400

    @property
    def session_half_life(self) -> float:
        """Seconds."""
        return self.session_half_life_minutes * 60


@cache
def presets() -> dict[str, Preset]:
    """Presets by domain, read once."""
    document = json.loads(Path(__file__).with_name("presets.json").read_text(encoding="utf-8"))
    return {domain: Preset(**values) for domain, values in document.items()}


def preset(domain: str | None) -> Preset:
    """The preset of a domain; an event that names none counts as e-commerce."""
    return presets()[domain or DEFAULT_DOMAIN]
