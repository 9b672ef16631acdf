"""Check that a run with several GPUs is refused with the reason, before a job or a record exists."""

from __future__ import annotations

import pytest

from spot.config.settings import ONE_GPU
from spot.core.errors import Exit
from tests.machinery.desk import Desk


@pytest.mark.parametrize("arguments", [("--dry-run",), ()], ids=["dry run", "submit"])
def test_two_gpus_are_refused_and_nothing_is_recorded(desk: Desk, arguments: tuple[str, ...]) -> None:
    desk.settings({"machine.type": '"n1-standard-8"', "machine.accelerator": '"NVIDIA_TESLA_T4"'})
    desk.settings({"machine.accelerator_count": "2"})

    refused = desk.spot("submit", *arguments)

    assert refused.code == Exit.USAGE
    assert f"machine.accelerator_count is 2: {ONE_GPU}" in refused.err
    assert desk.objects() == []


def test_flags_of_the_command_line_cannot_ask_for_more_gpus(desk: Desk) -> None:
    refused = desk.spot("submit", "--dry-run", "--", "--accelerator-count", "2")

    assert refused.code == Exit.USAGE
    assert "training.accelerator-count is not a flag of the trainer" in refused.err
