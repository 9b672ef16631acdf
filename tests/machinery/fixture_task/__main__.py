"""Run the trainer on the fixture task: `python -m tests.machinery.fixture_task`."""

from spot.trainer import entry
from tests.machinery.fixture_task import MODULES

if __name__ == "__main__":
    entry(**MODULES)
