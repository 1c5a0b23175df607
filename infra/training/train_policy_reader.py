"""Trains the reader of ad law of a language: ``python -m infra.training.train_policy_reader zh`` (or ``en``).

It reads the project's labelled ad lines (``infra/training/policy/lines.jsonl``, and what ``--lines`` adds), holds a
twelfth of them out, learns an adapter to the encoder of the language's claim reader, whose own weights stay as they are
(``infra/training/ledger/reader-LANGUAGE``), finds on the lines held out from which log-odds on a text is stopped, and
from which below a finding of the rules is lifted, prints how good reader and rules are there with these levels, and
writes ``infra/training/policy/reader-LANGUAGE``. ``make models`` puts it beside the claim reader that is served. On two
cores 10 to 20 minutes; several processes with ``torchrun``. What is shipped: ``zh --epochs 7`` and ``en --epochs 6
--rank 32`` on half of the lines, ``zh --go-on --epochs 2 --rate 7e-4`` and ``en --go-on --epochs 1.5 --rate 7e-4`` on
three quarters, on all but the last 757 ``zh --go-on --epochs 2 --rate 3e-4`` and ``en --go-on --epochs 1.5 --rate
7e-4``, and on all ``en --go-on --epochs 1 --rate 5e-4``.
"""

from __future__ import annotations

import json
import random
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from peft import LoraConfig, inject_adapter_in_model
from rich.console import Console
from sklearn.metrics import roc_auc_score
from torch import nn

from infra.evaluate.rows import read_jsonl
from infra.training import distributed, loop
from infra.training.build_reader import CARD, LEDGER, POLICY, fingerprint
from infra.training.frozen import Body, device
from infra.training.graph import ADAPTED
from infra.training.layers import Drop
from infra.training.loop import Batch
from infra.training.reader_lines import Ids
from infra.training.reader_net import ReaderNet, Rows, collate, merged
from infra.training.reader_source import ENCODERS, open_source
from infra.training.recipe import Recipe
from infra.training.train_reader import ReaderTask, say
from shared.models.policy_reader import ADAPTER, header, reads
from shared.models.reader import TEXT_TOKENS
from shared.policy.folding import fold_text
from shared.policy.packs import book
from shared.policy.rules import blocking, check

LINES = POLICY / "lines.jsonl"
HELD_OUT = 12  # one line in so many
RANK = 16
GROUP = 4  # lines that share a row, and what stands before them
MISSED = 1.0  # what a missed violation costs, in lawful lines stopped
JOINED = 0.6  # texts of several lines that are made, for each line
SURE = 0.03  # how unsure a label is taken to be
RULES = 0.3  # weight of the rules' loss beside the verdicts'
RECIPE = Recipe(layers=0, length=0, epochs=0.0, batch=8, rate=0.0, label_smoothing=0.0, checks=8)

STAGE = ("seed", "epochs", "rate", "lines", "violations", "processes", "seconds")  # what a card says of a training

console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Line:
    """A line. rule: the one that it breaks, or that it looks like breaking; empty where that is not known."""

    text: str
    jurisdiction: str
    domain: str | None
    violation: bool
    rule: str


class PolicyNet(nn.Module):
    """A claim reader's net with an adapter in its layers and heads of its own over a line's first token."""

    def __init__(self, net: ReaderNet, rank: int, rules: int) -> None:
        super().__init__()
        hidden = net.token.in_features
        self.net = net.requires_grad_(False)
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=list(ADAPTED)), self.net)
        self.pooled, self.odds, self.rules = nn.Linear(hidden, hidden), nn.Linear(hidden, 1), nn.Linear(hidden, rules)
        self.pooled.load_state_dict(net.text[0].state_dict())

    def forward(self, rows: Rows, drop: Drop | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-odds that each line breaks a rule, (lines,), and the rules' scores, (lines, rules), float32."""
        hidden = self.net.hidden(rows, drop)
        state = torch.tanh(self.pooled(hidden[rows.heads[:, 0], rows.heads[:, 1]]))
        return self.odds(state).squeeze(-1).float(), self.rules(state).float()

    def arrays(self) -> dict[str, NDArray[np.float16]]:
        """What is served (`shared.models.policy_reader`): the adapter's matrices by kind, and the heads."""
        found: dict[str, NDArray[np.float32]] = {}
        for kind in ADAPTED:
            layers: list[Any] = [getattr(layer, kind) for layer in self.net.layers]
            for part, name in (("down", "lora_A"), ("up", "lora_B")):
                scale = layers[0].scaling["default"] if part == "up" else 1.0
                found[f"{kind}.{part}"] = np.stack(
                    [getattr(one, name)["default"].weight.detach().float().cpu().numpy().T * scale for one in layers]
                )
        for name in ("pooled", "odds", "rules"):
            for part, value in getattr(self, name).named_parameters():
                found[f"{name}.{part}"] = value.detach().float().cpu().numpy()
        return {name: value.astype(np.float16) for name, value in found.items()}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> PolicyNet:
        """Takes the weights that `arrays` gave."""
        with torch.no_grad():
            for kind in ADAPTED:
                for number, layer in enumerate(self.net.layers):
                    one: Any = getattr(layer, kind)
                    for part, name in (("down", "lora_A"), ("up", "lora_B")):
                        scale = one.scaling["default"] if part == "up" else 1.0
                        value = arrays[f"{kind}.{part}"][number].astype(np.float32).T / scale
                        getattr(one, name)["default"].weight.copy_(torch.from_numpy(value))
            for name in ("pooled", "odds", "rules"):
                for part, parameter in getattr(self, name).named_parameters():
                    parameter.copy_(torch.from_numpy(arrays[f"{name}.{part}"].astype(np.float32)))
        return self


@dataclass(frozen=True, slots=True)
class Packed:
    """Lines as the reader takes them: some with the same jurisdiction and domain in a row. places: of each row's lines
    among the lines; rules: of each, -1 where it is not known."""

    ids: list[Ids]
    places: list[list[int]]
    rules: list[list[int]]


class PolicyTask(ReaderTask):
    """What `loop.train` trains: members of a batch are rows of lines."""

    def __init__(self, model: Any, body: Body, train: Packed, dev: Packed, recipe: Recipe, seed: int) -> None:
        super().__init__(model, body, train.ids, dev.ids, recipe, seed)
        self.rules = train.rules

    def loss(self, batch: Batch) -> torch.Tensor:
        """Cross-entropy of the verdicts, and of the rules where they are known."""
        members = [self.train[place] for place in batch.members]
        lines = sum(len(one.lines) for one in members)
        known = sum(rule >= 0 for place in batch.members for rule in self.rules[place])
        width = max(one.tokens for one in members)
        rows = collate([self.train[place] for place in batch.own], self.body.pad, self.body.where, width)
        drop = Drop(self.recipe.dropout, (self.seed, batch.step, 0), batch.low, len(batch.members))
        with self.body.mixed_precision():
            odds, rules = self.module(rows, drop)
        label = rows.planted * (1 - 2 * SURE) + SURE
        verdict = nn.functional.binary_cross_entropy_with_logits(odds, label, reduction="sum") / lines
        known_rules = [rule for place in batch.own for rule in self.rules[place]]
        wanted = torch.tensor(known_rules, dtype=torch.long, device=rules.device)
        which = nn.functional.cross_entropy(rules, wanted, ignore_index=-1, reduction="sum") / max(1, known)
        return verdict + RULES * which


def read(paths: Iterable[Path], language: str) -> list[Line]:
    """The lines of some files that the reader of a language reads; of a violation whose rule is not named, the one by
    which the packs find it."""
    found: list[Line] = []
    for path in paths:
        for row in read_jsonl(path):
            text, jurisdiction, domain = row["text"], row["jurisdiction"], row.get("domain")
            folded = fold_text(text).text
            if reads(folded, jurisdiction) != language:
                continue
            rule = row.get("rule", "")
            if not rule and row["violation"]:
                rule = next((one.rule for one in blocking(check(text, domain, jurisdiction, likeness=False))), "")
            found.append(Line(folded, jurisdiction, domain, bool(row["violation"]), rule))
    return found


def split(lines: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """What is learned from, and what is held out."""
    parts: tuple[list[Line], list[Line]] = [], []
    for line in lines:
        parts[zlib.crc32(line.text.encode()) % HELD_OUT == 0].append(line)
    return parts


def longer_texts(lines: Sequence[Line], seed: int) -> list[Line]:
    """Texts of two or three lines of the same place and domain, every second one with a violation among lawful ones: so
    that it is found there, and many sentences are no sign of one."""
    chosen = random.Random(seed)  # nosec B311
    groups: dict[tuple[str | None, str], tuple[list[Line], list[Line]]] = defaultdict(lambda: ([], []))
    for line in lines:
        groups[line.domain, line.jurisdiction][line.violation].append(line)
    found: list[Line] = []
    for (domain, jurisdiction), (lawful, unlawful) in groups.items():
        for number in range(round(JOINED * (len(lawful) + len(unlawful)))):
            bad = [chosen.choice(unlawful)] if number % 2 and unlawful else []
            more = chosen.randint(1, 2) + (not bad)
            if len(lawful) < more:
                continue
            some = [*bad, *chosen.sample(lawful, more)]
            chosen.shuffle(some)
            found.append(
                Line(_together([one.text for one in some]), jurisdiction, domain, bool(bad), bad[0].rule if bad else "")
            )
    return found


def _together(texts: Sequence[str]) -> str:
    """Sentences as one text."""
    whole = ""
    for text in texts:
        if whole:
            chinese = any("\u3400" <= char <= "\u9fff" for char in whole)
            whole += ("" if whole[-1] in "。.！!？?…" else "。" if chinese else ".") + ("" if chinese else " ")
        whole += text
    return whole


def packed(lines: Sequence[Line], tokenizer: Any, rules: Sequence[str], seed: int = 0) -> Packed:
    """The lines in rows of `GROUP`, by chance."""
    number = {rule: place for place, rule in enumerate(rules)}
    groups: dict[tuple[str | None, str], list[int]] = defaultdict(list)
    for place in np.random.default_rng(seed).permutation(len(lines)).tolist():
        groups[lines[place].domain, lines[place].jurisdiction].append(place)
    result = Packed([], [], [])
    for (domain, jurisdiction), members in groups.items():
        head = tokenizer.encode(header(domain, jurisdiction)).ids
        for start in range(0, len(members), GROUP):
            own = members[start : start + GROUP]
            rows = [tokenizer.encode(lines[place].text).ids[:TEXT_TOKENS] for place in own]
            planted = [float(lines[place].violation) for place in own]
            result.ids.append(Ids(head, rows, [[0.0] * len(row) for row in rows], planted))
            result.places.append(own)
            result.rules.append([number.get(lines[place].rule, -1) for place in own])
    return result


def judged(odds: NDArray[np.float64], lines: Sequence[Line]) -> dict[str, Any]:
    """From which log-odds on a line is stopped, and from which below what the rules found is lifted: what makes fewest
    mistakes on the lines; how good both are with them, and the rules alone."""
    truth = np.array([line.violation for line in lines])
    ruled = np.array(
        [bool(blocking(check(line.text, line.domain, line.jurisdiction, likeness=False))) for line in lines]
    )
    grid = np.round(np.arange(-6.0, 3.01, 0.1), 1).tolist()

    def stopped(stop: float, lifted: float) -> NDArray[np.bool_]:
        return (odds > stop) | (ruled & (odds >= lifted))

    def wrong(pair: tuple[float, float]) -> float:
        found = stopped(*pair)
        return MISSED * float((truth & ~found).sum()) + float((found & ~truth).sum())

    pairs = [(stop, lifted) for stop in grid if stop >= -2 for lifted in grid if lifted <= stop]
    stop, lifted = min(pairs, key=lambda pair: (wrong(pair), pair[1], abs(pair[0])))
    return {
        "threshold": stop,
        "lifted": lifted,
        "lines": len(lines),
        "area_under_curve": round(float(roc_auc_score(truth, odds)), 4),
        "together": _rates(stopped(stop, lifted), truth),
        "reader": _rates(odds > stop, truth),
        "rules_alone": _rates(ruled, truth),
    }


def _rates(stopped: NDArray[np.bool_], truth: NDArray[np.bool_]) -> dict[str, float]:
    return {
        "recall": round(float(stopped[truth].mean()), 4),
        "precision": round(float(truth[stopped].mean()), 4) if stopped.any() else 1.0,
    }


def main(
    language: Annotated[str, typer.Argument(help="zh or en")],
    more: Annotated[list[Path] | None, typer.Option("--lines", help="labelled lines of your own, JSON Lines")] = None,
    out: Annotated[Path | None, typer.Option(help="a folder; by default the one that make models builds from")] = None,
    go_on: Annotated[
        bool,
        typer.Option(
            "--go-on", help="learn on from the adapter that is there, longer texts besides; rank and rules stay"
        ),
    ] = False,
    epochs: Annotated[float, typer.Option()] = 5.0,
    rate: Annotated[float, typer.Option()] = 1e-3,
    rank: Annotated[int, typer.Option(help="of the adapter")] = RANK,
    most: Annotated[int, typer.Option(help="lines to learn from at most; 0: all")] = 0,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Train, measure on the lines held out, and write the adapter."""
    if language not in ENCODERS:
        raise typer.BadParameter(f"language: {' or '.join(ENCODERS)}")
    for path in more or ():
        if not read([path], language):
            raise typer.BadParameter(f"{path.name} has no lines that the reader {language} reads")
    folder = out or POLICY / f"reader-{language}"
    torch.manual_seed(seed)
    with distributed.joined():
        source, tokenizer = open_source(language)
        body = Body(source.model, source.model.config.pad_token_id, device())
        net = merged(ReaderNet(body), LEDGER / f"reader-{language}")
        learned, held = split(read([LINES, *(more or ())], language))
        kept = np.random.default_rng(seed).permutation(len(learned))[: most or None]
        learned = [learned[place] for place in kept]
        rules = sorted(frozenset.union(*(book().ids(one) for one in {line.jurisdiction for line in learned})))
        before: dict[str, Any] = {}
        if go_on:
            before = json.loads((folder / CARD).read_text(encoding="utf-8"))
            rules, rank = before["rules"], before["rank"]
            learned, held = [*learned, *longer_texts(learned, seed)], [*held, *longer_texts(held, seed)]
        model = PolicyNet(net, rank, len(rules)).to(body.where)
        if go_on:
            with np.load(folder / ADAPTER) as arrays:
                model.load(arrays)
        train, dev = packed(learned, tokenizer, rules, seed), packed(held, tokenizer, rules)
        recipe = replace(RECIPE, layers=body.depth, epochs=epochs, rate=rate)
        about: dict[str, Any] = {
            "language": language,
            "encoder": source.name,
            "revision": source.revision,
            "seed": seed,
            "epochs": epochs,
            "rate": rate,
            "rank": rank,
            "lines": len(learned),
            "violations": sum(line.violation for line in learned),
            "processes": distributed.size(),
            "claims": fingerprint(LEDGER / f"reader-{language}"),
        }
        if go_on:
            about["after"] = {name: before[name] for name in (*STAGE, "after") if name in before}
        console.print(about | {"held_out": len(held)})
        task = PolicyTask(model, body, train, dev, recipe, seed)
        planned = loop.planned_batches([one.tokens for one in train.ids], recipe, seed)
        about["seconds"] = round(loop.train(task, planned, recipe, report=say).seconds)
        if distributed.is_first():
            odds = np.empty(len(held))
            odds[[place for row in dev.places for place in row]] = task.predict(dev.ids)
            figures = judged(odds, held)
            console.print(figures)
            folder.mkdir(parents=True, exist_ok=True)
            np.savez(folder / ADAPTER, **model.arrays())
            levels = {name: figures.pop(name) for name in ("threshold", "lifted")}
            # A rule that no line is about has not been learned, and what it finds is not lifted.
            lifts = sorted(set(rules) & {line.rule for line in learned if line.violation})
            card = about | {"rules": rules, "lifts": lifts} | levels | {"held_out": figures}
            (folder / CARD).write_text(json.dumps(card, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
