"""A person as the stores know them: one id, or several that are linked, and the profile of all of them."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain import Consent, Profile
from shared.policy.consent import together

NOT_COUNTED = -1


@dataclass(frozen=True, slots=True)
class Member:
    """One id of a person, with what was said and edited through it.

    head: number of its last event; folded: that of the last one in the person's profile, `NOT_COUNTED` where the
    profile leaves its events out. changes: how often its consent has changed. cut: events up to this number are gone,
    or going, since consent was withdrawn.
    """

    uid: str
    head: int = 0
    folded: int = 0
    consent: Consent | None = None
    disabled: frozenset[str] = frozenset()
    changes: int = 0
    cut: int = 0


@dataclass(frozen=True, slots=True)
class Person:
    """What is known of a person at one moment. `profile` is None before the first fold.

    uid: the id that was asked for. members: all ids of the person, sorted; it alone where it is not linked. group: that
    of the linked ids, else empty. folded_changes: how often consent had changed when the profile was made. there: False
    where nobody has this uid (any more). counted: ids of the interests that they are counted as holding; edited: names
    what was switched off when they were counted (`shared.stores.holding`).
    """

    uid: str
    members: tuple[Member, ...]
    profile: Profile | None
    folded_changes: int = 0
    group: str = ""
    there: bool = True
    counted: frozenset[str] = frozenset()
    edited: str = ""

    @property
    def uids(self) -> tuple[str, ...]:
        return tuple(member.uid for member in self.members)

    @property
    def consent(self) -> Consent | None:
        """What the person has said through any of the ids."""
        return together(member.consent for member in self.members)

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
