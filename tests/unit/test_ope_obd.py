"""Task `ope`: estimates on logs of the Open Bandit Dataset's format, made here with a known truth, and on its own."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from infra.evaluate import ope
from infra.evaluate.__main__ import app
from tests.data import shared_data

pytestmark = pytest.mark.slow

HEADER = ",timestamp,item_id,position,click,propensity_score,user_feature_0\n"
ITEMS = 8
RATES = np.linspace(0.01, 0.2, ITEMS)
POLICY = np.linspace(1, 4, ITEMS) / np.linspace(1, 4, ITEMS).sum()


def made(path: Path, policy: np.ndarray, rows: int = 4000, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    lines = []
    for row in range(rows):
        item, position = int(rng.choice(ITEMS, p=policy)), int(rng.integers(1, 4))
        click = int(rng.random() < RATES[item])
        lines.append(f"{row},2019-11-24 00:00:{row},{item},{position},{click},{policy[item]},a\n")
    path.write_bytes(gzip.compress((HEADER + "".join(lines)).encode()))
    return path


def test_the_truth_is_found_both_ways(tmp_path: Path) -> None:
    uniform = np.full(ITEMS, 1 / ITEMS)
    random, other = made(tmp_path / "r.csv.gz", uniform), made(tmp_path / "o.csv.gz", POLICY, seed=1)
    for log, target, policy in ((random, other, POLICY), (other, random, uniform)):
        found = ope.run(log, target)
        truth = float(policy @ RATES)
        for name in ("ips", "snips", "dr", "balanced"):
            one = found[name]
            assert one["low"] <= truth <= one["high"] and one["estimate"] == pytest.approx(truth, rel=0.15)
            assert 0 < one["effective_sample_size"] <= found["n"] and found["overlaps"][name]
        assert found["truth_low"] <= truth <= found["truth_high"]
        assert found["mean_weight"] == pytest.approx(1, abs=0.05)
        logged = float((uniform + POLICY - policy) @ RATES)
        assert found["baselines"]["logged_mean"]["estimate"] == pytest.approx(logged, rel=0.15)


def test_the_policy_of_a_log_is_read_from_its_propensities(tmp_path: Path) -> None:
    log = ope.read(made(tmp_path / "o.csv.gz", POLICY))
    chances = ope.chances(log, ITEMS, 3)
    assert chances.sum(axis=0) == pytest.approx(1)
    assert chances == pytest.approx(np.repeat(POLICY[:, None], 3, axis=1), abs=1e-3)  # constant ones: exactly
    random = ope.read(made(tmp_path / "r.csv.gz", np.full(ITEMS, 1 / ITEMS)))
    assert random.uniform and ope.chances(random, ITEMS, 3) == pytest.approx(1 / ITEMS)


def test_chances_that_moved_are_averaged_over_time_not_over_what_was_drawn() -> None:
    rng = np.random.default_rng(0)
    count = 40_000
    high = rng.random(count) < 0.5
    chance = np.where(high, 0.9, 0.1)  # of item 0: .5 in the mean
    items = (rng.random(count) >= chance).astype(int)
    propensities = np.where(items == 0, chance, 1 - chance)
    log = ope.Impressions(items, np.zeros(count, int), np.zeros(count), propensities, np.arange(count))
    assert ope.chances(log, 2, 1)[:, 0] == pytest.approx([0.5, 0.5], abs=0.02)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a,b\n1,2\n", "no column timestamp, item_id"),
        (HEADER, "no rows"),
        (HEADER + "0,t,1,1,2,0.5,a\n", "line 2: an item_id below 0, a click"),
        (HEADER + "0,t,1,1,0,0.5,a\n1,t,x,1,0,0.5,a\n", "line 3"),
        (HEADER + "0,t,1,1,0,1.5,a\n", "line 2"),
        (HEADER + "0,t,1\n", "line 2"),
    ],
)
def test_what_is_no_log_is_refused_with_file_and_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"bad\.csv.*{reason}"):
        ope.read(path)
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(gzip.compress((HEADER + "0,t,1,1,0,0.5,a\n" * 5000).encode())[:60])
    with pytest.raises(ValueError, match="damaged"):
        ope.read(cut)


def test_rounded_off_propensities_and_rare_clicks_break_nothing(tmp_path: Path) -> None:
    lines = [f"{row},t{row},{row % 2},1,0,{(0.0 if row == 3 else 0.5)},a\n" for row in range(50)]
    path = tmp_path / "none.csv"
    path.write_text(HEADER + "".join(lines), encoding="utf-8")
    found = ope.run(path, path)
    assert found["truth"] == 0 and found["ips"]["estimate"] == 0
    assert json.loads(json.dumps(found, allow_nan=False))["clicks"] == 0


@pytest.mark.parametrize("people", ["men", "women"])
@pytest.mark.parametrize("policies", [("random", "bts"), ("bts", "random")])
def test_the_data_packs_intervals_overlap(people: str, policies: tuple[str, str]) -> None:
    log, target = (shared_data(f"bandit/obd/{policy}/{people}.csv.gz") for policy in policies)
    done = CliRunner().invoke(app, ["ope", "--log", str(log), "--target", str(target)])
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    for name in ("ips", "snips", "dr", "balanced"):
        one = found[name]
        assert one["low"] <= found["truth_high"] and found["truth_low"] <= one["high"], name
        assert 0 <= one["low"] <= one["estimate"] <= one["high"]
        assert one["effective_sample_size"] > 500
    assert {"limit", "rows", "mass", "bias_bound"} <= set(found["clipping"])
