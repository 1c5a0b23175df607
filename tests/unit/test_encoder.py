"""The built encoder: full-precision golden vectors, and what holds for any text."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors import ArtifactError
from shared.models.encoder import DIMENSIONS, MAX_TOKENS, Encoder
from tests.data import ROOT, artifact

pytestmark = pytest.mark.slow

GOLDEN = json.loads(Path(__file__).with_name("encoder_golden.json").read_text(encoding="utf-8"))["vectors"]
TEXTS = [
    "浏览了一款智能手机",
    "a",
    "Trail running shoes, waterproof",
    "定期体检，预防高血压。" * 12,
    "",
    "Купите новый телефон сегодня",
    "สวัสดีครับ",
    "🙂",
]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load(artifact("encoder"), threads=1)


@pytest.mark.parametrize("golden", GOLDEN, ids=[one["text"] for one in GOLDEN])
def test_vectors_agree_with_full_precision(encoder: Encoder, golden: dict) -> None:
    expected = np.array(golden["vector"], np.float32)
    actual = encoder.encode([golden["text"]], golden["kind"])[0]
    assert actual @ expected > 0.993


def test_shape_type_and_length(encoder: Encoder) -> None:
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), DIMENSIONS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-4)


def test_no_texts_give_no_vectors(encoder: Encoder) -> None:
    assert encoder.encode([]).shape == (0, DIMENSIONS)


def test_the_order_of_a_batch_does_not_matter(encoder: Encoder) -> None:
    forward = encoder.encode(TEXTS)
    backward = encoder.encode(TEXTS[::-1])[::-1]
    assert (forward * backward).sum(axis=1).min() > 0.9999


def test_a_text_has_its_vector_in_any_company(encoder: Encoder) -> None:
    together = encoder.encode(TEXTS * 5)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS * 5])
    assert (together * alone).sum(axis=1).min() > 0.98


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u3000"])
def test_a_text_without_content_has_one_vector(encoder: Encoder, text: str) -> None:
    np.testing.assert_array_equal(encoder.encode([text]), encoder.encode([""]))


def test_a_query_is_not_a_passage(encoder: Encoder) -> None:
    query, passage = (encoder.encode(["运动鞋"], kind)[0] for kind in ("query", "passage"))
    assert 0.8 < query @ passage < 0.999


def test_a_long_text_is_cut(encoder: Encoder) -> None:
    start = "word " * (2 * MAX_TOKENS)
    first, second = encoder.encode([start + "phone", start + "insurance"])
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_translations_are_nearer_than_other_topics(encoder: Encoder) -> None:
    chinese = encoder.encode(["智能手机", "旅行保险", "猫粮"])
    english = encoder.encode(["smartphone", "travel insurance", "cat food"])
    np.testing.assert_array_equal((chinese @ english.T).argmax(axis=1), [0, 1, 2])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(max_size=60), min_size=1, max_size=6))
def test_any_text_has_a_finite_vector_of_unit_length(encoder: Encoder, texts: list[str]) -> None:
    vectors = encoder.encode(texts)
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-4)


def test_a_changed_model_refuses_to_load(tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(artifact("encoder"), folder)
    content = bytearray((folder / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.onnx").write_bytes(bytes(content))
    with pytest.raises(ArtifactError, match="sha256"):
        Encoder.load(folder)


def test_importing_loads_no_runtime() -> None:
    code = "import sys, shared.models.encoder; print([n for n in ('onnxruntime', 'tokenizers') if n in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
