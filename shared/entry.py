"""How anything gets in: Lambda event to API (Mangum), S3 record, SQS record or direct call; and the API's frame.

S3 and SQS records are told apart and served before Mangum and without FastAPI's routing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import count
from math import inf
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import orjson
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from shared.errors import AdTailorError, BadInput, Forbidden, Misconfigured, Unauthenticated, Unprocessable
from shared.idempotency import Idempotent
from shared.limits import RequestLimits
from shared.quotas import Metered
from shared.scopes import authorise, authorise_naming
from shared.telemetry import MetricUnit, logger, metrics
from shared.tenants import Tenants, is_name
from shared.unforeseen import Shielded, nameless

LONGEST_REQUEST = 29.0  # seconds that API Gateway waits, whatever the function's own limit
ANSWER_SECONDS = 1.0  # kept of them to say that the time is over


class JSON(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        try:
            return orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS)
        except TypeError:  # an echoed lone surrogate: JSON can escape it, UTF-8 cannot carry it
            return json.dumps(content).encode()


class Problem(JSON):
    media_type = "application/problem+json"


def problem(error: AdTailorError) -> Response:
    """An error of ours as a problem document (RFC 9457)."""
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after else None
    return Problem(error.problem(), status_code=error.status, headers=headers)


def tenant_of(request: Request) -> str:
    """The caller's tenant: from the authorizer's context, never from body or header.

    A caller with a JWT has the name in its claim (the setting ``TENANT_CLAIM``); one that signs with IAM is told by its
    role where the setting ``TENANTS`` has roles, and else is the deployment's one tenant.

    Raises:
        Unauthenticated: there is no authorizer's context, and this is not the local stage.
        Forbidden: the authorizer names no tenant, or a role that is nobody's; the token lacks the scope of the route.
    """
    authorizer, claims = _authorizer(request)
    system = request.app.state.system()
    if claims:
        authorise(claims, request.method, request.scope["path"])
        claim = system.settings.tenant_claim
        tenant = claims.get(claim)
        if not tenant:
            raise Forbidden(f"the token has no claim {claim!r}")
        return _tenant(tenant)
    iam = authorizer.get("iam")
    if iam and system.tenants.has_roles:
        return _tenant_of_role(system.tenants, str(iam.get("userArn") or ""))
    if iam or system.settings.stage == "local":
        return _tenant(system.settings.tenant)
    raise Unauthenticated("no authenticated caller: sign the request or send a token")


def may_name_people(request: Request) -> None:
    """For a route that people may be named to, and that asks for no scope of those that deal with them.

    Raises:
        Forbidden: the caller's token has none of these scopes.
    """
    authorise_naming(_authorizer(request)[1])


def plain_query(request: Request) -> None:
    """For a route with parameters in its query: what is no text, or said twice, would silently be read as something
    else.

    Raises:
        Unprocessable: a parameter is not UTF-8, or comes more than once.
    """
    seen = set()
    query = request.scope["query_string"].decode("latin-1")  # as the framework reads it
    for name, value in parse_qsl(query, keep_blank_values=True, errors="surrogateescape"):
        field = name.encode(errors="replace").decode()
        if not (name + value).isascii() and any("\ud800" <= char <= "\udfff" for char in name + value):
            raise Unprocessable("the parameter is not UTF-8", field=field)
        if name in seen:
            raise Unprocessable("the parameter comes more than once", field=field)
        seen.add(name)


def _authorizer(request: Request) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What API Gateway says of the caller, and the claims of its token; both empty where there is nobody."""
    event = request.scope.get("aws.event") or {}
    authorizer = (event.get("requestContext") or {}).get("authorizer") or {}
    return authorizer, (authorizer.get("jwt") or {}).get("claims") or {}


def _tenant_of_role(tenants: Tenants, arn: str) -> str:
    try:
        found = tenants.of_role(arn)
    except ValueError as error:
        logger.error("caller refused", extra={"reason": str(error)})
        raise Forbidden("the caller's role stands with more than one tenant") from error
    if found is None:
        raise Forbidden("the caller's role is no tenant's")
    return found


def _tenant(name: object) -> str:
    if not is_name(name):
        raise Forbidden("the caller's tenant name is malformed")
    return str(name)


def _labelled(tenant: str) -> str:
    """Figures of this event say whose they are: as a property, since each value of a dimension is a metric more."""
    metrics.add_metadata("tenant", tenant)
    return tenant


def _label_named(call: Any) -> None:
    """Raises `BadInput` where a direct call or a message names a tenant that no key may hold. Only what leaves the
    field out is of all tenants, where it may be: null is a mistake of whoever asks."""
    if not isinstance(call, dict) or "tenant" not in call:
        return
    tenant = call["tenant"]
    if not is_name(tenant):
        raise BadInput("1 to 64 of A-Z a-z 0-9 _ -", field="tenant")
    _labelled(str(tenant))


def _flush() -> None:
    """Writes the figures that there are, with their label; without figures the label goes too."""
    if metrics.metric_set:
        metrics.flush_metrics()
    else:
        metrics.clear_metrics()


def rfc3339(at: float) -> str:
    """Epoch seconds as every answer writes a time: UTC, milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def create_app(name: str, *routers: APIRouter) -> FastAPI:
    """An API of these routers, with problem documents, body limits and the tenant rule."""
    from shared import wiring

    app = FastAPI(
        title=f"AdTailor {name}".strip(),
        version="1",
        default_response_class=JSON,
        redirect_slashes=False,  # it would lead where the Host header says
        description="Personalised ads that fit, are true, lawful and discreet.",
    )
    app.state.system = wiring.system
    for router in routers:
        app.include_router(router)

    @app.exception_handler(AdTailorError)
    async def ours(_: Request, error: AdTailorError) -> Response:
        if error.status >= 500:
            logger.error("request failed", extra={"error": type(error).__name__, "detail": error.detail})
        return problem(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = [str(part) for part in first["loc"]]
        if first["type"] == "json_invalid":
            detail = f"the body is not JSON: {first['ctx']['error']} at character {place[-1]}"
            return problem(BadInput(detail, field="body"))
        field = ".".join(place[1:]) or place[0]
        document = BadInput(first["msg"], field=field).problem() | {"status": 422, "title": "Cannot be used"}
        document["errors"] = [
            {"field": ".".join(str(part) for part in one["loc"][1:]), "reason": one["msg"]}
            for one in error.errors()[:20]
        ]
        return Problem(document, status_code=422)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        if error.status_code == HTTPStatus.BAD_REQUEST and isinstance(error.__cause__, ValueError):  # the parser's
            text = isinstance(error.__cause__, UnicodeDecodeError)
            detail = "the body is not UTF-8" if text else "a number in the body has too many digits"
            return problem(BadInput(detail, field="body"))
        document = {"type": "about:blank", "title": str(error.detail), "status": error.status_code}
        headers = error.headers
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers = dict(headers or {}) | _methods(routers, request)
        return Problem(document, status_code=error.status_code, headers=headers)

    app.add_middleware(
        Idempotent,
        problem=problem,
        tenant=lambda scope: tenant_of(Request(scope)),
        records=lambda: app.state.system().idempotency,
        answers=lambda: app.state.system().answers,
        clock=lambda: app.state.system().clock(),
        named=lambda scope: may_name_people(Request(scope)),
    )
    app.add_middleware(
        Metered,
        problem=problem,
        tenant=lambda scope: _labelled(tenant_of(Request(scope))),
        quotas=lambda: app.state.system().quotas,
    )
    app.add_middleware(RequestLimits, problem=problem)  # nothing reads a body before its size is known
    app.add_middleware(Shielded, problem=problem)  # outermost: whatever fails has an answer
    return app


def _methods(routers: Sequence[APIRouter], request: Request) -> dict[str, str]:
    """The header that names every method of the path: Starlette names those of its first route alone. Nothing where a
    route took the request, and refused it by itself."""
    routes = [route for router in routers for route in router.routes if isinstance(route, Route)]
    found = [(route.matches(request.scope)[0], route) for route in routes]
    if any(match is Match.FULL for match, _ in found):
        return {}
    path = next((route.path for match, route in found if match is Match.PARTIAL), None)
    methods = {method for route in routes if route.path == path for method in route.methods or ()}
    return {"Allow": ", ".join(sorted(methods))} if methods else {}


Remaining = Callable[[], float]  # seconds until this invocation is cut off


_events = count()  # that came to this process, or to the one that its snapshot was taken of: none so far


def lambda_entry(
    event: dict[str, Any],
    context: Any,
    *,
    app: FastAPI,
    on_upload: Callable[[str, str, str | None, Remaining], Any] | None = None,
    on_message: Callable[[dict[str, Any], Remaining], Any] | None = None,
    on_direct: Mapping[str, Callable[[dict[str, Any]], Any]] | None = None,
    on_request: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> Any:
    """Dispatches a Lambda event.

    on_upload: (key, fingerprint, version, time left) of each S3 record. on_message: the JSON body of each SQS record,
        and the time left; a raise makes that record come back (partial batch failure). on_direct: by the event's
        ``action``. Of a call with ``"asynchronous": true`` nobody reads the answer: an error that may pass is raised,
        so that Lambda calls again. on_request: the API's event as it is handed on.
    """
    if next(_events) == 0:
        metrics.add_metric("ColdStarts", MetricUnit.Count, 1)
    try:
        with nameless():
            records = event.get("Records")
            source = records[0].get("eventSource") if records else None
            if source == "aws:s3" and on_upload is not None:
                return {"uploads": [_upload(record, on_upload, _remaining(context)) for record in event["Records"]]}
            if source == "aws:sqs" and on_message is not None:
                return _messages(event, context, on_message)
            if "action" in event and on_direct is not None:
                return _direct(event, on_direct)
            if "requestContext" not in event:
                raise BadInput("neither an API request, nor S3 or SQS records, nor a direct call with an action")
            return _request(event, context, app, on_request)
    finally:
        _flush()


def _remaining(context: Any) -> Remaining:
    if context is None:
        return lambda: inf
    return lambda: context.get_remaining_time_in_millis() / 1000


def _upload(
    record: Mapping[str, Any], on_upload: Callable[[str, str, str | None, Remaining], Any], remaining: Remaining
) -> Any:
    entity = record["s3"]["object"]
    key = unquote_plus(entity["key"])
    parts = key.split("/")
    if len(parts) > 1 and is_name(parts[1]):
        _labelled(parts[1])
    try:
        return on_upload(key, entity.get("eTag", ""), entity.get("versionId"), remaining)
    except AdTailorError as error:
        if error.status >= 500 or error.retryable:
            raise  # Lambda sends the record again
        logger.warning("upload refused", extra={"key": key, "detail": error.detail})
        return {"key": key, "error": error.problem()}
    finally:
        _flush()


def _messages(
    event: dict[str, Any], context: Any, on_message: Callable[[dict[str, Any], Remaining], Any]
) -> dict[str, Any]:
    from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response

    def handle(record: Any) -> Any:
        try:
            message = orjson.loads(record.body)
            _label_named(message)
            return on_message(message, _remaining(context))
        except Exception:
            # With its number of receives: the queue's redrive policy sets a message aside that can never be handled.
            received = record.attributes.approximate_receive_count
            logger.exception("message failed", extra={"message_id": record.message_id, "receives": received})
            raise
        finally:
            _flush()

    # Not raising where all fail: a batch may well be one message, and a raise would hide which it was.
    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    answer = process_partial_response(event=event, record_handler=handle, processor=processor, context=context)
    return dict(answer)


def _direct(event: dict[str, Any], actions: Mapping[str, Callable[[dict[str, Any]], Any]]) -> Any:
    try:
        action = actions.get(str(event["action"]))
        if action is None:
            raise BadInput(f"action: one of {', '.join(sorted(actions))}", field="action")
        _label_named(event)
        return action(event)
    except AdTailorError as error:
        if event.get("asynchronous") is True and (error.status >= 500 or error.retryable):
            raise
        logger.warning("direct call refused", extra={"error": type(error).__name__, "field": error.field})
        return {"error": error.problem()}
    except KeyError as error:
        return {"error": BadInput("is missing from the call", field=str(error.args[0])).problem()}
    except ValidationError as error:
        first = error.errors()[0]
        return {"error": BadInput(first["msg"], field=".".join(map(str, first["loc"]))).problem()}


def _request(
    event: dict[str, Any],
    context: Any,
    app: FastAPI,
    on_request: Callable[[dict[str, Any]], dict[str, Any]] | None,
) -> dict[str, Any]:
    from mangum import Mangum

    from shared.stores.faults import patience

    answering: Any = app
    try:
        event = on_request(event) if on_request is not None else event
    except Misconfigured as error:  # the application says the same at its first look at them
        answering = problem(error)
    with patience(min(_remaining(context)(), LONGEST_REQUEST) - ANSWER_SECONDS):
        answer: dict[str, Any] = Mangum(answering, lifespan="off", text_mime_types=_TEXT)(_decoded_once(event), context)
    metrics.add_metric("Requests", MetricUnit.Count, 1)
    if answer["statusCode"] >= 500:
        metrics.add_metric("Faults", MetricUnit.Count, 1)
    return answer


def _decoded_once(event: dict[str, Any]) -> dict[str, Any]:
    """HTTP APIs hand the path on decoded, and Mangum decodes it: the id ``a%2Fb`` would be asked for as ``a/b``, which
    is somebody else."""
    http = event["requestContext"].get("http") or {}
    path = http.get("path")
    if not isinstance(path, str) or "%" not in path:
        return event
    return event | {"requestContext": event["requestContext"] | {"http": http | {"path": path.replace("%", "%25")}}}


_TEXT = ["text/", "application/json", "application/problem+json"]  # what travels through API Gateway unencoded
