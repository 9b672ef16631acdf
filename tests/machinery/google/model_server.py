"""Stand in for Vertex AI Model Registry over REST: versions, aliases and operations, as Google's reference states them.

What the reference leaves open is a setting of the server: whether a model needs a container, and how long an operation
runs. Operations are served below /v1/ and below /ui/, where the REST client looks for them.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

ALIAS = re.compile(r"[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]")
LABEL = re.compile(r"[a-z0-9_-]{1,63}")
PARENT = r"projects/[a-z0-9-]+/locations/[a-z0-9-]+"
ROUTES = {
    "upload": ("POST", rf"/v1/({PARENT})/models:upload"),
    "operation": ("GET", rf"/(?:v1|ui)/({PARENT}/models/[^/]+/operations/\d+)"),
    "list": ("GET", rf"/v1/({PARENT}/models/[^/:@]+):listVersions"),
    "merge": ("POST", rf"/v1/({PARENT}/models/[^/:@]+)@(\d+):mergeVersionAliases"),
}
UPLOADED = "type.googleapis.com/google.cloud.aiplatform.v1.UploadModelResponse"


class Refused(Exception):
    def __init__(self, code: int, status: str, message: str) -> None:
        super().__init__(message)
        self.code, self.status = code, status


@dataclass(slots=True, kw_only=True)
class Version:
    number: int
    labels: dict[str, str]
    artifact: str
    image: str | None
    polls: int
    """Polls until its operation has ended; it is not listed before."""
    aliases: set[str] = field(default_factory=set)


@dataclass(slots=True)
class ModelServer:
    url: str = ""
    needs_container: bool = False
    polls: int = 0
    """Of the operation of an upload, until it has ended."""
    filters: bool = True
    """Whether a list obeys its filter."""
    fails: bool = False
    """Whether operations end with an error."""
    lost: set[str] = field(default_factory=set)
    """Routes whose next call takes effect and has no reply."""
    denied: set[str] = field(default_factory=set)
    models: dict[str, list[Version]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def versions(self) -> list[tuple[str, set[str]]]:
        """Return run and aliases of each version of the only model."""
        [found] = self.models.values()
        return [(one.labels["run"], one.aliases) for one in found]

    def finish(self) -> None:
        """End every operation."""
        for one in (one for found in self.models.values() for one in found):
            one.polls = 0

    def upload(self, parent: str, body: dict[str, Any]) -> dict[str, Any]:
        model = body["model"]
        image = model.get("containerSpec", {}).get("imageUri")
        if self.needs_container and not image:
            raise Refused(400, "INVALID_ARGUMENT", "model.container_spec.image_uri: Required field is not set.")
        if not all(LABEL.fullmatch(value) for value in model["labels"].values()) or not model["displayName"]:
            raise Refused(400, "INVALID_ARGUMENT", f"Invalid model {model}")
        name = body.get("parentModel") or f"{parent}/models/{body['modelId']}"
        if "modelId" in body and name in self.models:
            raise Refused(409, "ALREADY_EXISTS", f"Model already exists: {name}")
        if "parentModel" in body and not self.ready(name):
            raise Refused(404, "NOT_FOUND", f"The Model does not exist: {name}")
        if self.fails:
            return {"name": f"{name}/operations/0", "done": True, "error": {"code": 9, "message": "no artifact"}}
        found = self.models.setdefault(name, [])
        version = Version(
            number=len(found) + 1,
            labels=model["labels"],
            artifact=model["artifactUri"],
            image=image,
            polls=self.polls,
            aliases=set() if found else {"default"},
        )
        found.append(version)
        return self.operation(f"{name}/operations/{version.number}")

    def operation(self, name: str) -> dict[str, Any]:
        model, _, number = name.partition("/operations/")
        version = self.models[model][int(number) - 1]
        if version.polls:
            version.polls -= 1
            return {"name": name}
        response = {"@type": UPLOADED, "model": model, "modelVersionId": number}
        return {"name": name, "done": True, "response": response}

    def ready(self, name: str) -> list[Version]:
        return [one for one in self.models.get(name, []) if not one.polls]

    def list(self, name: str, where: str) -> dict[str, Any]:
        if not self.ready(name):
            raise Refused(404, "NOT_FOUND", f"The Model does not exist: {name}")
        labels = dict(re.findall(r'labels\.(\w+)="([^"]*)"', where))
        found = [one for one in self.ready(name) if not self.filters or labels.items() <= one.labels.items()]
        return {"models": [shown(name, one) for one in reversed(found)]}

    def merge(self, name: str, number: str, body: dict[str, Any]) -> dict[str, Any]:
        version = self.models[name][int(number) - 1]
        for alias in body["versionAliases"]:
            if not ALIAS.fullmatch(alias):
                raise Refused(400, "INVALID_ARGUMENT", f"Invalid version alias: {alias}")
            for one in self.models[name]:
                one.aliases.discard(alias)
            version.aliases.add(alias)
        return shown(name, version)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any] | None]:
        """Return status and content; None for a reply that is lost."""
        parts = urlsplit(path)
        matches = [
            (route, match)
            for route, (verb, pattern) in ROUTES.items()
            if verb == method and (match := re.fullmatch(pattern, unquote(parts.path)))
        ]
        if not matches:
            return error(404, "NOT_FOUND", f"no such route: {method} {path}")
        [(route, match)] = matches
        self.calls.append(f"{route} {parts.path.partition('/projects')[0]}")
        if route in self.denied:
            return error(403, "PERMISSION_DENIED", f"Permission 'aiplatform.models.{route}' denied")
        given: list[Any] = [*match.groups(), *([json.loads(body)] if body else [])]
        if route == "list":
            given.append(parse_qs(parts.query).get("filter", [""])[0])
        try:
            with self.lock:
                status, content = 200, getattr(self, route)(*given)
        except Refused as refused:
            status, content = error(refused.code, refused.status, str(refused))
        if route in self.lost:
            self.lost.discard(route)
            return 0, None
        return status, content


def shown(name: str, one: Version) -> dict[str, Any]:
    aliases = sorted(one.aliases)
    return {"name": name, "versionId": str(one.number), "labels": one.labels, "versionAliases": aliases}


def error(code: int, status: str, message: str) -> tuple[int, dict[str, Any]]:
    return code, {"error": {"code": code, "status": status, "message": message}}


@contextmanager
def model_server() -> Iterator[ModelServer]:
    """Yield an empty registry."""
    registry = ModelServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, content = registry.answer(self.command, self.path, body)
            if content is None:
                self.close_connection = True
                return
            reply = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        do_POST = do_GET  # noqa: N815  # http.server's name

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        registry.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield registry
        server.shutdown()
        thread.join()
