"""Messages that can never be handled, a function killed in the middle of its batch, a language model that is down."""

from __future__ import annotations

import json
import logging
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.loaders import create_loader
from fastapi.testclient import TestClient

from functions.classify import handler as classify
from functions.generate import handler as generate
from functions.profile import handler as profile
from infra.local import resources
from infra.local.worker import Consumer, Context
from shared.wiring import System, system
from tests.contract.conftest import emulator
from tests.data import ROOT
from tests.fakes.chat_server import black_hole, chat_server, closed_port, replies, streams
from tests.fakes.models import TopicClassifier, TopicEncoder
from tests.integration.test_faults import AD

__all__ = ["emulator"]  # a fixture of the stores' contract


@pytest.fixture(scope="module")
def made(emulator: str) -> resources.Resources:
    return resources.create(emulator, f"queues-{secrets.token_hex(5)}")


@pytest.fixture(scope="module")
def descriptions() -> Any:
    return create_loader()


@pytest.fixture
def environment(made: resources.Resources, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> dict[str, str]:
    values = made.environment() | {
        "STAGE": "local",
        "TENANT": f"t{secrets.token_hex(4)}",
        "CONSENT_BASIS": "asserted",
        "EXPLORATION": "0",
        "ROTATION": "0",
        "PSEUDONYM_KEY_FILE": str(tmp_path / "key"),
        "LLM_URL": "",
        "LLM_TIMEOUT_SECONDS": "1",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


@pytest.fixture
def start(environment: dict[str, str], descriptions: Any) -> Iterator[Callable[[], System]]:
    """Makes the process's system anew."""

    def started() -> System:
        system.cache_clear()
        built = system()
        classifier = TopicClassifier()
        fakes = {"encoder": TopicEncoder(), "classifiers": {"adproduct": classifier, "content": classifier}}
        built.__dict__.update(fakes | {"versions": {"encoder": "topics"}, "descriptions": descriptions})
        return built

    started()
    yield started
    system.cache_clear()


@pytest.fixture
def logs() -> Iterator[list[logging.LogRecord]]:
    found: list[logging.LogRecord] = []

    class Records(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record)

    handler = Records()
    logging.getLogger("adtailor").addHandler(handler)
    yield found
    logging.getLogger("adtailor").removeHandler(handler)


# Poison -------------------------------------------------------------------------------------------------------------

POISON = {
    "catalogue": (
        classify.lambda_handler,
        ["{not json", "[]", '{"tenant": "t"}', '{"tenant": "t", "action": "explode"}'],
    ),
    "events": (profile.lambda_handler, ['"text"', '{"tenant": "t", "run": "no-such-run", "chunk": 3}', "null"]),
    "copy": (generate.lambda_handler, ["{not json", '{"tenant": "t"}']),
}


@pytest.mark.parametrize("queue", POISON)
def test_poison_goes_to_the_dead_letters_and_keeps_no_neighbour_back(
    made: resources.Resources,
    environment: dict[str, str],
    start: Callable[[], System],
    logs: list[logging.LogRecord],
    queue: str,
) -> None:
    handler, bodies = POISON[queue]
    sqs, url = resources.client("sqs", made.endpoint_url), made.queues[queue]
    dead = sqs.get_queue_url(QueueName=f"{made.table}-{queue}-dlq")["QueueUrl"]
    tenant = environment["TENANT"]
    good = {"catalogue": {"tenant": tenant, "action": "publish"}, "copy": {"tenant": tenant, "job_id": "0" * 32}}
    sent = {sqs.send_message(QueueUrl=url, MessageBody=body)["MessageId"]: body for body in bodies}
    if queue in good:
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps(good[queue]))
    consumer = Consumer(sqs, queue, url, "a-function", handler, batch=10, retry_seconds=0)
    done = sum(consumer.poll() for _ in range(resources.RECEIVES + 1))
    assert done == (queue in good)  # at the first go, with the others around it
    set_aside: dict[str, str] = {}
    while batch := sqs.receive_message(QueueUrl=dead, MaxNumberOfMessages=10).get("Messages"):
        set_aside |= {message["MessageId"]: message["Body"] for message in batch}
    assert set_aside == sent
    named = [getattr(record, "message_id", None) for record in logs if record.levelno >= logging.ERROR]
    assert {message_id: named.count(message_id) for message_id in sent} == dict.fromkeys(sent, resources.RECEIVES)


# Killed -------------------------------------------------------------------------------------------------------------

KILLED = """
import os, sys, json
from functions.generate import handler
from infra.local.worker import Context
from shared.wiring import system
from tests.fakes.models import TopicClassifier, TopicEncoder
built = system()
classifier = TopicClassifier()
built.__dict__.update(
    encoder=TopicEncoder(), classifiers={"adproduct": classifier, "content": classifier}, versions={"encoder": "topics"}
)
real, seen = type(built.generating._jobs)._finish, []
def finish(self, tenant, job, result):
    if len(seen) == 1 and sys.argv[1] == "before":
        os._exit(9)
    real(self, tenant, job, result)
    seen.append(job.job_id)
    if len(seen) == 2:
        os._exit(9)
type(built.generating._jobs)._finish = finish
handler.lambda_handler(json.load(sys.stdin), Context("generate"))
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_batch_that_is_killed_after_two_records_counts_each_of_them_once(
    made: resources.Resources, environment: dict[str, str], start: Callable[[], System], moment: str
) -> None:
    tenant = environment["TENANT"]
    ads = [
        AD | {"ad_id": f"a{n}", "title": f"Trail shoe {n}", "landing_url": f"https://example.com/{n}"} for n in range(4)
    ]
    start().classifying.put_ads(tenant, ads)
    with TestClient(generate.app) as client:
        job_id = client.post("/v1/copy", json={"filter": {"domain": "ecommerce"}, "n": 2}).json()["job_id"]
    sqs, url = resources.client("sqs", made.endpoint_url), made.queues["copy"]
    records: list[dict[str, Any]] = []
    deadline = time.monotonic() + 20
    while len(records) < 4:
        assert time.monotonic() < deadline
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            record = _record(message)
            if "cursor" in json.loads(message["Body"]):
                generate.lambda_handler({"Records": [record]}, Context("generate"))
            else:
                records.append(record)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, moment],
        input=json.dumps({"Records": records}),
        env=os.environ | environment,
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert killed.returncode == 9, killed.stderr[-2000:]
    assert system().generating.job(tenant, job_id).counts["done"] == (1 if moment == "before" else 2)  # type: ignore[index]

    def delayed() -> int:
        name = "ApproximateNumberOfMessagesDelayed"
        return int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])

    waiting = delayed()
    assert generate.lambda_handler({"Records": records}, Context("generate"))["batchItemFailures"] == []
    # Who had a job when it was killed may still be at it, for all the others know: a message comes after its lease.
    assert delayed() - waiting == (1 if moment == "before" else 0)
    later = start()
    later.clock = lambda: time.time() + 121
    assert generate.lambda_handler({"Records": records}, Context("generate"))["batchItemFailures"] == []
    view = later.generating.job(tenant, job_id)
    assert (view.state, view.counts) == (
        "done",
        {"total": 4, "done": 4, "failed": 0, "skipped": 0, "lower_rung": 4},
    )


def _record(message: dict[str, Any]) -> dict[str, Any]:
    from infra.local.worker import sqs_record

    return sqs_record(message, "copy")


# The language model -------------------------------------------------------------------------------------------------


@contextmanager
def refusing() -> Iterator[str]:
    yield f"http://127.0.0.1:{closed_port()}/v1"


@contextmanager
def unreachable() -> Iterator[str]:
    with black_hole() as port:
        yield f"http://127.0.0.1:{port}/v1"


def answering(act: Any) -> Callable[[], Any]:
    @contextmanager
    def served() -> Iterator[str]:
        with chat_server(act) as server:
            yield server.url

    return served


MODELS = {
    "refused": refusing,
    "unreachable": unreachable,
    "hang": answering(streams([3.0])),
    "500": answering(replies(b"oops", 500)),
    "garbage": answering(replies(b"<html>{not json")),
    "other-json": answering(replies(b'{"choices": "none", "usage": []}')),
}


@pytest.mark.parametrize("model", MODELS)
def test_a_lower_rung_answers_for_a_model_that_is_down_and_says_so(
    start: Callable[[], System], monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], model: str
) -> None:
    start().classifying.put_ads(environment["TENANT"], [AD])
    with MODELS[model]() as url:
        monkeypatch.setenv("LLM_URL", url)
        start()
        with TestClient(generate.app) as client:
            for _ in range(2):
                began = time.monotonic()
                answer = client.post("/v1/copy", json={"ad_id": "p1", "n": 2, "fresh": True})
                assert time.monotonic() - began < 3
                assert answer.status_code == 200, answer.text
                body = answer.json()
                assert body["copies"] and body["notice"]
                assert {copy["served_by"] for copy in body["copies"]} <= {"template", "advertiser", "bank"}
