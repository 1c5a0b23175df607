"""read_rows: every good row comes out, everything else is reported, memory stays flat."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import tracemalloc
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain import Rejection
from shared.uploads import Row, RowReader, StreamProblem, read_rows
from shared.uploads.lines import LONGEST_LINE

EVENT_COLUMNS = frozenset({"user_id", "event", "timestamp"})
HEADER = b"user_id,event,timestamp,text\n"


class Pieces(io.RawIOBase):
    """A stream whose reads give the pieces that a test wants, as a network does."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        if not self._rest:
            self._rest = next(self._pieces, b"")
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece


def read(data: bytes, name: str = "x.jsonl", required: frozenset[str] = frozenset(), size: int = 0) -> list[Any]:
    if size:
        stream: Any = Pieces(data[start : start + size] for start in range(0, len(data), size))
    else:
        stream = io.BytesIO(data)
    return list(read_rows(stream, name, required))


def split(found: list[Any]) -> tuple[list[Row], list[int], str | None]:
    """Rows, the lines of the rejections and the problem's reason; the problem comes last, if at all."""
    assert not any(isinstance(row, StreamProblem) for row in found[:-1])
    problem = found[-1].reason if found and isinstance(found[-1], StreamProblem) else None
    return (
        [row for row in found if isinstance(row, Row)],
        [row.index for row in found if isinstance(row, Rejection)],
        problem,
    )


def values(found: list[Any]) -> list[dict[str, Any]]:
    return [row.value for row in found if isinstance(row, Row)]


@pytest.mark.parametrize("size", [0, 1, 3])
def test_jsonl_with_mark_blank_lines_crlf_and_no_last_line_end(size: int) -> None:
    data = '\ufeff{"a":1}\r\n\r\n  \n{"a":"手机"}\n{"a":3}'.encode()
    assert read(data, size=size) == [Row(1, {"a": 1}), Row(4, {"a": "手机"}), Row(5, {"a": 3})]
    assert read(gzip.compress(data), "d/x.JSONL.GZ", size=size) == read(data)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a":', "not JSON"),
        (b"not json", "not JSON"),
        (b"[1]", "not an object"),
        (b"3", "not an object"),
        (b'{"a":NaN}', "not JSON"),
        (b'{"a":"\xff"}', "not UTF-8 at byte 7"),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8"),
        (b'{"a":"\\ud83d"}', "surrogate"),
        (b'{"a":"\\udc00 x"}', "surrogate"),
        (b'{"a":"\x00"}', "control character"),
        (b'{"a":' * 3000, "depth"),
        (b'{"a":"' + b"x" * LONGEST_LINE + b'"}', "longer than 1,048,576 bytes"),
    ],
)
def test_a_bad_line_is_reported_and_the_rest_goes_on(line: bytes, reason: str) -> None:
    found = read(b'{"n":1}\n' + line + b'\n{"n":2}\n')
    assert values(found) == [{"n": 1}, {"n": 2}]
    (rejection,) = (row for row in found if isinstance(row, Rejection))
    assert (rejection.index, rejection.field) == (2, "row")
    assert reason in rejection.reason


def test_an_escaped_nul_is_a_row() -> None:
    assert values(read(b'{"a":"x\\u0000"}')) == [{"a": "x\x00"}]


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.jsonl.gz", "x.csv.gz"])
def test_an_empty_file(name: str) -> None:
    for data in (b"", b"\n \r\n", b"\xef\xbb\xbf") if not name.endswith("gz") else (b"", gzip.compress(b"")):
        _, rejected, problem = split(read(data, name))
        assert (rejected, problem) == ([], "The file is empty.")


@pytest.mark.parametrize("name", ["x", "x.json", "jsonl", "x.gz", "x.jsonl.zip", "a.jsonl/x"])
def test_another_kind_of_file(name: str) -> None:
    (problem,) = read(b'{"a":1}', name)
    assert isinstance(problem, StreamProblem)
    assert ".jsonl or .csv" in problem.reason


def test_content_that_its_name_does_not_fit() -> None:
    assert "not gzip" in str(split(read(b'{"a":1}', "x.jsonl.gz"))[2])
    assert "UTF-16" in str(split(read('{"a":1}'.encode("utf-16"), "x.jsonl"))[2])
    assert values(read(gzip.compress(b'{"a":1}'), "x.jsonl")) == [{"a": 1}]  # some uploaders drop the .gz


def test_members_and_padding_of_a_gzip() -> None:
    data = gzip.compress(b'{"a":1}\n{"a"') + gzip.compress(b":2}\n") + b"\0" * 100
    assert read(data, "x.jsonl.gz") == [Row(1, {"a": 1}), Row(2, {"a": 2})]
    rows, _, problem = split(read(data + b"junk", "x.jsonl.gz"))
    assert len(rows) == 2 and "damaged" in str(problem)


LINES = [
    orjson.dumps({"n": number, "t": f"{number * 7919 % 1000} 手机 {'x' * (number % 50)}"}) for number in range(300)
]


@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.csv.gz"])
def test_a_truncated_gzip_gives_the_rows_before_its_end(name: str) -> None:
    plain = b"\n".join(LINES) if "json" in name else b"n\n" + b"\n".join(b"%d" % number for number in range(4000))
    whole = values(read(plain, name.removesuffix(".gz")))
    packed = gzip.compress(plain)
    for kept in (1, 9, 11, len(packed) // 2, len(packed) - 9, len(packed) - 1):
        rows, rejected, problem = split(read(packed[:kept], name))
        assert [row.value for row in rows] == whole[: len(rows)]
        assert not rejected
        assert "ends too early" in str(problem) or "not gzip" in str(problem)
        if kept == len(packed) // 2:
            assert len(rows) > len(whole) // 4


@pytest.mark.slow
@given(st.integers(10, 4000), st.integers(1, 255), st.integers(1, 3000))
def test_a_damaged_gzip_gives_every_row_before_the_damage(place: int, change: int, size: int) -> None:
    plain = b"\n".join(LINES) + b"\n"
    packed = bytearray(gzip.compress(plain, compresslevel=1))
    place %= len(packed) - 1
    # What a reader can know of the text before the byte that will change.
    intact = gzip_prefix(bytes(packed[:place]))
    packed[place] ^= change
    found = read(bytes(packed), "x.jsonl.gz", size=size)
    rows, rejected, problem = split(found)
    before = intact.count(b"\n")
    assert [row.value for row in rows[:before]] == [orjson.loads(line) for line in LINES[:before]]
    assert not any(line <= before for line in rejected)
    if problem is None and place >= 10:  # another back-reference to the same text: no damage at all
        assert [row.value for row in rows] == [orjson.loads(line) for line in LINES]


def gzip_prefix(packed: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
        plain = b""
        try:
            while piece := stream.read1(1):
                plain += piece
        except (EOFError, OSError):
            pass
        return plain


GOOD_JSON = [b'{"a":1}', b'{"a":"\xe6\x89\x8b"}', b'{"b":[1,2]}']
BAD_JSON = [b"{", b"[1]", b'{"a":"\xff"}', b'{"a":"\\ud800"}']
JSON_LINES = st.lists(st.sampled_from([*GOOD_JSON, *BAD_JSON, b"", b"  "]), min_size=1, max_size=12)


@given(JSON_LINES, st.integers(1, 40), st.sampled_from([b"\n", b"\r\n"]), st.booleans(), st.booleans())
def test_however_the_bytes_arrive_the_counts_add_up(
    lines: list[bytes], size: int, end: bytes, packed: bool, ended: bool
) -> None:
    data = end.join(lines) + (end if ended else b"")
    name = "x.jsonl.gz" if packed else "x.jsonl"
    found = read(gzip.compress(data) if packed else data, name, size=size)
    rows, rejected, _ = split(found)
    assert rows == [Row(number, orjson.loads(line)) for number, line in enumerate(lines, 1) if line in GOOD_JSON]
    assert rejected == [number for number, line in enumerate(lines, 1) if line in BAD_JSON]


def test_a_csv_becomes_objects() -> None:
    data = (
        "\ufeffUser_ID, event ,timestamp,tags,attributes.Colour,attributes.size,targeting.platforms,"
        "frequency_cap.count,frequency_cap.hours,text,\r\n"
        'u1,view,1780000000,a| b ;;c,red,5,app;web,3,24,"two\nlines, ""quoted""",\r\n'
        "\r\n"
        "u2,click,1780000001,,,,,,,,\r\n"
    ).encode()
    expected = [
        Row(
            2,
            {
                "user_id": "u1",
                "event": "view",
                "timestamp": "1780000000",
                "tags": ["a", "b", "c"],
                "attributes": {"Colour": "red", "size": "5"},
                "targeting": {"platforms": ["app", "web"]},
                "frequency_cap": {"count": "3", "hours": "24"},
                "text": 'two\nlines, "quoted"',
            },
        ),
        Row(5, {"user_id": "u2", "event": "click", "timestamp": "1780000001"}),
    ]
    assert read(data, "x.csv", EVENT_COLUMNS) == expected
    assert read(gzip.compress(data), "x.csv.gz", EVENT_COLUMNS, size=7) == expected


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"user_id,event\n", "lacks the column timestamp"),
        (b"event\n", "lacks the column timestamp, user_id"),
        (b"user_id;event;timestamp\n", "separated by commas"),
        (b"user_id,event,timestamp,event\n", "names the column event more than once"),
        (b"user_id,event,timestamp,attributes,attributes.x\n", "attributes more than once"),
        (b'user_id,"event,timestamp\n', "header cannot be read"),
        (b"user_id,event,timestamp\n", "no rows"),
        (b"user_id,event,timestamp,\xff\n", "header cannot be read"),
    ],
)
def test_a_csv_header_that_cannot_be_used(header: bytes, reason: str) -> None:
    data = header if reason == "no rows" else header + b"u,view,1\n"
    rows, rejected, problem = split(read(data, "x.csv", EVENT_COLUMNS))
    assert not rows and not rejected
    assert reason in str(problem)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"u,view\n", "2 fields, the header 4"),
        (b"u,view,1,2,3\n", "5 fields, the header 4"),
        (b'u,view,1,"red shoes\n', "not closed"),
        (b'u,view,1,"red" shoes\n', "quotes of the line are broken"),
        (b'u,"vi\xffew",1,x\n', "not UTF-8"),
        (b"u,view,1," + b"x" * LONGEST_LINE + b"\n", "longer than"),
        (b"u,view,1," + b"x" * 200_000 + b"\n", "longer than 131,072"),
        (b"u,vi\rew,1,x\n", "broken"),
    ],
)
@pytest.mark.parametrize("rest", [1, 2, 1000])
def test_a_broken_csv_line_takes_no_other_with_it(line: bytes, reason: str, rest: int) -> None:
    good = [b'u%d,view,%d,"a ""b"", c"\n' % (number, number) for number in range(rest)]
    found = read(HEADER + good[0] + line + b"".join(good), "x.csv", EVENT_COLUMNS)
    rows, rejected, problem = split(found)
    assert [row.line for row in rows] == [2, *range(4, 4 + rest)]
    assert rejected == [3]
    assert problem is None
    (rejection,) = (row for row in found if isinstance(row, Rejection))
    assert reason in rejection.reason


def test_an_open_quote_before_a_bad_line_or_the_end_of_a_truncated_gzip() -> None:
    good = b"".join(b"u%d,view,%d,%d\n" % (number, number, number * 7919) for number in range(150))
    data = HEADER + b'u,view,1,"open\n' + good + b"u,\xff,1,x\n" + good
    rows, rejected, _ = split(read(data, "x.csv"))
    assert (len(rows), rejected) == (300, [2, 153])
    rows, rejected, problem = split(read(gzip.compress(HEADER + b'u,view,1,"open\n' + good)[:-12], "x.csv.gz"))
    assert len(rows) > 100 and rejected == [2] and "too early" in str(problem)


def test_a_quote_inside_an_unquoted_field_is_text() -> None:
    assert values(read(b'a,b\n1,5" screen\n2,x\n', "x.csv")) == [{"a": "1", "b": '5" screen'}, {"a": "2", "b": "x"}]


CELLS = st.text(st.sampled_from('ab手",;\n |'), max_size=8)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8), st.integers(1, 50), st.sampled_from(["\n", "\r\n"]))
def test_what_a_csv_writer_writes_is_read(table: list[tuple[str, str]], size: int, end: str) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("x", "y"), *table])
    found = read(text.getvalue().encode(), "x.csv", size=size)
    assert values(found) == [{name: cell for name, cell in zip("xy", row, strict=True) if cell} for row in table]


DAMAGED_CSV = [b"1,2", b'1,"2', b'"1",2"', b'1,"2"x', b"1", b'"1\n",2', b"1,\xff", b"1,2,3"]


@given(st.lists(st.sampled_from(DAMAGED_CSV), min_size=1, max_size=12), st.integers(1, 30))
def test_a_csv_full_of_damage_loses_no_good_line_before_it_and_counts_every_line(lines: list[bytes], size: int) -> None:
    found = read(b"x,y\n" + b"\n".join(lines), "x.csv", size=size)
    rows, rejected, problem = split(found)
    assert problem is None
    places = [row.line for row in rows] + rejected
    assert len(set(places)) == len(places)
    # Up to the first quote that is left open nothing is ambiguous.
    number = 2
    for line in lines:
        if line not in (b"1,2", b'"1\n",2'):
            break
        assert number in {row.line for row in rows}
        number += 1 + line.count(b"\n")
    assert max(places) <= number + sum(1 + line.count(b"\n") for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.jsonl.gz"])
def test_memory_does_not_grow_with_the_file(name: str) -> None:
    line = b'{"a":1}\n' if "json" in name else b"1,2\n"

    def peak(count: int) -> int:
        block = line * 1000
        blocks = [gzip.compress(block * count)] if name.endswith("gz") else itertools.repeat(block, count)
        stream: Any = Pieces(iter(blocks))
        tracemalloc.start()
        for _ in read_rows(stream, name):
            pass
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    assert peak(60) < 1.5 * peak(20) + 200_000


def test_a_line_without_end_stays_bounded() -> None:
    stream: Any = Pieces(b"x" * 65_536 for _ in range(320))  # 20 MiB without a line end
    tracemalloc.start()
    found = list(read_rows(stream, "x.jsonl"))
    _, highest = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [row.index for row in found if isinstance(row, Rejection)] == [1]
    assert highest < 6 * LONGEST_LINE


def test_a_failing_stream_is_not_taken_for_the_end() -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"a":1}\n'
        raise ConnectionError("reset")

    stream: Any = Pieces(pieces())
    with pytest.raises(ConnectionError):
        list(read_rows(stream, "x.jsonl"))


# Reading on -----------------------------------------------------------------------------------------------------------


@given(
    lines=st.lists(
        st.sampled_from(
            [
                'a,view,1,"two\nlines"',
                "b,view,2,plain",
                'c,view,3,"never closed',
                "",
                "d,view",
                "e,view,5,\r",
                "é,view,6,ü",
            ]
        ),
        min_size=1,
        max_size=12,
    ),
    kind=st.sampled_from(["csv", "jsonl"]),
    packed=st.booleans(),
    stop=st.integers(0, 14),
)
def test_a_reader_goes_on_where_another_stopped(lines: list[str], kind: str, packed: bool, stop: int) -> None:
    if kind == "jsonl":
        lines = [f'{{"n": {place}, "text": "{line[0]}"}}' if line else "{broken" for place, line in enumerate(lines)]
    text = ("\ufeff" + HEADER.decode() if kind == "csv" else "\ufeff") + "\n".join(lines)
    data = text.encode()
    stored = gzip.compress(data) if packed else data
    whole = read(stored, f"x.{kind}", EVENT_COLUMNS if kind == "csv" else frozenset())
    first = RowReader(io.BytesIO(stored), f"x.{kind}", EVENT_COLUMNS if kind == "csv" else frozenset())
    taken = list(itertools.islice(first, stop))
    if not taken or isinstance(taken[-1], StreamProblem):
        return
    place = first.place
    assert place.packed == packed
    rest = RowReader(io.BytesIO(stored if packed else stored[place.offset :]), f"x.{kind}", EVENT_COLUMNS, place)
    assert taken + list(rest) == whole
