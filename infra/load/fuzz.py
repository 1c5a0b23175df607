"""Fuzzes every route of the published contract over HTTP: ``python -m infra.load.fuzz`` (``make fuzz``).

Schemathesis makes the requests from ``infra/openapi.json``, right ones and wrong ones: first its boundary cases, then
random ones until the number is reached. Every answer is held against the contract (status, content type, body, header),
right data must be taken and wrong data refused. Nothing is shrunk: the shortest request that showed a failure is kept.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import hypothesis
import requests
import schemathesis
import typer
from hypothesis.errors import NonInteractiveExampleWarning, Unsatisfiable
from rich.console import Console
from rich.table import Column, Table
from schemathesis.core.failures import FailureGroup

from infra.load.place import started, wide_console
from infra.openapi import CONTRACT, operations

EVENT = {
    "user_id": "fuzz-ann",
    "event": "cart",
    "timestamp": "2026-11-20T10:00:00Z",
    "event_id": "1",
    "text": "a phone",
}
AD = {
    "ad_id": "fuzz-p1",
    "title": "A phone for the road",
    "landing_url": "https://example.com/p1",
    "language": "en",
    "domain": "ecommerce",
}
UPLOAD = "fuzz.csv"
OTHER_METHODS = "other methods"
_TIMEOUT = 30.0  # seconds; a request that hangs is a failure

# Right by the schema, and still refused: rules that a JSON Schema cannot say.
_BEYOND_THE_SCHEMA = re.compile(
    r"control or invisible character|holds nothing to read|not a possible time|before the year 2000|a question mark|"
    r"not a date of the calendar|give ad_id, ad or filter|give user_id or segment|a filter goes with|"
    r"segments go with a filter|is missing|the text is empty|segment|adapter|holds an entry without a name|"
    r"must be |characters: at most|longer than|out of range|The limit is|the limit is|unknown; use|not supported; use|"
    r"came before with another body|TC string|lies in the future|"
    r"a name (?:has|begins|ends)|is the name of a taxonomy|upload to labels"
)
# The path of a job may also be "reviews", whose own route takes POST alone.
_SHADOWED = ("/v1/copy/reviews", "unsupported_method")


@dataclass
class Failure:
    """A broken promise of the contract, with the shortest request that showed it, as a curl line."""

    route: str
    kind: str
    detail: str
    request: str
    times: int = 1


@dataclass
class Outcome:
    """What came of a run: `counts` by route and status, and every kind of failure once."""

    counts: Counter[tuple[str, int]] = field(default_factory=Counter)
    failures: dict[tuple[str, str, int], Failure] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        return self.counts.total()

    @property
    def server_errors(self) -> int:
        return sum(count for (_, status), count in self.counts.items() if status >= 500 or status == 0)

    def note(self, route: str, kind: str, status: int, detail: str, request: str) -> None:
        known = self.failures.get((route, kind, status))
        if known is None:
            self.failures[route, kind, status] = Failure(route, kind, detail, request)
            return
        known.times += 1
        if len(request) < len(known.request):
            known.detail, known.request = detail, request


def fuzz(url: str, *, total: int, seed: int = 1, progress: Callable[[int], None] = lambda done: None) -> Outcome:
    """Sends at least `total` requests to the API at `url`, the same ones for the same `seed` and contract."""
    schema = schemathesis.openapi.from_dict(json.loads(CONTRACT.read_text(encoding="utf-8")))
    found = [schema.find_operation_by_label(route) for route, _ in operations(schema.raw_schema)]
    outcome = Outcome()
    with requests.Session() as session, _quiet():
        session.trust_env = False
        deepen = _Deepen(prepare(url, session))

        def send(case: Any) -> None:
            deepen(case)
            _send(case, session, url, outcome)
            progress(outcome.requests)

        share = total // len(found)
        for operation in found:
            for case in islice(_boundaries(schema, operation), share // 2):
                send(case)
        for place, operation in enumerate(found):
            left = (total - outcome.requests) // (len(found) - place)
            for strategy, examples in _strategies(operation, left):
                _draw(strategy, examples, seed, send)
        for operation in found:  # where a strategy had fewer different cases than asked for
            if outcome.requests >= total:
                break
            _draw(_strategies(operation, 1)[0][0], total - outcome.requests, seed + 1, send)
    return outcome


def prepare(url: str, session: requests.Session) -> str:
    """Somebody and something to find: a person with an event, an ad, and a decision that shows it. Returns its id."""

    def call(method: str, path: str, body: Any) -> Any:
        answer = session.request(method, url + path, json=body, timeout=_TIMEOUT)
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        return answer.json()

    call("POST", "/v1/events", {"events": [EVENT]})
    call("PUT", "/v1/ads", {"ads": [AD]})
    deadline = time.monotonic() + _TIMEOUT
    while not (decision := call("POST", "/v1/recommendations", {"user_id": EVENT["user_id"]})):  # 404: no snapshot yet
        if time.monotonic() > deadline:
            raise TimeoutError("the ad could not be shown: is the worker running?")
        time.sleep(0.2)
    return str(decision["decision_id"])


class _Deepen:
    """Makes every second right request reach what lies behind the first look-up: it names what exists.

    An event and an ad may be anything by the contract, since each is judged by itself: here it is a good one with one
    field replaced by what was generated.
    """

    def __init__(self, decision_id: str) -> None:
        self._decision_id = decision_id
        self._count = 0

    def __call__(self, case: Any) -> None:
        right = case.meta is not None and case.meta.generation.mode == schemathesis.GenerationMode.POSITIVE
        if not right or not isinstance(case.body, dict):
            return
        self._count += 1
        if self._count % 2:
            return
        # A key that came before hides whatever is behind it.
        case.headers = {name: value for name, value in case.headers.items() if name.lower() != "idempotency-key"}
        change = getattr(self, f"_{case.operation.path.removeprefix('/v1/').replace('/', '_')}", None)
        if change is not None:
            case.body = change(dict(case.body))

    def _one_field(self, good: dict[str, Any], names: tuple[str, ...], values: Any) -> list[dict[str, Any]]:
        kept = values if isinstance(values, list) else []
        return [good | {names[(self._count + place) % len(names)]: value} for place, value in enumerate(kept)]

    def _events(self, body: dict[str, Any]) -> dict[str, Any]:
        names = (*EVENT, "item_id", "platform", "domain", "tags", "value")
        return body | {"events": self._one_field(EVENT, names, body["events"])}

    def _ads(self, body: dict[str, Any]) -> dict[str, Any]:
        names = (*AD, "description", "brand", "attributes", "image_url", "bid_cpm", "daily_budget", "frequency_cap")
        return body | {"ads": self._one_field(AD, (*names, "start", "end", "targeting", "campaign_id"), body["ads"])}

    def _uploads(self, body: dict[str, Any]) -> dict[str, Any]:
        return body | {"name": UPLOAD}

    def _feedback(self, body: dict[str, Any]) -> dict[str, Any]:
        known = {"decision_id": self._decision_id, "ad_id": AD["ad_id"]}
        return body | {"feedback": [one | known if isinstance(one, dict) else one for one in body["feedback"]]}

    def _copy_reviews(self, body: dict[str, Any]) -> dict[str, Any]:
        known = {"ad_id": AD["ad_id"]}
        return body | {"reviews": [one | known if isinstance(one, dict) else one for one in body["reviews"]]}

    def _copy(self, body: dict[str, Any]) -> dict[str, Any]:
        ways = ("ad_id", "ad", "filter")
        way = ways[self._count // 2 % 3]
        kept = {name: value for name, value in body.items() if name not in (*ways, "segment", "segments", "adapter")}
        if way == "ad_id":
            return kept | {"ad_id": AD["ad_id"]}
        if way == "ad":
            name, value = next(iter((body.get("ad") or {}).items()), ("brand", None))
            return kept | {"ad": {"title": AD["title"], name: value}}
        return {name: value for name, value in kept.items() if name != "user_id"} | {"filter": body.get("filter") or {}}


def _boundaries(schema: Any, operation: Any) -> Iterator[Any]:
    """Schemathesis's coverage cases: each limit of each field, missing and unknown fields, other methods."""
    modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
    config = schema.config.generation_for(operation=operation)
    return iter(schema.iter_coverage_cases(operation, generation_modes=modes, generation_config=config))


def _strategies(operation: Any, total: int) -> list[tuple[Any, int]]:
    """Half of the cases are right, half are wrong; of the right ones half name what exists, where the path names it."""
    right, wrong = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
    known = {
        name: value
        for name, value in (("user_id", EVENT["user_id"]), ("ad_id", AD["ad_id"]))
        if f"{{{name}}}" in operation.path
    }
    if "/uploads/" in operation.path:
        known = {"kind": "events", "name": UPLOAD}
    half = max(1, total // 2)
    if not known:
        return [(operation.as_strategy(right), half), (operation.as_strategy(wrong), half)]
    quarter = max(1, half // 2)
    return [
        (operation.as_strategy(right), quarter),
        (operation.as_strategy(right, path_parameters=known), quarter),
        (operation.as_strategy(wrong), half),
    ]


def _draw(strategy: Any, examples: int, seed: int, send: Callable[[Any], None]) -> None:
    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=strategy)
    def run(case: Any) -> None:
        send(case)

    try:
        run()
    except Unsatisfiable:  # nothing of the operation can be wrong
        return


def _send(case: Any, session: requests.Session, url: str, outcome: Outcome) -> None:
    usual = case.method.upper() == case.operation.method.upper()
    route = f"{case.method} {case.operation.path}" if usual else OTHER_METHODS
    try:
        response = case.call(base_url=url, session=session, timeout=_TIMEOUT)
    except requests.RequestException as error:
        outcome.counts[route, 0] += 1
        outcome.note(route, "no answer", 0, repr(error)[:300], _curl(case))
        return
    outcome.counts[route, response.status_code] += 1
    try:
        case.validate_response(response, headers=None, transport_kwargs={"session": session})
    except FailureGroup as group:
        for failure in group.exceptions:
            if not _expected(case, response, failure):
                detail = f"{failure.message} {response.text}"[:600]
                outcome.note(route, failure.title, response.status_code, detail, _curl(case))


def _expected(case: Any, response: Any, failure: Any) -> bool:
    path, check = _SHADOWED
    if case.operation.path == path and check in failure.checks:
        return True
    refused = "positive_data_acceptance" in failure.checks and response.status_code in (400, 413, 422)
    return refused and bool(_BEYOND_THE_SCHEMA.search(response.text))


def _curl(case: Any) -> str:
    return str(case.as_curl_command())


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NonInteractiveExampleWarning)
        warnings.filterwarnings("ignore", message=".*not valid syntax for a Python regular expression.*")
        yield


def show(outcome: Outcome, console: Console) -> None:
    """The counts by route and status, and the failures."""
    statuses = sorted({status for _, status in outcome.counts})
    table = Table(Column("route", no_wrap=True), *(str(status) if status else "none" for status in statuses), "all")
    for route in sorted({route for route, _ in outcome.counts}):
        row = [outcome.counts[route, status] for status in statuses]
        table.add_row(route, *(f"{count:,}" if count else "" for count in row), f"{sum(row):,}")
    whole = [sum(count for (_, one), count in outcome.counts.items() if one == status) for status in statuses]
    table.add_row("all", *(f"{count:,}" for count in whole), f"{outcome.requests:,}", style="bold")
    console.print(table)
    for failure in sorted(outcome.failures.values(), key=lambda one: one.route):
        console.print(f"[red]✗[/] {failure.route}: {failure.kind} ({failure.times:,} times)", markup=True)
        console.print(f"  {failure.detail}\n  {failure.request}", markup=False, soft_wrap=True)


def main(
    requests_: Annotated[int, typer.Option("--requests", help="How many requests at least.")] = 10_000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same requests.")] = 1,
) -> None:
    """Fuzzes every route of the published contract; fails on any 5xx and any broken promise."""
    console = wide_console()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, started(Path(folder)) as place, console.status("") as status:
        outcome = fuzz(
            place.url,
            total=requests_,
            seed=seed,
            progress=lambda done: status.update(f"{done:,} of {requests_:,} requests"),
        )
    show(outcome, console)
    console.print(
        f"{outcome.requests:,} requests in {time.monotonic() - begun:.0f} s (seed {seed}): "
        f"{outcome.server_errors} answered 5xx or not at all, {len(outcome.failures)} kinds of failure"
    )
    sys.exit(1 if outcome.failures or outcome.server_errors else 0)


if __name__ == "__main__":
    typer.run(main)
