"""Test the image: it builds, trains, and saves on SIGTERM. Run by `nox -s image`, with docker or podman."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.image, pytest.mark.timeout(1800)]

TAG = "localhost/training-under-test"
LONGEST_S = 120.0
ENDLESS = ["--epochs", "1000000", "--log-interval", "0.05", "--checkpoint-interval", "3600"]


@pytest.fixture(scope="module")
def engine() -> str:
    found = next(filter(shutil.which, ("docker", "podman")), None)
    assert found, "neither docker nor podman was found: install one to test the image"
    return found


@pytest.fixture(scope="module")
def run(engine: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    def call(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([engine, *words], capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{engine} {' '.join(words)}: {done.stderr[-3000:]}"
        return done

    return call


@pytest.fixture(scope="module")
def image(run: Callable[..., subprocess.CompletedProcess[str]], root: Path) -> str:
    """Build the image for machines without a GPU."""
    index = os.environ.get("TORCH_INDEX")
    more = [] if index is None else ["--build-arg", f"TORCH_INDEX={index}"]
    run("build", "--build-arg", "BUILD=cpu", *more, "--tag", TAG, str(root))
    return TAG


@pytest.fixture
def container(run: Callable[..., subprocess.CompletedProcess[str]], image: str) -> Iterator[str]:
    """Start a training that does not end by itself."""
    name = f"training-under-test-{os.getpid()}"
    run("run", "--detach", "--name", name, "--network", "none", image, *ENDLESS)
    yield name
    run("rm", "--force", name)


def test_image_trains_to_the_end(run: Callable[..., subprocess.CompletedProcess[str]], image: str) -> None:
    done = run("run", "--rm", "--network", "none", image, "--max-steps", "5", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_sigterm_saves_and_the_next_start_resumes(
    run: Callable[..., subprocess.CompletedProcess[str]], container: str
) -> None:
    def wait_for(text: str) -> None:
        end = time.monotonic() + LONGEST_S
        while text not in (said := (done := run("logs", container)).stdout + done.stderr):
            assert time.monotonic() < end, f"{text!r} was not logged within {LONGEST_S:.0f} s:\n{said}"
            time.sleep(0.1)

    wait_for(" steps/s")
    run("stop", "--time", "30", container)
    assert run("inspect", "--format", "{{.State.ExitCode}}", container).stdout.strip() == "143"
    run("start", container)
    wait_for("resumed from the checkpoint")
