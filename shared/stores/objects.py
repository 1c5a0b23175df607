"""S3: uploads, rejected lines, catalogue snapshots, artefacts, results of asynchronous generation, exports.

An upload that was written anew because somebody was erased from it (`shared.sweeping`) stays the same upload: it
carries the ETag and the time of the original in its metadata, and `Objects.open` tells those. What was read of the
original up to some byte goes on at the same byte, since every byte has kept its place.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from math import isfinite
from typing import Any, BinaryIO, cast

from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import Closed, Conflict, NotFound, Unavailable
from shared.stores.faults import passing, pause, watch
from shared.stores.rewriting import Rewrite

_DELETE_LIMIT = 1000  # S3: keys of one DeleteObjects
_READ_ATTEMPTS = 4
_ORIGINAL, _UPLOADED = "adtailor-original", "adtailor-uploaded"  # metadata of what was written anew
_WHO = "object storage"


class Objects:
    """One bucket. Raises `NotFound` for a missing key and `Unavailable` where S3 cannot be reached."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self.bucket = bucket
        watch(client, _WHO)

    def _call(self, operation: str, **arguments: Any) -> Any:
        try:
            return getattr(self._client, operation)(Bucket=self.bucket, **arguments)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("NoSuchKey", "404", "NoSuchVersion", "NotFound"):
                raise NotFound(f"no object {arguments.get('Key')}") from error
            if unavailable := passing(error, _WHO):
                raise unavailable from error
            raise
        except BotoCoreError as error:
            if unavailable := passing(error, _WHO):
                raise unavailable from error
            raise

    def stream(self, key: str, version: str | None = None) -> BinaryIO:
        """The object as a buffered reader; it is never read whole here."""
        return self.open(key, version).reader

    def open(
        self, key: str, version: str | None = None, *, offset: int = 0, fingerprint: str | None = None
    ) -> OpenObject:
        """The object from byte `offset` on, as it is or, where a `fingerprint` is given, only that one: as it was then,
        or written anew without somebody who was erased.

        Raises:
            NotFound: there is none; Conflict: it is another one by now; Closed: it may not be read; Unavailable.
        """
        try:
            return self._open(key, version, offset, fingerprint)
        except Conflict:
            opened = self._open(key, version, offset, None)
            if opened.fingerprint == fingerprint:
                return opened
            opened.reader.close()
            raise

    def _open(self, key: str, version: str | None, offset: int, fingerprint: str | None) -> OpenObject:
        arguments: dict[str, Any] = {"Key": key}
        if version:
            arguments["VersionId"] = version
        if fingerprint:
            arguments["IfMatch"] = f'"{fingerprint}"'
        if offset:
            arguments["Range"] = f"bytes={offset}-"
        try:
            answer = self._call("get_object", **arguments)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("InvalidRange", "416"):  # nothing is left behind the offset
                return OpenObject(cast("BinaryIO", io.BytesIO()), fingerprint or "", 0.0, etag=fingerprint or "")
            if code in ("PreconditionFailed", "412"):
                raise Conflict(f"the object {key} has been replaced") from error
            raise Closed(f"the object {key} cannot be read ({code})") from error
        reader = io.BufferedReader(_Reading(answer["Body"]), buffer_size=1 << 20)
        tag = str(answer.get("ETag", "")).strip('"')
        metadata = answer.get("Metadata", {})
        original, modified = _origin(metadata)
        return OpenObject(
            cast("BinaryIO", reader),
            original or tag,
            answer["LastModified"].timestamp() if modified is None else modified,
            etag=tag,
            metadata=metadata,
            headers={name: answer[name] for name in ("ContentType", "ContentEncoding") if answer.get(name)},
        )

    def get(self, key: str) -> bytes:
        for attempt in range(_READ_ATTEMPTS):
            try:
                return cast("bytes", self._call("get_object", Key=key)["Body"].read())
            except BotoCoreError as error:  # botocore repeats a request, not the reading of its answer
                if passing(error, _WHO) is None:
                    raise
            if attempt + 1 < _READ_ATTEMPTS:
                pause(attempt, _WHO)
        raise Unavailable("object storage breaks off in the middle of an object", retry_after=2)

    def put(
        self,
        key: str,
        data: bytes | BinaryIO,
        content_type: str = "application/octet-stream",
        *,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        named = {"Metadata": dict(metadata)} if metadata else {}
        self._call("put_object", Key=key, Body=data, ContentType=content_type, **named)

    def rewrite(self, key: str, source: OpenObject, *, upload: str = "", parts: int = 0) -> Rewrite:
        """A new content for an object that was read. upload, parts: of a `Rewrite` that goes on."""
        marked = dict(source.metadata) | {_ORIGINAL: source.fingerprint, _UPLOADED: repr(source.modified)}
        return Rewrite(self._call, key, source.etag, {**source.headers, "Metadata": marked}, upload, parts)

    def give_up(self, key: str, upload: str) -> None:
        """Forgets a `Rewrite` that nobody goes on with."""
        Rewrite(self._call, key, "", {}, upload).give_up()

    def stored(self, key: str) -> Stored:
        """What is there, without reading it. Raises `NotFound`."""
        answer = self._call("head_object", Key=key)
        original, modified = _origin(answer.get("Metadata", {}))
        return Stored(
            original or str(answer.get("ETag", "")).strip('"'),
            answer["LastModified"].timestamp() if modified is None else modified,
            int(answer.get("ContentLength", 0)),
            answer.get("VersionId"),
        )

    def metadata(self, key: str) -> dict[str, str]:
        return dict(self._call("head_object", Key=key).get("Metadata", {}))

    def link(self, key: str, seconds: int, filename: str) -> str:
        """An address from which anybody who has it may load the object, for so long."""
        found: str = self._client.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self.bucket,
                "Key": key,
                "ResponseContentDisposition": f'attachment; filename="{filename}"',
            },
            ExpiresIn=seconds,
        )
        return found

    def put_link(self, key: str, seconds: int) -> str:
        """An address to which anybody who has it may PUT the object, 5 GiB at most, as often as they like for so
        long."""
        found: str = self._client.generate_presigned_url(
            "put_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=seconds
        )
        return found

    def put_joined(self, key: str, parts: Iterable[str], content_type: str, tail: bytes = b"") -> None:
        """Writes one object of the contents of others, in order, and `tail`; memory holds one at a time."""
        self.put_pieces(key, chain((self.get(part) for part in parts), (tail,)), content_type)

    def put_pieces(
        self, key: str, pieces: Iterable[bytes], content_type: str, *, metadata: Mapping[str, str] | None = None
    ) -> None:
        """Writes one object of pieces, in order; memory holds little more than one at a time. Where making them fails,
        nothing is written."""
        from boto3.exceptions import S3UploadFailedError
        from boto3.s3.transfer import TransferConfig

        described: dict[str, Any] = {"ContentType": content_type} | ({"Metadata": dict(metadata)} if metadata else {})
        config = TransferConfig(max_concurrency=1, use_threads=False)
        arguments = {"ExtraArgs": described, "Config": config}
        try:
            self._call("upload_fileobj", Fileobj=_Joined(pieces), Key=key, **arguments)
        except S3UploadFailedError as error:
            raise Unavailable("object storage does not take the object", retry_after=2) from error

    def delete(self, keys: Iterable[str]) -> None:
        """Deletes what there is of `keys`, by thousands."""
        keys = iter(keys)
        while some := list(islice(keys, _DELETE_LIMIT)):
            self._call("delete_objects", Delete={"Objects": [{"Key": key} for key in some], "Quiet": True})

    def exists(self, key: str) -> bool:
        try:
            self._call("head_object", Key=key)
        except NotFound:
            return False
        return True

    def keys(self, prefix: str) -> Iterator[str]:
        """In the order of their bytes."""
        return (key for key, _ in self.dated_keys(prefix))

    def dated_keys(self, prefix: str) -> Iterator[tuple[str, float]]:
        """Keys, and when what lies there was written (epoch seconds, whole ones)."""
        for page in self._pages(Prefix=prefix):
            for entry in page.get("Contents", ()):
                yield entry["Key"], entry["LastModified"].timestamp()

    def listed(self, prefix: str, after: str = "") -> Iterator[Listed]:
        """What lies there, in the order of the keys' bytes; behind the key `after`."""
        for page in self._pages(Prefix=prefix, **({"StartAfter": after} if after else {})):
            for entry in page.get("Contents", ()):
                yield Listed(entry["Key"], int(entry["Size"]), entry["LastModified"].timestamp())

    def folders(self, prefix: str) -> Iterator[str]:
        """What stands behind `prefix`, which ends in a slash, and before the next one: one listing of these alone."""
        for page in self._pages(Prefix=prefix, Delimiter="/"):
            for entry in page.get("CommonPrefixes", ()):
                yield entry["Prefix"].removeprefix(prefix).removesuffix("/")

    def _pages(self, **listed: str) -> Iterator[Any]:
        token: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", **listed, **token)
            yield page
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}


@dataclass(frozen=True, slots=True)
class Listed:
    """An object in a listing. size: bytes. modified: when it was written, epoch seconds, whole ones."""

    key: str
    size: int
    modified: float


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that is there. fingerprint, modified: as in `OpenObject`. version: of a bucket that keeps versions."""

    fingerprint: str
    modified: float
    size: int
    version: str | None = None


@dataclass(frozen=True, slots=True)
class OpenObject:
    """An object that is being read.

    fingerprint: the ETag of what was uploaded, and modified its time (epoch seconds): the object's own but where it was
    written anew since. etag: of the very content. headers: those of its content, as boto3 names them.
    """

    reader: BinaryIO
    fingerprint: str
    modified: float
    etag: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


def _origin(metadata: Mapping[str, str]) -> tuple[str, float | None]:
    """ETag and time of the upload that an object was written anew from; "" and None where it was not."""
    original = metadata.get(_ORIGINAL, "")
    try:
        modified = float(metadata[_UPLOADED])
    except (KeyError, ValueError):
        return "", None
    return (original, modified) if original and isfinite(modified) else ("", None)


class _Joined:
    """The pieces one after another, as a file that can be read once."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        parts = [self._rest]
        held = len(self._rest)
        while size < 0 or held < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            parts.append(piece)
            held += len(piece)
        data = b"".join(parts)
        end = len(data) if size < 0 else size
        self._rest = data[end:]
        return data[:end]


class _Reading(io.RawIOBase):
    """Adapts botocore's streaming body to the raw stream interface that `io.BufferedReader` and gzip expect."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._body.read(len(buffer))
        except BotoCoreError as error:
            raise Unavailable("object storage broke off in the middle of an object", retry_after=2) from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._body.close()
        super().close()
