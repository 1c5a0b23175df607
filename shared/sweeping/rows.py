"""Whose a row of an upload is, also where nobody could read it as one."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any

import orjson

from shared.preprocess import clean_text, fields
from shared.stores.objects import OpenObject
from shared.sweeping.stretches import STRETCH, Held, Stretch, Stretches, blanked, is_blank
from shared.uploads import Place, Row, RowReader, StreamProblem
from shared.uploads.lines import LONGEST_LINE

REQUIRED = frozenset({"user_id", "event", "timestamp"})  # as profiling asks of a CSV
LONGEST_ID = 200
_HELD = 200_000  # ids whose answer is remembered
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_CELL = re.compile(r"[,;\t|\n]")
_WORD = re.compile(r"[^\s,;|\"':{}\[\]]+")
_QUOTE = re.compile(r'".*"', re.DOTALL)
# As `shared.decision_log.pack` begins a line.
_BEGINNING = re.compile(rb'\{"decision_id":"([0-9a-z]+)","at":[0-9.e+]+,"person":(?:"([0-9a-z]+)"|null),')
_NO_QUOTE = '"…"'


class Gone:
    """Who was erased, and what is theirs.

    before: epoch seconds of the erasure: what happened later, and came later, is of a new person.
    """

    def __init__(
        self,
        *,
        digests: Collection[str],
        uids: Collection[str],
        decisions: Collection[str],
        digest: Callable[[str], str],
        before: float,
    ) -> None:
        self.digests = frozenset(digests)
        self.uids = frozenset(uids)
        self.decisions = frozenset(decisions)
        self.before = before
        self._digest = digest
        self._known: dict[str, bool] = {}

    def named(self, user_id: str) -> bool:
        """Whether an external id is of somebody who was erased."""
        known = self._known.get(user_id)
        if known is None:
            if len(self._known) >= _HELD:
                self._known.clear()
            known = self._known[user_id] = self._digest(user_id) in self.digests
        return known

    def row(self, row: Mapping[str, Any], *, old: bool) -> bool:
        """Whether a row of events is theirs. old: it came before they were erased, whenever it may say it happened."""
        user_id = row.get("user_id")
        if type(user_id) is str and len(user_id) <= LONGEST_ID and user_id.isprintable():
            theirs = self.named(user_id.strip())
        else:
            theirs = any(map(self.named, _readings(user_id)))
        return theirs and (old or not self._happened_later(row.get("timestamp")))

    def line(self, raw: bytes) -> bool:
        """Whether a line that cannot be read as a row names one of them."""
        return any(map(self.named, _names(raw)))

    def _happened_later(self, timestamp: object) -> bool:
        try:
            at = fields.moment(timestamp, "timestamp")
        except fields.Refused:
            return False  # such a row is never taken in, whoever it may be of
        return at is not None and at > self.before

    # Lines that the system wrote ----------------------------------------------------------------------------------

    def of_chunk(self, line: bytes, *, old: bool) -> bytes | None:
        """A chunk of an upload (``[line, row]``, or why there is none), of a rebuild (a list of uids), or the rejected
        lines of one."""
        try:
            entry = orjson.loads(line)
        except orjson.JSONDecodeError:
            return None
        if isinstance(entry, dict):
            return self.of_rejected(line)
        if not isinstance(entry, list):
            return None
        if all(isinstance(one, str) for one in entry):
            left = [one for one in entry if one not in self.uids]
            end = b"\n" if line.endswith(b"\n") else b""
            return orjson.dumps(left) + end if len(left) < len(entry) else None
        if len(entry) == 2 and isinstance(entry[1], dict):
            return b"" if self.row(entry[1], old=old) else None
        return None

    def of_rejected(self, line: bytes) -> bytes | None:
        """A rejected line may quote up to 40 characters of a row, and does not say whose: the quotes of all go."""
        try:
            entry = orjson.loads(line)
            reason = entry["reason"]
        except (orjson.JSONDecodeError, TypeError, KeyError):
            return None
        if not isinstance(reason, str) or (found := _QUOTE.search(reason)) is None or found[0] in (_NO_QUOTE, '""'):
            return None
        return orjson.dumps(entry | {"reason": _QUOTE.sub(_NO_QUOTE, reason)}, option=orjson.OPT_APPEND_NEWLINE)

    def of_log(self, line: bytes) -> bytes | None:
        """A line of the decision log. It may hold a thousand candidates, so it is not parsed where the log wrote it."""
        person: str | None
        if (begins := _BEGINNING.match(line)) is not None:
            decision_id, person = begins[1].decode(), (begins[2] or b"").decode()
        else:
            try:
                entry = orjson.loads(line)
                decision_id, person = entry["decision_id"], entry["person"]
            except (orjson.JSONDecodeError, TypeError, KeyError):
                return None
        return b"" if person in self.uids or decision_id in self.decisions else None

    # Uploads ------------------------------------------------------------------------------------------------------

    def of_upload(self, name: str) -> Stretches:
        """Stretches of an upload of this name."""
        return partial(_upload, self, name)


def _readings(user_id: object) -> Iterator[str]:
    """What an id that no event may have could stand for."""
    if isinstance(user_id, bool):
        return
    if isinstance(user_id, int):
        yield str(user_id)
    if isinstance(user_id, str):
        yield user_id[: 4 * LONGEST_ID].strip()
        yield clean_text(user_id, LONGEST_ID)


def _names(raw: bytes) -> Iterator[str]:
    """Everything in a line that may be an id: texts of JSON, cells of a CSV, words."""
    for encoding in ("utf-8", "gb18030"):
        text = raw.decode(encoding, "replace")
        for match in _TEXT.finditer(text):
            try:
                yield from _short(str(orjson.loads(match[0])))
            except orjson.JSONDecodeError:
                yield from _short(match[1])
        for cell in _CELL.split(text):
            yield from _short(cell.strip().strip("\"'"))
        for word in _WORD.finditer(text):
            yield from _short(word[0])
        if raw.isascii():
            return


def _short(text: str) -> Iterator[str]:
    text = text.strip()
    if 0 < len(text) <= LONGEST_ID:
        yield text


def _upload(gone: Gone, name: str, opened: OpenObject, start: Place | None, wanted: bool) -> Iterator[Stretch]:
    """Rows of the erased are blanked, and so are lines that nobody could read and that name one of them or are too long
    to tell; what lies behind damage, and a file of which nothing can be read, goes whole."""
    held = Held(start.offset if start else 0, LONGEST_LINE)
    reader = RowReader(opened.reader, name, REQUIRED, start, tee=held.add)
    old = opened.modified <= gone.before
    last = held.begin  # behind the row that came last
    read = start is not None
    broken = False

    def stays(end: int) -> Iterator[Stretch]:
        if held.begin < end:
            data = held.take(end) if wanted else []
            held.skip(end)
            place = reader.place
            yield Stretch(place if place.offset == end else None, None, data)

    for row in reader:
        if isinstance(row, StreamProblem):
            broken = True
            break
        end = reader.offset
        if not read:  # a CSV has its header in front
            read, last = True, held.behind((row.line if isinstance(row, Row) else row.index) - 1)
        if isinstance(row, Row):
            if not gone.row(row.value, old=old):
                last = end
                if end - held.begin >= STRETCH:
                    yield from stays(end)
                continue
            yield from stays(last)
            yield Stretch(reader.place, "rows", blanked(held.take(end)))
        else:
            yield from stays(last)
            data = held.take(end)
            too_long = end - last > LONGEST_LINE and (held.dropped > last or not is_blank(data))
            if too_long or gone.line(b"".join(piece for piece in data if not isinstance(piece, int))):
                yield Stretch(reader.place, "unreadable" if too_long else "rows", blanked(data))
            else:
                yield Stretch(reader.place, None, data)
        last = end
    if broken and not read and not reader.place.columns:
        data = held.take(held.end)
        if reader.damaged or not is_blank(data) or opened.reader.read(1):
            yield Stretch(None, "unreadable", [])
        else:
            yield Stretch(None, None, data)
        return
    yield from stays(last)
    if reader.damaged:
        yield Stretch(None, "unreadable", [])
    else:
        yield from stays(held.end)
