"""Test spot.toml: it loads, the trainer accepts its flags, the deadline can be met, the price is known."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from spot.config.settings import Settings
from spot.supervisor.submit import SubmitPlan, plan, run_of
from spot.trainer.runtime.flags import parse

IMAGE = "us-docker.pkg.dev/project/training/trainer@sha256:" + "0" * 64


@pytest.fixture(scope="module")
def submit_plan(settings: Settings) -> SubmitPlan:
    """Return the plan of a run with these settings, without asking the cloud."""
    now = datetime.now(UTC)
    run = run_of(settings, None, now, image=IMAGE, arguments=settings.arguments())
    return plan(run, force=False, save=settings.save)


def test_the_trainer_accepts_its_flags_and_yours(settings: Settings) -> None:
    """`parse` raises UsageError with the flag otherwise."""
    parse(settings.arguments(), {}, settings.config)
    assert "data" in settings.training, "[training] names no data, and submit refuses that"


def test_your_config_loads_without_torch(root: Path, environ: dict[str, str]) -> None:
    """`spot submit` runs where PyTorch is missing, and `load` raises SettingsError if task/config.py imports it."""
    code = "from pathlib import Path; from spot.config.load import load; load(Path('spot.toml'))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_run_with_these_settings_can_meet_its_deadline(submit_plan: SubmitPlan, settings: Settings) -> None:
    """`plan` raises SubmitError with the numbers otherwise."""
    assert submit_plan.action.region in settings.cloud.regions


def test_the_price_of_the_machine_is_known_in_every_region(submit_plan: SubmitPlan, settings: Settings) -> None:
    priced = submit_plan.run.spec.policy.usd_per_hour
    unknown = [region for region in settings.cloud.regions if region not in priced]
    assert not unknown, (
        f"no price of {settings.hardware.type} in {', '.join(unknown)}: run `spot prices --refresh`, or choose a region"
        " that `spot prices` lists"
    )
