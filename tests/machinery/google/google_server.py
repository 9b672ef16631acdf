"""Serve canned answers of Google's APIs and registries."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from spot.google import rest


@dataclass(frozen=True, slots=True)
class Answer:
    """One reply; a body that is no string is sent as JSON."""

    body: Any = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


HANG_UP = Answer(status=0)
"""The connection is closed without a reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: str = ""


@dataclass(slots=True)
class GoogleServer:
    """What is there: for each path one answer, or several in turn of which the last one stays."""

    url: str
    answers: dict[str, Answer | list[Answer] | Callable[[Asked], Answer]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    everywhere: Answer | None = None
    """Given for every path instead."""

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        found = self.everywhere or self.answers.get(asked.path) or refusal(404, f"Not found: {asked.path}")
        if not isinstance(found, Answer | list):
            return found(asked)
        if isinstance(found, list):
            return found.pop(0) if len(found) > 1 else found[0]
        return found

    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]


def refusal(status: int, message: str, **info: Any) -> Answer:
    """In the form of google.rpc.Status, `info` being a google.rpc.ErrorInfo."""
    error: dict[str, Any] = {"code": status, "message": message}
    if info:
        error["details"] = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", **info}]
    return Answer({"error": error}, status=status)


def api_is_off(service: str) -> Answer:
    return refusal(
        403,
        f"{service} has not been used in project 123 before or it is disabled.\nEnable it, then retry.",
        reason="SERVICE_DISABLED",
        domain="googleapis.com",
        metadata={"service": service, "consumer": "projects/123"},
    )


DENIED = refusal(403, "The caller does not have permission")


def service_account_key(address: str, token_uri: str) -> str:
    """A key file of a service account whose tokens come from `token_uri`."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return json.dumps(
        {"type": "service_account", "private_key": key.decode(), "client_email": address, "token_uri": token_uri}
    )


class _Server(ThreadingHTTPServer):
    request_queue_size = 64  # a connection that finds the queue full is tried again after a second


@contextmanager
def google_server() -> Iterator[GoogleServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: the second one would wait for the first one's receipt

        def do_GET(self) -> None:
            self._reply()

        def do_HEAD(self) -> None:
            self._reply()

        def do_POST(self) -> None:
            self._reply(self.rfile.read(int(self.headers["Content-Length"])).decode())

        def do_PATCH(self) -> None:
            self.do_POST()

        def _reply(self, sent: str = "") -> None:
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(method=self.command, path=parts.path, query=parse_qs(parts.query), headers=headers, body=sent)
            answer = served.answer(asked)
            if answer is HANG_UP:
                self.close_connection = True
                return
            body = (answer.body if isinstance(answer.body, str) else json.dumps(answer.body)).encode()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    served = GoogleServer(url=f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        with mock.patch.object(rest, "RETRY", rest.RETRY.new(backoff_factor=0)):
            yield served
    finally:
        server.shutdown()
        server.server_close()
