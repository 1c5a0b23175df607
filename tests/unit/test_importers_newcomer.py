"""What somebody brings who has read nothing: other trades' headers, Excel's files, mistakes in the mapping. Each goes
in, or is told in one sentence what to do."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from pyarrow import parquet

from infra.importers import MappingError, TableError, convert, guess, load_mapping, mapped_source
from infra.importers.mapping import parse_mapping
from infra.importers.tables import columns_of

pytestmark = pytest.mark.slow

NOW = 1_795_600_000.0  # 2026-11-25
COURSES = """Course Ref,Course Name,Blurb,Tuition (GBP),Web page
C-1,Intro to Woodworking,"Ten evenings: joints, planes, finish",£180.00,https://learn.example.org/c/1
C-2,Spanish for Travellers,Order and ask in Spanish,"£1,095.50",https://learn.example.org/c/2
"""
ENROLMENTS = """Learner No.,Learner E-mail,Course Ref,Status,Enrolled On,Fee Paid
L77,ann@example.org,C-1,Enrolled,03/04/2026,180.00
L77,ann@example.org,C-2,Browsed,15/04/2026,
L78,bob@example.org,C-2,Completed,12/04/2026,95.00
"""
CLINIC = """就诊卡号,就诊日期,就诊时间,科室,主诉,项目编码,就诊类型
K001,2026-10-01,09:30,心内科,血压偏高复查,HP01,复诊
K002,2026-10-02,10:15,营养科,想了解低盐饮食,HP02,初诊
"""
EVENTS = {"user_id": "user", "event": {"value": "view"}, "timestamp": "at", "item_id": "item"}


def guessed(path: Path, **options: Any) -> dict[str, Any]:
    """The guessed mapping as it would be loaded."""
    mapping: dict[str, Any] = yaml.safe_load(guess(path, **options).text)
    return mapping


def imported(path: Path, mapping: dict[str, Any]) -> list[dict[str, Any]]:
    out = path.with_suffix(".out.jsonl")
    loaded = parse_mapping(mapping)
    report = convert(loaded.kind, mapped_source(path, loaded), out, now=NOW)
    assert report.rejected_count == 0, report.rejected
    return [json.loads(line) for line in out.read_text("utf-8").splitlines()]


def written(tmp_path: Path, name: str, text: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_courses_are_ads_as_they_come(tmp_path: Path) -> None:
    path = written(tmp_path, "courses.csv", COURSES)
    first, second = imported(path, guessed(path))
    assert first["ad_id"] == "C-1" and first["domain"] == "education" and first["language"] == "en"
    assert first["landing_url"] == "https://learn.example.org/c/1" and "joints" in first["description"]
    assert [one["attributes"]["price"] for one in (first, second)] == [180, 1095.5]


def test_enrolments_are_events_as_they_come(tmp_path: Path) -> None:
    path = written(tmp_path, "enrolments.csv", ENROLMENTS)
    rows = imported(path, guessed(path))
    assert [(row["user_id"], row["event"], row["item_id"]) for row in rows] == [
        ("L77", "enrol", "C-1"),
        ("L77", "view", "C-2"),
        ("L78", "complete", "C-2"),
    ]
    assert "ann@example.org" not in json.dumps(rows)


def test_a_clinic_s_log_has_day_and_time_in_two_columns(tmp_path: Path) -> None:
    path = written(tmp_path, "clinic.csv", CLINIC)
    first, _ = imported(path, guessed(path))
    assert (first["user_id"], first["event"], first["domain"]) == ("K001", "consult", "health")
    assert first["timestamp"] == 1790818200  # 2026-10-01 09:30 in Shanghai
    assert first["text"] == "血压偏高复查" and first["tags"] == ["心内科"]


def test_a_clinic_s_packages_are_ads(tmp_path: Path) -> None:
    text = "套餐编号,套餐名称,介绍,价格,链接\nHP01,血压管理门诊,复查与用药指导,50,https://clinic.example.org/p/1\n"
    path = written(tmp_path, "packages.csv", text)
    (only,) = imported(path, guessed(path, domain="health"))
    assert (only["ad_id"], only["title"], only["language"]) == ("HP01", "血压管理门诊", "zh")


def test_excel_s_csv_with_semicolons_and_decimal_commas(tmp_path: Path) -> None:
    text = '\ufeffsep=;\r\nSKU;Name;Price;Link\r\n"A1";"Mug ""Blue"", large";1.299,00;https://shop.example.com/a1\r\n'
    path = written(tmp_path, "excel.csv", text + "A2;Teapot;24,90;https://shop.example.com/a2\r\n")
    mapping = guessed(path, domain="ecommerce")
    assert mapping["file"] == {"delimiter": ";"} and mapping["fields"]["attributes.price"]["decimal"] == ","
    rows = imported(path, mapping)
    assert [row["attributes"]["price"] for row in rows] == [1299, 24.9]
    assert rows[0]["title"] == 'Mug "Blue", large'


@pytest.mark.parametrize(
    ("cell", "decimal", "number"),
    [
        ("1,299.50", ".", 1299.5),
        ("1,00,000", ".", 100000),  # as in India
        ("-1,234", ".", -1234),
        ("1.299,5", ",", 1299.5),
        ("24.90", ".", 24.9),
        ("24,90", ".", None),
        ("24.90", ",", None),
        ("1,29,9", ".", None),
    ],
)
def test_a_comma_that_may_be_a_decimal_sign_is_not_left_out(
    tmp_path: Path, cell: str, decimal: str, number: float | None
) -> None:
    path = written(tmp_path, "a.csv", f'user;at;item;x\nu;1790000000;i;"{cell}"\n')
    fields = EVENTS | {"value": {"column": "x", "decimal": decimal}}
    mapping = parse_mapping({"kind": "events", "file": {"delimiter": ";"}, "fields": fields})
    out = tmp_path / "out.jsonl"
    report = convert("events", mapped_source(path, mapping), out, now=NOW)
    if number is None:
        ((_, reason),) = report.rejected.items()
        assert "groups no thousands" in reason.examples[0][1] and "decimal:" in reason.examples[0][1]
    elif number >= 0:
        assert json.loads(out.read_text())["value"] == number


def test_columns_within_columns_have_names(tmp_path: Path) -> None:
    row = {"user": {"id": "u1", "seen": {"at": "2026-10-01T00:00:00Z"}}, "item": {"sku": "P1", "tags": ["a", "b"]}}
    table = tmp_path / "nested.parquet"
    parquet.write_table(pa.Table.from_pylist([row, {"user": {"id": "u2", "seen": None}, "item": None}]), table)
    lines = written(tmp_path, "nested.json", json.dumps(row) + "\n")
    for path in (table, lines):
        assert columns_of(path) == ["user.id", "user.seen.at", "item.sku", "item.tags"]
        fields = {"user_id": "user.id", "event": {"value": "view"}, "timestamp": "user.seen.at", "tags": "item.tags"}
        mapping = parse_mapping({"kind": "events", "fields": fields | {"item_id": "item.sku"}})
        out = tmp_path / "out.jsonl"
        convert("events", mapped_source(path, mapping), out, now=NOW)
        assert json.loads(out.read_text().splitlines()[0])["tags"] == ["a", "b"]


def _book(path: Path, inner: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(inner, "<workbook/>")
    return path


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("book.xlsx", "xl/workbook.xml", "Excel workbook: save the sheet as CSV"),
        ("files.zip", "a.csv", "zip archive: unpack"),
        ("old.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Excel workbook"),
        ("page.csv", b"<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
        ("list.json", b' [{"user_id": "a"}]', "one JSON list.*jq -c"),
        ("empty.csv", b"", "empty.csv is empty"),
        ("blank.csv", b"\n\n", "blank.csv is empty"),
        ("cut.parquet", b"PAR1\x00\x00", "no Parquet file that can be read"),
        ("twice.csv", b"user,user\na,b\n", "names user more than once"),
    ],
)
def test_what_is_no_table_is_told_what_to_do(tmp_path: Path, name: str, content: str | bytes, said: str) -> None:
    path = _book(tmp_path / name, content) if isinstance(content, str) else written(tmp_path, name, content)
    with pytest.raises(TableError, match=said):
        guess(path)
    with pytest.raises(TableError, match=said):
        list(mapped_source(path, parse_mapping({"kind": "events", "fields": EVENTS})))


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ("kind: events\nfields: {user_id: usr, event: {value: view}, timestamp: at}", "'usr'.*do you mean 'user'"),
        ('kind: events\nfields: {user_id: "?", event: {value: view}, timestamp: at}', "fields.user_id is not decided"),
        ("kind: events\nfields:\n  user_id: user\n  user_id: mail\n", "user_id stands twice, again on line 4.*columns"),
        ("kind: events\nfields: {user_id: {column: user, columns: [user, mail]}}", "one of column, columns"),
        ("kind: events\nfields: {user: user, event: e, timestamp: at}", "no field user; do you mean user_id"),
        ("kind: events\nfields: {user_id: user}", "events need event, timestamp"),
        ("kind: events\nfields: [", "is no YAML"),
    ],
)
def test_a_mistake_in_the_mapping_is_named(tmp_path: Path, mapping: str, said: str) -> None:
    path = written(tmp_path, "a.csv", "user,mail,at,item\nu,m,1790000000,i\n")
    file = written(tmp_path, "a.yaml", mapping)
    with pytest.raises((MappingError, TableError), match=said):
        mapped_source(path, load_mapping(file))


def test_what_is_not_known_says_that_it_was_guessed(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", "Alpha,Beta\n1,2\n")
    found = guess(path)
    assert found.kind == "ads" and found.doubts[0].startswith("kind: ")
    load_mapping(written(tmp_path, "x.yaml", found.text))  # even so it is a mapping


def test_a_file_of_200000_rows_is_guessed_from_its_beginning_and_goes_in_whole(tmp_path: Path) -> None:
    lines = "".join(f"L{n % 5000},C-{n % 40},Enrolled,2026-10-{1 + n % 28:02d} 10:00:00\n" for n in range(200_000))
    path = written(tmp_path, "many.csv", "Learner No.,Course Ref,Status,Enrolled On\n" + lines)
    mapping = parse_mapping(guessed(path))
    report = convert("events", mapped_source(path, mapping), None, now=NOW)
    assert (report.accepted, report.users, report.items) == (200_000, 5000, 40)
