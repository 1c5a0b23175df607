"""The encoders that wheels carry: found, checked, and the very models that their makers published."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from infra.training import minilm, roformer
from infra.training.check_texts import check_texts
from infra.training.frozen import Body, encode
from infra.training.graph import encoder_graph
from infra.training.quantise import channel_maxima, quantise, smooth
from infra.training.source import Source, from_minilm, from_roformer
from infra.training.wheels import WheelError, carried
from shared.models.encoder import Tokens, run_in_batches
from shared.models.sessions import open_session

pytestmark = pytest.mark.slow

CHINESE = [
    "今天天气真不错，适合跑步",
    "今天天气很好，可以去跑步",
    "iPhone 15手机多少钱",
    "这款手机卖什么价？",
    "定期体检，预防高血压。" * 12,
    "8折优惠，满300减50！",
    "成人英语口语在线课程",
    "怎样挑选婴儿奶粉",
]


ENGLISH = [
    "Lovely weather today, good for a run",
    "It is nice outside, let us go jogging",
    "How much is an iPhone 15?",
    "What does this phone cost?",
    "Regular check-ups prevent high blood pressure. " * 12,
    "20% off, save $50!",
    "Spoken English for adults, online",
    "Choosing formula for a baby",
]


def present(read: Callable[[], Source] = from_roformer) -> Source:
    """An encoder, or a skip that says why not (a failure where ``REQUIRE_ARTIFACTS=1``)."""
    try:
        return read()
    except WheelError as error:
        if os.environ.get("REQUIRE_ARTIFACTS") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))


# Finding them -------------------------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An importable package that must not be imported."""
    folder = tmp_path / "carrier_of_weights"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise AssertionError('imported')")
    (folder / "weights.bin").write_bytes(b"weights")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def test_a_file_of_a_package_is_found_without_importing_it(package: Path) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    assert carried("carrier_of_weights", "weights.bin", digest) == package / "weights.bin"


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("no_such_package_of_weights", "weights.bin", "is not installed: make installs it"),
        ("carrier_of_weights", "other.bin", "carries no other.bin"),
        ("carrier_of_weights", "weights.bin", "has another content .*make installs the right one"),
    ],
)
def test_what_is_not_there_or_not_it_is_said(package: Path, name: str, file: str, message: str) -> None:
    with pytest.raises(WheelError, match=message):
        carried(name, file, "0" * 64)


@pytest.mark.parametrize(("module", "read"), [(roformer, from_roformer), (minilm, from_minilm)])
def test_without_its_wheel_there_is_no_encoder(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, read: Callable[[], Source]
) -> None:
    monkeypatch.setattr(module, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(WheelError, match="no_such_package_of_weights is not installed: make installs it"):
        read()


def test_a_graph_without_the_weights_is_refused(tmp_path: Path) -> None:
    graph = onnx.helper.make_graph([], "none", [], [], [numpy_helper.from_array(np.zeros(1, np.float32), "other")])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "other.onnx")
    with pytest.raises(WheelError, match=r"other\.onnx carries no Embedding"):
        roformer.state_dict(tmp_path / "other.onnx")


# What they are ------------------------------------------------------------------------------------------------------


def test_roformer_is_the_wheels_own_graph() -> None:
    source = present()
    path = roformer.find_graph()
    weights = {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}
    pooler = [
        torch.from_numpy(numpy_helper.to_array(weights[f"Pooler-Dense/{name}/ReadVariableOp:0"]).copy())
        for name in ("MatMul", "BiasAdd")
    ]
    session = open_session(path, 1)
    for text in CHINESE:
        ids = source.tokenizer.encode(text).ids
        inputs = {"Input-Token": np.array([ids], np.float32), "Input-Segment": np.zeros((1, len(ids)), np.float32)}
        expected = session.run(["Pooler-Dense"], inputs)[0]
        with torch.inference_mode():
            first = source.model(torch.tensor([ids])).last_hidden_state[:, 0]
        np.testing.assert_allclose((first @ pooler[0] + pooler[1]).numpy(), expected, atol=1e-5)


def test_minilm_gives_the_vectors_that_its_maker_published() -> None:
    """The example of Hugging Face's Inference API documentation (task "sentence similarity")."""
    source = present(from_minilm)
    texts = ["That is a happy dog", "That is a very happy person", "Today is a sunny day"]
    asked = source.encode(["That is a happy person"])[0]
    np.testing.assert_allclose(source.encode(texts) @ asked, [0.695, 0.943, 0.257], atol=0.001)


@pytest.mark.parametrize(("read", "texts"), [(from_roformer, CHINESE), (from_minilm, ENGLISH)])
def test_it_reads_without_a_word_knows_like_from_unlike_and_serves_in_int8(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], read: Callable[[], Source], texts: list[str]
) -> None:
    source = present(read)
    tokenizer = source.cut(56_000)
    vectors = source.encode(texts)
    assert capfd.readouterr() == ("", "")
    assert source.prefix == "" and source.licence == "Apache-2.0" and source.revision[0].isdigit()
    similarity = vectors @ vectors.T
    for pair in ((0, 1), (2, 3)):
        others = np.delete(similarity[pair[0]], pair)
        assert similarity[pair] > others.max() + 0.05

    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    body = Body(source.model, source.model.config.pad_token_id, torch.device("cpu"), bfloat16=False)
    np.testing.assert_allclose(encode(body, ids), vectors, atol=1e-5)

    tokenizer.save(str(tmp_path / "tokenizer.json"))
    tokens = Tokens(tmp_path / "tokenizer.json")
    weights, config = source.weights(), source.model.config.to_dict()
    graph = encoder_graph(weights, config, position_offset=source.position_offset, quantised_embeddings=False)
    (tmp_path / "model.onnx").write_bytes(graph.SerializeToString())
    np.testing.assert_allclose(
        run_in_batches(open_session(tmp_path / "model.onnx", 1), tokens, texts), vectors, atol=1e-4
    )
    maxima = channel_maxima(graph, tokens, [source.prefix + text for text in check_texts()])
    quantise(
        smooth(encoder_graph(weights, config, position_offset=source.position_offset), maxima), tmp_path / "int8.onnx"
    )
    served = run_in_batches(open_session(tmp_path / "int8.onnx", 1), tokens, texts)
    assert (served * vectors).sum(axis=1).mean() > 0.99
