"""Let this process be a step of a workflow."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workflows.cloud import IMAGES, Cloud

DIGEST, COMMIT = f"sha256:{9:064d}", "c" * 40


def become_a_step(world: Cloud, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Set folder and variables of a step of run 7, whose image is there."""
    (folder / "spot.toml").write_text(world.settings)
    patch.chdir(folder)
    given = {
        **world.environ,
        "GCP_ARTIFACT_REPOSITORY": IMAGES,
        "GITHUB_OUTPUT": str(folder / "output"),
        "GITHUB_RUN_ID": "7",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_SHA": COMMIT,
        "GITHUB_STEP_SUMMARY": str(folder / "summary"),
        "GITHUB_TOKEN": "a-token",
        "IMAGE": f"{IMAGES}/trainer@{DIGEST}",
    }
    for name, value in given.items():
        patch.setenv(name, value)
