"""Runs the commands behind the table of measured figures (infra/guides/measured.md), one after another, on this
machine, and prints what each said beside what the table says.

    python -m infra.reproduce                             # which there are, and what each needs
    python -m infra.reproduce --data DIR --only beauty --only policy
    python -m infra.reproduce --data DIR --all --out measured   # hours; one log a figure

DIR is a data pack's folder (`classify/…`, `behaviour/…`, as the tasks' formats have it). A figure measured on rows held
out by hash is given the same rows: those whose CRC-32 modulo 100 is below the share. Exit status 1: one failed.
"""

from __future__ import annotations

import gzip
import json
import os
import shlex
import subprocess
import sys
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

TABLE = Path(__file__).resolve().parent / "guides" / "measured.md"


@dataclass(frozen=True, slots=True)
class Figure:
    """One or more rows of the table. command: as the table has it, with names of `files` in braces. files: by name a
    path of the data pack. held_out: of these files a share of rows (percent) becomes ``{name}_test``, the rest
    ``{name}_train``, by the CRC-32 of the row's field of that name. later: of these a share of rows, those of the
    highest values of the field, becomes ``{name}_later``, the rest ``{name}_before``. without: rows of the first file
    that stand in the second are left out of it."""

    name: str
    command: str
    files: tuple[tuple[str, str], ...] = ()
    held_out: tuple[tuple[str, str, int], ...] = ()
    later: tuple[tuple[str, str, int], ...] = ()
    without: tuple[tuple[str, str], ...] = ()


def _classify(name: str, folder: str) -> Figure:
    command = "python -m infra.evaluate classify --train {rows_train} --test {rows_test}"
    return Figure(name, command, (("rows", f"classify/{folder}/train.jsonl.gz"),), (("rows", "text", 15),))


def _rank(folder: str, module: str = "infra.evaluate rank") -> tuple[str, tuple[tuple[str, str], ...]]:
    files = tuple((name, f"behaviour/{folder}/{name}.jsonl.gz") for name in ("items", "events"))
    return f"python -m {module} --items {{items}} --events {{events}}", files


def _bandit(log: str, target: str, who: str) -> Figure:
    files = (("log", f"bandit/obd/{log}/{who}.csv.gz"), ("target", f"bandit/obd/{target}/{who}.csv.gz"))
    return Figure(f"ope-{who}-{log}", "python -m infra.evaluate ope --log {log} --target {target}", files)


FIGURES = (
    Figure("budgets", "make bench"),
    Figure("kills", "pytest tests/integration/test_kill.py tests/unit/test_splitting.py"),
    Figure("fuzzing", "make fuzz"),
    Figure("writers", "pytest tests/integration/test_writers.py"),
    Figure("load", "make load"),
    Figure("memory", "pytest tests/integration/test_memory.py"),
    Figure("deployment", "pytest tests/sam/test_deploy.py"),
    Figure("freshness", "python -m infra.load.freshness --rounds 30"),
    Figure(
        "copy",
        "python -m infra.evaluate copy --products {products}",
        (("products", "copy/slogan/train.jsonl.gz"),),
    ),
    Figure("audiences", "python -m infra.evaluate audiences --limit 50"),
    Figure("ledger-zh", "python -m infra.evaluate ledger --cases tests/labelled/ledger.zh.jsonl"),
    Figure("ledger-en", "python -m infra.evaluate ledger --cases tests/labelled/ledger.en.jsonl"),
    Figure("ledger-fresh-zh", "python -m infra.evaluate ledger --cases infra/training/ledger/fresh.zh.jsonl"),
    Figure("ledger-fresh-en", "python -m infra.evaluate ledger --cases infra/training/ledger/fresh.en.jsonl"),
    Figure("ledger-model-zh", "python -m infra.evaluate ledger --cases infra/training/ledger/fresh-model.zh.jsonl"),
    Figure("ledger-model-en", "python -m infra.evaluate ledger --cases infra/training/ledger/fresh-model.en.jsonl"),
    Figure("reader-zh", "python -m infra.training.train_reader zh --measure"),
    Figure("reader-en", "python -m infra.training.train_reader en --measure"),
    Figure("policy", "python -m infra.evaluate policy --cases tests/labelled/policy.jsonl"),
    Figure("policy-fresh", "python -m infra.evaluate policy --cases infra/training/policy/fresh.jsonl"),
    Figure("copywriter", "python -m infra.training.train_copywriter"),
    Figure(
        "thucnews",
        "python -m infra.evaluate classify --train {train} --test {test} --budget-seconds 3600",
        (("train", "classify/thucnews/train.jsonl.gz"), ("test", "classify/thucnews/dev.jsonl.gz")),
    ),
    _classify("queries", "qic"),
    _classify("industries", "slogan_industry"),
    _classify("videos", "kuairec"),
    Figure(
        "tnews",
        "python -m infra.evaluate classify --train {train} --dev {dev} --unlabelled {more} --test {test}",
        (
            ("train", "classify/tnews/train_0.jsonl.gz"),
            ("dev", "classify/tnews/dev_0.jsonl.gz"),
            ("more", "classify/tnews/unlabelled.jsonl.gz"),
            ("test", "classify/tnews/dev.jsonl.gz"),
        ),
        without=(("test", "dev"),),  # a fifth of dev is what dev_0 chooses on
    ),
    Figure(
        "iflytek",
        "python -m infra.evaluate classify --train {train} --dev {dev} --test {test}",
        (
            ("train", "classify/iflytek/train_0.jsonl.gz"),
            ("dev", "classify/iflytek/dev_0.jsonl.gz"),
            ("test", "classify/iflytek/dev.jsonl.gz"),
        ),
        without=(("test", "dev"),),
    ),
    Figure(
        "zero-shot",
        "python -m infra.evaluate taxonomy"
        " --test tests/labelled/taxonomy.a.jsonl --test tests/labelled/taxonomy.b.jsonl",
    ),
    Figure("beauty", *_rank("beauty")),
    Figure("toys", *_rank("toys")),
    Figure("unordered", *_rank("beauty", "infra.evaluate rank --unordered")),
    Figure("new-items", *_rank("beauty", "infra.evaluate.cold_items")),
    Figure(
        "films",
        "python -m infra.evaluate ctr --items {items} --train {train_before} --valid {train_later} --test {valid}",
        tuple((name, f"ctr/ml1m/{name}.jsonl.gz") for name in ("items", "train", "valid")),
        later=(("train", "timestamp", 25),),
    ),
    Figure(
        "headlines",
        "python -m infra.evaluate headlines --train {tests_train} --test {tests_test}",
        (("tests", "headlines/upworthy/train.jsonl.gz"),),
        (("tests", "test_id", 20),),
    ),
    *(_bandit(log, target, who) for who in ("men", "women") for log, target in (("random", "bts"), ("bts", "random"))),
    Figure("estimators", "python -m infra.ope.simulation --repetitions 300 --decisions 4000"),
    Figure("loop", "pytest tests/unit/test_ranker_training.py"),
    Figure("campaigns", "pytest tests/contract/test_campaigns.py"),
    Figure("erasure", "pytest -s tests/integration/test_erasure.py"),
    Figure("erasure-cut", "pytest tests/contract/test_erasing_cut.py tests/contract/test_erasing.py"),
    Figure("consent", "pytest tests/integration/test_consent_required.py"),
    Figure("isolation", "pytest tests/integration/test_isolation.py"),
    Figure("contact", "pytest -s tests/unit/test_contact.py -k labelled"),
    Figure("console", "pytest -s tests/browser/test_console.py"),
    Figure("own-data", "pytest -s tests/integration/test_tutorial.py"),
    Figure("auctions", "python -m infra.load.auctions --seed 2"),
)

# The row of the table that a figure is of: how it begins.
ROWS = {
    "budgets": "every budget of one full run",
    "kills": "an upload whose taker is killed",
    "fuzzing": "10,000 fuzzed requests",
    "writers": "200 writers",
    "load": "mixed load",
    "memory": "memory of an upload",
    "deployment": "a clean deployment",
    "freshness": "an event in the next recommendation",
    "copy": "copy for 470 held-out products",
    "audiences": "two audiences of one ad",
    "ledger-zh": "claim ledger",
    "ledger-en": "claim ledger",
    "ledger-fresh-zh": "ad lines of other writers",
    "ledger-fresh-en": "ad lines of other writers",
    "ledger-model-zh": "what the local model writes",
    "ledger-model-en": "what the local model writes",
    "reader-zh": "the readers, asked of every line",
    "reader-en": "the readers, asked of every line",
    "policy": "policy packs",
    "policy-fresh": "the same on 620 lines",
    "copywriter": "the copywriter adapter",
    "thucnews": "classify, thucnews",
    "queries": "classify, medical queries",
    "industries": "classify, industries",
    "videos": "classify, short videos",
    "tnews": "classify, tnews",
    "iflytek": "classify, iflytek",
    "zero-shot": "zero-shot",
    "beauty": "next item on Beauty",
    "unordered": "a domain where order says nothing",
    "toys": "the same on Toys",
    "new-items": "new items of Beauty",
    "films": "votes on films",
    "headlines": "headlines",
    "ope-men-random": "one policy's value",
    "ope-men-bts": "one policy's value",
    "ope-women-random": "one policy's value",
    "ope-women-bts": "one policy's value",
    "estimators": "simulated logs",
    "loop": "the loop",
    "campaigns": "16 clients in 4 workers",
    "erasure": "50 of 250 people erased",
    "erasure-cut": "an erasure cut off",
    "consent": "1,000 requests of 14 kinds",
    "isolation": "447 attempts",
    "contact": "contact data",
    "console": "the console's first view",
    "own-data": "the page `own-data.md`",
    "auctions": "2,000 auctions",
}


def told(name: str, table: Path = TABLE) -> tuple[str, str]:
    """What the table measured, and the figure, in the row of a figure's name.

    Raises:
        LookupError: no row, or more than one, begins so.
    """
    lines = [line for line in table.read_text("utf-8").splitlines() if line.startswith(f"| {ROWS[name]}")]
    if len(lines) != 1:
        raise LookupError(f"{len(lines)} rows of {table.name} begin with {ROWS[name]!r}")
    what, figure, _ = (cell.strip() for cell in lines[0].strip("| ").split(" | "))
    return what, figure


def prepared(figure: Figure, data: Path | None, folder: Path) -> list[str]:
    """The command's words, with files in place of their names.

    Raises:
        FileNotFoundError: it needs a data pack, or one that has this file.
    """
    paths: dict[str, str] = {}
    for name, inner in figure.files:
        if data is None or not (data / inner).exists():
            raise FileNotFoundError(f"{figure.name} needs {inner} of a data pack: --data DIR")
        paths[name] = str(data / inner)
    for name, field, share in figure.held_out:
        paths |= {f"{name}_{part}": str(path) for part, path in split(Path(paths[name]), field, share, folder).items()}
    for name, field, share in figure.later:
        paths |= {
            f"{name}_{part}": str(path) for part, path in in_time(Path(paths[name]), field, share, folder).items()
        }
    for name, chosen_on in figure.without:
        paths[name] = str(left_out(Path(paths[name]), Path(paths[chosen_on]), folder))
    words = shlex.split(figure.command)
    words = [word.format(**paths) for word in words]
    if words[0] == "python":
        return [sys.executable, *words[1:]]
    return [sys.executable, "-m", *words] if words[0] == "pytest" else words


def split(path: Path, field: str, share: int, folder: Path) -> dict[str, Path]:
    """The file's rows in two: ``test`` has those whose field's CRC-32 modulo 100 is below `share`, ``train`` others."""
    parts = {part: folder / f"{path.parent.name}.{part}.jsonl" for part in ("train", "test")}
    with (
        gzip.open(path, "rt", encoding="utf-8") as rows,
        parts["train"].open("w") as train,
        parts["test"].open("w") as test,
    ):
        for row in rows:
            held_out = zlib.crc32(str(json.loads(row)[field]).encode()) % 100 < share
            (test if held_out else train).write(row)
    return parts


def in_time(path: Path, field: str, share: int, folder: Path) -> dict[str, Path]:
    """The file's rows in two: ``later`` has the `share` percent of the highest values of the field, ``before`` the
    others, both in its order."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = sorted(file, key=lambda row: float(json.loads(row)[field]))
    cut = len(rows) * (100 - share) // 100
    parts = {
        part: folder / f"{path.parent.name}.{path.name.partition('.')[0]}.{part}.jsonl" for part in ("before", "later")
    }
    for target, some in zip(parts.values(), (rows[:cut], rows[cut:]), strict=True):
        target.write_text("".join(f"{row.rstrip()}\n" for row in some), encoding="utf-8")
    return parts


def left_out(path: Path, others: Path, folder: Path) -> Path:
    """The file without the rows that stand in the other, field for field."""
    with gzip.open(others, "rt", encoding="utf-8") as rows:
        known = {json.dumps(json.loads(row), sort_keys=True) for row in rows}
    rest = folder / f"{path.parent.name}.rest.jsonl"
    with gzip.open(path, "rt", encoding="utf-8") as rows, rest.open("w", encoding="utf-8") as kept:
        kept.writelines(row for row in rows if json.dumps(json.loads(row), sort_keys=True) not in known)
    return rest


def main(
    only: Annotated[list[str] | None, typer.Option(help="names of figures")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="every figure: hours")] = False,
    data: Annotated[Path | None, typer.Option(help="folder of a data pack")] = None,
    out: Annotated[Path, typer.Option(help="folder of the logs")] = Path("measured"),
) -> None:
    """Runs the commands behind the measured figures."""
    console = Console(stderr=True)
    chosen = [figure for figure in FIGURES if every or figure.name in (only or ())]
    unknown = set(only or ()) - {figure.name for figure in FIGURES}
    if unknown:
        console.print(f"no figure named {', '.join(sorted(unknown))}", style="bold red", markup=False)
        raise typer.Exit(1)
    if not chosen:
        table = Table("figure", "command", "of the data pack")
        for figure in FIGURES:
            table.add_row(figure.name, figure.command, ", ".join(inner for _, inner in figure.files))
        console.print(table)
        return
    out.mkdir(parents=True, exist_ok=True)
    failed = []
    for figure in chosen:
        with tempfile.TemporaryDirectory() as folder:
            try:
                command = prepared(figure, data, Path(folder))
            except FileNotFoundError as error:
                console.print(str(error), style="bold red", markup=False)
                failed.append(figure.name)
                continue
            begun = monotonic()
            log = out / f"{figure.name}.log"
            with log.open("wb") as written:
                status = subprocess.run(command, stdout=written, stderr=written, env=os.environ, check=False).returncode
        lines = log.read_text("utf-8", "replace").splitlines()
        what, before = told(figure.name)
        console.print(f"{figure.name}: {monotonic() - begun:.0f} s, status {status}, {log}", markup=False)
        console.print(f"  here   {lines[-1] if lines else '(it said nothing)'}", markup=False, highlight=False)
        console.print(f"  table  {before} ({what})", markup=False, highlight=False)
        if status:
            failed.append(figure.name)
    raise typer.Exit(1 if failed else 0)


if __name__ == "__main__":
    typer.run(main)
