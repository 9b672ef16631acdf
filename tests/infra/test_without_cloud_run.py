"""Set a project up whose supervisor runs in GitHub's workflows, and tear it down, with the real gcloud."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.infra.cloud import Cloud
from tests.infra.cloud_server import served
from tests.infra.scripts import APIS_NEEDED, Project
from tests.infra.world import ROLES, World
from tests.machinery.spot_toml import changed

pytestmark = [pytest.mark.infra, pytest.mark.usefixtures("gcloud")]


def test_with_github_as_its_home_nothing_of_cloud_run_is_set_up_and_a_second_teardown_changes_nothing(
    tmp_path: Path,
) -> None:
    cloud = Cloud()
    with served(cloud) as url:
        settings = changed("cloud.supervisor", '"github"')
        world = World(Project.at(tmp_path, settings=settings, cloud_url=url), cloud)
        first = world.step("bootstrap.sh")
        down, still = (world.step("teardown.sh", "--yes", "--delete-data") for _ in range(2))
    assert [step.ended.code for step in (first, down, still)] == [0, 0, 0]
    assert first.cloud.roles() == ROLES
    assert first.cloud.services == APIS_NEEDED
    assert all("cloudscheduler" not in one for one in first.cloud.custom_roles["github_22"]["includedPermissions"])
    assert still.changes == []
    assert [down.cloud.accounts, down.cloud.buckets, down.cloud.registries] == [{}] * 3
