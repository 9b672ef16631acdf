"""Find the images of a commit, deploy that of the supervisor, and identify what an image is built from."""

import hashlib
from fnmatch import fnmatchcase
from pathlib import Path

from spot.config.settings import Settings
from spot.core.errors import SpotError
from spot.google import registry
from spot.google.machine_types import build_for
from spot.google.rest import GoogleApi

FILES = ("Dockerfile", ".dockerignore", "locks/cpu.txt", "locks/cuda.txt", "locks/cu126.txt")
OMITTED = ("src/*.md", "src/spot/*")
KEPT = ("src/spot/__init__.py", "src/spot/core/*", "src/spot/storage/*", "src/spot/trainer/*")
"""As in .dockerignore and the stage `sources` of the Dockerfile."""


def outputs(settings: Settings, repository: str, commit: str) -> list[str]:
    """Return lines for `GITHUB_OUTPUT`. An empty image must be built; GitHub as the supervisor's home needs none."""
    name, supervisor = f"{repository}/trainer", f"{repository}/supervisor" if settings.cloud.supervisor_job else ""
    image, found = _by_digest(name, commit), supervisor and _by_digest(supervisor, commit)
    return [
        f"host={registry.parse(name).host}",
        f"name={name}",
        f"image={image}",
        f"build={build_for(settings.machine().accelerator, Path('locks'))}",
        f"supervisor_name={supervisor}",
        f"supervisor={found}",
        f"missing={'' if image and (found or not supervisor) else 'yes'}",
    ]


def _by_digest(name: str, commit: str) -> str:
    """Return the image of the commit, empty if the registry has none. Raise `ImageNotChecked` without an answer."""
    wanted = registry.parse(f"{name}:{commit}")
    try:
        return f"{name}@{registry.ask_registry(wanted)}"
    except registry.ImageNotChecked:
        raise
    except registry.ImageError:
        print(f"{wanted} does not exist yet: building it")
        return ""


def deploy(settings: Settings, image: str) -> None:
    """Run the image in the Cloud Run job from the next reconcile on. Raise `SpotError`."""
    if job := settings.cloud.supervisor_job:
        try:
            api, path = GoogleApi.open(), f"v2/{job.path}"
            found = api.get("run", path)
            [container] = found["template"]["template"]["containers"]
            if container["image"] != image:
                container["image"] = image
                api.call("PATCH", "run", path, body=found)
        except SpotError as error:
            message = f"the supervisor was not deployed: {error.message}"
            raise SpotError(message, fix="bash infra/bootstrap.sh", exit_code=error.exit_code) from error


def sources_digest(project: Path) -> str:
    """Return the SHA-256 of the names and contents of the files that the build copies into the trainer's image."""
    paths = [project / name for name in FILES] + [
        path for top in ("src", "task") for path in (project / top).rglob("*")
    ]
    found = hashlib.sha256()
    for name, path in sorted((path.relative_to(project).as_posix(), path) for path in paths if path.is_file()):
        is_omitted = any(fnmatchcase(name, one) for one in OMITTED) and not any(fnmatchcase(name, one) for one in KEPT)
        if not is_omitted and "__pycache__" not in name:
            found.update(f"{name}\t{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()
