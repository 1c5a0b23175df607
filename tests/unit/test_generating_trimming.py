"""Texts that are too loud or too long for a channel lose a clause rather than be lost; texts that invent are lost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.generating.trimming import trimmed
from shared.generating.width import display_width
from shared.stores import Stores
from tests.fakes.generation import PHONE, World, make_world, texts

ROOM = 120


def span(text: str, word: str) -> list[tuple[int, int]]:
    return [(text.index(word), text.index(word) + len(word))] if word else []


@pytest.mark.parametrize(
    ("text", "word", "room", "left"),
    [
        ("轻便好穿，最佳之选，随时出发去远方。", "最佳", ROOM, "轻便好穿，随时出发去远方。"),
        ("最佳之选，轻便好穿，随时出发。", "最佳", ROOM, "轻便好穿，随时出发。"),
        ("轻便好穿！最佳之选！随时出发", "最佳", ROOM, "轻便好穿！随时出发"),
        ("轻便好穿，说走就走，随时出发，去远方。", "", 22, "轻便好穿，说走就走。"),
        ("A bright phone for the road. The best of all!", "best", ROOM, "A bright phone for the road!"),
        ("The best! A bright phone for the road", "best", ROOM, "A bright phone for the road"),
        ("A bright phone for the road, the best of all.", "best", ROOM, "A bright phone for the road."),
        (
            "A phone for the road. It charges in minutes. It lasts.",
            "",
            50,
            "A phone for the road. It charges in minutes.",
        ),
        ("Looking for a bright phone? The best of all.", "best", ROOM, "Looking for a bright phone?"),
        ("5.4 inch phone, with 1,200 songs. The best!", "best", ROOM, "5.4 inch phone, with 1,200 songs!"),
    ],
)
def test_what_may_stand_is_left(text: str, word: str, room: int, left: str) -> None:
    language: Any = "zh" if "，" in text or "！" in text else "en"
    assert trimmed(text, span(text, word), language, room=room) == left


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("最佳手机。", "最佳"),  # nothing is left
        ("最佳之选，还能随时出发去远方。", "最佳"),  # it leans on what is gone
        ("不仅轻便好穿又好看，还是最佳之选。", "最佳"),  # half of a pair
        ("With a bright screen for the road, the best phone.", "best"),  # no main clause
        ("The best phone. It has a bright screen too.", "best"),
        ("Bright, the best phone", "best"),  # too little
        ("轻便好穿，随时出发去远方。", ""),  # nothing has to go
    ],
)
def test_a_fragment_is_no_copy(text: str, word: str) -> None:
    assert trimmed(text, span(text, word), "zh" if "，" in text or "。" in text else "en", room=ROOM) is None


@given(st.text(max_size=80), st.integers(0, 80), st.integers(0, 20), st.sampled_from(["zh", "en"]), st.integers(1, 60))
def test_any_text_can_be_trimmed(text: str, start: int, length: int, language: Any, room: int) -> None:
    made = trimmed(text, [(start, start + length)], language, room=room)
    assert made is None or (made.strip() and "\n" not in made) or "\n" in text


@pytest.fixture
def world(stores: Stores) -> World:
    return make_world(stores)


def test_a_loud_word_costs_its_clause_and_provenance_says_so(world: World) -> None:
    loud = "A mint phone with a 6.6 inch screen. The best phone ever!"
    world.generator.texts = [loud, "A phone with 9000 mAh inside. See more of the bright Larkspur."]
    result = world.copy(n=2)
    (copy,) = [copy for copy in result.copies if copy.served_by == "llm"]
    assert copy.text == "A mint phone with a 6.6 inch screen!"
    assert copy.provenance["trimmed"] is True
    refused = {one.text: one.reasons for one in result.rejected}
    assert any("cn.absolute" in reason for reason in refused[loud])  # and what it was is still told
    assert len(refused) == 2  # a text that invents is not trimmed to the rest


def test_a_long_line_is_cut_to_its_first_sentence_for_a_short_channel(world: World) -> None:
    world.generator.texts = ["A bright mint phone for $299. See it all on its 6.6 inch screen."]
    (copy, *_) = world.copy(n=1, channel="google_headline").copies
    assert copy.text == "A bright mint phone for $299." and display_width(copy.text) <= 30
    assert "trimmed" not in world.copy(n=1, channel="feed", fresh=True).copies[0].provenance
    assert texts(world.copy(n=1)) and PHONE["language"] == "en"
