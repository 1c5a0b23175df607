"""The GPU endpoint's trial over boto3, against SageMaker's wire API in front of an engine with adapters."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
import typer
from moto import mock_aws
from typer.testing import CliRunner

from infra.gpu_endpoint import smoke
from infra.local.sagemaker_endpoints import Endpoints
from infra.local.sagemaker_front import SageMakerFront

BUCKET = "adtailor"
REGION = "eu-central-1"


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """S3 in this process; only the calls of SageMaker's runtime go through a socket."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name, value in {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "DEFAULT_REGION": REGION}.items():
            patch.setenv(f"AWS_{name}", value)
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield client


class Engine:
    """A chat endpoint that serves the model and adapters by name, as vLLM does."""

    def __init__(self, *adapters: str) -> None:
        self.asked: list[dict[str, Any]] = []
        engine = self

        class Requests(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                engine.asked.append(body)
                known = body.get("model", "") in ("", *adapters)
                choices = [{"message": {"content": f"Copy {number}"}} for number in range(body["n"])]
                answer = {"choices": choices, "usage": {"completion_tokens": 5 * body["n"]}}
                missing = {"error": {"message": f"The model `{body.get('model')}` does not exist.", "code": 404}}
                data = json.dumps(answer if known else missing).encode()
                self.send_response(200 if known else 404)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def served(s3: Any) -> Iterator[tuple[Engine, str]]:
    """An engine, and the URL of SageMaker's API in front of it."""
    engine = Engine("warm")
    endpoints = Endpoints(engine.url, s3=s3, output=f"s3://{BUCKET}/jobs/output", names=frozenset({"copy"}))
    with SageMakerFront(endpoints) as front:
        yield engine, front.url
    engine.server.shutdown()
    engine.server.server_close()


@pytest.fixture
def engine(served: tuple[Engine, str], monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", served[1])
    served[0].asked.clear()
    return served[0]


def trial(*arguments: str) -> tuple[int, str]:
    """Status and output of the command."""
    app = typer.Typer()
    app.command()(smoke.main)
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout


def test_every_adapter_is_asked_for_by_name(engine: Engine) -> None:
    status, out = trial("--endpoint", "copy", "--adapter", "warm", "--n", "2")
    assert status == 0
    assert "Copy 0" in out and "warm" in out
    assert [body.get("model") for body in engine.asked] == [None, "warm"]
    assert {body["n"] for body in engine.asked} == {2}


def test_an_adapter_that_is_not_there_fails_and_the_others_are_still_tried(engine: Engine) -> None:
    status, out = trial("--endpoint", "copy", "--adapter", "gone", "--adapter", "warm", "--n", "1")
    assert status == 1
    assert "FAILED" in out and "Copy 0" in out
    assert [body.get("model") for body in engine.asked] == [None, "gone", "warm"]


def test_an_endpoint_that_is_not_there(engine: Engine) -> None:
    status, out = trial("--endpoint", "nothing")
    assert status == 1 and "FAILED" in out


def asynchronous(s3: Any, **options: Any) -> smoke.Invoke:
    options = {"patience": 20.0, "pause": 0.01} | options
    return smoke.asynchronous(boto3.client("sagemaker-runtime"), s3, "copy", BUCKET, **options)


def test_an_asynchronous_call_goes_through_s3(engine: Engine, s3: Any) -> None:
    done = smoke.try_chat(asynchronous(s3), "warm", n=3)
    assert done.texts == ("Copy 0", "Copy 1", "Copy 2") and done.tokens == 15
    listed = s3.list_objects_v2(Bucket=BUCKET)["Contents"]
    assert {one["Key"].rpartition("/")[0].split("/")[1] for one in listed} == {"smoke", "output"}


def test_an_asynchronous_failure_is_read(engine: Engine, s3: Any) -> None:
    with pytest.raises(smoke.CallFailed, match="does not exist"):
        smoke.try_chat(asynchronous(s3), "gone", n=1)
