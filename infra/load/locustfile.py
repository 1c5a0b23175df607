"""The mixed workload, for locust in an environment of its own (`infra.load.traffic` starts it).

Each simulated caller stands for a site with a few people of its own and a few that every site knows. What the API says
that it took is noted down and written, with locust's statistics, to the file ``LOAD_REPORT``.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from locust import FastHttpUser, constant, events, task  # type: ignore[import-not-found]

RUN = os.environ["LOAD_RUN"]
ADS = json.loads(os.environ["LOAD_ADS"])
SHARED_PEOPLE = 5
OWN_PEOPLE = 10
_TEXTS = (
    "智能手机，6.7英寸屏幕",
    "a quiet keyboard",
    "现磨咖啡",
    "running shoes for wet roads",
    "an online maths course",
)

taken: dict[str, list[str]] = defaultdict(list)  # ids of the events that were accepted, by person
counted: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))  # counted feedback, by ad and type
learnt: list[tuple[str, str, str]] = []  # counted feedback that is an event, where the decision knew the person
wrong: list[str] = []  # answers that are no errors and still not what was asked for


class Site(FastHttpUser):
    """One caller. The weights are hundredths of the workload."""

    wait_time = constant(0.02)
    connection_timeout = 10.0
    network_timeout = 30.0
    _sites = 0

    def on_start(self) -> None:
        Site._sites += 1
        self.number = Site._sites
        self.random = random.Random(self.number)
        own = [f"load-{RUN}-{self.number}-{n}" for n in range(OWN_PEOPLE)]
        self.people = own + [f"load-{RUN}-all-{n}" for n in range(SHARED_PEOPLE)]
        self.sent: list[dict[str, Any]] = []
        self.decisions: list[tuple[str, str]] = []
        self.events = 0

    def call(self, method: str, path: str, body: Any = None, *, name: str | None = None) -> Any:
        """The answer; None where it is an error, which locust counts."""
        with self.client.request(method, path, json=body, name=name or path, catch_response=True) as answer:
            if answer.status_code not in (200, 202):
                answer.failure(f"{answer.status_code} {answer.text[:200]}")
                return None
            answer.success()
            return answer.json()

    def someone(self) -> str:
        return str(self.random.choice(self.people))

    @task(60)
    def recommend(self) -> None:
        decision = self.call("POST", "/v1/recommendations", {"user_id": self.someone(), "n": 3})
        if decision is None:
            return
        if not decision["ads"]:
            wrong.append("a recommendation without an ad")
        for ad in decision["ads"]:
            self.decisions.append((decision["decision_id"], ad["ad_id"]))
        del self.decisions[:-30]

    @task(15)
    def feedback(self) -> None:
        if not self.decisions:
            self.recommend()
            return
        decision_id, ad_id = self.random.choice(self.decisions)
        kind = self.random.choices(("impression", "click", "conversion", "dismiss"), (70, 24, 3, 3))[0]
        item = {"decision_id": decision_id, "ad_id": ad_id, "type": kind, "timestamp": time.time()}
        answer = self.call("POST", "/v1/feedback", {"feedback": [item]})
        if answer is None:
            return
        (result,) = answer["results"]
        if result["result"] == "refused":
            wrong.append(f"feedback refused: {result['reason']}")
        if result["result"] == "counted":
            counted[ad_id][kind] += 1
            counted[ad_id]["impression"] += bool(result.get("implied_impression"))
            if kind != "impression":
                learnt.append((decision_id, ad_id, kind))

    @task(15)
    def behave(self) -> None:
        person = self.someone()
        batch = []
        for _ in range(self.random.randint(1, 4)):
            self.events += 1
            topic = self.random.randrange(len(_TEXTS))
            batch.append(
                {
                    "user_id": person,
                    "event": self.random.choice(("view", "click", "cart")),
                    "timestamp": time.time(),
                    "event_id": f"{self.number}-{self.events}",
                    "item_id": f"load-{topic}",
                    "text": _TEXTS[topic],
                }
            )
        again = self.random.sample(self.sent, min(len(self.sent), self.random.randint(0, 2)))
        answer = self.call("POST", "/v1/events", {"events": batch + again})
        if answer is None:
            return
        if (answer["accepted"], answer["duplicates"]) != (len(batch), len(again)):
            wrong.append(f"{len(batch)} new and {len(again)} known events: {answer}"[:200])
        taken[person] += [str(event["event_id"]) for event in batch]
        self.sent = (self.sent + batch)[-50:]

    @task(5)
    def profile(self) -> None:
        known = [event["user_id"] for event in self.sent]
        if not known:
            self.behave()
            return
        self.call("GET", f"/v1/users/{self.random.choice(known)}/profile", name="/v1/users/{user_id}/profile")

    @task(3)
    def copy(self) -> None:
        answer = self.call("POST", "/v1/copy", {"ad_id": self.random.choice(ADS), "n": 1})
        if answer is not None and not answer.get("copies"):
            wrong.append("copy without a text")

    @task(2)
    def classify(self) -> None:
        self.call("POST", "/v1/classify", {"texts": [f"{self.random.choice(_TEXTS)} {self.random.random()}"]})


@events.quitting.add_listener
def report(environment: Any, **_: Any) -> None:
    """Writes what happened, for the check against the table."""
    stats = environment.stats
    document = {
        "routes": [
            {
                "route": f"{entry.method} {entry.name}",
                "requests": entry.num_requests,
                "failures": entry.num_failures,
                "milliseconds": {str(time): count for time, count in entry.response_times.items()},
                "longest": entry.max_response_time,
            }
            for entry in stats.entries.values()
        ],
        "errors": [
            f"{error.method} {error.name}: {error.error} ({error.occurrences})" for error in stats.errors.values()
        ],
        "taken": taken,
        "counted": counted,
        "learnt": learnt,
        "wrong": wrong,
    }
    Path(os.environ["LOAD_REPORT"]).write_text(json.dumps(document), encoding="utf-8")
