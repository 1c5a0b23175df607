"""Runs of digits, cut into windows of neighbouring groups: each may be a number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

GROUP = re.compile(r"\d+")
_FEWEST, _MOST = 7, 19  # digits of a window
_MOST_GROUPS = 9  # of a window, unless it is a run of single digits: 1 3 9 1 2 3 4 5 6 7 8
_RUN = re.compile(r"(?:\+ ?)?\(?(?:\+ ?)?\d(?:[ \-_.·•~()]{0,3}\d)*(?:[Xx](?![A-Za-z0-9]))?")


@dataclass(frozen=True, slots=True)
class Window:
    """Neighbouring groups of digits in a run, ``[start, end)`` in the text, and the text before them.

    joints: what stands between the groups. plus: whether a + leads. alone: they are all groups of the run.
    """

    text: str
    start: int
    end: int
    digits: str
    shape: tuple[int, ...]
    joints: str
    plus: bool
    alone: bool
    before: str
    found: dict[re.Pattern[str], bool]

    def announced(self, words: re.Pattern[str]) -> bool:
        """Whether these words stand directly before it; `found` keeps what was asked before of the same place."""
        if words not in self.found:
            self.found[words] = words.search(self.before) is not None
        return self.found[words]

    @property
    def glued(self) -> bool:
        """Whether letters touch it, as in a product's code."""
        after = self.text[self.end : self.end + 1]
        return letter(self.before[-1:]) or letter(after)

    @property
    def hyphened(self) -> bool:
        return bool(self.joints) and not self.joints.strip("-.()~ ") and not self.joints.isspace()


def letter(character: str) -> bool:
    return character.isascii() and character.isalnum()


def runs(text: str) -> Iterator[tuple[re.Match[str], list[tuple[int, int]]]]:
    """Runs of digits long enough to hold a number, and the places of their groups."""
    for run in _RUN.finditer(text):
        if sum(map(str.isdigit, run[0])) >= _FEWEST:
            yield run, [match.span() for match in GROUP.finditer(text, *run.span())]


def windows(text: str, run: re.Match[str], groups: list[tuple[int, int]], place: int) -> list[Window]:
    """Windows that begin at `place`, the longest first."""
    first = groups[place][0]
    if place and not _parted(text[groups[place - 1][1] : first], groups[place]):
        return []
    found: list[Window] = []
    asked: dict[str, dict[re.Pattern[str], bool]] = {}
    digits, joints = "", ""
    shape: tuple[int, ...] = ()
    single = place == 0 and len(groups) <= _MOST and all(end - start == 1 for start, end in groups)
    for last in range(place, min(place + (_MOST if single else _MOST_GROUPS), len(groups))):
        start, end = groups[last]
        if last > place:
            joints += text[groups[last - 1][1] : start]
        digits += text[start:end]
        shape = (*shape, end - start)
        if len(digits) > _MOST:
            break
        follows = text[end : groups[last + 1][0]] if last + 1 < len(groups) else " "
        if len(digits) < _FEWEST or not _parted(follows, groups[last]):
            continue
        lead = text[run.start() : first] if place == 0 else text[first - 1 : first]
        whole = lead.lstrip("( ") if "(" in lead and ")" not in joints else lead
        whole = whole if place == 0 or whole == "(" else ""
        begin = first - len(whole)
        before = text[max(0, begin - 40) : begin]
        found.append(
            Window(
                text=text,
                start=begin,
                end=end,
                digits=digits,
                shape=shape,
                joints=joints,
                plus="+" in whole,
                alone=place == 0 and last == len(groups) - 1,
                before=before,
                found=asked.setdefault(before, {}),
            )
        )
    return found[::-1]


def _parted(joint: str, group: tuple[int, int]) -> bool:
    """Whether a number may begin or end here within a run: at a space, or at a hyphen where the group is a whole
    mobile's or identity number."""
    return " " in joint or "(" in joint or (group[1] - group[0] in (11, 18) and "." not in joint)
