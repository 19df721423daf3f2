"""An OpenAI-compatible endpoint on loopback that behaves as badly as a test wants. Standard library only; real sockets, real HTTP."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = Callable[["Exchange"], None]
USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}


@dataclass
class Exchange:
    """One request and the connection to answer it on."""

    handler: BaseHTTPRequestHandler
    request: dict[str, Any]
    stop: threading.Event

    def send(self, status: int, body: bytes, content_type: str = "application/json", headers: dict[str, str] | None = None) -> None:
        handler = self.handler
        handler.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **(headers or {})}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)


def completion(choices: list[dict[str, Any]], usage: dict[str, Any] | None = USAGE, model: str = "test-model") -> bytes:
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": model, "choices": choices, "usage": usage}
    return json.dumps(body).encode()


def says(text: str | None, finish: str = "stop", usage: dict[str, Any] | None = USAGE, **message: Any) -> Behaviour:
    """A completion with this text."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}
    return lambda exchange: exchange.send(200, completion([choice], usage))


def answers(value: Any) -> Behaviour:
    return says(json.dumps(value))


def fails(status: int, message: str, headers: dict[str, str] | None = None, **error: Any) -> Behaviour:
    """An error as OpenAI words it."""
    body = json.dumps({"error": {"message": message, "type": "some_error", **error}}).encode()
    return lambda exchange: exchange.send(status, body, headers=headers)


def sends(body: bytes, status: int = 200, content_type: str = "application/json") -> Behaviour:
    return lambda exchange: exchange.send(status, body, content_type)


def drops_connection(exchange: Exchange) -> None:
    """Hangs up before any byte of a reply."""
    exchange.handler.connection.shutdown(socket.SHUT_RDWR)
    exchange.handler.close_connection = True


def stops_in_the_middle(exchange: Exchange) -> None:
    """Announces a long body, sends the beginning, hangs up."""
    exchange.handler.send_response(200)
    exchange.handler.send_header("Content-Type", "application/json")
    exchange.handler.send_header("Content-Length", "5000")
    exchange.handler.end_headers()
    exchange.handler.wfile.write(b'{"id": "c", "choices": [{"index": 0, "mess')
    exchange.handler.close_connection = True


def never_replies(exchange: Exchange) -> None:
    exchange.stop.wait(30)


def drips(exchange: Exchange) -> None:
    """A byte now and then, so that no read ever times out."""
    exchange.handler.send_response(200)
    exchange.handler.send_header("Content-Type", "application/json")
    exchange.handler.end_headers()
    try:
        while not exchange.stop.wait(0.02):
            exchange.handler.wfile.write(b" ")
            exchange.handler.wfile.flush()
    except OSError:
        pass  # the client had enough, which is what the test waits for


@dataclass
class ModelServer:
    """Plays `script` request by request, its last behaviour for ever; keeps what it was asked."""

    script: list[Behaviour] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stop = threading.Event()
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    outer.requests.append(request)
                    outer.keys.append(self.headers.get("Authorization", ""))
                    behaviour = outer.script[min(len(outer.requests), len(outer.script)) - 1]
                behaviour(Exchange(self, request, outer.stop))

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args: Any) -> None:
                pass  # connections that this server breaks on purpose

        self._http = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def plays(self, *script: Behaviour) -> None:
        self.script[:] = script

    def close(self) -> None:
        self.stop.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)
