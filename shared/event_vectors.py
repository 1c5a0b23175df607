"""What is embedded of events that come in: items that are new, and texts that stand alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from shared.domain import Event
from shared.stores.catalogue import Catalogue, Item
from shared.stores.people import StoredEvent, pack_vector

if TYPE_CHECKING:
    import numpy as np

    from shared.models.encoder import Encoder


def with_vectors(
    catalogue: Catalogue, encoder: Callable[[], Encoder], tenant: str, batch: Mapping[str, Mapping[str, Event]]
) -> dict[str, list[StoredEvent]]:
    """The events of people, by uid and event id, as they are kept: an item that is new gets its row, a text that stands
    alone its own vector.

    encoder: called at the first text, so that a batch of known items never loads the model.
    """
    events = [event for many in batch.values() for event in many.values()]
    described: dict[str, Event] = {}
    for event in events:
        if event.item_id is None or not (event.text or event.tags):
            continue
        before = described.get(event.item_id)
        if before is None or (event.text and not before.text):  # the first that says in words what it is
            described[event.item_id] = event
    known = catalogue.known_items(tenant, described)
    new_items = {item_id: event for item_id, event in described.items() if item_id not in known and event.text}
    # An id that stands for nothing known: the tags alone count.
    tag_only = {item_id for item_id, event in described.items() if item_id not in known and item_id not in new_items}
    alone = [
        event for event in events if (event.item_id is None or event.item_id in tag_only) and (event.text or event.tags)
    ]
    texts = list(dict.fromkeys([*map(_text, new_items.values()), *map(_text, alone)]))
    vectors: dict[str, np.ndarray] = {}
    if texts:
        vectors = dict(zip(texts, encoder().encode(texts, kind="query"), strict=True))
    catalogue.put_items(
        tenant,
        [Item(item_id, pack_vector(vectors[_text(event)]), event.domain) for item_id, event in new_items.items()],
    )
    own = {id(event): pack_vector(vectors[_text(event)]) for event in alone}
    return {
        uid: [StoredEvent(event, vector=own.get(id(event), b"")) for event in many.values()]
        for uid, many in batch.items()
    }


def _text(event: Event) -> str:
    """What is embedded for an event: its text, and its tags where there is little text."""
    parts = [event.text or ""]
    if len(parts[0]) < 60:
        parts.append(" ".join(event.tags))
    return " ".join(part for part in parts if part)
