"""The exposure report: what it adds up, its measures of concentration, and its command."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from infra import exposure
from infra.disclosure import KeyedRounding, rounding_of
from infra.exposure import effective_number, gini, report
from infra.ope.decisions import read
from infra.ope.intervals import wilson
from shared.settings import Settings
from tests.fakes.decided import BEGIN, decision_lines, write_log

pytestmark = pytest.mark.slow

NOW = BEGIN + 30 * 86400
COUNTS = st.lists(st.integers(0, 1000), min_size=1, max_size=30).filter(any)


def exactly(count: int, step: int, *mark: str) -> int:
    """No rounding: what a report would say that kept nothing to itself but small rows."""
    return count


def reported(lines: list[dict[str, Any]], k_floor: int = 1, **more: Any) -> dict[str, Any]:
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    decided, _ = read([("log", io.BytesIO(body))], now=NOW, explored_only=False)
    return report(decided, k_floor, more.pop("rounding", exactly), now=NOW, **more)


def test_what_was_seen_and_clicked_is_added_up_within_each_persons_bounds() -> None:
    lines = decision_lines(60)
    found = reported(lines)
    clicks = sum(slot["click_at"] is not None for line in lines for slot in line["slots"])
    assert (found["people"], found["impressions"], found["clicks"]) == (
        len({line["person"] for line in lines}),
        180,
        clicks,
    )
    assert sum(row["impressions"] for row in found["slots"].values()) == 180
    assert sum(row["impressions"] for row in found["segments"].values()) == 180  # each of these is in one segment
    assert sum(row["share"] for row in found["campaigns"].values()) == pytest.approx(1, abs=1e-4)
    first = found["slots"]["1"]
    assert (first["impressions"], first["low"]) == (60, round(wilson(max(first["clicks"] - 4, 0), 60).low, 6))
    for line in lines:
        line["person"] = line["counts_as"] = "one"
    found = reported(lines + decision_lines(40, seed=1))
    assert found["impressions"] == 20 + 120  # one person counts for 20 impressions of all, however many they had
    assert all(row["impressions"] <= 4 + 40 * 3 for row in found["campaigns"].values())


def test_rows_are_told_of_when_their_people_round_to_twice_the_floor() -> None:
    lines = decision_lines(60)
    for number, line in enumerate(lines):
        line["person"] = line["counts_as"] = f"person-{number}"
        line["segments"] = ["many", "few"] if number < 15 else ["many"]
        for candidate in line["candidates"]:
            candidate["campaign_id"] = "rare" if number < 3 else "other" if number < 20 else "usual"
    found = reported(lines, k_floor=8)
    assert set(found["segments"]) == {"many"}
    assert set(found["segments"]["many"]["campaigns"]) == {"usual", "other"}
    assert "few" not in json.dumps(found) and "rare" not in json.dumps(found)
    assert set(reported(lines, k_floor=7)["segments"]) == {"many", "few"}
    assert set(reported(lines, k_floor=7, floor=9)["segments"]) == {"many"}


def test_decisions_of_nobody_are_impressions_and_no_people() -> None:
    """All of them may be one person's, who refused and asked again and again."""
    lines = decision_lines(60)
    for number, line in enumerate(lines):
        for candidate in line["candidates"]:
            candidate["campaign_id"] = "rare" if number < 3 else "usual"
    known = reported(lines, k_floor=8)
    for line in lines:
        line["person"] = line["counts_as"] = None
    found = reported(lines, k_floor=8)
    assert (found["people"], found["campaigns"], found["slots"], found["segments"]) == (0, {}, {}, {})
    assert found["anonymous"] == {
        "impressions": 180,
        "campaigns": {"usual": 171},
        "slots": {"1": 60, "2": 60, "3": 60},
    }
    assert found["weeks"] == known["weeks"] and found["effective_campaigns"] == 1.0
    both = reported(lines[:50] + decision_lines(60, seed=1), k_floor=8)
    alone = reported(decision_lines(60, seed=1), k_floor=8)
    for name in ("people", "impressions", "clicks", "campaigns", "slots", "segments"):
        assert both[name] == alone[name]  # what nobody did moves no figure of people


def test_linked_ids_are_one_person() -> None:
    lines = decision_lines(60)
    for number, line in enumerate(lines):
        line["person"], line["counts_as"] = f"id-{number % 20}", "one of them"
    found = reported(lines, k_floor=2)
    assert found["people"] == 0 and found["campaigns"] == {}
    for line in lines:
        line["counts_as"] = line["person"]
    assert reported(lines, k_floor=2)["people"] == 20


def test_tenants_figures_of_one_name_are_rounded_apart(tmp_path: Path) -> None:
    settings = Settings.from_env({"STAGE": "local", "PSEUDONYM_KEY_FILE": str(tmp_path / "key")})
    names = [str(number) for number in range(60)]
    acme, globex, again = ([rounding_of(settings, one)(7, 5, name) for name in names] for one in ("a", "g", "a"))
    assert acme == again != globex


def test_a_week_is_told_of_when_it_is_over() -> None:
    lines = decision_lines(60)
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    for now, weeks in ((BEGIN + 5 * 86400, []), (BEGIN + 9 * 86400, ["2026-09-21"])):
        decided, _ = read([("log", io.BytesIO(body))], now=now, explored_only=False)
        assert report(decided, 1, exactly, now=now)["weeks"] == weeks


@given(COUNTS, st.integers(1, 5))
def test_concentration_is_bounded_and_knows_no_scale(counts: list[int], times: int) -> None:
    assert -1e-9 <= gini(counts) <= 1 - 1 / len(counts) + 1e-9
    assert 1 - 1e-9 <= effective_number(counts) <= len(counts) + 1e-9
    assert gini([count * times for count in counts]) == pytest.approx(gini(counts))
    assert effective_number(counts * times) == pytest.approx(effective_number(counts) * times)
    assert gini([3] * len(counts)) == pytest.approx(0)


def test_the_command_reads_files_and_never_goes_below_the_floor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K_FLOOR", "5")
    monkeypatch.setenv("PSEUDONYM_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setattr(time, "time", lambda: NOW)
    write_log(tmp_path / "a.jsonl.gz", decision_lines(200))
    app = typer.Typer()
    app.command()(exposure.main)
    runs = [CliRunner().invoke(app, ["--log", str(tmp_path / "*.gz"), "--k-floor", "2"]) for _ in range(2)]
    figures = json.loads(runs[0].stdout.strip().splitlines()[-1])
    assert runs[0].exit_code == 0 and figures["k_floor"] == 5
    assert runs[0].stdout == runs[1].stdout  # asked again, it says the same
    rounding = KeyedRounding((tmp_path / "key").read_bytes())
    assert figures == json.loads(json.dumps(reported(decision_lines(200), 5, rounding=rounding)))
    assert figures["people"] % 5 == 0 and figures["impressions"] % 100 == 0 and "campaign-" in runs[0].stderr
    assert CliRunner().invoke(app, ["--log", str(tmp_path / "nothing")]).exit_code == 1
