"""A tenant's trained artefacts: fetched from S3 when their version is new, loaded once, served from then on.

``artifacts/{tenant}/{kind}/latest`` names the version in service, ``artifacts/{tenant}/{kind}/{version}/`` holds it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from shutil import rmtree
from tempfile import TemporaryDirectory, gettempdir
from typing import Generic, TypeVar

from shared.errors import ArtifactError, NotFound, Unavailable
from shared.stores.objects import Objects
from shared.telemetry import logger

T = TypeVar("T")
Key = TypeVar("Key", bound=tuple[str, ...])
LOOKED_SECONDS = 30.0  # how long `latest` is taken to be what it was
HELD = 8  # artefacts that a process keeps loaded
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """The artefact in service; `refused`: a version that is named as the latest, but cannot be loaded."""

    artefact: T | None
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class _Held(Generic[T]):
    at: float
    version: str | None
    found: Found[T]


class Trained(Generic[T]):
    """The artefacts of one kind. load: reads one from its folder and raises `ArtifactError` where it must not serve."""

    def __init__(self, objects: Objects, kind: str, load: Callable[[Path], T], *, clock: Callable[[], float]) -> None:
        self._objects = objects
        self._kind = kind
        self._load = load
        self._clock = clock
        self._held: dict[str, _Held[T]] = {}

    def latest(self, tenant: str) -> Found[T]:
        """What serves this tenant. Where the latest cannot be loaded or reached, what served before goes on."""
        now = self._clock()
        held = self._held.get(tenant)
        if held is not None and 0 <= now - held.at < LOOKED_SECONDS:
            return held.found
        before = held.found.artefact if held is not None else None
        prefix = f"artifacts/{tenant}/{self._kind}"
        version: str | None = None
        try:
            version = self._objects.get(f"{prefix}/latest").decode().strip()
            if held is not None and version == held.version and held.found.refused is None:
                found = held.found
            else:
                found = Found(self._load(fetch(self._objects, tenant, self._kind, version)))
        except NotFound:
            found = Found(None)  # none was promoted
        except (ArtifactError, Unavailable, OSError) as error:  # the last: no room on the disk
            if version is not None and not isinstance(error, Unavailable):
                forget(tenant, self._kind, version)
            reason = getattr(error, "detail", str(error))
            logger.error("artefact refused", extra={"tenant": tenant, "kind": self._kind, "reason": reason})
            found = Found(before, version or "?")
        if held is not None and held.version not in (None, version) and found.refused is None:
            forget(tenant, self._kind, held.version or "")  # or /tmp fills up
        self._held.pop(tenant, None)
        self._held[tenant] = _Held(now, version, found)
        for other in list(self._held)[:-HELD]:
            gone = self._held.pop(other, None)
            if gone is not None and gone.version:
                forget(other, self._kind, gone.version)
        return found


def fetch(objects: Objects, tenant: str, name: str, version: str) -> Path:
    """The folder of an artefact on this machine, fetched where it is not there yet.

    Raises:
        ArtifactError: there is no such version, or a name in it would leave the tenant's folder.
    """
    if not _VERSION.fullmatch(version):
        raise ArtifactError(f"{name}: what is named as its latest is no version")
    folder = folder_of(tenant, name, version)
    if folder.exists():
        return folder
    prefix = f"artifacts/{tenant}/{name}/{version}/"
    keys = list(objects.keys(prefix))
    if not keys:
        raise ArtifactError(f"{name}: the version that is named as its latest is not there")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # It gets its name when it is whole: whoever dies on the way leaves nothing that the next one trusts.
    with TemporaryDirectory(dir=folder.parent, prefix=".part-") as part:
        for key in keys:
            inner = PurePosixPath(key.removeprefix(prefix))
            if ".." in inner.parts or inner.is_absolute():
                raise ArtifactError(f"{name}: version {version} has a file outside its folder")
            path = Path(part) / inner
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                path.write_bytes(objects.get(key))
            except NotFound as error:
                raise ArtifactError(f"{name}: version {version} is not whole") from error
        with suppress(OSError):  # another thread was first
            Path(part).rename(folder)
            Path(part).mkdir()
    return folder


def surplus(held: Iterable[Key], most: int) -> list[Key]:
    """Keys (tenant first; the oldest first) to give up so that `most` are left: the oldest of the tenant that has the
    most, so that a tenant with many cannot push out the one that another has."""
    kept = list(held)
    gone = []
    while len(kept) > most:
        counts = {tenant: sum(key[0] == tenant for key in kept) for tenant in {key[0] for key in kept}}
        oldest = max(kept, key=lambda key: counts[key[0]])  # the first of the largest
        kept.remove(oldest)
        gone.append(oldest)
    return gone


def forget(tenant: str, name: str, version: str) -> None:
    """Deletes the folder: what is fetched anew may have been mended, and /tmp is small."""
    if not _VERSION.fullmatch(version):
        return  # nothing was fetched
    rmtree(folder_of(tenant, name, version), ignore_errors=True)


def folder_of(tenant: str, name: str, version: str) -> Path:
    return Path(gettempdir()) / "adtailor-trained" / tenant / name / version
