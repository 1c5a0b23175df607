"""Where AdTailor meets its first limit: `python -m infra.costs.scale` prints the tables of SCALE.md and writes them.

Each limit is a quota of AWS divided by what one operation asks for, as `infra.costs.counted` counted it.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from infra.costs.counted import Mix, count_all
from infra.costs.metering import Work
from infra.costs.model import RESULTS, Model, Prices, load_prices, read_results, times, together
from infra.costs.report import DETAILED, Rows, markdown, money, replaced, show
from infra.costs.stack import ROOT, Stack
from shared.recommending import SHORTLIST

PAGE = ROOT / "infra" / "SCALE.md"
# Of one partition of DynamoDB. Behind a local index a partition key's rows are never split over several.
PARTITION_READS, PARTITION_WRITES = 3000.0, 1000.0
# Defaults that AWS raises on request: units a second of one table; functions running at once; requests a second.
TABLE_UNITS, CONCURRENCY, API_RATE = 40_000.0, 1000.0, 10_000.0
POINTER_SECONDS = 2.0  # shared.snapshot: how long a process trusts the pointer that it has
RATES = (10.0, 1000.0, 100_000.0)
DAY = 86_400.0
BILLION = 1e9
COLLECTION_GB = 10.0  # all rows of one partition key with their index entries
VISIBLE_SECONDS = 10.0  # from an ad's write to its being served (DESIGN section 3)
PROCESS_MB = 150.0  # assumed: a function's process before it holds a catalogue
S3_MB_SECOND = 80.0  # assumed: one connection from Lambda
COPY_SECONDS = 2.0  # assumed: eight candidates on one GPU; not measured on AWS
COPY_AT_ONCE = 8.0  # requests in work per instance at which the template adds one


def limits(work: Mapping[str, Work]) -> dict[str, float]:
    """The most of each operation a second for one tenant, by the partition that sets it."""
    decision, feedback = work["decision"].partitions, work["feedback"].partitions
    folded, first = work["decision after 5 events"].partitions, work["first decision about a person"].partitions
    ads = work["100 ads"].partitions["t/{tenant}/ads"][1]
    spend = decision["t/{tenant}/spend"]
    charged = spend[1] + feedback.get("t/{tenant}/spend", [0.0, 0.0])[1]
    people = work["500 events"].partitions["t/{tenant}/p/…"][1]
    found = {
        "decisions/s: budget rows read, with budgets as counted": PARTITION_READS / spend[0],
        "decisions/s: budget rows read, every ad of the shortlist with one": PARTITION_READS / SHORTLIST,
        "decisions/s: every ad counted as seen": PARTITION_WRITES / feedback["t/{tenant}/stats"][1],
        "decisions/s: sizes of segments read": PARTITION_READS / decision["t/{tenant}/holders"][0],
        "decisions/s about people with new events: items looked up among the ads": PARTITION_READS
        / folded["t/{tenant}/ads"][0],
        "new people's profiles/s: holders counted": PARTITION_WRITES / first["t/{tenant}/holders"][1],
        "ads written/s": 100 * PARTITION_WRITES / ads,
        "events/s of one person": 500 * PARTITION_WRITES / people,
        "processes that look for a new snapshot": PARTITION_READS * POINTER_SECONDS,
    }
    if charged:
        found["decisions/s: budgets reserved and charged"] = PARTITION_WRITES / charged
    return dict(sorted(found.items(), key=lambda one: one[1]))


def room(work: Mapping[str, Work], mix: Mix) -> dict[str, float]:
    """How much of each kind fits, whatever the rate."""
    read = work["publish"].partitions["t/{tenant}/ads"][0] / mix.ads
    collection = COLLECTION_GB * 1024**3
    return {
        f"ads of which a snapshot is built in {VISIBLE_SECONDS:.0f} s": VISIBLE_SECONDS * PARTITION_READS / read,
        "ads of one tenant in 10 GB": collection / (work["100 ads"].stored / 100),
        "events of one person in 10 GB": collection / (work["500 events"].stored / 500),
    }


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def limits_table(found: Mapping[str, float]) -> Rows:
    return [["one tenant's limit", "a second"], *([name, _number(value)] for name, value in found.items())]


def snapshot_table(stack: Stack, results: Path = RESULTS) -> Rows:
    """What a process needs for one tenant's catalogue, from the newest benchmarks that have it."""
    found = {
        name: value for row in read_results(results) for name, value in row.items() if name.startswith("snapshot of")
    }
    memory = stack.functions["RecommendFunction"].memory_mb * 1024**2 / 1e6
    rows: Rows = [["one tenant's catalogue", "10,000 ads", "100,000 ads"]]

    def line(name: str, one: Callable[[dict[str, float]], float]) -> None:
        sizes = [
            {
                part.partition(", ")[2]: value
                for part, value in found.items()
                if part.startswith(f"snapshot of {ads} ads")
            }
            for ads in ("10,000", "100,000")
        ]
        rows.append([name, *(_number(one(size)) if size else "not measured" for size in sizes)])

    line("objects in S3, MB", lambda size: size["its objects"])
    line("s to fetch and read", lambda size: size["its objects"] / S3_MB_SECOND + size["reading it"])
    line("MB kept", lambda size: size["kept in memory"])
    line(
        f"MB at the most, when a new version is read beside the old (of {memory:,.0f})",
        lambda size: PROCESS_MB + size["kept in memory"] + size["peak memory while reading"],
    )
    return rows


def rates_table(model: Model, prices: Prices) -> Rows:
    """Decisions at each rate, each followed by its report."""
    fresh, folded = model.work["decision"] * (1 - model.given.folded), model.work["decision after 5 events"]
    decision = fresh + folded * model.given.folded
    feedback = model.work["feedback"]
    both = decision + feedback
    seconds = model.seconds(decision, model.times.choose) + model.seconds(feedback)
    throttle = model.stack.throttle[0]
    hottest = max(
        max(reads / PARTITION_READS, writes / PARTITION_WRITES)
        for kind, (reads, writes) in both.partitions.items()
        if not kind.endswith("…")
    )
    rows: Rows = [["decisions a second", *(f"{rate:,.0f}" for rate in RATES)]]

    def line(name: str, per_decision: float, quota: float | None = None) -> None:
        cells = []
        for rate in RATES:
            over = quota is not None and rate * per_decision > quota
            cells.append(_number(rate * per_decision) + (f" (over {quota:,.0f})" if over else ""))
        rows.append([name, *cells])

    line("requests a second, the report included", 2.0, throttle)
    line("… of the account's quota", 2.0, API_RATE)
    line(f"functions running at once, {seconds * 1000:.0f} ms for both", seconds, CONCURRENCY)
    line("read units a second", both.read_units, TABLE_UNITS)
    line("write units a second", both.write_units, TABLE_UNITS)
    line("hottest partition of one tenant, times its limit", hottest, 1.0)
    line("reads of the snapshot's pointer a second", seconds / POINTER_SECONDS, PARTITION_READS)
    line("GB of rows more each week, until their TTL", both.stored * 7 * DAY / 1e9)
    month = [money(prices.bill(model.decisions(rate * DAY * 30))) for rate in RATES]
    return [*rows, [f"a month at that rate, {prices.currency}", *month]]


def billion_table(model: Model, prices: Prices) -> Rows:
    """A billion events a day, by API and as uploads."""
    rate = BILLION / DAY
    request, chunk = model.work["500 events"], model.work["chunk of 1,000 rows"]
    by_api = model.seconds(request, 500 / model.times.events_a_second)
    by_upload = model.seconds(chunk, 1000 / model.times.events_a_second)
    stored = request.stored / 500 * BILLION / 1e9
    rows: Rows = [["a billion events a day", "by API", "as uploads"]]
    rows += [["events a second", f"{rate:,.0f}", f"{rate:,.0f}"]]
    rows += [["requests of 500, chunks of 1,000 a second", _number(rate / 500), _number(rate / 1000)]]
    rows += [["seconds of each", f"{by_api:.2f}", f"{by_upload:.2f}"]]
    rows += [["functions running at once", _number(rate / 500 * by_api), _number(rate / 1000 * by_upload)]]
    at_once = model.stack.functions["ProfileFunction"].at_once.get("EventQueue")
    if at_once:
        rows += [
            [
                f"events a second with {at_once} chunks at once, as the queue allows",
                "",
                _number(at_once / by_upload * 1000),
            ]
        ]
    writes = [work.write_units * rate / count for work, count in ((request, 500), (chunk, 1000))]
    reads = [work.read_units * rate / count for work, count in ((request, 500), (chunk, 1000))]
    rows += [[f"write units a second (a table's default: {TABLE_UNITS:,.0f})", *(f"{one:,.0f}" for one in writes)]]
    rows += [["read units a second", *(f"{one:,.0f}" for one in reads)]]
    rows += [["GB more in the table each day, index included", f"{stored:,.0f}", f"{stored:,.0f}"]]
    days = [money(prices.bill(one)) for one in (model.events_by_api(BILLION), model.events_by_upload(BILLION))]
    held = together({"table_gb_month": stored * 30, "recovery_gb_month": stored * 30})
    keeping = money(prices.bill(held))
    rows += [[f"a day, {prices.currency}", *days]]
    return [*rows, [f"keeping 30 days of it for a month, {prices.currency}", keeping, keeping]]


def copy_table(prices: Prices) -> Rows:
    """Instances for copy that is written while somebody waits."""
    rows: Rows = [["requests for new copy a second", "instances", f"a month, {prices.currency}"]]
    for rate in (1.0, 10.0, 100.0):
        instances = math.ceil(rate * COPY_SECONDS / COPY_AT_ONCE)
        rows.append([f"{rate:g}", _number(instances), money(prices.bill({"ml.g5.xlarge": instances * 730}))])
    return rows


def page_tables(work: Mapping[str, Work], mix: Mix, model: Model, prices: Prices) -> dict[str, Rows]:
    return {
        "limits": limits_table(limits(work)),
        "room": [["how much fits", ""], *([name, _number(value)] for name, value in room(work, mix).items())],
        "rates": rates_table(model, prices),
        "snapshot": snapshot_table(model.stack),
        "billion": billion_table(model, prices),
        "copy": copy_table(prices),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.costs.scale", description="Where the first limits are.")
    parser.add_argument("--no-write", action="store_true", help="leave SCALE.md as it is")
    chosen = parser.parse_args(arguments)
    mix = Mix()
    work = count_all(mix)
    tables = page_tables(work, mix, Model(Stack.load(), work, times()), Prices(load_prices(), DETAILED))
    console = Console(width=120)
    for name, rows in tables.items():
        show(console, name, rows)
    if not chosen.no_write:
        page = replaced(PAGE.read_text(encoding="utf-8"), {name: markdown(rows) for name, rows in tables.items()})
        PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
