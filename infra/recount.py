"""Recounts an upload from the outside: the file's own lines against the rows in the table and the upload's report.

    python -m infra.recount events/demo/beauty.jsonl.gz --tenant demo

Reads the object from the bucket line by line, scans the table without the product's stores, and fails (exit 1) unless
``accepted + duplicates + rejected == lines`` and every accepted event is one row. Exact where the tenant's events all
came from uploads named here.
"""

from __future__ import annotations

import gzip
from typing import Annotated, Any

import boto3
import typer
from rich.console import Console
from rich.table import Table

from shared.settings import Settings


def lines_of(s3: Any, bucket: str, key: str) -> int:
    """Non-empty lines of the uploaded object (rows, for JSON Lines)."""
    body = s3.get_object(Bucket=bucket, Key=key)["Body"]
    stream = gzip.GzipFile(fileobj=body) if key.endswith(".gz") else body
    return sum(1 for line in (stream if key.endswith(".gz") else body.iter_lines()) if line.strip())


def event_rows(dynamodb: Any, table: str, tenant: str) -> int:
    """Event rows of the tenant, by a scan of the whole table."""
    rows = 0
    for page in dynamodb.get_paginator("scan").paginate(
        TableName=table,
        FilterExpression="begins_with(pk, :pk) AND begins_with(sk, :sk)",
        ExpressionAttributeValues={":pk": {"S": f"t/{tenant}/p/"}, ":sk": {"S": "e/"}},
        ProjectionExpression="sk",
    ):
        rows += len(page["Items"])
    return rows


def report_of(dynamodb: Any, table: str, tenant: str, key: str) -> dict[str, int]:
    row = dynamodb.get_item(TableName=table, Key={"pk": {"S": f"t/{tenant}/uploads"}, "sk": {"S": key}}).get("Item")
    if row is None:
        raise typer.BadParameter(f"{key} has not been taken in (yet)")
    return {name: int(row[name]["N"]) for name in ("accepted", "duplicates", "rejected")}


def main(
    keys: Annotated[list[str], typer.Argument(help="uploads, as keys in the bucket: events/demo/file.jsonl.gz")],
    tenant: Annotated[str, typer.Option()] = "demo",
) -> None:
    """Recounts uploads from the outside."""
    settings = Settings.from_env()
    dynamodb, s3 = boto3.client("dynamodb"), boto3.client("s3")
    table = Table("upload", "lines", "accepted", "duplicates", "rejected", "sum")
    accepted, whole = 0, True
    for key in keys:
        sent = lines_of(s3, settings.bucket_name, key)
        report = report_of(dynamodb, settings.table_name, tenant, key)
        accepted += report["accepted"]
        whole &= sum(report.values()) == sent
        table.add_row(key, str(sent), *(str(value) for value in report.values()), str(sum(report.values())))
    rows = event_rows(dynamodb, settings.table_name, tenant)
    console = Console()
    console.print(table)
    console.print(f"event rows in the table: {rows}; accepted by these uploads: {accepted}")
    if not whole or rows != accepted:
        console.print("[red]the counts differ[/red]")
        raise typer.Exit(1)
    console.print("[green]every line is accounted for[/green]")


if __name__ == "__main__":
    typer.run(main)
