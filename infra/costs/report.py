"""What AdTailor costs on AWS: `python -m infra.costs [--region R] [--snapstart] [--gpu none|async|realtime]`.

Counts what operations ask of AWS (`counted`), prints what they cost (`model`), and writes the tables
of COSTS.md.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.costs.counted import Mix, count_all
from infra.costs.metering import Work
from infra.costs.model import (
    SNAPSTART_LEAST_HOURS,
    Assumptions,
    Line,
    Model,
    Prices,
    Times,
    load_prices,
    scenarios,
    times,
    total,
)
from infra.costs.stack import ROOT, Stack, custom_metrics

PAGE = ROOT / "infra" / "COSTS.md"
DETAILED = "eu-central-1"  # whose lines COSTS.md shows one by one

Rows = list[list[str]]


def money(lines: Sequence[Line]) -> str:
    amount, whole = total(lines)
    return ("" if whole else "≥ ") + (f"{amount:,.2f}" if amount >= 1 else f"{amount:.4f}")


def lines_table(prices: Prices, quantities: Mapping[str, float]) -> Rows:
    bill = prices.bill(quantities)
    rows = [["what", "quantity", prices.currency]]
    for one in bill:
        amount = "not known" if one.amount is None else f"{one.amount:,.4f}"
        rows.append([prices.items[one.name]["what"], f"{one.quantity:,.6g} {prices.items[one.name]['unit']}s", amount])
    return [*rows, ["total", "", money(bill)]]


def regions_table(document: Mapping[str, Any], work: Mapping[str, Work], measured: Times) -> Rows:
    """Every scenario in every region, and what SnapStart and a GPU endpoint add."""
    plain = Model(Stack.load(), work, measured)
    snap = Model(Stack.load(given={"SnapStart": "PublishedVersions"}), work, measured)
    asynchronous = Model(Stack.load(given={"GpuEndpoint": "async"}), work, measured)
    realtime = Model(Stack.load(given={"GpuEndpoint": "realtime"}), work, measured)
    wanted = scenarios(plain) | {
        "… a month with calls adds, for the code's own metrics": {"metric_month": float(len(custom_metrics()))},
        "… SnapStart adds, one version of each function": snap.snapstart(),
        "… SnapStart adds at least, for each deployment": snap.snapstart(hours=SNAPSTART_LEAST_HOURS),
        "1,000 decisions with SnapStart": snap.decisions(),
        "an idle month with GpuEndpoint=async": asynchronous.month(),
        "… each time its instance wakes": asynchronous.wake_up(),
        "an idle month with GpuEndpoint=realtime": realtime.month(),
    }
    regions = list(document["regions"])
    tables = {region: Prices(document, region) for region in regions}
    rows = [["", *(f"{region}, {tables[region].currency}" for region in regions)]]
    return rows + [[name, *(money(tables[one].bill(found)) for one in regions)] for name, found in wanted.items()]


def work_table(work: Mapping[str, Work]) -> Rows:
    rows = [["operation", "round trips", "read units", "write units", "S3 requests", "SQS", "bytes kept"]]
    for name, one in work.items():
        numbers = [sum(one.calls.values()), one.read_units, one.write_units, one.s3_writes + one.s3_reads, one.sqs]
        rows.append([name, *(f"{number:,.5g}" for number in numbers), f"{one.stored:,.0f}"])
    return rows


def given_table(measured: Times, given: Assumptions, mix: Mix) -> Rows:
    rows = [["figure", "where from"], *([what, source] for what, source in measured.sources)]
    rows += [[f"`{name}` = {value:g}", "assumed"] for name, value in asdict(given).items()]
    return rows + [[f"`{name}` = {value:g}", "the workload that is counted"] for name, value in asdict(mix).items()]


def unchecked_table(document: Mapping[str, Any]) -> Rows:
    rows = [["region", "prices that were not looked up"]]
    return rows + [
        [region, ", ".join(Prices(document, region).unchecked()) or "none"] for region in document["regions"]
    ]


def markdown(rows: Rows) -> str:
    head, *body = rows
    marks = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, marks, *body))


def replaced(page: str, tables: Mapping[str, str]) -> str:
    """`page` with the text between each pair of marks ``<!-- name -->`` and ``<!-- /name -->`` put anew.

    Raises: ValueError where the page lacks a pair.
    """
    for name, text in tables.items():
        pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
        page, count = pattern.subn(partial(_between, text), page)
        if count != 1:
            raise ValueError(f"the page has {count} places for {name!r}")
    return page


def _between(text: str, found: re.Match[str]) -> str:
    return f"{found[1]}{text}\n{found[2]}"


def page_tables(document: Mapping[str, Any], work: Mapping[str, Work], measured: Times, mix: Mix) -> dict[str, str]:
    model, prices = Model(Stack.load(), work, measured), Prices(document, DETAILED)
    stack = model.stack
    made = [["in the template", ""], ["functions, GB each", _gigabytes(stack)]]
    made += [["alarm metrics: standard, high resolution, composite", _join(stack.alarm_metrics.values())]]
    made += [["dashboards, secrets, keys", _join([stack.dashboards, stack.secrets, stack.keys])]]
    made += [["queues that Lambda polls", str(stack.queues_polled)]]
    made += [["point-in-time recovery", "yes" if stack.recovers_to_a_point_in_time else "no"]]
    made += [["days that logs are kept", str(stack.log_days)]]
    made += [["metrics that the code writes", str(len(custom_metrics()))]]
    tables = {"regions": regions_table(document, work, measured), "work": work_table(work), "made": made}
    tables |= {f"lines {n}": lines_table(prices, one) for n, one in enumerate(scenarios(model).values(), start=1)}
    tables |= {"given": given_table(measured, model.given, mix), "unchecked": unchecked_table(document)}
    return {name: markdown(rows) for name, rows in tables.items()}


def _gigabytes(stack: Stack) -> str:
    return _join(f"{one.name.removesuffix('Function').lower()} {one.memory_gb:.2f}" for one in stack.functions.values())


def _join(values: Iterable[object]) -> str:
    return ", ".join(str(one) for one in values)


def show(console: Console, title: str, rows: Rows) -> None:
    table = Table(*rows[0], title=title, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    document = load_prices()
    parser = argparse.ArgumentParser(prog="python -m infra.costs", description="What AdTailor costs on AWS.")
    parser.add_argument("--region", default=DETAILED, choices=document["regions"])
    parser.add_argument("--snapstart", action="store_true", help="functions restored from snapshots")
    parser.add_argument("--gpu", choices=["none", "async", "realtime"], default="none", help="the stack's own endpoint")
    parser.add_argument("--free-tier", action="store_true", help="take off what AWS gives every month")
    parser.add_argument("--no-write", action="store_true", help="leave COSTS.md as it is")
    chosen = parser.parse_args(arguments)
    given = {"GpuEndpoint": chosen.gpu} | ({"SnapStart": "PublishedVersions"} if chosen.snapstart else {})
    mix, measured = Mix(), times()
    work = count_all(mix)
    model = Model(Stack.load(given=given), work, measured)
    prices = Prices(document, chosen.region, free_tier=chosen.free_tier)
    console = Console(width=120)
    found = scenarios(model)
    if chosen.snapstart:
        found["SnapStart, one published version of each function for a month"] = model.snapstart()
    if chosen.gpu == "async":
        found["one waking of the asynchronous endpoint"] = model.wake_up()
    for title, quantities in found.items():
        show(console, f"{title} ({chosen.region})", lines_table(prices, quantities))
    show(console, "counted work", work_table(work))
    if prices.unchecked():
        console.print(f"Not looked up, so check them: {', '.join(prices.unchecked())}")
    if not chosen.no_write:
        page = replaced(PAGE.read_text(encoding="utf-8"), page_tables(document, work, measured, mix))
        PAGE.write_text(page, encoding="utf-8")
        console.print(f"Tables of {PAGE.relative_to(ROOT)} written")
    return 0
