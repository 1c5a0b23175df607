"""Training as a service: a file of labels, the job that it starts, and how the job ends."""

from __future__ import annotations

import gzip
import io
import json
import time
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from functions.classify import handler
from shared import labels
from shared.domain import Rejection
from shared.errors import Unavailable, Unprocessable
from shared.labels import LabelRow, place_of, read_labels, survey
from shared.stores.training_jobs import JobStatus, QueuedJobs, SageMakerJobs, TrainingJob, head_job
from shared.training import NO_TRAINING
from shared.wiring import System
from tests.conftest import REGION, TENANT, Aws, stores_on
from tests.data import ROOT
from tests.fakes.system import Clock
from tests.fakes.training import GOOD, KEY, Service, Trainers, queued_trainers, sagemaker_trainers

pytestmark = pytest.mark.slow

JOB = head_job("adtailor-head-topics-0123456789ab", TENANT, "topics", "topics.jsonl")


# A file of labels -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "head", "part"),
    [
        ("labels/demo/topics.jsonl", "topics", "train"),
        ("labels/demo/my_head-2.csv.gz", "my_head-2", "train"),
        ("labels/demo/topics.dev.jsonl.gz", "topics", "dev"),
        ("labels/demo/topics.unlabelled.ndjson", "topics", "unlabelled"),
    ],
)
def test_a_key_names_a_head(key: str, head: str, part: str) -> None:
    assert (place_of(key).tenant, place_of(key).head, place_of(key).part) == ("demo", head, part)


@pytest.mark.parametrize(
    "key",
    [
        "labels/topics.jsonl",
        "labels/demo/a/b.jsonl",
        "labels/demo/头.jsonl",
        "labels/demo/x.txt",
        "labels/demo/x.test.csv",
        "labels/demo/---.jsonl",
        "labels/demo/_.dev.csv",
    ],
)
def test_another_key_is_refused_with_the_form_it_should_have(key: str) -> None:
    with pytest.raises(Unprocessable, match=r"labels/\{tenant\}/\{head\}"):
        place_of(key)


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
ROWS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries({"text": TEXTS, "label": st.one_of(TEXTS, st.integers(0, 9), st.none(), st.booleans())}),
    st.fixed_dictionaries({"text": st.integers()}),
    st.just({}),
)


@given(st.lists(ROWS, min_size=1, max_size=12), st.booleans())
def test_every_line_is_a_row_or_rejected_and_a_row_is_whole(rows: list[dict[str, Any]], packed: bool) -> None:
    body = "\n".join(json.dumps(row) for row in rows).encode()
    name = "x.jsonl.gz" if packed else "x.jsonl"
    found = list(read_labels(io.BytesIO(gzip.compress(body) if packed else body), name))
    assert [one.line if isinstance(one, LabelRow) else one.index for one in found] == list(range(1, len(rows) + 1))  # type: ignore[union-attr]
    for row, one in zip(rows, found, strict=True):
        whole = isinstance(row.get("text"), str) and row["text"].strip() and type(row.get("label")) in (str, int)
        assert isinstance(one, LabelRow) == bool(whole and str(row["label"]).strip())
        if isinstance(one, LabelRow):
            assert one.text == row["text"].strip() and one.label == str(row["label"]).strip()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "The file is empty"),
        (b"\n\n", "The file is empty"),
        (GOOD.replace(b'"b"', b'"a"'), "one label alone ('a')"),
        (b'{"text": "x", "label": ""}\n', "line 1, label: The label is empty"),
        (b'{"text": "  ", "label": "a"}\n', "line 1, text: The text is empty"),
        ('{"text": "手机", "label": "数码"}\n'.encode("gb18030"), "not UTF-8 at byte"),
        ('{"text": "x", "label": "a"}\n'.encode("utf-16"), "UTF-16; it must be UTF-8"),
        (b"".join(b'{"text": "x", "label": %d}\n' % n for n in range(1100)), "more than 1,000 different labels"),
        (gzip.compress(GOOD, mtime=0)[:20], "no row can be used"),
    ],
)
def test_a_hopeless_file_says_why(body: bytes, why: str) -> None:
    found = survey(io.BytesIO(body), "x.jsonl").hopeless
    assert found is not None and why in found


def test_bounds_stop_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "MOST_ROWS", 4)
    assert survey(io.BytesIO(GOOD), "x.jsonl").hopeless == "more than 4 rows"
    monkeypatch.setattr(labels, "MOST_BYTES", 10)
    assert "larger than 10 bytes" in str(survey(io.BytesIO(GOOD), "x.jsonl").hopeless)
    long = json.dumps({"text": "x" * 100_000, "label": "y" * 201}).encode()
    (rejected,) = read_labels(io.BytesIO(long), "x.jsonl")
    assert isinstance(rejected, Rejection) and "201 characters" in rejected.reason


def test_what_a_small_gzip_inflates_to_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "MOST_LINES", 100_000)
    blank = gzip.compress(b"\n" * 300_000)
    assert len(blank) < 1000 and "100,000 lines, blank ones included" in str(
        survey(io.BytesIO(blank), "x.jsonl.gz").hopeless
    )
    assert "lines, blank" in str(survey(io.BytesIO(b"text,label\n" + b"\n" * 300_000), "x.csv").hopeless)
    twice = survey(io.BytesIO(gzip.compress(blank)), "x.jsonl.gz")
    assert twice.hopeless is not None and "no row can be used" in twice.hopeless
    monkeypatch.setattr(labels, "MOST_BYTES", 1 << 20)
    long = gzip.compress(b'{"text": "%s", "label": "a"}\n' % (b"x" * 600_000) * 3)
    assert len(long) < 1 << 20
    assert "larger than 1,048,576 bytes" in str(survey(io.BytesIO(long), "x.jsonl.gz").hopeless)


@pytest.mark.parametrize("body", [b"\n" * 200_000, b'"\n' * 50_000, GOOD * 20_000])
def test_a_file_that_takes_too_long_is_hopeless(body: bytes) -> None:
    looks = iter([False] * 3)
    found = survey(io.BytesIO(b"text,label\n" + body), "x.csv", lambda: next(looks, True))
    assert found.hopeless == labels.TOO_SLOW and found.rows + found.rejected_count <= 8192


def test_a_csv_needs_its_columns() -> None:
    assert survey(io.BytesIO(b"text,label\na,x\nb,y\n"), "x.csv").labels == {"x": 1, "y": 1}
    assert "lacks the column label" in str(survey(io.BytesIO(b"text,class\na,x\n"), "x.csv").hopeless)


# From an upload to a head ---------------------------------------------------------------------------------------------


@pytest.fixture
def service(aws: Aws) -> Service:
    """On the adapter of the local run; S3's clock is this machine's."""
    return Service(queued_trainers(stores_on(aws), aws), Clock(time.time()))


@pytest.fixture(params=["sagemaker", "queue"])
def trainers(request: pytest.FixtureRequest, aws: Aws) -> Trainers:
    stores = stores_on(aws)
    return sagemaker_trainers(stores) if request.param == "sagemaker" else queued_trainers(stores, aws)


def test_a_head_that_is_worth_nothing_says_so_where_it_is_looked_at(service: Service) -> None:
    service.upload(GOOD)
    service.publish(warning="right as often as by chance")
    service.end()
    head = service.training.head(TENANT, "topics")
    assert head.metrics is not None and head.metrics["warning"] == "right as often as by chance"
    assert list(head.metrics["baselines"]) == ["frozen_head"]


def test_an_upload_starts_one_job_and_its_end_is_a_served_head(trainers: Trainers) -> None:
    service = Service(trainers, Clock(time.time()))
    taken = service.upload(GOOD + b"{broken\n")
    assert taken.started and taken.row.state == "training" and taken.row.submitted
    assert (taken.report.accepted, taken.report.rejected_count) == (6, 1)
    lines = service.trainers.stores.objects.get(f"rejected/{TENANT}/topics.jsonl.labels.jsonl").splitlines()
    assert [json.loads(line)["line"] for line in lines] == [7]
    assert service.trainers.stores.catalogue.upload(TENANT, KEY)["accepted"] == 6  # type: ignore[index]
    assert not service.training.ingest(KEY).started
    assert service.trainers.started() == 1
    service.publish()
    ended = service.end()
    assert (ended.state, ended.version) == ("served", "v1")
    assert not service.training.ingest(KEY).started
    head = service.training.head(TENANT, "topics")
    assert (head.version, head.labels) == ("v1", ("a", "b"))
    assert head.metrics == {
        "accuracy": 0.9,
        "macro_f1": 0.8,
        "ece": 0.02,
        "baselines": {"frozen_head": {"accuracy": 0.7, "macro_f1": 0.6}},
    }


def test_a_hopeless_file_starts_nothing_and_says_why(service: Service) -> None:
    taken = service.upload(b'{"text": "x", "label": "a"}\n')
    assert (taken.started, taken.row.state) == (False, "failed") and "at least two" in taken.row.reason
    assert taken.report.problem == taken.row.reason
    assert service.trainers.started() == 0
    assert service.upload().started  # a mended file under the same key


def test_a_failed_job_says_why_and_the_head_before_it_still_serves(service: Service) -> None:
    service.upload()
    service.publish()
    service.end()
    service.upload(GOOD + GOOD)
    failed = service.end("failed", "AlgorithmError: not trained: not enough memory, exit code: 1")
    assert (failed.state, failed.reason) == ("failed", "not enough memory")
    assert service.training.head(TENANT, "topics").version == "v1"
    assert not service.training.ingest(KEY).started  # the same notice again
    service.clock.now += 10
    assert service.training.retrain()["unchanged"] == 1
    assert service.training.retrain(force=True)["started"] == [{"tenant": TENANT, "head": "topics"}]


def test_a_job_that_publishes_nothing_has_failed(service: Service) -> None:
    service.upload()
    assert service.end().reason == "the job ended without publishing a head"
    service.publish()
    service.clock.now += 1000
    service.upload(GOOD + GOOD)
    assert service.end().reason == "the job ended without publishing a head; the one before still serves"


def test_labels_that_come_while_a_job_runs_wait_for_its_end(service: Service) -> None:
    first = service.upload().row.job
    waits = service.upload(GOOD + GOOD)
    assert (waits.started, waits.row.job, waits.row.waiting) == (False, first, KEY)
    service.publish()
    ended = service.end()
    assert ended.state == "training" and ended.job != first and ended.rows == 12 and ended.waiting is None
    assert service.trainers.started() == 2


@pytest.mark.parametrize("found_by", ["event", "schedule"])
def test_labels_that_waited_are_trained_whoever_was_cut_off(
    service: Service, monkeypatch: pytest.MonkeyPatch, found_by: str
) -> None:
    job = service.upload().row.job
    service.upload(GOOD + GOOD)
    service.publish()
    service.trainers.end(job, "completed", None)
    head = service.training.head(TENANT, "topics").row  # settles the state, and starts nothing
    assert head is not None and (head.state, head.waiting) == ("served", KEY) and service.trainers.started() == 1
    if found_by == "event":
        with monkeypatch.context() as patch:
            patch.setattr(service.trainers.stores.objects, "open", _unavailable)
            with pytest.raises(Unavailable):
                service.training.ended(TENANT, "topics", job)
        service.training.ended(TENANT, "topics", job)
    else:
        assert service.training.retrain()["started"] == [{"tenant": TENANT, "head": "topics"}]
    assert (service.row.state, service.row.rows, service.row.waiting) == ("training", 12, None)
    assert service.trainers.started() == 2


def _unavailable(*_: Any, **__: Any) -> Any:
    raise Unavailable("object storage does not answer")


@pytest.mark.parametrize("gone", [True, False])
def test_what_waited_and_needs_no_training_waits_no_longer(service: Service, gone: bool) -> None:
    other = f"labels/{TENANT}/topics.ndjson"
    service.upload()
    if gone:
        service.upload(key=other)
        service.trainers.stores.objects.delete([other])
    else:
        service.upload(GOOD + GOOD)
        service.trainers.stores.objects.put(KEY, GOOD)  # as it was
    service.publish()
    ended = service.end()
    assert (ended.state, ended.waiting, service.trainers.started()) == ("served", None, 1)


def test_of_two_files_of_a_head_the_later_is_trained_on(service: Service) -> None:
    service.upload()
    service.publish()
    service.end()
    later = f"labels/{TENANT}/topics.csv"
    written = service.trainers.stores.objects.dated_keys
    service.trainers.stores.objects.put(later, b"text,label\na,x\nb,y\n")
    service.training._stores.objects.dated_keys = lambda prefix: (  # type: ignore[method-assign]
        (key, at + 5 * (key == later)) for key, at in written(prefix)
    )
    assert service.training.retrain()["started"] and service.row.key == later
    service.publish()
    service.end()
    assert service.training.retrain()["unchanged"] == 1


def test_a_head_that_cannot_be_looked_at_holds_no_other_up(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = service.trainers.stores.objects
    for name in ("a", "b", "c"):
        objects.put(f"labels/{TENANT}/{name}.jsonl", GOOD)
    opened = objects.open

    def broken(key: str, *given: Any, **more: Any) -> Any:
        if "/a." in key:
            raise Unavailable("object storage does not answer")
        if "/b." in key:
            raise RuntimeError("arn:aws:iam::123456789012:role/x")
        return opened(key, *given, **more)

    monkeypatch.setattr(objects, "open", broken)
    outcome = service.training.retrain()
    assert outcome["started"] == [{"tenant": TENANT, "head": "c"}]
    assert [one["head"] for one in outcome["failed"]] == ["a", "b"]
    assert "does not answer" in outcome["failed"][0]["reason"] and "arn" not in outcome["failed"][1]["reason"]


def test_a_file_that_is_not_read_in_time_is_told_once(service: Service) -> None:
    service.trainers.stores.objects.put(KEY, GOOD)
    clock, ticks = service.training._clock, iter(range(10_000))
    service.training._clock = lambda: clock() + 10 * next(ticks)
    taken = service.training.ingest(KEY, remaining=lambda: 30.0)
    service.training._clock = clock
    assert (taken.row.state, taken.row.reason) == ("failed", labels.TOO_SLOW)  # type: ignore[union-attr]
    assert service.training.ingest(KEY).report is None and service.trainers.started() == 0


def test_a_label_is_not_logged(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[Any] = []
    for level in ("info", "warning", "error"):
        monkeypatch.setattr(f"shared.training.logger.{level}", lambda *args, **more: lines.append((args, more)))
    service.upload(b'{"text": "x", "label": "secret"}\n')
    assert "secret" in service.row.reason
    service.upload()
    assert "secret" in service.end("failed", "not trained: only one row of secret").reason
    assert len(lines) >= 3 and "secret" not in str(lines)


def test_a_lost_event_is_found_by_asking(service: Service) -> None:
    service.upload()
    (head,) = service.training.heads(TENANT)
    assert head.row is not None and head.row.state == "training"
    service.publish()
    service.trainers.end(service.row.job, "completed", None)
    assert service.training.head(TENANT, "topics").row.state == "served"  # type: ignore[union-attr]
    assert service.training.ended(TENANT, "topics", "adtailor-head-old") is None


def test_an_event_that_comes_before_the_state_comes_again(service: Service) -> None:
    service.upload()
    with pytest.raises(Unavailable, match="not known yet"):
        service.training.ended(TENANT, "topics", service.row.job)


def test_whoever_is_cut_off_before_the_job_is_told_again_and_goes_on(service: Service) -> None:
    class CutOff(Exception):
        pass

    class Lambda:
        """Ends before it has asked for the job."""

        def start(self, job: TrainingJob) -> None:
            raise CutOff

        def find(self, name: str) -> JobStatus | None:
            return None

    service.training._jobs, jobs = Lambda(), service.training._jobs
    with pytest.raises(CutOff):
        service.upload()
    assert service.row.state == "training" and not service.row.submitted
    service.training._jobs = jobs
    service.training.ingest(KEY)
    assert service.row.submitted and service.trainers.started() == 1 and service.row.attempt == 1


def test_a_job_that_never_was_is_given_up_after_a_time(service: Service) -> None:
    service.upload()
    service.trainers.stores.heads.save(TENANT, replace(service.row, job="adtailor-head-none", submitted=False))
    assert service.training.head(TENANT, "topics").row.state == "training"  # type: ignore[union-attr]
    service.clock.now += 1000
    assert "never started" in service.training.head(TENANT, "topics").row.reason  # type: ignore[union-attr, operator]
    service.clock.now += 1
    assert service.training.retrain()["started"]


def test_of_two_writers_at_a_head_one_gives_way(service: Service) -> None:
    service.upload()
    row = service.row
    heads = service.trainers.stores.heads
    assert heads.save(TENANT, replace(row, reason="first")) is not None
    assert heads.save(TENANT, replace(row, reason="second")) is None
    assert heads.save(TENANT, replace(row, revision=0)) is None
    assert service.row.reason == "first"


def test_a_schedule_finds_what_was_missed_and_leaves_the_rest(service: Service) -> None:
    objects = service.trainers.stores.objects
    for key in (
        KEY,
        "labels/other/news.csv",
        "labels/other/news.dev.csv",
        "labels/stray.txt",
        "labels/demo/adproduct.csv",
    ):
        objects.put(key, b"text,label\na,x\nb,y\n" if "csv" in key else GOOD)
    assert service.training.retrain(TENANT)["started"] == [{"tenant": TENANT, "head": "topics"}]
    outcome = service.training.retrain(started_by="schedule")
    assert outcome == {
        "started": [{"tenant": "other", "head": "news"}],
        "unchanged": 1,
        "failed": [],
        "left": 0,
    }
    assert service.trainers.stores.heads.get("other", "news").started_by == "schedule"  # type: ignore[union-attr]


def test_a_refused_job_is_tried_again_when_asked(aws: Aws) -> None:
    service = Service(sagemaker_trainers(stores_on(aws)))
    plane = service.trainers.plane
    assert plane is not None
    plane.refuse = "ResourceLimitExceeded"
    taken = service.upload()
    assert taken.row.state == "failed" and "ResourceLimitExceeded" in taken.row.reason
    plane.refuse = ""
    assert service.training.retrain()["started"]
    assert service.row.state == "training" and service.row.attempt == 2


def test_without_training_the_head_says_so_until_there_is_some(aws: Aws) -> None:
    trainers = sagemaker_trainers(stores_on(aws))
    service = Service(trainers)
    service.training._jobs = None
    taken = service.upload()
    assert (taken.started, taken.row.state, taken.row.reason) == (False, "failed", NO_TRAINING)
    service.training._jobs = trainers.jobs
    assert service.training.retrain()["started"]


def test_a_taxonomys_name_is_no_heads(service: Service) -> None:
    with pytest.raises(Unprocessable, match="name of a taxonomy"):
        service.upload(key=f"labels/{TENANT}/adproduct.jsonl")
    assert service.upload(key=f"labels/{TENANT}/topics.dev.jsonl").row is None


# The front door ------------------------------------------------------------------------------------------------------


def event_of(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((ROOT / "tests" / "events" / f"{name}.json").read_text(encoding="utf-8"))
    return event


@pytest.fixture
def front(built: System, aws: Aws) -> Service:
    """The use case as the function has it."""
    service = Service(sagemaker_trainers(built.stores))
    built.__dict__["training"] = service.training
    return service


def test_events_and_requests_reach_the_use_case(front: Service) -> None:
    front.trainers.stores.objects.put(KEY, GOOD)
    (answer,) = handler.lambda_handler(event_of("classify_labels_s3"), None)["uploads"]
    assert (answer["head"], answer["state"], answer["started"], answer["accepted"]) == ("topics", "training", True, 6)
    job = {"job": answer["job"]}
    front.trainers.end(answer["job"], "failed", "out of memory")
    assert handler.lambda_handler(event_of("classify_trained_direct") | job, None) == job | {"state": "failed"}
    again = handler.lambda_handler(event_of("classify_train_direct") | {"force": True}, None)
    assert again["started"] == [{"tenant": TENANT, "head": "topics"}]
    bad = handler.lambda_handler({"action": "retrain", "tenant": "a/b"}, None)
    assert bad["error"]["field"] == "tenant"
    with TestClient(handler.app) as client:
        (head,) = client.get("/v1/heads").json()["heads"]
        assert head | {"updated_at": ""} == {
            "name": "topics",
            "version": None,
            "metrics": None,
            "state": "training",
            "reason": None,
            "started_by": "call",
            "updated_at": "",
            "job": front.row.job,
            "upload": KEY,
            "rows": 6,
            "rejected": 0,
            "waiting": False,
        }
        one = client.get("/v1/heads/topics").json()
        assert (one["labels"], one["encoders"], one["metrics"]) == ([], [], None)
        for name in ("nothing", "..", "a%00b"):
            assert client.get(f"/v1/heads/{name}").status_code in (404, 422), name


def test_an_event_that_must_come_again_is_raised(front: Service) -> None:
    front.upload()
    call = event_of("classify_trained_direct") | {"job": front.row.job}
    with pytest.raises(Unavailable):
        handler.lambda_handler(call, None)
    assert handler.lambda_handler(call | {"asynchronous": False}, None)["error"]["status"] == 503


def test_a_head_published_by_hand_is_there_too(front: Service) -> None:
    front.publish("v7")
    with TestClient(handler.app) as client:
        (head,) = client.get("/v1/heads").json()["heads"]
        assert (head["name"], head["state"], head["version"], head["started_by"]) == ("topics", "served", "v7", None)
        one = client.get("/v1/heads/topics").json()
        assert (one["labels"], one["encoders"]) == (["a", "b"], [])


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        ({"layers": 4}, []),  # as manifests were before there were several
        ({"encoder": "multilingual", "weight": 0.9, "beside": []}, ["multilingual"]),
        ({"encoder": "chinese", "weight": 1.0}, ["chinese"]),
        ({"encoder": "multilingual", "beside": [{"encoder": "english", "weight": 0.4}]}, ["multilingual", "english"]),
    ],
)
def test_a_head_says_which_encoders_it_was_fine_tuned_from(front: Service, plan: Any, told: list[str]) -> None:
    metadata = {"labels": ["a", "b"], "metrics": {"dev": {"accuracy": 0.9}}, "plan": plan}
    put, prefix = front.trainers.stores.objects.put, f"artifacts/{TENANT}/heads/topics"
    put(f"{prefix}/v1/manifest.json", json.dumps({"metadata": metadata}).encode())
    put(f"{prefix}/latest", b"v1")
    with TestClient(handler.app) as client:
        assert client.get("/v1/heads/topics").json()["encoders"] == told
        assert "encoders" not in client.get("/v1/heads").json()["heads"][0]


def test_heads_are_listed_without_what_lies_in_them(front: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    front.publish("v7")
    front.trainers.stores.objects.put(f"artifacts/{TENANT}/heads/unfinished/v1/manifest.json", b"{}")
    monkeypatch.setattr(type(front.trainers.stores.objects), "keys", _unavailable)
    assert [head.name for head in front.training.heads(TENANT)] == ["topics"]


def test_a_pointer_to_nothing_is_no_missing_head(front: Service) -> None:
    front.trainers.stores.objects.put(f"artifacts/{TENANT}/heads/topics/latest", b"v9")
    with TestClient(handler.app) as client:
        answer = client.get("/v1/heads/topics")
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:adtailor:error:ArtifactError")


def test_the_system_trains_where_it_is_told_to(built: System) -> None:
    assert built._training_jobs() is None
    for name in ("adproduct", "content"):
        with pytest.raises(Unprocessable, match="name of a taxonomy"):
            built.training.ingest(f"labels/{TENANT}/{name}.jsonl")
    built.settings = replace(built.settings, training_queue_url="http://queue")
    assert isinstance(built._training_jobs(), QueuedJobs)
    built.settings = replace(built.settings, training_image="image", training_subnets="subnet-1, subnet-2")
    jobs = built._training_jobs()
    assert isinstance(jobs, SageMakerJobs)
    assert jobs.request(JOB)["VpcConfig"]["Subnets"] == ["subnet-1", "subnet-2"]
    assert jobs.request(JOB)["Environment"]["AWS_DEFAULT_REGION"] == REGION
