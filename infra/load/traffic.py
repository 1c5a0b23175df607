"""A bounded load of mixed requests on the local system: ``python -m infra.load.traffic`` (``make load``).

Locust sends for a fixed time with a fixed number of callers (`infra.load.locustfile`). Then every event and every count
that the API said it took is looked for in the table: an error or a difference makes the command fail. Times are those
of one machine that runs callers, API and AWS services together; they find what is slow, not what AWS would answer.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import httpx2
import typer
from rich.console import Console
from rich.table import Column, Table

from infra.load.place import Place, started, wide_console
from infra.local.stack import ROOT, TENANT
from shared.stores.delivery import Delivery
from shared.stores.people import person_key

LOCUST = ROOT / ".tools" / "locust" / "bin" / "locust"
_ADS = (
    ("a phone for the road", "en", "6.7 inch screen, 256 GB"),
    ("云栖保温杯", "zh", "500ml 不锈钢真空保温杯"),
    ("a quiet keyboard", "en", "87 keys, USB-C"),
    ("现磨咖啡豆", "zh", "深度烘焙，250克"),
)
_GRACE = 15  # seconds in which a request that is under way may end, so that everything sent has an answer
_BARS = " ▁▂▃▄▅▆▇█"
_EDGES = (5, 10, 20, 50, 100, 200, 500, 1000, 2000)  # milliseconds; the last bar is what is beyond


class LocustMissing(Exception):
    """Locust is not installed; `make load` and `make tools` install it."""


@dataclass(frozen=True, slots=True)
class Route:
    """One route's requests. `times`: milliseconds (two digits exact) and how many requests took them, rising."""

    name: str
    requests: int
    failures: int
    times: tuple[tuple[float, int], ...]
    longest: float

    def percentile(self, share: float) -> float:
        """The time in milliseconds within which `share` of the requests were answered."""
        left = share * sum(count for _, count in self.times)
        for spent, count in self.times:
            left -= count
            if left <= 0:
                return spent
        return self.longest

    def bars(self) -> str:
        """The histogram over `_EDGES`, a character a class."""
        counts = [0] * (len(_EDGES) + 1)
        for spent, count in self.times:
            counts[sum(spent > edge for edge in _EDGES)] += count
        most = max(counts) or 1
        return "".join(_BARS[-(-count * (len(_BARS) - 1) // most)] for count in counts)


@dataclass
class Report:
    """What a load came to. `differences`: where the table does not hold what was accepted."""

    routes: list[Route]
    errors: list[str]
    events: int
    feedback: int
    seconds: float
    differences: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        return sum(route.requests for route in self.routes)

    @property
    def sound(self) -> bool:
        return bool(self.requests) and not self.errors and not self.differences


def load(place: Place, *, users: int, seconds: int) -> Report:
    """Puts load on `place` and compares what was accepted with its table.

    Raises:
        LocustMissing: it is not installed.
    """
    if not LOCUST.exists():
        raise LocustMissing("locust is not installed: run `make tools`")
    run = secrets.token_hex(4)
    ads = _seed(place, run)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.json"
        done = subprocess.run(
            [
                str(LOCUST),
                "-f",
                str(Path(__file__).with_name("locustfile.py")),
                "--headless",
                *("--host", place.url, "--users", str(users), "--spawn-rate", str(users)),
                *("--run-time", f"{seconds}s", "--stop-timeout", str(_GRACE)),
                *("--only-summary", "--loglevel", "ERROR", "--exit-code-on-error", "0"),
            ],
            env=os.environ
            | {"LOAD_RUN": run, "LOAD_ADS": json.dumps(ads), "LOAD_REPORT": str(file), "NO_PROXY": "127.0.0.1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds + _GRACE + 60,
        )
        if not file.exists():
            raise RuntimeError(f"locust ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        document = json.loads(file.read_text(encoding="utf-8"))
    report = Report(
        routes=[_route(entry) for entry in document["routes"]],
        errors=document["errors"] + document["wrong"],
        events=sum(map(len, document["taken"].values())),
        feedback=sum(count for kinds in document["counted"].values() for count in kinds.values()),
        seconds=time.monotonic() - begun,
    )
    report.differences = _differences(place, ads, document)
    return report


def _seed(place: Place, run: str) -> list[str]:
    """Ads of this run's own, so that their counters start at nothing. Returns when they can be shown."""
    ads = [
        {
            "ad_id": f"load-{run}-{number}",
            "title": title,
            "description": description,
            "landing_url": "https://example.com/",
            "language": language,
            "domain": "ecommerce",
            "bid_cpm": 1000,  # ahead of whatever else the catalogue holds
        }
        for number, (title, language, description) in enumerate(_ADS)
    ]
    ids = [str(ad["ad_id"]) for ad in ads]
    with httpx2.Client(base_url=place.url, timeout=30, trust_env=False) as http:
        http.put("/v1/ads", json={"ads": ads}).raise_for_status()
        deadline = time.monotonic() + 60
        while True:
            answer = http.post("/v1/recommendations", json={"user_id": f"load-{run}", "n": 50})
            if answer.status_code == 200 and set(ids) & {ad["ad_id"] for ad in answer.json()["ads"]}:
                return ids
            if time.monotonic() > deadline:
                raise TimeoutError("the ads could not be shown: is the worker running?")
            time.sleep(0.2)


def _route(entry: dict[str, Any]) -> Route:
    times = sorted((float(spent), int(count)) for spent, count in entry["milliseconds"].items())
    return Route(entry["route"], entry["requests"], entry["failures"], tuple(times), float(entry["longest"]))


def _differences(place: Place, ads: list[str], document: dict[str, Any]) -> list[str]:
    table, people = place.table(), place.people()
    delivery = Delivery(table)
    learnt: dict[str, set[str]] = defaultdict(set)  # by uid, for those that their decision knew
    for decision_id, ad_id, kind in document["learnt"]:
        decision = delivery.get_decision(TENANT, decision_id)
        if decision is not None and decision.uid is not None:
            learnt[decision.uid].add(f"fb:{decision_id}:{ad_id}:{kind}")
    found: list[str] = []
    with httpx2.Client(base_url=place.url, timeout=60, trust_env=False) as http:
        for person, event_ids in sorted(document["taken"].items()):
            uid = people.uid(TENANT, person)
            sent = set(event_ids) | learnt.pop(uid or "", set())
            rows = list(table.query(person_key(TENANT, uid), prefix="e/")) if uid else []
            kept = {row["sk"].removeprefix("e/") for row in rows}
            found += [f"{person}: event {event_id} is lost" for event_id in sorted(sent - kept)]
            found += [f"{person}: event {event_id} was never sent" for event_id in sorted(kept - sent)]
            if sorted(row["seq"] for row in rows) != list(range(1, len(rows) + 1)):
                found.append(f"{person}: the events are not numbered 1 to {len(rows)}")
            answer = http.get(f"/v1/users/{person}/profile")
            shown = answer.json().get("events") if answer.status_code == 200 else answer.status_code
            if shown != len(sent):
                found.append(f"{person}: the profile tells of {shown} events, {len(sent)} were accepted")
    found += [f"feedback was learnt for somebody without events: {', '.join(ids)}" for ids in learnt.values()]
    names = {"impression": "impressions", "click": "clicks", "conversion": "conversions", "dismiss": "dismissals"}
    stats = delivery.stats(TENANT)
    for ad_id in ads:
        for kind, name in names.items():
            counted, kept_count = document["counted"].get(ad_id, {}).get(kind, 0), stats.get(ad_id, {}).get(name, 0)
            if counted != kept_count:
                found.append(f"{ad_id}: {kept_count} {name} in the table, {counted} were counted")
    return found


def show(report: Report, console: Console) -> None:
    """Latency by route with its histogram, errors and differences."""
    edges = "  ".join(f"{edge:,}" for edge in _EDGES)
    numbers = [Column(name, justify="right") for name in ("requests", "errors", "p50", "p90", "p99", "max")]
    table = Table(
        Column("route", no_wrap=True),
        *numbers,
        Column("histogram", no_wrap=True),
        caption=f"ms; bars end at {edges}, ∞",
    )
    for route in sorted(report.routes, key=lambda one: -one.requests):
        percentiles = [f"{route.percentile(share):,.0f}" for share in (0.5, 0.9, 0.99)]
        table.add_row(
            route.name,
            f"{route.requests:,}",
            f"{route.failures:,}",
            *percentiles,
            f"{route.longest:,.0f}",
            route.bars(),
        )
    console.print(table)
    for line in [*report.errors, *report.differences][:50]:
        console.print(f"✗ {line}", markup=False, soft_wrap=True)
    console.print(
        f"{report.requests:,} requests in {report.seconds:.0f} s ({report.requests / report.seconds:,.0f}/s), "
        f"{sum(route.failures for route in report.routes):,} errors; {report.events:,} events and {report.feedback:,} "
        f"pieces of feedback were accepted, and the table differs in {len(report.differences):,} places"
    )


def main(
    users: Annotated[int, typer.Option(help="How many callers at once.")] = 20,
    seconds: Annotated[int, typer.Option(help="For how long.")] = 30,
) -> None:
    """Puts a mixed load on a local system of its own; fails on any error and on anything lost or counted twice."""
    console = wide_console()
    with tempfile.TemporaryDirectory() as folder, started(Path(folder)) as place:
        try:
            report = load(place, users=users, seconds=seconds)
        except LocustMissing as error:
            console.print(str(error))
            sys.exit(1)
    show(report, console)
    sys.exit(0 if report.sound else 1)


if __name__ == "__main__":
    typer.run(main)
