"""Figures about people that may be published: rounded so that no difference of any two shows a small group.

A report that leaves small groups out still tells of them by subtraction: of a total and its parts, of a segment and the
one above it, of this week's report and last week's, of the same report before and after one person left. Leaving out
more (complementary suppression) closes one such table at a time. So figures are perturbed instead:

- **One partition of time.** Figures are of whole weeks (Monday, UTC), each counted by itself, once it is over and its
  clicks are in. Longer reports are sums of weeks that are published anyway, and windows that overlap do not exist: what
  two reports differ by is a report.
- **One person, one bounded part.** Of one person at most so many impressions and clicks count in a figure in a week.
- **Random rounding to a step that k people's parts make.** A figure is a multiple of ``k * bound``, the one below or
  the one above at random so that its mean is right (Fellegi 1975; "unbiased random rounding" in Willenborg and de Waal,
  Elements of Statistical Disclosure Control, 2001, section 9.2). So every sum and difference of published figures is a
  multiple of it too, and never one of fewer than k people's.
- **The same every time.** What is random comes from a secret key and the name of the figure, so that asking again
  cannot average it away (the cell keys of Fraser and Wooton, 2005, for the same purpose), and a person more or less
  changes a figure with a chance of 1 / k at most.
- **No sharp floor.** A row is told where its people round to `TOLD_FROM` floors or more, so that it is about more than
  k people at least, and where it begins to be told depends on the key as well.

What remains: a step up is evidence (of weight 1 / k at most a figure) that somebody came, and who can make up people
and wait a week a try learns at which number a figure rounds up; figures of segments that hold the same people are
rounded independently, so many of them together say more than one does (Asghar and Kaafar, Averaging Attacks on Bounded
Noise-based Disclosure Control Algorithms, PETS 2020).
"""

from __future__ import annotations

import hmac
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from tempfile import gettempdir
from typing import Protocol

from shared.settings import Settings
from shared.stores import file_key, secret_key

WEEK = 7 * 86400
MONDAY = 4 * 86400  # the first one of the epoch, which began on a Thursday
SETTLED = 2 * 3600  # after the last click that counts: by then the log's files of it have been written again
TOLD_FROM = 2  # floors that a row's people must round to


class Rounding(Protocol):
    """How a count becomes a figure: the multiple of `step` below it or above it. mark: names the figure."""

    def __call__(self, count: int, step: int, *mark: str) -> int: ...


class KeyedRounding:
    """Unbiased random rounding, by a secret key, whose figure it is (`scope`: a tenant) and what it is called: the same
    each time. Of two tenants' figures of one name nobody learns from the one how the other was rounded."""

    def __init__(self, key: bytes, scope: str = "") -> None:
        self._key = key
        self._scope = scope

    def __call__(self, count: int, step: int, *mark: str) -> int:
        return rounded(count, step, self._share("\x1f".join(mark)))

    def _share(self, mark: str) -> float:
        digest = hmac.new(self._key, f"disclosure\x1f{self._scope}\x1f{mark}".encode(), sha256).digest()
        return int.from_bytes(digest[:8]) / 2**64


def rounded(count: int, step: int, share: float) -> int:
    """`count` rounded down to a multiple of `step`, or up where its rest is more than this share of the step. For a
    share that is uniform in [0, 1) the mean of it is `count`."""
    whole, rest = divmod(count, step)
    return step * (whole + (rest > share * step))


def rounding_of(settings: Settings, tenant: str) -> KeyedRounding:
    """Of a tenant's figures, by the deployment's pseudonym key, which no reader of a report has.

    Raises:
        Unavailable: it cannot be had.
    """
    if settings.pseudonym_secret_id:
        import boto3

        return KeyedRounding(secret_key(boto3.client("secretsmanager"), settings.pseudonym_secret_id), tenant)
    return KeyedRounding(
        file_key(Path(settings.pseudonym_key_file or f"{gettempdir()}/adtailor-pseudonym.key")), tenant
    )


def week_of(at: float) -> int:
    """The number of the week that epoch second `at` is in."""
    return int((at - MONDAY) // WEEK)


def week_name(week: int) -> str:
    """The date of its Monday."""
    return f"{datetime.fromtimestamp(MONDAY + week * WEEK, UTC):%Y-%m-%d}"


def settled(week: int, now: float, window: float) -> bool:
    """Whether nothing more is to come of a week, so that what is published of it stays as it is. window: seconds in
    which a click counts."""
    return now >= MONDAY + (week + 1) * WEEK + window + SETTLED


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that one person counts for in one figure of a week."""

    impressions: int
    clicks: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What is published of a row: multiples of ``k``, ``k * bounds.impressions`` and ``k * bounds.clicks``. Those of
    several weeks are sums; people of two weeks count twice."""

    people: int = 0
    impressions: int = 0
    clicks: int = 0

    def __add__(self, other: Figures) -> Figures:
        return Figures(self.people + other.people, self.impressions + other.impressions, self.clicks + other.clicks)


@dataclass(slots=True)
class Counted:
    """What people saw and clicked in one row of one week, by person."""

    parts: dict[Hashable, list[int]] = field(default_factory=dict)

    def add(self, person: Hashable, clicked: bool) -> None:
        part = self.parts.setdefault(person, [0, 0])
        part[0] += 1
        part[1] += clicked

    @property
    def impressions(self) -> int:
        """All of them, whoever saw them."""
        return sum(part[0] for part in self.parts.values())

    def figures(self, k_floor: int, bounds: Bounds, rounding: Rounding, *mark: str) -> Figures | None:
        """What may be published of it; None where nothing may."""
        people = rounding(len(self.parts), k_floor, "people", *mark)
        if people < TOLD_FROM * k_floor:
            return None
        impressions = sum(min(part[0], bounds.impressions) for part in self.parts.values())
        clicks = sum(min(part[1], bounds.clicks) for part in self.parts.values())
        return Figures(
            people,
            rounding(impressions, k_floor * bounds.impressions, "impressions", *mark),
            rounding(clicks, k_floor * bounds.clicks, "clicks", *mark),
        )
