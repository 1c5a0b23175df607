"""What was shown and clicked, read from the decision log: JSON Lines, gzipped or not, one decision a line.

An impression is a slot with an ``impression_at``; it was clicked where a click came within `WINDOW` seconds of it.
Impressions younger than the window are left out whole, clicked or not: counted at once, the late clicks would be
missing and the early ones would not (Chapelle 2014, "Modeling delayed feedback in display advertising"). A line that
cannot be used is counted by its reason and never stops the reading.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from shared.models.features import FEATURES, HISTORY_ITEMS, first_places

WINDOW = 86400.0  # seconds in which a click counts for its impression
_POSITION = FEATURES.index("position")


@dataclass(frozen=True)
class Impressions:
    """n impressions in order of time, of d decisions.

    columns: float32 (n, len(FEATURES)), the position that of the slot. clicked: bool (n,). at: epoch seconds (n,).
    ad: places in `ids` (n,). decision: places in `history` (n,). person: numbers, -1 for nobody known, (n,).
    propensity: of the ad in its slot under the policy that showed it (n,). history: places in `ids` of different items,
    the latest first, -1 where there is none, (d, HISTORY_ITEMS). ages: days, the same shape. ids: of ads and items.
    """

    columns: NDArray[np.float32]
    clicked: NDArray[np.bool_]
    at: NDArray[np.float64]
    ad: NDArray[np.int64]
    decision: NDArray[np.int64]
    person: NDArray[np.int64]
    propensity: NDArray[np.float64]
    history: NDArray[np.int64]
    ages: NDArray[np.float32]
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.at)

    @property
    def clicks(self) -> int:
        """How many were clicked."""
        return int(self.clicked.sum())


@dataclass(frozen=True)
class Told:
    """What reading met. left_out: impressions younger than the window. bad: lines that cannot be used, by reason.
    until: time of the last decision that is used, 0 where there is none."""

    lines: int
    decisions: int
    left_out: int
    bad: dict[str, int]
    until: float = 0.0

    def notes(self) -> list[str]:
        """For people, one a line."""
        found = [f"{self.lines:,} lines, {self.decisions:,} decisions"]
        if self.left_out:
            found.append(f"{self.left_out:,} impressions are younger than the attribution window: left out")
        return found + [f"{count:,} x {reason}: left out" for reason, count in self.bad.items()]


class _Unusable(ValueError):
    """A line cannot be used; the message says why, in words that many lines share."""


@dataclass(frozen=True)
class _Shown:
    ad_id: str
    columns: list[float]
    at: float
    clicked: bool
    propensity: float


@dataclass(frozen=True)
class _Line:
    decision_id: str
    at: float
    person: str | None
    history: list[str]
    ages: list[float]
    shown: list[_Shown]
    as_of: float


def read(paths: Sequence[Path], *, window: float = WINDOW, now: float | None = None) -> tuple[Impressions, Told]:
    """The impressions of a log's files. now: epoch seconds, by default the latest time in the log.

    A decision that is written twice counts once, as it was written last.
    """
    lines: dict[str, _Line] = {}
    bad: Counter[str] = Counter()
    total, newest = 0, -math.inf
    for path in paths:
        for text in _lines(path, bad):
            total += 1
            try:
                line = _parse(text, window)
            except _Unusable as error:
                bad[str(error)] += 1
                continue
            newest = max(newest, line.at, *(shown.at for shown in line.shown))
            if lines.pop(line.decision_id, None) is not None:
                bad["the same decision again, its last state counts"] += 1
            lines[line.decision_id] = line
    now = newest if now is None else now
    kept = [
        (line, shown)
        for line in lines.values()
        for shown in line.shown
        if shown.at <= min(now, line.as_of) - window  # a file knows no more than when it was written
    ]
    left_out = sum(len(line.shown) for line in lines.values()) - len(kept)
    kept.sort(key=lambda pair: (pair[1].at, pair[0].decision_id, pair[1].columns[_POSITION]))
    until = max((line.at for line, _ in kept), default=0.0)
    return _arrays(kept), Told(total, len(lines), left_out, dict(bad), until)


def _lines(path: Path, bad: Counter[str]) -> Iterator[bytes]:
    with path.open("rb") as probe:
        zipped = probe.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path, "rb") if zipped else path.open("rb") as file:
            for line in file:
                if line.strip():
                    yield line
    except (EOFError, gzip.BadGzipFile, zlib.error):
        bad["a gzip file that is damaged or ends too early: what is behind the damage"] += 1


def _parse(text: bytes, window: float) -> _Line:
    try:
        row = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise _Unusable("a line that is not JSON") from None
    try:
        decision_id, at, person = row["decision_id"], float(row["at"]), row["person"]
        history, ages = list(row["history"]), [float(age) for age in row["history_ages"]]
        # By ad alone: where the slots were turned, an ad was shown in another slot than its own.
        columns = {one["ad_id"]: one["features"] for one in row["candidates"]}
        slots = [(slot, slot["ad_id"], int(slot["slot"])) for slot in row["slots"] if slot["impression_at"] is not None]
        shown = [_shown(slot, columns[ad_id], place, window) for slot, ad_id, place in slots]
    except (KeyError, TypeError, AttributeError) as error:
        raise _Unusable(f"a line without what is needed ({type(error).__name__}: {error})") from None
    except _Unusable:
        raise
    except ValueError:
        raise _Unusable("a line whose numbers are not numbers") from None
    names = [decision_id, *history, *(one.ad_id for one in shown), *([] if person is None else [person])]
    if not all(isinstance(name, str) for name in names):
        raise _Unusable("a line whose ids are not texts")
    if len(history) != len(ages) or not all(map(math.isfinite, [at, *ages])):
        raise _Unusable("a line whose history has not an age for each item")
    as_of = float(row.get("as_of") or math.inf)
    places = first_places(history)
    history, ages = [history[place] for place in places], [ages[place] for place in places]
    return _Line(decision_id, at, person, history, ages, shown, as_of)


def _shown(slot: dict[str, Any], features: list[Any], place: int, window: float) -> _Shown:
    columns = [float(value) for value in features]
    if len(columns) != len(FEATURES):
        raise _Unusable(f"a line with {len(columns)} features; this version has {len(FEATURES)}")
    if place < 1:
        raise _Unusable("a line with a slot below 1, the first")
    at, propensity = float(slot["impression_at"]), float(slot["propensity"])
    if not all(map(math.isfinite, [at, *columns])):
        raise _Unusable("a line with a number that is not finite")
    if not 0 < propensity <= 1:
        raise _Unusable("a line with a propensity outside (0, 1]")
    columns[_POSITION] = math.log2(1 + place)
    late = None if slot["click_at"] is None else float(slot["click_at"]) - at
    return _Shown(slot["ad_id"], columns, at, late is not None and late <= window, propensity)


def _arrays(kept: list[tuple[_Line, _Shown]]) -> Impressions:
    ids: dict[str, int] = {}
    people: dict[str, int] = {}
    decisions: dict[str, int] = {}
    history: list[list[int]] = []
    ages: list[list[float]] = []
    for line, _ in kept:
        if line.decision_id not in decisions:
            decisions[line.decision_id] = len(decisions)
            known = [ids.setdefault(name, len(ids)) for name in line.history]
            spare = HISTORY_ITEMS - len(known)
            history.append(known + [-1] * spare)
            ages.append([max(age, 0.0) for age in line.ages] + [0.0] * spare)
    count = len(kept)
    return Impressions(
        columns=np.array([shown.columns for _, shown in kept], np.float32).reshape(count, len(FEATURES)),
        clicked=np.array([shown.clicked for _, shown in kept], bool),
        at=np.array([shown.at for _, shown in kept], np.float64),
        ad=np.array([ids.setdefault(shown.ad_id, len(ids)) for _, shown in kept], np.int64),
        decision=np.array([decisions[line.decision_id] for line, _ in kept], np.int64),
        person=np.array(
            [-1 if line.person is None else people.setdefault(line.person, len(people)) for line, _ in kept], np.int64
        ),
        propensity=np.array([shown.propensity for _, shown in kept], np.float64),
        history=np.array(history, np.int64).reshape(len(history), HISTORY_ITEMS),
        ages=np.array(ages, np.float32).reshape(len(ages), HISTORY_ITEMS),
        ids=tuple(ids),
    )
