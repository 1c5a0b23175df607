"""What a domain means in numbers (data: ``presets.json``): how much each event counts and for how long, and the
taxonomy its interests are named in.

A file that does not fit is refused at its first use, with every field that is wrong.
"""

from __future__ import annotations

import zlib
from functools import cache
from math import log10
from pathlib import Path
from typing import Annotated, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from shared.domain import DOMAINS, EVENT_TYPES
from shared.errors import ArtifactError

DEFAULT_DOMAIN = "ecommerce"
DISMISS = "dismiss"
FILE = Path(__file__).with_name("presets.json")

Positive = Annotated[float, Field(gt=0, lt=1e6, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Dismissal(_Part):
    """weight: how much one dismissal takes away, in units of evidence; half_life_days: how long it does."""

    weight: Positive
    half_life_days: Positive


class ValueWeight(_Part):
    """How an event's `value` raises its weight: by ``1 + log10(1 + value / reference)``, at most `most`-fold.

    reference: what is an ordinary value, in the tenant's currency. A value says little across currencies and shops, so
    it enters as a logarithm and capped.
    """

    events: frozenset[str]
    reference: Positive
    most: Annotated[float, Field(ge=1, le=10)]


class Preset(_Part):
    """One domain. Weights are in units of evidence, of which one view in e-commerce is 1.

    session_gap_minutes: a session ends after so long without an event. least_share: an interest with less of a term's
    evidence is noise. taxonomy: what names the domain's interests.
    """

    event_weights: dict[str, Positive]
    long_half_life_days: Positive
    session_half_life_minutes: Positive
    session_gap_minutes: Positive
    dismissal: Dismissal
    value: ValueWeight
    taxonomy: Literal["adproduct", "content"]
    least_share: Annotated[float, Field(ge=0, lt=0.5)]

    @model_validator(mode="after")
    def _every_event(self) -> Preset:
        known = set(EVENT_TYPES) - {DISMISS}
        if missing := sorted(known - self.event_weights.keys()):
            raise ValueError(f"event_weights has no {', '.join(missing)}")
        if unknown := sorted((self.event_weights.keys() | self.value.events) - known):
            raise ValueError(f"{', '.join(unknown)}: no event that speaks for an interest")
        return self

    @property
    def long_half_life(self) -> float:
        """Seconds."""
        return self.long_half_life_days * 86400

    @property
    def session_gap(self) -> float:
        """Seconds."""
        return self.session_gap_minutes * 60

    def weight(self, event: str, value: float | None = None) -> float:
        """Evidence that one event is for an interest; not for `DISMISS`, which is never for one (`dismissal`)."""
        weight = self.event_weights[event]
        if value is None or not value > 0 or event not in self.value.events:
            return weight
        return weight * min(self.value.most, 1 + log10(1 + value / self.value.reference))


def parse_presets(document: bytes) -> dict[str, Preset]:
    """The presets in a JSON document, by domain.

    Raises:
        ArtifactError: it is no JSON, lacks a domain or a field, or has a value out of range; names each place.
    """
    try:
        found = TypeAdapter(dict[Literal["ecommerce", "social", "education", "health"], Preset]).validate_json(document)
    except ValidationError as error:
        places = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'document'}: {e['msg']}" for e in error.errors())
        raise ArtifactError(f"presets: {places}") from error
    if missing := [domain for domain in DOMAINS if domain not in found]:
        raise ArtifactError(f"presets: no {', '.join(missing)}")
    return {domain: found[domain] for domain in DOMAINS}


@cache
def presets() -> dict[str, Preset]:
    """Presets by domain, read once."""
    return parse_presets(FILE.read_bytes())


@cache
def half_lives(domain: str) -> tuple[float, float, float]:
    """Of long-term evidence, of session evidence and of evidence against an item, in seconds."""
    terms = presets()[domain]
    return terms.long_half_life, terms.session_half_life_minutes * 60, terms.dismissal.half_life_days * 86400


@cache
def presets_version() -> str:
    """Changes with every number in the presets: what was summed under other numbers has to be summed anew."""
    document = orjson.dumps(orjson.loads(FILE.read_bytes()), option=orjson.OPT_SORT_KEYS)
    return f"{zlib.crc32(document):08x}"


def preset(domain: str | None) -> Preset:
    """The preset of a domain; an event that names none counts as e-commerce."""
    return presets()[domain or DEFAULT_DOMAIN]
