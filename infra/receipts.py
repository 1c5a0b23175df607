"""What the API answers about erasures, as types (see `infra.answers`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, ConfigDict, Field
from typing_extensions import TypedDict

Count = Annotated[int, Field(ge=0)]
_WHOLE = ConfigDict(extra="forbid")


class Removed(TypedDict):
    """How much, by place: rows of the table by what they are; lines, rows and exports in objects by folder."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    table: dict[str, Count]
    objects: dict[str, Count]


class SecondScan(TypedDict):
    """What it has looked at so far, and the traces it has found: none where the erasure is done."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    looked_at: dict[str, Count]
    found: dict[str, Count]


class ErasureReceipt(TypedDict):
    """`left`: what is still to be done. `could_not_be_read`: objects that their owner has closed, by a key or a storage
    class, so that nobody can say whether they hold anything; the log names them. `kept`: what stays, and why."""

    __pydantic_config__ = _WHOLE  # type: ignore[misc]
    erasure_id: str
    kind: Literal["erasure", "withdrawal"]
    state: Literal["running", "verifying", "done"]
    requested_at: AwareDatetime
    verified_at: AwareDatetime | None
    removed: Removed
    left: list[Literal["table", "objects", "second_scan"]]
    could_not_be_read: Count
    kept: dict[str, str]
    second_scan: SecondScan | None
    versions: dict[str, str]
