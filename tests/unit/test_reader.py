"""The claim reader: its row of tokens and who attends to whom in it, long texts, what it doubts, and its loading."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

from shared.domain import Ad, Claim, Language
from shared.errors import ArtifactError
from shared.models.reader import (
    AD_TOKENS,
    ROW_TOKENS,
    TEXT_TOKENS,
    ClaimReader,
    Doubt,
    pack,
    parts,
    reader_for,
    told,
)
from shared.models.readers import Loaded, Readers
from shared.policy.likeness import Like
from shared.policy.reading import READING, SIGNS, STATEMENT

UNKNOWN, BEGIN, END, PERHAPS, FALSE = range(5)
LOGITS = np.array([-3.0, 9.0, 9.0, 1.0, 2.0], np.float32)  # of tokens, by id; what frames a text counts for nothing
IDS = st.lists(st.integers(0, 90), min_size=1, max_size=6)
SENTENCES = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from(["! ", ". ", "。", "；", "\n", ".\n", "?  "])), min_size=1, max_size=8
)


def phone(**facts: Any) -> Ad:
    given = {"ad_id": "a", "title": "Larkspur phone", "landing_url": "https://example.com/", "language": "en"}
    return Ad(**given | {"domain": "ecommerce"} | facts)


def make_tokenizer(*, framed: bool = True) -> Tokenizer:
    """Every word, Chinese character and sign is a token; framed: a text begins and ends with one that is none of it."""
    known = {"[UNK]": UNKNOWN, "[CLS]": BEGIN, "[SEP]": END, "perhaps": PERHAPS, "false": FALSE}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex("[\u3400-\u9fff]"), "isolated"), pre_tokenizers.Whitespace()]
    )
    if framed:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", BEGIN), ("[SEP]", END)]
        )
    return tokenizer


TOKENIZER = make_tokenizer()


class WordSession:
    """Doubts words by `LOGITS`, and a text as its most doubtful word. Of each token it answers for what that token may
    attend to, so that another mask gives other answers."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="wide.down", shape=[2, 3, "rank"])]

    def run(self, names: list[str], inputs: dict[str, Any]) -> list[Any]:
        assert names == ["text", "token"]
        assert inputs.pop("wide.down").shape == (2, 3, 0), "claims are read without another adapter"
        self.rows.append(inputs)
        ids, mask, kinds = inputs["input_ids"][0], inputs["mask"][0].astype(bool), inputs["kinds"][0]
        worded = (kinds == 1) & (ids != BEGIN) & (ids != END)
        texts = np.where(mask & worded, LOGITS[ids], -9.0).max(axis=1)
        return [texts[None].astype(np.float32), LOGITS[ids][None]]


def make_reader(session: Any = None, *, framed: bool = True) -> ClaimReader:
    weights = dict.fromkeys(SIGNS, 0.0) | {"logit": 1.0, "bias": 0.0, "threshold": 0.0, "strict": 0.0}
    return ClaimReader(session or WordSession(), make_tokenizer(framed=framed), {"weights": weights}, "1")


# Row ----------------------------------------------------------------------------------------------------------------


@given(IDS, st.lists(IDS, max_size=5))
def test_a_token_attends_to_the_ad_and_its_own_text_alone(ad: list[int], texts: list[list[int]]) -> None:
    row = pack(ad, texts)
    owners = [number for number, ids in enumerate([ad, *texts]) for _ in ids]
    assert row.ids.tolist() == [one for ids in (ad, *texts) for one in ids]
    assert row.mask().tolist() == [[other in (0, own) for other in owners] for own in owners]


@given(IDS, st.lists(IDS, max_size=5))
def test_every_text_goes_on_from_the_ads_end(ad: list[int], texts: list[list[int]]) -> None:
    row = pack(ad, texts)
    assert row.positions[: len(ad)].tolist() == list(range(len(ad)))
    assert len(row.starts) == len(texts)
    for start, ids in zip(row.starts, texts, strict=True):
        assert row.ids[start : start + len(ids)].tolist() == ids
        assert row.positions[start : start + len(ids)].tolist() == list(range(len(ad), len(ad) + len(ids)))


def test_the_graph_is_told_ad_from_text_and_not_text_from_text() -> None:
    inputs = pack([7, 8], [[1], [2, 3]]).inputs()
    assert {name: one.shape for name, one in inputs.items()} == {
        "input_ids": (1, 5),
        "positions": (1, 5),
        "kinds": (1, 5),
        "mask": (1, 5, 5),
    }
    assert inputs["kinds"].tolist() == [[0, 0, 1, 1, 1]]
    assert {one.dtype for name, one in inputs.items() if name != "mask"} == {np.dtype(np.int64)}
    assert inputs["mask"].dtype == np.int32


# Words --------------------------------------------------------------------------------------------------------------


def test_an_ad_is_told_by_the_fields_that_it_has() -> None:
    assert told(phone()) == "Larkspur phone"
    whole = phone(description="A bright phone.", brand="Larkspur", attributes={"price": 299, "colour": "mint"})
    assert told(whole) == "Larkspur phone\nA bright phone.\nLarkspur\nprice: 299; colour: mint"
    assert told(phone(brand="", attributes={"price": 299})) == "Larkspur phone\nprice: 299"
    assert told(phone(end="2026-12-24"), ["Travel", "Photography"]).endswith(
        "\nfor: Travel, Photography; until: 2026-12-24"
    )


@pytest.mark.parametrize(
    ("text", "language", "reader"),
    [
        ("一部手机", "zh", "zh"),
        ("一部 Larkspur phone", "zh", "zh"),
        ("A phone", "zh", "en"),
        ("一部手机", "en", "en"),
        ("A phone", "en", "en"),
        ("", "zh", "en"),
    ],
)
def test_the_chinese_reader_reads_chinese_of_chinese_ads_alone(text: str, language: Language, reader: str) -> None:
    assert reader_for(text, phone(language=language)) == reader


# Long texts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "One. Two! 三。", " ".join(["word"] * (TEXT_TOKENS - 2))])
def test_a_short_text_is_read_whole(text: str) -> None:
    assert parts(text, TOKENIZER) == [(0, text)]


@settings(max_examples=40)
@given(SENTENCES)
def test_a_long_text_is_cut_at_the_ends_of_sentences(sentences: list[tuple[int, str]]) -> None:
    text = "".join(" ".join(["word"] * words) + end for words, end in sentences)
    found = parts(text, TOKENIZER)
    assert "".join("".join(piece.split()) for _, piece in found) == "".join(text.split())
    for start, piece in found:
        assert text[start : start + len(piece)] == piece
        assert len(TOKENIZER.encode(piece).ids) <= TEXT_TOKENS
    assert all(piece.rstrip()[-1] in ".!?。；" or piece.endswith("\n") for _, piece in found[:-1])


def test_sentences_are_read_together_as_far_as_there_is_room() -> None:
    text = "word " * 40 + "one. " + "word " * 40 + "two. Three. " + "word " * 60 + "four."
    assert [piece.split()[-1] for _, piece in parts(text, TOKENIZER)] == ["Three.", "four."]


@pytest.mark.parametrize("framed", [True, False])
@pytest.mark.parametrize("words", [TEXT_TOKENS - 1, TEXT_TOKENS + 1, 3 * TEXT_TOKENS])
def test_of_a_sentence_that_is_too_long_nothing_stays_unread(words: int, framed: bool) -> None:
    text = "Short one. " + ", ".join(f"w{place}" for place in range(words)) + ". Short two."
    tokenizer = make_tokenizer(framed=framed)
    found = parts(text, tokenizer)
    assert "".join("".join(piece.split()) for _, piece in found) == "".join(text.split())
    assert max(len(tokenizer.encode(piece).ids) for _, piece in found) <= TEXT_TOKENS


# Reading ------------------------------------------------------------------------------------------------------------


def test_of_an_ad_that_is_too_long_nothing_is_said() -> None:
    session = WordSession()
    reader = make_reader(session)
    facts = len(TOKENIZER.encode(told(phone(description=""))).ids)
    for words, known in ((AD_TOKENS - facts, True), (AD_TOKENS - facts + 1, False)):
        found = reader.read(phone(description=" ".join(["word"] * words)), ["perhaps", "a word"])
        assert [one is not None for one in found] == [known, known]
    assert len(session.rows) == 1


@pytest.mark.parametrize("framed", [True, False])
@pytest.mark.parametrize("text", ["", "  ", "\n", "!?", "✓ …"])
def test_a_text_without_a_letter_or_a_figure_is_not_doubted(text: str, framed: bool) -> None:
    found = make_reader(framed=framed).read(phone(), [text, "perhaps", text])
    assert found == [Doubt(-math.inf, (0, 0)), Doubt(1.0, (0, 7)), Doubt(-math.inf, (0, 0))]
    assert make_reader(framed=framed).read(phone(), [text]) == [Doubt(-math.inf, (0, 0))]


def test_no_text_is_no_question() -> None:
    session = WordSession()
    assert make_reader(session).read(phone(), []) == []
    assert session.rows == []


@pytest.mark.parametrize("framed", [True, False])
def test_each_text_is_judged_by_its_own_words(framed: bool) -> None:
    session = WordSession()
    texts = ["a true word", "this is false", "and perhaps", "true again"]
    found = make_reader(session, framed=framed).read(phone(description="false, perhaps"), texts)
    assert [one and one.logit for one in found] == [-3.0, 2.0, 1.0, -3.0]
    assert len(session.rows) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("this is false", "false"),
        ("it is perhaps false perhaps, it is", "perhaps false perhaps"),
        ("perhaps, and then it is false", "false"),
        ("false", "false"),
        ("价格 false。", "false"),
        ("nothing to see", "nothing to see"),
    ],
)
def test_the_span_is_the_doubted_word_and_its_doubted_neighbours(text: str, words: str) -> None:
    (found,) = make_reader().read(phone(), [text])
    assert found is not None
    assert text[slice(*found.span)] == words


def test_more_texts_than_a_row_holds_take_several_rows() -> None:
    session = WordSession()
    texts = [f"{'false' if place % 7 == 3 else 'word'} " + "word " * (place % 90) for place in range(60)]
    found = make_reader(session).read(phone(), texts)
    assert [one and one.logit for one in found] == [2.0 if place % 7 == 3 else -3.0 for place in range(60)]
    sizes = [row["input_ids"].shape[1] for row in session.rows]
    assert len(sizes) > 1 and max(sizes) <= ROW_TOKENS
    facts = len(TOKENIZER.encode(told(phone())).ids)
    assert sum(sizes) == sum(len(TOKENIZER.encode(text).ids) for text in texts) + facts * len(sizes)


def test_a_long_text_is_as_doubtful_as_its_most_doubtful_part() -> None:
    sentence = "word " * 50 + "end. "
    text = sentence + sentence + "It is perhaps so. " + sentence + "word " * 20 + "it is false. " + sentence
    (found,) = make_reader().read(phone(), [text])
    assert found is not None
    assert found.logit == 2.0 and text[slice(*found.span)] == "false"


def test_what_stands_at_the_end_of_an_endless_sentence_is_read() -> None:
    text = "word, " * 200 + "false"
    (found,) = make_reader().read(phone(), [text])
    assert found is not None
    assert found.logit == 2.0 and text[slice(*found.span)] == "false"


# Readers ------------------------------------------------------------------------------------------------------------


class Lawful:
    """Reads every line as a lawful one."""

    def alike(self, *_: Any) -> list[Like]:
        return []

    def lifts(self, *_: Any) -> frozenset[str]:
        return frozenset()


@pytest.fixture
def loaded() -> list[Language]:
    return []


def loading(loaded: list[Language], seconds: float = 0.0) -> Callable[[Language], Loaded]:
    def load(language: Language) -> Loaded:
        time.sleep(seconds)
        loaded.append(language)
        return make_reader(), Lawful()  # type: ignore[return-value]

    return load


@pytest.fixture
def readers(loaded: list[Language]) -> Readers:
    return Readers(loading(loaded))


def test_each_languages_reader_is_loaded_once_and_when_it_is_needed(readers: Readers, loaded: list[Language]) -> None:
    refused = [Claim((0, 1), "a", "feature", None)]
    assert loaded == []
    for _ in range(2):
        readers.weigh("a word", phone(), refused)
        readers.weigh("a word", phone(language="zh"), refused)
    assert loaded == ["en"]
    for _ in range(2):
        readers.weigh("一部手机", phone(language="zh"), refused)
    assert loaded == ["en", "zh"]


@pytest.mark.parametrize("strict", [True, False])
def test_a_text_in_the_ads_own_words_is_read_too(readers: Readers, strict: bool) -> None:
    plain = [Claim((0, 14), "Larkspur phone", "name", "title")]
    assert readers.weigh("Larkspur phone", phone(), plain, strict=strict) == plain
    doubted = readers.weigh("Larkspur phone, perhaps", phone(), plain, strict=strict)
    assert doubted == [*plain, Claim((16, 23), "perhaps", STATEMENT, None)]


def test_two_who_ask_at_once_load_a_reader_once(loaded: list[Language]) -> None:
    readers = Readers(loading(loaded, seconds=0.05))
    threads = [Thread(target=readers.weigh, args=("a word", phone(), [])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loaded == ["en"]


def test_a_reader_that_cannot_be_loaded_is_tried_once(loaded: list[Language]) -> None:
    def load(language: Language) -> Loaded:
        loaded.append(language)
        raise ArtifactError("artefact reader-en: model.onnx.gz is missing")

    readers = Readers(load)
    for _ in range(2):
        with pytest.raises(ArtifactError, match="is missing"):
            readers.weigh("a word", phone(), [])
    assert loaded == ["en"]


def test_readers_that_are_warmed_are_loaded(readers: Readers, loaded: list[Language]) -> None:
    readers.warm()
    assert sorted(loaded) == ["en", "zh"]


def test_the_reader_supports_a_persons_words_and_not_a_models(readers: Readers) -> None:
    claims = [Claim((2, 6), "word", "feature", None)]
    assert [one.support for one in readers.weigh("a word", phone(), claims)] == [READING]
    assert readers.weigh("a word", phone(), claims, strict=True) == claims


@pytest.mark.parametrize("strict", [True, False])
def test_what_the_reader_doubts_is_a_claim_of_those_words(readers: Readers, strict: bool) -> None:
    known = Claim((0, 4), "this", "feature", "title")
    assert readers.weigh("this is false", phone(), [known], strict=strict) == [
        known,
        Claim((8, 13), "false", STATEMENT, None),
    ]


@pytest.mark.parametrize("strict", [True, False])
def test_of_an_ad_that_is_too_long_the_rules_alone_judge(readers: Readers, strict: bool) -> None:
    claims = [Claim((0, 4), "this", "feature", None), Claim((8, 13), "false", "name", "title")]
    ad = phone(description="word " * AD_TOKENS)
    assert readers.weigh("this is false", ad, claims, strict=strict) == claims


def test_readers_that_are_not_there_are_missed_at_the_first_text(tmp_path: Path) -> None:
    readers = Readers.of(tmp_path)
    with pytest.raises(ArtifactError, match="reader-en"):
        readers.weigh("a word", phone(), [Claim((0, 1), "a", "feature", None)])
