"""Define how the container of a job is started on this machine, and what Vertex AI gives it."""

from collections.abc import Mapping
from signal import Signals
from typing import Any, Protocol

Spec = Mapping[str, Any]
"""The `jobSpec` of a CustomJob in JSON."""


class Process(Protocol):
    """Run in the place of a job's container."""

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        ...

    def interrupt(self, number: Signals) -> None:
        """Send a signal; do nothing after the end."""
        ...


class Launcher(Protocol):
    def start(self, spec: Spec, job_name: str) -> Process:
        """Start the container of a job; raise `OSError` if that fails."""
        ...


def variables(spec: Spec) -> dict[str, str]:
    """Return the environment that Vertex AI gives to the container of a job."""
    base = spec.get("baseOutputDirectory", {}).get("outputUriPrefix", "").rstrip("/")
    folders = {"AIP_MODEL_DIR": "model", "AIP_CHECKPOINT_DIR": "checkpoints", "AIP_TENSORBOARD_LOG_DIR": "logs"}
    own = {item["name"]: item.get("value", "") for item in _container(spec).get("env", [])}
    return {**({name: f"{base}/{folder}/" for name, folder in folders.items()} if base else {}), **own}


def arguments(spec: Spec) -> list[str]:
    """Return the arguments of the container of a job."""
    return [*_container(spec).get("args", [])]


def _container(spec: Spec) -> Mapping[str, Any]:
    container: Mapping[str, Any] = spec["workerPoolSpecs"][0]["containerSpec"]
    return container
