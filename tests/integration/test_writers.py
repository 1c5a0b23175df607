"""Two hundred writers at one person, over HTTP: what was accepted is there, once, and numbered without a gap."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from infra.local import resources
from shared.stores.people import People, person_key
from shared.stores.table import Table
from tests.integration.conftest import TENANT, LocalSystem

WRITERS = 200
TRIES = 20
TOPICS = {"phone": "智能手机，6.7英寸屏幕", "coffee": "现磨咖啡，深度烘焙咖啡豆"}


@dataclass
class Client:
    """A sender as the contract asks for: it sends again what was put off (409 or 503 with Retry-After)."""

    http: httpx2.Client
    statuses: Counter[int] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, method: str, path: str, body: Any) -> Any:
        for _ in range(TRIES):
            answer = self.http.request(method, path, json=body)
            with self._lock:
                self.statuses[answer.status_code] += 1
            if answer.status_code < 400:
                return answer.json()
            assert answer.status_code in (409, 503), answer.text
            time.sleep(int(answer.headers["Retry-After"]))
        raise AssertionError(f"put off {TRIES} times: {method} {path}")


@pytest.fixture
def client(local_system: LocalSystem) -> Iterator[Client]:
    limits = httpx2.Limits(max_connections=WRITERS, max_keepalive_connections=WRITERS)
    with httpx2.Client(base_url=local_system.url, timeout=120, trust_env=False, limits=limits) as http:
        yield Client(http)


def event(user: str, event_id: str, topic: str = "phone") -> dict[str, Any]:
    item = {"item_id": f"writers-{topic}", "text": TOPICS[topic]}
    return {"user_id": user, "event": "view", "timestamp": 1.78e9, "event_id": event_id} | item


def at_once(work: Callable[[int], Any]) -> list[Any]:
    """Runs `work` for every writer, all of them let go together; their results in order."""
    gate = threading.Barrier(WRITERS)

    def one(writer: int) -> Any:
        gate.wait(60)
        return work(writer)

    with ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(one, range(WRITERS)))


def rows_of(system: LocalSystem, user: str) -> tuple[dict[str, Any], list[int]]:
    """The person's ``meta`` row and the numbers of their events, in order, past the API."""
    table = Table(system.client("dynamodb"), resources.NAME)
    uid = People(table, (system.state / "pseudonym.key").read_bytes()).uid(TENANT, user)
    assert uid is not None
    rows = list(table.query(person_key(TENANT, uid)))
    (meta,) = [row for row in rows if row["sk"] == "meta"]
    return meta, sorted(row["seq"] for row in rows if row["sk"].startswith("e/"))


def interests(profile: dict[str, Any]) -> dict[tuple[str, str], float]:
    return {(one["term"], one["id"]): one["weight"] for one in profile["interests"]}


def test_two_hundred_writers_count_every_event_once(local_system: LocalSystem, client: Client) -> None:
    user = "writers-events"
    for topic in TOPICS:  # known items, so that nobody waits for an embedding
        client.send("POST", "/v1/events", {"events": [event("writers-first", f"first-{topic}", topic)]})

    def write(writer: int) -> tuple[int, int]:
        own = [event(user, f"{writer}-{n}", topic) for n, topic in enumerate(TOPICS)]
        shared = event(user, f"shared-{writer % 10}")
        answers = [
            client.send("POST", "/v1/events", {"events": [*own, shared]}),
            client.send("POST", "/v1/events", {"events": [own[0], shared]}),  # a nervous sender: everything again
        ]
        assert all(not answer["rejected"] for answer in answers)
        return sum(answer["accepted"] for answer in answers), sum(answer["duplicates"] for answer in answers)

    counted = at_once(write)
    events = WRITERS * len(TOPICS) + 10
    print("statuses", dict(client.statuses))
    assert sum(accepted for accepted, _ in counted) == events
    assert sum(duplicates for _, duplicates in counted) == WRITERS * 5 - events
    meta, numbers = rows_of(local_system, user)
    assert numbers == list(range(1, events + 1))
    assert meta["head"] == events
    profile = client.send("GET", f"/v1/users/{user}/profile", None)
    assert profile["events"] == events

    # The same events of one unhurried writer make the same profile.
    alone = "writers-alone"
    rows = [event(alone, f"{writer}-{n}", topic) for writer in range(WRITERS) for n, topic in enumerate(TOPICS)]
    rows += [event(alone, f"shared-{n}") for n in range(10)]
    client.send("POST", "/v1/events", {"events": rows})
    calm = client.send("GET", f"/v1/users/{alone}/profile", None)
    assert interests(profile) == pytest.approx(interests(calm), rel=1e-3)
    assert interests(profile)


def test_edits_and_consent_between_two_hundred_writers_are_all_in_force(
    local_system: LocalSystem, client: Client
) -> None:
    user = "writers-mixed"
    client.send("POST", "/v1/events", {"events": [event(user, "first")]})

    def write(writer: int) -> int:
        accepted = client.send("POST", "/v1/events", {"events": [event(user, str(writer))]})["accepted"]
        if writer % 4 == 1:
            edit = {"disable": [f"adproduct:{writer}", "adproduct:both"], "enable": ["adproduct:both"]}
            client.send("PATCH", f"/v1/users/{user}/interests", edit)
        if writer % 10 == 0:
            said = {"personalisation": True, "source": f"writer {writer}", "at": 1.78e9 + writer}
            client.send("PUT", f"/v1/users/{user}/consent", said)
        return int(accepted)

    assert sum(at_once(write)) == WRITERS
    print("statuses", dict(client.statuses))
    meta, numbers = rows_of(local_system, user)
    assert numbers == list(range(1, WRITERS + 2))
    assert meta["head"] == WRITERS + 1
    assert meta["disabled"] == sorted(f"adproduct:{writer}" for writer in range(1, WRITERS, 4))
    assert meta["changes"] == 1  # what is allowed has changed once, from asserted to given
    assert (
        len(list(Table(local_system.client("dynamodb"), resources.NAME).query(meta["pk"], prefix="c/")))
        == WRITERS // 10
    )
    assert meta["consent"]["source"] == f"writer {(WRITERS - 1) // 10 * 10}"  # the latest, whenever it came
    profile = client.send("GET", f"/v1/users/{user}/profile", None)
    assert profile["events"] == WRITERS + 1
    assert profile["consent"]["source"] == meta["consent"]["source"]
    assert all(one["enabled"] == (one["id"] not in meta["disabled"]) for one in profile["interests"])
