"""The builder, on a small random model in a local folder: the path that a hub model takes, without the hub."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training dependencies are not installed")
transformers = pytest.importorskip("transformers", reason="training dependencies are not installed")

from infra.training import build_encoder, label_vectors, source, vocabulary  # noqa: E402
from infra.training.check_texts import check_texts  # noqa: E402
from infra.training.graph import encoder_graph  # noqa: E402
from infra.training.quantise import channel_maxima, quantise, smooth  # noqa: E402
from shared.models.artifacts import load_manifest  # noqa: E402
from shared.models.encoder import DIMENSIONS, Encoder, Tokens, run_in_batches  # noqa: E402
from shared.models.sessions import open_session  # noqa: E402


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two random layers whose tokenizer knows every character of the check texts, and some Greek words."""
    folder = tmp_path_factory.mktemp("model")
    characters = sorted({character for text in check_texts() for character in text} | set("query:passage αβγδ"))
    pieces = [(piece, 0.0) for piece in vocabulary.SPECIAL]
    pieces += [(character, -8.0) for character in characters if character != " "] + [("▁", -5.0)]
    pieces += [(word, -6.0) for word in ("▁phone", "▁watch", "▁insurance", "手机", "αβγ", "βγδ")]
    tokenizer = source.xlmr_tokenizer(pieces)
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(pieces),
        hidden_size=DIMENSIONS,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        pad_token_id=1,
        initializer_range=0.2,
    )
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def test_the_written_graph_is_the_torch_model(model_folder: Path, tmp_path: Path) -> None:
    built = source.from_hub(str(model_folder), None)
    built.tokenizer.save(str(tmp_path / "tokenizer.json"))
    tokens = Tokens(tmp_path / "tokenizer.json")
    graph = encoder_graph(built.weights(), built.model.config.to_dict(), quantised_embeddings=False)
    (tmp_path / "model.onnx").write_bytes(graph.SerializeToString())
    texts = check_texts()[::6]
    actual = run_in_batches(open_session(tmp_path / "model.onnx", 1), tokens, texts)
    np.testing.assert_allclose(actual, built.encode(texts), atol=1e-5)

    smoothed = smooth(graph, channel_maxima(graph, tokens, texts))
    (tmp_path / "smoothed.onnx").write_bytes(smoothed.SerializeToString())
    actual = run_in_batches(open_session(tmp_path / "smoothed.onnx", 1), tokens, texts)
    np.testing.assert_allclose(actual, built.encode(texts), atol=1e-4)

    quantise(smoothed, tmp_path / "int8.onnx")
    actual = run_in_batches(open_session(tmp_path / "int8.onnx", 1), tokens, texts)
    assert (actual * built.encode(texts)).sum(axis=1).min() > 0.98


def test_a_cut_vocabulary_keeps_what_it_must(model_folder: Path) -> None:
    tokenizer = source.from_hub(str(model_folder), None).tokenizer
    smaller, kept = vocabulary.cut(tokenizer, 1)
    assert kept[:4] == [0, 1, 2, 3]
    assert "αβγ" in tokenizer.encode("αβγ").tokens and "αβγ" not in smaller.encode("αβγ").tokens
    assert smaller.token_to_id("手机") is not None
    for text in ("买手机 5", "αβγδ"):
        assert smaller.token_to_id("<unk>") not in smaller.encode(text).ids
    assert [tokenizer.id_to_token(old) for old in kept] == [smaller.id_to_token(new) for new in range(len(kept))]


def test_an_encoder_that_does_not_agree_is_not_written(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Without room for its words the cut vocabulary spells "phone" and "insurance", which makes other vectors.
    assert build_encoder.main(["--model", str(model_folder), "--out", str(tmp_path / "out"), "--pieces", "1"]) == 1
    assert "cosine_min" in capsys.readouterr().err
    assert not (tmp_path / "out" / "encoder").exists()


def test_a_build_is_whole_and_a_second_one_does_nothing(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build_encoder, "NEIGHBOURS", 0.0)
    monkeypatch.setattr(label_vectors, "TAXONOMIES", ("content",))
    monkeypatch.setattr(vocabulary, "english_words", lambda: iter(["phone", "watch", "insurance"]))
    arguments = ["--model", str(model_folder), "--out", str(tmp_path), "--pieces", "100000"]
    assert build_encoder.main(arguments) == 0
    manifest = load_manifest(tmp_path / "encoder")
    assert manifest.metadata["metrics"]["texts"] == len(check_texts())
    assert manifest.metadata["parameters"]["model"] == str(model_folder)
    assert Encoder.load(tmp_path / "encoder").version == manifest.version
    labels = load_manifest(tmp_path / "taxonomy-content")
    assert labels.metadata["encoder_version"] == manifest.version

    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    capsys.readouterr()
    assert build_encoder.main(arguments) == 0
    assert "up to date" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before

    (tmp_path / "encoder" / "tokenizer.json").write_text(json.dumps({"changed": True}))
    assert build_encoder.main(arguments) == 0
    assert load_manifest(tmp_path / "encoder").version == manifest.version


def test_a_model_of_another_family_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    transformers.GPT2Config(n_layer=1, n_embd=8, n_head=1).save_pretrained(tmp_path / "gpt")
    assert build_encoder.main(["--model", str(tmp_path / "gpt"), "--out", str(tmp_path / "out")]) == 1
    assert "gpt2" in capsys.readouterr().err
