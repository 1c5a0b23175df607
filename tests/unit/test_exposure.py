"""The exposure report: its sums, its measures of concentration, and nothing about fewer than k people."""

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
from infra.exposure import effective_number, gini, report
from infra.ope.decisions import read
from infra.ope.intervals import wilson
from tests.fakes.decided import BEGIN, decision_lines, write_log

pytestmark = pytest.mark.slow

NOW = BEGIN + 30 * 86400
COUNTS = st.lists(st.integers(0, 1000), min_size=1, max_size=30).filter(any)


def reported(lines: list[dict[str, Any]], k_floor: int = 1) -> dict[str, Any]:
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    return report(*read([("log", io.BytesIO(body))], now=NOW, explored_only=False), k_floor)


def test_the_parts_sum_to_the_whole() -> None:
    lines = decision_lines(60)
    found = reported(lines)
    clicks = sum(slot["click_at"] is not None for line in lines for slot in line["slots"])
    assert (found["impressions"], found["clicks"]) == (180, clicks)
    for part in ("campaigns", "slots", "segments"):  # each of these people is in one segment
        assert sum(row["impressions"] for row in found[part].values()) == 180
        assert sum(row["clicks"] for row in found[part].values()) == clicks
    assert sum(row["share"] for row in found["campaigns"].values()) == pytest.approx(1, abs=1e-4)
    assert [row["impressions"] for row in found["slots"].values()] == [60, 60, 60]
    first = found["slots"]["1"]
    expected = wilson(first["clicks"], 60)
    assert (first["low"], first["high"]) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_segments_and_their_campaigns_are_told_of_from_k_people_on() -> None:
    lines = decision_lines(40)
    for number, line in enumerate(lines):
        line["person"] = f"person-{number}"
        line["segments"] = ["many", "few"] if number < 7 else ["many"]
        for candidate in line["candidates"]:
            candidate["campaign_id"] = "rare" if number < 3 else "other" if number < 12 else "usual"
    found = reported(lines, k_floor=8)
    assert set(found["segments"]) == {"many"} and found["segments_below_k"] == 1
    many = found["segments"]["many"]
    # Nine people saw `other`, but without it the rest would be the three who saw `rare`.
    assert many["people"] == 40 and set(many["campaigns"]) == {"usual"} and many["campaigns_below_k"] == 2
    assert "few" not in json.dumps(found)
    assert set(reported(lines, k_floor=3)["segments"]["many"]["campaigns"]) == {"usual", "other", "rare"}
    assert set(reported(lines, k_floor=7)["segments"]) == {"many", "few"}
    for line in lines:
        line["person"] = None  # nobody is known: nothing is said of any segment
    assert reported(lines, k_floor=1)["segments"] == {}


def test_a_campaign_that_is_never_seen_counts() -> None:
    lines = decision_lines(5)
    for line in lines:
        shown = {slot["ad_id"] for slot in line["slots"]}
        for candidate in line["candidates"]:
            candidate["campaign_id"] = "seen" if candidate["ad_id"] in shown else "never"
    found = reported(lines)
    assert found["campaigns"]["never"]["impressions"] == 0 and found["campaigns_seen"] == 1
    assert found["gini_campaigns"] == 0.5 and found["effective_campaigns"] == 1


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
    monkeypatch.setattr(time, "time", lambda: NOW)
    write_log(tmp_path / "a.jsonl.gz", decision_lines(10))
    app = typer.Typer()
    app.command()(exposure.main)
    found = CliRunner().invoke(app, ["--log", str(tmp_path / "*.gz"), "--k-floor", "2"])
    figures = json.loads(found.stdout.strip().splitlines()[-1])
    assert found.exit_code == 0 and figures["k_floor"] == 5 and figures["impressions"] == 30
    assert "campaign-" in found.stderr
    assert CliRunner().invoke(app, ["--log", str(tmp_path / "nothing")]).exit_code == 1
