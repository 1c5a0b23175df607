"""Files as tables: any dialect comes back as it was written, and a broken row is named by its line."""

from __future__ import annotations

import csv
import gzip
import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.importers import BadRow, FileFormat, TableError, TableRow, read_table
from infra.importers.tables import columns_of, sniff_delimiter

pytestmark = pytest.mark.slow

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
NAMES = ["id", "名称", "note"]


def written(rows: list[list[str]], delimiter: str, quoting: int, end: str) -> str:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=delimiter, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
    writer.writerows([NAMES, *rows])
    return buffer.getvalue()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.lists(TEXT, min_size=3, max_size=3), max_size=8),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "gb18030"]),
    packed=st.booleans(),
)
def test_any_dialect_comes_back_as_it_was_written(
    tmp_path: Path, rows: list[list[str]], delimiter: str, quoting: int, end: str, encoding: str, packed: bool
) -> None:
    if set("\r\n") & set("".join(map("".join, rows))):
        quoting = csv.QUOTE_ALL  # before Python 3.13 the writer leaves some of them bare
    data = written(rows, delimiter, quoting, end).encode(encoding)
    path = tmp_path / "any.csv"
    path.write_bytes(gzip.compress(data) if packed else data)
    found = list(read_table(path, FileFormat(delimiter=delimiter, encoding=encoding)))
    assert [row.values for row in found if isinstance(row, TableRow)] == [
        dict(zip(NAMES, row, strict=True)) for row in rows
    ]
    assert len(found) == len(rows)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.lists(
            st.text("abc ,;|\t\"'\n手机0123.:", min_size=1, max_size=10).filter(str.strip), min_size=3, max_size=3
        ),
        min_size=3,
        max_size=12,
    ),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_delimiter_and_encoding_are_recognised_where_cells_are_quoted(
    tmp_path: Path, rows: list[list[str]], delimiter: str, encoding: str
) -> None:
    path = tmp_path / "any.txt"
    path.write_bytes(written(rows, delimiter, csv.QUOTE_ALL, "\n").encode(encoding))
    assert [row.values for row in read_table(path) if isinstance(row, TableRow)] == [
        dict(zip(NAMES, row, strict=True)) for row in rows
    ]


def test_chinese_in_gb18030_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "商品.csv"
    path.write_bytes("商品编号;商品名称\nP1;云栖保温杯不锈钢真空\nP2;静音机械键盘红轴\n".encode("gb18030"))
    assert [row.values["商品名称"] for row in read_table(path) if isinstance(row, TableRow)] == [
        "云栖保温杯不锈钢真空",
        "静音机械键盘红轴",
    ]


def test_broken_rows_are_named_by_their_line_and_the_next_ones_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,name\n1,"two\nlines"\n2\n3,"open\n4,four\n\n5,a,b\n6,six\n', encoding="utf-8")
    found = list(read_table(path))
    assert [(type(row), row.line) for row in found] == [
        (TableRow, 2),
        (BadRow, 4),
        (BadRow, 5),
        (TableRow, 6),
        (BadRow, 8),
        (TableRow, 9),
    ]
    assert [row.reason for row in found if isinstance(row, BadRow)] == [
        "The row has 1 cells, the header 2.",
        "A quote that opens on this line is not closed.",
        "The row has 3 cells, the header 2.",
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(st.sampled_from(["good", "short", "long", "open", "tail"]), st.integers(0, 3)), max_size=15)
)
def test_exactly_the_broken_rows_are_named(tmp_path: Path, rows: list[tuple[str, int]]) -> None:
    """Whatever stands where; a good row may hold line breaks of its own."""
    lines, broken, good, line = ["a,b,c"], [], [], 2
    for number, (kind, breaks) in enumerate(rows):
        text = f'{number},"x{chr(10) * breaks}y",z'
        if kind == "good":
            good.append(line)
        else:
            broken.append(line)
            text = {"short": f"{number},x", "long": "1,2,3,4", "open": f'{number},"x,z', "tail": f'{number},"x"y,z'}[
                kind
            ]
        lines.append(text)
        line += 1 + text.count("\n")
    path = tmp_path / "a.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = list(read_table(path, FileFormat(delimiter=",")))
    if not any(kind == "open" for kind, _ in rows):
        assert [row.line for row in found if isinstance(row, BadRow)] == broken
        assert [row.line for row in found if isinstance(row, TableRow)] == good
    else:  # an open quote may take a later quote for its end, but never a row without quotes
        assert {row.line for row in found if isinstance(row, BadRow)} >= {
            line
            for line, (kind, _) in zip(broken, [one for one in rows if one[0] != "good"], strict=True)
            if kind == "long"
        }


def test_an_open_quote_does_not_swallow_a_long_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,name\n1,"open\n' + "".join(f"{n},x\n" for n in range(2, 1000)), encoding="utf-8")
    found = list(read_table(path))
    assert [row.line for row in found if isinstance(row, BadRow)] == [2]
    assert sum(isinstance(row, TableRow) for row in found) == 998


def test_a_file_without_a_header_has_the_columns_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "UserBehavior.csv"
    path.write_text("1,2268318,2520377,pv,1511544070\n", encoding="utf-8")
    wanted = FileFormat(columns=["user", "item", "category", "action", "time"])
    [row] = read_table(path, wanted)
    assert isinstance(row, TableRow)
    assert row.line == 1 and row.values["action"] == "pv"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is empty"),
        (b"a,a\n1,2\n", "more than once"),
        (b"\xff\xfe\x00\x00a\x00\x00\x00", "UTF-32"),
        (gzip.compress(b"a,b\n1,2\n" * 5000, mtime=0)[:-20], "ends too early"),
    ],
)
def test_what_is_no_table_says_why(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    with pytest.raises(TableError, match=why):
        list(read_table(path))


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    at = datetime(2026, 11, 20, 10, tzinfo=UTC)
    path = tmp_path / "events"  # told by its first bytes
    parquet.write_table(pyarrow.table({"user": [1, 2], "at": [at, None], "tags": [["a", "b"], []]}), path)
    assert columns_of(path) == ["user", "at", "tags"]
    assert list(read_table(path)) == [
        TableRow(1, {"user": 1, "at": at, "tags": ["a", "b"]}),
        TableRow(2, {"user": 2, "at": None, "tags": []}),
    ]
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(TableError, match="no Parquet file"):
        list(read_table(path))


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 1}\n\n[2]\n{"id": \n', encoding="utf-8")
    first, second, third = read_table(path)
    assert first == TableRow(1, {"id": 1})
    assert second == BadRow(3, "The line is JSON, but not an object in braces.")
    assert isinstance(third, BadRow) and third.line == 4


def test_a_line_nested_too_deeply_is_named_and_the_next_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deep.jsonl"
    deep = '{"a": ' * 100_000 + "1" + "}" * 100_000
    path.write_text(f'{deep}\n{{"a": 1}}\n', encoding="utf-8")
    bad, good = read_table(path)
    assert bad == BadRow(1, "The line is nested too deeply.") and good == TableRow(2, {"a": 1})


def test_the_delimiter_is_the_one_that_cuts_evenly() -> None:
    assert sniff_delimiter("id;price\n1;1,50\n2;2,00\n") == ";"
    assert sniff_delimiter("id\tname, long\n1\ta, b, c\n2\tx\n") == "\t"
    assert sniff_delimiter("id\n1\n") == ","
