"""Test that the roles of bootstrap.sh are enough for a training, and not for more."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from spot.storage import paths
from spot.storage.paths import Commit, Upload
from spot.storage.records.ledger import CLOSED, OPEN
from tests.infra.scripts import IDS, Project
from tests.machinery.conftest import zygote as zygote  # noqa: PLC0414  # a fixture
from tests.machinery.proxy import Answer, Proxy, Request
from tests.machinery.trainer.conftest import SHORT
from tests.machinery.zygote import Zygote

pytestmark = pytest.mark.infra

BUCKET = "projects/_/buckets/acme-ml-training"
READ = frozenset({"get", "list"})
PERMISSIONS = {
    "roles/storage.objectViewer": READ,
    "roles/storage.objectUser": READ | {"create", "delete", "update"},
}
"""The permissions on objects that these roles contain and the store needs."""
PREFIX = re.compile(r'resource\.name\.startsWith\("([^"]*)"\)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    role: str
    member: str
    condition: str

    def allows(self, permission: str, resource: str) -> bool:
        """Judge as Google does; an expression is a list of prefixes."""
        assert (
            self.condition == "None"
            or PREFIX.sub("", self.condition).replace(" || ", "") == "expression=,title=Objects by name"
        )
        prefixes = PREFIX.findall(self.condition)
        return permission in PERMISSIONS[self.role] and (
            self.condition == "None" or any(resource.startswith(prefix) for prefix in prefixes)
        )


@pytest.fixture(scope="module")
def grants(tmp_path_factory: pytest.TempPathFactory) -> list[Grant]:
    """Return what a dry run would grant on the bucket."""
    ended = Project.at(tmp_path_factory.mktemp("project")).run("bootstrap.sh", "--dry-run", *IDS)
    assert ended.code == 0, ended.err
    lines = [shlex.split(line) for line in ended.lines if line.startswith("gcloud storage buckets add-iam")]
    flags = [dict(word[2:].split("=", 1) for word in line if word.startswith("--")) for line in lines]
    return [Grant(**one) for one in flags]


@pytest.fixture
def training(grants: list[Grant]) -> list[Grant]:
    return [grant for grant in grants if grant.member.startswith("serviceAccount:training@")]


@pytest.fixture
def ci(grants: list[Grant]) -> list[Grant]:
    return [grant for grant in grants if grant.member.startswith("serviceAccount:github-22@")]


def may(grants: Sequence[Grant], permission: str, name: str) -> bool:
    """`name` is below the prefix of the project; a listing concerns the bucket, whatever its prefix."""
    resource = BUCKET if permission == "list" else f"{BUCKET}/objects/churn{name}"
    return any(grant.allows(permission, resource) for grant in grants)


COMMIT = Commit(step=1, token=1, from_step=0, from_token=0)
TRAININGS = [
    f"/checkpoints/{paths.manifest('r', COMMIT)}",
    f"/checkpoints/{Upload(run='r', step=1, token=1, attempt='a1', start=1, save=1).part(0)}",
    f"/checkpoints/{paths.writer('r')}",
    f"/checkpoints/{paths.marker('r', 'a1', 1, 'started')}",
    f"/checkpoints/{paths.quarantine('r', 1, 7)}",
    f"/models/{paths.output('r', paths.COMPLETION)}",
    "/tensorboard/r/events",
]
SUPERVISORS = [
    *(f"/{OPEN}r.json", f"/{CLOSED}2026/11/r.json", "/champion.json", "/datasets/1.json"),
    *("/reports/r/report.html", "/supervisor.json", "/live/facts.json"),
]
FOREIGN = ["-2/checkpoints/r/writer.json", "-2/runs/open/r.json", "x"]


@pytest.fixture
def supervisor(grants: list[Grant]) -> list[Grant]:
    return [grant for grant in grants if grant.member.startswith("serviceAccount:supervisor-22@")]


@pytest.mark.parametrize("permission", ["create", "delete", "update"])
def test_the_training_account_writes_checkpoints_models_and_logs_of_this_project_only(
    training: list[Grant], permission: str
) -> None:
    assert {name for name in TRAININGS if not may(training, permission, name)} == set()
    assert {name for name in (*SUPERVISORS, *FOREIGN) if may(training, permission, name)} == set()


def test_ci_and_the_supervisor_write_everything_of_this_project_and_nothing_else(
    ci: list[Grant], supervisor: list[Grant]
) -> None:
    for granted in (ci, supervisor):
        assert {name for name in (*TRAININGS, *SUPERVISORS) if not may(granted, "create", name)} == set()
        assert {name for name in FOREIGN if may(granted, "create", name)} == set()


def test_both_read_and_list_the_bucket(training: list[Grant], ci: list[Grant]) -> None:
    for granted in (training, ci):
        assert may(granted, "list", "")
        assert may(granted, "get", "/runs/open/r.json")


@pytest.fixture
def denied(proxy: Proxy, gs_uri: str, training: list[Grant]) -> Iterator[list[str]]:
    """Let the store refuse what the training account may not do, and collect it."""
    found: list[str] = []
    prefix = gs_uri.removeprefix("gs://bucket/")

    def rule(request: Request) -> Answer | None:
        verbs = {"GET": "get", "POST": "create", "DELETE": "delete"}
        permission = "list" if request.method == "GET" and not request.name else verbs[request.method]
        if may(training, permission, request.name.removeprefix(prefix)):
            return None
        found.append(f"{permission} {request.name}")
        return Answer(403, found[-1])

    proxy.rule = rule
    yield found
    assert proxy.requests


def train(zygote: Zygote, proxy: Proxy, uri: str) -> int:
    places = [
        f"--output-dir={uri}/models",
        f"--checkpoint-dir={uri}/checkpoints",
        f"--tensorboard-dir={uri}/tensorboard",
    ]
    return zygote.start([*places, *SHORT], {"STORAGE_EMULATOR_HOST": proxy.url}).wait()


def test_a_real_training_ends_with_these_rights(zygote: Zygote, proxy: Proxy, gs_uri: str, denied: list[str]) -> None:
    assert (train(zygote, proxy, gs_uri), denied) == (0, [])
    assert {"GET", "POST", "DELETE"} <= {request.method for request in proxy.requests}


def test_without_the_role_that_lists_no_training_starts(
    zygote: Zygote, proxy: Proxy, gs_uri: str, denied: list[str], training: list[Grant]
) -> None:
    training[:] = [grant for grant in training if grant.role != "roles/storage.objectViewer"]
    assert train(zygote, proxy, gs_uri) == 2
    assert denied[0].startswith("list ")
