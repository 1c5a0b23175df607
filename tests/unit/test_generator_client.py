"""The client of OpenAI-compatible endpoints against a real server on this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_socket

from shared.errors import ModelUnavailable
from shared.models import chat
from shared.models.chat import until
from shared.models.generator import ChatRequest, Engine, Usage
from shared.models.openai import OpenAICompatible, adapter_numbers
from shared.models.resilience import Breaker, Guard, TimedOut
from tests.fakes.chat_server import (
    DONE,
    Act,
    ChatServer,
    black_hole,
    chat_server,
    choices,
    chunk,
    closed_port,
    replies,
    streams,
    usage,
    writes,
)

pytestmark = pytest.mark.slow

REQUEST = ChatRequest(({"role": "user", "content": "Product: a phone\nAd:"},), n=2, max_tokens=20)


@pytest.fixture(autouse=True)
def _no_network() -> Iterator[None]:
    """Here the network is this machine."""
    pytest_socket.socket_allow_hosts(["127.0.0.1"], allow_unix_socket=True)
    yield
    pytest_socket.socket_allow_hosts(None)
    pytest_socket.enable_socket()


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as state:
        yield state


def client(server: ChatServer | str, **options: Any) -> OpenAICompatible:
    return OpenAICompatible(server if isinstance(server, str) else server.url, "local", **options)


@pytest.mark.parametrize("streaming", [True, False])
def test_candidates_come_in_one_request(server: ChatServer, streaming: bool) -> None:
    answer = client(server, streaming=streaming).complete(REQUEST, timeout=5)
    assert answer.texts == ("copy 0", "copy 1")
    assert (answer.finished, answer.cut, answer.notice) == (2, 0, "")
    assert replace(answer.usage, seconds=0) == Usage(7, 6, 5 if streaming else 0)
    assert 0 < answer.usage.seconds < 5
    (body,) = server.bodies
    assert body["messages"] == list(REQUEST.messages) and body["n"] == 2 and body["model"] == "local"
    assert body["stream"] == streaming


def test_a_server_that_streams_nothing_is_understood(server: ChatServer) -> None:
    server.acts = [replies(choices("copy a", "copy b"))]
    assert client(server).complete(REQUEST, timeout=5).texts == ("copy a", "copy b")


@pytest.mark.parametrize(
    ("engine", "batches"), [("llama.cpp", [8, 8, 8, 8, 8]), ("vllm", [8, 32]), ("openai", [8, 8, 8, 8, 8])]
)
def test_no_more_than_the_engine_takes_are_asked_for_at_once(
    server: ChatServer, engine: Engine, batches: list[int]
) -> None:
    answer = client(server, engine=engine).complete(replace(REQUEST, n=40, seed=1), timeout=10)
    assert len(answer.texts) == answer.finished == 40
    assert sorted(body["n"] for body in server.bodies) == batches
    assert len({body["seed"] for body in server.bodies}) == len(batches)
    assert answer.usage.completion_tokens == 120


def test_an_engine_that_ignores_n_is_asked_again(server: ChatServer) -> None:
    server.acts = [streams([chunk(0, "only one", "stop"), DONE])]
    assert client(server).complete(REQUEST, timeout=5).texts == ("only one", "only one")


def test_an_engine_that_writes_nothing_is_not_asked_forever(server: ChatServer) -> None:
    server.acts = [streams([chunk(0, " ", "stop"), DONE])]
    with pytest.raises(ModelUnavailable, match="nothing"):
        client(server).complete(REQUEST, timeout=5)
    assert len(server.bodies) <= 3


def test_what_is_there_is_kept_when_a_later_batch_fails(server: ChatServer) -> None:
    server.acts = [*server.acts, replies(b"{}", 400)]
    answer = client(server).complete(replace(REQUEST, n=16), timeout=5)
    assert len(answer.texts) == 8 and "400" in answer.notice


def test_pieces_come_while_the_model_still_writes(server: ChatServer) -> None:
    first_seen = threading.Event()
    server.acts = [streams([chunk(1, "copy "), first_seen, chunk(0, "a", "stop"), chunk(1, "b", "stop"), DONE])]
    pieces = client(server).stream(REQUEST, timeout=5)
    first = next(pieces)
    first_seen.set()  # only now does the server go on
    assert (first.index, first.text, first.finish) == (1, "copy ", None)
    assert [(piece.index, piece.text, piece.finish) for piece in pieces] == [(0, "a", "stop"), (1, "b", "stop")]


def test_a_stream_of_more_than_a_batch_goes_on_counting(server: ChatServer) -> None:
    pieces = list(client(server).stream(replace(REQUEST, n=11), timeout=5))
    assert {piece.index for piece in pieces} == set(range(11))


def test_at_the_deadline_the_finished_ones_are_there(server: ChatServer) -> None:
    server.acts = [
        streams([chunk(0, "copy a", "stop"), chunk(1, "Half. And not"), chunk(2, "nothing who"), threading.Event()])
    ]
    answer = client(server).complete(replace(REQUEST, n=3), timeout=0.4)
    assert answer.texts == ("copy a", "Half.")
    assert (answer.finished, answer.cut) == (1, 2)
    assert "in time" in answer.notice
    assert len(server.bodies) == 1


def test_a_broken_stream_leaves_what_is_finished(server: ChatServer) -> None:
    server.acts = [streams([chunk(0, "copy a", "stop"), chunk(1, "no")], cut=True)]
    answer = client(server).complete(REQUEST, timeout=5)
    assert answer.texts == ("copy a",) and answer.cut == 1 and "broke" in answer.notice


def test_a_public_stream_that_breaks_says_so(server: ChatServer) -> None:
    server.acts = [streams([chunk(0, "copy a", "stop"), chunk(1, "no")], cut=True)]
    pieces = client(server).stream(REQUEST, timeout=5)
    assert next(pieces).text == "copy a"
    with pytest.raises(ModelUnavailable, match="stopped"):
        list(pieces)


@pytest.mark.parametrize(
    "act", [streams([], cut=True), streams([chunk(0, "no")], cut=True), replies(b'{"choices": [', length=5000)]
)
def test_an_answer_that_breaks_before_anything_is_of_use_is_asked_for_again(server: ChatServer, act: Act) -> None:
    def broken(handler: Any, body: dict[str, Any]) -> None:
        act(handler, body)
        handler.close_connection = True

    server.acts = [broken, *server.acts]
    assert client(server).complete(REQUEST, timeout=5).texts == ("copy 0", "copy 1")
    server.acts = [broken]
    with pytest.raises(ModelUnavailable, match="broke"):
        client(server).complete(REQUEST, timeout=5)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_passing_failure_is_tried_again(server: ChatServer, status: int) -> None:
    server.acts = [replies(b"busy", status), *server.acts]
    assert client(server).complete(REQUEST, timeout=5).texts == ("copy 0", "copy 1")
    assert len(server.bodies) == 2


@pytest.mark.parametrize("status", [400, 401, 404, 302])
def test_a_refusal_is_not_repeated(server: ChatServer, status: int) -> None:
    server.acts = [replies(b"no", status)]
    with pytest.raises(ModelUnavailable, match=str(status)):
        client(server).complete(REQUEST, timeout=5)
    assert len(server.bodies) == 1


@pytest.mark.parametrize("status", [429, 500])
def test_a_dead_endpoint_is_not_asked_by_later_calls(server: ChatServer, status: int) -> None:
    server.acts = [replies(b"dead", status)]
    model = client(server)
    for _ in range(5):
        with pytest.raises(ModelUnavailable, match=server.url.split("/")[2]):
            model.complete(REQUEST, timeout=5)
    assert len(server.bodies) == 3


def test_a_dead_endpoint_is_asked_for_one_token_until_it_is_back(server: ChatServer) -> None:
    back = threading.Event()

    def slowly(handler: Any, body: dict[str, Any]) -> None:
        back.wait(10)
        writes("a")(handler, body)

    server.acts = [*[replies(b"dead", 500)] * 3, slowly, *server.acts]
    model = client(server, guard=Guard("the model", breaker=Breaker(first=0.01)))
    with pytest.raises(ModelUnavailable, match="status 500"):
        model.complete(REQUEST, timeout=5)
    while len(server.bodies) < 4:
        with pytest.raises(ModelUnavailable, match="status 500"):
            model.complete(REQUEST, timeout=5)
    back.set()
    assert model.complete(REQUEST, timeout=60).texts == ("copy 0", "copy 1")
    assert [body["max_tokens"] for body in server.bodies] == [20, 20, 20, 1, 20]


def test_an_endpoint_that_says_nothing_at_all_is_given_up_at_once(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "SILENT_SECONDS", 0.0)  # how long a busy machine leaves of the time is no matter here
    over = threading.Event()

    def says_nothing(*_: object) -> None:
        over.wait(10)

    server.acts = [says_nothing]
    model = client(server)
    for _ in range(3):
        with pytest.raises(ModelUnavailable, match="in time"):
            model.complete(REQUEST, timeout=1)
    over.set()
    assert len(server.bodies) == 1


def test_a_caller_without_time_says_nothing_against_the_endpoint(server: ChatServer) -> None:
    server.acts = [lambda *_: time.sleep(0.5), *server.acts]
    model = client(server)
    with pytest.raises(ModelUnavailable, match="in time"):
        model.complete(REQUEST, timeout=0.1)
    assert model.complete(REQUEST, timeout=5).texts


def test_a_throttle_that_names_its_time_is_respected(server: ChatServer) -> None:
    server.acts = [replies(b"slow down", 429, headers={"Retry-After": "20"})]
    model = client(server)
    for _ in range(3):
        with pytest.raises(ModelUnavailable, match="too often") as error:
            model.complete(REQUEST, timeout=5)
        assert error.value.retry_after == 20
    assert len(server.bodies) == 1


def test_a_loading_model_is_named_and_not_waited_for(server: ChatServer) -> None:
    server.acts = [replies(b'{"error": {"code": 503, "message": "Loading model"}}', 503)]
    with pytest.raises(ModelUnavailable, match="loading"):
        client(server).complete(REQUEST, timeout=5)
    assert len(server.bodies) == 1


@pytest.mark.parametrize("answer", [b"", b"<html>", b"{}", b'{"choices": [{}]}', b'{"choices": []}', b"\xff\xfe"])
def test_nonsense_is_an_unavailable_model(server: ChatServer, answer: bytes) -> None:
    server.acts = [replies(answer)]
    with pytest.raises(ModelUnavailable):
        client(server).complete(REQUEST, timeout=5)
    with pytest.raises(ModelUnavailable):
        list(client(server).stream(REQUEST, timeout=5))


def test_a_refused_connection_is_tried_once() -> None:
    tried: list[float] = []
    model = client(f"http://127.0.0.1:{closed_port()}/v1", guard=Guard("the model", sleep=tried.append))
    for _ in range(3):
        with pytest.raises(ModelUnavailable, match="no connection"):
            model.complete(REQUEST, timeout=5)
    assert not tried


def test_a_connection_that_does_not_come_about_is_given_up_early() -> None:
    with black_hole() as port:
        started = time.monotonic()
        with pytest.raises(ModelUnavailable, match="ConnectTimeout"):
            client(f"http://127.0.0.1:{port}/v1", connect=0.1).complete(REQUEST, timeout=20)
        assert time.monotonic() - started < 10


@pytest.mark.parametrize("streaming", [True, False])
def test_the_deadline_holds_against_silence(server: ChatServer, streaming: bool) -> None:
    server.acts = [lambda *_: time.sleep(2)]
    started = time.monotonic()
    with pytest.raises(ModelUnavailable, match="in time"):
        client(server, streaming=streaming).complete(REQUEST, timeout=0.3)
    assert time.monotonic() - started < 1.9


def test_the_deadline_holds_against_a_trickle(server: ChatServer) -> None:
    server.acts = [streams([part for _ in range(40) for part in (b" ", 0.05)])]
    started = time.monotonic()
    with pytest.raises(ModelUnavailable, match="in time"):
        client(server).complete(REQUEST, timeout=0.3)
    assert time.monotonic() - started < 1.9


def test_who_stops_reading_stops_the_exchange() -> None:
    closed = threading.Event()

    def source() -> Any:
        try:
            while True:
                yield b"x"
                time.sleep(0.01)
        finally:
            closed.set()

    chunks = until(time.monotonic() + 5, source)
    assert next(iter(chunks)) == b"x"
    chunks.close()  # type: ignore[attr-defined]
    assert closed.wait(5)


def test_what_the_source_raises_is_raised() -> None:
    def source() -> Any:
        yield b"x"
        raise TimedOut("late")

    with pytest.raises(TimedOut, match="late"):
        list(until(time.monotonic() + 5, source))


def test_llama_cpp_is_told_the_number_of_an_adapter(server: ChatServer) -> None:
    model = client(server)
    for _ in range(2):
        assert model.complete(replace(REQUEST, adapter="calm"), timeout=5).texts
    assert [body["lora"] for body in server.bodies] == [[{"id": 1, "scale": 1.0}]] * 2
    assert server.paths.count("/lora-adapters") == 1
    with pytest.raises(ModelUnavailable, match="'loud'"):
        model.complete(replace(REQUEST, adapter="loud"), timeout=5)
    assert len(server.bodies) == 2 and server.paths.count("/lora-adapters") == 2, "it may have a new one by now"


def test_an_adapter_has_the_name_of_its_file_or_folder() -> None:
    listed = [{"id": 0, "path": "/a/house.gguf"}, {"id": 1, "path": "/a/copywriter/adapter.gguf", "scale": 1.0}]
    assert adapter_numbers(listed) == {"house": 0, "copywriter": 1}


def test_other_engines_take_the_adapters_name(server: ChatServer) -> None:
    client(server, engine="vllm").complete(replace(REQUEST, adapter="calm"), timeout=5)
    assert server.bodies[0]["model"] == "calm" and server.paths == ["/v1/chat/completions"]


def test_the_key_is_sent_and_never_told() -> None:
    seen: list[str] = []

    def act(handler: Any, body: dict[str, Any]) -> None:
        seen.append(handler.headers["Authorization"])
        replies(b"no", 401)(handler, body)

    with chat_server(act) as server:
        url = server.url.replace("http://", "http://name:secret@")
        with pytest.raises(ModelUnavailable) as error:
            client(url, api_key="key").complete(REQUEST, timeout=5)
    assert seen == ["Bearer key"]
    assert "secret" not in error.value.detail and "key" not in error.value.detail


def test_a_key_is_read_once_and_anew_some_time_after_it_was_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    keys, one = iter(["old", "new"]), replace(REQUEST, n=1)

    def act(handler: Any, body: dict[str, Any]) -> None:
        seen.append(handler.headers["Authorization"])
        served = [replies(choices("a")), replies(b"no", 401), replies(b"no", 401), replies(choices("b"))]
        served[len(seen) - 1](handler, body)

    with chat_server(act) as server:
        model = client(server.url, engine="openai", streaming=False, api_key=lambda: next(keys))
        model.complete(one, timeout=5)
        with pytest.raises(ModelUnavailable, match="401"):  # at first it may be a slip of the endpoint
            model.complete(one, timeout=5)
        monkeypatch.setattr("shared.models.keys.WAIT_SECONDS", 0.0)
        with pytest.raises(ModelUnavailable, match="401"):
            model.complete(one, timeout=5)
        model.complete(one, timeout=5)
    assert seen == ["Bearer old"] * 3 + ["Bearer new"]


def test_where_the_key_cannot_be_read_the_model_is_out_of_reach() -> None:
    def away() -> str:
        raise ModelUnavailable("the key of the language model cannot be read")

    with chat_server(replies(b"", 500)) as server:
        with pytest.raises(ModelUnavailable, match="key of the language model cannot be read"):
            client(server.url, api_key=away).complete(REQUEST, timeout=5)
        assert not server.bodies, "nothing is asked without it"


def test_only_http_is_spoken() -> None:
    with pytest.raises(ValueError, match="http"):
        OpenAICompatible("file:///etc/passwd", "local")


def test_usage_tells_what_was_reused(server: ChatServer) -> None:
    server.acts = [streams([chunk(0, "a", "stop"), chunk(1, "b", "stop"), usage(200, 9, 180), DONE])]
    assert client(server).complete(REQUEST, timeout=5).usage.cached_tokens == 180
