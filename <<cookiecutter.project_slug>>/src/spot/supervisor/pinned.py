"""Compare a run with the settings: write access to the bucket must not choose what runs, where, and as whom."""

from spot.config.settings import Settings
from spot.core.errors import SpotError
from spot.core.fields import shown
from spot.core.run import Run, RunState


def check(run: Run, settings: Settings) -> None:
    """Raise `SpotError` if the run pins another place, machine, account or image than the settings.

    A run that is cancelled or has ended creates no attempt, so that only its place matters.
    """
    spec, cloud = run.spec, settings.cloud
    pairs: dict[str, tuple[object, object]] = {
        "cloud.project": (spec.project, cloud.project),
        "cloud.bucket and cloud.prefix": (spec.root, settings.root),
    }
    if not run.cancel_request and run.state is RunState.OPEN:
        repository = spec.image.partition("@")[0]
        allowed = repository if _is_ours(repository, settings) else _ours(settings)
        pairs |= {
            "the machine": (spec.machine, settings.machine()),
            "cloud.service_account": (spec.service_account, cloud.service_account),
            "the repository of the image": (repository, allowed),
        }
    for name, (pinned, ours) in pairs.items():
        if pinned != ours:
            raise SpotError(
                f"run {run.id} has {shown(pinned)} as {name}, spot.toml has {shown(ours)}: no request is sent for it",
                fix=f"correct spot.toml, or end an open run with spot cancel {run.id}",
            )


def _ours(settings: Settings) -> str:
    """Return the repository of `cloud.image`, or what an image without a setting must be in."""
    image = settings.cloud.image.partition("@")[0]
    name, colon, tag = image.rpartition(":")
    return (name if colon and "/" not in tag else image) or f"REGION-docker.pkg.dev/{settings.cloud.project}/..."


def _is_ours(repository: str, settings: Settings) -> bool:
    """Return whether only people with rights in the project can push to a repository, or the settings name it."""
    host, _, path = repository.partition("/")
    in_project = host.endswith("-docker.pkg.dev") and path.startswith(f"{settings.cloud.project}/")
    return in_project or repository == _ours(settings)
