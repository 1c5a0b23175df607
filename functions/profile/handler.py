"""Front door of profiling: behaviour in, interests out. API, S3 upload of events, direct call."""

from __future__ import annotations

from time import monotonic
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, HTTPException, Path, Request, Response
from pydantic import AfterValidator, BaseModel, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from shared.bodies import ExternalId, Moment, Switch
from shared.domain import Consent
from shared.entry import Remaining, create_app, lambda_entry, rfc3339, tenant_of
from shared.erasing import receipt
from shared.exporting import Limits
from shared.ingest import run_body, tenant_of_key
from shared.preprocess import fields
from shared.profile_answers import consent_body, profile_body
from shared.profiling import Links, NamedId, report_body
from shared.restore import prepare
from shared.stores.erasures import Erasure
from shared.stores.runs import Run
from shared.uploading import LONGEST_NAME, NAMES, Kind
from shared.wiring import system

router = APIRouter(prefix="/v1", tags=["profile"])
Tenant = Annotated[str, Depends(tenant_of)]
UserId = Annotated[ExternalId, Path()]  # may hold a slash, so its routes take a path
ErasureId = Annotated[str, Path(pattern="^[0-9a-f]{24}$")]
WHOLE_EXPORT = Limits(inline_bytes=0, log_seconds=120.0)  # of a direct call: the function has 180 seconds
# What stands behind a person's id in other routes; API Gateway tells these apart by itself.
PARTS = {"profile": "GET", "interests": "PATCH", "consent": "PUT", "identities": "PUT", "export": "GET", "ahead": "GET"}
UploadName = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST_NAME),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": LONGEST_NAME, "pattern": NAMES}),
]
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
    """What a person said, when and where. `version` is that of the notice that they were shown. With `tcf`, a TC string
    of IAB's Transparency and Consent Framework v2, both have to allow personalisation. `minor` says whether they are
    under age, and null leaves that as it was said before.
    """

    personalisation: Switch
    sensitive: Switch = False
    source: str = Field(min_length=1, max_length=100)
    at: Moment
    version: str | None = Field(default=None, min_length=1, max_length=100)
    tcf: str | None = Field(default=None, max_length=4000)
    minor: Switch | None = None


class UploadWanted(BaseModel):
    """The name of a file: it ends in .jsonl or .csv, or in one of these and .gz, and says nobody's name or id."""

    kind: Kind
    name: UploadName


@router.post("/events")
def post_events(body: Events, tenant: Tenant) -> dict[str, Any]:
    """Takes behaviour in. Sending the same events again changes nothing."""
    report = system().profiling.post_events(tenant, body.events)
    return report_body(report) | {"versions": system().versions}


@router.get("/users/{user_id:path}/profile")
def get_profile(user_id: UserId, tenant: Tenant) -> dict[str, Any]:
    """The person's interests with their evidence, as of now."""
    return profile_body(system(), *system().profiling.profile(tenant, user_id))


@router.patch("/users/{user_id:path}/interests")
def edit_interests(user_id: UserId, body: InterestEdit, tenant: Tenant) -> dict[str, Any]:
    """Switches interests off or on, from the next answer on."""
    return profile_body(
        system(), *system().profiling.edit_interests(tenant, user_id, disable=body.disable, enable=body.enable)
    )


@router.put("/users/{user_id:path}/consent")
def put_consent(user_id: UserId, body: ConsentChange, tenant: Tenant) -> dict[str, Any]:
    """Takes a statement, and answers what is in force from the next request on: what was said last, unless a linked id
    refused. `superseded` says that a later statement through this id was there already, or that the person was erased
    since this one: then only a refusal, or that they are under age, is taken. The latest 50 statements of an id are
    kept, as the proof of what was said when; what was last said of age holds however many come after it."""
    said = Consent(body.personalisation, body.sensitive, body.source, body.at, tcf=body.tcf, version=body.version)
    stated = system().profiling.set_consent(tenant, user_id, said, minor=body.minor)
    answer = {"user_id": user_id} | consent_body(system(), stated)
    return answer | {"superseded": True} if stated.superseded else answer


@router.put("/users/{user_id:path}/identities")
def put_identities(user_id: UserId, body: IdentityChange, tenant: Tenant) -> dict[str, Any]:
    """Links the person with their ids on other platforms, or unlinks them; both empty, it says who is linked.

    Linked ids are one person, of 20 ids at most, from the next answer on; unlinked, each has its own again. No external
    id is kept: an answer names those of its own request, and all by a reference.
    """
    link, unlink = ([NamedId(one.id, one.platform) for one in some] for some in (body.link, body.unlink))
    links = system().profiling.identities(tenant, user_id, link=link, unlink=unlink)
    return {"user_id": user_id} | links_body(links) | {"versions": system().versions}


@router.get("/users/{user_id:path}/export")
def export_person(user_id: UserId, tenant: Tenant) -> Response:
    """Everything that is kept of the person, of all ids that are linked: as the answer where it fits one
    (``complete``), else at an address that holds for a quarter of an hour, as gzipped JSON."""
    return Response(export_body(tenant, user_id), media_type="application/json")


def export_body(tenant: str, user_id: str, limits: Limits = Limits()) -> bytes:  # noqa: B008 - it never changes
    """An export as the API answers it."""
    versions = system().versions
    found = system().exporting.export(tenant, user_id, written=rfc3339, versions=versions, limits=limits)
    if found.document is not None:
        return found.document
    where = {"url": found.url, "expires_at": rfc3339(found.expires_at), "size": found.size}
    return orjson.dumps({"user_id": user_id, "complete": False, **where, "versions": versions})


@router.delete("/users/{user_id:path}", status_code=202)
def erase_person(user_id: UserId, request: Request, response: Response, tenant: Tenant) -> dict[str, Any]:
    """Erases the person with all ids that are linked: profile, events, identities, decisions, feedback and what it
    counted for, in the table and in every object. They are unknown from this answer on; the rest is done in the
    background, and then a second scan looks for traces. Of an id that nobody knows there is a receipt as well."""
    written = (request.scope.get("raw_path") or b"").rpartition(b"/")[2].decode("ascii", "replace")  # none on Lambda
    if written in PARTS and "/" in user_id:  # of a part, not of a person whose id ends so
        raise HTTPException(405, headers={"Allow": PARTS[written]})
    erasure = system().erasing.erase(tenant, user_id)
    response.headers["Location"] = f"/v1/erasures/{erasure.erasure_id}"
    return receipt_body(erasure)


@router.get("/erasures/{erasure_id}")
def get_erasure(erasure_id: ErasureId, tenant: Tenant) -> dict[str, Any]:
    """The receipt of an erasure as it stands: what has been removed where, what is left to do, what stays and why; once
    it is ``done``, that a second scan of every place has found no trace."""
    return receipt_body(system().erasing.get(tenant, erasure_id))


@router.post("/uploads", status_code=201)
def post_upload(body: UploadWanted, tenant: Tenant) -> dict[str, Any]:
    """An address to which a file of events, ads or labels may be sent with `method`, by whoever has it, until
    `expires_at`. A later file of the same name takes the place of an earlier one. What becomes of it is answered by
    ``GET /v1/uploads/{kind}/{name}``."""
    found = system().uploading.address(tenant, body.kind, body.name)
    return {
        "kind": body.kind,
        "name": body.name,
        "key": found.key,
        "method": "PUT",
        "url": found.url,
        "headers": {},
        "fields": {},
        "expires_at": rfc3339(found.expires_at),
        "most_bytes": found.most_bytes,
        "versions": system().versions,
    }


@router.get("/uploads/{kind}/{name}")
def get_upload(kind: Kind, name: Annotated[UploadName, Path()], tenant: Tenant) -> dict[str, Any]:
    """What became of the file that was last sent under this name.

    `state`: ``waiting`` (nothing has come), ``reading``, ``done`` (read to its end, also where all rows were rejected),
    or ``failed`` where nobody goes on with it, or nothing can be trained on its labels. `chunks` are of a large file,
    their `total` known once it is split. `lines`: the first 200 rejected ones, all of which lie at `rejected_url` for a
    quarter of an hour. What they quote of events is of people: there a token with scopes needs ``adtailor/write``.
    """
    found = system().uploading.uploaded(tenant, kind, name)
    return {
        "key": found.key,
        "state": found.state,
        "chunks": None if found.done is None else {"done": found.done, "total": found.total},
        "accepted": found.accepted,
        "duplicates": found.duplicates,
        "rejected": found.rejected,
        "problem": found.problem,
        "lines": list(found.lines),
        "rejected_url": found.rejected_url,
        "versions": system().versions,
    }


def receipt_body(erasure: Erasure) -> dict[str, Any]:
    """A receipt as the API answers it."""
    body = receipt(erasure)
    times = {name: rfc3339(body[name]) if body[name] is not None else None for name in ("requested_at", "verified_at")}
    return body | times | {"versions": system().versions}


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
    """A chunk of a large upload or of a rebuild, or what is left to split of it; or what is left of an erasure."""
    if "erasure" in message:
        system().erasing.go_on(message["tenant"], message["erasure"], remaining=remaining)
        return
    system().profiling.go_on(message["tenant"], message["run"], message.get("chunk"), remaining=remaining)


class Person(BaseModel):
    """Whom a direct call asks for."""

    user_id: ExternalId


class OneRun(BaseModel):
    run: str = Field(pattern="^[A-Za-z0-9]{1,64}$")


def direct_profile(call: dict[str, Any]) -> dict[str, Any]:
    person = Person(user_id=call["user_id"])
    return profile_body(system(), *system().profiling.profile(call["tenant"], person.user_id))


def direct_export(call: dict[str, Any]) -> Any:
    """With time for all of the decision log, and written to the bucket whatever its size."""
    person = Person(user_id=call["user_id"])
    return orjson.loads(export_body(call["tenant"], person.user_id, WHOLE_EXPORT))


def direct_run(call: dict[str, Any]) -> dict[str, Any]:
    return run_body(system().profiling.run(call["tenant"], OneRun(run=call["run"]).run))


def rebuild(call: dict[str, Any]) -> dict[str, Any]:
    # A direct call waits a minute by default: what is not split by then, the queue splits.
    ends = monotonic() + 60
    run = system().profiling.rebuild(
        call["tenant"], stale_only=bool(call.get("stale_only")), remaining=lambda: ends - monotonic()
    )
    return run_body(run)


def erase_again(call: dict[str, Any]) -> dict[str, int]:
    """For a table that was restored to an earlier time; again and again while there is anything ``left``."""
    ends = monotonic() + 150
    return system().erasing.erase_again(call["tenant"], remaining=lambda: ends - monotonic())


def lambda_handler(event: dict[str, Any], context: Any) -> Any:
    return lambda_entry(
        event,
        context,
        app=app,
        on_upload=on_upload,
        on_message=on_message,
        on_direct={
            "rebuild": rebuild,
            "run": direct_run,
            "events": lambda call: report_body(
                system().profiling.post_events(call["tenant"], Events(events=call["events"]).events)
            ),
            "erase_again": erase_again,
            "export": direct_export,
            "profile": direct_profile,
        },
    )


prepare(app, "/v1/events", warm)
