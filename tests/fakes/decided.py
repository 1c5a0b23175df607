"""Decision logs made by the policy that serves, with clicks of known probability, and rankers that a test can foresee.

What is clicked follows the column `history_match`, which the content ranker does not look at, and the slot.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import orjson
from onnx import TensorProto, helper

from shared.decision_log import Candidate, Record, line_of, pack
from shared.domain import Decision, RankedAd
from shared.exploration import Traits, slate
from shared.models.artifacts import write_manifest
from shared.models.features import FEATURES, HISTORY_ITEMS
from shared.models.ranker import Ranker

BEGIN = 1_790_000_000.0
DRIVER = FEATURES.index("history_match")
EXAMINATION = (1.0, 0.7, 0.5, 0.4)


def click_chance(columns: np.ndarray, slot: int) -> np.ndarray:
    """True click probabilities of ads with these columns (n, F) in a slot, (n,)."""
    odds = -2.0 + 2.5 * columns[:, DRIVER]
    return np.asarray(EXAMINATION[slot] / (1 + np.exp(-odds)))


def decision_lines(
    count: int,
    *,
    ads: int = 20,
    slots: int = 3,
    epsilon: float = 0.3,
    rotation: float = 0.2,
    seed: int = 0,
    score: Callable[[np.ndarray], np.ndarray] | None = None,
    ranker: str = "content-prior-1",
) -> list[dict[str, Any]]:
    """Lines of a log of the content ranker, or of another `score` of columns (n, F), as serving writes them."""
    rng = np.random.default_rng(seed)
    score = score or Ranker().log_odds_of
    lines = []
    for number in range(count):
        columns = np.zeros((ads, len(FEATURES)), dtype=np.float32)
        columns[:, FEATURES.index("prior")] = -2.0
        columns[:, FEATURES.index("similarity")] = rng.normal(0, 0.15, ads)
        columns[:, DRIVER] = rng.normal(0, 0.6, ads)
        scores = 1 / (1 + np.exp(-score(columns).astype(np.float64)))
        order = np.argsort(-scores, kind="stable")
        campaigns = [f"campaign-{ad % 5}" for ad in range(ads)]
        plan = slate(scores[order], [Traits({})] * ads, slots, epsilon=epsilon, rotation=rotation)
        at = BEGIN + 60.0 * number
        shown = [int(order[place]) for place in plan.draw(rng)]
        decision = Decision(
            decision_id=f"d{seed}-{number:06d}",
            uid=f"person-{rng.integers(200):03d}",
            at=at,
            ads=tuple(RankedAd(f"ad-{ad:03d}", "", float(scores[ad]), (), propensity=1.0) for ad in shown),
            personalised=True,
            versions={"ranker": ranker},
        )
        candidates = [
            Candidate(
                ad_id=f"ad-{order[place]:03d}",
                campaign_id=campaigns[order[place]],
                category=None,
                labels=[],
                score=float(scores[order[place]]),
                slot=slot,
                propensity=plan.chances[slot][place],
                base=place == plan.base[slot],
                features=columns[order[place]].tolist(),
            )
            for place, slot in plan.places()
        ]
        record = Record(
            domain="ecommerce",
            language="en",
            platform=None,
            placement=None,
            n=slots,
            epsilon=epsilon,
            rotation=plan.rotation,
            redraws=0,
            segments=[f"segment-{number % 2}"],
            history=["item-1"],
            history_ages=[0.5],
            candidates=candidates,
        )
        feedback = {f"impression/ad-{ad:03d}": at + 1 for ad in shown}
        for slot, ad in enumerate(shown):
            if rng.random() < click_chance(columns[[ad]], slot)[0]:
                feedback[f"click/ad-{ad:03d}"] = at + 30
        line = line_of(pack(record, decision), feedback)
        assert line is not None
        lines.append(line)
    return lines


def write_log(path: Path, lines: Sequence[dict[str, Any]]) -> Path:
    """A log file as the bucket has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(b"".join(orjson.dumps(line) + b"\n" for line in lines), mtime=0))
    return path


def make_ranker(folder: Path, weight: float, bias: float = -2.0) -> Path:
    """A ranker whose click model is ``bias + weight * history_match``."""
    slots = HISTORY_ITEMS + 1
    shapes: dict[str, tuple[int, list[Any]]] = {
        "history": (TensorProto.FLOAT, [slots, 384]),
        "history_rows": (TensorProto.INT64, [slots]),
        "ages": (TensorProto.FLOAT, [slots]),
        "mask": (TensorProto.FLOAT, [slots]),
        "vectors": (TensorProto.FLOAT, ["n", 384]),
        "rows": (TensorProto.INT64, ["n"]),
        "columns": (TensorProto.FLOAT, ["n", len(FEATURES)]),
    }
    weights = np.zeros(len(FEATURES), dtype=np.float32)
    weights[DRIVER] = weight
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["columns", "weights"], ["moved"]),
            helper.make_node("Add", ["moved", "bias"], ["log_odds"]),
        ],
        "clicks",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in shapes.items()],
        [helper.make_tensor_value_info("log_odds", TensorProto.FLOAT, ["n"])],
        [
            helper.make_tensor("weights", TensorProto.FLOAT, [len(FEATURES)], weights),
            helper.make_tensor("bias", TensorProto.FLOAT, [1], [bias]),
        ],
    )
    folder.mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(folder / "clicks.onnx"))
    settings = {"format": 1, "features": list(FEATURES), "history_items": HISTORY_ITEMS, "ids": []}
    (folder / "clicks.json").write_text(json.dumps(settings), encoding="utf-8")
    write_manifest(folder, "ranker", "ranker")
    return folder
