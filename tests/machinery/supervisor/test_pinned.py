"""Test that a run advances only with the project, account and image of the settings, whatever its record pins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from spot.config.load import parse
from spot.core.errors import SpotError
from spot.core.history import CancelRequest
from spot.core.run import Run, RunState
from spot.supervisor.pinned import check
from tests.machinery import samples
from tests.machinery.desk import DIGEST, IMAGE
from tests.machinery.spot_toml import GOOD, changed

SETTINGS = parse(GOOD, "spot.toml")


def ours(**changes: Any) -> Run:
    place = {"project": "acme-ml", "root": SETTINGS.root, "service_account": SETTINGS.cloud.service_account}
    return samples.run(**{"image": IMAGE, "machine": SETTINGS.machine(), **place, **changes})


def test_a_run_of_the_settings_is_allowed() -> None:
    check(ours(), SETTINGS)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"project": "foreign"}, "has 'foreign' as cloud.project, spot.toml has 'acme-ml'"),
        ({"root": "gs://foreign/x"}, "has 'gs://foreign/x' as cloud.bucket and cloud.prefix"),
        ({"service_account": "owner@acme-ml.iam.gserviceaccount.com"}, "as cloud.service_account"),
        ({"machine": replace(SETTINGS.machine(), type="a3-highgpu-8g")}, "as the machine"),
        ({"image": f"ghcr.io/foreign/miner@{DIGEST}"}, "has 'ghcr.io/foreign/miner' as the repository of the image"),
        ({"image": f"us-docker.pkg.dev/acme-ml-2/images/x@{DIGEST}"}, "as the repository of the image"),
        ({"image": f"us-docker.pkg.dev.evil.com/acme-ml/images/x@{DIGEST}"}, "as the repository of the image"),
    ],
)
def test_a_run_of_something_else_is_refused_with_the_value_and_what_to_do(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(SpotError) as caught:
        check(ours(**changes), SETTINGS)
    assert says in caught.value.message
    assert "spot cancel run-1" in caught.value.fix


def test_an_image_of_the_repository_in_the_settings_is_allowed_wherever_it_is() -> None:
    settings = parse(changed("cloud.image", f'"ghcr.io/acme/trainer@{DIGEST}"'), "spot.toml")
    check(ours(image=f"ghcr.io/acme/trainer@{DIGEST[:-1]}0"), settings)
    tagged = parse(changed("cloud.image", '"localhost:5000/trainer:v1"'), "spot.toml")
    check(ours(image=f"localhost:5000/trainer@{DIGEST}"), tagged)


@pytest.mark.parametrize(
    "ending",
    [{"cancel_request": CancelRequest(at=samples.T0, by="ann")}, {"state": RunState.FAILED, "ended_at": samples.T0}],
)
def test_a_run_that_gets_no_attempt_any_more_ends_also_on_another_machine_but_not_elsewhere(
    ending: dict[str, Any],
) -> None:
    check(ours(machine=samples.SPEC.machine, image=f"ghcr.io/x/y@{DIGEST}", **ending), SETTINGS)
    with pytest.raises(SpotError):
        check(ours(project="foreign", **ending), SETTINGS)
