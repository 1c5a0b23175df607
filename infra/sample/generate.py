"""Turns the sample's people and items into a behaviour log of 45 days, in the event format of the upload.

What is hand-written lies in ``items.jsonl``, ``people.jsonl``, ``texts.jsonl`` and the ads' files. This module lets
each person of ``people.jsonl`` live through it: sessions at their hours (`infra.sample.sessions`), and their own story
where they have one. A person's chances depend on `SEED` and their id, so adding one hardly changes the others' lines.

    python -m infra.sample.generate                            # writes the committed events.jsonl again
    python -m infra.sample.generate --until now --out FILE     # the same log, ending now

The committed file lacks `event_id` in about a tenth of its lines, as real senders do; `events` always gives one, and it
does not depend on `until`, so loading the sample a second time changes nothing.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from pathlib import Path

from infra.sample.sessions import Act, behaviour
from infra.sample.sources import FOLDER, Row, people, texts, things

ANCHOR = datetime(2026, 11, 24, 12, tzinfo=UTC)  # the committed log ends here
DAYS = 45
SEED = 20261124
REPEATED_LINES = 0.01  # share of lines that a sender's retry wrote twice
WITHOUT_ID = 0.10  # share of the committed lines that carry no event_id


def _story(person: Row) -> Iterator[Act]:
    """The scripted acts of a named person."""
    for number, step in enumerate(person.get("story", ())):
        item = things()[step["item_id"]] if "item_id" in step else None
        yield Act(
            at=ANCHOR.timestamp() - 60 * step["minutes_before"] + (number * 17) % 29,
            event=step["event"],
            platform=person["platforms"][0],
            domain=item["domain"] if item else step["domain"],
            item=item,
            text=step.get("text"),
            tags=tuple(step.get("tags", ())),
            value=step.get("value"),
        )


def _lines(person: Row, acts: Iterable[Act]) -> Iterator[tuple[float, Row]]:
    """One person's acts as lines; an item brings its text and tags where the person meets it first."""
    zone = timezone(timedelta(hours=person["utc_offset"]))
    met: set[str] = set()
    for number, act in enumerate(sorted(acts, key=lambda act: act.at), start=1):
        text, tags = act.text, list(act.tags)
        if act.item and act.item["item_id"] not in met:
            met.add(act.item["item_id"])
            text, tags = text or act.item["text"], tags or act.item["tags"]
        at = int(act.at)
        line: Row = {
            "event_id": f"{person['user_id'].removeprefix('u-')}-{number:04d}",
            "user_id": person["user_id"],
            "event": act.event,
            "timestamp": _rfc3339(datetime.fromtimestamp(at, zone)),
            "item_id": act.item["item_id"] if act.item else None,
            "platform": act.platform,
            "domain": act.domain,
            "text": text,
            "tags": tags or None,
            "value": act.value,
        }
        yield at, {name: value for name, value in line.items() if value is not None}


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


@cache
def _log() -> tuple[Row, ...]:
    """The whole log as it ends at `ANCHOR`, in the order of time, with the lines that were sent twice."""
    timed: list[tuple[float, Row]] = []
    first = (ANCHOR - timedelta(days=DAYS)).timestamp()
    stories = {person["user_id"]: list(_story(person)) for person in people()}
    taken = {act.text for acts in stories.values() for act in acts}
    remarks = {text for (kind, _, _), found in texts().items() if kind == "remark" for text in found}
    for person in people():
        acts = stories[person["user_id"]]
        for act in behaviour(person, random.Random(f"{SEED}/{person['user_id']}"), ANCHOR, DAYS):
            own_words = act.event in ("comment", "consult") and act.text not in remarks
            if first <= act.at <= ANCHOR.timestamp() and not (own_words and act.text in taken):
                acts.append(act)
                if own_words:
                    taken.add(act.text)  # two people never write the same sentence
        timed += _lines(person, acts)
    timed.sort(key=lambda pair: (pair[0], pair[1]["event_id"]))
    rows = [row for _, row in timed]
    rng = random.Random(SEED)
    scripted = _scripted()
    places = [place for place, row in enumerate(rows) if row["user_id"] not in scripted]
    for place in sorted(rng.sample(places, round(len(rows) * REPEATED_LINES)), reverse=True):
        rows.insert(place + rng.randint(1, 12), rows[place])
    return tuple(rows)


def _scripted() -> frozenset[str]:
    """The people with a story: their lines come once and with their ids."""
    return frozenset(person["user_id"] for person in people() if "story" in person)


def shift(rows: Iterable[Row], until: float) -> Iterator[Row]:
    """The rows moved in time as a whole, so that a log which ended at `ANCHOR` ends at `until` (epoch seconds).

    The hours of the day move along: a person who read in the morning still has a rhythm, but not that one.
    """
    delta = timedelta(seconds=int(until) - int(ANCHOR.timestamp()))
    for row in rows:
        yield row | {"timestamp": _rfc3339(datetime.fromisoformat(row["timestamp"]) + delta)}


def events(until: float) -> Iterator[Row]:
    """The sample's behaviour, ending at `until` (epoch seconds), each line with its `event_id`."""
    return shift(_log(), until)


def committed() -> Iterator[Row]:
    """The lines of ``events.jsonl``: some carry no `event_id`, but never those that come twice."""
    rng = random.Random(SEED + 1)
    times: dict[str, int] = {}
    for row in _log():
        times[row["event_id"]] = times.get(row["event_id"], 0) + 1
    scripted = _scripted()
    for row in _log():
        drop = rng.random() < WITHOUT_ID and times[row["event_id"]] == 1 and row["user_id"] not in scripted
        yield {name: value for name, value in row.items() if not (drop and name == "event_id")}


def main(arguments: list[str] | None = None) -> None:
    """Writes the log (see the module)."""
    parser = argparse.ArgumentParser(description="Write the sample's behaviour as JSON Lines.")
    parser.add_argument("--until", help="'now' or an RFC 3339 time: where the log ends (default: the committed file)")
    parser.add_argument("--out", type=Path, default=FOLDER / "events.jsonl", help="file to write, '-' for stdout")
    chosen = parser.parse_args(arguments)
    rows: Iterable[Row] = committed()
    if chosen.until:
        moment = datetime.now(UTC) if chosen.until == "now" else datetime.fromisoformat(chosen.until)
        rows = events(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())
        if chosen.out == FOLDER / "events.jsonl":
            parser.error("--until needs --out: the committed file always ends at the same time")
    lines = "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)
    if str(chosen.out) == "-":
        sys.stdout.write(lines)
    else:
        chosen.out.write_text(lines, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
