"""near_duplicates, against the exact Jaccard similarity."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.preprocess import match_key
from shared.preprocess.near_duplicates import near_duplicates


def similarity(one: str, other: str) -> float:
    sets = []
    for key in (match_key(one), match_key(other)):
        sets.append({key[start : start + 5] for start in range(max(len(key) - 4, 1))})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_examples() -> None:
    texts = [
        "商品A：最新款智能手机，限时优惠，全网通五G双卡双待，六千万像素，超长续航两天，快充三十分钟！",
        "时尚手表，品质生活必备！",
        "商品Ａ：最新款智能手機，限時優惠，全網通五G雙卡雙待，六千萬像素，超長續航兩天，快充三十分鐘",
        "商品A：最新款智能手机，限时优惠，全网通五G双卡双待，六千万像素，超长续航两天，快充三十分钟！！现货",
        "",
        "！？",
        "ab",
        "A b",
        "abc",
    ]
    assert near_duplicates(texts) == [0, 1, 0, 0, 4, 5, 6, 6, 8]
    assert near_duplicates([]) == []


def test_the_first_is_named_even_where_it_is_itself_a_repeat() -> None:
    words = [f"word{number}" for number in range(100, 160)]
    texts = [" ".join(words[start : start + 50]) for start in (0, 4, 8)]
    assert similarity(texts[0], texts[1]) >= 0.8 > similarity(texts[0], texts[2])
    assert near_duplicates(texts) == [0, 0, 1]


def test_planted_near_duplicates_are_found_and_nothing_else() -> None:
    chance = random.Random(5)
    letters = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳云腾致雨露结为霜"
    texts = ["".join(chance.choices(letters, k=60)) for _ in range(400)]
    planted = {}
    for original in range(0, 400, 4):
        place = chance.randrange(5, 55)
        texts.append(texts[original][:place] + "金" + texts[original][place:])
        planted[len(texts) - 1] = original
    found = near_duplicates(texts)
    assert {place: first for place, first in enumerate(found) if place != first} == planted


@settings(max_examples=60)
@given(st.lists(st.text("ab甲", max_size=12), max_size=12), st.sampled_from([0.5, 0.8, 1.0]))
def test_every_answer_is_an_earlier_text_that_is_that_similar(texts: list[str], threshold: float) -> None:
    found = near_duplicates(texts, threshold)
    assert len(found) == len(texts)
    for place, first in enumerate(found):
        assert 0 <= first <= place
        if first != place:
            assert similarity(texts[first], texts[place]) >= threshold
        elif match_key(texts[place]):  # equal ones are never missed
            assert match_key(texts[place]) not in {match_key(text) for text in texts[:place]}


@pytest.mark.slow
@settings(max_examples=40)
@given(st.text("abcdefgh手机", min_size=30, max_size=120), st.integers(0, 119), st.sampled_from([0.6, 0.8]))
def test_a_pair_is_a_pair_in_either_order(text: str, place: int, threshold: float) -> None:
    changed = text[:place] + "z" + text[place + 1 :]
    assert near_duplicates([text, changed], threshold)[1] == near_duplicates([changed, text], threshold)[1]


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.1])
def test_the_threshold_is_checked(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        near_duplicates(["a"], threshold)
