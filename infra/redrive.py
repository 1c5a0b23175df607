"""Dead letters of a deployed stack: how many there are, why, and the way back.

    python -m infra.redrive                               # every queue of dead letters, with samples
    python -m infra.redrive --move EventDeadLetters       # sends them back to the queue that they came from
    python -m infra.redrive --move FailedUploads          # calls the functions again with the uploads that failed

Looking takes nothing away. Mend the cause first: what fails again comes back here. All of it may be sent back more than
once, since an upload, a chunk or a job that is done already changes nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any

import boto3
import typer
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

ALIAS = "live"
CALL_SECONDS = 900  # the longest that Lambda lets a function run
MOVE_SECONDS = 600
REASON_LENGTH = 200
LOG_PAGES = 50  # of a search; many may be empty
# What of a message may be shown: ids. Whatever else it carries may be about a person.
SHOWN = ("action", "tenant", "run", "chunk", "erasure", "job_id", "Type")


@dataclass(frozen=True, slots=True)
class Cloud:
    """boto3 clients."""

    sqs: Any
    functions: Any
    logs: Any
    cloudformation: Any


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that failed for good. since: epoch seconds of its first sending; reason: empty where none is known."""

    message_id: str
    since: float
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """A queue of them. source: ARN of the queue that they come from; empty: records of Lambda, of calls that failed."""

    name: str
    url: str
    arn: str
    waiting: int
    in_work: int
    source: str = ""


def find(cloud: Cloud, stack: str) -> list[DeadLetters]:
    """The stack's queues of dead letters, without samples: those that give nothing on themselves."""
    pages = cloud.cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
    urls = {
        one["LogicalResourceId"]: one["PhysicalResourceId"]
        for page in pages
        for one in page["StackResourceSummaries"]
        if one["ResourceType"] == "AWS::SQS::Queue"
    }
    queues = {
        name: cloud.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        for name, url in urls.items()
    }
    sources = {
        json.loads(one["RedrivePolicy"])["deadLetterTargetArn"]: one["QueueArn"]
        for one in queues.values()
        if one.get("RedrivePolicy")
    }
    return [
        DeadLetters(
            name,
            urls[name],
            one["QueueArn"],
            int(one["ApproximateNumberOfMessages"]),
            int(one["ApproximateNumberOfMessagesNotVisible"]),
            sources.get(one["QueueArn"], ""),
        )
        for name, one in sorted(queues.items())
        if not one.get("RedrivePolicy")
    ]


def samples(cloud: Cloud, dead: DeadLetters, count: int) -> Iterator[Letter]:
    """Up to `count` of the letters; they stay where they are."""
    if not dead.waiting or count <= 0:
        return
    group = _log_group(cloud, dead.source) if dead.source else ""
    answer = cloud.sqs.receive_message(
        QueueUrl=dead.url,
        MaxNumberOfMessages=min(count, 10),
        VisibilityTimeout=0,
        WaitTimeSeconds=1,  # or a few of the queue's servers are asked, which may have nothing
        AttributeNames=["SentTimestamp"],
    )
    for message in answer.get("Messages", ()):
        body = _mapping(message["Body"])
        since = int(message["Attributes"]["SentTimestamp"]) / 1000
        if dead.source:
            yield Letter(
                message["MessageId"], since, _subject(body), _logged(cloud, group, message["MessageId"], since)
            )
        else:
            yield Letter(message["MessageId"], since, _subject(body.get("requestPayload")), _failure(body))


def _mapping(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _subject(body: Any) -> str:
    """What a message or a call is about: an upload's key, or the ids in it."""
    if not isinstance(body, dict):
        return "?"
    records = body.get("Records")
    if isinstance(records, list):
        return ", ".join(str(one["s3"]["object"]["key"]) for one in records if "s3" in one) or "?"
    return " ".join(f"{name}={body[name]}" for name in SHOWN if isinstance(body.get(name), str | int)) or "?"


def _failure(record: Mapping[str, Any]) -> str:
    """Why a call failed, by Lambda's record of it."""
    payload = record.get("responsePayload") or {}
    said = [payload.get("errorType"), payload.get("errorMessage")] if isinstance(payload, dict) else [str(payload)]
    reason = ": ".join(str(one) for one in said if one)
    return (reason or str(record.get("requestContext", {}).get("condition", "")))[:REASON_LENGTH]


def _log_group(cloud: Cloud, source: str) -> str:
    """Log group of the function that takes from a queue; empty where none does."""
    for mapping in cloud.functions.list_event_source_mappings(EventSourceArn=source)["EventSourceMappings"]:
        function = cloud.functions.get_function_configuration(FunctionName=mapping["FunctionArn"])
        return str(function.get("LoggingConfig", {}).get("LogGroup", f"/aws/lambda/{function['FunctionName']}"))
    return ""


def _logged(cloud: Cloud, group: str, message_id: str, since: float) -> str:
    """The error that the function logged for a message; a time-out or a lack of memory leaves none."""
    if not group:
        return ""
    pages = cloud.logs.get_paginator("filter_log_events").paginate(
        logGroupName=group,
        filterPattern=f'{{ $.message_id = "{message_id}" }}',
        startTime=int(since * 1000),
    )
    found = [event for page in islice(pages, LOG_PAGES) for event in page["events"]]
    for event in reversed(found):
        entry = _mapping(event["message"])
        said = entry.get("exception")
        if said:
            return str(said).strip().splitlines()[-1][:REASON_LENGTH]
    return ""


def move(cloud: Cloud, dead: DeadLetters) -> tuple[int, int]:
    """Sends the letters back; returns how many went, and how many did not."""
    return _back_to_queue(cloud, dead) if dead.source else _call_again(cloud, dead)


def _back_to_queue(cloud: Cloud, dead: DeadLetters) -> tuple[int, int]:
    """SQS moves them by itself; this waits for it."""
    cloud.sqs.start_message_move_task(SourceArn=dead.arn)
    deadline = time.monotonic() + MOVE_SECONDS
    while True:
        task = cloud.sqs.list_message_move_tasks(SourceArn=dead.arn, MaxResults=1)["Results"][0]
        moved = int(task.get("ApproximateNumberOfMessagesMoved", 0))
        left = max(0, int(task.get("ApproximateNumberOfMessagesToMove", moved)) - moved)
        if task["Status"] != "RUNNING" or time.monotonic() > deadline:
            return moved, left
        time.sleep(1)


def _call_again(cloud: Cloud, dead: DeadLetters) -> tuple[int, int]:
    """Calls each record's function with what it was called with. A record goes only when that has succeeded."""
    done, kept = 0, []
    for _ in range(dead.waiting):
        answer = cloud.sqs.receive_message(
            QueueUrl=dead.url, MaxNumberOfMessages=1, VisibilityTimeout=CALL_SECONDS + 60, WaitTimeSeconds=1
        )
        for message in answer.get("Messages", ()):
            receipt = {"QueueUrl": dead.url, "ReceiptHandle": message["ReceiptHandle"]}
            if _succeeds(cloud, _mapping(message["Body"])):
                cloud.sqs.delete_message(**receipt)
                done += 1
            else:
                kept.append(receipt)
    for receipt in kept:  # to be seen again at once
        cloud.sqs.change_message_visibility(**receipt, VisibilityTimeout=0)
    return done, len(kept)


def _succeeds(cloud: Cloud, record: Mapping[str, Any]) -> bool:
    arn = str(record.get("requestContext", {}).get("functionArn", ""))
    if "requestPayload" not in record or arn.count(":") < 6:
        return False
    function = ":".join(arn.split(":")[:7])  # without the version that failed, which may be gone
    answer = cloud.functions.invoke(
        FunctionName=function,
        Qualifier=ALIAS,
        InvocationType="RequestResponse",
        Payload=json.dumps(record["requestPayload"]).encode(),
    )
    return answer["StatusCode"] == 200 and "FunctionError" not in answer


def age(seconds: float) -> str:
    """In the largest unit of which there are two: 150 minutes are 2 h, 90 minutes 90 min."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(max(0.0, seconds))} s"


def report(found: list[DeadLetters], letters: Mapping[str, list[Letter]], now: float) -> Table:
    table = Table(Column("dead letters", no_wrap=True), "waiting", "in work", "age", "what", "why")
    for dead in found:
        table.add_row(dead.name, str(dead.waiting), str(dead.in_work), "", "", "")
        for one in letters[dead.name]:
            reason = one.reason or "not in the log: time-out, memory?"
            table.add_row("", "", "", age(now - one.since), escape(one.what), escape(reason))
    return table


def clients() -> Cloud:
    # A call may take as long as the function; botocore must neither give up before nor call twice.
    patient = Config(read_timeout=CALL_SECONDS + 10, retries={"max_attempts": 0})
    return Cloud(
        sqs=boto3.client("sqs"),
        functions=boto3.client("lambda", config=patient),
        logs=boto3.client("logs"),
        cloudformation=boto3.client("cloudformation"),
    )


def main(
    stack: Annotated[str, typer.Option(help="the deployed stack")] = "adtailor",
    sample: Annotated[int, typer.Option(min=0, max=10, help="letters to show of each queue")] = 3,
    name: Annotated[str, typer.Option("--move", help="send the letters of this queue back")] = "",
) -> None:
    """Lists a stack's dead letters, or sends those of one queue back."""
    console = Console()
    try:
        kept = run(clients(), console, stack, sample, name)
    except (BotoCoreError, ClientError) as error:
        console.print(f"[red]error:[/red] {escape(str(error))}")
        raise typer.Exit(1) from None
    if kept:
        raise typer.Exit(1)


def run(cloud: Cloud, console: Console, stack: str, sample: int, name: str) -> int:
    """What `main` does; returns how many letters could not be sent back."""
    found = find(cloud, stack)
    if not name:
        letters = {dead.name: list(samples(cloud, dead, sample)) for dead in found}
        console.print(report(found, letters, time.time()))
        return 0
    chosen = next((dead for dead in found if dead.name == name), None)
    if chosen is None:
        raise typer.BadParameter(f"one of {', '.join(dead.name for dead in found)}", param_hint="--move")
    moved, kept = move(cloud, chosen) if chosen.waiting else (0, 0)
    console.print(f"{chosen.name}: {moved} sent back, {kept} kept")
    return kept


if __name__ == "__main__":
    typer.run(main)
