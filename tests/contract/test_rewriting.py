"""Objects that are written anew: only where they still are what was read, in one go or in parts."""

from __future__ import annotations

import secrets
import urllib.error
import urllib.request
from typing import Any

import boto3
import pytest
from botocore.config import Config

from shared.errors import Conflict, NotFound
from shared.stores import Stores
from shared.stores.objects import Objects
from shared.stores.rewriting import PART_BYTES
from tests.conftest import REGION

pytestmark = pytest.mark.slow

KEY = "events/demo/a.jsonl"
LARGE = b"x" * PART_BYTES


@pytest.mark.parametrize("parts", [[], [LARGE]], ids=["one-go", "parts"])
def test_it_holds_where_the_object_is_what_was_read(emulated: Stores, parts: list[bytes]) -> None:
    objects = emulated.objects  # moto asks about the ETag of what comes in one go only
    objects.put(KEY, b"first", "text/mine", metadata={"mine": "1"})
    read = objects.open(KEY)
    rewrite = objects.rewrite(KEY, read)
    for part in parts:
        rewrite.add(part)
    rewrite.finish(b"rest")
    assert objects.get(KEY) == b"".join(parts) + b"rest"
    again = objects.open(KEY)
    assert (again.fingerprint, again.modified) == (read.fingerprint, read.modified) and again.etag != read.etag
    assert again.headers["ContentType"] == "text/mine" and again.metadata["mine"] == "1"
    # Whoever knows it by what it was, or by what it is, gets it; by anything else nobody does.
    assert objects.open(KEY, fingerprint=read.fingerprint).etag == again.etag
    assert objects.open(KEY, fingerprint=again.etag).etag == again.etag
    with pytest.raises(Conflict):
        objects.open(KEY, fingerprint="0" * 32)
    late = objects.rewrite(KEY, read)
    for part in parts:
        late.add(part)
    with pytest.raises(Conflict):
        late.finish(b"late")
    late.give_up()
    late.give_up()
    objects.put(KEY, b"second")
    assert objects.open(KEY).fingerprint == objects.open(KEY).etag != read.fingerprint
    with pytest.raises(Conflict):
        objects.open(KEY, fingerprint=read.fingerprint)
    objects.delete([KEY])
    with pytest.raises(NotFound):
        objects.rewrite(KEY, again).finish(b"late")
    assert list(objects.keys("")) == []


def test_another_process_goes_on_with_the_parts(emulated: Stores) -> None:
    objects = emulated.objects
    objects.put(KEY, b"first")
    read = objects.open(KEY)
    begun = objects.rewrite(KEY, read)
    begun.add(b"a" * PART_BYTES)
    begun.add(b"lost" * (PART_BYTES // 4))  # it was cut off before it could tell of this one
    objects.rewrite(KEY, read, upload=begun.upload, parts=1).finish(b"end")
    assert objects.get(KEY) == b"a" * PART_BYTES + b"end"
    with pytest.raises(Conflict):
        objects.rewrite(KEY, read, upload=begun.upload, parts=1).add(LARGE)


def test_listing_goes_on_behind_a_key(stores: Stores) -> None:
    for name in ("a", "b/1", "b/2", "c"):
        stores.objects.put(f"x/{name}", b"12")
    found = list(stores.objects.listed("x/", "x/b/1"))
    assert [(one.key, one.size) for one in found] == [("x/b/2", 2), ("x/c", 2)]
    assert abs(found[1].modified - stores.objects.open("x/c").modified) < 1


def test_a_link_opens_the_object(emulator: str) -> None:
    config = Config(signature_version="s3v4")
    s3 = boto3.Session("testing", "testing", region_name=REGION).client("s3", endpoint_url=emulator, config=config)
    bucket = f"links-{secrets.token_hex(6)}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    objects = Objects(s3, bucket)
    objects.put("exports/demo/x", b"whole", metadata={"m": "1"})
    link = objects.link("exports/demo/x", 60, "export.json.gz")
    with urllib.request.urlopen(link) as answer:
        assert answer.read() == b"whole"
        assert answer.headers["Content-Disposition"] == 'attachment; filename="export.json.gz"'
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(link.replace("exports/demo/x", "exports/demo/y"))
    assert objects.metadata("exports/demo/x") == {"m": "1"}


def test_pieces_are_written_whole_or_not_at_all(stores: Stores) -> None:
    stores.objects.put_pieces(KEY, (bytes([n]) * (5 << 20) for n in range(3)), "x/y", metadata={"m": "1"})
    assert len(stores.objects.get(KEY)) == 15 << 20 and stores.objects.metadata(KEY) == {"m": "1"}

    def broken() -> Any:
        yield LARGE * 2
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        stores.objects.put_pieces("other", broken(), "x/y")
    assert list(stores.objects.keys("")) == [KEY]
