"""Test spot.toml: it loads, the trainer accepts its flags, the deadline can be met, the price is known."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from spot.config.load import load
from spot.config.settings import Settings
from spot.supervisor.submit import SubmitPlan, plan, run_of
from spot.trainer.runtime.flags import parse

IMAGE = "us-docker.pkg.dev/project/training/trainer@sha256:" + "0" * 64


@pytest.fixture(scope="module")
def settings(root: Path) -> Settings:
    return load(root / "spot.toml")


@pytest.fixture(scope="module")
def submit_plan(settings: Settings) -> SubmitPlan:
    """Return the plan of a run with these settings, without asking the cloud."""
    now = datetime.now(UTC)
    run = run_of(settings, None, now, image=IMAGE, arguments=settings.arguments())
    return plan(run, force=False, save=settings.save)


def test_the_trainer_accepts_the_flags_of_the_training_table(settings: Settings) -> None:
    flags = parse(settings.arguments(), {})
    for name, value in settings.training.items():
        assert hasattr(flags, name.replace("-", "_")), f"[training] {name} = {value!r} is no flag of the trainer"


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
