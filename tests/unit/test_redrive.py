"""Dead letters are shown with their cause, and sent back without losing one (moto's SQS; the rest is faked)."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
import typer
from moto import mock_aws
from rich.console import Console

from infra import redrive
from infra.redrive import Cloud

pytestmark = pytest.mark.slow

REGION = "eu-central-1"
ACCOUNT = "123456789012"
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:adtailor-ProfileFunction-1A2B"


class FakePages:
    def __init__(self, *pages: dict[str, Any]) -> None:
        self.pages = pages
        self.asked: list[dict[str, Any]] = []

    def get_paginator(self, operation: str) -> FakePages:
        assert operation in ("list_stack_resources", "filter_log_events")
        return self

    def paginate(self, **arguments: Any) -> Iterator[dict[str, Any]]:
        self.asked.append(arguments)
        return iter(self.pages)


class FakeFunctions:
    """Lambda with one function, which takes from any queue. answer: what a call of it gives."""

    def __init__(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._answer = answer
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def list_event_source_mappings(self, **_: Any) -> dict[str, Any]:
        return {"EventSourceMappings": [{"FunctionArn": f"{FUNCTION}:live"}]}

    def get_function_configuration(self, **_: Any) -> dict[str, Any]:
        return {"FunctionName": "profile", "LoggingConfig": {"LogGroup": "/aws/lambda/adtailor-profile"}}

    def invoke(self, **arguments: Any) -> dict[str, Any]:
        assert arguments["InvocationType"] == "RequestResponse" and arguments["Qualifier"] == "live"
        payload = json.loads(arguments["Payload"])
        self.calls.append((arguments["FunctionName"], payload))
        return {"StatusCode": 200} | self._answer(payload)


class MovingQueues:
    """moto's SQS and the task that moves messages, which it lacks: this moves one at each look, at least once."""

    def __init__(self, sqs: Any) -> None:
        self._sqs = sqs
        self._left = self._moved = 0
        self._from = self._to = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sqs, name)

    def start_message_move_task(self, *, SourceArn: str) -> dict[str, Any]:  # noqa: N803
        for url in self._sqs.list_queues()["QueueUrls"]:
            attributes = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            if attributes["QueueArn"] == SourceArn:
                self._from, self._left = url, int(attributes["ApproximateNumberOfMessages"])
            elif SourceArn in attributes.get("RedrivePolicy", ""):
                self._to = url
        return {"TaskHandle": "handle"}

    def list_message_move_tasks(self, **_: Any) -> dict[str, Any]:
        (message,) = self._sqs.receive_message(QueueUrl=self._from, MaxNumberOfMessages=1)["Messages"]
        self._sqs.send_message(QueueUrl=self._to, MessageBody=message["Body"])
        self._sqs.delete_message(QueueUrl=self._from, ReceiptHandle=message["ReceiptHandle"])
        self._moved += 1
        status = "COMPLETED" if self._moved == self._left else "RUNNING"
        counts = {
            "ApproximateNumberOfMessagesMoved": self._moved,
            "ApproximateNumberOfMessagesToMove": self._left,
        }
        return {"Results": [{"Status": status, **counts}]}


@pytest.fixture
def sqs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr("infra.redrive.time.sleep", lambda seconds: None)
    with mock_aws():
        yield boto3.client("sqs", region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test")


class World:
    """The stack's queues, and `run` on them."""

    def __init__(self, sqs: Any) -> None:
        self.sqs = MovingQueues(sqs)
        dead = self._queue("events-dlq")
        arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})
        queue = self._queue("events", RedrivePolicy=policy)
        self.urls = {"EventQueue": queue, "EventDeadLetters": dead, "FailedUploads": self._queue("failed-uploads")}
        listed = [
            {"LogicalResourceId": name, "PhysicalResourceId": url, "ResourceType": "AWS::SQS::Queue"}
            for name, url in self.urls.items()
        ]
        table = {"LogicalResourceId": "Table", "PhysicalResourceId": "t", "ResourceType": "AWS::DynamoDB::Table"}
        self.cloudformation = FakePages(
            {"StackResourceSummaries": listed[:1]}, {"StackResourceSummaries": [table, *listed[1:]]}
        )
        self.functions = FakeFunctions(lambda payload: {})
        self.logs = FakePages({"events": []})

    def _queue(self, name: str, **attributes: str) -> str:
        return str(self.sqs.create_queue(QueueName=f"adtailor-{name}", Attributes=attributes)["QueueUrl"])

    def send(self, name: str, *bodies: Any) -> list[str]:
        """Ids of the messages."""
        return [
            self.sqs.send_message(QueueUrl=self.urls[name], MessageBody=json.dumps(body))["MessageId"]
            for body in bodies
        ]

    def bodies(self, name: str) -> list[Any]:
        answer = self.sqs.receive_message(QueueUrl=self.urls[name], MaxNumberOfMessages=10, VisibilityTimeout=0)
        return [json.loads(one["Body"]) for one in answer.get("Messages", ())]

    def run(self, name: str = "", samples: int = 3) -> tuple[int, str]:
        """How many letters were kept, and what was printed."""
        out = io.StringIO()
        cloud = Cloud(self.sqs, self.functions, self.logs, self.cloudformation)
        console = Console(file=out, width=200)
        return redrive.run(cloud, console, "adtailor", samples, name), out.getvalue()


@pytest.fixture
def world(sqs: Any) -> World:
    return World(sqs)


def failed(key: str, version: str = ":live") -> dict[str, Any]:
    """Lambda's record of an S3 event whose function failed three times."""
    return {
        "version": "1.0",
        "requestContext": {"functionArn": FUNCTION + version, "condition": "RetriesExhausted"},
        "requestPayload": {"Records": [{"eventSource": "aws:s3", "s3": {"object": {"key": key}}}]},
        "responsePayload": {"errorType": "Unavailable", "errorMessage": "the table is throttled"},
    }


def test_every_queue_of_dead_letters_is_listed_with_its_count(world: World) -> None:
    world.send("EventDeadLetters", *({"action": "chunk", "chunk": n} for n in range(5)))
    world.send("EventQueue", {"action": "chunk", "chunk": 9})
    kept, text = world.run(samples=0)
    rows = {
        cells[1].strip(): [one.strip() for one in cells[2:4]]
        for line in text.splitlines()
        if (cells := line.split("│"))[1:]
    }
    assert kept == 0 and rows == {"EventDeadLetters": ["5", "0"], "FailedUploads": ["0", "0"]}
    assert world.cloudformation.asked == [{"StackName": "adtailor"}]


def test_a_letter_is_shown_by_its_ids_with_the_error_that_was_logged(world: World) -> None:
    body = {"action": "chunk", "tenant": "demo", "run": "r1", "chunk": 7, "user_id": "somebody", "text": "private"}
    (message_id,) = world.send("EventDeadLetters", body)
    entries = [{"message": "START"}, {"message": json.dumps({"exception": "Traceback …\nKeyError: 'interests'"})}]
    world.logs = FakePages({"events": []}, {"events": entries})
    _, text = world.run()
    assert "action=chunk tenant=demo run=r1 chunk=7" in text and "KeyError: 'interests'" in text
    assert "somebody" not in text and "private" not in text
    (asked,) = world.logs.asked
    assert asked["logGroupName"] == "/aws/lambda/adtailor-profile" and message_id in asked["filterPattern"]


def test_looking_takes_nothing_away(world: World) -> None:
    world.send("EventDeadLetters", {"action": "chunk"})
    world.send("FailedUploads", failed("events/demo/[a].jsonl"))
    _, first = world.run()
    _, again = world.run()
    first, again = (re.sub(r"\d+ s(?= |$)", "? s", text) for text in (first, again))  # how old they are
    assert first == again and "not in the log" in first
    assert "events/demo/[a].jsonl" in first and "Unavailable: the table is throttled" in first
    assert len(world.bodies("EventDeadLetters")) == len(world.bodies("FailedUploads")) == 1


@pytest.mark.parametrize("body", ["not JSON", ["a", "list"], {}, {"Records": [{}]}, {"requestPayload": 3}])
def test_letters_of_any_shape_are_shown_and_none_is_lost(world: World, body: Any) -> None:
    world.send("EventDeadLetters", body)
    world.send("FailedUploads", body)
    _, text = world.run()
    assert text.count("?") >= 2
    assert world.run("FailedUploads")[0] == 1
    assert world.bodies("FailedUploads") == [body] and world.functions.calls == []


def test_dead_letters_go_back_to_their_queue(world: World) -> None:
    sent = [{"action": "chunk", "chunk": n} for n in range(4)]
    world.send("EventDeadLetters", *sent)
    kept, text = world.run("EventDeadLetters")
    assert kept == 0 and "EventDeadLetters: 4 sent back, 0 kept" in text
    assert sorted(one["chunk"] for one in world.bodies("EventQueue")) == [0, 1, 2, 3]
    assert world.bodies("EventDeadLetters") == []


def test_nothing_to_move_starts_no_task(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(MovingQueues, "start_message_move_task")
    assert world.run("EventDeadLetters") == (0, "EventDeadLetters: 0 sent back, 0 kept\n")


def test_uploads_that_failed_are_taken_in_again(world: World) -> None:
    world.send("FailedUploads", failed("events/demo/a.jsonl"), failed("events/demo/b.jsonl", ":17"))
    kept, _ = world.run("FailedUploads")
    assert kept == 0 and world.bodies("FailedUploads") == []
    keys = {payload["Records"][0]["s3"]["object"]["key"] for _, payload in world.functions.calls}
    assert keys == {"events/demo/a.jsonl", "events/demo/b.jsonl"}
    assert {function for function, _ in world.functions.calls} == {FUNCTION}


def test_an_upload_that_fails_again_stays_and_does_not_hold_up_the_others(world: World) -> None:
    def answer(payload: dict[str, Any]) -> dict[str, Any]:
        broken = payload["Records"][0]["s3"]["object"]["key"].endswith("bad.jsonl")
        return {"FunctionError": "Unhandled"} if broken else {}

    world.functions = FakeFunctions(answer)
    world.send("FailedUploads", failed("ads/demo/bad.jsonl"), failed("ads/demo/good.jsonl"))
    kept, text = world.run("FailedUploads")
    assert kept == 1 and "1 sent back, 1 kept" in text
    assert world.bodies("FailedUploads") == [failed("ads/demo/bad.jsonl")]
    assert len(world.functions.calls) == 2


def test_a_call_that_breaks_off_deletes_nothing(world: World) -> None:
    def answer(payload: dict[str, Any]) -> dict[str, Any]:
        raise TimeoutError

    world.functions = FakeFunctions(answer)
    world.send("FailedUploads", failed("ads/demo/a.jsonl"))
    with pytest.raises(TimeoutError):
        world.run("FailedUploads")
    attributes = world.sqs.get_queue_attributes(QueueUrl=world.urls["FailedUploads"], AttributeNames=["All"])
    assert attributes["Attributes"]["ApproximateNumberOfMessagesNotVisible"] == "1"


def test_an_unknown_queue_is_refused_by_name(world: World) -> None:
    with pytest.raises(typer.BadParameter, match="one of EventDeadLetters, FailedUploads"):
        world.run("EventQueue")


@pytest.mark.parametrize(
    ("seconds", "said"), [(-3, "0 s"), (119, "119 s"), (120, "2 min"), (7100, "118 min"), (7200, "2 h"), (1e6, "11 d")]
)
def test_ages_are_said_in_two_or_more_of_a_unit(seconds: float, said: str) -> None:
    assert redrive.age(seconds) == said
