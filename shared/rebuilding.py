"""Every profile of a tenant made anew from its events: the people of the table, split like an upload."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import orjson

from shared.profiles import ProfileReader
from shared.splitting import Chunk, Remaining, Splitter
from shared.stores import Stores
from shared.stores.runs import Counts, Run
from shared.telemetry import logger

CHUNK_PAGES = 50  # of the scan, after which the splitter notes how far it got
CHUNK_PEOPLE = 100  # at least, where there are as many; a page of the scan may bring more


class Rebuilding:
    """Rebuilds profiles."""

    kind = "profiles"

    def __init__(self, stores: Stores, profiles: ProfileReader, *, clock: Callable[[], float]) -> None:
        self._stores = stores
        self._profiles = profiles
        self._clock = clock
        self._splitter = Splitter(stores, "events")

    def begin(self, tenant: str, run_id: str, remaining: Remaining, *, stale_only: bool) -> Run:
        """Starts a rebuild of everybody known, or of those who have events that their profile has not seen."""
        run = Run(
            tenant=tenant,
            run_id=run_id,
            kind=self.kind,
            subject="stale" if stale_only else "all",
            fingerprint="",
            since=0.0,
            started_at=self._clock(),
        )
        return self._splitter.split(self._stores.runs.begin(run), self, remaining)

    def go_on(self, run: Run, chunk: int | None, remaining: Remaining) -> None:
        """Does what a message of the queue asks for (see `Splitter.go_on`)."""
        self._splitter.go_on(run, chunk, self, remaining)

    def chunks(self, run: Run) -> Iterator[Chunk]:
        start = (run.cursor["pk"], run.cursor["sk"]) if run.cursor else None
        uids: list[str] = []
        pages = 0
        for found, after in self._stores.people.uid_pages(run.tenant, start):
            uids += found
            pages += 1
            # Also where nobody is found for long, among other tenants' rows: the way so far is not gone twice.
            if after is not None and (len(uids) >= CHUNK_PEOPLE or pages >= CHUNK_PAGES):
                yield Chunk(orjson.dumps(uids) if uids else b"", {"pk": after[0], "sk": after[1]})
                uids, pages = [], 0
        yield Chunk(orjson.dumps(uids) if uids else b"", run.cursor or {}, last=True)

    def take(self, run: Run, chunk: int, body: bytes) -> Counts:
        uids = orjson.loads(body)
        for uid in uids:
            if run.subject == "stale":
                self._profiles.read(run.tenant, "", uid)
            else:
                self._profiles.rebuild(run.tenant, uid)
        return Counts(accepted=len(uids))

    def finish(self, run: Run) -> None:
        logger.info("profiles rebuilt", extra={"run": run.run_id, "people": run.accepted})

    def clean(self, run: Run) -> None:
        """Nothing is left behind."""
