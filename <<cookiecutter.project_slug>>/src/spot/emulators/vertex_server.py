"""Serve the `customJobs` of Vertex AI over REST on loopback, for the real client library."""

import contextlib
import http.server
import json
import os
import re
import socket
import socketserver
import struct
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from spot.emulators.custom_job import InvalidJob, parse, render
from spot.emulators.faults import Call, Method, Reply, Rule, never
from spot.emulators.jobs import JobTable, UnknownJob, WrongState

_PATH = re.compile(r"/v1/projects/([^/]+)/locations/([^/]+)/customJobs(?:/([^/:]+))?(:cancel)?")
_METHODS = {
    ("POST", False, False): Method.CREATE,
    ("GET", False, False): Method.LIST,
    ("GET", True, False): Method.GET,
    ("POST", True, True): Method.CANCEL,
}


class VertexServer:
    """Serve `jobs` at `url` within its context."""

    def __init__(self, jobs: JobTable, rule: Rule = never) -> None:
        self.jobs = jobs
        self.rule = rule
        """Selects the faults; may be replaced at any time."""
        self.calls: list[Call] = []
        self.url = ""

    def __enter__(self) -> Self:
        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), partial(_Handler, self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def __init__(self, server: VertexServer, *connection: Any) -> None:
        self.vertex = server
        super().__init__(*connection)

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # a client may be killed during a call
            super().handle()

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def log_message(self, *_: object) -> None:
        """Log no requests: they are in `server.calls`."""

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        try:
            call, action = self._route(body)
        except (InvalidJob, UnknownJob, ValueError) as error:
            return self._reply(_refusal(error))
        inject = self.vertex.rule(call)
        reply = inject(partial(_execute, action)) if inject else _execute(action)
        return self._reset() if reply is None else self._reply(reply)

    def _route(self, body: bytes) -> tuple[Call, Callable[[], dict[str, object]]]:
        """Return the call and the function that executes it."""
        parts = urlsplit(self.path)
        match = _PATH.fullmatch(unquote(parts.path))
        method = match and _METHODS.get((self.command, match[3] is not None, match[4] is not None))
        if not match or not method:
            raise UnknownJob(f"The requested URL {parts.path} was not found on this server.")
        project, region, job = match[1], match[2], match[3] or ""
        content = json.loads(body) if method is Method.CREATE else None
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        call = Call(
            method=method,
            project=project,
            region=region,
            job=job,
            request=parse(content) if content is not None else None,
        )
        self.vertex.calls.append(call)
        jobs, name = self.vertex.jobs, f"projects/{project}/locations/{region}/customJobs/{job}"
        return call, {
            Method.CREATE: lambda: render(jobs.create(project, region, content)),
            Method.GET: lambda: render(jobs.get(name)),
            Method.LIST: lambda: _list(jobs, project, region, query),
            Method.CANCEL: lambda: _cancel(jobs, name),
        }[method]

    def _reply(self, reply: Reply) -> None:
        status, content = reply
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _reset(self) -> None:
        self.close_connection = True
        connection: socket.socket = self.connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(connection.detach())


def _execute(action: Callable[[], dict[str, object]]) -> Reply:
    try:
        return 200, action()
    except Exception as error:
        return _refusal(error)


def _list(jobs: JobTable, project: str, region: str, query: dict[str, str]) -> dict[str, object]:
    size = int(query.get("pageSize", "0"))
    page = jobs.list(project, region, query.get("filter", ""), size, query.get("pageToken", ""))
    return {"customJobs": [render(job) for job in page.jobs], "nextPageToken": page.next_token}


def _cancel(jobs: JobTable, name: str) -> dict[str, object]:
    jobs.cancel(name)
    return {}


def _refusal(error: Exception) -> Reply:
    match error:
        case InvalidJob() | WrongState() | ValueError():
            return error_reply(400, str(error))
        case UnknownJob():
            return error_reply(404, str(error))
    return error_reply(500, f"{type(error).__name__}: {error}")


def error_reply(status: int, message: str) -> Reply:
    """Return the response for an error, as far as the client library reads it."""
    return status, {"error": {"code": status, "message": message}}
