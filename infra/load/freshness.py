"""How soon an event is in the next recommendation: ``python -m infra.load.freshness``.

Each round a person whose history is about one thing does something about another and asks for ads at once, over HTTP.
The delay is from sending the event to having an answer in which it shows: an ad whose reason is an interest that has
the event as evidence. Where an answer does not show it, the person asks again, so a delay is never left out. Beside it,
in the same run, the same request without an event before it: what is between the two is what being fresh costs.
"""

from __future__ import annotations

import secrets
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx2
import typer
from rich.table import Table

from infra.load.place import started, wide_console

# What a person did before, and what they do now, as (text, domain): ads about both are in the sample catalogue.
BEFORE = (("5G 智能手机 8+256GB 全网通", "ecommerce"), ("大屏手机 5000 毫安时电池 快充", "ecommerce"))
NOW = (
    ("Python 编程入门课程 零基础", "education"),
    ("透气轻便跑步鞋", "ecommerce"),
    ("全价猫粮 鸡肉味", "ecommerce"),
)
PATIENCE = 10.0


class StaleError(Exception):
    """An event was in no recommendation within `PATIENCE`."""


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds: from sending the event to an answer that shows it, and of the same request without an event before it.
    asked: recommendations until one showed it; 1 is what is wanted."""

    delay: float
    plain: float
    asked: int


def _event(user: str, text: str, domain: str, kind: str, number: int) -> dict[str, Any]:
    return {
        "user_id": user,
        "event": kind,
        "text": text,
        "domain": domain,
        "timestamp": time.time(),
        "event_id": f"{user}-{number}",
        "item_id": f"{user}-item-{number}",
    }


def _ask(http: httpx2.Client, user: str) -> list[dict[str, Any]]:
    answer = http.post("/v1/recommendations", json={"user_id": user, "n": 10})
    ads: list[dict[str, Any]] = answer.raise_for_status().json()["ads"]
    return ads


def shows(http: httpx2.Client, user: str, ads: list[dict[str, Any]], event_id: str) -> bool:
    """Whether one of the ads is there because of an interest that has the event as evidence."""
    profile = http.get(f"/v1/users/{user}/profile").raise_for_status().json()
    due = {interest["id"] for interest in profile["interests"] if event_id in interest["evidence"]}
    return any(reason.get("interest_id") in due for ad in ads for reason in ad["reasons"])


def measure(http: httpx2.Client, rounds: int) -> list[Round]:
    """Delays of `rounds` new people.

    Raises:
        StaleError: an event did not show within `PATIENCE` seconds.
    """
    found = []
    for number in range(rounds):
        user = f"fresh-{secrets.token_hex(6)}"
        history = [_event(user, text, domain, "view", place) for place, (text, domain) in enumerate(BEFORE)]
        http.post("/v1/events", json={"events": history}).raise_for_status()
        _ask(http, user)
        began = time.perf_counter()
        _ask(http, user)
        plain = time.perf_counter() - began
        text, domain = NOW[number % len(NOW)]
        event = _event(user, text, domain, "favourite", len(BEFORE))
        began = time.perf_counter()
        http.post("/v1/events", json={"events": [event]}).raise_for_status()
        asked = 0
        while True:
            ads = _ask(http, user)
            asked += 1
            delay = time.perf_counter() - began
            if shows(http, user, ads, event["event_id"]):
                break
            if delay > PATIENCE:
                raise StaleError(f"{text!r} was in no recommendation within {PATIENCE:.0f} s")
        found.append(Round(delay, plain, asked))
    return found


def main(
    rounds: Annotated[int, typer.Option(min=1, max=1000)] = 100,
    url: Annotated[str | None, typer.Option(help="A running system with the sample; else one is started.")] = None,
) -> None:
    """Measures the delay from an event to the recommendation that shows it."""

    def run(url: str) -> list[Round]:
        with httpx2.Client(base_url=url, timeout=30) as http:
            measure(http, 3)
            return measure(http, rounds)

    if url is not None:
        found = run(url)
    else:
        with tempfile.TemporaryDirectory() as folder, started(Path(folder), sample=True) as place:
            found = run(place.url)
    table = Table("milliseconds", "p50", "p95", "longest", title=f"{rounds} events, each followed by a request")
    for name, values in (
        ("event sent to the answer that shows it", [one.delay for one in found]),
        ("the request alone", [one.plain for one in found]),
    ):
        cuts = statistics.quantiles(values, n=20, method="inclusive") if len(values) > 1 else values * 19
        table.add_row(name, *(f"{1000 * value:.0f}" for value in (cuts[9], cuts[18], max(values))))
    console = wide_console()
    console.print(table)
    console.print(f"in the first answer: {sum(one.asked == 1 for one in found)} of {rounds}", highlight=False)


if __name__ == "__main__":
    typer.run(main)
