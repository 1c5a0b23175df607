"""A head trained on a few rows, end to end on the real encoder: trained, exported, verified, served."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.errors import ArtifactError
from shared.models.classifier import Head
from shared.settings import Settings
from shared.wiring import System
from tests.conftest import TENANT, Aws, stores_on
from tests.data import ROOT, artifact

pytestmark = pytest.mark.slow

WORDS = {
    "phones": ["手机", "屏幕", "摄像头", "电池续航", "5G 芯片", "phone", "camera", "battery", "display", "charger"],
    "football": ["足球", "进球", "联赛", "守门员", "教练", "football", "goal", "league", "keeper", "striker"],
    "cooking": ["菜谱", "红烧肉", "烤箱", "面粉", "炒菜", "recipe", "oven", "flour", "soup", "sauce"],
}
CHINESE = ["{a}和{b}的全新体验", "为什么大家都在谈{a}？{b}", "{a}：关于{b}的三件事", "今天聊聊{a}，顺便说说{b}"]
ENGLISH = ["everything about {a} and {b}", "why {a} matters more than {b}", "a short story of {a} with {b}"]


def rows(count: int, seed: int) -> list[dict[str, str]]:
    """`count` texts of each label in turn, half of them Chinese."""
    generator = random.Random(seed)
    result = []
    for place in range(count):
        label = list(WORDS)[place % len(WORDS)]
        words = WORDS[label][:5] if place % 2 else WORDS[label][5:]
        first, second = generator.sample(words, 2)
        pattern = generator.choice(CHINESE if place % 2 else ENGLISH)
        result.append({"text": pattern.format(a=first, b=second), "label": label})
    return result


def write(path: Path, lines: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return path


@dataclass
class Training:
    folder: Path
    output: str


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Training:
    artifact("encoder")
    folder = tmp_path_factory.mktemp("heads")
    train, dev = write(folder / "train.jsonl", rows(60, 1)), write(folder / "dev.jsonl", rows(30, 2))
    command = [sys.executable, "-m", "infra.training.train_classifier", "--train", str(train), "--dev", str(dev)]
    command += ["--name", "topics", "--out", str(folder), "--epochs", "1", "--seed", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    return Training(folder / "topics", done.stderr)


def test_it_prints_its_loss_curve_and_stands_beside_tfidf(trained: Training) -> None:
    for part in ("training loss", "dev accuracy", "TF-IDF", "frozen head", "as served"):
        assert part in trained.output


def test_its_predictions_beat_chance(trained: Training) -> None:
    head = Head.load(trained.folder, threads=1)
    fresh = rows(60, 9)
    answers = head.classify([row["text"] for row in fresh], top=2)
    right = sum(answer.labels[0].id == row["label"] for answer, row in zip(answers, fresh, strict=True))
    assert right / len(fresh) > 0.8
    assert all(len(answer.labels) == 2 and 0 <= answer.labels[1].probability <= 0.5 for answer in answers)


def test_the_manifest_says_what_made_it(trained: Training) -> None:
    manifest = json.loads((trained.folder / "manifest.json").read_text())
    assert manifest["kind"] == "head"
    metadata = manifest["metadata"]
    assert metadata["labels"] == sorted(WORDS)
    assert metadata["seed"] == 3
    agreement = metadata["agreement"]
    assert agreement["same_label"] >= 0.9 and agreement["cosine"] > 0.99 and agreement["least_cosine"] > 0.95
    assert metadata["plan"]["stopped"] in ("planned", "patience")
    assert metadata["temperature"] > 0 and 0 <= metadata["threshold"] < 1
    assert {"accuracy", "macro_f1", "ece"} <= set(metadata["metrics"]["dev"])
    assert "warning" not in metadata["metrics"]


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_changed_file_is_refused(trained: Training, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(trained.folder, tmp_path / "copy")
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(bytes(content))
    with pytest.raises(ArtifactError, match=name):
        Head.load(folder)


def test_another_preprocessing_version_is_refused(trained: Training, tmp_path: Path) -> None:
    folder = shutil.copytree(trained.folder, tmp_path / "copy")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"preprocess_version": "0"}))
    with pytest.raises(ArtifactError, match="preprocessing version"):
        Head.load(folder)


def test_it_is_served_by_name_once_published(trained: Training, aws: Aws) -> None:
    from infra.training.export import publish
    from shared.models.artifacts import load_manifest

    publish(trained.folder, load_manifest(trained.folder), aws.s3, aws.bucket, TENANT)
    system = System(Settings(tenant=TENANT, bucket_name=aws.bucket, threads=1), stores_on(aws))
    head = system.head(TENANT, "topics")
    assert head.version == load_manifest(trained.folder).version
    (answer,) = head.classify(["红烧肉的菜谱"])
    assert answer.labels[0].id == "cooking"


def test_the_measuring_command_ends_with_one_json_object(tmp_path: Path) -> None:
    artifact("encoder")
    train, test = write(tmp_path / "train.jsonl", rows(90, 1)), write(tmp_path / "test.jsonl", rows(30, 2))
    command = [sys.executable, "-m", "infra.evaluate", "classify", "--train", str(train), "--test", str(test)]
    command += ["--budget-seconds", "40", "--seed", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    assert "tfidf" in done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["n"] == 30
    assert result["accuracy"] > 0.8 and 0 < result["macro_f1"] <= 1 and 0 <= result["ece"] <= 1
    assert result["seconds_train"] > 0 and result["texts_per_second"] > 0
    repeated = {row["text"] for row in rows(90, 1)}
    assert result["test_texts_in_train"] == sum(row["text"] in repeated for row in rows(30, 2))
    for baseline in ("tfidf", "frozen_head"):
        assert {"accuracy", "macro_f1"} <= set(result["baselines"][baseline])
