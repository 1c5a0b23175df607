"""What is left of a multilingual vocabulary for texts that are English nearly always."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from infra.training import vocabulary
from infra.training.vocabulary import META, SPECIAL, always_kept, narrowly_kept


@pytest.mark.parametrize(
    "piece", ["▁", "a", "▁Z", "é", "ß", "中", "▁手", "7", "１", "€", "，", "☺", "▁1999", "...", "->"]
)
def test_single_characters_figures_and_symbols_stay(piece: str) -> None:
    assert narrowly_kept(piece)


@pytest.mark.parametrize(
    "piece", ["я", "α", "ก", "か", "한", "ab", "▁th", "USA", "手机", "▁十二", "αβ", "。”", "3g", "４５"]
)
def test_words_and_letters_of_other_scripts_do_not(piece: str) -> None:
    assert not narrowly_kept(piece)


@given(st.text(min_size=1, max_size=4), st.booleans())
def test_it_keeps_nothing_that_is_not_always_kept(text: str, first: bool) -> None:
    piece = META + text if first else text
    assert always_kept(piece) or not narrowly_kept(piece)


def test_the_room_goes_to_english_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "english_words", lambda: iter(["shoe", "red"]))
    letters = [*"abcdehorsSRED", "α", "手", "机", META]
    words = ["手机", "αα", "▁shoe", "▁red", "shoe", "ed"]
    pieces = [(piece, 0.0) for piece in SPECIAL] + [(piece, -9.0) for piece in letters] + [(one, -5.0) for one in words]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=SPECIAL.index("<unk>")))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")

    least, kept = vocabulary.cut(tokenizer, 1, narrowly_kept)
    assert [pieces[place][0] for place in kept] == [*SPECIAL, *(one for one in letters if one != "α")]
    assert least.encode("手机").tokens == [META, "手", "机"]

    narrow, _ = vocabulary.cut(tokenizer, 100, narrowly_kept)
    assert narrow.encode("red shoe").tokens == ["▁red", "▁shoe"]
    assert narrow.token_to_id("手机") is None and narrow.token_to_id("αα") is None
    wide, _ = vocabulary.cut(tokenizer, 1)
    assert wide.token_to_id("手机") is not None and wide.token_to_id("α") is not None
