"""What rules alone do not see in English copy: options that exclude each other, and words weighed in their places."""

from itertools import pairwise

import pytest

from shared.domain import Ad
from shared.policy.claims import read, trace_claims, unsupported
from shared.policy.english_context import chunks, describe, score, weights
from shared.policy.polarity import negated
from shared.policy.vocabulary import vocabulary
from shared.policy.words import ruled

CHECK = Ad(
    ad_id="a",
    title="Walk-in blood pressure check",
    description="Free blood pressure checks for adults aged 40 and over. We measure at the upper arm in a private "
    "room. Mondays and Fridays, 9 am to 5 pm. Recorded lessons on diet, and one live question hour each Sunday.",
    landing_url="https://shop.example/a",
    language="en",
    domain="health",
)


def refused(text: str) -> list[str]:
    return [claim.text for claim in unsupported(trace_claims(text, CHECK))]


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("A cuff at the wrist in a private room.", "wrist"),
        ("Live lessons on diet.", "Live lessons"),
        ("Measured at the ankle, Mondays and Fridays.", "ankle"),
    ],
)
def test_an_option_that_excludes_the_ads_is_found(text: str, claim: str) -> None:
    reading = read(text, CHECK)
    found = ruled(reading.plain, reading.taken, reading.facts.words, vocabulary())
    options = [text[word.start : word.end] for word in found if word.kind == "option" and word.support is None]
    assert any(claim in one for one in options), found


@pytest.mark.parametrize(
    "text",
    [
        "We measure at the upper arm in a private room.",
        "Recorded lessons on diet.",
        "Free blood pressure checks, Mondays and Fridays.",
        "One live question hour each Sunday.",
    ],
)
def test_the_ads_own_words_pass(text: str) -> None:
    assert refused(text) == []


def test_the_weights_are_read_and_a_piece_scores_by_its_words() -> None:
    intercept, known = weights()
    assert len(known) > 1000
    assert intercept != 0
    text = "We measure at the upper arm in a private room."
    reading = read(text, CHECK)
    evidence, words = reading.facts.words, vocabulary()
    found = ruled(reading.plain, reading.taken, evidence, words)
    described = describe(
        reading.plain, (0, len(text)), reading.taken, negated(reading.plain, words), found, evidence, words
    )
    assert [text[word.start : word.end] for word in described][:3] == ["We", "measure", "at"]
    total, parts = score(described)
    assert len(parts) == len(described)
    assert total < 0


def test_a_function_word_is_never_the_claim() -> None:
    for text in ("Checks with biscuits and a sauna for the over-forties.", "And with that, a helicopter ride for all."):
        assert not {"and", "with", "for", "the", "that"} & {one.lower() for one in refused(text)}


def test_a_long_copy_is_weighed_sentence_by_sentence() -> None:
    plain = " ".join(["We measure at the upper arm in a private room."] * 10)
    spans = list(chunks(plain))
    assert len(spans) >= 4
    assert spans[0][0] == 0
    assert spans[-1][1] == len(plain)
    assert all(one[1] == other[0] for one, other in pairwise(spans))
    assert list(chunks("")) == []
