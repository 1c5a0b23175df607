"""Quotas: what one tenant has used up, others have not, and what it costs to know."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from functions.classify import handler as classify
from shared import quotas as module
from shared.errors import NotFound, Unavailable
from shared.quotas import DAY, LARGEST_LEASE, MINUTE, QuotaExceeded, Quotas
from shared.snapshot import FAIR_BYTES, HELD_BYTES, HELD_TENANTS, Snapshots, _Held
from shared.stores import Stores
from shared.stores.quotas import Taken
from shared.tenants import Limits, Tenants
from shared.trained import surplus
from shared.wiring import System
from tests.fakes.system import Clock

pytestmark = pytest.mark.slow


class Counted:
    """The counters, and how often they were asked."""

    def __init__(self, taken: Taken) -> None:
        self._taken = taken
        self.calls = 0
        self.down = False

    def take(self, *args: Any, **options: Any) -> int | None:
        self.calls += 1
        if self.down:
            raise Unavailable("the table is down")
        return self._taken.take(*args, **options)

    def take_piece(self, *args: Any, **options: Any) -> tuple[int, int]:
        self.calls += 1
        return self._taken.take_piece(*args, **options)

    def hand_back(self, *args: Any, **options: Any) -> None:
        self.calls += 1
        if self.down:
            raise Unavailable("the table is down")
        self._taken.hand_back(*args, **options)


@pytest.fixture
def counted(stores: Stores) -> Counted:
    return Counted(Taken(stores.table))


def made(counted: Counted, clock: Clock | None = None, **limits: int) -> Quotas:
    """Quotas of one process: tenant a has these limits, nobody else has any."""
    terms = {"a": Limits(**limits)}
    return Quotas(lambda: counted, lambda tenant: terms.get(tenant, Limits()), clock=clock or Clock())  # type: ignore[arg-type, return-value]


def admitted(take: Any, times: int) -> int:
    n = 0
    for _ in range(times):
        try:
            take()
        except QuotaExceeded:
            continue
        n += 1
    return n


def test_a_flood_is_cut_at_the_limit_and_begins_anew_with_the_minute(counted: Counted) -> None:
    clock = Clock()
    quotas = made(counted, clock, requests_per_minute=100)
    assert admitted(lambda: quotas.request("a"), 500) == 100
    with pytest.raises(QuotaExceeded) as caught:
        quotas.request("a")
    assert 1 <= (caught.value.retry_after or 0) <= MINUTE
    assert (
        caught.value.problem() | {"limit": "requests_per_minute", "allowed": 100, "status": 429}
        == caught.value.problem()
    )
    clock.now += caught.value.retry_after or 0
    assert admitted(lambda: quotas.request("a"), 500) == 100


def test_a_flood_costs_no_writes_and_others_none_at_all(counted: Counted) -> None:
    quotas = made(counted, requests_per_minute=1000)
    admitted(lambda: quotas.request("a"), 100)
    assert counted.calls <= 7
    admitted(lambda: quotas.request("a"), 2000)
    used_up = counted.calls
    assert used_up <= module.LEASES + 8
    assert admitted(lambda: quotas.request("a"), 1000) == 0 and admitted(lambda: quotas.request("b"), 1000) == 1000
    assert counted.calls == used_up


def test_processes_share_a_limit(counted: Counted) -> None:
    processes = [made(counted, requests_per_minute=200) for _ in range(4)]
    turns = [quotas for _ in range(300) for quotas in processes]
    n = sum(admitted(lambda quotas=quotas: quotas.request("a"), 1) for quotas in turns)
    assert 200 - 4 * 200 / module.LEASES <= n <= 200


def test_idle_processes_do_not_use_up_a_limit(counted: Counted) -> None:
    processes = [made(counted, requests_per_minute=20) for _ in range(20)]
    assert sum(admitted(lambda quotas=quotas: quotas.request("a"), 1) for quotas in processes) == 20
    clock = Clock(Clock().now + MINUTE)
    busy = [made(counted, clock, requests_per_minute=300) for _ in range(20)]
    assert sum(admitted(lambda quotas=quotas: quotas.request("a"), 12) for quotas in busy) == 240


def test_a_limit_of_nothing_admits_nothing(counted: Counted) -> None:
    quotas = made(counted, requests_per_minute=0, events_per_day=0, copies_per_day=0)
    assert admitted(lambda: quotas.request("a"), 3) == admitted(lambda: quotas.copies("a", 1), 3) == 0
    assert admitted(lambda: quotas.events("a", 5), 3) == 0 and admitted(lambda: quotas.events("a", 0), 1) == 1
    assert quotas.uploaded_events("a", 5, "r/0").rows == 0


def test_days_count_rows_and_texts(counted: Counted) -> None:
    clock = Clock()
    quotas = made(counted, clock, events_per_day=1000, copies_per_day=10, trainings_per_day=2)
    assert admitted(lambda: quotas.trainings("a"), 5) == 2 and admitted(lambda: quotas.trainings("b"), 5) == 5
    assert admitted(lambda: quotas.events("a", 300), 5) == 3
    assert admitted(lambda: quotas.events("a", 100), 2) == 1  # what is left is for smaller ones
    assert admitted(lambda: quotas.copies("a", 3), 5) == 3
    clock.now += DAY
    assert admitted(lambda: quotas.events("a", 300), 5) == 3


def test_a_piece_of_an_upload_counts_once_however_often_it_comes(counted: Counted) -> None:
    clock = Clock()
    quotas = made(counted, clock, events_per_day=1000)
    assert [quotas.uploaded_events("a", 900, "x").rows for _ in range(3)] == [900] * 3
    assert [quotas.uploaded_events("a", 101, "y").rows for _ in range(2)] == [100] * 2  # what there is room for
    assert admitted(lambda: quotas.events("a", 1), 1) == 0
    assert quotas.uploaded_events("a", 900, "x").rows == 900 and quotas.uploaded_events("b", 5000, "x").rows == 5000
    clock.now += DAY
    assert quotas.uploaded_events("a", 900, "x").rows == 900 and quotas.uploaded_events("a", 101, "y").rows == 101
    assert admitted(lambda: quotas.events("a", 999), 1) == 1 and admitted(lambda: quotas.events("a", 1), 1) == 0


def test_what_came_to_nothing_is_handed_back(counted: Counted) -> None:
    quotas = made(counted, events_per_day=1000, copies_per_day=10, trainings_per_day=1)
    for error, left in ((Unavailable("down"), 1000), (ValueError(), 1000), (NotFound("no such ad"), 0)):
        with pytest.raises(type(error)), quotas.events("a", 1000):
            raise error
        held = None
        with contextlib.suppress(QuotaExceeded):
            held = made(counted, events_per_day=1000).events("a", 1000)  # another process has it
        assert (held is not None) == bool(left)
        if held is not None:
            held.hand_back()
    held = quotas.copies("a", 10)
    held.hand_back(4)
    assert admitted(lambda: quotas.copies("a", 2), 5) == 2
    (piece,) = [made(counted, events_per_day=500).uploaded_events("a", 400, "z")]
    assert piece.rows == 0  # the others took 1,000 that day
    fresh = made(counted, Clock(Clock().now + DAY), events_per_day=500)
    fresh.uploaded_events("a", 400, "z").settle(100)  # of these rows 300 were there already
    assert fresh.uploaded_events("a", 500, "new").rows == 400
    fresh.uploaded_events("a", 400, "z").settle(0)  # free this time: nothing to hand back
    assert fresh.uploaded_events("a", 10, "more").rows == 0


def test_what_is_handed_back_while_the_table_is_down_stays_with_the_process(counted: Counted) -> None:
    clock = Clock()
    quotas, other = (made(counted, clock, events_per_day=100) for _ in range(2))
    held = quotas.events("a", 100)
    assert admitted(lambda: other.events("a", 1), 1) == 0
    counted.down = True
    held.hand_back()
    counted.down = False
    quotas.events("a", 60).hand_back()
    assert admitted(lambda: other.events("a", 1), 1) == 0  # it asks again a minute later
    clock.now += MINUTE
    assert admitted(lambda: other.events("a", 20), 5) == 3 and admitted(lambda: quotas.events("a", 40), 2) == 1


def test_a_page_of_work_counts_once(counted: Counted) -> None:
    quotas = made(counted, copies_per_day=10)
    assert admitted(lambda: quotas.copies_of("a", 6, "job/0"), 5) == 5
    assert admitted(lambda: quotas.copies_of("a", 5, "job/90"), 1) == 0  # all of it or nothing
    assert admitted(lambda: quotas.copies("a", 4), 2) == 1


def test_counters_that_cannot_be_reached_refuse_nobody(counted: Counted) -> None:
    counted.down = True
    quotas = made(counted, requests_per_minute=1)
    assert admitted(lambda: quotas.request("a"), 3) == 3
    counted.down = False
    assert admitted(lambda: quotas.request("a"), 3) == 1


def test_rows_of_the_counters_expire(counted: Counted, stores: Stores) -> None:
    clock = Clock()
    quotas = made(counted, clock, requests_per_minute=10, events_per_day=10)
    quotas.request("a")
    quotas.uploaded_events("a", 5, "run/0")
    rows = list(stores.table.query("t/a/quota"))
    assert len(rows) == 3
    assert all(clock.now < row["expires_at"] < clock.now + 40 * DAY for row in rows)


def test_a_lease_is_bounded(counted: Counted) -> None:
    quotas = made(counted, requests_per_minute=10**6)
    sizes = []
    for _ in range(3 * LARGEST_LEASE):
        quotas.request("a")
        sizes += [lease.size for lease in quotas._leases.values()]
    assert sizes[0] == 1 and max(sizes) == LARGEST_LEASE and counted.calls <= 13


# Through the API -----------------------------------------------------------------------------------------------------


def ask(tenant: str, path: str = "/v1/ads/none", method: str = "GET") -> tuple[int, dict[str, Any], Any]:
    event = {
        "version": "2.0",
        "routeKey": f"{method} {path}",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {},
        "requestContext": {
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7"},
            "stage": "$default",
            "authorizer": {"jwt": {"claims": {"tenant": tenant}}} if tenant else {},
        },
        "isBase64Encoded": False,
    }
    answer = classify.lambda_handler(event, None)
    return answer["statusCode"], json.loads(answer["body"]), answer["headers"]


def test_one_tenants_flood_takes_nothing_from_another_in_the_same_process(
    built: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms = json.dumps(
        {"acme": {"limits": {"requests_per_minute": 30}}, "globex": {"limits": {"requests_per_minute": 30}}}
    )
    monkeypatch.setattr(built, "settings", replace(built.settings, stage="prod"))
    built.__dict__["tenants"] = Tenants.parse(terms, basis="required")
    monkeypatch.setattr(built, "clock", Clock())
    acme, globex = [], []
    for n in range(60):
        acme.append(ask("acme"))
        if n % 5 == 0:
            globex.append(ask("globex"))
    assert {status for status, _, _ in globex} == {404} and len(globex) == 12
    assert [status for status, _, _ in acme].count(404) == 30
    status, body, headers = acme[-1]
    assert status == 429 and headers["content-type"] == "application/problem+json"
    assert int(headers["retry-after"]) <= 60 and body["limit"] == "requests_per_minute" and body["allowed"] == 30
    assert "30" in body["detail"] and "globex" not in json.dumps(body)
    assert ask("", method="GET")[0] == 401  # whoever is nobody's tenant is told that, and counts for nobody


# Memory --------------------------------------------------------------------------------------------------------------


def test_a_large_catalogue_pushes_out_no_fair_one(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshots = Snapshots(SimpleNamespace(), project=lambda vectors: vectors, clock=Clock())  # type: ignore[arg-type]
    monkeypatch.setattr(_Held, "size", property(lambda held: held.snapshot), raising=False)

    def hold(tenant: str, size: float) -> None:
        snapshots._hold(tenant, _Held(int(size), 1, 0.0, 0.0))  # type: ignore[arg-type]

    for n in range(4):
        hold(f"small-{n}", FAIR_BYTES * 0.9)
    hold("large", HELD_BYTES * 0.7)
    hold("larger", HELD_BYTES * 0.9)
    assert list(snapshots._held) == ["small-0", "small-1", "small-2", "small-3", "larger"]
    hold("middling", FAIR_BYTES * 2)
    assert "larger" not in snapshots._held and "middling" in snapshots._held
    for n in range(HELD_TENANTS + 2):
        hold(f"new-{n}", 1)
    assert len(snapshots._held) == HELD_TENANTS


def test_a_tenant_with_many_heads_gives_up_its_own() -> None:
    held = [("b", "only", "1"), *(("a", f"h{n}", "1") for n in range(5))]
    assert surplus(held, 4) == [("a", "h0", "1"), ("a", "h1", "1")]
    assert surplus([("a", "x"), ("b", "y"), ("c", "z")], 2) == [("a", "x")]
    assert surplus(held, 6) == []
