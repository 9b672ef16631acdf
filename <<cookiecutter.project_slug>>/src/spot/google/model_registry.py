"""Keep a version of a model in Vertex AI Model Registry, with the aliases of the model in use.

An upload has no request id, so a version is looked for by its labels first. Of versions that two uploads made, each
caller takes the lowest.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spot.core.errors import TemporarilyUnavailable
from spot.google import vertex
from spot.google.job_spec import label_filter
from spot.google.vertex import CALL_S, DEFAULT_ENDPOINT, ENDPOINT, GIVE_UP_S, call, resend

ALIASES = ("champion", "default")
UPLOAD_S = 60.0
WAIT_S = 120.0
"""Time for the operation of an upload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    model: str
    """Resource name, `projects/P/locations/R/models/ID`."""
    display_name: str
    artifact_uri: str
    labels: Mapping[str, str]
    description: str
    serving_image: str | None


class ModelRegistry:
    """Change versions and aliases. Each method may raise `PermissionDenied` or `TemporarilyUnavailable`."""

    def __init__(self, region: str) -> None:
        endpoint = os.environ.get(ENDPOINT) or DEFAULT_ENDPOINT
        self._client = vertex.open_client("model", endpoint.format(region=region))

    def use(self, wanted: ModelVersion) -> None:
        """Give the aliases to the version with these labels, and upload it if there is none. Idempotent."""
        found = self._versions(wanted)
        ours = [one for one in found or () if wanted.labels.items() <= dict(one.labels).items()]
        if ours:
            lowest = min(ours, key=lambda one: int(one.version_id))
            if set(ALIASES) <= set(lowest.version_aliases):
                return
            version = lowest.version_id
        else:
            version = self._upload(wanted, is_first=found is None)
        name = f"{wanted.model}@{version}"
        merge, retry = self._client.merge_version_aliases, resend(GIVE_UP_S)
        call(
            f"cannot set the aliases of {name}",
            lambda: merge(name=name, version_aliases=ALIASES, timeout=CALL_S, retry=retry),
        )

    def _versions(self, wanted: ModelVersion) -> list[Any] | None:
        """Return the versions with these labels, None if there is no such model."""
        from google.api_core.exceptions import NotFound

        request = {"name": wanted.model, "filter": label_filter(wanted.labels)}
        retry = resend(GIVE_UP_S)

        def listed() -> list[Any] | None:
            try:
                return list(self._client.list_model_versions(request=request, timeout=CALL_S, retry=retry))
            except NotFound:
                return None

        return call(f"cannot list the versions of {wanted.model}", listed)

    def _upload(self, wanted: ModelVersion, *, is_first: bool) -> str:
        """Return the number of a new version. Only the id of a first version makes a repeated upload fail."""
        parent, _, model_id = wanted.model.partition("/models/")
        model: dict[str, Any] = {
            "display_name": wanted.display_name,
            "artifact_uri": wanted.artifact_uri,
            "labels": dict(wanted.labels),
            "version_description": wanted.description,
        }
        if wanted.serving_image:
            model["container_spec"] = {"image_uri": wanted.serving_image}
        request = {"parent": parent, "model": model}
        request |= {"model_id": model_id} if is_first else {"parent_model": wanted.model}

        def uploaded() -> str:
            operation = self._client.upload_model(request=request, timeout=UPLOAD_S, retry=None)
            try:
                return str(operation.result(timeout=WAIT_S).model_version_id)
            except TimeoutError as error:
                raise TemporarilyUnavailable(f"the upload of {wanted.model} takes over {WAIT_S:g} s") from error

        return call(f"cannot upload a version of {wanted.model}", uploaded)
