"""Front door of profiling: behaviour in, interests out. API, S3 upload of events, direct call."""

from __future__ import annotations

from time import monotonic
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path
from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from shared.bodies import ExternalId, Moment, Switch
from shared.domain import Consent, Profile
from shared.entry import Remaining, create_app, lambda_entry, rfc3339, tenant_of
from shared.ingest import run_body, tenant_of_key
from shared.preprocess import fields
from shared.profiling import Links, NamedId, report_body
from shared.restore import prepare
from shared.stores.runs import Run
from shared.wiring import system

router = APIRouter(prefix="/v1", tags=["profile"])
Tenant = Annotated[str, Depends(tenant_of)]
UserId = Annotated[ExternalId, Path()]  # may hold a slash, so its routes take a path
InterestId = Annotated[str, Field(max_length=100)]


class Events(BaseModel):
    """Up to 500 events, checked one by one: a bad one is reported and the rest goes in."""

    events: list[Any]


class InterestEdit(BaseModel):
    disable: list[InterestId] = Field(default=[], max_length=100)
    enable: list[InterestId] = Field(default=[], max_length=100)


def _platform(value: str) -> str:
    try:
        found = fields.identifier(value, "The platform", longest=80)
    except fields.Refused as refused:
        raise PydanticCustomError("platform", "{reason}", {"reason": refused.reason}) from None
    if found is None:
        raise PydanticCustomError("platform", "The platform holds nothing to read.")
    return found


class LinkedId(BaseModel):
    """An id that the tenant knows the person by elsewhere: what that platform's events have as their `user_id`.

    Ids are the tenant's own, and taken as they come: where two platforms may give the same id to different people, the
    sender prefixes them, here and in events (``wechat:o123``). `platform` is kept for information alone.
    """

    id: ExternalId
    platform: Annotated[str, Field(min_length=1, max_length=80), AfterValidator(_platform)] | None = None


class IdentityChange(BaseModel):
    link: list[LinkedId] = Field(default=[], max_length=20)
    unlink: list[LinkedId] = Field(default=[], max_length=20)


class ConsentChange(BaseModel):
    personalisation: Switch
    sensitive: Switch = False
    source: str = Field(min_length=1, max_length=100)
    at: Moment
    tcf: str | None = Field(default=None, max_length=4000)


@router.post("/events")
def post_events(body: Events, tenant: Tenant) -> dict[str, Any]:
    """Takes behaviour in. Sending the same events again changes nothing."""
    report = system().profiling.post_events(tenant, body.events)
    return report_body(report) | {"versions": system().versions}


@router.get("/users/{user_id:path}/profile")
def get_profile(user_id: UserId, tenant: Tenant) -> dict[str, Any]:
    """The person's interests with their evidence, as of now."""
    return profile_body(*system().profiling.profile(tenant, user_id))


@router.patch("/users/{user_id:path}/interests")
def edit_interests(user_id: UserId, body: InterestEdit, tenant: Tenant) -> dict[str, Any]:
    """Switches interests off or on, from the next answer on."""
    return profile_body(*system().profiling.edit_interests(tenant, user_id, disable=body.disable, enable=body.enable))


@router.put("/users/{user_id:path}/consent")
def put_consent(user_id: UserId, body: ConsentChange, tenant: Tenant) -> dict[str, Any]:
    """Puts the person's consent in force from the next request on."""
    said = Consent(body.personalisation, body.sensitive, body.source, body.at, tcf=body.tcf)
    return {"user_id": user_id} | consent_body(system().profiling.set_consent(tenant, user_id, said))


@router.put("/users/{user_id:path}/identities")
def put_identities(user_id: UserId, body: IdentityChange, tenant: Tenant) -> dict[str, Any]:
    """Links the person with their ids on other platforms, or unlinks them; both empty, it says who is linked.

    Linked ids are one person, of 20 ids at most, from the next answer on; unlinked, each has its own again. No external
    id is kept: an answer names those of its own request, and all by a reference.
    """
    link, unlink = ([NamedId(one.id, one.platform) for one in some] for some in (body.link, body.unlink))
    links = system().profiling.identities(tenant, user_id, link=link, unlink=unlink)
    return {"user_id": user_id} | links_body(links) | {"versions": system().versions}


def links_body(links: Links) -> dict[str, Any]:
    """Who is linked as the API answers it; `count` is of all ids of the person, the one asked for included."""
    return {
        "ref": links.ref,
        "linked": [
            {"platform": one.platform, "ref": one.ref}
            | ({"id": links.named[one.ref]} if one.ref in links.named else {})
            for one in links.linked
        ],
        "count": len(links.linked) + 1,
        "changes": [{"platform": one.platform, "id": one.id, "result": result} for one, result in links.changes],
    }


def profile_body(profile: Profile, consent: Consent) -> dict[str, Any]:
    """A profile as the API answers it."""
    return {
        "user_id": profile.user_id,
        "interests": [
            {
                "id": interest.id,
                "name": interest.name,
                "categories": interest.categories,
                "weight": interest.weight,
                "strength": interest.strength,
                "term": interest.term,
                "evidence": list(interest.evidence),
                "against": list(interest.against),
                "enabled": interest.enabled,
            }
            for interest in profile.interests
        ],
        "segments": list(profile.segments),
        "events": profile.events,
        "updated_at": rfc3339(profile.updated_at),
        "consent": consent_body(consent),
        "versions": system().versions,
    }


def consent_body(consent: Consent) -> dict[str, Any]:
    basis: Literal["given", "asserted", "none"] = consent.basis
    return {
        "personalisation": consent.personalisation,
        "sensitive": consent.sensitive,
        "source": consent.source,
        "basis": basis,
        "at": rfc3339(consent.at) if consent.at else None,
    }


app = create_app("profile", router)


def warm() -> None:
    """Loads what profiling needs."""
    vectors = system().encoder.encode(["warm"])
    for classifier in system().classifiers.values():
        classifier.classify_vectors(vectors)


def on_upload(key: str, fingerprint: str, version: str | None, remaining: Remaining) -> dict[str, Any]:
    tenant = tenant_of_key(key, "events")
    report = system().profiling.ingest(tenant, key, fingerprint=fingerprint, version=version, remaining=remaining)
    if isinstance(report, Run):
        return {"key": key} | run_body(report)
    return {"key": key, "rejected_count": report.rejected_count, "problem": report.problem} | report_body(report)


def on_message(message: dict[str, Any], remaining: Remaining) -> None:
    """A chunk of a large upload or of a rebuild, or what is left to split of it."""
    system().profiling.go_on(message["tenant"], message["run"], message.get("chunk"), remaining=remaining)


def rebuild(call: dict[str, Any]) -> dict[str, Any]:
    # A direct call waits a minute by default: what is not split by then, the queue splits.
    ends = monotonic() + 60
    run = system().profiling.rebuild(
        call["tenant"], stale_only=bool(call.get("stale_only")), remaining=lambda: ends - monotonic()
    )
    return run_body(run)


def lambda_handler(event: dict[str, Any], context: Any) -> Any:
    return lambda_entry(
        event,
        context,
        app=app,
        on_upload=on_upload,
        on_message=on_message,
        on_direct={
            "rebuild": rebuild,
            "run": lambda call: run_body(system().profiling.run(call["tenant"], call["run"])),
            "events": lambda call: report_body(
                system().profiling.post_events(call["tenant"], Events(events=call["events"]).events)
            ),
            "profile": lambda call: profile_body(*system().profiling.profile(call["tenant"], call["user_id"])),
        },
    )


prepare(app, "/v1/events", warm)
