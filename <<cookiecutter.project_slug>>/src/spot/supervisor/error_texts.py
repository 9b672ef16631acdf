"""Recognize what the errors of Vertex AI mean by families of texts: their wording varies, their codes contradict it.

Real texts: https://cloud.google.com/vertex-ai/docs/training/troubleshooting, public issues and repositories.
"""

import re
from enum import Enum

from spot.core.run import Spec
from spot.google.rest import SDK_PROJECT

_EXIT_STATUS = re.compile(r"\bexit(?:ed|s)?\b[^.\n]{0,40}?\b(?:status|code)\b\D{0,12}?([1-9]\d{0,9})", re.IGNORECASE)
_OUT_OF_MEMORY_BEFORE = re.compile(r"low on memory|out[ -]of[ -]memory\W+(?:\w+\W+){0,3}$", re.IGNORECASE)
_OUT_OF_MEMORY_AFTER = re.compile(r"\D{0,30}\breason\W+OOM", re.IGNORECASE)


def _texts(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE | re.DOTALL)


class Family(Enum):
    """Name the families, in the order of their precedence."""

    OUT_OF_MEMORY = _texts("low on memory", "out[ -]of[ -]memory", "OOM-?killed")
    TRANSIENT = _texts(
        "being provisioned", "try again in a", r"\bper (?:minute|second)", "rate limit", "too many requests",
        "submission requests", r"\(CRUD\)",
    )  # fmt: skip
    PERMISSION = _texts(
        r"permission\b.{0,200}?\b(?:denied|missing|required)", r"denied\b.{0,40}\bpermission", "PERMISSION_DENIED",
        r"(?:do|does|did)(?:n.t| not) have\b.{0,60}?\bpermission", r"\blacks?\b.{0,60}?\bpermission",
        r"\bunauthori[sz]ed\b", "not authori[sz]ed", r"act as service.?account",
        r"service account\b.{0,200}?(?:does not|doesn.t|may not) exist", "pull image.{0,400}(?:denied|forbidden)",
    )  # fmt: skip
    PREEMPTED = _texts(r"\bpreempted\b", "host maintenance", "maintenance event")
    STOCKOUT = _texts(
        "stockout", "resources are insufficient", "insufficient (?:resources|capacity)", "not have enough resources",
        "RESOURCE_POOL_EXHAUSTED", r"UNAVAILABLE\b.{0,80}COMPUTE_ENGINE", r"COMPUTE_ENGINE\b.{0,80}UNAVAILABLE",
    )  # fmt: skip
    QUOTA = _texts(
        r"exceeds?\b.{0,40}\bquota", r"quotas?\b.{0,80}?\b(?:exceed|exhausted|failure)", "quota failure",
        "exceeds the allowed maximum", r"custom_?model_?training", "restricted_image_training",
    )  # fmt: skip
    CLUSTER = _texts("on your cluster", "will not be retried", "max error retry", "unexpected response")
    INTERNAL = _texts(r"\binternal\b.{0,20}\berror")
    REJECTED = _texts(
        r"\bnot supported\b", "unsupported", r"\blocation\b.{0,80}not found", "list of found errors",
        r"invalid (?:value|argument|request|field)", "same regional location",
    )  # fmt: skip

    @classmethod
    def of(cls, text: str) -> "Family | None":
        """Return the first family that the text belongs to, None for an unknown text."""
        return next((family for family in cls if family.value.search(text)), None)


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
    """Return the command that grants the missing permission which the text reports."""
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
