"""Run the trainer on the fixture task: `python -m tests.machinery.fixture_task`."""

from spot.trainer import entry

if __name__ == "__main__":
    entry(model="tests.machinery.fixture_task.model", data="tests.machinery.fixture_task.data")
