"""Erasure in objects: what is theirs goes, every other byte, line and derived id stays; whoever is cut off goes on."""

from __future__ import annotations

import gzip
import io
import time
from collections.abc import Callable
from math import inf
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import ingest
from shared.decision_log import key_of
from shared.domain import Event, Rejection
from shared.errors import Conflict, Unavailable
from shared.preprocess import parse_event
from shared.stores import Stores
from shared.stores.identities import Known
from shared.stores.objects import Objects
from shared.stores.runs import Run
from shared.sweeping import OWNERS, Erased, Swept, export_key, files, sweep
from shared.uploads import Row, StreamProblem, read_rows
from tests.conftest import TENANT, Aws
from tests.fakes.system import FakeSystem

pytestmark = pytest.mark.slow

AT = 1_790_000_000
LATER = AT + 40 * 365 * 86400.0  # an erasure after every upload of a test
UIDS = {"u" * 24}
FOLDER = f"events/{TENANT}/"
REQUIRED = frozenset({"user_id", "event", "timestamp"})


def digest(user_id: str) -> str:
    return f"#{user_id.strip()}"


def people(*user_ids: str, before: float = LATER, stay: bool = False) -> dict[str, Any]:
    digests = {digest(one) for one in user_ids}
    return {"erased": [Erased("one", digests, UIDS, {"gone"}, before, stay)], "digest": digest}


def swept(objects: Objects, *user_ids: str, before: float = LATER) -> dict[str, int]:
    """What one whole sweep removes: what a check has said before, and it leaves nothing to find."""
    named = people(*user_ids, before=before)
    found = sweep(objects, TENANT, **named, remaining=lambda: inf, write=False)
    done = sweep(objects, TENANT, **named, remaining=lambda: inf)
    assert (done.removed, done.looked_at, done.cursor) == (found.removed, found.looked_at, None)
    assert sweep(objects, TENANT, **named, remaining=lambda: inf, write=False).removed == {"one": {}}
    return done.removed["one"]


def event(user_id: object = "ann", **fields: Any) -> dict[str, Any]:
    return {"user_id": user_id, "event": "view", "timestamp": AT, "text": "a phone"} | fields


def jsonl(*rows: Any) -> bytes:
    return b"".join(row if isinstance(row, bytes) else orjson.dumps(row) + b"\n" for row in rows)


def taken(body: bytes, name: str) -> dict[int, Event | Rejection | StreamProblem]:
    """What taking a file in makes of each of its lines, derived ids included."""
    found: dict[int, Event | Rejection | StreamProblem] = {}
    for row in read_rows(io.BytesIO(body), name, REQUIRED):
        if isinstance(row, Row):
            found[row.line] = parse_event(row.value, now=AT + 1.0, index=row.line)
        else:
            found[row.index if isinstance(row, Rejection) else 0] = row
    return found


def plain(body: bytes) -> bytes:
    return gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body


CSV = (
    b'user_id,event,timestamp,text\r\nbob,view,1790000000,"two\nlines"\r\nann,view,1790000000,"my ""own""\n\ntext"\r\n'
    b"\r\n ann ,click,1790000001,\r\nbob,click,1790000002,last"
)
JSONL = jsonl(
    b"\xef\xbb\xbf" + orjson.dumps(event()) + b"\r\n",
    event("bob", text="ann"),
    b"\n",
    event(" ann ", tags=["x"]),
    event("bob", event_id="given"),
    b'  {"event": "view", "timestamp": 1790000000, "user_id": "\\u0061nn"}  \n',
    event("ann2"),
    orjson.dumps(event("ann")),
)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("name", "body", "rows"), [("a.jsonl", JSONL, 4), ("a.csv", CSV, 2)])
def test_rows_go_and_all_else_keeps_its_place(stores: Stores, name: str, body: bytes, rows: int, packed: bool) -> None:
    key = FOLDER + (f"{name}.gz" if packed else name)
    stores.objects.put(key, gzip.compress(body) if packed else body, "text/x-mine", metadata={"mine": "1"})
    assert swept(stores.objects, "ann") == {"uploads": rows}
    left = stores.objects.get(key)
    assert (left[:2] == b"\x1f\x8b") == packed
    left = plain(left)
    assert len(left) == len(body) and left.count(b"\n") == body.count(b"\n")
    assert all(new == old or chr(new) in ' "' for new, old in zip(left, body, strict=True))
    before = {
        line: one for line, one in taken(body, name).items() if not (isinstance(one, Event) and one.user_id == "ann")
    }
    assert taken(left, name) == before and len(before) >= 2
    opened = stores.objects.open(key)
    assert opened.headers["ContentType"] == "text/x-mine" and opened.metadata["mine"] == "1"


@pytest.mark.parametrize(
    ("line", "goes"),
    [
        (b'{"user_id": "ann", "event": "vi', True),
        (b'{"user_id": "a\\u006en", "text": \xff}', True),
        (b"[\"ann\", 'view']", True),
        (b"ann view 1790000000", True),
        (b'{"user_id": "anna", "event": "vi', False),
        (orjson.dumps(event("ann", timestamp="yesterday")), True),
        (orjson.dumps(event("an\u200bn")), True),
        (orjson.dumps({"user_id": ["ann"]}), True),
        (b'{"user_id": 5.0, "text": "ann5"}', False),
        (b"{'user_id': 'wechat:o123', 'event': 'view'}", True),
        (b"{user_id:wechat:o123,event:view}", True),
        (b"GET /collect?user_id=ann&event=view", True),
        (b'{"user_id":"ann,"event":"view"}', True),
        (b'{"body": "{\\"user_id\\": \\"ann\\"}"}', True),
        (b'{"user_id": 98765432109876543210}', True),
        (b'{"User_ID": "ann", "event": "view", "timestamp": 1790000000}', True),
        (b'{"user_id": "ann", "event": "view", "user_id": "bob", "timestamp": 1790000000}', True),
        (
            b'{"user_id": "bob", "text": "ann", "note": {"user_id": "ann"}, "event": "view", "timestamp": 1790000000}',
            False,
        ),
        ("müller".encode("latin-1"), "unreadable"),
        ("ann\n".encode("utf-16-le")[:-2], "unreadable"),
    ],
)
def test_lines_that_are_no_event_go_where_they_name_somebody(stores: Stores, line: bytes, goes: bool | str) -> None:
    body = jsonl(event("bob"), line + b"\n", event("bob"))
    stores.objects.put(FOLDER + "a.jsonl", body)
    place = goes if isinstance(goes, str) else "uploads"
    assert swept(stores.objects, "ann", "wechat:o123", "98765432109876543210") == ({place: 1} if goes else {})
    assert stores.objects.get(FOLDER + "a.jsonl") == (body.replace(line, b" " * len(line)) if goes else body)


def test_names_in_another_encoding_and_numbers_are_found(stores: Stores) -> None:
    chinese = "张三,view,1790000000\n".encode("gb18030")
    stores.objects.put(FOLDER + "a.csv", b"user_id,event,timestamp\n" + chinese + b"bob,view,1790000000\n")
    stores.objects.put(FOLDER + "n.jsonl", jsonl(event(12345), event(54321)))
    assert swept(stores.objects, "张三", "12345") == {"uploads": 2}
    assert not stores.objects.get(FOLDER + "a.csv").split(b"\n")[1].strip(b' "')


def test_a_long_line_full_of_escaped_quotes_is_judged_in_one_go(stores: Stores) -> None:
    line = b'{"event":"view","text":"' + b'\\"k\\":\\"v\\",' * 10_000 + b'\\"user_id\\":\\"ann\\"\n'  # 120 KB
    stores.objects.put(FOLDER + "a.jsonl", jsonl(event("bob"), line))
    began = time.process_time()
    assert swept(stores.objects, "ann") == {"uploads": 1}
    assert time.process_time() - began < 10  # it took a minute and more


def test_rows_behind_an_open_quote_read_as_before(stores: Stores) -> None:
    body = (
        b"user_id,event,timestamp,text\n"
        b'bob,view,1790000000,"hello\n'
        b'ann,view,1790000001,say "hi\n'
        b'carl,view,1790000002,he said"\n'
        b"dora,view,1790000003,x\n"
    )
    stores.objects.put(FOLDER + "a.csv", body)
    was = taken(body, "a.csv")
    assert swept(stores.objects, "ann") == {"uploads": 1}
    assert taken(stores.objects.get(FOLDER + "a.csv"), "a.csv") == {line: one for line, one in was.items() if line != 3}
    assert swept(stores.objects, "dora") == {"uploads": 1}
    assert list(taken(stores.objects.get(FOLDER + "a.csv"), "a.csv")) == [2, 4]


def test_what_nobody_can_read_stays_where_it_came_later(stores: Stores) -> None:
    cut = gzip.compress(jsonl(*[event(f"p{n}") for n in range(2000)]))[:-60]
    for name, body in (
        ("a.jsonl.gz", cut),
        ("b.txt", b"notes"),
        ("c.jsonl", b"\xff\n" + b"x" * (3 << 20) + b"\nann\n"),
    ):
        stores.objects.put(FOLDER + name, body)
    assert swept(stores.objects, "ann", before=AT + 50.0) == {"uploads": 1}
    assert stores.objects.get(FOLDER + "a.jsonl.gz") == cut and stores.objects.get(FOLDER + "b.txt") == b"notes"
    assert swept(stores.objects, "ann") == {"unreadable": 4}


def test_what_came_before_is_of_before_whatever_it_says(stores: Stores) -> None:
    modified = LATER - 100
    metadata = {"adtailor-original": "e0", "adtailor-uploaded": repr(modified)}
    ahead = LATER + 28_000  # local time without its offset
    for name, came in (("a.jsonl", modified), ("b.jsonl", LATER + 1)):
        stores.objects.put(
            FOLDER + name,
            jsonl(event(timestamp=ahead), event("bob")),
            metadata=metadata | {"adtailor-uploaded": repr(came)},
        )
    assert swept(stores.objects, "ann") == {"uploads": 1}
    assert b"ann" in stores.objects.get(FOLDER + "b.jsonl")


@pytest.mark.parametrize(
    ("timestamp", "came", "known"),
    [
        *((9.0, 12.0, True), (9.0, None, True), (11.0, 12.0, False), (99.0, 9.0, True), (10.7, 10.0, False)),
        *((10.4, 10.0, True), (99.0, 10.0, True), (11.0, 10.0, True), (99.0, 11.0, False), (99.0, None, False)),
    ],
)
def test_of_one_second_the_row_itself_says_which_it_was(timestamp: float, came: float | None, known: bool) -> None:
    assert Known(None, 10.5, "e").erased(timestamp, came) is known


def test_an_object_closed_to_us_is_passed_over_and_told(stores: Stores, aws: Aws) -> None:
    key = FOLDER + "a.jsonl"
    aws.s3.put_object(Bucket=aws.bucket, Key=key, Body=jsonl(event("bob")), StorageClass="GLACIER")
    stores.objects.put(FOLDER + "b.jsonl", jsonl(event("ann")))
    done = sweep(stores.objects, TENANT, **people("ann"), remaining=lambda: inf)
    assert (done.removed, done.closed, done.cursor) == ({"one": {"uploads": 1}}, 1, None)


def test_the_log_has_its_days_and_no_more(stores: Stores) -> None:
    line = {"decision_id": "d", "person": "other"}
    now = time.time()
    young, old = (key_of(TENANT, int((now - days * 86400) // 600)) for days in (89, 92))
    for key in (young, old):
        stores.objects.put(key, gzip.compress(jsonl(line)))
    done = sweep(stores.objects, TENANT, **people("ann"), remaining=lambda: inf, log_days=90)
    assert done.removed == {"one": {}}
    assert stores.objects.get(old) == b"" and gzip.decompress(stores.objects.get(young)) == jsonl(line)


def test_of_whoever_withdrew_what_came_under_a_new_consent_stays(stores: Stores) -> None:
    (uid,) = UIDS
    lines = [{"decision_id": f"d{at}", "at": float(at), "person": uid} for at in (AT, AT + 100)]
    lines += [one | {"x": 1} for one in lines]
    key = key_of(TENANT, 2_983_000)
    stores.objects.put(key, gzip.compress(jsonl(*lines)))
    stores.objects.put(export_key(TENANT, digest("ann"), "x"), b"1")
    done = sweep(stores.objects, TENANT, **people("ann", before=AT + 50.0, stay=True), remaining=lambda: inf)
    assert done.removed == {"one": {"decision_log": 2}}
    assert gzip.decompress(stores.objects.get(key)) == jsonl(lines[1], lines[3])
    assert stores.objects.exists(export_key(TENANT, digest("ann"), "x"))
    assert swept(stores.objects, "ann", before=AT + 50.0) == {"decision_log": 2, "exports": 1}


def test_a_line_too_long_to_read_goes_once(stores: Stores) -> None:
    long = b'{"user_id": "somebody", "text": "' + b"x" * (3 << 20) + b'"}'
    body = jsonl(event("bob"), long + b"\n", event("bob"))
    stores.objects.put(FOLDER + "a.jsonl", body)
    assert swept(stores.objects, "ann") == {"unreadable": 1}
    assert stores.objects.get(FOLDER + "a.jsonl") == body.replace(long, b" " * len(long))


@pytest.mark.parametrize(
    ("name", "body", "left"),
    [
        ("a.jsonl.gz", gzip.compress(JSONL.replace(b"ann", b"eve"))[:-20], None),
        ("a.parquet", b"PAR1 ann", b""),
        ("a.jsonl", "﻿{}".encode("utf-16"), b""),
        ("a.csv", b"ann,view,1790000000\nann,view,1790000000\n", b""),
        ("a.jsonl.gz", b"not gzip", b""),
    ],
    ids=["cut", "name", "utf-16", "no-header", "not-gzip"],
)
def test_what_nobody_can_read_goes(stores: Stores, name: str, body: bytes, left: bytes | None) -> None:
    stores.objects.put(FOLDER + name, body)
    assert swept(stores.objects, "ann") == {"unreadable": 1}
    kept = stores.objects.get(FOLDER + name)
    if left is not None:
        assert kept == left
        return
    was, now = taken(body, name), taken(kept, name)
    assert 0 in was and 0 not in now and now == {line: one for line, one in was.items() if line}


@pytest.mark.parametrize("body", [b"", b"\n \n", b"user_id,event,timestamp\n"])
def test_files_of_nothing_stay_as_they_are(stores: Stores, body: bytes) -> None:
    stores.objects.put(FOLDER + ("a.csv" if b"user" in body else "a.jsonl"), body)
    stores.objects.put(FOLDER + "folder/", b"")
    assert swept(stores.objects, "ann") == {}


def test_a_file_that_is_all_theirs_is_no_bomb_afterwards(stores: Stores) -> None:
    body = jsonl(*[event("ann", text="x" * 900)] * 20_000, event("bob"))
    stores.objects.put(FOLDER + "a.jsonl.gz", gzip.compress(body, 1))
    assert swept(stores.objects, "ann") == {"uploads": 20_000}
    found = taken(stores.objects.get(FOLDER + "a.jsonl.gz"), "a.jsonl.gz")
    assert list(found) == [20_001]


def test_what_comes_and_happens_after_the_erasure_is_of_a_new_person(stores: Stores) -> None:
    stores.objects.put(
        FOLDER + "a.jsonl", jsonl(event("ann"), event("ann", timestamp=AT + 100), event("ann", timestamp=None))
    )
    modified = stores.objects.open(FOLDER + "a.jsonl").modified
    assert modified > AT + 50, "the clock of this machine is behind"
    assert swept(stores.objects, "ann", before=AT + 50.0) == {"uploads": 2}
    assert list(taken(stores.objects.get(FOLDER + "a.jsonl"), "a.jsonl")) == [2]
    assert swept(stores.objects, "ann", before=modified + 1) == {"uploads": 1}


def test_other_tenants_and_other_folders_are_left_alone(stores: Stores) -> None:
    body = jsonl(event("ann"))
    for key in ("events/demo2/a.jsonl", "events/other/a.jsonl", f"ads/{TENANT}/a.jsonl", f"labels/{TENANT}/a.jsonl"):
        stores.objects.put(key, body)
    assert swept(stores.objects, "ann") == {}
    assert stores.objects.get("events/demo2/a.jsonl") == body


# The same upload afterwards -------------------------------------------------------------------------------------------


def test_the_notice_of_a_swept_upload_takes_nothing_in_again(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    system = FakeSystem(stores)
    key = FOLDER + "a.jsonl"
    stores.objects.put(key, jsonl(event("ann"), event("bob"), b"{broken\n"))
    first = system.profiling.ingest(TENANT, key, fingerprint="")
    assert not isinstance(first, Run) and (first.accepted, first.rejected_count) == (2, 1)
    report = stores.catalogue.upload(TENANT, key)
    for name in ("ann", "bob"):  # also after a second one
        assert swept(stores.objects, name) == {"uploads": 1}
    monkeypatch.setattr(Stores, "people", None)
    opened = stores.objects.open(key)
    assert opened.etag != opened.fingerprint == (report or {})["fingerprint"]
    again = system.profiling.ingest(TENANT, key, fingerprint=opened.etag)
    assert not isinstance(again, Run) and (again.accepted, again.duplicates, again.rejected_count) == (0, 2, 1)
    assert stores.catalogue.upload(TENANT, key) == report
    stores.objects.put(key, jsonl(event("ann")))  # a new one under the same key is a new one
    assert stores.objects.open(key).etag == stores.objects.open(key).fingerprint


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_an_upload_that_is_being_split_goes_on(stores: Stores, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(ingest, "CHUNK_ROWS", 4)
    system = FakeSystem(stores)
    rows = [event("ann" if n % 3 else "bob", item_id=f"i{n}") for n in range(30)]
    body = jsonl(*rows)
    stores.objects.put(FOLDER + name, gzip.compress(body) if name.endswith("gz") else body)
    run = system.profiling.ingest(TENANT, FOLDER + name, fingerprint="", remaining=lambda: 0.0)
    assert isinstance(run, Run) and (run.emitted, run.whole) == (1, False)
    assert swept(stores.objects, "ann") == {"uploads": 20, "chunks": 2}
    again = system.profiling.ingest(TENANT, FOLDER + name, fingerprint=stores.objects.open(FOLDER + name).etag)
    assert isinstance(again, Run) and again.run_id == run.run_id and again.whole and again.problem is None
    for chunk in range(again.emitted):
        system.profiling.go_on(TENANT, run.run_id, chunk)
    done = stores.runs.find(TENANT, run.run_id)
    assert (done.done, done.accepted) == (True, 10)
    events = stores.people.events(TENANT, str(stores.people.uid(TENANT, "bob")), "bob")
    assert [one.event.event_id for one in events] == [
        one.event_id for one in taken(body, "a.jsonl").values() if isinstance(one, Event) and one.user_id == "bob"
    ]


def test_a_replaced_upload_is_not_overwritten(stores: Stores, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    key, left = FOLDER + "a.jsonl", 3
    stores.objects.put(key, jsonl(event("ann")))
    opening = Objects.open

    def replaced(self: Objects, *args: Any, **options: Any) -> Any:
        nonlocal left
        opened = opening(self, *args, **options)
        if options.get("fingerprint") and left:
            left -= 1
            aws.s3.put_object(Bucket=aws.bucket, Key=key, Body=jsonl(event("ann"), event("bob", text=str(left))))
        return opened

    monkeypatch.setattr(Objects, "open", replaced)
    done = sweep(stores.objects, TENANT, **people("ann"), remaining=lambda: inf)
    assert done.removed == {"one": {"uploads": 1}} and left == 0
    assert [one.user_id for one in taken(stores.objects.get(key), key).values() if isinstance(one, Event)] == ["bob"]
    left = 99
    with pytest.raises(Conflict):
        sweep(stores.objects, TENANT, **people("bob"), remaining=lambda: inf)
    assert b"bob" in stores.objects.get(key)


@pytest.mark.slow
def test_a_table_that_is_all_theirs_is_no_bomb_afterwards(stores: Stores) -> None:
    rows = b"ann,view,1790000000," + b"x" * 9000 + b"\n"
    stores.objects.put(FOLDER + "a.csv.gz", gzip.compress(b"user_id,event,timestamp,text\n" + rows * 2000, 0))
    assert swept(stores.objects, "ann") == {"uploads": 2000}
    assert taken(stores.objects.get(FOLDER + "a.csv.gz"), "a.csv.gz").keys() <= {0}
    assert swept(stores.objects, "bob") == {}


def test_an_upload_past_its_days_is_emptied(stores: Stores) -> None:
    metadata = {"adtailor-original": "e0", "adtailor-uploaded": "1000.0"}
    stores.objects.put(FOLDER + "a.jsonl", jsonl(event("ann"), event("bob")), metadata=metadata)
    stores.objects.put(FOLDER + "b.jsonl", jsonl(event("eve"), event("bob")), metadata=metadata)
    stores.objects.put(FOLDER + "c.jsonl", jsonl(event("eve"), event("bob")))
    assert swept(stores.objects, "ann") == {"uploads": 1}
    left = [stores.objects.get(f"{FOLDER}{name}.jsonl") for name in "abc"]
    assert left == [b"", b"", jsonl(event("eve"), event("bob"))]


# What the system wrote itself -----------------------------------------------------------------------------------------


def test_chunks_rejected_lines_the_log_and_exports(stores: Stores) -> None:
    (uid,) = UIDS
    put = stores.objects.put
    chunk = jsonl([1, event("ann")], [2, event("bob")], [3, None, "row", "The line is not JSON."])
    put(f"chunks/{TENANT}/r1/00000000.jsonl", chunk)
    put(f"chunks/{TENANT}/r2/00000000.jsonl", orjson.dumps(["a", uid, "b"]))
    quoting = {"line": 7, "field": "event", "reason": 'event "ann "at" home" is unknown; use view or click.'}
    silent = {"line": None, "field": "upload", "reason": "The file is empty."}
    put(f"chunks/{TENANT}/r1/00000000.rejected.jsonl", jsonl(quoting))
    put(f"rejected/{TENANT}/a.jsonl.events.jsonl", jsonl(quoting, silent))
    put(f"rejected/{TENANT}/a.jsonl.ads.jsonl", jsonl(quoting))
    lines = [
        {"decision_id": "d1", "person": uid},
        {"decision_id": "gone", "person": None},
        {"decision_id": "d2", "person": None},
        {"decision_id": "d3", "person": "other"},
        {"decision_id": "d4", "at": 1790000000.5, "person": uid, "n": 1},
        {"decision_id": "gone", "at": 1790000000.5, "person": None, "n": 1},
        {"decision_id": "d5", "at": 1790000000.5, "person": None, "candidates": [f'"person":"{uid}"']},
    ]
    put(key_of(TENANT, 2_983_000), gzip.compress(jsonl(*lines)))
    put(export_key(TENANT, digest("ann"), "x"), b"1")
    put(export_key(TENANT, digest("bob"), "y"), b"2", metadata={OWNERS: f"other,{uid}"})
    put(export_key(TENANT, digest("bob"), "z"), b"3", metadata={OWNERS: "other"})
    assert swept(stores.objects, "ann") == {"chunks": 3, "rejected": 1, "decision_log": 4, "exports": 2}
    get = stores.objects.get
    assert get(f"chunks/{TENANT}/r1/00000000.jsonl") == b"".join(chunk.splitlines(keepends=True)[1:])
    assert orjson.loads(get(f"chunks/{TENANT}/r2/00000000.jsonl")) == ["a", "b"]
    assert orjson.loads(get(f"chunks/{TENANT}/r1/00000000.rejected.jsonl"))["reason"] == (
        'event "…" is unknown; use view or click.'
    )
    assert orjson.loads(get(f"rejected/{TENANT}/a.jsonl.events.jsonl").splitlines()[1]) == silent
    assert b"home" in get(f"rejected/{TENANT}/a.jsonl.ads.jsonl")
    assert [
        one["decision_id"] for one in map(orjson.loads, gzip.decompress(get(key_of(TENANT, 2_983_000))).splitlines())
    ] == [
        "d2",
        "d3",
        "d5",
    ]
    assert list(stores.objects.keys("exports/")) == [export_key(TENANT, digest("bob"), "z")]


# Cut off --------------------------------------------------------------------------------------------------------------


def in_turns(one_call: Callable[[Any], Swept], most: int = 400) -> tuple[dict[str, int], int]:
    """Calls until nothing is left, each with the cursor of the one before, as a row keeps it."""
    total: dict[str, int] = {}
    cursor: Any = None
    for calls in range(1, most):
        done = one_call(cursor)
        for place, count in done.removed["one"].items():
            total[place] = total.get(place, 0) + count
        cursor = orjson.loads(orjson.dumps(done.cursor))
        if cursor is None:
            return total, calls
    raise AssertionError("it never ends")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.jsonl.gz"])
def test_a_large_upload_is_swept_in_many_turns(stores: Stores, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(files, "PART_BYTES", 5 << 20)  # the least that S3 takes
    random = Random(5)
    numbers = range(4000)
    noise = [random.randbytes(1500).hex() for _ in numbers]
    if name.endswith("csv"):
        rows = [f'{"ann" if n % 50 == 7 else "bob"},view,{AT},"{noise[n]}\n"\n'.encode() for n in numbers]
        body = b"user_id,event,timestamp,noise\n" + b"".join(rows)
    else:
        body = jsonl(*[event("ann" if n % 50 == 7 else "bob", noise=noise[n]) for n in numbers])
    stores.objects.put(FOLDER + name, gzip.compress(body, 0) if name.endswith("gz") else body)
    for other in ("0.jsonl", "z.jsonl"):
        stores.objects.put(FOLDER + other, jsonl(event("ann")))
    named = people("ann")

    def turn(cursor: Any) -> Swept:
        calls = iter([inf])  # the time is up at the first question but one
        return sweep(stores.objects, TENANT, **named, remaining=lambda: next(calls, 0.0), cursor=cursor)

    def look(cursor: Any) -> Swept:
        calls = iter([inf] * 5)
        return sweep(stores.objects, TENANT, **named, remaining=lambda: next(calls, 0.0), cursor=cursor, write=False)

    found, turns = in_turns(look)
    assert found["uploads"] == 82 and turns > 2
    removed, turns = in_turns(turn)
    assert removed == found and turns >= 3
    left = plain(stores.objects.get(FOLDER + name))
    was = taken(body, name.removesuffix(".gz"))
    assert len(left) == len(body)
    assert taken(left, name.removesuffix(".gz")) == {
        line: one for line, one in was.items() if isinstance(one, Event) and one.user_id != "ann"
    }
    assert sweep(stores.objects, TENANT, **named, remaining=lambda: inf, write=False).removed == {"one": {}}


@pytest.mark.slow
def test_whoever_is_cut_off_at_any_call_leaves_what_a_repeat_makes_good(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    (uid,) = UIDS
    objects, calling = stores.objects, Objects._call
    made = {
        FOLDER + "a.jsonl": (JSONL, {}),
        f"chunks/{TENANT}/r1/00000000.jsonl": (jsonl([1, event("ann")], [2, event("bob")]), {}),
        key_of(TENANT, 2_983_000): (gzip.compress(jsonl({"decision_id": "gone", "person": uid})), {}),
        export_key(TENANT, digest("bob"), "y"): (b"2", {OWNERS: uid}),
    }
    final: dict[str, bytes] = {}
    left = -1  # calls until one fails

    def failing(self: Objects, operation: str, **arguments: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            raise Unavailable("cut off")
        return calling(self, operation, **arguments)

    monkeypatch.setattr(Objects, "_call", failing)
    for after in range(40):
        left = -1
        for key, (body, metadata) in made.items():
            objects.put(key, body, metadata=metadata)
        left = after
        cursor, again = None, True
        while again:
            try:
                done = sweep(objects, TENANT, **people("ann"), remaining=lambda: inf, cursor=cursor)
                cursor, again = done.cursor, done.cursor is not None
            except Unavailable:
                assert left <= 0
        cut, left = left <= 0, -1
        found = {key: objects.get(key) for key in objects.keys("")}
        final = final or found
        assert found.keys() == final.keys() == made.keys() - {export_key(TENANT, digest("bob"), "y")}
        assert {key: plain(body) for key, body in found.items()} == {key: plain(body) for key, body in final.items()}
        if after and not cut:
            return
    raise AssertionError("it makes more calls than were tried")


# Anything -------------------------------------------------------------------------------------------------------------

ids = st.sampled_from(["ann", "bob", " ann", "eve", "安娜"])
texts = st.text(max_size=12) | st.sampled_from(["ann", 'a "quote"', "two\nlines", "x,y", "\r"])
kinds = st.sampled_from(["row", "row", "row", "blank", "broken"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(st.tuples(kinds, ids, texts), max_size=12),
    end=st.sampled_from([b"\n", b"\r\n"]),
    packed=st.booleans(),
)
def test_of_any_upload_the_rows_of_others_stay(
    stores: Stores, lines: list[tuple[str, str, str]], end: bytes, packed: bool
) -> None:
    parts = []
    for kind, user_id, text in lines:
        row = orjson.dumps(event(user_id, text=text))
        parts.append({"row": row, "blank": b" ", "broken": row[:-9]}[kind])
    body = end.join(parts)
    stores.objects.put(FOLDER + "a.jsonl", gzip.compress(body) if packed else body)
    swept(stores.objects, "ann", "安娜")
    left = plain(stores.objects.get(FOLDER + "a.jsonl"))
    gone = {
        n
        for n, (kind, user_id, _) in enumerate(lines, 1)
        if kind != "blank"
        and (user_id.strip() in ("ann", "安娜") or parts[n - 1].decode(errors="ignore").encode() != parts[n - 1])
    }
    was = {line: one for line, one in taken(body, "a.jsonl").items() if line}
    assert {line: one for line, one in taken(left, "a.jsonl").items() if line} == {
        line: one for line, one in was.items() if line not in gone
    }
    assert len(left) == len(body)
