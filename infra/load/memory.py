"""Peak memory of taking an upload in, by its size: ``python -m infra.load.memory --megabytes 1000``.

Two processes of their own do what Lambda would: one gets S3's notification and splits the upload, the other takes the
chunks from the queue. The rows make volume without much work behind it: long texts, few different events, known items.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from infra.load.place import wide_console
from infra.local import resources
from infra.local.ministack import Ministack
from infra.local.processes import free_port
from infra.local.stack import ROOT, TENANT
from infra.local.worker import Context, sqs_record
from shared.stores.catalogue import Catalogue, Item
from shared.stores.table import Table as DynamoTable

MEGABYTE = 1_000_000
_TEXT_BYTES = 20_000  # of a row; what goes beyond an event's 2,000 characters is cut when it is read
_PEOPLE, _EVENTS = 10, 10  # different people, and different events of each
_FUNCTION = "profile"


@dataclass(frozen=True, slots=True)
class Peak:
    """One process: its highest resident memory in bytes, and the seconds that its work took."""

    memory: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Taken:
    """An upload that was taken in. `report`: what the table says became of it."""

    rows: int
    split: Peak
    take: Peak
    report: dict[str, Any]


@contextmanager
def services(state: Path) -> Iterator[resources.Resources]:
    """AWS services of their own, in which nobody but the measured processes works."""
    ministack = Ministack(free_port(), state, state / "aws.log")
    try:
        ministack.wait()
        made = resources.create(ministack.url)
        table = DynamoTable(resources.client("dynamodb", made.endpoint_url), made.table)
        item = Item("memory-item", b"\0" * 768)
        Catalogue(table).put_items(TENANT, [item])
        yield made
    finally:
        ministack.stop()


def take_in(made: resources.Resources, state: Path, megabytes: int) -> Taken:
    """Uploads that much and has it taken in; the processes end when all of it is."""
    key = f"events/{TENANT}/memory-{megabytes}.jsonl"
    file = state / "upload.jsonl"
    rows = _write(file, megabytes)
    s3 = resources.client("s3", made.endpoint_url)
    s3.upload_file(str(file), made.bucket, key)
    file.unlink()
    split = _child(made, state, "split", key)
    take = _child(made, state, "take", key)
    table = DynamoTable(resources.client("dynamodb", made.endpoint_url), made.table)
    report = table.get(f"t/{TENANT}/uploads", key)
    if report is None:
        raise RuntimeError(f"{key} has no report")
    s3.delete_object(Bucket=made.bucket, Key=key)
    return Taken(rows, split, take, report)


def _write(file: Path, megabytes: int) -> int:
    words = "a phone for the road, 智能手机，限时优惠 "
    text = (words * (_TEXT_BYTES // len(words.encode()) + 1)).strip()
    now = time.time()
    rows = size = 0
    with file.open("wb") as out:
        while size < megabytes * MEGABYTE:
            person, number = rows % _PEOPLE, rows // _PEOPLE % _EVENTS
            row = {
                "user_id": f"memory-{person}",
                "event": "view",
                "timestamp": now - number,
                "event_id": str(number),
                "item_id": "memory-item",
                "text": f"{rows} {text}",
            }
            size += out.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
            rows += 1
    return rows


def _child(made: resources.Resources, state: Path, part: str, key: str) -> Peak:
    environment = os.environ | made.environment()
    environment |= {
        "STAGE": "local",
        "TENANT": TENANT,
        "CONSENT_BASIS": "asserted",
        "PSEUDONYM_KEY_FILE": str(state / "pseudonym.key"),
        "POWERTOOLS_METRICS_DISABLED": "true",
        "POWERTOOLS_TRACE_DISABLED": "true",
        "POWERTOOLS_LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", "infra.load.memory", "--child", part, "--key", key]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the process that was to {part} {key} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    told = json.loads(done.stdout.splitlines()[-1])
    return Peak(told["memory"], told["seconds"])


def _in_child(part: str, key: str) -> None:
    from functions.profile.handler import lambda_handler

    made = resources.create(os.environ["AWS_ENDPOINT_URL"])
    begun = time.monotonic()
    if part == "split":
        record = {"eventSource": "aws:s3", "s3": {"bucket": {"name": made.bucket}, "object": {"key": key}}}
        lambda_handler({"Records": [record]}, Context(_FUNCTION))
    else:
        _take_chunks(made, key, lambda_handler)
    seconds = time.monotonic() - begun
    # Not ru_maxrss, which also knows what the parent held when it forked.
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (highest,) = [line.split()[1] for line in status if line.startswith("VmHWM:")]
    print(json.dumps({"memory": int(highest) * 1024, "seconds": seconds}))


def _take_chunks(made: resources.Resources, key: str, handler: Any) -> None:
    sqs = resources.client("sqs", made.endpoint_url, read_timeout=60)
    table = DynamoTable(resources.client("dynamodb", made.endpoint_url), made.table)
    url = made.queues["events"]
    while True:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1, AttributeNames=["All"])
        for message in answer.get("Messages", ()):
            failed = handler({"Records": [sqs_record(message, "events")]}, Context(_FUNCTION))["batchItemFailures"]
            if failed:
                raise RuntimeError(f"a chunk failed: {message['Body']}")
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        if not answer.get("Messages"):
            if table.get(f"t/{TENANT}/uploads", key):
                return
            time.sleep(0.05)


def main(
    megabytes: Annotated[
        list[int] | None, typer.Option(help="Sizes of the uploads; give it again for another.")
    ] = None,
    child: Annotated[str, typer.Option(hidden=True)] = "",
    key: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Takes uploads of these sizes in (20 and 200 MB) and shows the peak memory of both processes."""
    if child:
        _in_child(child, key)
        return
    table = Table(*(Column(name, justify="right") for name in ("MB", "rows", "split", "peak", "take", "peak")))
    with tempfile.TemporaryDirectory() as folder, services(Path(folder)) as made:
        for size in megabytes or [20, 200]:
            taken = take_in(made, Path(folder), size)
            cells = [f"{peak.seconds:,.1f} s|{peak.memory / MEGABYTE:,.0f} MB" for peak in (taken.split, taken.take)]
            table.add_row(f"{size:,}", f"{taken.rows:,}", *"|".join(cells).split("|"))
    wide_console().print(table)


if __name__ == "__main__":
    typer.run(main)
