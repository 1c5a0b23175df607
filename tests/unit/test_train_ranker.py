"""Reading the decision log, the options of the command, and what it refuses."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from infra.training import clicks_log, clicks_training, train_ranker
from infra.training.clicks_log import read
from shared.models.artifacts import verify, write_manifest
from shared.models.features import FEATURES, HISTORY_ITEMS

pytestmark = pytest.mark.slow

HOUR, DAY = 3600.0, 86400.0
NOW = 2_000_000_000.0
POSITION = FEATURES.index("position")


def slot(place: int = 1, ad: str = "ad-1", at: float | None = NOW, click: float | None = None) -> dict[str, Any]:
    return {"slot": place, "ad_id": ad, "propensity": 0.7, "impression_at": at, "click_at": click}


def line(name: str, *slots: dict[str, Any], **changed: Any) -> dict[str, Any]:
    candidates = [
        {"ad_id": one["ad_id"], "slot": one["slot"], "features": [float(one["slot"])] * len(FEATURES)} for one in slots
    ]
    return {
        "decision_id": name,
        "at": NOW,
        "person": "p1",
        "history": ["i1", "ad-1"],
        "history_ages": [0.5, 3.0],
        "candidates": candidates,
        "slots": list(slots),
    } | changed


Log = Callable[..., Path]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    def write(*rows: dict[str, Any] | str, name: str = "log.jsonl") -> Path:
        text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return write


def test_impressions_are_slots_that_were_shown_in_order_of_time(log: Log) -> None:
    shown = line("a", slot(1, "ad-1", NOW + 9), slot(3, "ad-2", NOW + 5, NOW + 8), slot(2, "ad-3", None))
    found, told = read([log(shown, name="log.jsonl.gz")], now=NOW + 2 * DAY)
    assert [found.ids[ad] for ad in found.ad] == ["ad-2", "ad-1"]
    assert found.clicked.tolist() == [True, False]
    assert found.columns[:, POSITION].tolist() == [2.0, 1.0]
    assert found.columns[:, 0].tolist() == [3.0, 1.0]
    assert found.propensity.tolist() == [0.7, 0.7]
    assert [found.ids[place] for place in found.history[0] if place >= 0] == ["i1", "ad-1"]
    assert found.ages[0, :3].tolist() == [0.5, 3.0, 0.0]
    assert (told.lines, told.decisions, told.left_out, told.bad) == (1, 1, 0, {})


@pytest.mark.parametrize(
    ("after", "clicked"),
    [(0.0, True), (23 * HOUR, True), (DAY, True), (DAY + 1, False), (-1.0, True), (None, False)],
    ids=str,
)
def test_a_click_counts_within_its_window(log: Log, after: float | None, clicked: bool) -> None:
    click = None if after is None else NOW + after
    found, _ = read([log(line("a", slot(click=click)))], now=NOW + 3 * DAY)
    assert found.clicked.tolist() == [clicked]


def test_impressions_younger_than_the_window_are_left_out_clicked_or_not(log: Log) -> None:
    rows = [line(str(hours), slot(at=NOW - hours * HOUR, click=NOW)) for hours in (0, 1, 23, 24, 30)]
    found, told = read([log(*rows)])
    assert sorted(NOW - found.at) == [24 * HOUR, 30 * HOUR]
    assert told.left_out == 3
    assert len(read([log(*rows)], window=HOUR)[0]) == 4
    assert "3 impressions are younger" in " ".join(told.notes())


def test_a_decision_written_twice_counts_as_it_was_written_last(log: Log) -> None:
    first = log(line("a", slot()), name="1.jsonl")
    last = log(line("a", slot(click=NOW + 5)), name="2.jsonl")
    found, told = read([first, last], now=NOW + 2 * DAY)
    assert found.clicked.tolist() == [True]
    assert sum(told.bad.values()) == 1


BAD: dict[str, dict[str, Any] | str] = {
    "not JSON": "{",
    "no object": "[1]",
    "no slots": {key: value for key, value in line("b", slot()).items() if key != "slots"},
    "features of another version": line("b", slot(), candidates=[{"ad_id": "ad-1", "slot": 1, "features": [1.0]}]),
    "shown, but no candidate": line("b", slot(), candidates=[]),
    "slot 0": line("b", slot(0)),
    "no propensity": line("b", slot() | {"propensity": 0.0}),
    "ages": line("b", slot(), history_ages=[1.0]),
    "time": line("b", slot(), at="yesterday"),
    "infinite": line("b", slot(at=float("inf"))),
    "ids": line("b", slot(), history=[1, 2]),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_line_is_counted_and_the_rest_is_read(log: Log, bad: dict[str, Any] | str) -> None:
    found, told = read([log(line("a", slot()), bad, line("c", slot(click=NOW + 1)))], now=NOW + 2 * DAY)
    assert found.clicked.tolist() == [False, True]
    assert list(told.bad.values()) == [1]
    assert any("left out" in note for note in told.notes())


def test_a_damaged_file_gives_what_is_before_the_damage(log: Log) -> None:
    path = log(*(line(str(number), slot(), person=f"p{number}") for number in range(3000)), name="log.jsonl.gz")
    path.write_bytes(path.read_bytes()[:-400])
    found, told = read([path], now=NOW + 2 * DAY)
    assert 0 < len(found) < 3000
    assert "damaged" in " ".join(told.bad)


def test_a_person_unknown_and_a_long_history(log: Log) -> None:
    many = [f"i{number}" for number in range(HISTORY_ITEMS + 5)]
    rows = [line("a", slot(), person=None, history=many, history_ages=[1.0] * len(many)), line("b", slot(), person="q")]
    found, _ = read([log(*rows)], now=NOW + 2 * DAY)
    assert found.person.tolist() == [-1, 0]
    assert [found.ids[place] for place in found.history[0]] == many[:HISTORY_ITEMS]
    assert found.ages.shape == (2, HISTORY_ITEMS)


def test_a_decisions_history_has_each_item_once(log: Log) -> None:
    turns = [name for number in range(HISTORY_ITEMS + 2) for name in (f"i{number}", "again")]
    ages = [float(number) for number in range(len(turns))]
    found, _ = read([log(line("a", slot(), person="p", history=turns, history_ages=ages))], now=NOW + 2 * DAY)
    once = ["i0", "again", *(f"i{number}" for number in range(1, HISTORY_ITEMS - 1))]
    assert [found.ids[place] for place in found.history[0]] == once
    assert set(found.ids) == {*once, "ad-1"}, "nothing that nobody reads"
    assert found.ages[0].tolist() == [0, 1, *(2 * number for number in range(1, HISTORY_ITEMS - 1))]


def test_a_decision_is_never_divided_between_the_parts(log: Log) -> None:
    rows = [line(f"{n:03}", *(slot(place, at=NOW + n + place / 7) for place in (1, 2, 3))) for n in range(101)]
    found, _ = read([log(*rows)], now=NOW + 2 * DAY)
    parts = clicks_training.parts(found)
    decisions = [set(found.decision[rows].tolist()) for rows in parts]
    assert sum(map(len, parts)) == len(found)
    assert not decisions[0] & decisions[1] | decisions[1] & decisions[2]
    assert max(decisions[0]) < min(decisions[1]) <= max(decisions[1]) < min(decisions[2])
    assert len(parts[0]) == pytest.approx(0.8 * len(found), abs=3)


def test_names_folders_and_globs_stand_for_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / "day-1" / "0000.jsonl.gz", tmp_path / "day-2" / "0100.jsonl.gz"]
    for path in (*paths, tmp_path / "day-2" / "notes.txt"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    assert train_ranker.files([str(tmp_path)]) == paths
    assert train_ranker.files([f"{tmp_path}/*/*.jsonl.gz", str(paths[0])]) == paths
    monkeypatch.chdir(tmp_path)
    assert [path.resolve() for path in train_ranker.files(["day-?/0*"])] == paths
    with pytest.raises(ValueError, match="no file"):
        train_ranker.files(["day-9/*"])


def test_histories_are_in_order_of_time_and_of_the_file(tmp_path: Path) -> None:
    rows = [
        {"user_id": "u", "item_id": "b", "timestamp": "2026-01-02T00:00:00Z"},
        {"user_id": "u", "item_id": "a", "timestamp": "2026-01-01T00:00:00Z"},
        {"user_id": "u", "item_id": "unknown", "timestamp": "2026-01-01T00:00:00Z"},
        {"user_id": "u", "item_id": "c", "timestamp": "2026-01-02T00:00:00Z"},
        {"user_id": "u", "item_id": "a", "event": "dismiss", "timestamp": "2026-01-03T00:00:00Z"},
        {"user_id": "v", "item_id": "c", "position": 2},
        {"user_id": "v", "item_id": "a", "position": 1},
        {"user_id": "v", "item_id": "c", "event": "cart", "position": 3},  # after it was looked at: once
        {"user_id": "v", "item_id": "a", "position": 4},
        {"user_id": "v", "item_id": "a", "position": 5},  # again, by the same event: twice
    ]
    path = tmp_path / "events.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = train_ranker.histories([path], {"a": 0, "b": 1, "c": 2})
    assert [own.tolist() for own in found] == [[0, 1, 2], [0, 2, 0]]
    path.write_text('{"user_id": "u", "item_id": "a", "timestamp": "soon"}\n')
    with pytest.raises(ValueError, match=r"events\.jsonl, row 1"):
        train_ranker.histories([path], {"a": 0})


def run(*options: str) -> Any:
    app = typer.Typer()
    app.command()(train_ranker.command)
    return CliRunner().invoke(app, list(options))


def test_too_few_clicks_are_refused_and_nothing_is_written(log: Log, tmp_path: Path) -> None:
    rows = [line(f"{n}", slot(at=NOW + n, click=NOW + n if n % 4 == 0 else None)) for n in range(790)]
    rows.append(line("last", slot(at=NOW + 2 * DAY)))
    done = run("--log", str(log(*rows, "{")), "--out", str(tmp_path / "out"))
    assert done.exit_code == 1
    assert "not trained: 198 clicks on 790 impressions are too few" in done.stderr
    assert "1 x a line that is not JSON" in done.stderr
    assert not (tmp_path / "out").exists()


def test_clicks_that_all_come_early_are_refused(log: Log) -> None:
    rows = [line(f"{n:04}", slot(at=NOW + n, click=NOW + n if n < 300 else None)) for n in range(1000)]
    found, _ = read([log(*rows)], now=NOW + 2 * DAY)
    with pytest.raises(clicks_training.Refused, match="to choose on have 0 clicks among 100"):
        clicks_training.train(found, np.zeros((len(found.ids), 384), np.float32))


def test_wrong_options_are_told_before_anything_is_read(tmp_path: Path) -> None:
    assert run("--out", str(tmp_path)).exit_code == 2
    events = tmp_path / "events.jsonl"
    events.write_text("")
    assert run("--events", str(events), "--out", str(tmp_path)).exit_code == 2
    missing = run("--log", str(tmp_path / "none*.jsonl"), "--out", str(tmp_path / "out"))
    assert missing.exit_code == 1
    assert "stands for no file" in missing.stderr


def test_an_upload_ends_with_the_manifest_and_names_no_latest(tmp_path: Path) -> None:
    keys: list[str] = []

    class Client:
        def upload_file(self, path: str, bucket: str, key: str) -> None:
            assert Path(path).is_file()
            assert bucket == "bucket"
            keys.append(key)

    for name in ("clicks.onnx", "next_item/a.npz"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    manifest = write_manifest(tmp_path, "ranker", "ranker")
    prefix = train_ranker.upload(tmp_path, verify(tmp_path, "ranker"), Client(), "bucket", "demo")
    assert prefix == f"artifacts/demo/ranker/{manifest.version}"
    assert sorted(keys) == [f"{prefix}/{name}" for name in ("clicks.onnx", "manifest.json", "next_item/a.npz")]
    assert keys[-1] == f"{prefix}/manifest.json"


def test_the_window_is_a_day() -> None:
    assert clicks_log.WINDOW == DAY


def test_vectors_that_are_given_go_before_texts(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npz"
    given = np.eye(2, 384, dtype=np.float16)
    np.savez(path, ids=np.frombuffer(json.dumps(["a", "b"]).encode(), np.uint8), vectors=given)
    sources = train_ranker._Sources({"a": "a text that is not read"}, train_ranker._vectors(path), tmp_path)
    np.testing.assert_array_equal(sources.of(["b", "?", "a"]), given[[1, 0, 0]] * [[1], [0], [1]])
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is not a file of vectors"):
        train_ranker._vectors(path)
