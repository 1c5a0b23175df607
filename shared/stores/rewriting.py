"""Writing an object of S3 anew, which holds only where it still is what was read: what came meanwhile is not lost.

S3 checks the ETag in the same step in which the new content takes its place (`If-Match`), also of one that is uploaded
in parts. Parts that were uploaded stay until the upload is completed or given up, so that another process can go on;
what is left behind by one that died, the bucket's lifecycle takes away after a day.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from botocore.exceptions import ClientError

from shared.errors import Conflict, NotFound

PART_BYTES = 8 << 20  # S3 takes parts of 5 MiB and more, and 10,000 of them: 80 GB
_CHANGED = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409")


class Rewrite:
    """The new content of one object. `upload` and `parts` are what another process needs to go on."""

    def __init__(
        self,
        call: Callable[..., Any],
        key: str,
        etag: str,
        described: Mapping[str, Any],
        upload: str = "",
        parts: int = 0,
    ) -> None:
        """
        Args:
            call: a bucket's operation by name.
            etag: of what is replaced.
            described: headers and metadata of the content.
        """
        self._operate = call
        self._key = key
        self._etag = f'"{etag}"'
        self._described = dict(described)
        self.upload = upload
        self.parts = parts

    def add(self, part: bytes) -> None:
        """Stores the next part, of `PART_BYTES` or more.

        Raises:
            Conflict: the parts before it are no more.
        """
        if not self.upload:
            made = self._do("create_multipart_upload", **self._described)
            self.upload = made["UploadId"]
        self._do("upload_part", UploadId=self.upload, PartNumber=self.parts + 1, Body=part)
        self.parts += 1

    def finish(self, rest: bytes) -> None:
        """Puts the parts and `rest` in the object's place.

        Raises:
            NotFound: there is no such object any more; Conflict: it is another one by now, or the parts are no more.
        """
        if not self.upload:
            self._do("put_object", Body=rest, IfMatch=self._etag, **self._described)
            return
        if rest:
            self.add(rest)
        stored: list[dict[str, Any]] = []
        while True:
            behind = {"PartNumberMarker": stored[-1]["PartNumber"]} if stored else {}
            page = self._do("list_parts", UploadId=self.upload, **behind)
            stored += [{"PartNumber": one["PartNumber"], "ETag": one["ETag"]} for one in page.get("Parts", ())]
            if not page.get("IsTruncated"):
                break
        # One that was cut off before it could tell may have stored a part more, which would be in it twice.
        named = {"Parts": stored[: self.parts]}
        self._do("complete_multipart_upload", UploadId=self.upload, MultipartUpload=named, IfMatch=self._etag)

    def give_up(self) -> None:
        """Forgets the parts."""
        if self.upload:
            with suppress(Conflict, NotFound):
                self._do("abort_multipart_upload", UploadId=self.upload)
            self.upload, self.parts = "", 0

    def _do(self, operation: str, **arguments: Any) -> Any:
        try:
            return self._operate(operation, Key=self._key, **arguments)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _CHANGED or code == "NoSuchUpload":
                raise Conflict(f"the object {self._key} has been replaced") from error
            raise
