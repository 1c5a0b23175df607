"""Zero-shot labels in both languages, abstention, and trained heads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers

from shared.domain import Classification
from shared.errors import ArtifactError
from shared.models.artifacts import MANIFEST, write_manifest
from shared.models.classifier import (
    HEAD_KIND,
    VECTORS,
    Head,
    TaxonomyClassifier,
    Terms,
    nothingness,
    packed,
    unit,
    unpacked,
)
from shared.models.encoder import Encoder
from shared.models.taxonomy import load_taxonomy
from tests.data import artifact

pytestmark = pytest.mark.slow

DEV = Path(__file__).with_name("adproduct_dev.tsv")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load(artifact("encoder"), threads=1)


@pytest.fixture(scope="module")
def classifier(encoder: Encoder) -> TaxonomyClassifier:
    return TaxonomyClassifier.load(artifact("taxonomy-adproduct"), encoder.version)


def dev_rows() -> list[tuple[str, set[str]]]:
    rows = [line.split("\t") for line in DEV.read_text(encoding="utf-8").splitlines()]
    return [(text, set(labels.split(","))) for text, labels in rows]


def bare(classification: Classification) -> str:
    return classification.labels[0].id.removeprefix("adproduct:")


@pytest.mark.parametrize(
    ("chinese", "english", "expected"),
    [
        ("商品A：最新款智能手机，限时优惠！", "The newest smartphone, save this week", {"1114"}),
        ("商品B：时尚手表，品质生活必备！", "A dress watch with a silver strap", {"1073"}),
        ("轻薄笔记本电脑，续航 18 小时", "Thin and light laptop for students", {"1107", "1106"}),
        ("透气轻便跑步鞋", "Trail running shoes", {"1070"}),
        ("口红 彩妆新品", "Matte lipstick in twelve shades", {"1143", "1138"}),
        ("Python 编程入门课程，零基础学习", "Learn Python: twelve week online course", {"1304", "1300", "1295"}),
        ("企业财务管理软件", "Payroll software for small business", {"1085", "1082", "1014", "1336"}),
        ("国内机票特价", "Cheap flights to Lisbon", {"1537", "1529"}),
        ("汽车保险在线报价", "Compare car insurance quotes", {"1341", "1340"}),
        ("全价猫粮 鸡肉味", "Grain-free food for adult cats", {"1226"}),
        ("定期体检，预防高血压", "Book a yearly health check-up", {"1388", "1378"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_product_has_its_category_in_both_languages(
    encoder: Encoder, classifier: TaxonomyClassifier, chinese: str, english: str, expected: set[str]
) -> None:
    for result in classifier.classify_vectors(encoder.encode([chinese, english])):
        assert not result.abstained
        assert bare(result) in expected


@pytest.mark.parametrize(
    "text", ["asdf qwer zxcv", "的了吗呢啊哦", "!!!???。。。", "1234567890 0987", "", "see you tomorrow"]
)
def test_a_text_about_nothing_abstains(encoder: Encoder, classifier: TaxonomyClassifier, text: str) -> None:
    assert classifier.classify_vectors(encoder.encode([text]))[0].abstained


def test_the_labelled_list_is_mostly_right(encoder: Encoder, classifier: TaxonomyClassifier) -> None:
    rows = dev_rows()
    results = classifier.classify_vectors(encoder.encode([text for text, _ in rows]))
    about = [(result, labels) for result, (_, labels) in zip(results, rows, strict=True) if labels != {"none"}]
    nothing = [result for result, (_, labels) in zip(results, rows, strict=True) if labels == {"none"}]
    right = [not result.abstained and bare(result) in labels for result, labels in about]
    assert np.mean(right) > 0.85
    assert np.mean([result.abstained for result in nothing]) > 0.85


def test_names_come_in_both_languages_and_probabilities_fall(encoder: Encoder, classifier: TaxonomyClassifier) -> None:
    vectors = encoder.encode([text for text, _ in dev_rows()])
    taxonomy = load_taxonomy("adproduct")
    for result in classifier.classify_vectors(vectors, top=5):
        probabilities = [label.probability for label in result.labels]
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) <= 1.001
        lines = [{one.id for one in taxonomy.path(label.id)} for label in result.labels]
        for label, line in zip(result.labels, lines, strict=True):
            assert label.name == dict(taxonomy[label.id].name)
            assert sum(label.id in other for other in lines) == 1, line


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1), st.integers(1, 70))
def test_a_parent_is_never_less_likely_than_its_children(classifier: TaxonomyClassifier, seed: int, n: int) -> None:
    vectors = np.random.default_rng(seed).standard_normal((n, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    own, whole = classifier.probabilities(vectors)
    assert (own >= 0).all() and own.sum(axis=1).max() <= 1.0001
    ids = classifier.ids
    taxonomy = load_taxonomy("adproduct")
    for key in ids[::7]:
        below = [ids.index(child.id) for child in taxonomy.children(key)]
        expected = own[:, ids.index(key)] + whole[:, below].sum(axis=1)
        np.testing.assert_allclose(whole[:, ids.index(key)], expected, atol=1e-5)


@pytest.mark.parametrize("top", [1, 3])
def test_labels_are_the_likeliest_that_are_not_in_one_line(
    encoder: Encoder, classifier: TaxonomyClassifier, top: int
) -> None:
    vectors = encoder.encode([text for text, _ in dev_rows()])
    taxonomy, ids = load_taxonomy("adproduct"), classifier.ids
    line = {key: {one.id for one in taxonomy.path(key)} for key in ids}
    found = classifier.classify_vectors(vectors, top=top)
    for result, *both in zip(found, *classifier.probabilities(vectors), strict=True):
        own, whole = (dict(zip(ids, row.tolist(), strict=True)) for row in both)
        order = sorted(ids, key=lambda key: -own[key])
        sure = [one.id for one in reversed(taxonomy.path(order[0])) if whole[one.id] >= classifier.threshold]
        first = (sure or order)[0]
        expected = [(first, round(whole[first], 4))]
        for key in order:
            if len(expected) < top and not any(key in line[other] or other in line[key] for other, _ in expected):
                expected.append((key, round(own[key], 4)))
        told = [(label.id, label.probability) for label in result.labels]
        assert result.abstained is not bool(sure)
        assert told == expected[: len(told)]
        assert len(told) == top or expected[len(told)][1] <= 0.01


def test_a_batch_gives_what_its_rows_give(encoder: Encoder, classifier: TaxonomyClassifier) -> None:
    vectors = encoder.encode([text for text, _ in dev_rows()])
    together = classifier.classify_vectors(vectors)
    alone = [classifier.classify_vectors(vector[None])[0] for vector in vectors]
    for one, other in zip(together, alone, strict=True):
        assert [label.id for label in one.labels] == [label.id for label in other.labels]
        assert one.abstained == other.abstained


def test_no_vectors_give_no_labels(classifier: TaxonomyClassifier) -> None:
    assert classifier.classify_vectors(np.zeros((0, 384), np.float32)) == []


def test_content_labels_an_article(encoder: Encoder) -> None:
    content = TaxonomyClassifier.load(artifact("taxonomy-content"), encoder.version)
    results = content.classify_vectors(encoder.encode(["如何挑选一款智能手机", "养猫新手指南", "Basketball playoffs"]))
    names = [result.labels[0].name["en"] for result in results]
    assert names[:2] == ["Smartphones", "Cats"] and "Basketball" in names[2]


@given(st.integers(0, 2**32 - 1))
def test_nearness_is_the_mean_of_the_two_nearest_terms(seed: int) -> None:
    random = np.random.default_rng(seed)
    terms = unit(random.standard_normal((9, 8)).astype(np.float32))
    category_of = np.array([2, 0, 0, 1, 1, 1, 2, 2, 0, 2])
    term_of = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 1])
    query = unit(random.standard_normal((3, 8)).astype(np.float32))
    found = Terms(terms, category_of, term_of, 3).nearness(query)
    for place, vector in enumerate(query):
        for category in range(3):
            near = sorted(terms[term_of[category_of == category]] @ vector)[-2:]
            assert found[place, category] == pytest.approx(np.mean(near), abs=1e-5)


def test_a_category_needs_two_terms() -> None:
    with pytest.raises(ValueError, match="fewer than two"):
        Terms(np.eye(3, dtype=np.float32), np.array([0, 0, 1]), np.array([0, 1, 2]), 2)


def test_nothingness_is_the_mean_of_the_nearest_three() -> None:
    nothing = np.eye(5, dtype=np.float32)
    query = np.array([[0.9, 0.3, 0.0, 0.3, 0.1]], np.float32)
    assert nothingness(query, nothing)[0] == pytest.approx(0.5)


@given(st.integers(0, 2**32 - 1))
def test_packed_rows_come_back_almost_as_they_were(seed: int) -> None:
    rows = unit(np.random.default_rng(seed).standard_normal((4, 384)).astype(np.float32))
    back = unpacked(*packed(rows))
    assert (unit(back) * rows).sum(axis=1).min() > 0.9995


def test_the_artefacts_are_small() -> None:
    assert sum((artifact(f"taxonomy-{name}") / VECTORS).stat().st_size for name in ("adproduct", "content")) < 8e6


def test_label_vectors_of_another_encoder_are_refused() -> None:
    with pytest.raises(ArtifactError, match="made by encoder"):
        TaxonomyClassifier.load(artifact("taxonomy-adproduct"), "another")


def test_an_encoder_is_no_label_vectors() -> None:
    with pytest.raises(ArtifactError, match="kind"):
        TaxonomyClassifier.load(artifact("encoder"))


# Heads ----------------------------------------------------------------------------------------------------------------

WORDS = ["<s>", "<pad>", "</s>", "<unk>", "▁cat", "▁dog", "▁query:"]


def write_head(folder: Path, **metadata: Any) -> Path:
    """A head that counts: its logits are how often "cat" and "dog" occur, times 4."""
    folder.mkdir()
    tokenizer = Tokenizer(models.Unigram([(word, -1.0) for word in WORDS], unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.save(str(folder / "tokenizer.json"))
    table = np.zeros((len(WORDS), 2), np.float32)
    table[WORDS.index("▁cat"), 0] = table[WORDS.index("▁dog"), 1] = 4.0
    tokens = [helper.make_tensor_value_info(n, TensorProto.INT64, ["n", "t"]) for n in ("input_ids", "attention_mask")]
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
            helper.make_node("Mul", ["rows", "column"], ["masked"]),
            helper.make_node("ReduceSum", ["masked", "first"], ["logits"], keepdims=0),
        ],
        "head",
        tokens,
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([2], np.int64), "last"),
            numpy_helper.from_array(np.array([1], np.int64), "first"),
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "model.onnx")
    write_manifest(folder, HEAD_KIND, "pets", metadata={"labels": ["cat", "dog"], "threshold": 0.6} | metadata)
    return folder


def test_a_head_gives_its_labels(tmp_path: Path) -> None:
    head = Head.load(write_head(tmp_path / "head"), threads=1)
    dog, cat = head.classify(["dog", "cat cat cat"], top=2)
    assert [label.id for label in dog.labels] == ["dog", "cat"] and not dog.abstained
    assert [label.id for label in cat.labels] == ["cat", "dog"]
    assert dog.labels[0].probability == pytest.approx(1 / (1 + np.exp(-4)), abs=1e-3)
    assert dog.labels[0].name == {"zh": "dog", "en": "dog"}


def test_a_head_abstains_below_its_threshold_and_on_white_space(tmp_path: Path) -> None:
    head = Head.load(write_head(tmp_path / "head"))
    undecided, certain, empty = head.classify(["cat dog", "cat cat", " "])
    assert undecided.abstained and not certain.abstained and empty.abstained


def test_temperature_softens(tmp_path: Path) -> None:
    sharp = Head.load(write_head(tmp_path / "sharp")).probabilities(["dog"])
    soft = Head.load(write_head(tmp_path / "soft", temperature=4.0)).probabilities(["dog"])
    assert soft[0, 1] < sharp[0, 1]
    assert soft[0, 1] == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-3)


def test_labels_may_carry_names(tmp_path: Path) -> None:
    labels = [{"id": "c", "name": {"zh": "猫", "en": "cat"}}, {"id": "d", "name": {"zh": "狗", "en": "dog"}}]
    head = Head.load(write_head(tmp_path / "head", labels=labels))
    assert head.classify(["dog"], top=1)[0].labels[0].name == {"zh": "狗", "en": "dog"}


@pytest.mark.parametrize(
    "metadata", [{"labels": ["one"]}, {"labels": ["a", "b", "c"]}, {"temperature": 0}, {"labels": [{"id": "a"}, "b"]}]
)
def test_a_head_that_does_not_fit_its_manifest_is_refused(tmp_path: Path, metadata: dict) -> None:
    with pytest.raises(ArtifactError):
        Head.load(write_head(tmp_path / "head", **metadata))


def test_a_changed_head_is_refused(tmp_path: Path) -> None:
    folder = write_head(tmp_path / "head")
    with (folder / "model.onnx").open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(ArtifactError, match="sha256"):
        Head.load(folder)


def test_a_head_of_another_preprocessing_version_is_refused(tmp_path: Path) -> None:
    folder = write_head(tmp_path / "head")
    document = json.loads((folder / MANIFEST).read_text()) | {"preprocess_version": "none"}
    (folder / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match="preprocessing version"):
        Head.load(folder)


def test_a_head_whose_graph_is_none_is_refused(tmp_path: Path) -> None:
    folder = write_head(tmp_path / "head")
    (folder / "model.onnx").write_bytes(b"not a graph")
    write_manifest(folder, HEAD_KIND, "pets", metadata={"labels": ["cat", "dog"]})
    with pytest.raises(ArtifactError, match="cannot be loaded"):
        Head.load(folder)
