"""How anything gets in: Lambda event to API (Mangum), S3 record, SQS record or direct call; and the API's frame.

S3 and SQS records are told apart and served before Mangum and without FastAPI's routing.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from itertools import count
from math import inf
from typing import Any
from urllib.parse import unquote_plus

import orjson
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from shared.errors import AdTailorError, BadInput, Forbidden, TooLarge, Unauthenticated
from shared.idempotency import Idempotent
from shared.telemetry import MetricUnit, logger, metrics

MAX_BODY = 5_000_000  # bytes; Lambda itself refuses above 6 MB
LONGEST_REQUEST = 29.0  # seconds that API Gateway waits, whatever the function's own limit
ANSWER_SECONDS = 1.0  # kept of them to say that the time is over
TENANT_CLAIM = "tenant"


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

    Raises:
        Unauthenticated: there is no authorizer's context, and this is not the local stage.
        Forbidden: the authorizer names no tenant.
    """
    event = request.scope.get("aws.event") or {}
    authorizer = (event.get("requestContext") or {}).get("authorizer") or {}
    claims = (authorizer.get("jwt") or {}).get("claims") or {}
    if claims:
        tenant = claims.get(TENANT_CLAIM)
        if not tenant:
            raise Forbidden(f"the token has no claim {TENANT_CLAIM!r}")
        return _tenant(str(tenant))
    settings = request.app.state.system().settings
    if authorizer.get("iam") or settings.stage == "local":
        return _tenant(settings.tenant)
    raise Unauthenticated("no authenticated caller: sign the request or send a token")


def _tenant(name: str) -> str:
    if not (1 <= len(name) <= 64 and name.replace("-", "").replace("_", "").isalnum() and name.isascii()):
        raise Forbidden("the caller's tenant name is malformed")
    return name


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
    async def http(_: Request, error: HTTPException) -> Response:
        document = {"type": "about:blank", "title": str(error.detail), "status": error.status_code}
        return Problem(document, status_code=error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    async def unforeseen(_: Request, error: Exception) -> Response:
        logger.exception("unforeseen error")
        return Problem({"type": "about:blank", "title": "Internal error", "status": 500}, status_code=500)

    app.add_middleware(
        Idempotent,
        problem=problem,
        tenant=lambda scope: tenant_of(Request(scope)),
        records=lambda: app.state.system().idempotency,
    )
    app.add_middleware(BodyLimit)  # outermost: nothing reads a body before its length is known
    return app


class BodyLimit:
    """Refuses bodies over `MAX_BODY` (413), whether their length is declared or not."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS", "DELETE"):
            await self.app(scope, receive, send)
            return
        try:
            body = await _body(scope, receive)
        except TooLarge as error:
            await problem(error)(scope, receive, send)
            return
        sent = False

        async def replay() -> Mapping[str, Any]:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, replay, send)


async def _body(scope: Any, receive: Any) -> bytes:
    declared = dict(scope["headers"]).get(b"content-length", b"0")
    if declared.isdigit() and int(declared) > MAX_BODY:
        raise TooLarge(f"the body has {int(declared)} bytes: at most {MAX_BODY}", field="body")
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(parts)
        part = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY:
            raise TooLarge(f"the body has more than {MAX_BODY} bytes", field="body")
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


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
) -> Any:
    """Dispatches a Lambda event.

    on_upload: (key, fingerprint, version, time left) of each S3 record. on_message: the JSON body of each SQS record,
        and the time left; a raise makes that record come back (partial batch failure). on_direct: by the event's
        ``action``. Of a call with ``"asynchronous": true`` nobody reads the answer: an error that may pass is raised,
        so that Lambda calls again.
    """
    if next(_events) == 0:
        metrics.add_metric("ColdStarts", MetricUnit.Count, 1)
    try:
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
        return _request(event, context, app)
    finally:
        if metrics.metric_set:
            metrics.flush_metrics()


def _remaining(context: Any) -> Remaining:
    if context is None:
        return lambda: inf
    return lambda: context.get_remaining_time_in_millis() / 1000


def _upload(
    record: Mapping[str, Any], on_upload: Callable[[str, str, str | None, Remaining], Any], remaining: Remaining
) -> Any:
    entity = record["s3"]["object"]
    key = unquote_plus(entity["key"])
    try:
        return on_upload(key, entity.get("eTag", ""), entity.get("versionId"), remaining)
    except AdTailorError as error:
        if error.status >= 500 or error.retryable:
            raise  # Lambda sends the record again
        logger.warning("upload refused", extra={"key": key, "detail": error.detail})
        return {"key": key, "error": error.problem()}


def _messages(
    event: dict[str, Any], context: Any, on_message: Callable[[dict[str, Any], Remaining], Any]
) -> dict[str, Any]:
    from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response

    def handle(record: Any) -> Any:
        try:
            return on_message(orjson.loads(record.body), _remaining(context))
        except Exception:
            # With its number of receives: the queue's redrive policy sets a message aside that can never be handled.
            received = record.attributes.approximate_receive_count
            logger.exception("message failed", extra={"message_id": record.message_id, "receives": received})
            raise

    # Not raising where all fail: a batch may well be one message, and a raise would hide which it was.
    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    answer = process_partial_response(event=event, record_handler=handle, processor=processor, context=context)
    return dict(answer)


def _direct(event: dict[str, Any], actions: Mapping[str, Callable[[dict[str, Any]], Any]]) -> Any:
    action = actions.get(str(event["action"]))
    if action is None:
        raise BadInput(f"action: one of {', '.join(sorted(actions))}", field="action")
    try:
        return action(event)
    except AdTailorError as error:
        if event.get("asynchronous") is True and (error.status >= 500 or error.retryable):
            raise
        return {"error": error.problem()}
    except KeyError as error:
        return {"error": BadInput("is missing from the call", field=str(error.args[0])).problem()}
    except ValidationError as error:
        first = error.errors()[0]
        return {"error": BadInput(first["msg"], field=".".join(map(str, first["loc"]))).problem()}


def _request(event: dict[str, Any], context: Any, app: FastAPI) -> dict[str, Any]:
    from mangum import Mangum

    from shared.stores.faults import patience

    with patience(min(_remaining(context)(), LONGEST_REQUEST) - ANSWER_SECONDS):
        answer: dict[str, Any] = Mangum(app, lifespan="off", text_mime_types=_TEXT)(event, context)
    metrics.add_metric("Requests", MetricUnit.Count, 1)
    if answer["statusCode"] >= 500:
        metrics.add_metric("Faults", MetricUnit.Count, 1)
    return answer


_TEXT = ["text/", "application/json", "application/problem+json"]  # what travels through API Gateway unencoded
