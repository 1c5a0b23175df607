"""Who is shown what: exposure and clicks by campaign, by segment and by slot, from the decision log.

    python -m infra.exposure --tenant demo                          # the tenant's log, in the bucket
    python -m infra.exposure --log 'logs/*.jsonl.gz' --k-floor 50

A table goes to stderr, one JSON object to the last line of stdout. What is said of a segment is said of people:
segments of fewer than k people (`K_FLOOR`), and campaigns within a segment that fewer than k people saw, are left out
and only counted; where that leaves a rest of fewer than k people, which a subtraction would tell, the next campaign
goes with it. Impressions that nobody is known for count by campaign and slot, and for no segment. Exit status 1: there
is no log.
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infra.ope import sources
from infra.ope.decisions import WINDOW, Decided, Told, read
from infra.ope.intervals import wilson
from shared.errors import AdTailorError
from shared.settings import Settings

NO_CAMPAIGN = "(none)"
_DIGITS = 6


@dataclass(slots=True)
class Counted:
    """Impressions, clicks, and the people whom they are known to be of."""

    impressions: int = 0
    clicks: int = 0
    people: set[str] = field(default_factory=set)

    def add(self, clicked: bool, person: str | None) -> None:
        self.impressions += 1
        self.clicks += clicked
        if person is not None:
            self.people.add(person)

    def figures(self, whole: int) -> dict[str, Any]:
        """With the share of the `whole`, and the click rate's interval."""
        rate = wilson(self.clicks, self.impressions)
        return {
            "impressions": self.impressions,
            "clicks": self.clicks,
            "share": round(self.impressions / whole, _DIGITS) if whole else 0.0,
            "click_rate": round(rate.estimate, _DIGITS),
            "low": round(rate.low, _DIGITS),
            "high": round(rate.high, _DIGITS),
        }


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


def report(decided: Sequence[Decided], told: Told, k_floor: int) -> dict[str, Any]:
    """The report's figures. Campaigns that had a chance but were never seen count as unseen, not as absent."""
    campaigns: dict[str, Counted] = defaultdict(Counted)
    slots: dict[int, Counted] = defaultdict(Counted)
    ads: dict[str, int] = defaultdict(int)
    segments: dict[str, dict[str, Counted]] = defaultdict(lambda: defaultdict(Counted))
    total = Counted()
    for one in decided:
        campaign_of = {ad.ad_id: ad.campaign_id or NO_CAMPAIGN for ad in one.candidates}
        for campaign in campaign_of.values():
            campaigns[campaign].impressions += 0
        for shown in one.shown:
            if not shown.seen:
                continue
            campaign = campaign_of[shown.ad_id]
            total.add(shown.reward, one.person)
            campaigns[campaign].add(shown.reward, one.person)
            slots[shown.slot].add(shown.reward, one.person)
            ads[shown.ad_id] += 1
            for segment in one.segments if one.person is not None else ():
                segments[segment][campaign].add(shown.reward, one.person)
    told_of, hidden = _segments(segments, k_floor)
    counts = [one.impressions for one in campaigns.values()]
    return {
        "impressions": total.impressions,
        "clicks": total.clicks,
        "decisions": told.decisions,
        "gini_campaigns": round(gini(counts), _DIGITS),
        "effective_campaigns": round(effective_number(counts), 3),
        "campaigns_seen": sum(count > 0 for count in counts),
        "gini_ads": round(gini(ads.values()), _DIGITS),
        "effective_ads": round(effective_number(ads.values()), 3),
        "campaigns": _ranked(
            {name: one for name, one in campaigns.items() if not 0 < len(one.people) < k_floor}, total.impressions
        ),
        "campaigns_below_k": sum(0 < len(one.people) < k_floor for one in campaigns.values()),
        "slots": {str(slot + 1): slots[slot].figures(total.impressions) for slot in sorted(slots)},
        "k_floor": k_floor,
        "segments": told_of,
        "segments_below_k": hidden,
        "log": {"lines": told.lines, "young": told.young, "unseen": told.unseen, "bad": dict(told.bad)},
    }


def _segments(segments: Mapping[str, Mapping[str, Counted]], k_floor: int) -> tuple[dict[str, dict[str, Any]], int]:
    """What may be said of segments, by name, and of how many nothing may be."""
    told: dict[str, dict[str, Any]] = {}
    for name in sorted(segments):
        held = segments[name]
        whole = Counted(
            sum(one.impressions for one in held.values()),
            sum(one.clicks for one in held.values()),
            set().union(*(one.people for one in held.values())),
        )
        if len(whole.people) < k_floor:
            continue
        enough = _enough(held, k_floor)
        counts = [one.impressions for one in held.values()]
        told[name] = whole.figures(whole.impressions) | {
            "people": len(whole.people),
            "effective_campaigns": round(effective_number(counts), 3),
            "campaigns": _ranked(enough, whole.impressions),
            "campaigns_below_k": len(held) - len(enough),
        }
    return told, len(segments) - len(told)


def _enough(held: Mapping[str, Counted], k_floor: int) -> dict[str, Counted]:
    """The campaigns of a segment that may be told of: neither they nor the rest are about fewer than k people."""
    told = {campaign: one for campaign, one in held.items() if len(one.people) >= k_floor}
    rest: set[str] = set().union(*(one.people for campaign, one in held.items() if campaign not in told))
    for campaign in sorted(told, key=lambda name: (len(told[name].people), name)):
        if not rest or len(rest) >= k_floor:
            break
        rest |= told.pop(campaign).people
    return told


def _ranked(held: Mapping[str, Counted], whole: int) -> dict[str, dict[str, Any]]:
    """The most seen first."""
    order = sorted(held, key=lambda name: (-held[name].impressions, name))
    return {name: held[name].figures(whole) for name in order}


def tables(figures: Mapping[str, Any], most: int) -> list[Table]:
    """For people: campaigns, slots and segments, each the `most` seen."""
    found = []
    for title, rows in (
        ("campaigns", figures["campaigns"]),
        ("slots", figures["slots"]),
        (f"segments of at least {figures['k_floor']} people", figures["segments"]),
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
    window_hours: Annotated[float, typer.Option(min=0, help="in which a click counts")] = WINDOW / 3600,
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
        decided, told = read(files, now=time.time(), window=window_hours * 3600, explored_only=False)
    except (AdTailorError, ValueError, OSError) as error:
        console.print(f"exposure: {error}", style="bold red", highlight=False, markup=False)
        raise typer.Exit(1) from None
    if others:
        console.print(f"{others:,} files of other tenants: left out", highlight=False)
    for note in told.notes():
        console.print(note, highlight=False, markup=False)
    figures = report(decided, told, settings.k_floor if k_floor is None else max(k_floor, settings.k_floor))
    for table in tables(figures, most):
        console.print(table)
    console.print(
        f"as if {figures['effective_campaigns']:.1f} campaigns shared it evenly; Gini {figures['gini_campaigns']:.2f}; "
        f"{figures['segments_below_k']:,} segments are too small to tell of",
        highlight=False,
    )
    sys.stdout.write(json.dumps(figures, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    typer.run(main)
