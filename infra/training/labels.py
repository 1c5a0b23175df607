"""Rows of a labels file, ready to train on: cleaned as in serving, and split by label.

What the file may be: JSON Lines or CSV (``.csv``), gzipped or not, in UTF-8, UTF-16 with its mark or GB18030 (the rule:
`encodings`), with the fields or columns ``text`` and ``label``; other fields are not looked at.

Refused, with a `LabelsError` that names the line: a line that is not an object, not JSON, longer than 1 MiB, with half
of a surrogate pair or with a NUL byte; a text that is no string; a label that is neither a string nor a whole number
(true, false and fractions are not classes) or longer than `LONGEST_LABEL`; damaged gzip; an empty file; more than
`MOST_ROWS` rows, or than `MOST_LABELS` labels (the limits of an upload, `shared.labels`); where the rows are to be
trained on also one label alone, and mostly labels of a single row (that column is a text or a number, not a class).

Kept or left out by rule, each with a note in `Rows.notes`:

- a row without text, or with nothing left of it once cleaned, is left out; more than half such rows are refused;
- a row without label is left out; more than `UNLABELLED_SHARE` such rows (more than 1 %) are refused;
- a text is cut to `LONGEST_TEXT` characters, as serving does, and the tokenizer reads its beginning only;
- rows that occur more than once are kept, and count that often;
- one text under several labels keeps all its rows: they tell the head how sure it may be. `split` never parts them;
- a label with one row is trained on, and never held out, so that nothing measures it;
- labels that differ by case, width or spaces alone are different labels.

White space around a label is not part of it; 3 and "3" are one label.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from infra.training.encodings import UnreadableFile, Utf8Stream
from shared.labels import LONGEST_LABEL, MOST_LABELS, MOST_ROWS
from shared.preprocess import clean_text
from shared.uploads import Row, StreamProblem, read_rows

DEV_SHARE = 0.1  # of the rows, held out where no development file is given
LONGEST_TEXT = 2000
UNLABELLED_SHARE = 0.01
TEXTLESS_SHARE = 0.5
FEW_LABELS = 50  # so many may have a single row each
_SHOWN = 3

Part = Literal["train", "dev", "test"]
Damaged = Literal["refuse", "leave_out"]


class LabelsError(ValueError):
    """The file cannot be trained or measured on; the message names the file, the line and what to do."""


@dataclass(frozen=True)
class Rows:
    """Texts and their labels, of one length. notes: sentences about what was left out of the file, cut or doubtful."""

    texts: list[str]
    labels: list[str]
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __len__(self) -> int:
        return len(self.texts)

    def __add__(self, other: Rows) -> Rows:
        return Rows(self.texts + other.texts, self.labels + other.labels, self.notes + other.notes)

    def take(self, places: Sequence[int] | NDArray[np.int64]) -> Rows:
        """The rows at `places`, without notes."""
        return Rows([self.texts[place] for place in places], [self.labels[place] for place in places])

    def classes(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Each row's place in `names`, -1 where its label is none of them."""
        place = {name: index for index, name in enumerate(names)}
        return np.array([place.get(label, -1) for label in self.labels], np.int64)


def read_labels(path: Path, part: Part = "train", *, damaged: Damaged = "refuse") -> Rows:
    """The rows of a labels file by the rules above.

    part: only ``train`` needs two labels, and gets notes about them. damaged: with ``leave_out``, a row that would
    refuse the file is left out with a note, as an upload's check leaves it out.

    Raises:
        LabelsError: the file cannot be used.
    """
    texts: list[str] = []
    labels: list[str] = []
    seen: dict[str, str] = {}  # one object for each label, however many rows have it
    left = _LeftOut(path.name)
    for line, value in _rows(path, frozenset({"text", "label"}), left, damaged):
        text, label = _text(value, line, left, damaged), _label(value)
        if isinstance(label, _Wrong):
            left.refused(line, label.reason, damaged)
        elif text is not None:
            if not label:
                left.unlabelled.append(line)
                continue
            texts.append(text)
            labels.append(seen.setdefault(label, label))
            if len(seen) > MOST_LABELS:
                raise LabelsError(
                    f"{path.name}, line {line}: more than {MOST_LABELS:,} different labels: is the label column a "
                    "text or an id? A label is a class that many rows share"
                )
    left.check(len(texts))
    notes = left.notes()
    if part == "train":
        _trainable(path.name, labels)
        notes += _doubts(texts, labels)
    return Rows(texts, labels, tuple(notes))


def read_texts(path: Path, *, damaged: Damaged = "refuse") -> list[str]:
    """The cleaned texts of a file without labels (rows ``{"text"}``), read by the same rules; empty ones are left out.

    Raises:
        LabelsError: the file cannot be used.
    """
    left = _LeftOut(path.name)
    texts = []
    for line, value in _rows(path, frozenset({"text"}), left, damaged):
        if (text := _text(value, line, left, damaged)) is not None:
            texts.append(text)
    left.check(len(texts))
    return texts


@dataclass
class _LeftOut:
    """The rows that do not become any, by line, and how many texts are long."""

    name: str
    textless: list[int] = field(default_factory=list)
    unlabelled: list[int] = field(default_factory=list)
    damaged: list[tuple[int, str]] = field(default_factory=list)
    long: int = 0

    def refused(self, line: int, reason: str, damaged: Damaged) -> None:
        if damaged == "refuse":
            raise LabelsError(f"{self.name}, line {line}: {reason}")
        self.damaged.append((line, reason))

    def check(self, kept: int) -> None:
        """Raises `LabelsError` where too much was left out."""
        total = kept + len(self.textless) + len(self.unlabelled) + len(self.damaged)
        for lines, share, what in (
            (self.unlabelled, UNLABELLED_SHARE, "label"),
            (self.textless, TEXTLESS_SHARE, "text"),
        ):
            if len(lines) > share * total or (lines and not kept):
                raise LabelsError(
                    f"{self.name}, line {lines[0]}: no {what}; so are {len(lines):,} of {total:,} rows, and at most "
                    f"{share:.0%} may be"
                )
        if not kept:
            line, reason = self.damaged[0] if self.damaged else (1, "no rows")
            raise LabelsError(f"{self.name}, line {line}: {reason}; no row can be used")

    def notes(self) -> list[str]:
        notes = []
        for lines, what in ((self.textless, "no text"), (self.unlabelled, "no label")):
            if lines:
                notes.append(f"{_rows_of(len(lines))} had {what} and were left out, the first on line {lines[0]}.")
        if self.damaged:
            line, reason = self.damaged[0]
            notes.append(f"{_rows_of(len(self.damaged))} were left out; the first, line {line}: {reason}")
        if self.long:
            notes.append(
                f"{_rows_of(self.long)} had a text of more than {LONGEST_TEXT:,} characters: its beginning is read."
            )
        return notes


def _rows_of(count: int) -> str:
    return f"{count:,} rows" if count != 1 else "1 row"


@dataclass(frozen=True)
class _Wrong:
    """Why a value is no label."""

    reason: str


def _rows(path: Path, needed: frozenset[str], left: _LeftOut, damaged: Damaged) -> Iterator[tuple[int, dict[str, Any]]]:
    """The file's objects with their lines."""
    table = path.name.lower().removesuffix(".gz").endswith(".csv")
    read = 0
    try:
        for row in read_rows(Utf8Stream(path), "rows.csv" if table else "rows.jsonl", needed):
            if isinstance(row, StreamProblem):
                raise LabelsError(f"{path.name}, line {row.line}: {row.reason}")
            read += 1
            if read > MOST_ROWS:
                raise LabelsError(f"{path.name}: more than {MOST_ROWS:,} rows")
            if isinstance(row, Row):
                yield row.line, row.value
            else:
                left.refused(row.index, row.reason, damaged)
    except UnreadableFile as error:
        raise LabelsError(f"{path.name}: {error}") from error


def _text(value: dict[str, Any], line: int, left: _LeftOut, damaged: Damaged) -> str | None:
    """The cleaned text, or None where the row has none."""
    text = value.get("text")
    if text is None:
        text = ""
    if not isinstance(text, str):
        left.refused(line, "the text is not a string", damaged)
        return None
    cleaned = clean_text(text, LONGEST_TEXT)
    if not cleaned:
        left.textless.append(line)
        return None
    left.long += len(text) > LONGEST_TEXT
    return cleaned


def _label(value: dict[str, Any]) -> str | _Wrong:
    """The label, empty where the row has none that anybody could see."""
    label = value.get("label")
    if label is None:
        return ""
    if isinstance(label, bool) or not isinstance(label, str | int):
        return _Wrong("the label is not a string or a whole number")
    label = str(label).strip()
    if len(label) > LONGEST_LABEL:
        return _Wrong(f"the label has {len(label):,} characters; the limit is {LONGEST_LABEL}")
    return label if clean_text(label) else ""


def _trainable(name: str, labels: list[str]) -> None:
    counts = Counter(labels)
    if len(counts) < 2:
        raise LabelsError(
            f"{name}: all {len(labels):,} rows have the label {labels[0]!r}; a classifier needs at least two labels"
        )
    single = sum(count == 1 for count in counts.values())
    if len(counts) > FEW_LABELS and single > len(counts) / 2:
        raise LabelsError(
            f"{name}: {single:,} of {len(counts):,} labels have a single row: is the label column a text or an id? A "
            "label is a class that many rows share"
        )


def _doubts(texts: list[str], labels: list[str]) -> list[str]:
    """What is trained on as it is, and should be known."""
    notes = []
    counts = Counter(labels)
    if single := sorted(label for label, count in counts.items() if count == 1):
        notes.append(
            f"{len(single):,} of {len(counts):,} labels have one row only ({_listed(single)}), which is trained on and "
            "not measured."
        )
    under: dict[str, set[str]] = {}
    for text, label in zip(texts, labels, strict=True):
        under.setdefault(text, set()).add(label)
    torn = [text for text, several in under.items() if len(several) > 1]
    if again := len(texts) - sum(map(len, under.values())):
        notes.append(f"{_rows_of(again)} repeat a text and its label; each counts.")
    if torn:
        notes.append(f"{len(torn):,} texts stand under several labels ({_listed(torn)}); all their rows are kept.")
    alike: dict[str, list[str]] = {}
    for label in sorted(counts):
        alike.setdefault(_plain(label), []).append(label)
    if pairs := [" / ".join(map(repr, group)) for group in alike.values() if len(group) > 1]:
        notes.append(f"Labels that differ by case, width or spaces alone are kept apart: {'; '.join(pairs[:_SHOWN])}.")
    return notes


def _listed(values: Sequence[str]) -> str:
    shown = ", ".join(repr(value if len(value) <= 40 else value[:40] + "…") for value in values[:_SHOWN])
    return shown + (", …" if len(values) > _SHOWN else "")


def _plain(label: str) -> str:
    """What labels have in common that look alike."""
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", clean_text(label)).casefold())


def split(rows: Rows, share: float, seed: int) -> tuple[Rows, Rows]:
    """Training and development rows, `share` of each label to the second; a label always keeps one row in the first.

    Equal texts stay on one side: a text that stands in both would make the development figures too good.

    Raises:
        LabelsError: nothing can be held out.
    """
    generator = np.random.default_rng(seed)
    kept = Counter(rows.labels)
    groups: dict[str, list[int]] = {}
    for place, text in enumerate(rows.texts):
        groups.setdefault(text, []).append(place)
    first = [group[0] for group in groups.values()]
    wanted = {label: round(share * count) for label, count in kept.items()}
    held: list[int] = []
    for place in generator.permutation(np.array(first)).tolist():
        group = groups[rows.texts[place]]
        counts = Counter(rows.labels[one] for one in group)
        if all(wanted[label] >= count and kept[label] > count for label, count in counts.items()):
            for label, count in counts.items():
                wanted[label] -= count
                kept[label] -= count
            held += group
    if not held:
        least = max(2, math.floor(0.5 / share) + 1)  # of which the share is a row, rounded
        most = max(Counter(label for _, label in set(zip(rows.texts, rows.labels, strict=True))).values())
        raise LabelsError(
            f"no label has enough different texts to hold any out: {least} are needed of one at least, "
            f"and {most} is the most there is; add some, or send rows to choose on beside them (dev)"
        )
    out = set(held)
    return rows.take([place for place in range(len(rows)) if place not in out]), rows.take(sorted(held))
