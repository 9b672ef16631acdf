"""Recognize what the errors of Vertex AI mean by families of texts: their wording varies, their codes contradict it."""

import re
import tomllib
from collections.abc import Mapping
from enum import StrEnum, auto
from functools import cache
from importlib.resources import files

from spot.core.run import Spec
from spot.google.rest import SDK_PROJECT

_EXIT_STATUS = re.compile(r"\bexit(?:ed|s)?\b[^.\n]{0,40}?\b(?:status|code)\b\D{0,12}?([1-9]\d{0,9})", re.IGNORECASE)
_OUT_OF_MEMORY_BEFORE = re.compile(r"low on memory|out[ -]of[ -]memory\W+(?:\w+\W+){0,3}$", re.IGNORECASE)
_OUT_OF_MEMORY_AFTER = re.compile(r"\D{0,30}\breason\W+OOM", re.IGNORECASE)


class Family(StrEnum):
    """Name the families of error_families.toml."""

    OUT_OF_MEMORY = auto()
    TRANSIENT = auto()
    PERMISSION = auto()
    PREEMPTED = auto()
    STOCKOUT = auto()
    QUOTA = auto()
    CLUSTER = auto()
    INTERNAL = auto()
    REJECTED = auto()

    @classmethod
    def of(cls, text: str) -> "Family | None":
        """Return the first family that the text belongs to, None for an unknown text."""
        return next((family for family, pattern in _patterns().items() if pattern.search(text)), None)


@cache
def _patterns() -> Mapping[Family, re.Pattern[str]]:
    table = tomllib.loads((files("spot.supervisor") / "error_families.toml").read_text(encoding="utf-8"))
    return {Family[name]: re.compile("|".join(texts), re.IGNORECASE | re.DOTALL) for name, texts in table.items()}


def exit_status(text: str) -> int | None:
    """Return the exit status of a replica that the text reports. It outranks the words of a log in the same text."""
    found = _EXIT_STATUS.search(text)
    return int(found[1]) if found else None


def ran_out_of_memory(text: str) -> bool:
    """Return whether the text says so of the replica itself, next to its exit status if there is one."""
    if not (found := _EXIT_STATUS.search(text)):
        return Family.of(text) is Family.OUT_OF_MEMORY
    return bool(_OUT_OF_MEMORY_BEFORE.search(text[: found.start()]) or _OUT_OF_MEMORY_AFTER.match(text[found.end() :]))


def grant(text: str, spec: Spec) -> str:
    if SDK_PROJECT in text:
        return f"gcloud auth application-default set-quota-project {spec.project}"
    if re.search(r"act as service.?account|service account\b.{0,200}exist", text, re.IGNORECASE | re.DOTALL):
        return (
            f"gcloud iam service-accounts add-iam-policy-binding {spec.service_account} --project={spec.project}"
            " --member=YOUR-ADDRESS --role=roles/iam.serviceAccountUser"
        )
    if re.search(r"artifact.?registry|pull image", text, re.IGNORECASE):
        agent = re.search(r"service-\d+@gcp-sa-aiplatform[\w-]*\.iam\.gserviceaccount\.com", text)
        return (
            f"bash infra/bootstrap.sh, or grant roles/artifactregistry.reader on the repository of {spec.image}"
            f" to {agent[0] if agent else 'the Vertex AI service agent'}"
        )
    return "bash infra/bootstrap.sh"
