"""Every measured figure can be measured again by one command."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from infra import reproduce
from tests.data import ROOT

# What no single command repeats: an upload by hand, a first start, an import of one's own files, a chain of trainings.
BY_HAND = (
    "aws s3 cp",
    "make run",
    "adtailor import",
    "train_ranker",
    "infra/DECISIONS.md",
    "make models",
    "transformers",
)


def rows() -> list[str]:
    """The table's last cells."""
    text = (ROOT / "infra/guides/measured.md").read_text("utf-8").partition("Real people of that upload")[0]
    cells = [line.rstrip(" |").rpartition(" | ")[2] for line in text.splitlines() if line.startswith("| ")]
    return cells[2:] if cells[1].startswith("---") else cells[1:]


def shape(command: str) -> str:
    """The command without what is put in for files, and benchmarks as the one command that they are part of."""
    command = command.partition(" ARGS=")[0]
    return re.sub(r" (\{\w+\}|F|train_0|dev_0)(?= |$)", " F", command)


def test_every_row_has_its_command() -> None:
    known = {shape(figure.command) for figure in reproduce.FIGURES}
    missing = []
    for cell in rows():
        commands = [shape(command) for command in re.findall(r"`([^`]+)`", cell)]
        by_hand = any(word in cell for word in BY_HAND)
        if commands and not by_hand and not known & set(commands):
            missing.append(cell)
    assert missing == []
    assert len(rows()) > 40


def test_names_are_each_of_one_figure() -> None:
    names = [figure.name for figure in reproduce.FIGURES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("figure", reproduce.FIGURES, ids=lambda figure: figure.name)
def test_each_figure_has_one_row_of_the_table_with_its_command(figure: reproduce.Figure) -> None:
    what, said = reproduce.told(figure.name)
    assert what and said
    (row,) = [line for line in reproduce.TABLE.read_text("utf-8").splitlines() if line.startswith(f"| {what} |")]
    command = row.rstrip(" |").rpartition(" | ")[2]
    program = " ".join(figure.command.split()[:4]) if figure.command.startswith("python") else figure.command
    assert program in command or command == "the same"


def test_what_was_measured_stands_beside_what_the_table_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = reproduce.Figure("policy", "python -c \"print('precision .9')\"")
    monkeypatch.setattr(reproduce, "FIGURES", (small,))
    app = typer.Typer()
    app.command()(reproduce.main)
    done = CliRunner().invoke(app, ["--only", "policy", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.stderr
    assert "here   precision .9" in done.stderr and f"table  {reproduce.told('policy')[1][:15]}" in done.stderr


def test_later_rows_are_held_out_by_time(tmp_path: Path) -> None:
    path = tmp_path / "votes" / "train.jsonl.gz"
    path.parent.mkdir()
    times = [7.5, 3, 10, 1, 30, 2, 9, 8]
    with gzip.open(path, "wt") as file:
        file.write("\n".join(json.dumps({"at": at}) for at in times))  # the last one without a newline
    parts = reproduce.in_time(path, "at", 25, tmp_path)
    found = {name: [json.loads(row)["at"] for row in part.read_text().splitlines()] for name, part in parts.items()}
    assert found == {"before": [1, 2, 3, 7.5, 8, 9], "later": [10, 30]}


def test_rows_are_held_out_by_hash(tmp_path: Path) -> None:
    texts = [{"text": f"text {number}", "label": "a"} for number in range(500)]
    path = tmp_path / "qic" / "train.jsonl.gz"
    path.parent.mkdir()
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in texts).encode()))
    parts = reproduce.split(path, "text", 15, tmp_path)
    found = {name: part.read_text().splitlines() for name, part in parts.items()}
    assert len(found["train"]) + len(found["test"]) == 500
    assert 45 <= len(found["test"]) <= 105
    assert sorted(map(json.loads, found["train"] + found["test"]), key=str) == sorted(texts, key=str)


def test_a_figure_without_its_data_says_what_it_needs(tmp_path: Path) -> None:
    [beauty] = [figure for figure in reproduce.FIGURES if figure.name == "beauty"]
    with pytest.raises(FileNotFoundError, match="behaviour/beauty/items"):
        reproduce.prepared(beauty, tmp_path, tmp_path)
    (tmp_path / "behaviour/beauty").mkdir(parents=True)
    for name in ("items", "events"):
        (tmp_path / f"behaviour/beauty/{name}.jsonl.gz").touch()
    assert reproduce.prepared(beauty, tmp_path, tmp_path)[1:4] == ["-m", "infra.evaluate", "rank"]


def test_what_was_chosen_on_is_no_test(tmp_path: Path) -> None:
    """tnews is tested on what dev_0 leaves of dev."""
    (tnews,) = [figure for figure in reproduce.FIGURES if figure.name == "tnews"]
    texts = [{"text": f"text {number}", "label": "a"} for number in range(10)]
    for _, inner in tnews.files:
        path = tmp_path / inner
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = texts if path.name == "dev.jsonl.gz" else [texts[3], texts[7]]
        path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    words = reproduce.prepared(tnews, tmp_path, tmp_path)
    tested = Path(words[words.index("--test") + 1])
    assert [json.loads(row) for row in tested.read_text("utf-8").splitlines()] == [
        row for row in texts if row["text"] not in ("text 3", "text 7")
    ]
