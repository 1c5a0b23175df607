"""Who is shown what: exposure and clicks by campaign, by segment and by slot, from the decision log.

    python -m infra.exposure --tenant demo                          # the tenant's log, in the bucket
    python -m infra.exposure --log 'logs/*.jsonl.gz' --k-floor 50

A table goes to stderr, one JSON object to the last line of stdout. What is said of a row is said of people, so it is
said as `infra.disclosure` has it: of whole weeks that are over, in steps that k people make (`K_FLOOR`; `steps`), and
nothing of rows of fewer than about twice k. Of one person at most so many impressions and clicks count a week
(`ONE`, `MANY`). Parts do not add up to their sums, on purpose. Linked ids are one person (``counts_as`` of the log).

Decisions that nobody is known for may all be one person's: they count as no people, and make no row about people told
of. What was seen in them is told by itself (``anonymous``), as impressions alone, in steps of k and where it is 2 k or
more a week; the measures of concentration are of both.

The report is of all that the log has: one that is cut by hand is a report of other weeks than the whole one's. What the
reading met (stderr) is for who has the log anyway. Exit status 1: there is no log.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infra.disclosure import (
    Bounds,
    Counted,
    Figures,
    Rounding,
    rounding_of,
    settled,
    week_name,
    week_of,
)
from infra.ope import sources
from infra.ope.decisions import WINDOW, Decided, read
from infra.ope.intervals import wilson
from shared.categories import is_sensitive
from shared.errors import AdTailorError
from shared.settings import Settings

NO_CAMPAIGN = "(none)"
ANONYMOUS = "anonymous"  # kind of the rows of decisions that nobody is known for, before the kind that they have
ONE = Bounds(impressions=4, clicks=1)  # of one person a week, in a row of one ad or campaign,
MANY = Bounds(impressions=20, clicks=4)  # and in one of many: a slot, a segment, all
_DIGITS = 6

Row = tuple[str, ...]  # its kind and names: ("segment", "adproduct:1118")


def gini(counts: Iterable[int]) -> float:
    """Gini coefficient of non-negative counts: 0 where all are equal, near 1 where one has it all."""
    ordered = np.sort(np.array(list(counts), dtype=np.float64))
    total = float(ordered.sum())
    if not total:
        return 0.0
    count = len(ordered)
    return float(2 * np.sum(np.arange(1, count + 1) * ordered) / (count * total) - (count + 1) / count)


def effective_number(counts: Iterable[int]) -> float:
    """How many equal shares would be as concentrated: 1 / Σ share² (Laakso and Taagepera 1979; 1 / Herfindahl)."""
    shares = np.array(list(counts), dtype=np.float64)
    total = float(shares.sum())
    return float(total**2 / np.sum(shares**2)) if total else 0.0


def report(
    decided: Sequence[Decided], k_floor: int, rounding: Rounding, *, now: float, floor: int | None = None
) -> dict[str, Any]:
    """The report's figures.

    k_floor: of the deployment; the steps are made of it. floor: tells of fewer rows, as if it were the floor, in the
    same figures: a report of other steps, or by the people themselves, would say how many there are. now: epoch
    seconds, by which weeks are over.
    """
    weeks: dict[int, dict[Row, Counted]] = defaultdict(lambda: defaultdict(Counted))
    for one in decided:
        week = week_of(one.at)
        if settled(week, now, WINDOW):
            _count(weeks[week], one)
    least = k_floor + (floor or k_floor)
    told: dict[Row, Figures] = {}
    told_weeks = []
    anonymous = _anonymous(weeks, k_floor, least, rounding)
    for week in sorted(weeks):
        rows = {
            row: figures
            for row, counted in weeks[week].items()
            if row[0] != ANONYMOUS
            and (figures := counted.figures(k_floor, _bounds(row), rounding, week_name(week), *row)) is not None
            and figures.people >= least
        }
        for row, figures in rows.items():
            # What a report of this week alone does not show is in no sum either.
            if row[0] != "within" or ("segment", row[1]) in rows:
                told[row] = told.get(row, Figures()) + figures
        if rows or week in anonymous:
            told_weeks.append(week_name(week))
    total = told.get(("all",), Figures())
    campaigns, slots = _of(told, "campaign"), _of(told, "slot")
    unseen: Counter[Row] = sum(anonymous.values(), Counter())
    counts = _together(campaigns, unseen, "campaign")
    ads = _together(_of(told, "ad"), unseen, "ad")
    shown = sum(one.impressions for one in campaigns.values())
    segments = _of(told, "segment")
    return {
        "weeks": told_weeks,
        "people": total.people,
        "impressions": total.impressions,
        "clicks": total.clicks,
        "gini_campaigns": round(gini(counts), _DIGITS),
        "effective_campaigns": round(effective_number(counts), 3),
        "gini_ads": round(gini(ads), _DIGITS),
        "effective_ads": round(effective_number(ads), 3),
        "campaigns": _ranked(campaigns, shown, k_floor, ONE),
        "slots": _shown(slots, sum(one.impressions for one in slots.values()), k_floor, MANY),
        "anonymous": {
            "impressions": unseen["all",],
            "campaigns": {row[1]: seen for row, seen in unseen.most_common() if row[0] == "campaign"},
            "slots": {row[1]: seen for row, seen in sorted(unseen.items()) if row[0] == "slot"},
        },
        "k_floor": max(k_floor, floor or k_floor),
        "steps": {
            name: {"people": k_floor, "impressions": k_floor * bounds.impressions, "clicks": k_floor * bounds.clicks}
            for name, bounds in (("one_campaign", ONE), ("many", MANY))
        },
        "segments": {
            name: row | _within(told, name, k_floor)
            for name, row in _ranked(segments, total.impressions, k_floor, MANY).items()
        },
    }


def _anonymous(
    weeks: Mapping[int, Mapping[Row, Counted]], k_floor: int, least: int, rounding: Rounding
) -> dict[int, Counter[Row]]:
    """Impressions that nobody is known for, by week and row, of those that may be told."""
    found: dict[int, Counter[Row]] = {}
    for week, rows in weeks.items():
        seen = {
            row[1:]: rounding(counted.impressions, k_floor, "impressions", week_name(week), *row)
            for row, counted in rows.items()
            if row[0] == ANONYMOUS
        }
        if enough := Counter({row: number for row, number in seen.items() if number >= least}):
            found[week] = enough
    return found


def _together(told: Mapping[str, Figures], unseen: Mapping[Row, int], kind: str) -> list[int]:
    """Impressions by name, of people and of nobody."""
    counts = Counter({name: one.impressions for name, one in told.items()})
    counts.update({row[1]: seen for row, seen in unseen.items() if row[0] == kind})
    return list(counts.values())


def _count(rows: dict[Row, Counted], one: Decided) -> None:
    """Adds what was seen of a decision to its rows."""
    known = one.person is not None
    person = (one.counts_as or one.person) if known else ""
    campaign_of = {ad.ad_id: ad.campaign_id or NO_CAMPAIGN for ad in one.candidates}
    for shown in one.shown:
        if not shown.seen:
            continue
        campaign = campaign_of[shown.ad_id]
        named: list[Row] = [("all",), ("campaign", campaign), ("ad", shown.ad_id), ("slot", str(shown.slot + 1))]
        if not known:
            named = [(ANONYMOUS, *row) for row in named]
        for segment in one.segments if known else ():
            if is_sensitive(segment):  # it was open when the line was written
                continue
            named += [("segment", segment), ("within", segment, campaign)]
        for row in named:
            rows[row].add(person, shown.reward)


def _bounds(row: Row) -> Bounds:
    return ONE if row[0] in ("campaign", "ad", "within") else MANY


def _of(told: Mapping[Row, Figures], kind: str) -> dict[str, Figures]:
    return {row[1]: figures for row, figures in sorted(told.items()) if row[0] == kind}


def _within(told: Mapping[Row, Figures], segment: str, k_floor: int) -> dict[str, Any]:
    """The campaigns of a segment."""
    held = {row[2]: one for row, one in sorted(told.items()) if row[0] == "within" and row[1] == segment}
    counts = [one.impressions for one in held.values()]
    return {
        "effective_campaigns": round(effective_number(counts), 3),
        "campaigns": _ranked(held, sum(counts), k_floor, ONE),
    }


def _ranked(held: Mapping[str, Figures], whole: int, k_floor: int, bounds: Bounds) -> dict[str, dict[str, Any]]:
    """The most seen first."""
    order = sorted(held, key=lambda name: (-held[name].impressions, name))
    return _shown({name: held[name] for name in order}, whole, k_floor, bounds)


def _shown(held: Mapping[str, Figures], whole: int, k_floor: int, bounds: Bounds) -> dict[str, dict[str, Any]]:
    """With the share of the `whole`, and the click rate with an interval that has the rounding in it."""
    step = k_floor * bounds.clicks
    found = {}
    for name, one in held.items():
        seen = one.impressions
        found[name] = {
            "people": one.people,
            "impressions": seen,
            "clicks": one.clicks,
            "share": round(seen / whole, _DIGITS) if whole else 0.0,
            "click_rate": round(min(one.clicks / seen, 1.0), _DIGITS) if seen else 0.0,
            "low": round(wilson(min(max(one.clicks - step, 0), seen), seen).low, _DIGITS),
            "high": round(wilson(min(one.clicks + step, seen), seen).high, _DIGITS),
        }
    return found


def tables(figures: Mapping[str, Any], most: int) -> list[Table]:
    """For people: campaigns, slots and segments, each the `most` seen."""
    found = []
    for title, rows in (
        ("campaigns", figures["campaigns"]),
        ("slots", figures["slots"]),
        (f"segments of more than {figures['k_floor']} people", figures["segments"]),
    ):
        table = Table(title, "impressions", "share", "clicks", "click rate", "95 %")
        for name, row in list(rows.items())[:most]:
            interval = f"{row['low']:.2%} to {row['high']:.2%}"
            cells = (f"{row['impressions']:,}", f"{row['share']:.1%}", f"{row['clicks']:,}", f"{row['click_rate']:.2%}")
            table.add_row(escape(name), *cells, interval)
        found.append(table)
    return found


def main(
    log: Annotated[list[str] | None, typer.Option(help="files, globs or s3://… of the log; else the tenant's")] = None,
    tenant: Annotated[str | None, typer.Option()] = None,
    k_floor: Annotated[int | None, typer.Option(min=1, help="the smallest group that is told of; K_FLOOR")] = None,
    most: Annotated[int, typer.Option(min=1, help="rows of each table")] = 20,
) -> None:
    """Reports exposure by campaign, segment and slot."""
    console = Console(stderr=True)
    try:
        settings = Settings.from_env()
        objects = None
        if tenant is not None or any(one.startswith("s3://") for one in log or ()):
            objects = sources.bucket(settings.bucket_name)
        names, others = sources.names_of(log or (), objects, tenant)
        files = sources.opened(names, objects)
        now = time.time()
        decided, told = read(files, now=now, explored_only=False)
        owner = tenant or ",".join(sources.tenants_of(names))  # one figure is rounded in one way, however it is read
        rounding = rounding_of(settings, owner)
    except (AdTailorError, ValueError, OSError) as error:
        console.print(f"exposure: {error}", style="bold red", highlight=False, markup=False)
        raise typer.Exit(1) from None
    if others:
        console.print(f"{others:,} files of other tenants: left out", highlight=False)
    for note in told.notes():
        console.print(note, highlight=False, markup=False)
    floor = settings.k_floor if k_floor is None else max(k_floor, settings.k_floor)
    figures = report(decided, settings.k_floor, rounding, now=now, floor=floor)
    if not figures["weeks"]:
        console.print("no week (Monday to Monday, UTC, and 26 hours for its clicks) to tell of yet", highlight=False)
    for table in tables(figures, most):
        console.print(table)
    console.print(f"and {figures['anonymous']['impressions']:,} impressions of nobody known", highlight=False)
    console.print(
        f"as if {figures['effective_campaigns']:.1f} campaigns shared it evenly; Gini {figures['gini_campaigns']:.2f}",
        highlight=False,
    )
    sys.stdout.write(json.dumps(figures, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    typer.run(main)
