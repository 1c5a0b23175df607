"""Whose a row of an upload is, also where nobody could read it as one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, chain
from typing import Any

import orjson

from shared.preprocess import clean_text, fields
from shared.stores.identities import was_known
from shared.stores.objects import OpenObject
from shared.sweeping.stretches import (
    STRETCH,
    Data,
    Held,
    Stretch,
    Stretches,
    What,
    Whose,
    blanked,
    blanked_cells,
    is_blank,
)
from shared.uploads import Place, Row, RowReader, StreamProblem
from shared.uploads.lines import LONGEST_LINE

REQUIRED = frozenset({"user_id", "event", "timestamp"})  # as profiling asks of a CSV
LONGEST_ID = 200
_HELD = 200_000  # ids whose answer is remembered
# Each matches in one go, whether or not what it begins comes to an end: nothing is read twice.
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"?', re.DOTALL)
_QUOTES = re.compile(r"[\"']")
_CELLS = re.compile(r"[,;\t|\n]")
_WORDS = re.compile(r"[\s,;|\"'{}\[\]()<>]+")
_PARTS = re.compile(r"[:=&?/]")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPED = 6  # characters of JSON for one of a text
_MOST_PARTS = 4  # of an id like ``wechat:o123``
_QUOTE = re.compile(r'".*"', re.DOTALL)
# As `shared.decision_log.pack` begins a line.
_BEGINNING = re.compile(rb'\{"decision_id":"([0-9a-z]+)","at":([0-9.e+]+),"person":(?:"([0-9a-z]+)"|null),')
_NO_QUOTE = '"…"'


@dataclass(frozen=True, slots=True)
class Erased:
    """Whom one erasure is of, and what is theirs.

    name: of the erasure. digests: of their external ids (`Identities.digest`). before: epoch seconds of the erasure:
    what happened later, and came later, is of a new person. stay: they do, under their uids, and only consent was
    withdrawn: what was decided for them later is of a new consent.
    """

    name: str
    digests: Collection[str]
    uids: Collection[str]
    decisions: Collection[str]
    before: float
    stay: bool = False


class Gone:
    """Who was erased, by as many erasures as there are, and what is theirs. digest: of an external id."""

    def __init__(self, erased: Sequence[Erased], digest: Callable[[str], str]) -> None:
        self.erased = tuple(erased)
        self.everybody: Whose = tuple(one.name for one in erased)
        self.by_digest = _index((one, one.digests) for one in erased)
        self.by_uid = _index((one, one.uids) for one in erased)
        self._by_decision = _index((one, one.decisions) for one in erased)
        self._digest = digest
        self._known: dict[str, tuple[Erased, ...]] = {}

    def named(self, user_id: str) -> tuple[Erased, ...]:
        """Whose an external id is; nobody's who was erased: none."""
        known = self._known.get(user_id)
        if known is None:
            if len(self._known) >= _HELD:
                self._known.clear()
            known = self._known[user_id] = self.by_digest.get(self._digest(user_id), ())
        return known

    def row(self, row: Mapping[str, Any], *, came: float, raw: bytes) -> Whose:
        """Whose a row of events is. came: when (epoch seconds). raw: its line."""
        user_id = row.get("user_id")
        if type(user_id) is str and len(user_id) <= LONGEST_ID and user_id.isprintable() and (said := user_id.strip()):
            theirs = self.named(said)
            if raw.count(b'"user_id"') > 1:
                theirs = self._all([said, *_named_twice(raw)])
        else:
            theirs = self._all(chain(_readings(user_id), _names(raw)))
        return self._who_were_known(theirs, row.get("timestamp"), came) if theirs else ()

    def line(self, raw: bytes) -> Whose:
        """Whom a line names that cannot be read as a row."""
        return tuple(one.name for one in self._all(_names(raw)))

    def before(self, at: float) -> Whose:
        """Whose erasures are from then or later (epoch seconds)."""
        return tuple(one.name for one in self.erased if at <= one.before)

    def _all(self, user_ids: Iterable[str]) -> tuple[Erased, ...]:
        return tuple({one.name: one for user_id in user_ids for one in self.named(user_id)}.values())

    def _who_were_known(self, theirs: tuple[Erased, ...], timestamp: object, came: float) -> Whose:
        try:
            at = fields.moment(timestamp, "timestamp")
        except fields.Refused:
            at = None
        return tuple(  # a row without a time is never taken in, whoever it may be of
            one.name for one in theirs if at is None or at <= one.before or was_known(at, came, one.before)
        )

    # Lines that the system wrote ----------------------------------------------------------------------------------

    def of_chunk(self, line: bytes, *, came: float) -> tuple[bytes, Whose] | None:
        """A chunk of an upload (``[line, row]``, or why there is none), of a rebuild (a list of uids), or the rejected
        lines of one."""
        try:
            entry = orjson.loads(line)
        except orjson.JSONDecodeError:
            return None
        if isinstance(entry, dict):
            return self.of_rejected(self.everybody, line)
        if not isinstance(entry, list):
            return None
        if all(isinstance(one, str) for one in entry):
            left = [one for one in entry if one not in self.by_uid]
            end = b"\n" if line.endswith(b"\n") else b""
            theirs = {one.name for uid in entry for one in self.by_uid.get(uid, ())}
            return (orjson.dumps(left) + end, tuple(theirs)) if theirs else None
        if len(entry) == 2 and isinstance(entry[1], dict):
            whose = self.row(entry[1], came=came, raw=line)
            return (b"", whose) if whose else None
        return None

    def of_rejected(self, whose: Whose, line: bytes) -> tuple[bytes, Whose] | None:
        """A rejected line may quote up to 40 characters of a row, and does not say whose: the quotes of all go."""
        try:
            entry = orjson.loads(line)
            reason = entry["reason"]
        except (orjson.JSONDecodeError, TypeError, KeyError):
            return None
        if not isinstance(reason, str) or (found := _QUOTE.search(reason)) is None or found[0] in (_NO_QUOTE, '""'):
            return None
        entry["reason"] = _QUOTE.sub(_NO_QUOTE, reason)
        return orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE), whose

    def of_log(self, line: bytes) -> tuple[bytes, Whose] | None:
        """A line of the decision log. It may hold a thousand candidates, so it is not parsed where the log wrote it."""
        if (begins := _BEGINNING.match(line)) is not None:
            decision_id, at, person = begins[1].decode(), float(begins[2]), (begins[3] or b"").decode()
        else:
            try:
                entry = orjson.loads(line)
                decision_id, at, person = str(entry["decision_id"]), float(entry.get("at", 0.0)), str(entry["person"])
            except (orjson.JSONDecodeError, TypeError, KeyError, ValueError, AttributeError):
                return None
        theirs = [one.name for one in self.by_uid.get(person, ()) if not (one.stay and at > one.before)]
        theirs += [one.name for one in self._by_decision.get(decision_id, ()) if one.name not in theirs]
        return (b"", tuple(theirs)) if theirs else None

    # Uploads ------------------------------------------------------------------------------------------------------

    def of_upload(self, name: str) -> Stretches:
        """Stretches of an upload of this name."""
        return partial(_upload, self, name)


def _index(erased: Iterable[tuple[Erased, Collection[str]]]) -> dict[str, tuple[Erased, ...]]:
    """Whose each of what is theirs is; one thing may be of several erasures."""
    found: dict[str, tuple[Erased, ...]] = {}
    for one, theirs in erased:
        for key in frozenset(theirs):
            found[key] = (*found.get(key, ()), one)
    return found


def _readings(user_id: object) -> Iterator[str]:
    """What an id that no event may have could stand for."""
    if isinstance(user_id, str):
        yield user_id[: 4 * LONGEST_ID].strip()
        yield clean_text(user_id, LONGEST_ID)
    elif isinstance(user_id, float) and user_id.is_integer() and abs(user_id) < 2**53:
        yield str(int(user_id))


def _named_twice(raw: bytes) -> Iterator[str]:
    """All ids of a row that has the field more than once; whoever takes it in sees the last alone."""
    pairs: list[tuple[str, Any]] = []

    def keep(found: list[tuple[str, Any]]) -> None:
        nonlocal pairs
        pairs = found  # the outermost object comes last

    try:
        json.loads(raw, object_pairs_hook=keep)
    except (ValueError, RecursionError):
        return
    for name, value in pairs:
        if name == "user_id" and isinstance(value, str):
            yield from _readings(value)


def _names(raw: bytes) -> Iterator[str]:
    """Everything in a line that may be an id: texts of JSON, cells of a CSV, words; also of JSON within a text."""
    for encoding in ("utf-8", "gb18030"):
        text = raw.decode(encoding, "replace")
        for match in _TEXT.finditer(text):
            if len(match[1]) <= _ESCAPED * LONGEST_ID:
                yield from _short(_unescaped(match[1]))
        for _ in range(3):
            yield from _pieces(text)
            if "\\" not in text:
                break
            text = _unescaped(text)
        if raw.isascii():
            return


def _pieces(text: str) -> Iterator[str]:
    for piece in _QUOTES.split(text):
        yield from _short(piece.rstrip("\\"))
    for cell in map(str.strip, _CELLS.split(text)):
        yield from _short(cell)
        yield from _short(cell.strip("\"'"))
        if '""' in cell:
            yield from _short(cell.removeprefix('"').removesuffix('"').replace('""', '"'))
    for word in _WORDS.split(text):
        yield from _short(word.rstrip(":"))
        yield from _short(word.removesuffix(".0"))
        parts = _PARTS.split(word)
        if len(parts) > 1:
            ends = list(accumulate(len(part) + 1 for part in parts))
            for first in range(len(parts)):
                begin = ends[first] - len(parts[first]) - 1
                for end in ends[first : first + _MOST_PARTS]:
                    yield from _short(word[begin : end - 1])


def _unescaped(text: str) -> str:
    """Without the escapes of JSON."""
    if "\\" not in text:
        return text
    return _ESCAPE.sub(_escaped, text).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _escaped(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else match[2]


def _short(text: str) -> Iterator[str]:
    text = text.strip()
    if 0 < len(text) <= LONGEST_ID:
        yield text


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in raw


def _upload(gone: Gone, name: str, opened: OpenObject, start: Place | None, wanted: bool) -> Iterator[Stretch]:
    """Rows of the erased are blanked, and so are lines that nobody could read and that name one of them. Of what came
    before the erasure, lines that are no text or too long to tell go as well; what lies behind damage, and a file of
    which nothing can be read, goes whole."""
    held = Held(start.offset if start else 0, LONGEST_LINE)
    reader = RowReader(opened.reader, name, REQUIRED, start, tee=held.add)
    old = gone.before(opened.modified)
    last = held.begin  # behind the row that came last
    read = start is not None
    broken = False

    def stays(end: int) -> Iterator[Stretch]:
        if held.begin < end:
            data = held.take(end) if wanted else []
            held.skip(end)
            place = reader.place
            yield Stretch(place if place.offset == end else None, None, data)

    def without(data: Data) -> Data:
        return blanked_cells(data) if reader.place.columns else blanked(data)

    for row in reader:
        if isinstance(row, StreamProblem):
            broken = True
            break
        end = reader.offset
        if not read:  # a CSV has its header in front
            read, last = True, held.behind((row.line if isinstance(row, Row) else row.index) - 1)
        if isinstance(row, Row):
            whose = gone.row(row.value, came=opened.modified, raw=row.raw)
            if not whose:
                last = end
                if end - held.begin >= STRETCH:
                    yield from stays(end)
                continue
            yield from stays(last)
            yield Stretch(reader.place, "rows", without(held.take(end)), whose)
        else:
            yield from stays(last)
            data = held.take(end)
            what, whose = _unread(gone, data, dropped=held.dropped > last, old=old)
            yield Stretch(reader.place, what, data if what is None else without(data), whose)
        last = end
    if broken and not read and not reader.place.columns:
        data = held.take(held.end)
        if old and (reader.damaged or not is_blank(data) or opened.reader.read(1)):
            yield Stretch(None, "unreadable", [], old)
        else:
            yield Stretch(None, None, data)
        return
    yield from stays(last)
    if reader.damaged:
        yield Stretch(None, "unreadable" if old else None, [], old)
    else:
        yield from stays(held.end)


def _unread(gone: Gone, data: Data, *, dropped: bool, old: Whose) -> tuple[What | None, Whose]:
    """Why a line that is no row goes, and blank ones before it, and by which erasures; None: it stays. dropped: it was
    too long to be held. old: the erasures from after it came."""
    raw = b"".join(piece for piece in data if not isinstance(piece, int))
    if whose := gone.line(raw):
        return "rows", whose
    too_long = dropped or any(len(line) > LONGEST_LINE and not line.isspace() for line in raw.split(b"\n"))
    return ("unreadable", old) if old and (too_long or not _is_text(raw)) else (None, ())
