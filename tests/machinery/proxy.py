"""Inject faults between the real client and the emulator, selected by a function of each request."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import re
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from functools import partial
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

CHUNK = 1 << 16
METADATA = 1 << 12
"""The first bytes of an upload's body, which contain the name of its object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Describe a request to a rule."""

    number: int
    """From 1, over all connections."""
    method: str
    path: str
    query: Mapping[str, str]
    name: str
    """The name of the object; empty if the request has none."""

    @property
    def is_upload(self) -> bool:
        return self.path.startswith("/upload/")


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer with this status; the server does not receive the request."""

    status: int
    message: str = "injected"
    body: str | None = None
    """The body; by default an error in Google's format with the message."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the connection after so many bytes of the body; the server does not receive the request."""

    after: int = 0


@dataclass(frozen=True, slots=True)
class LostReply:
    """Let the server execute the request, then reset the connection."""

    meanwhile: Callable[[], None] = lambda: None
    """Called before the reset."""


@dataclass(frozen=True, slots=True)
class Truncate:
    """Announce the whole body of the reply and close the connection after so many bytes of it."""

    after: int


@dataclass(frozen=True, slots=True)
class FlipRequest:
    """Flip a bit of the byte that is so far from the end of the request's body."""

    before_end: int


@dataclass(frozen=True, slots=True)
class FlipReply:
    """Flip a bit of this byte of the reply's body."""

    at: int


@dataclass(frozen=True, slots=True)
class Slow:
    """Pass the bodies on at this rate."""

    bytes_per_s: float


Fault = Answer | Reset | LostReply | Truncate | FlipRequest | FlipReply | Slow
Rule = Callable[[Request], Fault | None]


def never(_: Request) -> None:
    """Inject no fault."""


@dataclass(slots=True)
class Proxy:
    """Listen on `url` within the context, and record every request."""

    upstream: str
    rule: Rule = never
    requests: list[Request] = field(default_factory=list)
    url: str = ""
    _server: socketserver.ThreadingTCPServer | None = None
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __enter__(self) -> Self:
        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), partial(_Handler, self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._server
        self._server.shutdown()
        self._server.server_close()

    def note(self, method: str, target: str, head: bytes) -> Request:
        parts = urlsplit(target)
        if parts.path.startswith("/upload/"):
            named = re.search(rb'\{[^{}]*"name": ?("(?:[^"\\]|\\.)*")', head)
            name = str(json.loads(named[1])) if named else ""
        else:
            name = unquote(parts.path.partition("/o/")[2])
        request = Request(
            number=next(self._numbers),
            method=method,
            path=parts.path,
            query=dict(parse_qsl(parts.query)),
            name=name,
        )
        self.requests.append(request)
        return request


class _Handler(socketserver.StreamRequestHandler):
    """Forward one connection of a client to the server."""

    disable_nagle_algorithm = True

    def __init__(self, proxy: Proxy, *connection: Any) -> None:
        self.proxy = proxy
        super().__init__(*connection)

    def handle(self) -> None:
        server = http.client.HTTPConnection(urlsplit(self.proxy.upstream).netloc)
        # Either side may close at any time: the proxy exists for that.
        with contextlib.closing(server), contextlib.suppress(OSError, http.client.HTTPException):
            while line := self.rfile.readline():
                method, target, _ = line.decode("ascii").split()
                if not self._pass_on(server, method, target, http.client.parse_headers(self.rfile)):
                    return

    def _pass_on(self, server: http.client.HTTPConnection, method: str, target: str, headers: Message) -> bool:
        """Handle a request, and return whether the connection stays open."""
        length = int(headers.get("content-length", 0))
        head = self.rfile.read(min(length, METADATA))
        fault = self.proxy.rule(self.proxy.note(method, target, head))
        if isinstance(fault, Reset):
            self._drain(min(fault.after, length) - len(head))
            return self._reset()
        if isinstance(fault, Answer):
            self._drain(length - len(head))
            error = json.dumps({"error": {"code": fault.status, "message": fault.message}})
            answer = error if fault.body is None else fault.body
            self._reply(fault.status, [("content-type", "application/json")], answer.encode())
            return True
        server.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            server.putheader(name, value)
        server.endheaders()
        sent = 0
        for chunk in itertools.chain([head], self._body(length - len(head))):
            server.send(_hurt(fault, chunk, sent, length))
            sent += len(chunk)
        response = server.getresponse()
        body = response.read()
        if isinstance(fault, LostReply):
            fault.meanwhile()
            return self._reset()
        body = b"".join(_hurt(fault, body[start : start + CHUNK], start) for start in range(0, len(body), CHUNK))
        end = fault.after if isinstance(fault, Truncate) else len(body)
        self._reply(response.status, response.getheaders(), body, end)
        return end == len(body)

    def _body(self, left: int) -> Iterator[bytes]:
        while left > 0:
            chunk = self.rfile.read(min(left, CHUNK))
            if not chunk:
                raise ConnectionError("the client closed the connection within a request")
            left -= len(chunk)
            yield chunk

    def _drain(self, left: int) -> None:
        for _ in self._body(left):
            pass

    def _reply(self, status: int, headers: list[tuple[str, str]], body: bytes, end: int | None = None) -> None:
        kept = [(name, value) for name, value in headers if name.lower() not in {"content-length", "transfer-encoding"}]
        lines = [f"HTTP/1.1 {status} -", *(f"{name}: {value}" for name, value in kept), f"content-length: {len(body)}"]
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body[:end])

    def _reset(self) -> bool:
        connection: socket.socket = self.request
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(connection.detach())
        return False


def _hurt(fault: Any, chunk: bytes, start: int, request_length: int | None = None) -> bytes:
    """Return a damaged piece of a body: of the request if its length is given, else of the reply."""
    match fault:
        case Slow(bytes_per_s):
            time.sleep(len(chunk) / bytes_per_s)
            return chunk
        case FlipRequest(before_end) if request_length is not None:
            at = request_length - before_end - start
        case FlipReply(at) if request_length is None:
            at -= start
        case _:
            return chunk
    if not 0 <= at < len(chunk):
        return chunk
    return chunk[:at] + bytes([chunk[at] ^ 1]) + chunk[at + 1 :]
