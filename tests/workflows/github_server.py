"""Emulate GitHub on loopback: workflows that are on or off, issues, and a record of every call."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

REPOSITORY = "acme/churn"
_WORKFLOW = re.compile(r"actions/workflows/([\w.-]+)(?:/(enable|disable))?")
_RUN = re.compile(r"actions/runs/(\d+)")
_ISSUE = re.compile(r"issues/(\d+)(/comments)?")


@dataclass(slots=True)
class GitHubServer:
    """Hold the state of GitHub; a test may change all of it."""

    url: str
    states: dict[str, str] = field(default_factory=dict)
    """The states of workflows; a missing one is active."""
    issues: list[dict[str, Any]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    """Method and path of each call that changes state."""
    failing: list[int] = field(default_factory=list)
    """Statuses of the next replies; 0 is the usual reply."""
    on_call: Callable[[str], object] = str
    """Called with each of `calls` before it takes effect."""
    tokens: set[str] = field(default_factory=set)
    created: dict[str, datetime] = field(default_factory=dict)
    """When each run of a workflow was created: at the first question about it."""

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        prefix = f"/repos/{REPOSITORY}/"
        if not path.startswith(prefix):
            return 404, {"message": "Not Found"}
        path = path.removeprefix(prefix)
        if method != "GET":
            self.calls.append(f"{method} {path}")
            self.on_call(self.calls[-1])
        if self.failing and (status := self.failing.pop(0)):
            return status, {"message": "Something went wrong"}
        if match := _WORKFLOW.fullmatch(path):
            if method == "PUT":
                self.states[match[1]] = "active" if match[2] == "enable" else "disabled_manually"
            return (204, None) if method == "PUT" else (200, {"state": self.states.get(match[1], "active")})
        if match := _RUN.fullmatch(path):
            created_at = self.created.setdefault(match[1], datetime.now(UTC))
            return 200, {"id": int(match[1]), "created_at": f"{created_at:%Y-%m-%dT%H:%M:%SZ}"}
        if path == "issues" and method == "GET":
            size, page = int(query["per_page"]), int(query["page"])
            ours = [one for one in reversed(self.issues) if query["labels"] in one["labels"]]
            return 200, ours[size * (page - 1) : size * page]
        if path == "issues" and method == "POST":
            issue = {**body, "number": len(self.issues) + 1, "state": "open", "comments": []}
            self.issues.append(issue)
            return 201, issue
        if match := _ISSUE.fullmatch(path):
            issue = self.issues[int(match[1]) - 1]
            if match[2]:
                issue["comments"].append(body["body"])
                return 201, {}
            issue.update(body)
            return 200, issue
        return 404, {"message": "Not Found"}


@contextmanager
def github_server() -> Iterator[GitHubServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def _reply(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            content = self.rfile.read(length)
            parts = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            served.tokens.add(self.headers.get("Authorization", ""))
            status, answer = served.answer(self.command, parts.path, query, json.loads(content) if content else None)
            body = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_PATCH = _reply  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Log nothing: `calls` has every call."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = GitHubServer(url=f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
