"""Decisions as the decision log has them (`shared.decision_log`), read for off-policy estimates and reports.

A line that cannot be used is counted by its reason and never stops the reading. Decisions younger than the window in
which feedback counts are left out: their late clicks are missing, their early ones are not.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

import numpy as np
import orjson

from shared.models.features import FEATURES, LONGEST_HISTORY

MOST_CANDIDATES = 2_000_000  # that are held of a log, about a gigabyte
WINDOW = 86400.0  # seconds from its impression in which a click counts


@dataclass(frozen=True, slots=True)
class Candidate:
    """An ad that had a chance: its own slot (from 0; the log counts from 1), and the chance before the rotation."""

    ad_id: str
    campaign_id: str | None
    labels: frozenset[str]
    slot: int
    chance: float


@dataclass(frozen=True, slots=True)
class Shown:
    """What filled a slot (from 0). reward: whether the metric's act came in the window; seen: whether it was seen."""

    slot: int
    ad_id: str
    reward: bool
    seen: bool


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision. columns: float32 (candidates, `FEATURES`). ranker: version that scored it, empty where unknown."""

    decision_id: str
    at: float
    person: str | None
    ranker: str
    epsilon: float
    rotation: float
    candidates: tuple[Candidate, ...]
    columns: np.ndarray
    shown: tuple[Shown, ...]
    segments: tuple[str, ...]
    history: tuple[str, ...]
    ages: tuple[float, ...]
    as_of: float  # when its line was written: feedback that came later is not in it
    counts_as: str | None = None  # who is counted for it: the same for all ids of a person

    @property
    def explored(self) -> bool:
        """Whether chance had a part in it."""
        return self.epsilon > 0 or self.rotation > 0


@dataclass(slots=True)
class Told:
    """What reading met. bad: lines that cannot be used, by reason. rankers: decisions by the version that scored.
    share: of the people whose decisions were kept, where the log is too large to hold all."""

    lines: int = 0
    decisions: int = 0
    young: int = 0
    unseen: int = 0
    without_exploration: int = 0
    redrawn: int = 0
    share: float = 1.0
    bad: Counter[str] = field(default_factory=Counter)
    rankers: Counter[str] = field(default_factory=Counter)
    digest: str = ""

    def notes(self) -> list[str]:
        """For people, one a line."""
        found = [f"{self.lines:,} lines, {self.decisions:,} decisions that can be used"]
        if self.share < 1:
            found.append(f"the log is too large to hold: the decisions of a random {self.share:.2%} of the people")
        if self.young:
            found.append(f"{self.young:,} decisions are younger than the window in which clicks count: left out")
        if self.unseen:
            found.append(f"{self.unseen:,} decisions that nobody saw: left out")
        if self.without_exploration:
            found.append(f"{self.without_exploration:,} decisions without exploration tell nothing of others: left out")
        if self.redrawn:
            found.append(f"{self.redrawn:,} decisions were drawn again without an ad that was out of budget")
        if len(self.rankers) > 1:
            known = ", ".join(f"{count:,} of {name or 'none'}" for name, count in self.rankers.most_common())
            found.append(f"several rankers decided: {known}; each decision counts by its own chances")
        return found + [f"{count:,} x {reason}: left out" for reason, count in self.bad.most_common()]


class _Unusable(ValueError):
    """A line cannot be used; the message says why, in words that many lines share."""


def read(
    files: Iterable[tuple[str, BinaryIO]],
    *,
    now: float,
    window: float = WINDOW,
    metric: str = "click",
    explored_only: bool = True,
    most: int = MOST_CANDIDATES,
) -> tuple[list[Decided], Told]:
    """The decisions of a log's files (name and content, gzipped or not), in order of time.

    metric: the act that is the reward. A decision that is there twice counts once, as it was written last.
    explored_only: without decisions that chance had no part in. most: candidates that are held at once: of a log with
    more, all decisions of a part of the people, chosen by their hash.
    """
    told = Told()
    digest = hashlib.sha256()
    found: dict[str, Decided] = {}
    held = 0
    for name, file in files:
        digest.update(name.rsplit("/", 1)[-1].encode() + b"\n")
        for text in _lines(file, told.bad, digest):
            told.lines += 1
            try:
                one, redrawn = _parse(text, metric, window)
            except _Unusable as error:
                told.bad[str(error)] += 1
                continue
            if (before := found.pop(one.decision_id, None)) is not None:
                told.bad["the same decision again, its last state counts"] += 1
                held -= len(before.candidates)
            else:
                told.redrawn += redrawn
            if _place_of(one) >= told.share:
                continue
            found[one.decision_id] = one
            held += len(one.candidates)
            while held > most:
                told.share /= 2
                found = {name: one for name, one in found.items() if _place_of(one) < told.share}
                held = sum(len(one.candidates) for one in found.values())
    kept = []
    for one in sorted(found.values(), key=lambda one: (one.at, one.decision_id)):
        if one.at > min(now, one.as_of) - window:
            told.young += 1
        elif not any(shown.seen for shown in one.shown):
            told.unseen += 1
        elif explored_only and not one.explored:
            told.without_exploration += 1
        else:
            kept.append(one)
            told.rankers[one.ranker] += 1
    told.decisions = len(kept)
    told.digest = digest.hexdigest()
    return kept, told


def _place_of(one: Decided) -> float:
    """Where a person stands between 0 and 1, at random and always the same; of whom nothing is said, their decision."""
    name = one.counts_as or one.decision_id
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) / 2.0**64


def _lines(file: BinaryIO, bad: Counter[str], digest: Any) -> Iterator[bytes]:
    head = file.read(2)
    plain = file.read
    joined: BinaryIO = _Rejoined(head, plain)  # type: ignore[assignment]
    try:
        for line in gzip.GzipFile(fileobj=joined) if head == b"\x1f\x8b" else _split(joined):
            digest.update(line)
            if line.strip():
                yield line
    except (EOFError, gzip.BadGzipFile, zlib.error):
        bad["a gzip file that is damaged or ends too early: what is behind the damage"] += 1


class _Rejoined:
    """A stream whose first bytes were looked at."""

    def __init__(self, head: bytes, rest: Any) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int = -1) -> bytes:
        if not self._head:
            return bytes(self._rest(size))
        taken = self._head if size < 0 else self._head[:size]
        self._head = self._head[len(taken) :]
        return taken + (bytes(self._rest(size - len(taken))) if size > len(taken) or size < 0 else b"")


def _split(file: BinaryIO) -> Iterator[bytes]:
    kept = b""
    while block := file.read(1 << 20):
        *lines, kept = (kept + block).split(b"\n")
        yield from (line + b"\n" for line in lines)
    if kept:
        yield kept


def _parse(text: bytes, metric: str, window: float) -> tuple[Decided, bool]:
    try:
        row = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise _Unusable("a line that is not JSON") from None
    try:
        candidates = tuple(
            Candidate(
                str(one["ad_id"]),
                one["campaign_id"],
                frozenset(one.get("labels") or ()),
                int(one["slot"]) - 1,
                float(one["propensity"]),
            )
            for one in row["candidates"]
        )
        with np.errstate(over="ignore"):
            columns = np.array([one["features"] for one in row["candidates"]], dtype=np.float32)
        shown = tuple(_shown(slot, metric, window) for slot in row["slots"])
        versions = {one["name"]: str(one["version"]) for one in row["versions"]}
        decided = Decided(
            decision_id=str(row["decision_id"]),
            at=float(row["at"]),
            person=row["person"],
            ranker=versions.get("ranker", ""),
            epsilon=float(row["epsilon"]),
            rotation=float(row.get("rotation") or 0.0),
            candidates=candidates,
            columns=columns,
            shown=shown,
            segments=tuple(map(str, row.get("segments") or ())),
            history=tuple(map(str, row["history"])),
            ages=tuple(map(float, row["history_ages"])),
            as_of=float(row.get("as_of") or math.inf),
            counts_as=row.get("counts_as") or row["person"],
        )
        redrawn = int(row.get("redraws") or 0) > 0
    except (KeyError, TypeError, AttributeError) as error:
        raise _Unusable(f"a line without what is needed ({type(error).__name__}: {error})") from None
    except ValueError:
        raise _Unusable("a line whose numbers are not numbers") from None
    _check(decided)
    # No scorer reads more, and all decisions are held at once.
    history, ages = decided.history[:LONGEST_HISTORY], decided.ages[:LONGEST_HISTORY]
    return replace(decided, history=history, ages=ages), redrawn


def _shown(slot: dict[str, Any], metric: str, window: float) -> Shown:
    seen, acted = slot["impression_at"], slot[f"{metric}_at"]
    # An act tells that the ad was seen, where the news of that was lost.
    first = acted if seen is None else seen
    reward = acted is not None and float(acted) - float(first) <= window
    return Shown(int(slot["slot"]) - 1, str(slot["ad_id"]), reward, first is not None)


def _check(one: Decided) -> None:
    """Raises `_Unusable` where the line contradicts itself."""
    slots = len(one.shown)
    if not slots or not one.candidates:
        raise _Unusable("a line of a decision that showed nothing")
    if not isinstance(one.person, str | None) or not isinstance(one.counts_as, str | None):
        raise _Unusable("a line whose ids are not texts")
    if not np.isfinite(one.columns).all() or not all(map(math.isfinite, one.ages)):
        raise _Unusable("a line with a number that is not finite")
    if one.columns.shape != (len(one.candidates), len(FEATURES)):
        raise _Unusable(f"a line whose features are not the {len(FEATURES)} of this version")
    chances = np.zeros(slots)
    for candidate in one.candidates:
        if not 0 <= candidate.slot < slots or not 0 < candidate.chance <= 1:
            raise _Unusable("a line with a candidate outside its slots, or a propensity outside (0, 1]")
        chances[candidate.slot] += candidate.chance
    if np.abs(chances - 1).max() > 1e-3:
        raise _Unusable("a line whose propensities do not add up to 1 in each slot")
    known = {candidate.ad_id for candidate in one.candidates}
    if sorted(shown.slot for shown in one.shown) != list(range(slots)) or not {s.ad_id for s in one.shown} <= known:
        raise _Unusable("a line that showed what was no candidate, or slots that are not numbered from 1")
    if len(known) != len(one.candidates):
        raise _Unusable("a line with the same candidate twice")
    if not (0 <= one.epsilon < 1 and 0 <= one.rotation <= 1 and math.isfinite(one.at)):
        raise _Unusable("a line with an epsilon, a rotation or a time that is none")
    if len(one.history) != len(one.ages):
        raise _Unusable("a line whose history has not an age for each item")
