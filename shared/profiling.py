"""Use case of functions/profile: behaviour in, interests out."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

from shared.domain import Consent, Event, IngestReport, Profile, Rejection
from shared.errors import Conflict, Forbidden, NotFound, TooLarge, Unprocessable
from shared.event_vectors import with_vectors
from shared.ingest import Piece, Tally, Uploads
from shared.policy import tcf
from shared.policy.consent import Stated, in_force, refused
from shared.preprocess import clean_text, fields, parse_event
from shared.preprocess.contact import mask
from shared.profiles import ProfileReader
from shared.quotas import UNLIMITED, Quotas
from shared.rebuilding import Rebuilding
from shared.splitting import Remaining
from shared.stores import Stores
from shared.stores.faults import give_way
from shared.stores.identities import Known
from shared.stores.linking import Identity, Linking
from shared.stores.runs import Run

if TYPE_CHECKING:
    from shared.models.encoder import Encoder

MAX_EVENTS = 500  # in one request
_NOTHING = "nothing may be kept about this person"
ERASED = "erased at the person's request: what happened until then is not taken in again"
REQUIRED = frozenset({"user_id", "event", "timestamp"})
MAX_ID = 200
_ATTEMPTS = 30
AHEAD_SECONDS = 300.0  # that another clock may be ahead


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
        quotas: Quotas = UNLIMITED,
        tcf_vendor_id: int = 0,
        on_withdrawal: Callable[[str, str], object] = lambda tenant, uid: None,
    ) -> None:
        """
        Args:
            tcf_vendor_id: who we are in IAB's Global Vendor List; 0: nobody.
            on_withdrawal: (tenant, uid) erases all that is kept of an id but what was said of consent. It is called of
                every id of a person who withdraws where the tenant needs consent, and again at a repeat.
        """
        self._stores = stores
        self._encoder = encoder  # called at the first text: a batch of known items never loads the model
        self._profiles = profiles
        self._linking = Linking(stores.table, stores.people)
        self._consent_basis = consent_basis
        self._clock = clock
        self._tcf_vendor_id = tcf_vendor_id
        self._on_withdrawal = on_withdrawal
        self._uploads = Uploads(
            stores,
            "events",
            self._take_piece,
            required=REQUIRED,
            on_finished=lambda tenant: None,
            clock=clock,
            admit=quotas.uploaded_events,
        )
        self._quotas = quotas
        self._rebuilding = Rebuilding(stores, profiles, clock=clock)

    def post_events(self, tenant: str, rows: Sequence[object]) -> IngestReport:
        """Takes one request's events in. The profiles they change are up to date at the next read.

        Raises:
            TooLarge: more than `MAX_EVENTS`. QuotaExceeded: more than the tenant may send on this day.
        """
        if len(rows) > MAX_EVENTS:
            raise TooLarge(f"{len(rows)} events in one request: at most {MAX_EVENTS}", field="events")
        tally = Tally()
        with self._quotas.events(tenant, len(rows)) as held:
            for outcome in self._take(tenant, list(enumerate(rows)))[0]:
                tally.add(outcome)
        held.hand_back(len(rows) - tally.accepted)
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
        """Switches interests off or on; holds from the next answer on.

        Raises:
            NotFound: nobody of that id is known. Forbidden: the tenant needs consent, and there is none: nothing was
                inferred that could be switched, and what they would rather not see is not kept either.
        """
        uid = self._stores.people.uid(tenant, user_id)
        if uid is None:
            raise NotFound(f"nobody is known as {user_id!r}", field="user_id")
        if self._consent_basis(tenant) == "required":
            _, consent, _ = self._profiles.read(tenant, user_id, uid)
            if not consent.personalisation:
                raise Forbidden(_NOTHING, field="user_id")
        self._stores.people.edit_interests(tenant, uid, disable=disable, enable=enable)
        profile, consent, person = self._profiles.read(tenant, user_id, uid)
        if person is not None and refused(consent) and self._consent_basis(tenant) == "required":
            self._on_withdrawal(tenant, uid)  # it came while this was written, and may not have seen it
        return profile, consent

    def set_consent(self, tenant: str, user_id: str, consent: Consent, *, minor: bool | None = None) -> Stated:
        """Takes a statement, and returns the consent in force from the next request on.

        Of the statements through one id the latest holds (``consent.at``), whichever comes first; of two of one moment
        the refusal. Through several linked ids any refusal wins. With a TC string both have to allow: a refusal here or
        there is one, and sensitive interests, of which the framework says nothing, need ``consent.sensitive`` as ever.

        What was inferred of somebody who refuses, or is under age, is taken away at once, and so are the sensitive
        interests of somebody who takes back these alone. Where the tenant needs
        consent, all that is kept of them goes, but what was said of consent and the pseudonym that it stands under.
        Where it asserts one, their events stay without being used, so that they count again if the refusal is taken
        back.

        Of somebody who was erased since, only a statement that restricts is taken: a consent from before the erasure is
        answered as superseded, and nothing is kept of it.

        minor: whether the person is under age; None: as it was said before, and no, where nothing was.

        Raises:
            Unprocessable: the statement is of the future; what it has for a TC string is none.
        """
        now = self._clock()
        if consent.at > now + AHEAD_SECONDS:
            raise Unprocessable("the time of the statement lies in the future", field="at")
        version = mask(consent.version) if consent.version is not None else None
        consent = self._by_tcf(replace(consent, source=mask(consent.source), version=version))
        restricts = refused(replace(consent, minor=consent.minor or minor is True))
        uid, until_now = self._whose(tenant, user_id, None if restricts else consent.at)
        if uid is None:
            return Stated.of(in_force(until_now, self._consent_basis(tenant)), superseded=True)
        said = self._stores.people.set_consent(tenant, uid, consent, minor=minor, now=now)
        if refused(said):
            self._withdraw(tenant, user_id, uid)
        elif said.narrowed:
            self._profiles.read(tenant, user_id, uid)
        return Stated.of(in_force(said, self._consent_basis(tenant)), superseded=said.superseded)

    def _whose(self, tenant: str, user_id: str, at: float | None) -> tuple[str | None, Consent | None]:
        """The uid of the id, made where there is none; or None, with what holds of the person, where they were erased
        since `at` (epoch seconds; None: that does not matter)."""
        people = self._stores.people
        known = people.look_up(tenant, [user_id])[user_id]
        for attempt in range(_ATTEMPTS):
            if at is not None and known.erased(at):
                if known.uid is None:
                    return None, known.said
                return None, people.consents(tenant, [known.uid]).get(known.uid)
            if known.uid is not None:
                return known.uid, None
            known = people.make(tenant, {user_id: known})[user_id]
            if known.uid is None:  # erased at this very moment
                give_way(attempt)
        raise Conflict("too many writers at the same new people", retry_after=1)

    def signals(self, consent: Consent) -> tcf.Signals | None:
        """What the TC string of a consent says for us; None where it came without one that can be read."""
        with suppress(ValueError):
            return tcf.read(consent.tcf, self._tcf_vendor_id) if consent.tcf is not None else None
        return None

    def _by_tcf(self, consent: Consent) -> Consent:
        if consent.tcf is None:
            return consent
        try:
            signals = tcf.read(consent.tcf, self._tcf_vendor_id)
        except ValueError as error:
            raise Unprocessable(str(error), field="tcf") from error
        allowed = consent.personalisation and signals.allows
        return replace(consent, personalisation=allowed, version=consent.version or signals.version)

    def _withdraw(self, tenant: str, user_id: str, uid: str) -> None:
        """Of a person who refuses, through whichever of their ids."""
        _, _, person = self._profiles.read(tenant, user_id, uid)  # takes away what was inferred
        if person is not None and self._consent_basis(tenant) == "required":
            for one in person.uids:
                self._on_withdrawal(tenant, one)

    def identities(
        self, tenant: str, user_id: str, *, link: Sequence[NamedId] = (), unlink: Sequence[NamedId] = ()
    ) -> Links:
        """Links ids of other platforms with the person's, and unlinks some; holds from the next answer on.

        Linked ids are one person: one profile of the events of them all, one holder of each interest, one count of
        impressions; a refusal through any of them wins. Each id keeps what it brought, so that it has it again, and
        nothing else, once it is unlinked. But where the tenant needs consent, a link that brings a refusal erases what
        the others brought, and unlinking does not bring it back. A link brings along whom the other id is linked with.
        Each entry is all or nothing; after an error a repeat is safe.

        Raises:
            NotFound: nobody is known as `user_id`, and nothing is to be linked with it.
            Unprocessable: an id is in both lists; there would be more than 20; or the tenant needs consent, and has
                none from the person or an id to be linked, not even a refusal: nothing may be kept about it.
            Forbidden: the tenant needs consent, and all of these ids refused: their link would be kept for nothing.
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
            _, consent, _ = self._profiles.read(tenant, "", uid)  # everybody counts again as who they are now
            if link and not consent.personalisation:
                self._withdraw(tenant, "", uid)  # a refusal has come along
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
        if all(map(refused, consents.values())):
            raise Forbidden(_NOTHING, field="link")
        return uids

    # ------------------------------------------------------------------------------------------------------------

    def _take_piece(self, tenant: str, piece: Piece) -> Iterator[Rejection | bool]:
        rows = [(row.line, row.value) for row in piece.rows]
        outcomes, touched = self._take(tenant, rows, piece.source, piece.since)
        if piece.alone:  # of a large upload they would be folded again and again
            for user_id, uid in sorted(touched):
                self._profiles.read(tenant, user_id, uid)
        return iter(outcomes)

    def _take(
        self,
        tenant: str,
        rows: Sequence[tuple[int, object]],
        source: str | None = None,
        came: float | None = None,
    ) -> tuple[list[Rejection | bool], set[tuple[str, str]]]:
        """For each row, in order: True (new), False (there already) or why it is rejected; and (user id, uid) of those
        who have new events. came: when the upload came that they are from (epoch seconds)."""
        now = self._clock()
        keyed = partial(self._stores.people.keyed_event_id, tenant)
        parsed = [parse_event(value, now=now, index=index, keyed=keyed) for index, value in rows]
        outcomes = [event if isinstance(event, Rejection) else False for event in parsed]
        events = {place: event for place, event in enumerate(parsed) if isinstance(event, Event)}
        if came is not None:
            self._quote_no_erased(tenant, rows, outcomes, came)
        touched: set[tuple[str, str]] = set()
        for attempt in range(_ATTEMPTS):
            events, new = self._keep(tenant, events, [index for index, _ in rows], outcomes, source, came)
            touched |= new
            if not events:
                return outcomes, touched
            give_way(attempt)
        raise Conflict("too many writers at the same people", retry_after=1)

    def _quote_no_erased(
        self, tenant: str, rows: Sequence[tuple[int, object]], outcomes: list[Rejection | bool], came: float
    ) -> None:
        """Why a row is rejected is kept, and may quote from it: not from what somebody did who was erased since."""
        named = {
            place: clean_text(str(row["user_id"]), MAX_ID)
            for place, (_, row) in enumerate(rows)
            if isinstance(outcomes[place], Rejection) and isinstance(row, Mapping) and "user_id" in row
        }
        known = self._stores.people.look_up(tenant, set(named.values()))
        for place, user_id in named.items():
            index, row = rows[place]
            try:
                at = fields.moment(row["timestamp"], "timestamp")  # type: ignore[index]
            except (fields.Refused, KeyError):
                at = None
            one = known[user_id]
            if one.erased_at is not None and (at is None or one.erased(at, came)):
                outcomes[place] = Rejection(index, "user_id", ERASED)

    def _keep(
        self,
        tenant: str,
        events: Mapping[int, Event],
        indices: Sequence[int],
        outcomes: list[Rejection | bool],
        source: str | None,
        came: float | None,
    ) -> tuple[dict[int, Event], set[tuple[str, str]]]:
        """Takes events in, by their place among the rows, and says in `outcomes` what became of each.

        Returns those whose people were erased at this very moment, of whom it has to be looked up again what is known;
        and (user id, uid) of those who have new events.
        """
        known = self._stores.people.look_up(tenant, {event.user_id for event in events.values()})
        late = {one.user_id for one in events.values() if not known[one.user_id].erased(one.timestamp, came)}
        people, reasons = self._admitted(tenant, {user_id: known[user_id] for user_id in sorted(late)})
        fresh: dict[str, dict[str, int]] = {}
        batch: dict[str, dict[str, Event]] = {}
        again: dict[int, Event] = {}
        for place, event in events.items():
            person = people.get(event.user_id, known[event.user_id])
            if person.erased(event.timestamp, came):
                outcomes[place] = Rejection(indices[place], "user_id", ERASED)
            elif event.user_id in reasons:
                outcomes[place] = Rejection(indices[place], "user_id", reasons[event.user_id])
            elif person.uid is None:
                again[place] = event
            elif event.event_id not in batch.setdefault(person.uid, {}):
                batch[person.uid][event.event_id] = event
                fresh.setdefault(person.uid, {})[event.event_id] = place
        stored = with_vectors(self._stores.catalogue, self._encoder, tenant, batch)
        accepted = self._stores.people.append_events(tenant, stored, source=source)
        self._after_withdrawals(tenant, accepted)
        touched = set()
        for uid, event_ids in accepted.items():
            for event_id in event_ids:
                outcomes[fresh[uid][event_id]] = True
            if event_ids:
                touched.add((next(iter(batch[uid].values())).user_id, uid))
        gone = {event.user_id for uid in batch.keys() - accepted.keys() for event in batch[uid].values()}
        return again | {place: event for place, event in events.items() if event.user_id in gone}, touched

    def _admitted(self, tenant: str, known: Mapping[str, Known]) -> tuple[dict[str, Known], dict[str, str]]:
        """These people, with uids where something may be kept about them, and the reason for the others.

        Nobody gets a pseudonym where the tenant needs consent and there is none: not even that is kept about them.
        """
        basis = self._consent_basis(tenant)
        required = basis == "required"
        people = dict(known) if required else self._stores.people.make(tenant, known)
        consents = self._stores.people.consents(tenant, [one.uid for one in people.values() if one.uid is not None])
        reasons = {}
        for user_id, one in people.items():
            said = consents.get(one.uid or "")
            if said is None and required:
                reasons[user_id] = "the person has not consented yet"
            elif said is not None and refused(said):
                # Where it is for their age, that is not for a report to say.
                reasons[user_id] = _NOTHING if said.personalisation else "the person refused personalisation"
        return people, reasons

    def _after_withdrawals(self, tenant: str, accepted: Mapping[str, set[str]]) -> None:
        """Takes back what was written of people who withdrew while it was: their withdrawal may not have seen it."""
        uids = [uid for uid, event_ids in accepted.items() if event_ids]
        if uids and self._consent_basis(tenant) == "required":
            for uid, said in self._stores.people.consents(tenant, uids).items():
                if refused(said):
                    self._on_withdrawal(tenant, uid)


def report_body(report: IngestReport) -> dict[str, Any]:
    """The report as the API answers it."""
    return {
        "accepted": report.accepted,
        "duplicates": report.duplicates,
        "rejected": [{"index": r.index, "field": r.field, "reason": r.reason} for r in report.rejected],
    }
