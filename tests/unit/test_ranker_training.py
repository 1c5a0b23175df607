"""A tenant's ranker from its decision log: the job that trains it, the gate's verdict, and what comes into service."""

from __future__ import annotations

import gzip
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.classify import handler
from infra.local.training import Trainer
from infra.ope.decisions import read
from infra.training_job import ranker as job
from infra.training_job.entry import Command, JobError
from shared import promotion, ranker_training, trained
from shared.assembly import assemble
from shared.errors import Unavailable, Unprocessable
from shared.models.artifacts import MANIFEST, load_manifest, sha256
from shared.models.trained_ranker import TrainedRanker
from shared.ranker_inputs import CLICK_SECONDS, log_files, read_vectors, survey_log
from shared.ranker_training import NO_TRAINING, RankerTraining
from shared.snapshot import Snapshot
from shared.stores.catalogue import Item
from shared.stores.training_jobs import REFUSED, candidate_prefix, hyper_parameters, ranker_job
from shared.wiring import System
from tests.conftest import TENANT, Aws, stores_on
from tests.fakes.decided import BEGIN, decision_lines, make_ranker
from tests.fakes.models import topic_vector
from tests.fakes.system import Clock
from tests.fakes.training import Trainers, queued_trainers, sagemaker_trainers

pytestmark = pytest.mark.slow

NOW = BEGIN + 30 * 86400
SERVING = f"artifacts/{TENANT}/ranker/"
LINES = decision_lines(1500)  # some 600 clicks


def catalogue(ads: int = 20) -> Snapshot:
    ids = [f"ad-{ad:03d}" for ad in range(ads)]
    rows = [
        {
            "ad": {"ad_id": ad_id, "title": ad_id, "landing_url": "", "language": "en", "domain": "ecommerce"},
            "category": "",
            "prior": 0.01,
            "campaign_prior": 0.01,
        }
        for ad_id in ids
    ]
    return assemble("00000001-0123456789ab", rows, np.stack([topic_vector(ad_id) for ad_id in ids]))


class Catalogues:
    def latest(self, tenant: str) -> Snapshot:
        return catalogue()


def packed(lines: Sequence[dict[str, Any]]) -> bytes:
    return gzip.compress(b"".join(orjson.dumps(line) + b"\n" for line in lines))


@dataclass
class Service:
    """The use case on an adapter, with a clock that a test moves."""

    trainers: Trainers
    clock: Clock = field(default_factory=lambda: Clock(NOW))

    def __post_init__(self) -> None:
        self.stores = self.trainers.stores
        self.stores.log_progress.add_tenant(TENANT)
        self.training = self.made(self.trainers.jobs)

    def made(self, jobs: Any) -> RankerTraining:
        return RankerTraining(self.stores, jobs, Catalogues(), project=lambda vectors: vectors, clock=self.clock)

    def log(self, lines: Sequence[dict[str, Any]] = LINES, name: str = "1200") -> None:
        self.stores.objects.put(f"logs/{TENANT}/decisions/2026-09-22/{name}.jsonl.gz", packed(lines))

    def result(self, folder: Path) -> None:
        for path in (path for path in folder.rglob("*") if path.is_file()):
            key = f"{candidate_prefix(TENANT, self.row.job)}result/{path.relative_to(folder).as_posix()}"
            self.stores.objects.put(key, path.read_bytes())

    def end(self, state: str = "completed", reason: str | None = None) -> Any:
        name = self.row.job
        self.trainers.end(name, state, reason)
        return self.training.ended(TENANT, name)

    def serving(self) -> list[str]:
        return list(self.stores.objects.keys(SERVING))

    @property
    def row(self) -> Any:
        return self.stores.rankers.get(TENANT)


@pytest.fixture
def service(aws: Aws) -> Service:
    """On the adapter of the local run."""
    return Service(queued_trainers(stores_on(aws), aws))


@pytest.fixture(params=["sagemaker", "queue"])
def either(request: pytest.FixtureRequest, aws: Aws) -> Service:
    stores = stores_on(aws)
    return Service(sagemaker_trainers(stores) if request.param == "sagemaker" else queued_trainers(stores, aws))


def judged(folder: Path, verdict: str = "promote", against: str = promotion.NONE, **more: Any) -> Path:
    """A ranker with a verdict."""
    make_ranker(folder, 2.5)
    measured = {"candidate": {"estimate": 0.5}, "current": {"estimate": 0.4}}
    measured["difference"] = {"estimate": 0.1, "low": 0.05, "high": 0.15}
    document = {
        "verdict": verdict,
        "reasons": ["because of its clicks"],
        "tenant": TENANT,
        "at": NOW,
        "estimator": "dr",
        "click_model": "position-based",
        "candidate": {"version": "x", "manifest_sha256": sha256(folder / MANIFEST)},
        "current": {"version": against},
        "decisions": 300,
        "clicks": 120,
        "click_models": {"position-based": {"estimators": {"dr": measured}}},
    }
    promotion.write_verdict(folder, document | more)
    return folder


# The beginning of a job -----------------------------------------------------------------------------------------------


def test_a_log_with_clicks_starts_one_job_and_gives_it_what_it_needs(either: Service) -> None:
    either.log()
    either.stores.catalogue.put_items(TENANT, [Item("item-1", topic_vector("phone").astype("f2").tobytes())])
    outcome = either.training.train(started_by="schedule")
    assert outcome == {
        "started": [{"tenant": TENANT, "job": either.row.job}],
        "unchanged": 0,
        "too_few_clicks": [],
        "failed": [],
        "left": 0,
    }
    assert (either.row.state, either.row.submitted, either.row.started_by) == ("training", True, "schedule")
    assert either.row.clicks > 300 and either.row.job.startswith("adtailor-ranker-")
    assert either.training.train()["unchanged"] == either.trainers.started() == 1
    key = f"{candidate_prefix(TENANT, either.row.job)}prepared/vectors.npz"
    assert list(either.stores.objects.keys("candidates/")) == [key]


def test_the_job_is_given_vectors_of_ads_and_of_other_items(service: Service, tmp_path: Path) -> None:
    service.log()
    service.stores.catalogue.put_items(TENANT, [Item("item-1", topic_vector("phone").astype("f2").tobytes())])
    service.training.train(TENANT)
    path = tmp_path / "vectors.npz"
    path.write_bytes(service.stores.objects.get(f"{candidate_prefix(TENANT, service.row.job)}prepared/vectors.npz"))
    vectors = read_vectors(path)
    assert set(vectors) == {*(f"ad-{ad:03d}" for ad in range(20)), "item-1"}
    np.testing.assert_allclose(vectors["ad-003"], topic_vector("ad-003"), atol=1e-3)
    np.testing.assert_allclose(vectors["item-1"], topic_vector("phone"), atol=1e-3)
    path.write_bytes(b"PK")
    with pytest.raises(ValueError, match="not a file of vectors"):
        read_vectors(path)


def test_too_few_clicks_start_nothing(service: Service) -> None:
    service.log(LINES[:50])
    (told,) = service.training.train()["too_few_clicks"]
    assert told["tenant"] == TENANT and 0 < told["clicks"] < told["wanted"]
    assert service.row is None and service.trainers.started() == 0
    assert not list(service.stores.objects.keys("candidates/"))


def test_only_clicks_whose_day_is_over_count(service: Service) -> None:
    service.log()
    keys = [key for key, _ in log_files(service.stores.objects, TENANT)]
    last = LINES[-1]["at"]

    def clicks(now: float) -> int:
        return survey_log(service.stores.objects, keys, catalogue(), now=now, over=lambda: False).clicks

    whole = sum(slot["click_at"] is not None for line in LINES for slot in line["slots"])
    assert clicks(last + CLICK_SECONDS + 60) == whole
    assert 0 < clicks(last + CLICK_SECONDS - 6 * 3600) < whole and clicks(BEGIN + CLICK_SECONDS) == 0


def test_a_log_that_is_damaged_is_read_as_far_as_it_goes(service: Service) -> None:
    service.stores.objects.put(f"logs/{TENANT}/decisions/2026-09-22/1300.jsonl.gz", packed(LINES)[:2000])
    service.log([{"at": "?"}, *LINES])
    assert len(service.training.train()["started"]) == 1


def test_a_job_follows_only_on_what_none_has_seen(service: Service) -> None:
    service.log()
    service.training.train()
    service.end("failed", "AlgorithmError: not trained: too few, exit code: 1")
    assert (service.row.state, service.row.reason) == ("failed", "too few")
    assert service.training.train()["unchanged"] == 1
    assert service.training.train(force=True)["started"]
    service.end("failed")
    time.sleep(1.1)  # S3 knows whole seconds
    service.log(name="1210")
    assert service.training.train()["started"] and service.row.attempt == 3


def test_a_refused_job_says_why_and_is_tried_again(aws: Aws) -> None:
    service = Service(sagemaker_trainers(stores_on(aws)))
    assert service.trainers.plane is not None
    service.log()
    service.trainers.plane.refuse = "ResourceLimitExceeded"
    (failed,) = service.training.train()["failed"]
    assert "quota" in failed["reason"] and service.row.state == "failed"
    service.trainers.plane.refuse = ""
    assert service.training.train()["started"]


def test_a_tenant_that_fails_holds_no_other_up(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    service.stores.log_progress.add_tenant("another")
    service.stores.objects.put("logs/another/decisions/2026-09-22/1200.jsonl.gz", packed(LINES))
    service.log()

    def write(stores: Any, tenant: str, *rest: Any, **options: Any) -> int:
        if tenant == "another":
            raise Unavailable("object storage is down")
        return 0

    monkeypatch.setattr(ranker_training, "write_vectors", write)
    outcome = service.training.train()
    assert [one["tenant"] for one in outcome["started"]] == [TENANT]
    assert outcome["failed"] == [{"tenant": "another", "reason": "object storage is down"}]


def test_whoever_is_cut_off_before_the_job_goes_on_and_one_that_never_was_is_given_up(service: Service) -> None:
    service.log()

    class CutOff(Exception):
        pass

    class Lambda:
        def start(self, job: Any) -> None:
            raise CutOff

        def find(self, name: str) -> None:
            return None

    assert service.made(Lambda()).train()["failed"]
    assert service.row.state == "training" and not service.row.submitted
    service.training.train()
    assert service.row.submitted and service.row.attempt == 1 and service.trainers.started() == 1
    service.stores.rankers.save(TENANT, replace(service.row, job="adtailor-ranker-none", submitted=False))
    assert service.training.standing(TENANT).row.state == "training"  # type: ignore[union-attr]
    service.clock.now += 1000
    assert "never started" in service.training.standing(TENANT).row.reason  # type: ignore[union-attr, operator]


def test_where_nobody_trains_a_call_says_so(service: Service) -> None:
    with pytest.raises(Unprocessable, match="no training is configured"):
        service.made(None).train()


# Its end --------------------------------------------------------------------------------------------------------------


def test_only_a_verdict_to_promote_brings_the_very_artefact_into_service(either: Service, tmp_path: Path) -> None:
    either.log()
    either.training.train()
    folder = judged(tmp_path / "ranker")
    either.result(folder)
    version = load_manifest(folder).version
    row = either.end()
    assert (row.state, row.version, row.reason) == ("served", version, None)
    assert row.figures == {
        "verdict": "promote",
        "decisions": 300,
        "clicks": 120,
        "estimator": "dr",
        "click_model": "position-based",
        "candidate": 0.5,
        "current": 0.4,
        "difference": 0.1,
        "low": 0.05,
        "high": 0.15,
    }
    assert either.stores.objects.get(f"{SERVING}latest").decode() == version
    for name in (*load_manifest(folder).files, MANIFEST, promotion.VERDICT):
        assert either.stores.objects.get(f"{SERVING}{version}/{name}") == (folder / name).read_bytes()
    assert either.training.ended(TENANT, row.job) == either.row == row  # told twice
    assert either.training.standing(TENANT).version == version
    either.training.train(force=True)
    assert either.row.current == version  # what the next one is to beat
    assert either.training.ended(TENANT, row.job) is None  # that of a job of the past


@pytest.mark.parametrize(("verdict", "state"), [("hold", "held"), ("refuse", "refused"), ("maybe", "refused")])
def test_another_verdict_changes_nothing_that_serves(
    service: Service, tmp_path: Path, verdict: str, state: str
) -> None:
    service.log()
    service.training.train()
    service.result(judged(tmp_path / "ranker", verdict))
    row = service.end()
    assert (row.state, row.reason, row.figures["difference"]) == (state, "because of its clicks", 0.1)
    assert service.serving() == []
    kept = service.stores.objects.get(f"{candidate_prefix(TENANT, row.job)}result/{promotion.VERDICT}")
    assert json.loads(kept)["verdict"] == verdict


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"candidate": {"manifest_sha256": "0" * 64}}, "another artefact"),
        ({"tenant": "another"}, "for another, not for demo"),
        ({"at": NOW - 15 * 86400}, "older than 14 days"),
        ({"current": {"version": "v0"}}, "against v0, but no trained ranker is in service"),
    ],
)
def test_a_verdict_on_something_else_holds_it_back(
    service: Service, tmp_path: Path, more: dict[str, Any], why: str
) -> None:
    service.log()
    service.training.train()
    service.result(judged(tmp_path / "ranker", **more))
    row = service.end()
    assert row.state == "held" and why in row.reason and service.serving() == []


@pytest.mark.parametrize(
    ("name", "body", "why"),
    [
        ("clicks.onnx", b"changed", "sha256 differs"),
        ("manifest.json", b"{}", "does not parse"),
        ("verdict.json", b"{}", "does not parse"),
        ("verdict.json", None, "without a ranker and a verdict"),
        ("manifest.json", None, "without a ranker and a verdict"),
    ],
)
def test_a_result_that_is_not_whole_has_failed(
    service: Service, tmp_path: Path, name: str, body: bytes | None, why: str
) -> None:
    service.log()
    service.training.train()
    service.result(judged(tmp_path / "ranker"))
    key = f"{candidate_prefix(TENANT, service.row.job)}result/{name}"
    if body is None:
        service.stores.objects.delete([key])
    else:
        service.stores.objects.put(key, body)
    row = service.end()
    assert row.state == "failed" and why in row.reason and service.serving() == []


def test_who_was_cut_off_after_the_promotion_ends_it_well(service: Service, tmp_path: Path) -> None:
    service.log()
    service.training.train()
    folder = judged(tmp_path / "ranker")
    service.result(folder)
    promotion.promote(folder, service.stores.objects, TENANT, now=NOW)
    assert service.end().state == "served"


def test_an_end_that_comes_before_the_state_comes_again(service: Service) -> None:
    service.log()
    service.training.train()
    with pytest.raises(Unavailable, match="not known yet"):
        service.training.ended(TENANT, service.row.job)


# The function ---------------------------------------------------------------------------------------------------------


def test_the_function_starts_hears_of_the_end_and_answers(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = System.__new__(System)
    vars(system).update(ranker_training=service.training, versions={"encoder": "x"}, clock=service.clock)
    monkeypatch.setattr(handler, "system", lambda: system)
    http = TestClient(handler.app)
    monkeypatch.setenv("TENANT", TENANT)

    def asked() -> dict[str, Any]:
        return dict(http.get("/v1/ranker").raise_for_status().json())

    assert (asked()["state"], asked()["version"]) == ("untrained", None)
    service.log()
    outcome = handler.lambda_handler({"action": "train_ranker", "tenant": TENANT}, None)
    assert outcome["ranker"]["state"] == "training" and len(outcome["started"]) == 1
    service.result(judged(tmp_path / "ranker", "hold"))
    service.trainers.end(service.row.job, "completed", None)
    told = {"action": "ranker_trained", "asynchronous": True, "tenant": TENANT, "job": service.row.job}
    assert handler.lambda_handler(told, None) == {"job": service.row.job, "state": "held"}
    body = asked()
    assert (body["state"], body["reason"], body["version"]) == ("held", "because of its clicks", None)
    assert body["verdict"]["low"] == 0.05 and body["candidate"] == service.row.version
    vars(system).update(ranker_training=service.made(None))
    answer = handler.lambda_handler({"action": "train_ranker", "asynchronous": True}, None)
    assert answer["error"]["detail"] == NO_TRAINING


# The job --------------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60))
def test_no_decision_is_in_both_parts(tmp_path_factory: pytest.TempPathFactory, times: list[float]) -> None:
    root = tmp_path_factory.mktemp("job")
    (root / "log").mkdir()
    rows = [{"decision_id": str(n), "at": at} for n, at in enumerate(times)]
    for place in range(2):  # a decision may lie in two files
        (root / "log" / f"{place}.jsonl.gz").write_bytes(packed(rows[place:]))
    early, late, changed = job.split(root / "log", root / "work", root / "checkpoints", now=1e6 + CLICK_SECONDS)
    parts = [[json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()] for path in (early, late)]
    ids = [{row["decision_id"] for row in part} for part in parts]
    assert not ids[0] & ids[1] and ids[0] | ids[1] == {row["decision_id"] for row in rows}
    assert max((row["at"] for row in parts[0]), default=-1) < min(row["at"] for row in parts[1])
    assert len(ids[0]) <= 0.8 * len(times) + 1
    rows.append({"decision_id": "new", "at": 2e6})
    (root / "log" / "0.jsonl.gz").write_bytes(packed(rows))
    again, _, other = job.split(root / "log", root / "work", root / "checkpoints", now=3e6)
    assert not changed and not other
    assert {json.loads(line)["decision_id"] for line in gzip.decompress(again.read_bytes()).splitlines()} == ids[0]


def test_a_training_whose_log_has_changed_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    for clicked, changed in ((None, False), (None, False), (5.0, True), (5.0, False)):
        rows = [{"at": float(at), "slots": [{"click_at": clicked if at == 1 else None}]} for at in range(10)]
        (tmp_path / "log" / "1.jsonl.gz").write_bytes(packed(rows))
        *_, other = job.split(tmp_path / "log", tmp_path / "work", tmp_path / "checkpoints", now=CLICK_SECONDS + 20)
        assert other == changed


def test_a_log_without_a_decision_that_counts_says_so(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "1.jsonl.gz").write_bytes(packed([{"at": 100.0}]))
    with pytest.raises(JobError, match=f"{REFUSED}the log has no decision"):
        job.split(tmp_path / "log", tmp_path / "work", tmp_path / "checkpoints", now=200.0)


@pytest.mark.parametrize(("late", "weight", "state"), [(900, 2.5, "served"), (60, 2.5, "held"), (900, -2.5, "refused")])
def test_what_the_gate_says_of_the_later_part_decides(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: int, weight: float, state: str
) -> None:
    monkeypatch.setenv("BUCKET_NAME", service.stores.objects.bucket)
    monkeypatch.setattr(time, "time", lambda: NOW)
    service.log()
    service.training.train()
    inputs, candidate = tmp_path / "data", make_ranker(tmp_path / "ranker", weight)
    (inputs / "prepared").mkdir(parents=True)
    prepared = f"{candidate_prefix(TENANT, service.row.job)}prepared/vectors.npz"
    (inputs / "prepared" / "vectors.npz").write_bytes(service.stores.objects.get(prepared))
    part = tmp_path / "late.jsonl.gz"
    part.write_bytes(packed(LINES[-late:]))
    parameters = {"tenant": TENANT, "job": service.row.job, "current": ""}
    job.judge(candidate, part, inputs, parameters)
    verdict = promotion.read_verdict(candidate)
    with part.open("rb") as file:
        assert verdict["log"]["decisions"] == len(read([("late", file)], now=NOW)[0])
    job.leave(candidate, parameters)
    assert service.end().state == state, service.row.reason
    assert bool(service.serving()) == (state == "served")
    assert service.row.figures["decisions"] == late


def test_a_log_becomes_the_ranker_that_serves(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For real: trained by a process of its own, judged and promoted; then once more, against the one that serves."""
    monkeypatch.setenv("BUCKET_NAME", service.stores.objects.bucket)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.setattr(trained, "gettempdir", lambda: str(tmp_path))
    lines = decision_lines(3500)
    for line in lines:  # a week of them, so that most clicks are a day old where the log is cut
        later = 2 * (line["at"] - BEGIN)
        line["at"] += later
        for slot in line["slots"]:
            slot |= {kind: slot[kind] and slot[kind] + later for kind in ("impression_at", "click_at")}
    service.log(lines)

    def run(root: Path, seconds: float) -> None:
        parameters = json.loads((root / "input" / "config" / "hyperparameters.json").read_text())
        job.train(root, parameters, Command())

    ends: list[str] = []
    trainer = Trainer(service.stores.objects, tmp_path / "jobs", lambda call: ends.append(call["job"]))
    monkeypatch.setattr(trainer, "_run", run)
    for expected in ({"served"}, {"served", "held", "refused"}):
        service.training.train(TENANT, force=True)
        asked = ranker_job(service.row.job, TENANT, current=service.row.current)
        parameters = hyper_parameters(asked, 120)
        trainer.handle({"job": asked.name, "max_seconds": 120, "parameters": parameters, "inputs": asked.inputs})
        row = service.training.ended(TENANT, ends[-1])
        assert row is not None and row.state in expected, row
        assert row.figures["decisions"] == 700
    version = service.training.standing(TENANT).version
    assert version is not None
    assert TrainedRanker.load(trained.fetch(service.stores.objects, TENANT, "ranker", version)).version == version


def test_the_ranker_to_beat_is_the_one_that_was_meant(tmp_path: Path) -> None:
    make_ranker(tmp_path / "data" / "current", 1.0)
    shutil.copytree(tmp_path / "data" / "current", tmp_path / "ranker")
    with pytest.raises(JobError, match="the ranker to beat is"):
        job.judge(tmp_path / "ranker", tmp_path / "late", tmp_path / "data", {"tenant": TENANT, "current": "v0"})
