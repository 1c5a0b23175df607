"""Front door of profiling: behaviour in, interests out. API, S3 upload of events, direct call."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path
from pydantic import AfterValidator, BaseModel, Field

from shared.domain import Consent, Profile
from shared.entry import create_app, lambda_entry, rfc3339, tenant_of
from shared.ingest import tenant_of_key
from shared.preprocess.fields import EARLIEST, LATEST
from shared.profiling import report_body
from shared.wiring import system

router = APIRouter(prefix="/v1", tags=["profile"])
Tenant = Annotated[str, Depends(tenant_of)]
UserId = Annotated[str, Path(min_length=1, max_length=200)]  # may hold a slash, so its routes take a path
InterestId = Annotated[str, Field(max_length=100)]


class Events(BaseModel):
    """Up to 500 events, checked one by one: a bad one is reported and the rest goes in."""

    events: list[Any]


class InterestEdit(BaseModel):
    disable: list[InterestId] = Field(default=[], max_length=100)
    enable: list[InterestId] = Field(default=[], max_length=100)


def possible(at: datetime) -> datetime:
    """A time that can be answered again: from 2000 to 9999 in UTC."""
    if not EARLIEST <= _epoch(at) <= LATEST:
        raise ValueError("not a possible time")
    return at


class ConsentChange(BaseModel):
    personalisation: bool
    sensitive: bool = False
    source: str = Field(min_length=1, max_length=100)
    at: Annotated[datetime, AfterValidator(possible)]
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
    said = Consent(body.personalisation, body.sensitive, body.source, _epoch(body.at), tcf=body.tcf)
    return {"user_id": user_id} | consent_body(system().profiling.set_consent(tenant, user_id, said))


def profile_body(profile: Profile, consent: Consent) -> dict[str, Any]:
    """A profile as the API answers it."""
    return {
        "user_id": profile.user_id,
        "interests": [
            {
                "id": interest.id,
                "name": interest.name,
                "weight": interest.weight,
                "term": interest.term,
                "evidence": list(interest.evidence),
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


def _epoch(at: datetime) -> float:
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


app = create_app("profile", router)


def on_upload(key: str, fingerprint: str, version: str | None) -> dict[str, Any]:
    report = system().profiling.ingest(tenant_of_key(key, "events"), key, fingerprint=fingerprint, version=version)
    return {"key": key, "rejected_count": report.rejected_count, "problem": report.problem} | report_body(report)


def lambda_handler(event: dict[str, Any], context: Any) -> Any:
    return lambda_entry(
        event,
        context,
        app=app,
        on_upload=on_upload,
        on_direct={
            "events": lambda call: report_body(
                system().profiling.post_events(call["tenant"], Events(events=call["events"]).events)
            ),
            "profile": lambda call: profile_body(*system().profiling.profile(call["tenant"], call["user_id"])),
        },
    )
