"""The command line against an API that answers what a test says: output, JSON, problems, exit statuses."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import httpx2
import pytest
import typer
from typer.testing import CliRunner, Result

import infra.client
from infra.cli.__main__ import app
from infra.cli.place import Place, outputs_of
from shared.domain import IngestReport
from tests.conftest import Aws, stores_on
from tests.data import artifact

pytestmark = pytest.mark.slow

Answers = dict[str, Any]
REASON = {"code": "interest", "text": "Because you are interested in Coffee"}
AD = {"ad_id": "P301", "copy": "手冲壶 [red]x[/]", "score": 0.47, "reasons": [REASON]}
DECISION = {"decision_id": "d1", "personalised": True, "ads": [AD], "versions": {}}
RECEIPT = {"erasure_id": "e1", "state": "running", "removed": {"table": {}, "objects": {}}}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command; `answers` maps ``METHOD path`` to bodies, statuses with bodies, or lists of either in turn."""
    for name in ("ADTAILOR_URL", "ADTAILOR_STACK", "ADTAILOR_TOKEN", "ADTAILOR_AUTH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(time, "sleep", lambda _: None)

    def command(*arguments: str, answers: Answers | None = None, stdin: str | None = None) -> Result:
        asked: list[tuple[str, Any]] = []

        def handler(request: httpx2.Request) -> httpx2.Response:
            route = f"{request.method} {request.url.raw_path.decode()}"
            written = request.headers.get("content-type") == "application/json"
            asked.append((route, json.loads(request.content) if written else request.content or None))
            answer = (answers or {})[route]
            if isinstance(answer, list):
                answer = answer.pop(0) if len(answer) > 1 else answer[0]
            if isinstance(answer, httpx2.Response):
                return answer
            status, body = answer if isinstance(answer, tuple) else (200, answer)
            return httpx2.Response(status, json=body)

        transport = httpx2.MockTransport(handler)
        with monkeypatch.context() as patch:
            patch.setattr(infra.client, "Client", partial(infra.client.Client, transport=transport))
            result = CliRunner().invoke(app, list(arguments), input=stdin)
        result.asked = asked  # type: ignore[attr-defined]
        return result

    return command


def test_a_recommendation_for_people_and_for_programs(run: Callable[..., Result]) -> None:
    answers = {"POST /v1/recommendations": DECISION}
    shown = run("recommend", "m001", "-n", "3", "--domain", "ecommerce", answers=answers)
    assert shown.exit_code == 0
    assert "P301" in shown.stdout and "手冲壶 [red]x[/]" in shown.stdout  # what is in it is no markup
    assert shown.asked[0][1] == {  # type: ignore[attr-defined]
        "user_id": "m001",
        "n": 3,
        "personalised": True,
        "compare": False,
        "context": {"domain": "ecommerce"},
    }
    asked = run("recommend", "m001", "--json", answers=answers)
    assert json.loads(asked.stdout) == DECISION and asked.stderr == ""


def test_a_comparison_says_why_it_differs(run: Callable[..., Result]) -> None:
    why = {"ad_id": "P301", "code": "because", "text": {"zh": "因为咖啡", "en": "for the coffee"}}
    difference = {"explained": [why], "text": {"zh": "一条不同", "en": "one differs"}}
    answers = {"POST /v1/recommendations": DECISION | {"twin": {"ads": [], "difference": difference}}}
    shown = run("recommend", "m001", "--compare", answers=answers)
    assert "P301: 因为咖啡 / for the coffee" in shown.stdout and "一条不同 / one differs" in shown.stdout


@pytest.mark.parametrize("wants_json", [False, True])
def test_a_problem_is_one_line_that_names_the_field(run: Callable[..., Result], wants_json: bool) -> None:
    body = {"title": "Not found", "status": 404, "detail": "nobody is\nknown", "field": "user_id"}
    answers = {"GET /v1/users/x%2Fy/profile": (404, body)}
    result = run("profile", "x/y", *["--json"] * wants_json, answers=answers)
    assert result.exit_code == 1
    assert result.stderr == "error Not found: user_id: nobody is known\n"
    assert (json.loads(result.stdout) == {"error": body}) if wants_json else (result.stdout == "")


def test_a_server_that_is_down_has_its_own_status(run: Callable[..., Result]) -> None:
    down = run("profile", "x", answers={"GET /v1/users/x/profile": (503, {"title": "Unavailable"})})
    assert down.exit_code == 3 and "Unavailable" in down.stderr
    assert run("profile", "x", "--url", "ftp://x").exit_code == 2
    assert run("profile", "x", "--auth", "magic").exit_code == 2


def test_consent_is_said_with_its_time(run: Callable[..., Result]) -> None:
    body = {
        "personalisation": False,
        "sensitive": False,
        "minor": False,
        "source": "form",
        "at": "2026-11-20T00:00:00Z",
    }
    arguments = ("consent", "m1", "--no-personalisation", "--source", "form", "--at", "2026-11-20")
    result = run(*arguments, answers={"PUT /v1/users/m1/consent": body})
    assert result.exit_code == 0 and "personalisation no" in result.stdout
    assert result.asked[0][1]["at"] == "2026-11-20T00:00:00+00:00"  # type: ignore[attr-defined]


def test_an_erasure_is_followed_to_its_end(run: Callable[..., Result]) -> None:
    done = RECEIPT | {"state": "done", "removed": {"table": {"events": 4}, "objects": {"uploads": 1}}}
    answers = {
        "DELETE /v1/users/m1": (202, RECEIPT),
        "GET /v1/erasures/e1": [RECEIPT, RECEIPT | {"state": "verifying"}, done],
    }
    followed = run("erase", "m1", "--yes", "--wait", answers=answers)
    assert followed.exit_code == 0 and "erasure e1: done" in followed.stdout and "events" in followed.stdout
    asked = run("erase", "m1", answers={"DELETE /v1/users/m1": (202, RECEIPT)}, stdin="n\n")
    assert asked.exit_code == 1 and asked.asked == []  # type: ignore[attr-defined]
    assert run("erase", "m1", "--json").exit_code == 2
    late = run("erase", "m1", "--yes", "--wait", "--timeout", "0", answers={**answers, "GET /v1/erasures/e1": RECEIPT})
    assert late.exit_code == 3 and "erasure e1 is running after 0 s" in late.stderr


def test_texts_come_from_stdin_too(run: Callable[..., Result]) -> None:
    label = {"id": "adproduct:1114", "name": {"zh": "手机", "en": "Phones"}, "probability": 0.9}
    finding = {"span": [0, 2], "severity": "block", "reason": "absolute", "citation": "9(3)"}
    body = {"results": [{"labels": [label], "abstained": False, "findings": [finding]}]}
    result = run("classify", answers={"POST /v1/classify": body}, stdin="最好的手机\n\n")
    assert "手机 / Phones" in result.stdout and "block: “最好” absolute (9(3))" in result.stdout
    assert run("classify", stdin="").exit_code == 2


def test_copy_that_is_queued_is_waited_for(run: Callable[..., Result]) -> None:
    copy = {"text": "a cup", "served_by": "llm", "claims": [{"text": "cup", "support": "title"}]}
    written = {"copies": [copy], "rejected": [{"text": "the best cup", "reasons": ["superlative"]}]}
    answers = {
        "POST /v1/copy": (202, {"job_id": "j", "state": "queued"}),
        "GET /v1/copy/j": [{"state": "running", "result": None}, {"state": "done", "result": written, "error": None}],
    }
    result = run("copy", "--title", "Cup", "--language", "en", answers=answers)
    assert "cup <- title" in result.stdout and "superlative" in result.stdout
    assert run("copy").exit_code == 2
    failed = {
        "POST /v1/copy": {"job_id": "j"},
        "GET /v1/copy/j": {"state": "failed", "result": None, "error": "no model"},
    }
    assert "no model" in run("copy", "P1", answers=failed).stderr


def test_an_export_is_written_where_it_is_wanted(run: Callable[..., Result], tmp_path: Path) -> None:
    body = {"user_id": "m1", "complete": True, "events": []}
    target = tmp_path / "m1.json"
    result = run("export", "m1", "-o", str(target), "--json", answers={"GET /v1/users/m1/export": body})
    assert json.loads(target.read_text("utf-8")) == body
    assert json.loads(result.stdout)["bytes"] == target.stat().st_size


def test_a_large_export_is_fetched_into_the_file(run: Callable[..., Result], tmp_path: Path) -> None:
    whole = json.dumps({"user_id": "m1", "events": [1, 2]}).encode()
    url = "https://bucket.s3.example.com/exports/x?X-Amz-Signature=s"
    body = {"user_id": "m1", "complete": False, "size": 9, "expires_at": "2026-01-01T00:00:00Z", "url": url}
    answers = {
        "GET /v1/users/m1/export": body,
        "GET /exports/x?X-Amz-Signature=s": httpx2.Response(200, content=gzip.compress(whole)),
    }
    for name in ("m1.json", "m1.json.gz"):
        result = run("export", "m1", "--out", str(tmp_path / name), "--json", answers=answers)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["file"] == str(tmp_path / name)
    assert (tmp_path / "m1.json").read_bytes() == gzip.decompress((tmp_path / "m1.json.gz").read_bytes()) == whole
    kept = (tmp_path / "m1.json").read_bytes()
    answers["GET /exports/x?X-Amz-Signature=s"] = httpx2.Response(403)
    refused = run("export", "m1", "--out", str(tmp_path / "m1.json"), "--json", answers=answers)
    assert refused.exit_code == 1 and "error" in json.loads(refused.stdout)
    assert (tmp_path / "m1.json").read_bytes() == kept and len(list(tmp_path.iterdir())) == 2


# With --json there is one object, whatever is wrong ------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("profile",),
        ("profile", "m1", "--such"),
        ("nothing",),
        ("recommend", "m1", "-n", "0"),
        ("train",),
        ("train", "nothing"),
        ("evaluate",),
        ("evaluate", "nothing"),
        ("evaluate", "policy"),
        ("evaluate", "policy", "--cases", "none.jsonl"),
        ("train", "ranker"),
        ("train", "ranker", "--such"),
        ("train", "ranker", "--events", __file__),
        ("promote", "none"),
        ("profile", "m1", "--url", "http://["),
        ("profile", "m1", "--url", "http://a:b"),
        ("profile", "m1", "--url", "http://"),
        (),
    ],
)
def test_a_call_that_is_wrong_is_an_object_and_status_2(run: Callable[..., Result], arguments: tuple[str, ...]) -> None:
    result = run(*arguments, "--json")
    assert result.exit_code == 2, result.output
    assert json.loads(result.stdout)["error"]["title"]
    assert "Traceback" not in result.stderr


def test_what_nobody_foresaw_is_an_object_too(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RecursionError("maximum recursion depth exceeded")

    monkeypatch.setattr(infra.client.Client, "profile", broken)
    result = run("profile", "m1", "--json")
    assert result.exit_code == 1 and "a defect of adtailor" in json.loads(result.stdout)["error"]["title"]
    assert len(result.stderr.strip().splitlines()) == 1 and "test_cli.py:" in result.stderr


def test_a_token_is_never_printed(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADTAILOR_TOKEN", "eyJsecret tok\r\n")
    result = run("profile", "m1", "--json", "--url", "https://api.example.com")
    assert result.exit_code == 2 and "ADTAILOR_TOKEN" in json.loads(result.stdout)["error"]["title"]
    assert "secret" not in result.output
    monkeypatch.setenv("ADTAILOR_TOKEN", "eyJ.tok\r\n")
    answers: Answers = {"GET /v1/ranker": {}, "GET /v1/heads": {"heads": []}}
    assert "secret" not in run("train", "status", "--url", "https://api.example.com", answers=answers).output


def test_a_ranker_that_is_trained_says_where_it_is(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from infra.training import train_ranker
    from shared.models.artifacts import write_manifest

    def trained(log: Annotated[list[str], typer.Option()], out: Annotated[Path, typer.Option()]) -> None:
        (out / "model.onnx").write_bytes(b"x")
        write_manifest(out, "ranker", "ranker", metadata={"seed": 0})

    monkeypatch.setattr(train_ranker, "command", trained)
    result = run("train", "ranker", "--log", "x", "--out", str(tmp_path), "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["out"], told["metadata"]) == (str(tmp_path), {"seed": 0}) and told["version"]


# Data ---------------------------------------------------------------------------------------------------------------


def place(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Place:
    found = Place("demo", aws.bucket, aws.table, None)
    monkeypatch.setattr(Place, "client", lambda _, service: getattr(aws, service))
    monkeypatch.setattr("infra.cli.place.place_of", lambda url, outputs: found)
    return found


def test_an_upload_is_followed_and_its_rejected_lines_are_shown(
    run: Callable[..., Result], aws: Aws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place(aws, monkeypatch)
    path = tmp_path / "events.jsonl"
    path.write_text('{"user_id": "u"}\nbroken\n', encoding="utf-8")
    key = "events/demo/events.jsonl"
    begun = time.time()

    def take_in() -> None:
        """What the product does once the object is there."""
        while "Contents" not in (found := aws.s3.list_objects_v2(Bucket=aws.bucket, Prefix=key)):
            assert time.time() < begun + 30
        line = json.dumps({"line": 2, "field": "row", "reason": "The line is not JSON."})
        aws.s3.put_object(Bucket=aws.bucket, Key="rejected/demo/events.jsonl.events.jsonl", Body=line.encode())
        etag = found["Contents"][0]["ETag"].strip('"')
        stores_on(aws).catalogue.finish_upload("demo", key, etag, IngestReport(1, 0, (), 1), 1.0)

    worker = threading.Thread(target=take_in)
    worker.start()
    result = run("upload", str(path), "--json", "--strict")
    worker.join()
    assert result.exit_code == 4
    [told] = json.loads(result.stdout)["uploads"]
    assert (told["accepted"], told["rejected"], told["again"]) == (1, 1, False)
    assert told["rejections"] == [{"line": 2, "field": "row", "reason": "The line is not JSON."}]
    again = run("upload", str(path))
    assert again.exit_code == 0
    assert "1 in, 0 duplicates, 1 rejected" in again.stdout and "nothing has changed" in again.stdout


def test_with_a_token_an_upload_needs_no_credentials_of_aws(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "events.jsonl"
    path.write_text('{"user_id": "u"}\nbroken\n', encoding="utf-8")
    address = {
        "key": "events/acme/events.jsonl",
        "url": "https://bucket.s3.example.com/events/acme/events.jsonl?X-Amz-Signature=s",
        "headers": {},
        "most_bytes": 1000,
    }
    none = dict.fromkeys(("accepted", "duplicates", "rejected", "problem", "chunks"))
    line = {"line": 2, "field": "row", "reason": "The line is not JSON."}
    done = none | {"state": "done", "accepted": 1, "duplicates": 0, "rejected": 1, "lines": [line]}
    answers: Answers = {
        "POST /v1/uploads": (201, address),
        "PUT /events/acme/events.jsonl?X-Amz-Signature=s": {},
        "GET /v1/uploads/events/events.jsonl": [
            none | {"state": "reading", "lines": []},
            none | {"state": "reading", "lines": [], "chunks": {"done": 1, "total": 2}},
            done,
        ],
    }
    options = ("--url", "https://api.example.com", "--token", "t")
    result = run("upload", str(path), "--json", "--strict", *options, answers=answers)
    assert result.exit_code == 4, result.output
    [told] = json.loads(result.stdout)["uploads"]
    assert (told["accepted"], told["rejected"], told["rejections"]) == (1, 1, [line])
    sent = dict(result.asked)  # type: ignore[attr-defined]
    assert sent["POST /v1/uploads"] == {"kind": "events", "name": "events.jsonl"}
    assert sent["PUT /events/acme/events.jsonl?X-Amz-Signature=s"] == path.read_bytes()
    answers["GET /v1/uploads/events/events.jsonl"] = done | {"state": "failed", "problem": "Nothing has happened."}
    failed = run("upload", str(path), *options, answers=answers)
    assert failed.exit_code == 3 and "Nothing has happened." in failed.stderr
    answers["POST /v1/uploads"] = (201, address | {"most_bytes": 3})
    assert "Too large" in run("upload", str(path), *options, answers=answers).stderr


def test_what_went_in_before_a_file_that_fails_is_told(
    run: Callable[..., Result], aws: Aws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place(aws, monkeypatch)
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("text,label\na,b\n", encoding="utf-8")
    second.write_text("who,when\n1,2\n", encoding="utf-8")
    result = run("upload", str(first), str(second), "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 1 and "b.csv" in told["error"]["title"]
    assert told["uploads"] == [{"key": "labels/demo/a.csv", "state": "uploaded"}]


def test_what_cannot_be_uploaded_says_what_to_do(run: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "theirs.csv"
    path.write_text("会员,时间\n1,2\n", encoding="utf-8")
    assert "`adtailor import` it first" in run("upload", str(path)).stderr
    assert "must end in .jsonl or .csv" in run("upload", str(path), "--kind", "ads", "--name", "x.xlsx").stderr
    assert "--kind: use events, ads, labels" in run("upload", str(path), "--kind", "people").stderr
    assert run("upload", str(tmp_path / "none.csv")).exit_code == 2


def test_a_deployment_is_found_by_its_stack(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    stack = {
        "Outputs": [{"OutputKey": "BucketName", "OutputValue": "b"}, {"OutputKey": "TableName", "OutputValue": "t"}],
        "Parameters": [{"ParameterKey": "Tenant", "ParameterValue": "main"}],
    }

    class CloudFormation:
        def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803 - AWS's name
            return {"Stacks": [stack]} if StackName == "adtailor" else {}

    monkeypatch.setattr("boto3.client", lambda service: CloudFormation())
    for name in ("BUCKET", "TABLE", "TENANT", "AWS_URL"):
        monkeypatch.delenv(f"ADTAILOR_{name}", raising=False)
    from infra.cli.place import place_of

    assert place_of("https://api.example.com", outputs_of("adtailor")) == Place("main", "b", "t", None)
    refused = run("upload", __file__, "--kind", "events", "--name", "a.csv", "--url", "https://api.example.com")
    assert refused.exit_code == 2 and "ADTAILOR_BUCKET, ADTAILOR_TABLE, ADTAILOR_TENANT" in refused.stderr


def test_an_import_is_guessed_tried_and_written(run: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_text("user_id,action,sku,ts\nu,buy,P1,1700000000\nu,buy,P1,never\n", encoding="utf-8")
    guessed = run("import", str(path), "--guess", "--domain", "ecommerce")
    mapping = tmp_path / "shop.mapping.yaml"
    assert guessed.exit_code == 0 and mapping.exists()
    assert run("import", str(path), "--guess").exit_code == 1  # what somebody has edited is not written over
    tried = run("import", str(path), "-m", str(mapping), "--dry-run", "--json", "--strict")
    report = json.loads(tried.stdout)
    assert tried.exit_code == 4
    assert (report["rows"], report["accepted"]) == (2, 1)
    assert report["rejected"][0]["examples"][0]["line"] == 3
    assert sorted(one.name for one in tmp_path.iterdir()) == ["shop.csv", "shop.mapping.yaml"]
    out = tmp_path / "out.jsonl"
    written = run("import", str(path), "-m", str(mapping), "--out", str(out))
    assert written.exit_code == 0 and "2 rows: 1 good, 0 left out, 1 rejected" in written.stdout
    assert json.loads(out.read_text("utf-8"))["event"] == "purchase"
    assert run("import", str(path)).exit_code == 2
    assert run("import", str(path), "-m", str(mapping)).exit_code == 2


def test_an_import_does_not_write_over_what_it_reads(run: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_text("user_id,action,sku,ts\nu,buy,P1,1700000000\n", encoding="utf-8")
    kept = path.read_bytes()
    run("import", str(path), "--guess", "--domain", "ecommerce")
    mapping = tmp_path / "shop.mapping.yaml"
    linked = tmp_path / "linked.csv"
    linked.symlink_to(path)
    for out in (path, tmp_path / "." / "shop.csv", linked, mapping):
        result = run("import", str(path), "--mapping", str(mapping), "-o", str(out), "--json")
        assert result.exit_code == 2 and "is what is read" in json.loads(result.stdout)["error"]["title"]
    assert run("import", str(path), "--guess", "-o", str(path)).exit_code == 2
    assert path.read_bytes() == kept and "kind: events" in mapping.read_text("utf-8")


# Models -------------------------------------------------------------------------------------------------------------


def test_how_the_models_stand(run: Callable[..., Result]) -> None:
    head = {"name": "topics", "state": "served", "version": "v1", "updated_at": None, "reason": None}
    ranker = {"state": "held", "version": None, "updated_at": None, "reason": "too few clicks"}
    shown = run("train", "status", answers={"GET /v1/heads": {"heads": [head]}, "GET /v1/ranker": ranker})
    assert "topics" in shown.stdout and "too few clicks" in shown.stdout


def test_training_is_followed_until_it_serves(
    run: Callable[..., Result], aws: Aws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place(aws, monkeypatch)
    labels = tmp_path / "mine.csv"
    labels.write_text("text,label\na,b\n", encoding="utf-8")
    old = {"name": "topics", "state": "served", "updated_at": "1", "reason": None, "metrics": None}
    figures = {"accuracy": 0.9, "baselines": {"tfidf": {"accuracy": 0.8}}}
    new = [old | {"state": "training", "updated_at": "2"}, old | {"updated_at": "3", "metrics": figures}]
    result = run("train", "head", str(labels), "--name", "topics", answers={"GET /v1/heads/topics": [old, old, *new]})
    assert result.exit_code == 0 and "topics: served" in result.stdout and "tfidf: accuracy 0.800" in result.stdout
    assert aws.s3.get_object(Bucket=aws.bucket, Key="labels/demo/topics.csv")["Body"].read() == labels.read_bytes()
    failed = old | {"state": "failed", "updated_at": "4", "reason": "one label only"}
    answers = {"GET /v1/heads/topics": [(404, {"title": "Not found"}), failed]}
    result = run("train", "head", str(labels), "--name", "topics", "--json", answers=answers)
    assert result.exit_code == 1 and json.loads(result.stdout)["reason"] == "one label only"


def test_evaluating_is_the_measuring_command(run: Callable[..., Result]) -> None:
    for language in ("zh", "en"):
        artifact(f"reader-{language}")
    result = run("evaluate", "policy", "--cases", "tests/labelled/policy.jsonl", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["precision"] > 0.9


def test_promoting_is_the_gate(
    run: Callable[..., Result], aws: Aws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place(aws, monkeypatch)
    monkeypatch.setenv("BUCKET_NAME", "")
    monkeypatch.setenv("TABLE_NAME", "")
    result = run("promote", str(tmp_path), "--log", str(tmp_path / "none.jsonl"))
    assert result.exit_code == 1 and "gate: " in result.stderr and not result.stdout
    result = run("promote", str(tmp_path), "--log", str(tmp_path / "none.jsonl"), "--json")
    assert result.exit_code == 1 and json.loads(result.stdout)["error"]["title"].startswith("gate: ")


def test_help_is_there_for_every_command(run: Callable[..., Result]) -> None:
    whole = run("--help")
    names = ["import", "upload", "profile", "consent", "export", "erase", "recommend", "classify", "copy", "train"]
    names += ["evaluate", "promote"]
    assert all(name in whole.stdout for name in names)
    for name in names:
        shown = run(name, "--help")
        assert shown.exit_code == 0 and "Usage:" in shown.stdout
        if name not in ("train", "evaluate"):
            assert "--json" in shown.stdout and "--url" in shown.stdout
