"""An independent look for traces: everything that a table and a bucket hold, as raw as boto3 hands it out, unpacked
wherever it can be. It knows nothing of the stores, and so takes nothing for granted that they say."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import ahocorasick


def unpacked(data: bytes, depth: int = 0) -> Iterator[str]:
    """The bytes as text, and what they hold where they are compressed, base64 or JSON with such within."""
    yield data.decode("utf-8", "replace")
    if depth > 4:
        return
    for open_ in (zlib.decompress, gzip.decompress, _base64):
        try:
            within = open_(data)
        except (zlib.error, OSError, EOFError, ValueError):
            continue
        yield from unpacked(within, depth + 1)
    if data[:1] == b"{":
        try:
            yield from _strings(json.loads(data), depth)
        except ValueError:
            return


def _base64(data: bytes) -> bytes:
    if len(data) < 16:
        raise ValueError("too short to tell")
    return base64.b64decode(data, validate=True)


def _strings(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield from unpacked(value.encode("utf-8", "replace"), depth + 1)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _strings(one, depth)
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one, depth)


def wire_texts(value: Any) -> Iterator[str]:
    """Texts of a row as boto3's client returns it: names of attributes, texts, numbers and binary values."""
    if isinstance(value, bytes):
        yield from unpacked(value)
    elif isinstance(value, str):
        yield from unpacked(value.encode("utf-8", "replace"))
    elif isinstance(value, dict):
        for name, one in value.items():
            yield str(name)
            yield from wire_texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from wire_texts(one)


def table_rows(dynamodb: Any, table: str) -> list[dict[str, Any]]:
    pages = dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return [row for page in pages for row in page["Items"]]


def bucket_objects(s3: Any, bucket: str) -> dict[str, tuple[bytes, dict[str, str]]]:
    """Content and metadata by key."""
    found = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", ()):
            answer = s3.get_object(Bucket=bucket, Key=entry["Key"])
            found[entry["Key"]] = answer["Body"].read(), answer.get("Metadata", {})
    return found


def traces(dynamodb: Any, table: str, s3: Any, bucket: str, needles: Iterable[str]) -> Counter[tuple[str, str]]:
    """How often which of `needles` is found where: (place, needle), the place being the beginning of a key."""
    automaton = ahocorasick.Automaton()
    for needle in needles:
        automaton.add_word(needle, needle)
    automaton.make_automaton()
    found: Counter[tuple[str, str]] = Counter()
    for row in table_rows(dynamodb, table):
        place = "/".join(row["pk"]["S"].split("/")[::2][:2]) + ":" + row["sk"]["S"][:2]
        for text in wire_texts(row):
            found.update((place, needle) for _, needle in automaton.iter(text))
    for key, (body, metadata) in bucket_objects(s3, bucket).items():
        for text in (key, *metadata.values(), *unpacked(body)):
            found.update((key.split("/")[0], needle) for _, needle in automaton.iter(text))
    return found


def recounted_holders(rows: Iterable[dict[str, Any]], tenant: str) -> Counter[str]:
    """From the profiles in the table's rows, how many people hold each interest (long-term, not sensitive, not switched
    off through any of their ids)."""
    rows = list(rows)
    off: dict[str, set[str]] = {}
    for row in rows:
        if row["sk"]["S"] == "meta" and "disabled" in row:
            whose = f"t/{tenant}/g/{row['gid']['S']}" if "gid" in row else row["pk"]["S"]
            off.setdefault(whose, set()).update(one["S"] for one in row["disabled"]["L"])
    counted: Counter[str] = Counter()
    for row in rows:
        kind = row["pk"]["S"].removeprefix(f"t/{tenant}/")[:2]
        if row["sk"]["S"] == "profile" and kind in ("p/", "g/") and "interests" in row:
            interests = {i["id"] for i in json.loads(bytes(row["interests"]["B"])) if _counts(i)}
            counted.update(interests - off.get(row["pk"]["S"], set()))
    return counted


def _counts(interest: dict[str, Any]) -> bool:
    return interest["term"] == "long" and not interest["sensitive"]


def kept_holders(rows: Iterable[dict[str, Any]], tenant: str) -> Counter[str]:
    """The counts that the table keeps."""
    return Counter(
        {
            row["sk"]["S"]: int(row["holders"]["N"])
            for row in rows
            if row["pk"]["S"] == f"t/{tenant}/holders" and int(row["holders"]["N"])
        }
    )
