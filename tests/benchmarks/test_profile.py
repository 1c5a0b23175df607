"""A person of 10,000 events: what is kept of them, and how long one event more takes to be in their interests.

Budget: 25 ms in process on one thread, tables and network aside. Texts are the sample's, in both languages; an item's
vector is that of a sample text with a little noise of its own. The baseline folds all events anew for each read. Times
are the process's own, so that other work on the machine does not count.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import numpy as np
import orjson

from shared.domain import Event, Profile
from shared.evidence import Evidence, State, acquired_items, considered, dump_state, fold, load_state
from shared.interests import interests_of
from shared.models.classifier import TaxonomyClassifier, unit
from shared.models.encoder import Encoder
from shared.stores.people import StoredEvent, _profile_row
from shared.stores.table import marshal
from tests.benchmarks.table import Figures
from tests.data import ROOT, artifact

NOW = 1_790_000_000.0
EVENTS, ITEMS, DAYS = 10_000, 2_000, 90
SAMPLE = ROOT / "infra" / "sample"
KINDS = ("view", "click", "favourite", "cart", "purchase", "like", "comment", "share", "dismiss")
ODDS = (60, 15, 3, 4, 3, 6, 2, 2, 5)


def texts() -> list[tuple[str, str]]:
    """(domain, text) of the sample's items and ads; a fifth domain is none at all, which counts as e-commerce."""
    found = []
    for name in ("items", "ads_ecommerce", "ads_social", "ads_education", "ads_health"):
        for line in (SAMPLE / f"{name}.jsonl").read_bytes().splitlines():
            row = orjson.loads(line)
            found.append((row["domain"], row.get("text") or f"{row['title']}. {row['description']}"))
    return found


def history(known: list[tuple[str, str]]) -> tuple[list[StoredEvent], list[int]]:
    """Events in the order of time, and for each item the place of its text. People come back to few items often."""
    rng = random.Random(7)
    text_of = [rng.randrange(len(known)) for _ in range(ITEMS)]
    popular = [1 / (place + 10) for place in range(ITEMS)]
    chosen = list(range(ITEMS)) + rng.choices(range(ITEMS), popular, k=EVENTS - ITEMS)
    rng.shuffle(chosen)
    ages = sorted((rng.random() ** 2 * DAYS * 86400 for _ in chosen), reverse=True)
    events = []
    for number, (item, age) in enumerate(zip(chosen, ages, strict=True)):
        domain = None if item % 5 == 4 else known[text_of[item]][0]
        kind = rng.choices(KINDS, ODDS)[0]
        value = round(rng.lognormvariate(4, 1), 2) if kind == "purchase" else None
        event_id = f"{rng.getrandbits(64):016x}-{number}"
        event = Event("u", kind, NOW - age, event_id, f"item-{item:05d}", domain=domain, value=value)  # type: ignore[arg-type]
        events.append(StoredEvent(event))
    return events, text_of


def milliseconds(call: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        began = time.process_time()
        call()
        taken.append((time.process_time() - began) * 1000)
    return float(np.median(taken))


def test_a_profile_of_ten_thousand_events(figures: Figures) -> None:
    known = texts()
    events, text_of = history(known)
    base = Encoder.load(artifact("encoder"), threads=1).encode([text for _, text in known])
    noise = np.random.default_rng(7).normal(size=(ITEMS, 384)).astype(np.float32) * 0.005
    items = unit(base[text_of] + noise)
    vectors = {f"i/item-{item:05d}": items[item] for item in range(ITEMS)}
    classifiers = {name: TaxonomyClassifier.load(artifact(f"taxonomy-{name}")) for name in ("adproduct", "content")}

    state, count = fold({}, events)
    packed = dump_state(state, count)
    fresh = StoredEvent(Event("u", "view", NOW, "fresh", "item-00003", domain="ecommerce"))

    def read(state: State) -> Profile:
        chosen = considered(state, NOW)
        held = {one.key: vectors[one.key] for one in chosen.values()}
        interests = interests_of(chosen, held, classifiers, now=NOW, sensitive_allowed=True)
        return Profile("u", interests, (), NOW, count, 1, acquired_items(state, NOW))

    def one_more() -> Profile:
        return read(fold(load_state(packed)[0], [fresh])[0])

    def with_saving() -> bytes:
        state, count = load_state(packed)
        state, _ = fold(state, [fresh])
        read(state)
        return dump_state(state, count + 1)

    profile = one_more()
    assert count == EVENTS
    assert {interest.term for interest in profile.interests} == {"long", "session"}
    assert all(isinstance(one, Evidence) for one in state.values())
    stored = _profile_row("t/x/p/y", profile, count, 0)
    blobs = sum(len(one) for one in stored.values() if isinstance(one, bytes))
    row = blobs + len(orjson.dumps(marshal({n: one for n, one in stored.items() if not isinstance(one, bytes)})))
    figures.add("state of 10,000 events over 2,000 items", len(packed) / 1000, "kB", 300)
    figures.add("profile row of 10,000 events", row / 1000, "kB", 40)
    anew = milliseconds(lambda: read(fold({}, [*events, fresh])[0]), 3)
    figures.add(
        "fold of one event into 10,000 and its interests, p50", milliseconds(one_more, 25), "ms", 25, anew, "all"
    )
    figures.add("the same and packing the state, p50", milliseconds(with_saving, 15), "ms")
    figures.add("of it: reading the interests, p50", milliseconds(lambda: read(state), 25), "ms")
