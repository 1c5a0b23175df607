"""A person as the stores know them: one id, or several that are linked, and the profile of all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from shared.domain import Consent, Profile

NOT_COUNTED = -1


@dataclass(frozen=True, slots=True)
class Member:
    """One id of a person, with what was said and edited through it.

    head: number of its last event; folded: that of the last one in the person's profile, `NOT_COUNTED` where the
    profile leaves its events out. changes: how often its consent has changed.
    """

    uid: str
    head: int = 0
    folded: int = 0
    consent: Consent | None = None
    disabled: frozenset[str] = frozenset()
    changes: int = 0


@dataclass(frozen=True, slots=True)
class Person:
    """What is known of a person at one moment. `profile` is None before the first fold.

    uid: the id that was asked for. members: all ids of the person, sorted; it alone where it is not linked. group: that
    of the linked ids, else empty. folded_changes: how often consent had changed when the profile was made.
    """

    uid: str
    members: tuple[Member, ...]
    profile: Profile | None
    folded_changes: int = 0
    group: str = ""

    @property
    def uids(self) -> tuple[str, ...]:
        return tuple(member.uid for member in self.members)

    @property
    def consent(self) -> Consent | None:
        """What the person has said through any of the ids."""
        return said([member.consent for member in self.members])

    @property
    def disabled(self) -> frozenset[str]:
        return frozenset().union(*(member.disabled for member in self.members))

    @property
    def changes(self) -> int:
        return sum(member.changes for member in self.members)

    @property
    def head(self) -> int:
        return sum(member.head for member in self.members)

    @property
    def folded(self) -> int:
        return sum(max(member.folded, 0) for member in self.members)

    @property
    def stale(self) -> bool:
        behind = any(NOT_COUNTED < member.folded < member.head for member in self.members)
        return behind or self.folded_changes < self.changes


def said(statements: Iterable[Consent | None]) -> Consent | None:
    """What several statements of one person come to: a refusal wins, else sensitive interests need every one of them.
    It carries the source and time of the strictest, the latest of several. None: nothing has been said."""
    made = [one for one in statements if one is not None]
    if not made:
        return None
    strictest = min(made, key=lambda one: (one.personalisation, one.sensitive, -one.at))
    return replace(strictest, sensitive=all(one.sensitive for one in made))
