"""The task that the machinery is tested with: small, generated, and independent of a project's own task."""

from spot.trainer.context import Task

TASK = Task(model="tests.machinery.fixture_task.model", data="tests.machinery.fixture_task.data")
