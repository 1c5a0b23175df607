"""Reading chat completions: whole, in pieces however they are cut, broken off, and nonsense; event-stream frames."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from infra.local.event_stream import frame, payload_part, stream_exception
from shared.errors import ModelUnavailable
from shared.models.answers import MAX_ANSWER_BYTES, Assembly, read_completions, read_pieces, whole_sentences
from shared.models.generator import ChatRequest, Completions, Piece, Usage, chat_body
from shared.models.resilience import Failure, Malformed
from tests.fakes.chat_server import DONE, choices, chunk, event, usage

SENTENCES = ["好用的手机。", "A phone for you. ", "电池 5000 mAh！", "轻", "and light"]


def put_together(chunks: Iterable[bytes], asked: int) -> Completions:
    assembly = Assembly()
    failure = None
    try:
        for item in read_pieces(chunks):
            assembly.add(item)
    except Failure as error:
        failure = error
    return assembly.completions(asked=asked, seconds=1.0, failure=failure)


def split(data: bytes, places: Sequence[int]) -> Iterator[bytes]:
    start = 0
    for place in sorted(place % (len(data) + 1) for place in places):
        yield data[start:place]
        start = place
    yield data[start:]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(SENTENCES)), min_size=1, max_size=20),
    st.lists(st.integers(0, 1 << 20), max_size=30),
)
def test_pieces_are_the_same_however_the_bytes_are_cut(said: list[tuple[int, str]], places: list[int]) -> None:
    places_of = sorted({index for index, _ in said})
    parts = [chunk(index, text) for index, text in said] + [chunk(index, None, "stop") for index in places_of]
    data = b": keep-alive\r\n\r\n" + b"".join(parts) + usage(11, 5) + DONE
    answer = put_together(list(split(data, places)), len(places_of))
    expected = ["".join(text for index, text in said if index == place).strip() for place in places_of]
    assert answer == Completions(tuple(expected), Usage(11, 5, 0, 1.0), len(places_of))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(SENTENCES)), min_size=1, max_size=20),
    st.integers(0, 1 << 20),
)
def test_a_stream_that_breaks_keeps_what_is_finished_and_whole_sentences(said: list[tuple[int, str]], at: int) -> None:
    places = sorted({index for index, _ in said})
    parts = [chunk(index, text) for index, text in said] + [chunk(index, None, "stop") for index in places]
    kept = at % len(parts)

    def breaking() -> Iterator[bytes]:
        yield from parts[:kept]
        raise Failure("the connection broke")

    answer = put_together(breaking(), len(places))
    assert answer.finished == max(0, kept - len(said))
    assert answer.cut == len(places) - answer.finished
    assert answer.notice == "the connection broke"
    whole = {"".join(text for index, text in said if index == place).strip() for place in places[: answer.finished]}
    assert all(text in whole or whole_sentences(text) == text for text in answer.texts)


def test_a_whole_answer_has_texts_and_usage() -> None:
    answer = read_completions(choices("copy a", "copy b"), seconds=2.0)
    assert answer == Completions(("copy a", "copy b"), Usage(7, 6, 0, 2.0), finished=2)


def test_a_sentence_that_the_token_limit_broke_off_is_left_out() -> None:
    assert read_completions(choices("好用的手机。电池很", finish="length")).texts == ("好用的手机。",)
    assert read_completions(choices("A phone for you. The bat", "the batt", finish="length")).texts == (
        "A phone for you.",
    )
    assert whole_sentences("It weighs 1.5 kg and") == ""


def test_engines_that_tell_usage_for_each_completion_are_added_up() -> None:
    parts = [chunk(0, "a", "stop"), usage(20, 3, 15), chunk(1, "b", "stop"), usage(20, 4, 15), DONE]
    assert put_together(parts, 2).usage == Usage(20, 7, 15, 1.0)


def test_without_the_engines_word_the_pieces_are_counted() -> None:
    assert put_together([chunk(0, "好。"), chunk(0, "轻"), chunk(1, "b")], 2).usage.completion_tokens == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"{}",
        b"[]",
        b"null",
        b'{"choices": [{}]}',
        b'{"choices": [{"message": {"content": 7}}]}',
        b'{"choices": [{"index": "x", "message": {"content": "a"}}]}',
        b"\xff\xfe",
        b"data: {\n\n",
        b"data: 7\n\n",
        b'data: {"choices": [{"delta": {"content": ["a"]}}]}\n\n',
        b'{"choices": [{"message": {"content": "a"}}], "usage": {}, "x":',
    ],
)
def test_nonsense_is_malformed(answer: bytes) -> None:
    with pytest.raises(Malformed):
        list(read_pieces([answer]))


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_a_failure(data: bytes) -> None:
    try:
        for item in read_pieces([b"data: ", data, b"\n"]):
            assert isinstance(item, Piece | Usage)
    except Failure:
        pass


def test_an_endless_answer_is_malformed() -> None:
    line = b"data: " + b" " * (1 << 16)
    with pytest.raises(Malformed, match="too long"):
        list(read_pieces(line for _ in range(MAX_ANSWER_BYTES // len(line) + 2)))


@pytest.mark.parametrize("document", [{"error": {"message": "out of memory"}}, {"error": "out of memory"}])
def test_an_engine_that_reports_an_error_while_it_writes_breaks_the_stream(document: dict[str, object]) -> None:
    answer = put_together([chunk(0, "好。"), event(document)], 1)
    assert answer.texts == ("好。",) and answer.cut == 1 and "out of memory" in answer.notice


def test_a_stream_without_its_last_line_is_whole_when_its_completions_are() -> None:
    assert put_together([chunk(0, "copy", "stop")], 1).cut == 0


# Requests --------------------------------------------------------------------------------------------------------


class Words:
    def gbnf(self) -> str:
        return "root ::= [a-z]+"

    def regex(self) -> str:
        return "[a-z]+"


MESSAGES = ({"role": "user", "content": "Product: a phone\nAd:"},)


def test_the_body_is_a_chat_completion() -> None:
    request = ChatRequest(MESSAGES, n=3, temperature=0.5, max_tokens=20, stop=("\n",), seed=4)
    body = chat_body(request, engine="openai", model="gpt", stream=True)
    assert json.loads(json.dumps(body)) == {
        "model": "gpt",
        "messages": list(MESSAGES),
        "n": 3,
        "temperature": 0.5,
        "top_p": 0.95,
        "max_tokens": 20,
        "stop": ["\n"],
        "seed": 4,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_each_engine_is_told_the_adapter_in_its_own_way() -> None:
    request = ChatRequest(MESSAGES, adapter="calm")
    assert chat_body(request, engine="vllm")["model"] == "calm"
    assert chat_body(request, engine="openai", model="gpt")["model"] == "calm"
    body = chat_body(request, engine="llama.cpp", model="local", adapters={"house": 0, "calm": 1})
    assert body["lora"] == [{"id": 1, "scale": 1.0}] and body["model"] == "local"
    assert "model" not in chat_body(ChatRequest(MESSAGES), engine="vllm")
    unknown: list[dict[str, int] | None] = [None, {}]
    for adapters in unknown:
        with pytest.raises(ModelUnavailable, match="'calm'"):
            chat_body(request, engine="llama.cpp", adapters=adapters)


def test_each_engine_is_told_the_constraint_in_its_own_way() -> None:
    request = ChatRequest(MESSAGES, constraint=Words())
    assert chat_body(request, engine="llama.cpp")["grammar"] == "root ::= [a-z]+"
    assert chat_body(request, engine="vllm")["structured_outputs"] == {"regex": "[a-z]+"}
    assert (
        chat_body(request, engine="openai", model="gpt").keys()
        == chat_body(ChatRequest(MESSAGES), engine="openai", model="gpt").keys()
    )


# Frames ----------------------------------------------------------------------------------------------------------


@given(
    st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=50), max_size=5),
    st.binary(max_size=500),
    st.lists(st.integers(0, 1 << 20), max_size=10),
)
def test_botocore_decodes_the_frames(headers: dict[str, str], payload: bytes, places: list[int]) -> None:
    buffer = EventStreamBuffer()
    messages = []
    for part in split(frame(headers, payload) * 2, places):
        buffer.add_data(part)
        messages += list(buffer)
    assert [(message.headers, message.payload) for message in messages] == [(headers, payload)] * 2


def test_parts_and_exceptions_are_marked_as_such() -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(payload_part(b"x") + stream_exception("InternalStreamFailure", {"Message": "sorry"}))
    part, failure = buffer
    assert part.headers[":event-type"] == "PayloadPart" and part.to_response_dict()["status_code"] == 200
    assert failure.headers[":exception-type"] == "InternalStreamFailure"
    assert failure.to_response_dict()["status_code"] == 400
