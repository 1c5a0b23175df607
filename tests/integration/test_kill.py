"""Uploads whose taker is killed with SIGKILL at 50 random moments: nothing accepted is lost, nothing counts twice.

The recount is `infra.recount`: the files' own lines against a scan of the table, without the product's stores.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from rich.console import Console

from infra import recount
from infra.local.ministack import Ministack
from infra.local.processes import free_port
from tests.conftest import REGION, Aws, make_resources
from tests.data import ROOT

pytestmark = [pytest.mark.emulator, pytest.mark.slow]
KILLS = 50
MOST_UPLOADS = 32  # as many are taken in as the kills need: eight or so
SEED = 11
TENANT = "demo"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[tuple[Aws, str]]:
    """Local AWS services of the test's own, and their URL."""
    emulator = Ministack(free_port(), tmp_path, tmp_path / "aws.log")
    try:
        emulator.wait()
        session = boto3.Session("local", "local", region_name=REGION)
        dynamodb, s3, sqs = (session.client(name, endpoint_url=emulator.url) for name in ("dynamodb", "s3", "sqs"))
        yield make_resources(dynamodb, s3, sqs, f"kill-{secrets.token_hex(4)}"), emulator.url
    finally:
        emulator.stop()


def rows(source: random.Random, number: int, count: int) -> list[dict[str, str]]:
    """Events of 40 people; some are events again, some are none."""
    found = []
    for place in range(count):
        same = source.randrange(place + 1) if source.random() < 0.1 else place
        other = max(0, number - (source.random() < 0.1))  # an event that the file before has, too
        row = {"user_id": f"u{same % 40}", "event": "view", "timestamp": "2026-11-20T10:00:00Z"}
        row |= {"event_id": f"{other}-{same}", "item_id": f"i{source.randrange(100)}"}
        if source.random() < 0.05:
            row["event"] = "stare"
        found.append(row)
    return found


def packed(name: str, many: list[dict[str, str]]) -> bytes:
    if ".csv" in name:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(many[0]))
        writer.writeheader()
        writer.writerows(many)
        body = text.getvalue().encode()
    else:
        body = b"\n".join(b"{torn" if place % 97 == 5 else json.dumps(row).encode() for place, row in enumerate(many))
    return gzip.compress(body) if name.endswith(".gz") else body


def test_killed_at_fifty_random_moments(cloud: tuple[Aws, str], tmp_path: Path) -> None:
    aws, url = cloud
    source = random.Random(SEED)
    kinds = ("jsonl", "csv", "jsonl.gz", "csv.gz")
    keys = [f"events/{TENANT}/{number:02}.{kinds[number % len(kinds)]}" for number in range(MOST_UPLOADS)]
    for number, key in enumerate(keys):
        aws.s3.put_object(Bucket=aws.bucket, Key=key, Body=packed(key, rows(source, number, 600)))
    environment = os.environ | {
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "TABLE_NAME": aws.table,
        "BUCKET_NAME": aws.bucket,
        "EVENT_QUEUE_URL": aws.event_queue_url,
        "CONSENT_BASIS": "asserted",
        "EXPLORATION": "0",
        "ROTATION": "0",
        "PSEUDONYM_KEY_FILE": str(tmp_path / "key"),
        "POWERTOOLS_METRICS_DISABLED": "true",
        "POWERTOOLS_LOG_LEVEL": "CRITICAL",
    }
    command = [sys.executable, "-m", "tests.integration.killing", str(KILLS), str(SEED), *keys]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["killed"] == KILLS
    keys = answer["taken"]
    console = Console(width=100)
    assert recount.problems(aws.s3, aws.dynamodb, aws.bucket, aws.table, TENANT, keys, console) == []
    # The recount itself notices a row too few: it could not be fooled by an empty table.
    held = recount.counted(aws.dynamodb, aws.table, TENANT)
    assert held.rows > 400 * len(keys)
    page = aws.dynamodb.scan(TableName=aws.table)["Items"]
    lost = next(row for row in page if row["sk"]["S"].startswith("e/"))
    aws.dynamodb.delete_item(TableName=aws.table, Key={name: lost[name] for name in ("pk", "sk")})
    assert len(recount.problems(aws.s3, aws.dynamodb, aws.bucket, aws.table, TENANT, keys, console)) == 2
