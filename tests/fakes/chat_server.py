"""A chat endpoint on 127.0.0.1 that acts as a test says: whole answers, streams, errors, silence."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Act = Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]


@dataclass
class ChatServer:
    """`acts` are used up one a request, the last stays. `bodies`: what was asked; `paths`: of every request."""

    url: str = ""
    acts: list[Act] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


@contextmanager
def chat_server(*acts: Act) -> Iterator[ChatServer]:
    """Serves; without acts, streams where it is asked to."""
    state = ChatServer(acts=list(acts or [writes("copy {}")]))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.paths.append(self.path)
            state.bodies.append(body)
            act = state.acts.pop(0) if len(state.acts) > 1 else state.acts[0]
            try:
                act(self, body)
            except OSError:  # the client gave up
                self.close_connection = True

        def do_GET(self) -> None:
            state.paths.append(self.path)
            reply(self, json.dumps([{"id": 0, "path": "/a/house.gguf"}, {"id": 1, "path": "/a/calm.gguf"}]).encode())

        def log_message(self, *_: Any) -> None:
            return

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that went away is what many of these tests are about."""
            if not isinstance(sys.exception(), ConnectionError):
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def closed_port() -> int:
    """A port that refuses connections."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def black_hole() -> Iterator[int]:
    """A port at which connections never come about: the queue of its listener is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        place = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(place)
        try:
            yield int(place[1])
        finally:
            for one in waiting:
                one.close()


def choices(*texts: str, finish: str = "stop") -> bytes:
    """A whole answer."""
    return json.dumps(
        {
            "choices": [{"index": i, "message": {"content": t}, "finish_reason": finish} for i, t in enumerate(texts)],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3 * len(texts)},
        }
    ).encode()


def chunk(index: int, text: str | None, finish: str | None = None) -> bytes:
    """One event of a stream."""
    choice = {"index": index, "delta": {"content": text}, "finish_reason": finish}
    return event({"choices": [choice]})


def event(document: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(document, ensure_ascii=False).encode() + b"\n\n"


def usage(prompt: int, completion: int, cached: int = 0) -> bytes:
    details = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    return event({"choices": [], "usage": details})


DONE = b"data: [DONE]\n\n"


def reply(
    handler: BaseHTTPRequestHandler,
    data: bytes,
    status: int = 200,
    length: int | None = None,
    headers: dict[str, str] | None = None,
) -> None:
    handler.send_response(status)
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(data) if length is None else length))
    handler.end_headers()
    handler.wfile.write(data)


def replies(data: bytes, status: int = 200, **more: Any) -> Act:
    return lambda handler, _: reply(handler, data, status, **more)


def streams(parts: Iterable[bytes | float | threading.Event], *, cut: bool = False) -> Act:
    """Sends the parts; a number is a pause in seconds, an event is waited for; `cut`: then breaks the connection."""
    kept = list(parts)

    def act(handler: BaseHTTPRequestHandler, _: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for part in kept:
            if isinstance(part, bytes):
                handler.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            elif isinstance(part, threading.Event):
                part.wait(10)
            else:
                time.sleep(part)
        if cut:
            handler.close_connection = True
        else:
            handler.wfile.write(b"0\r\n\r\n")

    return act


def writes(*texts: str) -> Act:
    """As many completions as asked for, from the texts in turn; whole, or interleaved where a stream is asked for."""

    def act(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        written = [texts[place % len(texts)].format(place) for place in range(body["n"])]
        if not body["stream"]:
            reply(handler, choices(*written))
            return
        parts = [chunk(place, text[:5]) for place, text in enumerate(written)]
        parts += [chunk(place, text[5:]) for place, text in enumerate(written)]
        ends = [chunk(place, None, "stop") for place in range(len(written))]
        streams([*parts, *ends, usage(7, 3 * len(written), 5), DONE])(handler, body)

    return act
