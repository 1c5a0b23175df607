"""What consent is in force, from what the person said and the tenant's basis (DESIGN section 3)."""

from __future__ import annotations

from dataclasses import replace

from shared.domain import Consent


def in_force(said: Consent | None, basis: str) -> Consent:
    """The consent to act on. What the person said always wins, and that they are under age wins over it; without a word
    from them, ``asserted`` allows personalisation (never sensitive interests) and ``required`` allows nothing."""
    if said is not None:
        return replace(said, personalisation=False, sensitive=False) if said.minor else said
    asserted = basis == "asserted"
    return Consent(
        personalisation=asserted,
        sensitive=False,
        source="tenant" if asserted else "none",
        at=0.0,
        basis="asserted" if asserted else "none",
    )
