"""Hold the project that the tests of infra set up: its names, its roles, and a script that ran in it."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from tests.infra.cloud import Cloud
from tests.infra.scripts import IDS, Ended, Project

CI = "github-22@acme-ml.iam.gserviceaccount.com"
TRAINING = "training@acme-ml.iam.gserviceaccount.com"
SUPERVISOR = "supervisor-22@acme-ml.iam.gserviceaccount.com"
SCHEDULER = "scheduler-22@acme-ml.iam.gserviceaccount.com"
EMAIL = ("--alert-email", "ml@acme.example")
JOB = "spot-churn"
NEIGHBOUR = f"my-{TRAINING}"
AGENT, SECOND_AGENT = (f"service-4711@gcp-sa-aiplatform{kind}.iam.gserviceaccount.com" for kind in ("", "-cc"))
BUCKET = "acme-ml-training"
WORKFLOWS = (
    "principalSet://iam.googleapis.com/projects/4711/locations/global/workloadIdentityPools/github-22"
    "/attribute.repository_id/22"
)
POOL = "/v1/projects/acme-ml/locations/global/workloadIdentityPools/github-22"
PROVIDER = "projects/4711/locations/global/workloadIdentityPools/github-22/providers/github"
REGISTRY = "/v1/projects/acme-ml/locations/us-central1/repositories/github-22"
JOBS_ROLE = "projects/acme-ml/roles/github_22"
OURS = f"projects/_/buckets/{BUCKET}/objects/churn/"


def below(*names: str) -> str:
    """Return the condition of a role that is limited to objects below these names."""
    return " || ".join(f'resource.name.startsWith("{OURS}{name}")' for name in names)


ROLES = {
    ("acme-ml", JOBS_ROLE, f"serviceAccount:{CI}", ""),
    ("acme-ml", "roles/logging.logWriter", f"serviceAccount:{TRAINING}", ""),
    (BUCKET, "roles/storage.objectViewer", f"serviceAccount:{CI}", ""),
    (BUCKET, "roles/storage.objectUser", f"serviceAccount:{CI}", below("")),
    (BUCKET, "roles/storage.objectViewer", f"serviceAccount:{TRAINING}", ""),
    (
        BUCKET,
        "roles/storage.objectUser",
        f"serviceAccount:{TRAINING}",
        below("checkpoints/", "models/", "tensorboard/"),
    ),
    ("github-22", "roles/artifactregistry.writer", f"serviceAccount:{CI}", ""),
    (TRAINING, "roles/iam.serviceAccountUser", f"serviceAccount:{CI}", ""),
    (CI, "roles/iam.workloadIdentityUser", WORKFLOWS, ""),
    ("github-22", "roles/artifactregistry.reader", f"serviceAccount:{AGENT}", ""),
}
ROLES_OF_CLOUD_RUN = {
    ("acme-ml", JOBS_ROLE, f"serviceAccount:{SUPERVISOR}", ""),
    (BUCKET, "roles/storage.objectViewer", f"serviceAccount:{SUPERVISOR}", ""),
    (BUCKET, "roles/storage.objectUser", f"serviceAccount:{SUPERVISOR}", below("")),
    (TRAINING, "roles/iam.serviceAccountUser", f"serviceAccount:{SUPERVISOR}", ""),
    (SUPERVISOR, "roles/iam.serviceAccountUser", f"serviceAccount:{CI}", ""),
    (JOB, "roles/run.developer", f"serviceAccount:{CI}", ""),
    (JOB, "roles/run.invoker", f"serviceAccount:{SCHEDULER}", ""),
}
WIDER = (BUCKET, "roles/storage.objectUser", f"serviceAccount:{TRAINING}", below(""))
"""A manual change of a role's condition."""
THEIR_RULE = {"action": {"type": "Delete"}, "condition": {"age": 5, "matchesPrefix": ["tmp/"]}}
THEIRS = f"{BUCKET}/others/a"
MADE_BY = "Made by infra/bootstrap.sh for the GitHub repository {}"
DEPLOYED = f"us-central1-docker.pkg.dev/acme-ml/github-22/supervisor@sha256:{7:064d}"
SOMEBODY = ("acme-ml", "roles/viewer", "user:somebody@example.com", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Hold the result of a script, its changes, and the cloud afterwards."""

    ended: Ended
    changes: list[str]
    cloud: Cloud


@dataclass(frozen=True, slots=True)
class World:
    project: Project
    cloud: Cloud

    def step(self, script: str, *arguments: str) -> Step:
        self.cloud.calls.clear()
        ended = self.project.run(script, *arguments, *IDS)
        changes = [str(call) for call in self.cloud.calls if call.changes]
        return Step(ended=ended, changes=changes, cloud=copy.deepcopy(self.cloud))
