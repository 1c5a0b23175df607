"""What consent is in force, from what the person said and the tenant's basis (DESIGN section 3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

from shared.domain import Consent


@dataclass(frozen=True, slots=True)
class Stated(Consent):
    """The consent in force after a statement.

    superseded: a later statement through the same id was there already, and still holds; or the person was erased since
    this one, which allows what they would have to allow anew. narrowed: sensitive interests that are not allowed any
    more may be in the profile that is stored.
    """

    superseded: bool = False
    narrowed: bool = False

    @classmethod
    def of(cls, consent: Consent, *, superseded: bool, narrowed: bool = False) -> Stated:
        said = {one.name: getattr(consent, one.name) for one in fields(Consent)}
        return cls(**said, superseded=superseded, narrowed=narrowed)


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds of all that was said through one id: of consent the latest, and of age the latest.

    consent: None before the first statement; its `minor` is what was last said of age. minor_at: when (epoch seconds)
    that was; None: never.
    """

    consent: Consent | None = None
    minor_at: float | None = None


def after(standing: Standing, said: Consent, minor: bool | None = None) -> Standing:
    """What holds with one statement more, whichever order the statements come in.

    The later statement holds; of two of one moment the refusal does, then that without sensitive interests. What was
    said of age holds until something else is said of it, and at one moment "under age" does.

    minor: what the statement says of age; None: nothing. ``said.minor`` is the same as True here.
    """
    before = standing.consent
    minor = True if said.minor else minor
    ages = [] if minor is None else [(said.at, minor)]
    if before is not None and standing.minor_at is not None:
        ages.append((standing.minor_at, before.minor))
    minor_at, under_age = max(ages) if ages else (None, False)
    candidates = [replace(one, minor=False) for one in (before, said) if one is not None]
    return Standing(replace(max(candidates, key=_order), minor=under_age), minor_at)


def _order(one: Consent) -> tuple[object, ...]:
    """Of two statements through one id that with more of this holds. It is of the whole statement, so that it does not
    matter which came first."""
    return (
        one.at,
        not one.personalisation,
        not one.sensitive,
        one.tcf or "",
        one.source,
        one.version or "",
        one.basis,
    )


def holds(said: Consent, standing: Standing) -> bool:
    """Whether this statement is the one that holds."""
    now = standing.consent
    return now is not None and _order(said) == _order(now)


def together(statements: Iterable[Consent | None]) -> Consent | None:
    """What the statements through all ids of one person come to: a refusal wins, else sensitive interests need every
    one of them. It carries the source and time of the strictest, the latest of several. None: nothing has been said."""
    made = [one for one in statements if one is not None]
    if not made:
        return None
    strictest = min(made, key=lambda one: (not refused(one), one.sensitive, -one.at))
    return replace(strictest, sensitive=all(one.sensitive for one in made), minor=any(one.minor for one in made))


def refused(consent: Consent) -> bool:
    """Whether nothing may be kept about somebody of whom this was said: no to personalisation, or that they are under
    age."""
    return not consent.personalisation or consent.minor


def in_force(said: Consent | None, basis: str) -> Consent:
    """The consent to act on. What the person said always wins, and that they are under age wins over it; without a word
    from them, ``asserted`` allows personalisation (never sensitive interests) and ``required`` allows nothing. Where
    personalisation is not allowed, sensitive interests are not either."""
    if said is not None:
        personalisation = said.personalisation and not said.minor
        return replace(said, personalisation=personalisation, sensitive=said.sensitive and personalisation)
    asserted = basis == "asserted"
    return Consent(
        personalisation=asserted,
        sensitive=False,
        source="tenant" if asserted else "none",
        at=0.0,
        basis="asserted" if asserted else "none",
    )


def purposes(consent: Consent) -> tuple[str, ...]:
    """The purposes granted, by name."""
    granted = {"personalisation": consent.personalisation, "sensitive": consent.personalisation and consent.sensitive}
    return tuple(name for name, yes in granted.items() if yes)
