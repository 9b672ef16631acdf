"""Provide the task of the machinery's tests: small, generated, independent of a project's own task."""

from spot.trainer.context import Task

TASK = Task(model="tests.machinery.fixture_task.model", data="tests.machinery.fixture_task.data")
