"""Train this task."""

from spot.trainer import entry

P = "tests.machinery.tasks.transformer"

if __name__ == "__main__":
    entry(config=f"{P}.config", model=f"{P}.model", data=f"{P}.data")
