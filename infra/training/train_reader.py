"""Trains the claim reader of a language: ``python -m infra.training.train_reader zh`` (or ``en``).

It reads the project's labelled ad lines (``infra/training/ledger``, and what ``--lines`` adds), holds a twelfth of the
ads out, learns an adapter to an encoder out of a wheel (`zh`: RoFormer-Sim small; `en`: multilingual-e5-small, which
also reads texts in another language than their ad's), fits what the reader and the ledger's rules are worth beside each
other on lines of writers whom neither knows, prints how good both are there beside the rules alone, and writes
``infra/training/ledger/reader-LANGUAGE``. ``make models`` builds what is served. On two cores 20 to 40 minutes; several
processes with ``torchrun``. What is shipped: ``en --epochs 2``; ``zh`` on the first 1,074 pairs, and after it ``zh
--go-on --epochs 1 --rate 5e-4`` on all.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import nn

from infra.training import distributed, loop
from infra.training.build_reader import CARD, LANGUAGES, LEDGER
from infra.training.frozen import Body, device
from infra.training.layers import Drop
from infra.training.loop import Batch, Measured, Progress
from infra.training.reader_lines import Ids, Labelled, encode, read_labelled, with_longer
from infra.training.reader_net import RANK, ReaderNet, adapted, collate, gone_on, merged
from infra.training.reader_source import ENCODERS, open_source
from infra.training.recipe import Recipe
from shared.domain import Claim, Language
from shared.models.reader import reader_for
from shared.policy.claims import trace_claims, unsupported
from shared.policy.literal import literal
from shared.policy.reading import SIGNS, doubt, signs

HERE = Path(__file__).parent
LEARNED = tuple(
    f"{name}.{language}.jsonl" for name in ("lines", "relations", "twins", "bare", "model") for language in LANGUAGES
)
# Of writers whom neither the reader nor the rules have learned from: beside its own writers' lines a reader seems to be
# worth more than it is.
WEIGHED = tuple(f"{name}.{language}.jsonl" for name in ("weights", "weights-bare") for language in LANGUAGES)
SPOKEN = tuple(f"weights-model.{language}.jsonl" for language in LANGUAGES)  # what a model wrote about their ads
DEVELOPMENT = tuple(HERE.parents[1] / "tests" / "unit" / f"ledger_dev.{language}.jsonl" for language in LANGUAGES)
STAGE = (
    "seed",
    "epochs",
    "rate",
    "batch",
    "longer",
    "ads",
    "lines",
    "processes",
    "seconds",
)  # what a card says of a training
HELD_OUT = 12  # one ad in so many
FOLDS = 5
SURE = 0.02  # how unsure a label is taken to be
TOKENS = 0.5  # weight of the tokens' loss beside the texts'
RARE = 3.0  # weight of a token within a span: few are
MISSED = 1.25  # what a missed claim costs, in refused true lines
# Of a model's true texts that nothing else is said against, those refused for the sake of its others.
GIVEN_UP = 0.3
RECIPE = Recipe(layers=0, length=0, epochs=0.0, batch=1, rate=0.0, label_smoothing=0.0, checks=6)

console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Lines:
    """Ads with their lines and token ids."""

    labelled: list[Labelled]
    ids: list[Ids]

    @property
    def planted(self) -> NDArray[np.float64]:
        """Of each line, 1 where it states what its ad does not say."""
        return np.array([label for one in self.ids for label in one.planted])


class ReaderTask:
    """What `loop.train` trains: members of a batch are ads with all of their lines."""

    def __init__(
        self, model: Any, body: Body, train: Sequence[Ids], dev: Sequence[Ids], recipe: Recipe, seed: int
    ) -> None:
        self.module = model
        self.body, self.train, self.dev, self.recipe, self.seed = body, train, dev, recipe, seed

    def groups(self) -> list[dict[str, Any]]:
        """Nothing of one dimension decays."""
        learned = [value for value in self.module.parameters() if value.requires_grad]
        return [
            {
                "params": [value for value in learned if (value.dim() > 1) == matrices],
                "lr": self.recipe.rate,
                "weight_decay": self.recipe.weight_decay if matrices else 0.0,
            }
            for matrices in (True, False)
        ]

    def loss(self, batch: Batch) -> torch.Tensor:
        """Cross-entropy of the texts' labels, and of the tokens within what is not supported."""
        members = [self.train[place] for place in batch.members]
        texts = sum(len(one.lines) for one in members)
        tokens = sum(len(line) for one in members for line in one.lines)
        # As wide as the whole batch, so that dropout is the same however many processes share it.
        width = max(one.tokens for one in members)
        rows = collate([self.train[place] for place in batch.own], self.body.pad, self.body.where, width)
        drop = Drop(self.recipe.dropout, (self.seed, batch.step, 0), batch.low, len(batch.members))
        with self.body.mixed_precision():
            said, doubted = self.module(rows, drop)
        label = rows.planted * (1 - 2 * SURE) + SURE
        whole = nn.functional.binary_cross_entropy_with_logits(said, label, reduction="sum") / texts
        part = nn.functional.binary_cross_entropy_with_logits(
            doubted[rows.of_text],
            rows.doubtful[rows.of_text],
            pos_weight=torch.tensor(RARE, device=doubted.device),
            reduction="sum",
        )
        return whole + TOKENS * part / tokens

    def adversary(self, batch: Batch) -> Batch:
        """There is none."""
        raise NotImplementedError

    def measure(self) -> Measured:
        """Log loss, accuracy and area under the curve of the lines held out."""
        logits, planted = self.predict(self.dev), np.concatenate([one.planted for one in self.dev])
        loss = float(np.logaddexp(0, np.where(planted > 0, -logits, logits)).mean())
        return Measured(loss, float(((logits > 0) == (planted > 0)).mean()), float(roc_auc_score(planted, logits)))

    def predict(self, items: Sequence[Ids]) -> NDArray[np.float64]:
        """The logit of every line, (lines,)."""
        self.module.eval()
        found: list[float] = []
        for start in range(0, len(items), 8):
            rows = collate(items[start : start + 8], self.body.pad, self.body.where)
            with torch.inference_mode(), self.body.mixed_precision():
                found += self.module(rows)[0].tolist()
        return np.array(found)


def read(paths: Iterable[Path], language: Language, tokenizer: Any, *, longer: int | None = None) -> Lines:
    """The lines of some files that the reader of a language reads, with longer texts of that seed where it is given."""
    found = [one for path in paths for one in read_labelled(path) if reader_for("".join(one.lines), one.ad) == language]
    if longer is not None:
        found = [with_longer(one, longer + place) for place, one in enumerate(found)]
    return Lines(found, [encode(one, tokenizer) for one in found])


def split(lines: Lines) -> tuple[Lines, Lines]:
    """What is learned from, and what is held out."""
    parts = Lines([], []), Lines([], [])
    for one, ids in zip(lines.labelled, lines.ids, strict=True):
        part = parts[one.group % HELD_OUT == 0]
        part.labelled.append(one)
        part.ids.append(ids)
    return parts


def weigh(logits: NDArray[np.float64], claims: list[list[Claim]], planted: NDArray[np.float64]) -> dict[str, float]:
    """What reader and rules are worth (`shared.policy.reading`), and from which log-odds on a text is refused."""
    data = np.array([signs(logit, one) for logit, one in zip(logits, claims, strict=True)])
    model = LogisticRegression().fit(data, planted)
    weights = dict(zip(SIGNS, (round(float(value), 4) for value in model.coef_[0]), strict=True))
    weights["bias"] = round(float(model.intercept_[0]), 4)
    odds = np.array([doubt(logit, one, weights) for logit, one in zip(logits, claims, strict=True)])
    levels = np.linspace(-2, 2, 81)
    costs = [MISSED * (odds[planted > 0] <= level).mean() + (odds[planted == 0] > level).mean() for level in levels]
    return weights | {"threshold": round(float(levels[int(np.argmin(costs))]), 4)}


def careful(logits: NDArray[np.float64], claims: list[list[Claim]], weights: dict[str, float]) -> float:
    """The log-odds from which on a model's text is refused; given are its texts that are true and nothing else has
    been said against."""
    odds = [doubt(logit, one, weights) for logit, one in zip(logits, claims, strict=True)]
    return (
        math.ceil(float(np.quantile(odds, 1 - GIVEN_UP, method="higher")) * 1e4) / 1e4 if odds else weights["threshold"]
    )


def _rates(refused: NDArray[np.bool_], planted: NDArray[np.float64]) -> dict[str, float]:
    found, false = int(refused[planted > 0].sum()), int(refused[planted == 0].sum())
    return {
        "recall": round(found / max(1, int((planted > 0).sum())), 4),
        "false_rejections": round(false / max(1, int((planted == 0).sum())), 4),
    }


def main(
    language: Annotated[str, typer.Argument(help="zh or en")],
    more: Annotated[list[Path] | None, typer.Option("--lines", help="labelled lines of your own, JSON Lines")] = None,
    out: Annotated[Path | None, typer.Option(help="a folder; by default the one that make models builds from")] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="train nothing: weigh the reader that is there against the rules again")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="write nothing: print how good the reader that is there is")
    ] = False,
    go_on: Annotated[
        bool, typer.Option("--go-on", help="learn on from the adapter that is there, after more lines came")
    ] = False,
    longer: Annotated[
        bool, typer.Option("--longer", help="learn longer texts too, of an ad's sentences and of its lines")
    ] = False,
    epochs: Annotated[float, typer.Option()] = 4.0,
    rate: Annotated[float, typer.Option()] = 1e-3,
    batch: Annotated[int, typer.Option(help="ads")] = 4,
    rank: Annotated[int, typer.Option(help="of the adapter")] = RANK,
    ads: Annotated[int, typer.Option(help="to learn from at most; 0: all")] = 0,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Train, measure on the ads held out, and write the adapter."""
    if language not in ENCODERS:
        raise typer.BadParameter(f"language: {' or '.join(ENCODERS)}")
    folder = out or LEDGER / f"reader-{language}"
    torch.manual_seed(seed)
    with distributed.joined():
        source, tokenizer = open_source(language)
        body = Body(source.model, source.model.config.pad_token_id, device())
        for path in more or ():
            if not read([path], language, tokenizer).ids:  # type: ignore[arg-type]
                raise typer.BadParameter(f"{path.name} has no lines that the reader {language} reads")
        unknown = read((LEDGER / name for name in WEIGHED), language, tokenizer)  # type: ignore[arg-type]
        spoken = read((LEDGER / name for name in SPOKEN), language, tokenizer)  # type: ignore[arg-type]
        if keep or measure:
            task = ReaderTask(merged(ReaderNet(body), folder), body, [], [], RECIPE, seed)
            about = json.loads((folder / CARD).read_text(encoding="utf-8"))
        else:
            paths = [*(LEDGER / name for name in LEARNED), *DEVELOPMENT, *(more or ())]
            found = read(paths, language, tokenizer, longer=seed if longer else None)  # type: ignore[arg-type]
            train, dev = split(found)
            kept = np.random.default_rng(seed).permutation(len(train.ids))[: ads or None]
            learned = [train.ids[place] for place in kept]
            recipe = replace(RECIPE, layers=body.depth, epochs=epochs, batch=batch, rate=rate)
            about = {
                "language": language,
                "encoder": source.name,
                "revision": source.revision,
                "seed": seed,
                "epochs": epochs,
                "rate": rate,
                "batch": batch,
                "longer": longer,
                "ads": len(learned),
                "lines": sum(len(one.lines) for one in learned),
                "processes": distributed.size(),
            }
            if go_on:
                before = json.loads((folder / CARD).read_text(encoding="utf-8"))
                about["after"] = {name: before[name] for name in (*STAGE, "after") if name in before}
            console.print(about | {"ads_held_out": len(dev.ids)})
            net = gone_on(ReaderNet(body), folder) if go_on else adapted(ReaderNet(body), rank)
            task = ReaderTask(net, body, learned, dev.ids, recipe, seed)
            planned = loop.planned_batches([one.tokens for one in learned], recipe, seed)
            about["seconds"] = round(loop.train(task, planned, recipe, report=say).seconds)
        if distributed.is_first():
            if not keep and not measure:
                # Half of the size, and what is lost is less than int8 loses.
                task.module.half().save_pretrained(str(folder))
                task.module.float()
                (folder / "README.md").unlink(missing_ok=True)
            card = about | _judged(task, unknown, spoken)
            if measure:
                return
            (folder / CARD).write_text(json.dumps(card, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def say(progress: Progress) -> None:
    console.print(
        f"{progress.share:5.0%}  loss {progress.loss:.3f}  held out: loss {progress.dev_loss:.3f}, "
        f"accuracy {progress.dev_accuracy:.3f}, area under the curve {progress.dev_macro_f1:.3f}"
    )


def _judged(task: ReaderTask, unknown: Lines, spoken: Lines) -> dict[str, Any]:
    """What reader and rules are worth, by cross-validation over ads how good they are alone and together, and of a
    model's texts that the rules and the literal reading let through, on which it was found how strict to be, how many
    are refused."""
    logits, planted = task.predict(unknown.ids), unknown.planted
    claims = [trace_claims(line, one.ad) for one in unknown.labelled for line in one.lines]
    ads = np.repeat(np.arange(len(unknown.ids)), [len(one.lines) for one in unknown.ids])
    together = np.zeros(len(planted), bool)
    for fold in range(FOLDS):
        rest, own = np.flatnonzero(ads % FOLDS != fold), np.flatnonzero(ads % FOLDS == fold)
        weights = weigh(logits[rest], [claims[place] for place in rest], planted[rest])
        together[own] = [doubt(logits[place], claims[place], weights) > weights["threshold"] for place in own]
    rules = np.array([any(claim.support is None for claim in one) for one in claims])
    figures = {
        "lines": len(planted),
        "area_under_curve": round(float(roc_auc_score(planted, logits)), 4),
        "together": _rates(together, planted),
        "rules": _rates(rules, planted),
    }
    weights = weigh(logits, claims, planted)
    logits, planted, claims = _let_through(task, spoken)
    true = np.flatnonzero(planted == 0)
    weights["strict"] = careful(logits[true], [claims[place] for place in true], weights)
    odds = np.array([doubt(logit, one, weights) for logit, one in zip(logits, claims, strict=True)])
    model = {
        "true": len(true),
        "planted": len(planted) - len(true),
        "strict": _rates(odds > weights["strict"], planted),
    }
    console.print(figures | {"model": model})
    return {"weights": weights, "unknown_writers": figures, "model": model}


def _let_through(task: ReaderTask, lines: Lines) -> tuple[NDArray[np.float64], NDArray[np.float64], list[list[Claim]]]:
    """Of the lines that neither the rules nor the literal reading refuse: logits, labels and claims."""
    logits, planted = task.predict(lines.ids), lines.planted
    texts = [(line, one.ad) for one in lines.labelled for line in one.lines]
    claims = [trace_claims(line, ad) for line, ad in texts]
    kept = [
        place
        for place, ((line, ad), one) in enumerate(zip(texts, claims, strict=True))
        if not unsupported(one) and not literal(line, ad, one)
    ]
    return logits[kept], planted[kept], [claims[place] for place in kept]


if __name__ == "__main__":
    typer.run(main)
