"""Bid requests against the clock: ``python -m infra.load.auctions`` (2,000 of them on a local system of its own).

Each has a `tmax` as exchanges give it and is timed from sending it to having the whole answer, over HTTP, by several
callers at once. What counts is that an answer came in time. A no-bid in time is one, since the exchange has what it
asked for, but it sells nothing: bids and no-bids are told apart, with the share of all requests that got a bid in time.
In the same run the same people ask ``POST /v1/recommendations`` for one ad: what a decision costs here without an
auction around it. Before, everybody asks once, on a row of its own: the first question after an upload folds all of a
person's history, which later ones only add to. The command fails where fewer than 99 % of the answers were in time.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx2
import typer
from rich.table import Table

from infra.load.place import started, wide_console
from infra.local import sample

WANTED = 0.99
SIZES = ((300, 250), (728, 90), (320, 50), (160, 600), (970, 250))
BLOCKED: tuple[dict[str, Any], ...] = (
    {},
    {"bcat": ["IAB25", "IAB7-39", "IAB8-18", "IAB8-5", "IAB9-9"]},
    {"bcat": ["1001", "1002", "1361", "1544"], "cattax": 8},
    {"badv": ["ford.com", "apple.com"], "wlangb": ["en", "zh-Hans"]},
)


@dataclass(frozen=True, slots=True)
class Answer:
    """seconds: until the whole answer was there; late: later than its `tmax`."""

    seconds: float
    late: bool
    status: int


def native(draw: random.Random) -> str:
    """What a native slot asks for: as every page has its own, hardly ever the same twice."""
    first = draw.randrange(1, 1000)
    assets = [
        {"id": first, "required": 1, "title": {"len": draw.randrange(60, 150)}},
        {"id": first + 1, "required": 0, "data": {"type": 2, "len": draw.randrange(90, 250)}},
        {"id": first + 2, "required": 0, "img": {"type": 3, "wmin": 200, "hmin": 100}},
        {"id": first + 3, "required": 0, "data": {"type": draw.choice((1, 6, 11, 12)), "len": draw.randrange(10, 40)}},
    ]
    return json.dumps({"ver": draw.choice(("1.1", "1.2")), "assets": assets[: draw.randrange(1, 5)]})


def request(number: int, draw: random.Random, people: list[str]) -> dict[str, Any]:
    """A bid request: one to three impressions, three banners to one native ad, for somebody known or not."""
    slots: list[dict[str, Any]] = [
        {
            "id": str(place),
            "bidfloor": draw.choice((0, 0.03, 0.5)),
            **(
                {"native": {"request": native(draw), "ver": "1.2"}}
                if draw.random() < 0.25
                else {"banner": dict(zip(("w", "h"), draw.choice(SIZES), strict=True))}
            ),
        }
        for place in range(draw.choice((1, 1, 1, 2, 3)))
    ]
    user = {"id": draw.choice(people)} if draw.random() < 0.5 else {}
    return {
        "id": f"load-{number}",
        "imp": slots,
        "site": {"domain": f"site-{draw.randrange(20)}.example", "content": {"language": draw.choice(("en", "zh"))}},
        "user": user,
        "tmax": draw.choice((100, 120, 150, 200, 250, 300)),
        "at": draw.choice((1, 2)),
    } | draw.choice(BLOCKED)


def ask(client: httpx2.Client, path: str, body: dict[str, Any]) -> Answer:
    begun = time.perf_counter()
    answer = client.post(path, json=body)
    seconds = time.perf_counter() - begun
    return Answer(seconds, seconds * 1000 > body.get("tmax", float("inf")), answer.status_code)


def percentile(answers: list[Answer], share: float) -> float:
    """Milliseconds."""
    times = sorted(one.seconds for one in answers)
    return 1000 * times[min(len(times) - 1, int(share * len(times)))]


def main(
    requests: Annotated[int, typer.Option(help="Bid requests.")] = 2000,
    callers: Annotated[int, typer.Option(help="Callers at once.")] = 2,
    seed: Annotated[int, typer.Option(help="What the requests are drawn by.")] = 1,
) -> None:
    """Sends bid requests to a local system with the sample, and says how many were answered within `tmax`."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, started(Path(folder) / "state", sample=True) as place:
        people = [one["user_id"] for one in sample.people()]
        bodies = [request(number, draw, people) for number in range(requests)]
        plain = [{"user_id": draw.choice(people), "n": 1} for _ in range(max(1, requests // 10))]
        with httpx2.Client(base_url=place.url, timeout=30, trust_env=False) as client:
            first = [ask(client, "/v1/recommendations", {"user_id": one, "n": 1}) for one in people]
            for body in bodies[:20]:  # the process has been asked before
                ask(client, "/openrtb2/auction", body)
            with ThreadPoolExecutor(callers) as pool:
                answers = list(pool.map(lambda body: ask(client, "/openrtb2/auction", body), bodies))
                usual = list(pool.map(lambda body: ask(client, "/v1/recommendations", body), plain))
    table = Table("", "requests", "p50, ms", "p95", "p99", "most", "in time", "bid in time", title=f"seed {seed}")
    rows = (
        ("POST /openrtb2/auction", answers),
        ("  with a bid", [one for one in answers if one.status == 200]),
        ("  without one", [one for one in answers if one.status == 204]),
        ("POST /v1/recommendations, n 1", usual),
        ("the same, everybody's first", first),
    )
    for name, found in rows:
        times = [f"{percentile(found, share):.1f}" if found else "" for share in (0.5, 0.95, 0.99, 1.0)]
        auctions = bool(found) and found not in (usual, first)
        in_time = f"{1 - sum(one.late for one in found) / len(found):.2%}" if auctions else ""
        sold = sum(one.status == 200 and not one.late for one in found)
        table.add_row(
            name, f"{len(found):,}", *times, in_time, f"{sold / len(answers):.2%}" if found is answers else ""
        )
    wide_console().print(table)
    strange = sorted({one.status for one in answers} - {200, 204})
    if strange:
        raise SystemExit(f"answers that are none of an auction: {strange}")
    if sum(one.late for one in answers) > (1 - WANTED) * len(answers):
        raise SystemExit(f"fewer than {WANTED:.0%} were answered within tmax")


if __name__ == "__main__":
    typer.run(main)
