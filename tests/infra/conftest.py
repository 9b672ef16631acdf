"""Skip what needs the real gcloud where it is missing."""

from __future__ import annotations

import shutil

import pytest


@pytest.fixture(scope="session")
def gcloud() -> None:
    if shutil.which("gcloud") is None:
        pytest.skip("gcloud is missing: install google-cloud-cli from Google's own apt repository")
