"""Emulate Cloud Storage on loopback, each connection as fast as one real stream (pace.py).

It speaks as much of the JSON API as the three ways need: multipart and resumable uploads, preconditions on the
generation, metadata, listing, download, deletion. It is a process of its own and takes bodies without copying them,
so that the pace is what limits a client. `GET /acknowledged` is for the benchmark and is not delayed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from benchmarks.objects import Content, Exists, Objects, Stored
from benchmarks.pace import Pace

BUFFER = 1 << 20
LONGEST_TAIL = 256
"""More than the closing boundary of a multipart body."""
KEEP = 8 << 20
"""The largest body that is kept; larger bodies are measured only."""
NICENESS = 19
"""Nice value: a real server uses no CPU of the training machine."""

_OBJECT = re.compile(r"/(?:download/)?storage/v1/b/[^/]+/o/([^/]+)")
_BUCKET = re.compile(r"/storage/v1/b/[^/]+")
_LISTING = re.compile(r"/storage/v1/b/[^/]+/o")
_UPLOAD = re.compile(r"/upload/storage/v1/b/[^/]+/o")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Hold the head of a request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]

    @property
    def if_generation(self) -> int | None:
        value = self.query.get("ifGenerationMatch")
        return None if value is None else int(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Hold a response."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | bytearray = b""


class Server(socketserver.ThreadingTCPServer):
    """Serve each connection in a thread, on the same objects."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *, keep: int = KEEP, pace: Callable[[], Pace] = Pace) -> None:
        self.objects = Objects()
        self.keep = keep
        self.pace = pace
        self.uploads: dict[str, tuple[Request, str, Content]] = {}
        super().__init__(("127.0.0.1", 0), _Connection)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Connection(socketserver.BaseRequestHandler):
    server: Server
    request: socket.socket

    def setup(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pace = self.server.pace()
        self._buffer = memoryview(bytearray(BUFFER))
        self._early = b""
        self._remaining = 0

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # a client may leave at any time, withdrawn uploads do
            while request := self._head():
                if request.path == "/acknowledged":
                    self._send(Reply(body=json.dumps(self.server.objects.acknowledged()).encode()))
                    continue
                self._pace.request()
                reply = self._route(request)
                for _ in self._body():  # what a refused upload still sends
                    pass
                self._send(reply)

    def _head(self) -> Request | None:
        while b"\r\n\r\n" not in self._early:
            data = self.request.recv(1 << 16)
            if not data:
                return None
            self._early += data
        head, _, self._early = self._early.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        url = urlsplit(target)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self._remaining = int(headers.get("content-length", 0))
        return Request(
            method=method,
            path=url.path,
            query={name: values[0] for name, values in parse_qs(url.query).items()},
            headers=headers,
        )

    def _body(self) -> Iterator[memoryview]:
        """Yield the rest of the body; a chunk is valid until the next."""
        while self._remaining:
            early, self._early = self._early[: self._remaining], self._early[self._remaining :]
            if early:
                data = memoryview(early)
            else:
                size = self.request.recv_into(self._buffer, min(self._remaining, BUFFER))
                if not size:
                    raise ConnectionResetError
                data = self._buffer[:size]
            self._remaining -= len(data)
            self._pace.carry(len(data))
            yield data

    def _route(self, request: Request) -> Reply:
        if _UPLOAD.fullmatch(request.path):
            kind = request.query.get("uploadType")
            if kind == "multipart":
                return self._multipart(request)
            return self._continue(request) if request.method == "PUT" else self._begin(request)
        if _LISTING.fullmatch(request.path):
            found = self.server.objects.under(request.query.get("prefix", ""))
            return _json({"kind": "storage#objects", "items": [it.resource() for it in found]})
        if _BUCKET.fullmatch(request.path):
            return _json({"kind": "storage#bucket", "name": request.path.rpartition("/")[2]})
        if named := _OBJECT.fullmatch(request.path):
            return self._object(request, unquote(named[1]))
        return _error(501, f"{request.method} {request.path}")

    def _object(self, request: Request, name: str) -> Reply:
        if request.method == "DELETE":
            return Reply(status=204) if self.server.objects.delete(name) else _error(404, name)
        stored = self.server.objects.get(name)
        if stored is None:
            return _error(404, name)
        if request.query.get("alt") != "media":
            return _json(stored.resource())
        if stored.content.bytes is None:
            return _error(501, f"{name}: too large to have been kept")
        checksum = stored.resource()["crc32c"]
        headers = (("x-goog-hash", f"crc32c={checksum}"), ("x-goog-generation", str(stored.generation)))
        return Reply(headers=headers, body=stored.content.bytes)

    def _multipart(self, request: Request) -> Reply:
        boundary = request.headers["content-type"].partition("boundary=")[2].strip('"').encode()
        body, start = self._body(), b""
        while start.count(b"\r\n\r\n") < 2:
            start += next(body)
        _, metadata, rest = start.split(b"\r\n\r\n", 2)
        name = json.loads(metadata.partition(b"\r\n--")[0])["name"]
        content, tail = Content(self.server.keep), b""
        for data in _chain(rest, body):
            if self._remaining >= LONGEST_TAIL:
                content.add(data)
            else:
                tail += data
        content.add(tail[: tail.rindex(b"\r\n--" + boundary + b"--")])
        return self._put(name, content, request.if_generation)

    def _begin(self, request: Request) -> Reply:
        metadata = b"".join(bytes(data) for data in self._body())
        name = request.query.get("name") or json.loads(metadata)["name"]
        upload = secrets.token_hex(8)
        self.server.uploads[upload] = request, name, Content(self.server.keep)
        return Reply(headers=(("location", f"{self.server.url}{request.path}?uploadType=resumable&id={upload}"),))

    def _continue(self, request: Request) -> Reply:
        begun, name, content = self.server.uploads[request.query["id"]]
        span = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", request.headers["content-range"])
        if span is None or (span[1] and int(span[1]) != content.size):
            return _error(400, request.headers["content-range"])
        for data in self._body():
            content.add(data)
        if span[3] == "*" or content.size < int(span[3]):
            return Reply(status=308, headers=(("range", f"bytes=0-{content.size - 1}"),) if content.size else ())
        del self.server.uploads[request.query["id"]]
        return self._put(name, content, begun.if_generation)

    def _put(self, name: str, content: Content, if_generation: int | None) -> Reply:
        try:
            stored: Stored = self.server.objects.put(name, content, if_generation)
        except Exists:
            return _error(412, name)
        return _json(stored.resource())

    def _send(self, reply: Reply) -> None:
        headers = {"content-type": "application/json", **dict(reply.headers), "content-length": str(len(reply.body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.request.sendall(f"HTTP/1.1 {reply.status} -\r\n{head}\r\n".encode())
        for start in range(0, len(reply.body), BUFFER):
            data = reply.body[start : start + BUFFER]
            self._pace.carry(len(data))
            self.request.sendall(data)


def _chain(first: bytes, rest: Iterator[memoryview]) -> Iterator[memoryview]:
    yield memoryview(first)
    yield from rest


def _json(values: object) -> Reply:
    return Reply(body=json.dumps(values).encode())


def _error(status: int, message: str) -> Reply:
    return Reply(status=status, body=json.dumps({"error": {"code": status, "message": message}}).encode())


def main() -> None:
    """Print the URL, then serve until standard input ends, which it does when the parent exits."""
    os.nice(NICENESS)
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.url, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
