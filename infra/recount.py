"""Recounts uploads of events from the outside: the files' own lines against the rows in the table and the reports.

    python -m infra.recount events/demo/beauty.jsonl.gz --tenant demo

Reads the objects from the bucket line by line and scans the table, both without the product's stores, and fails
(exit 1) unless for each file ``accepted + duplicates + rejected`` is its number of rows, its rejected lines are as many
as its report says, and the rows in the table are the distinct events of all the lines that were not rejected, each
once, numbered without gaps. Exact where the tenant's events all came from uploads named here.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import boto3
import typer
from botocore.exceptions import ClientError
from rich.console import Console
from rich.table import Table

from shared.settings import Settings

DELIVERED = "e/fb:"  # events that feedback made, and no upload


@dataclass(frozen=True, slots=True)
class Counted:
    """What a tenant's table holds: event rows in all, and people whose last number is not that of their rows."""

    rows: int
    gaps: int


def rows_of(s3: Any, bucket: str, key: str) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """The uploaded file's rows with their lines; None for a line that is no JSON object."""
    body = s3.get_object(Bucket=bucket, Key=key)["Body"]
    plain = gzip.GzipFile(fileobj=body) if key.endswith(".gz") else body
    text = io.TextIOWrapper(io.BufferedReader(plain), "utf-8-sig", errors="replace", newline="")
    if ".csv" in key.rsplit("/", 1)[-1]:
        reader = csv.DictReader(text)
        line = 1
        for row in reader:
            yield line + 1, row
            line = reader.line_num
        return
    for number, one in enumerate(text, start=1):
        if one.strip():
            try:
                value = json.loads(one)
            except ValueError:
                value = None
            yield number, value if isinstance(value, dict) else None


def rejected_lines(s3: Any, bucket: str, key: str) -> list[int]:
    """The lines that the upload's rejected object names."""
    kind, rest = key.split("/", 1)
    try:
        body = s3.get_object(Bucket=bucket, Key=f"rejected/{rest}.{kind}.jsonl")["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return []
        raise
    return [row["line"] for row in map(json.loads, body.splitlines()) if row["line"] is not None]


def identity(line: int, row: dict[str, Any]) -> tuple[str, str]:
    """What makes an event the same again: its person and its id, or else everything about it and its line."""
    event_id = row.get("event_id")
    return str(row["user_id"]).strip(), str(event_id) if event_id else json.dumps([line, row], sort_keys=True)


def counted(dynamodb: Any, table: str, tenant: str) -> Counted:
    """Event rows of the tenant, by a scan of the whole table."""
    rows: Counter[str] = Counter()
    heads: dict[str, int] = {}
    delivered = 0
    for page in dynamodb.get_paginator("scan").paginate(
        TableName=table,
        FilterExpression="begins_with(pk, :pk) AND (begins_with(sk, :sk) OR sk = :meta)",
        ExpressionAttributeValues={":pk": {"S": f"t/{tenant}/p/"}, ":sk": {"S": "e/"}, ":meta": {"S": "meta"}},
        ProjectionExpression="pk, sk, head",
        ConsistentRead=True,
    ):
        for item in page["Items"]:
            if item["sk"]["S"] == "meta":
                heads[item["pk"]["S"]] = int(item["head"]["N"]) if "head" in item else 0
            else:
                rows[item["pk"]["S"]] += 1
                delivered += item["sk"]["S"].startswith(DELIVERED)
    gaps = sum(heads.get(pk, 0) != rows[pk] for pk in {*heads, *rows})
    return Counted(sum(rows.values()) - delivered, gaps)


def report_of(dynamodb: Any, table: str, tenant: str, key: str) -> dict[str, int]:
    row = dynamodb.get_item(TableName=table, Key={"pk": {"S": f"t/{tenant}/uploads"}, "sk": {"S": key}}).get("Item")
    if row is None:
        raise typer.BadParameter(f"{key} has not been taken in (yet)")
    return {name: int(row[name]["N"]) for name in ("accepted", "duplicates", "rejected")}


def problems(
    s3: Any, dynamodb: Any, bucket: str, table: str, tenant: str, keys: list[str], console: Console
) -> list[str]:
    """What does not agree; prints a table of what was counted."""
    found: list[str] = []
    shown = Table("upload", "rows", "accepted", "duplicates", "rejected", "sum")
    distinct: set[tuple[str, str]] = set()
    accepted = 0
    for key in keys:
        report = report_of(dynamodb, table, tenant, key)
        refused = rejected_lines(s3, bucket, key)
        named = set(refused)
        sent = 0
        for line, row in rows_of(s3, bucket, key):
            sent += 1
            if line in named:
                continue
            if row is None:
                found.append(f"{key}: line {line} is no event, and is not among the rejected lines")
            else:
                distinct.add(identity(line, row))
        accepted += report["accepted"]
        shown.add_row(key, str(sent), *(str(value) for value in report.values()), str(sum(report.values())))
        if sum(report.values()) != sent:
            found.append(f"{key}: {sent} rows, but the report says {sum(report.values())}")
        if len(refused) != report["rejected"] or len(named) != len(refused):
            found.append(
                f"{key}: {report['rejected']} rejected by the report, {len(named)} lines in the rejected object"
            )
    held = counted(dynamodb, table, tenant)
    console.print(shown)
    console.print(f"event rows in the table: {held.rows}; distinct events in the files: {len(distinct)}")
    if not held.rows == accepted == len(distinct):
        found.append(
            f"{held.rows} rows in the table, {accepted} accepted, {len(distinct)} distinct events in the files"
        )
    if held.gaps:
        found.append(f"{held.gaps} people whose rows are not numbered without gaps")
    return found


def main(
    keys: Annotated[list[str], typer.Argument(help="uploads, as keys in the bucket: events/demo/file.jsonl.gz")],
    tenant: Annotated[str, typer.Option()] = "demo",
) -> None:
    """Recounts uploads from the outside."""
    settings = Settings.from_env()
    console = Console()
    clients = boto3.client("s3"), boto3.client("dynamodb")
    found = problems(*clients, settings.bucket_name, settings.table_name, tenant, keys, console)
    for problem in found:
        console.print(f"[red]{problem}[/red]")
    if found:
        raise typer.Exit(1)
    console.print("[green]every line is accounted for[/green]")


if __name__ == "__main__":
    typer.run(main)
