"""Provide the task of the machinery's tests: small, generated, independent of a project's own task."""

from spot.trainer.context import Task

PACKAGE = "tests.machinery.fixture_task"
MODULES = {part: f"{PACKAGE}.{part}" for part in ("config", "model", "data")}
TASK = Task(**MODULES)
STEPS_69 = ("--epochs", "3", "--batch-size", "16")
"""Flags of the training that most tests interrupt: 23 steps in each epoch."""
