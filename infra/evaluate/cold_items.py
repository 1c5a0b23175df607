"""What the next-item model makes of new items: ``python -m infra.evaluate.cold_items --items F --events F``.

A share of the items is taken out of every history of the training, with all that is known of their ids. The people
whose last item is one of them are asked for it through the model as it is served, which has nothing but its text:
once among all items, where those with a history compete, and once among the new ones alone. Beside it: chance, content
(the decayed mean of the history's vectors) and, for scale, the same model's recall for people whose last item it knows.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from infra.evaluate.histories import read_histories
from infra.evaluate.rank import Encode
from infra.training import next_item
from infra.training.next_item_mixture import content
from infra.training.sequence import Plan, centred
from shared.models.next_item import NextItem

DECAY = 0.8  # of content
WARM_USERS = 1000


def run(
    items: Path,
    events: Path,
    encode: Encode,
    *,
    share: float = 0.1,
    k: int = 10,
    seed: int = 0,
    budget_seconds: float | None = None,
    plan: Plan | None = None,
) -> dict[str, Any]:
    """Measures; see the module's docstring. share: of the items that are held out.

    Raises:
        ValueError: nobody's last item is among those held out.
    """
    deadline = time.monotonic() + 0.9 * (budget_seconds or next_item.SECONDS)
    histories, texts = read_histories(items, events)
    vectors = np.asarray(encode(texts), dtype=np.float32)
    new = np.random.default_rng(seed).random(histories.items) < share
    kept = np.flatnonzero(~new)
    places = np.cumsum(~new) - 1
    before, targets = histories.cut(1)
    known = [history[~new[history]] for history in before]
    asked = [place for place, target in enumerate(targets) if new[target] and len(known[place])]
    if not asked:
        raise ValueError("nobody's last item is among the new ones")
    warm = [place for place, target in enumerate(targets) if not new[target] and len(known[place])][:WARM_USERS]
    fitted = next_item.fit(
        [places[history] for history in known if len(history) >= 2],
        [histories.item_ids[place] for place in kept],
        vectors[kept],
        seed=seed,
        deadline=deadline,
        plan=plan,
        members=1,
    )
    with tempfile.TemporaryDirectory() as folder:
        fitted.save(Path(folder))
        model = NextItem.load(Path(folder))
    catalogue = model.prepare(histories.item_ids, vectors)

    def ours(place: int) -> np.ndarray:
        latest = known[place][::-1]
        ids = [histories.item_ids[item] for item in latest]
        return model.scores(catalogue, ids, vectors[latest], np.arange(len(latest), dtype=np.float32))

    people = [known[place] for place in asked]
    rivals = np.concatenate(list(content(centred(vectors, vectors.mean(axis=0)), people, DECAY)))
    mine = np.stack([ours(place) for place in asked])
    wanted = targets[asked]
    return {
        "new_items": int(new.sum()),
        "users": len(asked),
        "k": k,
        "among_all": {
            "ours": _recall(mine, people, wanted, k),
            "content": _recall(rivals, people, wanted, k),
            "chance": round(k / histories.items, 4),
            "popularity": 0.0,  # nobody has taken a new item yet
        },
        "among_new": {
            "ours": _recall(np.where(new, mine, -np.inf), people, wanted, k),
            "content": _recall(np.where(new, rivals, -np.inf), people, wanted, k),
            "chance": round(min(1.0, k / max(int(new.sum()), 1)), 4),
        },
        "known_items": {
            "users": len(warm),
            "ours": _recall(
                np.stack([ours(place) for place in warm]), [known[place] for place in warm], targets[warm], k
            ),
        },
    }


def _recall(scores: np.ndarray, seen: list[np.ndarray], targets: np.ndarray, k: int) -> float:
    """Share of the targets among the first k, what the history holds left out."""
    hits = 0
    for row, history, target in zip(scores, seen, targets, strict=True):
        better = row > row[target]
        better[history] = False
        hits += int(better.sum() < k)
    return round(hits / len(targets), 4)


def main(
    items: Annotated[Path, typer.Option(exists=True, dir_okay=False)],
    events: Annotated[Path, typer.Option(exists=True, dir_okay=False)],
    share: Annotated[float, typer.Option(min=0.01, max=0.5)] = 0.1,
    seed: Annotated[int, typer.Option()] = 0,
    budget_seconds: Annotated[float | None, typer.Option(min=1)] = None,
) -> None:
    """Recall of items that the next-item model has never seen."""
    from infra.evaluate.__main__ import ENCODER
    from shared.models.encoder import Encoder

    encoder = Encoder.load(ENCODER)
    found = run(
        items,
        events,
        lambda texts: encoder.encode(texts, "passage"),
        share=share,
        seed=seed,
        budget_seconds=budget_seconds,
    )
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    typer.run(main)
