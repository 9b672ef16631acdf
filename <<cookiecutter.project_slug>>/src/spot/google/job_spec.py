"""Build the CustomJob of an attempt, as plain values."""

import hashlib
from collections.abc import Mapping
from typing import Any

from spot.core.run import Attempt, Machine, Provisioning, Run

STRATEGIES = {Provisioning.SPOT: "SPOT", Provisioning.FLEX_START: "FLEX_START", Provisioning.ON_DEMAND: "STANDARD"}
DEFAULT_DISK_GB = 100
"""The boot disk of Vertex AI without a `disk_spec`."""
ROOT_LABEL, RUN_LABEL, ATTEMPT_LABEL = "root", "run", "attempt"


def custom_job(run: Run, attempt: Attempt) -> dict[str, Any]:
    """Return the fields of google.cloud.aiplatform.v1.CustomJob."""
    spec, count = run.spec, run.spec.machine.count
    container = {"image_uri": spec.image, "args": _arguments(run, attempt)}
    return {
        "display_name": f"{run.id}-{attempt.id}",
        "labels": labels(run, attempt),
        "job_spec": {
            # Pool 0 has the primary replica alone.
            "worker_pool_specs": [worker_pool(spec.machine, number, container) for number in (1, count - 1) if number],
            "scheduling": _scheduling(run, attempt),
            "service_account": spec.service_account,
        },
    }


def worker_pool(asked: Machine, replicas: int, container: Mapping[str, Any]) -> dict[str, Any]:
    """Return a WorkerPoolSpec of machines of one kind."""
    machine: dict[str, Any] = {"machine_type": asked.type}
    if asked.accelerator:
        machine |= {"accelerator_type": asked.accelerator, "accelerator_count": asked.accelerator_count}
    disk: dict[str, Any] = {"boot_disk_size_gb": asked.boot_disk_gb}
    if asked.boot_disk_type:
        disk["boot_disk_type"] = asked.boot_disk_type
    # n4, a3-ultragpu and a4 refuse pd-ssd: without a stated disk, Vertex AI takes 100 GB of a type that fits.
    stated = {} if disk == {"boot_disk_size_gb": DEFAULT_DISK_GB} else {"disk_spec": disk}
    return {"machine_spec": machine, **stated, "container_spec": container, "replica_count": replicas}


def label_filter(labels: Mapping[str, str]) -> str:
    """Return the filter that finds what has these labels: jobs, or versions of models."""
    return " AND ".join(f'labels.{name}="{value}"' for name, value in labels.items())


def labels(run: Run, attempt: Attempt) -> dict[str, str]:
    """Return labels that are unique, although other repositories of the project may use the same run id."""
    return {ROOT_LABEL: root_label(run.spec.root), RUN_LABEL: run.id, ATTEMPT_LABEL: attempt.id}


def root_label(root: str) -> str:
    return hashlib.sha256(root.encode()).hexdigest()[:16]


def _scheduling(run: Run, attempt: Attempt) -> dict[str, Any]:
    policy = run.spec.policy
    # Vertex AI restarts a spot job in the same region only, and may wait for hours for capacity.
    retries = attempt.provisioning is not Provisioning.SPOT or not policy.disable_retries
    scheduling: dict[str, Any] = {
        "strategy": STRATEGIES[attempt.provisioning],
        "timeout": {"seconds": int(attempt.timeout.total_seconds())},
        # A replica that starts again cannot join peers that did not.
        "restart_job_on_worker_restart": retries and run.spec.machine.count > 1,
        "disable_retries": not retries,
    }
    if attempt.provisioning is Provisioning.FLEX_START:
        scheduling["max_wait_duration"] = {"seconds": int(policy.provisioning_timeout.total_seconds())}
    return scheduling


def _arguments(run: Run, attempt: Attempt) -> list[str]:
    root = run.spec.root
    places = {
        "--run": run.id,
        "--attempt": attempt.id,
        "--output-dir": f"{root}/models",
        "--checkpoint-dir": f"{root}/checkpoints",
        "--tensorboard-dir": f"{root}/tensorboard",
    }
    # An attempt whose GPU PyTorch cannot use must fail at once: training on its CPU costs as much.
    device = ("--device", "cuda") if run.spec.machine.accelerator and "--device" not in run.spec.arguments[::2] else ()
    grace = ("--grace", f"{run.spec.policy.grace.total_seconds():g}") if run.spec.policy.grace else ()
    standby = ("--standby", attempt.replaces) if attempt.replaces else ()
    parent = ("--from-run", run.parent.checkpoints) if run.parent else ()
    data = ("--data", f"{root}/{run.spec.dataset}") if run.spec.dataset else ()
    champion = ("--champion", f"{root}/models/{run.spec.champion}") if run.spec.champion else ()
    # The last of two equal flags counts: no argument of a record redirects what the trainer writes.
    own = (*(item for pair in places.items() for item in pair), *standby, *parent, *champion)
    return [*grace, *run.spec.arguments, *data, *device, *own]
