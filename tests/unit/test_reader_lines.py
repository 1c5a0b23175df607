"""Labelled ad lines: both kinds of rows, the spans and their tokens, and the project's own files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from infra.training import reader_lines
from infra.training.reader_lines import Labelled, Span, encode, read_labelled, with_longer
from shared.domain import Ad
from shared.models.reader import AD_TOKENS, TEXT_TOKENS

LEDGER = Path(reader_lines.__file__).parent / "ledger"
WORDS = ["red", "blue", "shoe", "free", "pram", "and"]


def files(*names: str) -> list[str]:
    return [f"{name}.{language}.jsonl" for name in names for language in ("en", "zh")]


LEARNED = files("twins", "relations", "lines", "bare", "model")
WEIGHED = files("weights", "weights-bare", "weights-model")
FRESH = files("fresh", "fresh-model")


def ad(title: str, **fields: Any) -> dict[str, Any]:
    return {"title": title, "description": "", "brand": None, "domain": "ecommerce", "language": "en"} | fields


def planted(text: str, span: str) -> dict[str, str]:
    return {"text": text, "span": span, "kind": "feature"}


def twins(first: str, second: str) -> dict[str, Any]:
    lines = [
        {"text": "a red shoe", "unsupported": ["", "red shoe"]},
        {"text": "blue, free", "unsupported": ["blue", ""]},
        {"text": "go on", "unsupported": ["", ""]},
    ]
    return {"ads": [ad(first), ad(second)], "lines": lines}


def written(path: Path, *rows: Any) -> Path:
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
    return path


def words(labelled: Labelled) -> list[str | None]:
    """What each span says."""
    pairs = zip(labelled.lines, labelled.spans, strict=True)
    return [None if span is None else text[span[0] : span[1]] for text, span in pairs]


# Rows ---------------------------------------------------------------------------------------------------------------


def test_an_ad_with_true_and_planted_lines(tmp_path: Path) -> None:
    row = {
        "ad": ad("Shoe", attributes={"price": "£3"}),
        "true": ["a shoe"],
        "planted": [planted("a blue shoe", "blue")],
    }
    (found,) = read_labelled(written(tmp_path / "lines.jsonl", row))
    assert found.ad.title == "Shoe" and found.ad.attributes == {"price": "£3"} and found.ad.language == "en"
    assert found.lines == ("a shoe", "a blue shoe")
    assert found.spans == (None, (2, 6))


def test_twins_share_lines_and_differ_in_what_they_support(tmp_path: Path) -> None:
    first, second = read_labelled(written(tmp_path / "twins.jsonl", twins("One", "Two")))
    assert [first.ad.title, second.ad.title] == ["One", "Two"]
    assert first.lines == second.lines == ("a red shoe", "blue, free", "go on")
    assert words(first) == [None, "blue", None]
    assert words(second) == ["red shoe", None, None]


def test_a_group_is_twins_or_an_ad(tmp_path: Path) -> None:
    rows = [twins("One", "Two"), twins("Three", "Four"), {"ad": ad("Five"), "true": ["on"], "planted": []}]
    groups = [one.group for one in read_labelled(written(tmp_path / "mixed.jsonl", *rows))]
    assert groups[0] == groups[1] and groups[2] == groups[3]
    assert len(set(groups)) == 3
    again = [one.group for one in read_labelled(tmp_path / "mixed.jsonl")]
    assert again == groups, "a split is the same in every process"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"true": [], "planted": []}, "ad"),
        ({"ad": ad("One"), "planted": []}, "true"),
        ({"ad": ad("One"), "true": [], "planted": [{"text": "blue"}]}, "span"),
        ({"ad": ad("One"), "true": [], "planted": [planted("a shoe", "blue")]}, "substring"),
        ({"ad": ad("One", colour="blue"), "true": [], "planted": []}, "colour"),
        ({"ads": [ad("One"), ad("Two")], "lines": [{"text": "a shoe", "unsupported": ["", "blue"]}]}, "substring"),
        ({"ads": [ad("One"), ad("Two")], "lines": [{"text": "a shoe"}]}, "unsupported"),
        ({"ads": [ad("One"), ad("Two")], "lines": [{"text": "a shoe", "unsupported": [""]}]}, "index"),
    ],
)
def test_what_cannot_be_read_is_named_by_file_and_row(tmp_path: Path, row: Any, why: str) -> None:
    good = {"ad": ad("Good"), "true": ["on"], "planted": []}
    path = written(tmp_path / "some.jsonl", good, row)
    with pytest.raises(ValueError, match=rf"^some\.jsonl, row 2: .*{why}"):
        list(read_labelled(path))


# Tokens -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """A token for each word and each sign, and one at both ends that is none of the text's."""
    ids = {word: place for place, word in enumerate(["[UNK]", "[CLS]", "[SEP]", ",", *WORDS])}
    made = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return made


def labelled(lines: list[str], spans: list[Span | None], title: str = "red shoe") -> Labelled:
    return Labelled(Ad("-", title, "https://example.com/", "en", "ecommerce"), tuple(lines), tuple(spans), 0)


@pytest.mark.parametrize(
    ("text", "span", "expected"),
    [
        ("red and blue", None, [0, 0, 0, 0, 0]),
        ("red and blue", "and", [0, 0, 1, 0, 0]),
        ("red and blue", "and blue", [0, 0, 1, 1, 0]),
        ("red and blue", "red", [0, 1, 0, 0, 0]),
        ("red and blue", "red and blue", [0, 1, 1, 1, 0]),
        ("red and blue", "nd bl", [0, 0, 1, 1, 0]),  # part of a word marks it
        ("red and blue", "d ", [0, 1, 0, 0, 0]),
        ("red, blue", ",", [0, 0, 1, 0, 0]),
        ("red", "red", [0, 1, 0]),
    ],
)
def test_the_tokens_of_the_span_are_marked(
    tokenizer: Tokenizer, text: str, span: str | None, expected: list[float]
) -> None:
    place = None if span is None else (text.index(span), text.index(span) + len(span))
    ids = encode(labelled([text], [place]), tokenizer)
    assert ids.doubtful == [expected]
    assert ids.lines == [tokenizer.encode(text).ids]
    assert ids.ad == tokenizer.encode("red shoe").ids
    assert ids.planted == [float(span is not None)]


@given(
    chosen=st.lists(st.sampled_from(WORDS), min_size=1, max_size=12),
    bounds=st.tuples(st.integers(0, 11), st.integers(0, 11)),
)
def test_as_many_tokens_as_the_span_has_words(tokenizer: Tokenizer, chosen: list[str], bounds: tuple[int, int]) -> None:
    low, high = sorted(min(bound, len(chosen) - 1) for bound in bounds)
    start = len(" ".join([*chosen[:low], ""])) if low else 0
    span = start, start + len(" ".join(chosen[low : high + 1]))
    (marks,) = encode(labelled([" ".join(chosen)], [span]), tokenizer).doubtful
    assert marks == [0.0, *(float(low <= place <= high) for place in range(len(chosen))), 0.0]


def test_each_line_has_its_own_marks_and_label(tokenizer: Tokenizer) -> None:
    ids = encode(labelled(["red shoe", "blue", "free"], [None, (0, 4), None]), tokenizer)
    assert ids.planted == [0.0, 1.0, 0.0]
    assert ids.doubtful == [[0, 0, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_what_the_reader_does_not_take_is_cut_off(tokenizer: Tokenizer) -> None:
    long = " ".join(["red"] * (AD_TOKENS + 50))
    ids = encode(labelled([long], [(0, len(long))], title=long), tokenizer)
    assert len(ids.ad) == AD_TOKENS
    assert len(ids.lines[0]) == len(ids.doubtful[0]) == TEXT_TOKENS
    assert ids.doubtful[0] == [0.0, *[1.0] * (TEXT_TOKENS - 1)]


# Longer texts -------------------------------------------------------------------------------------------------------


@given(
    true=st.lists(st.sampled_from(["a red shoe.", "一双红鞋。", "free", "come on!"]), unique=True, max_size=3),
    untrue=st.lists(st.sampled_from(["a blue shoe.", "两双蓝鞋。"]), unique=True, max_size=2),
    said=st.sampled_from(["", "A red shoe. It is free!", "一双红鞋；免费。"]),
    seed=st.integers(0, 50),
)
def test_longer_texts_are_as_true_as_what_they_are_made_of(
    true: list[str], untrue: list[str], said: str, seed: int
) -> None:
    wrong = [("blue" if "blue" in text else "两双蓝") for text in untrue]
    spans = [(text.index(word), text.index(word) + len(word)) for text, word in zip(untrue, wrong, strict=True)]
    one = labelled([*true, *untrue], [*(None for _ in true), *spans])
    one = replace(one, ad=replace(one.ad, description=said))
    longer = with_longer(one, seed)
    assert longer == with_longer(one, seed)
    assert (longer.lines[: len(one.lines)], longer.spans[: len(one.spans)]) == (one.lines, one.spans)
    assert len(set(longer.lines[len(one.lines) :]) & set(one.lines)) == 0
    for text, words_of in zip(longer.lines, words(longer), strict=True):
        assert (words_of is not None) == any(word in text for word in ("blue", "两双蓝"))
        assert words_of in (None, "blue", "两双蓝")


# The project's own files --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", [*LEARNED, *WEIGHED, *FRESH])
def test_the_projects_files_can_be_read(name: str) -> None:
    found = list(read_labelled(LEDGER / name))
    assert len(found) > (15 if "model" in name else 50)
    for one in found:
        both = any(span is None for span in one.spans) and any(span is not None for span in one.spans)
        assert both or "model" in name
        assert all(text.strip() for text in one.lines)
        assert all(word is None or word.strip() for word in words(one))


def test_no_file_of_the_ledger_is_left_out() -> None:
    assert sorted(path.name for path in LEDGER.glob("*.jsonl")) == sorted([*LEARNED, *WEIGHED, *FRESH])


def test_fresh_ads_are_none_that_is_learned_from() -> None:
    def titles(names: list[str]) -> set[str]:
        return {one.ad.title for name in names for one in read_labelled(LEDGER / name)}

    learned, weighed = titles(LEARNED), titles(WEIGHED)
    assert not learned & titles(files("weights", "weights-model", "fresh-model"))
    assert not titles(files("fresh")) & (learned | weighed)
    assert not titles(files("fresh-model")) & titles(files("weights-model"))


def test_twins_do_not_share_a_title_with_other_twins() -> None:
    for language in ("en", "zh"):
        groups: dict[str, set[int]] = {}
        for one in read_labelled(LEDGER / f"twins.{language}.jsonl"):
            groups.setdefault(one.ad.title, set()).add(one.group)
        assert not [title for title, held in groups.items() if len(held) > 1]
