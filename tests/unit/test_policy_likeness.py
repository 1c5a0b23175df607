"""What only reads like a violation: whom the linear models stop, and how they are trained."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.training.train_policy import OUT, PROBABILITY, Line, lines_of, trained
from shared.policy.likeness import grams, likeness
from shared.policy.packs import book
from shared.policy.rules import check

pytestmark = pytest.mark.slow

# Lines in the manner of feeds and shops that name no goods' effect; none is in the training lines.
ORDINARY_ZH = [
    "帽子压得住风，拍照也好看",
    "晚饭后沿着河走了两圈",
    "小区门口新开了一家裁缝铺",
    "他把旧自行车重新刷了漆",
    "图书馆三楼的灯换成了暖色",
    "今年的柿子比去年甜一点",
    "谁还记得巷子里的磨剪刀声",
    "会议改到下午两点，地点不变",
    "给阳台装了一个小棚子",
    "鞋带系两圈，走远路不松",
]
ORDINARY_EN = [
    "Two chairs and a lamp, ready for the balcony",
    "The ferry leaves when the bell rings",
    "A drawer for socks and one for maps",
    "We painted the fence on Saturday",
    "Bring boots, the path is muddy",
    "Lentil soup on the stove, bread in the oven",
    "Our bus stops behind the bakery",
    "A quiet room with a view of the yard",
    "The choir rehearses in the old school",
    "Tomatoes are in; basil comes next week",
]


@pytest.mark.parametrize("text", ORDINARY_ZH)
def test_ordinary_chinese_lines_pass(text: str) -> None:
    assert list(likeness(text, book().ids("CN"), english=False)) == []


@pytest.mark.parametrize("text", ORDINARY_EN)
def test_ordinary_english_lines_pass(text: str) -> None:
    assert list(likeness(text.lower(), book().ids("US"), english=True)) == []


def test_what_is_said_of_one_disease_is_known_of_another() -> None:
    for disease in ("cystitis", "tinnitus", "bronchitis", "vertigo"):
        text = f"our herbal drops banish {disease} forever, no doctor needed"
        assert list(likeness(text, book().ids("US"), english=True)), disease


def test_unknown_text_around_it_makes_a_sentence_less_like() -> None:
    said = "our herbal drops banish vertigo forever, no doctor needed"
    unknown = " ".join(f"qx{letter}j zv{letter}k" for letter in "abcdefghijklmnopqrstuvwxyz" * 3)
    assert list(likeness(said, book().ids("US"), english=True))
    assert not list(likeness(f"{said} {unknown}", book().ids("US"), english=True))


def test_a_rule_that_is_not_in_force_is_not_named() -> None:
    said = "our herbal drops banish vertigo forever, no doctor needed"
    assert list(likeness(said, frozenset(), english=True)) == []
    assert list(likeness(said, book().ids("US"), english=False)) == []


def test_a_margin_stops_more() -> None:
    text = "晚饭后沿着河走了两圈"
    assert list(likeness(text, book().ids("CN"), english=False, margin=50.0))


@given(st.text(max_size=200), st.booleans())
def test_spans_lie_within_any_text(text: str, english: bool) -> None:
    for like in likeness(text, book().ids("CN"), english=english):
        assert 0 <= like.start <= like.end <= len(text)
        assert like.rule in book().ids("CN")


def test_numbers_and_endings_are_one_gram() -> None:
    assert grams("lose 10 pounds", chinese=False) == grams("loses 25 pound", chinese=False)


def test_bare_goods_and_clauses_are_lawful_training_lines() -> None:
    lines = list(lines_of("en"))
    assert sum(line.violation for line in lines) > 500
    assert Line("our prep course", False, labelled=False) in lines
    assert all(not line.rules for line in lines if not line.violation)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_what_is_shipped_is_what_training_makes(language: str) -> None:
    made = trained(language, list(lines_of(language)))
    shipped = json.loads(OUT.read_text(encoding="utf-8"))[language]
    assert shipped["probability"] == PROBABILITY[language]
    ours = {gram: weight for weights in made["grams"].values() for gram, weight in weights.items()}
    theirs = {gram: weight for weights in shipped["grams"].values() for gram, weight in weights.items()}
    # Libraries of linear algebra round differently.
    assert len(ours.keys() ^ theirs.keys()) < 0.01 * len(theirs)
    assert all(abs(ours[gram] - theirs[gram]) <= 50 for gram in ours.keys() & theirs.keys())


@pytest.mark.parametrize(
    "text", ["Good for your heart.", "Get your love back today.", "Order now or you will miss it."]
)
def test_what_only_looks_like_a_call_is_weighed(text: str) -> None:
    assert any(check(text, "ecommerce", place) for place in ("EU", "US"))


@pytest.mark.parametrize("call", ["call us today.", "get in touch with us today.", "get yours today."])
def test_a_call_that_states_nothing_is_like_no_violation(call: str) -> None:
    assert list(likeness(call, book().ids("US"), english=True)) == []
    told = "guaranteed income of £4,000 a week, no risk."
    assert list(likeness(told, book().ids("US"), english=True))
    assert list(likeness(f"{told} {call}", book().ids("US"), english=True)), "what else is said still counts"
