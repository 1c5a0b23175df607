"""Use case of functions/profile: behaviour in, interests out."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.domain import Consent, Event, IngestReport, Profile, Rejection
from shared.errors import NotFound, TooLarge, Unprocessable
from shared.ingest import Piece, Tally, Uploads
from shared.policy.consent import in_force
from shared.preprocess import parse_event
from shared.profiles import ProfileReader
from shared.rebuilding import Rebuilding
from shared.splitting import Remaining
from shared.stores import Stores
from shared.stores.catalogue import Item
from shared.stores.linking import Identity, Linking
from shared.stores.people import StoredEvent, pack_vector
from shared.stores.runs import Run

if TYPE_CHECKING:
    from shared.models.encoder import Encoder

MAX_EVENTS = 500  # in one request
REQUIRED = frozenset({"user_id", "event", "timestamp"})


@dataclass(frozen=True, slots=True)
class NamedId:
    """An external id as a request names it."""

    id: str
    platform: str | None = None


@dataclass(frozen=True, slots=True)
class Links:
    """Who is linked, and what a request changed.

    ref: reference of the id that was asked for. linked: the other ids. named: external ids by their reference, of those
    that the request named. changes: each entry of the request with ``linked``, ``already_linked`` or ``same`` (it is
    the id that was asked for), ``unlinked`` or ``not_linked``.
    """

    ref: str
    linked: tuple[Identity, ...]
    named: dict[str, str]
    changes: tuple[tuple[NamedId, str], ...]


class Profiling:
    """Takes events in and reads profiles."""

    def __init__(
        self,
        stores: Stores,
        encoder: Callable[[], Encoder],
        profiles: ProfileReader,
        *,
        consent_basis: Callable[[str], str],
        clock: Callable[[], float],
    ) -> None:
        self._stores = stores
        self._encoder = encoder  # called at the first text: a batch of known items never loads the model
        self._profiles = profiles
        self._linking = Linking(stores.table, stores.people)
        self._consent_basis = consent_basis
        self._clock = clock
        self._uploads = Uploads(
            stores,
            "events",
            self._take_piece,
            required=REQUIRED,
            on_finished=lambda tenant: None,
            clock=clock,
        )
        self._rebuilding = Rebuilding(stores, profiles, clock=clock)

    def post_events(self, tenant: str, rows: Sequence[object]) -> IngestReport:
        """Takes one request's events in. The profiles they change are up to date at the next read.

        Raises:
            TooLarge: more than `MAX_EVENTS`.
        """
        if len(rows) > MAX_EVENTS:
            raise TooLarge(f"{len(rows)} events in one request: at most {MAX_EVENTS}", field="events")
        tally = Tally()
        for outcome in self._take(tenant, list(enumerate(rows)))[0]:
            tally.add(outcome)
        return tally.report()

    def ingest(
        self,
        tenant: str,
        key: str,
        *,
        fingerprint: str,
        version: str | None = None,
        remaining: Remaining = lambda: inf,
    ) -> IngestReport | Run:
        """Takes an uploaded file of events in, or splits it (see `shared.ingest.Uploads.ingest`).

        The profiles that a split one changes are up to date at their next read, or after `rebuild`.
        """
        return self._uploads.ingest(tenant, key, fingerprint=fingerprint, version=version, remaining=remaining)

    def go_on(self, tenant: str, run_id: str, chunk: int | None, *, remaining: Remaining = lambda: inf) -> None:
        """Does what a message of the queue asks for: a chunk's work, or (None) to split on. Raises `NotFound`."""
        run = self.run(tenant, run_id)
        work = self._rebuilding if run.kind == Rebuilding.kind else self._uploads
        work.go_on(run, chunk, remaining)

    def rebuild(self, tenant: str, *, stale_only: bool = False, remaining: Remaining = lambda: inf) -> Run:
        """Makes the tenant's profiles anew from all their events, through the queue; how far it has got: `run`.

        stale_only: only those which have not seen all their events yet, and of what is new.
        """
        return self._rebuilding.begin(tenant, secrets.token_hex(12), remaining, stale_only=stale_only)

    def run(self, tenant: str, run_id: str) -> Run:
        """A split upload or a rebuild as it stands. Raises `NotFound`."""
        return self._stores.runs.find(tenant, run_id)

    def profile(self, tenant: str, user_id: str) -> tuple[Profile, Consent]:
        """The person's profile as of now, and the consent it is under.

        Raises:
            NotFound: nobody of that id is known.
        """
        uid = self._stores.people.uid(tenant, user_id)
        if uid is None:
            raise NotFound(f"nobody is known as {user_id!r}", field="user_id")
        profile, consent, _ = self._profiles.read(tenant, user_id, uid)
        return profile, consent

    def edit_interests(
        self, tenant: str, user_id: str, *, disable: Sequence[str], enable: Sequence[str]
    ) -> tuple[Profile, Consent]:
        """Switches interests off or on; holds from the next answer on. Raises `NotFound`."""
        uid = self._stores.people.uid(tenant, user_id)
        if uid is None:
            raise NotFound(f"nobody is known as {user_id!r}", field="user_id")
        self._stores.people.edit_interests(tenant, uid, disable=disable, enable=enable)
        profile, consent, _ = self._profiles.read(tenant, user_id, uid)
        return profile, consent

    def set_consent(self, tenant: str, user_id: str, consent: Consent) -> Consent:
        """Puts the person's consent in force from the next request on."""
        uid = self._stores.people.uid(tenant, user_id, create=True)
        if uid is None:
            raise NotFound(f"nobody is known as {user_id!r}", field="user_id")
        said = self._stores.people.set_consent(tenant, uid, consent)
        if not said.personalisation:
            self._profiles.read(tenant, user_id, uid)  # takes away what was inferred
        return in_force(said, self._consent_basis(tenant))

    def identities(
        self, tenant: str, user_id: str, *, link: Sequence[NamedId] = (), unlink: Sequence[NamedId] = ()
    ) -> Links:
        """Links ids of other platforms with the person's, and unlinks some; holds from the next answer on.

        Linked ids are one person: one profile of the events of them all, one holder of each interest, one count of
        impressions; a refusal through any of them wins. Each id keeps what it brought, so that it has it again, and
        nothing else, once it is unlinked. A link brings along whom the other id is linked with. Each entry is all or
        nothing; after an error a repeat is safe.

        Raises:
            NotFound: nobody is known as `user_id`, and nothing is to be linked with it.
            Unprocessable: an id is in both lists; there would be more than 20; or the tenant needs consent, and has
                none from the person or an id to be linked, not even a refusal: nothing may be kept about it.
        """
        people = self._stores.people
        both = {one.id for one in link} & {one.id for one in unlink}
        if both:
            raise Unprocessable(f"link and unlink must be of different ids, not both of {min(both)!r}", field="unlink")
        uids = self._linkable(tenant, user_id, [one.id for one in link])
        if user_id not in uids:
            raise NotFound(f"nobody is known as {user_id!r}", field="user_id")
        uids |= people.known_uids(tenant, [one.id for one in unlink])
        own = Identity(uids[user_id], people.ref(tenant, user_id))
        if link:  # before anything is changed
            parting = [uids[one.id] for one in unlink if one.id in uids]
            self._linking.check(tenant, own.uid, [uids[one.id] for one in link], parting)
        # A repeat has to put right what an earlier attempt left off, who is no longer linked included.
        touched = {own.uid, *(uids[one.id] for one in unlink if one.id in uids)}

        def part(one: NamedId) -> bool:
            if one.id not in uids:
                return False
            left = self._linking.unlink(tenant, own.uid, Identity(uids[one.id], people.ref(tenant, one.id)))
            touched.update(left)
            return bool(left)

        parted = {one for one in unlink if part(one)}
        changes: list[tuple[NamedId, str]] = []
        for one in link:
            other = Identity(uids[one.id], people.ref(tenant, one.id), one.platform)
            if other.uid == own.uid:
                changes.append((one, "same"))
            else:
                changes.append((one, "linked" if self._linking.link(tenant, own, other) else "already_linked"))
        # What came along with a link goes too.
        parted |= {one for one in unlink if link and one not in parted and uids.get(one.id) != own.uid and part(one)}
        changes += [(one, "unlinked" if one in parted else "not_linked") for one in unlink]
        for uid in sorted(touched):
            self._profiles.read(tenant, "", uid)  # everybody counts again as who they are now
        return Links(
            ref=own.ref,
            linked=tuple(one for one in self._linking.linked(tenant, own) if one.uid != own.uid),
            named={people.ref(tenant, one.id): one.id for one in (*link, *unlink)},
            changes=tuple(changes),
        )

    def _linkable(self, tenant: str, user_id: str, others: Sequence[str]) -> dict[str, str]:
        """uids of the ids that are to be linked, made where there may be one."""
        people = self._stores.people
        if not others:
            return people.known_uids(tenant, [user_id])
        if self._consent_basis(tenant) != "required":
            return people.uids(tenant, [user_id, *others])
        uids = people.known_uids(tenant, [user_id, *others])
        consents = people.consents(tenant, uids.values())
        for one in (user_id, *others):
            if uids.get(one) not in consents:
                raise Unprocessable(
                    f"{one!r} must be asked first: nothing is kept about an id without a word on consent",
                    field="user_id" if one == user_id else "link",
                )
        return uids

    # ------------------------------------------------------------------------------------------------------------

    def _take_piece(self, tenant: str, piece: Piece) -> Iterator[Rejection | bool]:
        outcomes, touched = self._take(tenant, [(row.line, row.value) for row in piece.rows], piece.source)
        if piece.alone:  # of a large upload they would be folded again and again
            for user_id, uid in sorted(touched):
                self._profiles.read(tenant, user_id, uid)
        return iter(outcomes)

    def _take(
        self, tenant: str, rows: Sequence[tuple[int, object]], source: str | None = None
    ) -> tuple[list[Rejection | bool], set[tuple[str, str]]]:
        """For each row, in order: True (new), False (there already) or why it is rejected; and (user id, uid) of those
        who have new events."""
        now = self._clock()
        parsed = [parse_event(value, now=now, index=index) for index, value in rows]
        user_ids = {event.user_id for event in parsed if isinstance(event, Event)}
        uids, refused = self._admitted(tenant, user_ids)
        outcomes: list[Rejection | bool] = []
        fresh: dict[str, dict[str, int]] = {}
        batch: dict[str, dict[str, Event]] = {}
        for place, ((index, _), event) in enumerate(zip(rows, parsed, strict=True)):
            if isinstance(event, Rejection):
                outcomes.append(event)
            elif event.user_id in refused:
                outcomes.append(Rejection(index, "user_id", refused[event.user_id]))
            else:
                outcomes.append(False)
                uid = uids[event.user_id]
                if event.event_id not in batch.setdefault(uid, {}):
                    batch[uid][event.event_id] = event
                    fresh.setdefault(uid, {})[event.event_id] = place
        stored = self._with_vectors(tenant, batch)
        accepted = self._stores.people.append_events(tenant, stored, source=source)
        touched = set()
        for uid, event_ids in accepted.items():
            for event_id in event_ids:
                outcomes[fresh[uid][event_id]] = True
            if event_ids:
                touched.add((next(iter(batch[uid].values())).user_id, uid))
        return outcomes, touched

    def _admitted(self, tenant: str, user_ids: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
        """uids of those about whom something may be kept, and the reason for the others.

        Nobody gets a pseudonym where the tenant needs consent and there is none: not even that is kept about them.
        """
        basis = self._consent_basis(tenant)
        required = basis == "required"
        ids = list(dict.fromkeys(user_ids))
        uids = self._stores.people.known_uids(tenant, ids) if required else self._stores.people.uids(tenant, ids)
        consents = self._stores.people.consents(tenant, uids.values())
        refused = {}
        for user_id in ids:
            said = consents.get(uids.get(user_id, ""))
            if not in_force(said, basis).personalisation:
                refused[user_id] = (
                    "the person refused personalisation" if said is not None else "the person has not consented yet"
                )
        return uids, refused

    def _with_vectors(self, tenant: str, batch: dict[str, dict[str, Event]]) -> dict[str, list[StoredEvent]]:
        """The events as they are kept: an item that is new gets its row, a text that stands alone its own vector."""
        events = [event for many in batch.values() for event in many.values()]
        described: dict[str, Event] = {}
        for event in events:
            if event.item_id is None or not (event.text or event.tags):
                continue
            before = described.get(event.item_id)
            if before is None or (event.text and not before.text):  # the first that says in words what it is
                described[event.item_id] = event
        known = self._stores.catalogue.known_items(tenant, described)
        new_items = {item_id: event for item_id, event in described.items() if item_id not in known and event.text}
        # An id that stands for nothing known: the tags alone count.
        tag_only = {
            item_id for item_id, event in described.items() if item_id not in known and item_id not in new_items
        }
        alone = [
            event
            for event in events
            if (event.item_id is None or event.item_id in tag_only) and (event.text or event.tags)
        ]
        texts = list(dict.fromkeys([*map(_text, new_items.values()), *map(_text, alone)]))
        vectors: dict[str, np.ndarray] = {}
        if texts:
            vectors = dict(zip(texts, self._encoder().encode(texts, kind="query"), strict=True))
        self._stores.catalogue.put_items(
            tenant,
            [
                Item(item_id, event.text or "", pack_vector(vectors[_text(event)]), event.tags, event.domain)
                for item_id, event in new_items.items()
            ],
        )
        own = {id(event): pack_vector(vectors[_text(event)]) for event in alone}
        return {
            uid: [StoredEvent(event, vector=own.get(id(event), b"")) for event in many.values()]
            for uid, many in batch.items()
        }


def _text(event: Event) -> str:
    """What is embedded for an event: its text, and its tags where there is little text."""
    parts = [event.text or ""]
    if len(parts[0]) < 60:
        parts.append(" ".join(event.tags))
    return " ".join(part for part in parts if part)


def report_body(report: IngestReport) -> dict[str, Any]:
    """The report as the API answers it."""
    return {
        "accepted": report.accepted,
        "duplicates": report.duplicates,
        "rejected": [{"index": r.index, "field": r.field, "reason": r.reason} for r in report.rejected],
    }
