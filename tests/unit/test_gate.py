"""The gate: a better ranker is let through, a worse one refused, and nothing without a verdict on its very bytes."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from infra import gate
from infra.ope.comparison import compare
from infra.ope.decisions import Decided, Told, read
from infra.ope.scorers import ContentScorer, TrainedScorer
from infra.ope.sources import names_of
from infra.ope.verdict import Demands, Verdict
from shared import promotion
from shared.errors import ArtifactError, BadInput, Forbidden
from shared.models.artifacts import sha256
from shared.models.features import FEATURES, HISTORY_ITEMS, LONGEST_HISTORY, History
from shared.models.trained_ranker import TrainedRanker
from shared.stores.objects import Objects
from tests.conftest import Aws
from tests.fakes.decided import BEGIN, click_chance, decision_lines, make_ranker, write_log

pytestmark = pytest.mark.slow

NOW = BEGIN + 30 * 86400
TENANT = "demo"


def reading(lines: list[dict[str, Any]] | bytes, **options: Any) -> tuple[list[Decided], Told]:
    body = lines if isinstance(lines, bytes) else b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    return read([("log.jsonl", io.BytesIO(body))], **{"now": NOW} | options)


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    return decision_lines(500)


@pytest.fixture(scope="module")
def rankers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("rankers")
    return {name: make_ranker(folder / name, weight) for name, weight in (("good", 2.5), ("bad", -2.5))}


def judged(
    lines: list[dict[str, Any]], candidate: Path, demands: Demands | None = None, console: Console | None = None
) -> dict[str, Any]:
    decided, told = reading(lines)
    return gate.evaluate(decided, told, candidate, None, {}, tenant=TENANT, demands=demands, console=console, now=NOW)


def test_a_better_ranker_is_promoted_and_a_worse_one_refused(
    lines: list[dict[str, Any]], rankers: dict[str, Path]
) -> None:
    easy = Demands(decisions=20, clicks=5)
    better, worse = (judged(lines, rankers[name], demands=easy) for name in ("good", "bad"))
    assert better["verdict"] == "promote", better["reasons"]
    assert worse["verdict"] == "refuse", worse["reasons"]
    both = (one["click_models"]["position-based"]["estimators"]["dr"]["difference"] for one in (better, worse))
    assert next(both)["low"] > 0 > next(both)["high"]
    assert better["log"]["decisions"] == 500 and better["current"]["version"] == "none"


def test_the_estimate_is_what_the_candidate_would_earn(lines: list[dict[str, Any]], rankers: dict[str, Path]) -> None:
    """Truth by the known click probabilities of the very slates that the candidate would show."""
    from infra.ope.comparison import slate_log, slates_of

    decided, _ = reading(lines)
    scorer = TrainedScorer(rankers["good"], {}, [f"ad-{ad:03d}" for ad in range(20)])
    target, _ = slates_of(decided, scorer, slate_log(decided))
    truth = np.mean(
        [
            sum((click_chance(one.columns, slot) * target[row, : len(one.columns), slot]).sum() for slot in range(3))
            for row, one in enumerate(decided)
        ]
    )
    compared = compare(decided, scorer, ContentScorer())
    assert compared.moved > 0.9
    for click_model in compared.judged.values():
        for estimate in click_model.candidate.values():
            assert estimate.low <= truth <= estimate.high
        assert click_model.unsupported == 0
        assert abs(click_model.control_z) < 4
    assert compared.examination == pytest.approx((1.0, 0.7, 0.5), abs=0.2)
    # The content ranker wrote the log, and its slates come out as they were, but for ties of rounded features.
    log = slate_log(decided)
    rebuilt, _ = slates_of(decided, ContentScorer(), log)
    assert np.mean(np.abs(rebuilt - log.chances).max(axis=(1, 2)) > 0.1) < 0.05
    own = compared.judged["position-based"].current["dr"]
    assert own.low <= compared.logged.estimate <= own.high


def test_little_evidence_holds(lines: list[dict[str, Any]], rankers: dict[str, Path]) -> None:
    found = judged(lines[:60], rankers["good"])
    assert found["verdict"] == "hold"
    assert "wanted" in found["reasons"][0]


def test_the_same_ranker_is_not_worse_and_is_promoted_within_the_margin(
    lines: list[dict[str, Any]], rankers: dict[str, Path]
) -> None:
    decided, told = reading(lines)
    found = gate.evaluate(
        decided, told, rankers["good"], rankers["good"], {}, tenant=TENANT, demands=Demands(0.01, 20, 5), now=NOW
    )
    between = found["click_models"]["position-based"]["estimators"]["dr"]["difference"]
    assert between == {"estimate": 0, "low": 0, "high": 0} and found["verdict"] == "promote"
    assert found["moved"] == 0


def test_few_people_hold_however_much_they_decide(lines: list[dict[str, Any]], rankers: dict[str, Path]) -> None:
    few = [line | {"person": f"p{n % 12}", "counts_as": f"p{n % 12}"} for n, line in enumerate(lines)]
    found = judged(few, rankers["good"], demands=Demands(decisions=20, clicks=5))
    assert found["verdict"] == "hold" and found["people"] == pytest.approx(12, abs=0.1)
    assert found["reasons"][0] == "the log is worth 12 people; 40 are wanted"
    nobody = [line | {"person": None, "counts_as": None} for line in lines]
    assert judged(nobody, rankers["good"], demands=Demands(decisions=20, clicks=5))["people"] == 500


def test_of_a_log_too_large_to_hold_whole_people_are_kept(lines: list[dict[str, Any]]) -> None:
    whole, _ = reading(lines)
    candidates = sum(len(one.candidates) for one in whole)
    part, told = reading([*lines, *lines[:50]], most=candidates // 3)
    assert told.share == 0.25 and sum(len(one.candidates) for one in part) <= candidates // 3
    kept = {one.counts_as for one in part}
    assert [one.decision_id for one in part] == [one.decision_id for one in whole if one.counts_as in kept]
    assert 0.1 < len(kept) / len({one.counts_as for one in whole}) < 0.4
    again, _ = reading(lines[::-1], most=candidates // 3)
    assert [one.decision_id for one in again] == [one.decision_id for one in part]
    assert any("too large" in note for note in told.notes())


def test_a_log_without_exploration_has_no_support(rankers: dict[str, Path]) -> None:
    found = judged(decision_lines(30, epsilon=0, rotation=0), rankers["good"])
    assert found["verdict"] == "refuse" and "no support" in found["reasons"][0]
    assert found["log"]["without_exploration"] == 30


def test_propensities_that_are_not_what_happened_are_found_out(rankers: dict[str, Path]) -> None:
    lines = decision_lines(300)
    for line in lines:  # as if the pools had hardly had a chance, though they had
        for one in line["candidates"]:
            one["propensity"] = 0.97 if one["base"] else 0.03 / 4
        line["epsilon"] = 0.03
    found = judged(lines, rankers["good"])
    assert found["verdict"] == "refuse" and "propensities" in found["reasons"][0]


def test_what_cannot_be_used_is_told_and_left_out(lines: list[dict[str, Any]]) -> None:
    def with_(change: dict[str, Any], number: int) -> dict[str, Any]:
        return lines[number] | change

    unseen = lines[3] | {"slots": [slot | {"impression_at": None, "click_at": None} for slot in lines[3]["slots"]]}
    doubled = lines[4]["candidates"][0] | {"propensity": 0.9}
    bad = [
        with_({"candidates": [doubled, *lines[4]["candidates"]]}, 4),
        with_({"candidates": [one | {"features": [0.0]} for one in lines[5]["candidates"]]}, 5),
        with_({"slots": [slot | {"ad_id": "stranger"} for slot in lines[6]["slots"]]}, 6),
        {"decision_id": "x"},
    ]
    young = with_({"at": NOW - 60, "decision_id": "young"}, 7)
    body = b"".join(json.dumps(line).encode() + b"\n" for line in [*lines[:3], lines[0], unseen, *bad, young])
    decided, told = reading(body + b"{no json\n\n[1]\n")
    assert [one.decision_id for one in decided] == [line["decision_id"] for line in lines[:3]]
    assert (told.lines, told.decisions, told.young, told.unseen) == (12, 3, 1, 1)
    assert sum(told.bad.values()) == 7 and told.bad["the same decision again, its last state counts"] == 1
    assert any("younger" in note for note in told.notes()) and told.rankers == {"content-prior-1": 3}


def test_a_damaged_gzip_keeps_what_comes_before(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    path = write_log(tmp_path / "log.jsonl.gz", lines[:200])
    whole = path.read_bytes()
    with io.BytesIO(whole) as file:
        every, told = read([("log", file)], now=NOW)
    decided, cut = read([("log", io.BytesIO(whole[: len(whole) // 2]))], now=NOW)
    assert len(every) == 200 and 0 < len(decided) < 200
    assert sum(told.bad.values()) == 0 and any("damaged" in reason for reason in cut.bad)
    assert told.digest != cut.digest


def test_a_click_without_the_news_of_its_impression_counts(lines: list[dict[str, Any]]) -> None:
    line = json.loads(json.dumps(lines[0]))
    for slot in line["slots"]:
        slot |= {"impression_at": None, "click_at": None}
    line["slots"][0]["click_at"] = line["at"] + 5
    line["slots"][1] |= {"impression_at": line["at"], "click_at": line["at"] + 2 * 86400}  # too late
    decided, _ = reading([line])
    assert [slot.reward for slot in decided[0].shown] == [True, False, False]


def test_files_of_other_tenants_are_left_out(tmp_path: Path) -> None:
    for tenant in ("demo", "other"):
        write_log(tmp_path / f"logs/{tenant}/decisions/2026-11-26/1200.jsonl.gz", [])
    found, others = names_of([str(tmp_path / "logs/*/decisions/*/*.gz")], None, "demo")
    assert [Path(one).parts[-4] for one in found] == ["demo"] and others == 1
    with pytest.raises(BadInput, match="no log"):
        names_of([str(tmp_path / "nothing/*")], None, "demo")
    with pytest.raises(BadInput, match="--tenant"):
        names_of([], None, None)


@pytest.fixture
def objects(aws: Aws) -> Objects:
    return Objects(aws.s3, aws.bucket)


def ready(folder: Path, **changes: Any) -> dict[str, Any]:
    """A verdict to promote what is in the folder, with changes."""
    document: dict[str, Any] = {
        "verdict": "promote",
        "reasons": ["it is better"],
        "tenant": TENANT,
        "at": NOW,
        "candidate": {"version": "?", "manifest_sha256": sha256(folder / "manifest.json")},
        "current": {"version": "none"},
    }
    promotion.write_verdict(folder, document | changes)
    return document


def test_a_verdict_promotes_the_very_bytes_and_names_them_last(objects: Objects, tmp_path: Path) -> None:
    folder = make_ranker(tmp_path / "mine", 1.0)
    ready(folder)
    prefix = promotion.promote(folder, objects, TENANT, now=NOW + 60)
    version = promotion.in_service(objects, TENANT)
    assert prefix == f"artifacts/{TENANT}/ranker/{version}"
    stored = {key.removeprefix(prefix + "/") for key in objects.keys(prefix + "/")}
    assert stored == {"clicks.onnx", "clicks.json", "manifest.json", "verdict.json"}
    from shared.models.trained_ranker import TrainedRanker
    from shared.trained import fetch

    assert TrainedRanker.load(fetch(objects, TENANT, "ranker", str(version))).version == version
    with pytest.raises(Forbidden, match="in service by now"):  # the verdict was against no ranker
        promotion.promote(folder, objects, TENANT, now=NOW + 60)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"verdict": "hold", "reasons": ["a longer log tells more"]}, "the verdict is hold: a longer log"),
        ({"verdict": "refuse"}, "the verdict is refuse"),
        ({"tenant": "other"}, "for other, not for demo"),
        ({"tenant": None}, "for no tenant"),
        ({"candidate": {"manifest_sha256": "0" * 64}}, "another artefact"),
        ({"at": NOW - 15 * 86400}, "older than 14 days"),
        ({"current": {"version": "abc"}}, "against abc, but no trained ranker"),
        ({"at": None}, "does not parse"),
    ],
)
def test_without_such_a_verdict_nothing_is_promoted(
    objects: Objects, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    folder = make_ranker(tmp_path / "mine", 1.0)
    with pytest.raises(Forbidden, match="no verdict"):
        promotion.promote(folder, objects, TENANT, now=NOW)
    ready(folder, **changes)
    with pytest.raises(Forbidden, match=reason):
        promotion.promote(folder, objects, TENANT, now=NOW)
    assert promotion.in_service(objects, TENANT) is None
    assert not list(objects.keys("artifacts/"))


def test_bytes_that_changed_since_the_verdict_are_refused(objects: Objects, tmp_path: Path) -> None:
    folder = make_ranker(tmp_path / "mine", 1.0)
    ready(folder)
    (folder / "clicks.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ArtifactError, match="sha256"):
        promotion.promote(folder, objects, TENANT, now=NOW)
    assert promotion.in_service(objects, TENANT) is None


@pytest.mark.usefixtures("aws")
def test_the_command_judges_promotes_and_says_so_by_its_status(
    aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[dict[str, Any]]
) -> None:
    monkeypatch.setenv("BUCKET_NAME", aws.bucket)
    monkeypatch.setattr(gate, "_objects", lambda: Objects(aws.s3, aws.bucket))
    monkeypatch.setattr(gate, "_vectors", lambda *_: {})
    monkeypatch.setattr(time, "time", lambda: NOW)
    app = typer.Typer()
    app.command()(gate.main)

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        found = CliRunner().invoke(app, [*arguments, "--least-decisions", "20", "--least-clicks", "5"])
        last = found.stdout.strip().splitlines()
        return found.exit_code, json.loads(last[-1]) if last else {}

    key = f"logs/{TENANT}/decisions/2026-09-21/1200.jsonl.gz"
    path = write_log(tmp_path / key, lines)
    aws.s3.put_object(Bucket=aws.bucket, Key=key, Body=path.read_bytes())
    good, bad = make_ranker(tmp_path / "good", 2.5), make_ranker(tmp_path / "bad", -2.5)

    status, told = run("--tenant", TENANT, "--candidate", str(bad), "--promote")
    assert (status, told["verdict"], told["promoted"]) == (4, "refuse", False)
    status, told = run("--tenant", TENANT, "--candidate", str(good), "--log", str(tmp_path / "logs/**/*.gz"))
    assert (status, told["verdict"]) == (0, "promote") and "promoted" not in told
    assert promotion.in_service(Objects(aws.s3, aws.bucket), TENANT) is None
    status, told = run("--tenant", TENANT, "--candidate", str(good), "--promote", "--no-log")
    assert (status, told["promoted"]) == (0, True)
    status, told = run("--tenant", TENANT, "--candidate", str(bad), "--promote")  # against the one in service now
    assert (status, told["current"]["version"]) == (4, promotion.in_service(Objects(aws.s3, aws.bucket), TENANT))
    assert run("--candidate", str(good), "--promote")[0] == 2
    assert run("--tenant", TENANT, "--candidate", str(tmp_path), "--log", str(path))[0] == 1
    assert Verdict(json.loads((bad / "verdict.json").read_text(encoding="utf-8"))["verdict"]) is Verdict.REFUSE


def test_scorers_take_the_next_item_column_from_the_model_they_judge(
    lines: list[dict[str, Any]], rankers: dict[str, Path]
) -> None:
    decided, _ = reading(lines[:1])
    one = decided[0]
    one.columns[:, FEATURES.index("next_item")] = 3.0  # of the ranker that was in service then
    scorer = TrainedScorer(rankers["good"], {}, [candidate.ad_id for candidate in one.candidates])
    expected = -2.0 + 2.5 * one.columns[:, FEATURES.index("history_match")]
    assert scorer.log_odds(one) == pytest.approx(expected, abs=1e-5)
    content = ContentScorer().log_odds(one)
    one.columns[:, FEATURES.index("next_item")] = 0.0
    assert content == pytest.approx(ContentScorer().log_odds(one))


def test_scorers_read_a_history_as_it_was_served(
    lines: list[dict[str, Any]], rankers: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty turns, of which the vectors of the first twenty different items were read."""
    read: list[History] = []

    def next_item(ranker: TrainedRanker, prepared: object, history: History) -> None:
        read.append(history)

    monkeypatch.setattr(TrainedRanker, "next_item", next_item)
    decided, _ = reading(lines[:1])
    ads = [candidate.ad_id for candidate in decided[0].candidates]
    items = [f"item-{place}" for place in range(LONGEST_HISTORY + 3)]
    items[5], items[30], items[35] = "item-3", ads[0], "item-3"
    line = lines[0] | {"history": items, "history_ages": list(range(len(items)))}
    (one,), _ = reading([line])
    TrainedScorer(rankers["good"], {item: np.ones(384) for item in (*items, *ads)}, ads).log_odds(one)
    (history,) = read
    assert history.ids == tuple(items[:LONGEST_HISTORY]) and len(history.ages) == LONGEST_HISTORY
    assert np.flatnonzero(history.vectors.any(axis=1)).tolist() == [*range(HISTORY_ITEMS + 1), 35]


def test_the_table_shows_both_click_models(lines: list[dict[str, Any]], rankers: dict[str, Path]) -> None:
    console = Console(file=io.StringIO(), width=200)
    judged(lines[:100], rankers["good"], console=console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "position-based" in shown and "item-position" in shown and "hold:" in shown


def test_what_a_ranker_was_trained_on_does_not_judge_it(lines: list[dict[str, Any]], tmp_path: Path) -> None:
    times = sorted(line["at"] for line in lines)
    candidate = make_ranker(tmp_path / "candidate", 2.5)
    manifest = json.loads((candidate / "manifest.json").read_text())

    def trained_until(at: float) -> dict[str, Any]:
        manifest["metadata"]["clicks"] = {"log": {"until": at}}
        (candidate / "manifest.json").write_text(json.dumps(manifest))
        return judged(lines, candidate, demands=Demands(decisions=20, clicks=5))

    half = trained_until(times[249])
    assert half["log"]["decisions"] + half["log"]["trained_on"] == 500 and half["log"]["trained_on"] >= 250
    every = trained_until(times[-1])
    assert (every["verdict"], every["log"]["decisions"]) == ("hold", 0) and "trained on" in every["reasons"][0]
