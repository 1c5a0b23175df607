"""What happens, in the quantities that AWS bills, and what they cost: the arithmetic behind `infra.costs`.

Resources come from the template, work from `infra.costs.counted`, times from the benchmarks, prices from a table; what
nothing measures is a field of `Assumptions`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from infra.costs.metering import Work
from infra.costs.stack import ROOT, Function, Stack

PRICES = Path(__file__).with_name("prices.json")
RESULTS = ROOT / "tests" / "benchmarks" / "results.jsonl"
MONTH_HOURS = 730.0
MONTH_SECONDS = MONTH_HOURS * 3600
SNAPSTART_LEAST_HOURS = 3.0  # a published version is cached, and billed, for at least so long
GB = 1e9

Quantities = dict[str, float]  # by the name of a price


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What is neither in the template nor counted nor measured here. Change them to your own.

    *_ms: one round trip from Lambda to the service, in milliseconds. frame_ms: parsing and answering one API request.
    cold: share of invocations that start a process. folded: share of decisions about people with new events. traced:
    share of invocations that X-Ray samples. *_bytes: of one invocation's lines; of one answer. polls: long polls that
    Lambda keeps open on an idle queue, each answered after 20 s. versions: published versions that SnapStart keeps of
    each function. wake_minutes: an asynchronous endpoint's instance from start to scale-in, besides its work.
    """

    read_ms: float = 4.0
    write_ms: float = 6.0
    transaction_ms: float = 12.0
    s3_ms: float = 30.0
    sqs_ms: float = 10.0
    frame_ms: float = 3.0
    cold: float = 0.01
    folded: float = 0.2
    traced: float = 0.05
    log_bytes: float = 1200.0
    answer_bytes: float = 3000.0
    polls: float = 5.0
    versions: float = 1.0
    wake_minutes: float = 20.0


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of CPU of one process with one core, and where each figure comes from."""

    choose: float = 0.005
    events_a_second: float = 5000.0
    cold: float = 1.0
    sources: tuple[tuple[str, str], ...] = ()


# The figure of the benchmarks that each time is taken from, and what it is.
_MEASURED = {
    "choose": (r"choose 5 of 10,000 ads, all allowed, p50", "s for one choice among 10,000 ads"),
    "events_a_second": (r"ingest of known items through boto3", "events of known items a second, boto3 included"),
    "cold": (r"(?=.*(cold|first answer))(?=.*recommend)", "s from process start to recommend's first answer"),
}


def read_results(results: Path = RESULTS) -> list[dict[str, float]]:
    """The figures of each run of the benchmarks in their units, those to be preferred last."""
    return [{one["name"]: one["value"] for one in row["figures"]} for row in _rows(results)]


def _rows(results: Path) -> list[dict[str, Any]]:
    """Runs of the benchmarks, the newest last; those that began on a busy machine come before all others."""
    if not results.exists():
        return []
    rows = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    return sorted(rows, key=lambda row: row["load"] <= row["machine"]["cores"] / 2)


def times(results: Path = RESULTS) -> Times:
    """The newest figure of each kind, of a quiet machine if there is one; else the budget of DESIGN section 8."""
    values = asdict(Times())
    sources = []
    for name, (pattern, what) in _MEASURED.items():
        source = "the budget: not measured yet"
        for row in _rows(results):
            for figure in row["figures"]:
                if re.search(pattern, figure["name"]):
                    values[name] = figure["value"] * (1e-3 if figure["unit"] == "ms" else 1.0)
                    source = f"`make bench`, {row['date'][:10]}, load {row['load']:g} when it began"
                    break
        sources.append((f"{values[name]:.4g} {what}", source))
    return Times(**values | {"sources": tuple(sources)})


# Prices -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """One price and how much of it. amount: None where the price is not known."""

    name: str
    quantity: float
    amount: float | None


class Prices:
    """The price table of one region."""

    def __init__(self, document: Mapping[str, Any], region: str, *, free_tier: bool = False) -> None:
        """Raises: KeyError for a region that the table does not have."""
        self.items: Mapping[str, Any] = document["items"]
        self.sources: Mapping[str, Any] = document["sources"]
        self._region = document["regions"][region]
        self._free: Mapping[str, float] = document["free_each_month"] if free_tier else {}
        self.currency: str = self._region["currency"]

    def line(self, name: str, quantity: float) -> Line:
        """What `quantity` in a month costs."""
        price = self._region["prices"][name]["price"]
        billed = max(0.0, quantity - self._free.get(name, 0.0))
        return Line(name, quantity, None if price is None else billed * price / self.items[name]["per"])

    def bill(self, quantities: Mapping[str, float]) -> list[Line]:
        """The most expensive first, unknown ones before."""
        lines = [self.line(name, quantity) for name, quantity in quantities.items() if quantity]
        return sorted(lines, key=lambda one: -(one.amount if one.amount is not None else float("inf")))

    def unchecked(self) -> list[str]:
        """Names of the prices that nobody has looked up."""
        return [name for name, one in self._region["prices"].items() if not self.sources[one["source"]]["checked"]]


def load_prices(path: Path = PRICES) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def together(*parts: Mapping[str, float]) -> Quantities:
    """The sum, price by price."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: sum(part.get(name, 0.0) for part in parts) for name in names}


def total(lines: Iterable[Line]) -> tuple[float, bool]:
    """The sum of what is known, and whether that is all."""
    amounts = [one.amount for one in lines]
    return sum(amount for amount in amounts if amount is not None), None not in amounts


# What happens -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Model:
    """Quantities of what happens, by the names of prices."""

    stack: Stack
    work: Mapping[str, Work]
    times: Times = Times()
    given: Assumptions = Assumptions()

    def decisions(self, count: float = 1000.0) -> Quantities:
        """Requests for ads, each followed by one that reports all of them as seen."""
        fresh, folded = self.work["decision"] * (1 - self.given.folded), self.work["decision after 5 events"]
        decision, feedback = fresh + folded * self.given.folded, self.work["feedback"]
        function = self.stack.functions["RecommendFunction"]
        asked = self.invocations(function, self.seconds(decision, self.times.choose), count, api=True)
        reported = self.invocations(function, self.seconds(feedback), count, api=True)
        return together(asked, reported, self.requests(decision + feedback, count))

    def events_by_api(self, count: float = 1e6) -> Quantities:
        """Behaviour in requests of 500, all about people and items that are known."""
        work, calls = self.work["500 events"], count / 500
        seconds = self.seconds(work, 500 / self.times.events_a_second)
        function = self.stack.functions["ProfileFunction"]
        return together(self.invocations(function, seconds, calls, api=True), self.requests(work, calls))

    def events_by_upload(self, count: float = 1e6) -> Quantities:
        """The same as one file, in chunks of 1,000 rows through the queue."""
        split, chunk = self.work["split of 3 chunks"] * (1 / 3), self.work["chunk of 1,000 rows"]
        chunks, function = count / 1000, self.stack.functions["ProfileFunction"]
        seconds = self.seconds(chunk, 1000 / self.times.events_a_second)
        batch = function.batches.get("EventQueue", 1)
        taken = self.invocations(function, seconds * batch, chunks / batch)
        found = together(taken, self.requests(split + chunk, chunks))
        found["lambda_gb_second"] += self.seconds(split) * chunks * function.memory_gb
        found["sqs_request"] += chunks * (1 + 1 / batch)  # a message is deleted, a batch of them received
        found["s3_write"] += 1
        return found

    def month(self, events: float = 1e6) -> Quantities:
        """A month in which nobody calls, with the rows of so many events kept."""
        stack, found = self.stack, self.snapstart(self.given.versions)
        found["alarm_month"] = stack.alarm_metrics["standard"]
        found["high_alarm_month"] = stack.alarm_metrics["high"]
        found["composite_alarm_month"] = stack.alarm_metrics["composite"]
        found["dashboard_month"] = stack.dashboards
        found["secret_month"] = stack.secrets
        found["key_month"] = stack.keys
        found["sqs_request"] = stack.queues_polled * self.given.polls * MONTH_SECONDS / 20
        stored = self.work["500 events"].stored * events / 500 / GB
        found["table_gb_month"] = stored
        found["recovery_gb_month"] = stored * stack.recovers_to_a_point_in_time
        found["log_gb_month"] = self.events_by_api(events)["log_gb"] * 0.15  # CloudWatch keeps lines compressed
        for instance in stack.endpoint_instances if self._realtime else ():
            found[instance] = found.get(instance, 0.0) + MONTH_HOURS
        return found

    def snapstart(self, versions: float = 1.0, hours: float = MONTH_HOURS) -> Quantities:
        """Keeping `versions` published versions of each function that restores from a snapshot."""
        cached = sum(one.memory_gb for one in self.stack.functions.values() if one.snapstart)
        return {"snapstart_cache_gb_second": cached * versions * hours * 3600} if cached else {}

    def wake_up(self) -> Quantities:
        """One start of an asynchronous endpoint's instance, without the writing itself."""
        return dict.fromkeys(self.stack.endpoint_instances, self.given.wake_minutes / 60)

    @property
    def _realtime(self) -> bool:
        return self.stack.parameters.get("GpuEndpoint") in ("realtime", "both")

    def invocations(self, function: Function, seconds: float, count: float, *, api: bool = False) -> Quantities:
        """`count` calls of a function that take `seconds` each, starts of processes included."""
        cold = count * self.given.cold
        found: Quantities = {"lambda_request": count}
        found["lambda_gb_second"] = (count * seconds + (0 if function.snapstart else cold * self.times.cold)) * (
            function.memory_gb
        )
        if function.snapstart:
            found["snapstart_restore_gb"] = cold * function.memory_gb
        found["log_gb"] = count * self.given.log_bytes / GB
        if self.stack.traced:
            found["trace"] = count * self.given.traced
        if api:
            found["http_request"] = count
            found["out_gb"] = count * self.given.answer_bytes / GB
        return found

    def seconds(self, work: Work, computing: float = 0.0) -> float:
        """Of one call: what it computes, and its round trips one after another."""
        return computing + (self.given.frame_ms + self.waiting(work)) / 1000

    def waiting(self, work: Work) -> float:
        """Milliseconds of round trips."""
        by_call = {"GetItem": "read", "BatchGetItem": "read", "Query": "read", "Scan": "read"}
        by_call |= {"PutItem": "write", "UpdateItem": "write", "BatchWriteItem": "write"}
        by_call |= {"TransactWriteItems": "transaction", "SendMessage": "sqs"}
        return sum(
            count * float(getattr(self.given, f"{by_call.get(name, 's3')}_ms")) for name, count in work.calls.items()
        )

    @staticmethod
    def requests(work: Work, count: float) -> Quantities:
        amounts = {
            "read_unit": work.read_units,
            "write_unit": work.write_units,
            "s3_write": work.s3_writes,
            "s3_read": work.s3_reads,
            "sqs_request": work.sqs,
        }
        return {name: amount * count for name, amount in amounts.items() if amount}


def scenarios(model: Model) -> dict[str, Quantities]:
    """What the tables show, by name."""
    return {
        "1,000 decisions, reported as seen": model.decisions(),
        "1 million events by API, 500 a request": model.events_by_api(),
        "1 million events as an upload": model.events_by_upload(),
        "an idle month, 1 million events kept": model.month(),
    }
